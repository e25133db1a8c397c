//! Events become frames: written once, sent to every socket in the same order.

use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::warn;

use crate::base::gid::Gid;
use crate::engine::{Event, EventKind};

use super::sink::{JsonSink, Sink, pair};

/// What clients are told, in the order `system.listNotifications` tells them.
pub const NAMES: &[(EventKind, &str)] = &[
    (EventKind::Started, "aria2.onDownloadStart"),
    (EventKind::Paused, "aria2.onDownloadPause"),
    (EventKind::Stopped, "aria2.onDownloadStop"),
    (EventKind::Complete, "aria2.onDownloadComplete"),
    (EventKind::Failed, "aria2.onDownloadError"),
    (EventKind::BtComplete, "aria2.onBtDownloadComplete"),
];

/// A socket that is this many frames behind is dropped.
const BEHIND_MAX: usize = 4096;

/// Where sockets hear of events.
pub type Notices = broadcast::Sender<Utf8Bytes>;

pub fn notices() -> Notices {
    broadcast::channel(BEHIND_MAX).0
}

/// Hands the engine's events on until the engine ends.
pub async fn run(mut events: broadcast::Receiver<Event>, notices: Notices) {
    loop {
        match events.recv().await {
            Ok(event) => {
                if let Some(frame) = frame(event.kind, event.gid) {
                    // An error means that no socket is open.
                    let _ = notices.send(frame.into());
                }
            }
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                warn!(lost, "events came faster than they could be told");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// The text of a notification; `None` for what clients are not told.
fn frame(kind: EventKind, gid: Gid) -> Option<String> {
    let (_, name) = NAMES.iter().find(|(known, _)| *known == kind)?;
    let mut out = JsonSink::new();
    out.open_struct();
    pair(&mut out, "jsonrpc", "2.0");
    pair(&mut out, "method", name);
    out.key("params");
    out.open_list();
    out.open_struct();
    pair(&mut out, "gid", &gid.to_string());
    out.close_struct();
    out.close_list();
    out.close_struct();
    Some(out.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_aria2s_shape() {
        let gid = "c53cfcbf31907f9c".parse().unwrap();
        assert_eq!(
            frame(EventKind::Started, gid).as_deref(),
            Some(
                r#"{"jsonrpc":"2.0","method":"aria2.onDownloadStart","params":[{"gid":"c53cfcbf31907f9c"}]}"#
            )
        );
        assert_eq!(frame(EventKind::Interrupted, gid), None);
    }
}
