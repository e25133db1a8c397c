//! The orderly end: transfers stop and save, then the session is saved.

use std::time::{Duration, Instant};

use tracing::warn;

use super::Core;
use crate::transfer::Control;

/// How long it waits for transfers that do not answer.
const CLOSE_MAX: Duration = Duration::from_secs(10);
pub(super) const CLOSE_FORCED_MAX: Duration = Duration::from_secs(1);
/// How long it waits for finished files to reach the disk.
const SYNC_MAX: Duration = Duration::from_secs(5);

impl Core {
    /// Begins the end: every transfer is told to save and stop.
    pub(super) fn close(&mut self, force: bool) {
        let limit = if force { CLOSE_FORCED_MAX } else { CLOSE_MAX };
        let limit = Instant::now() + limit;
        self.closing = Some(self.closing.map_or(limit, |earlier| earlier.min(limit)));
        for run in self.running.values() {
            run.transfer.send(Control::Stop { force });
        }
    }

    pub(super) fn may_end(&self) -> bool {
        self.closing
            .is_some_and(|limit| self.running.is_empty() || limit <= Instant::now())
    }

    pub(super) async fn finish(mut self) {
        for gid in self.running.keys() {
            warn!(%gid, "transfer did not stop in time");
        }
        if let Err(error) = self.save_session_to_file().await {
            warn!(%error, "session not saved");
        }
        for gid in self.syncer.finish(SYNC_MAX).await {
            self.on_synced(gid);
        }
        self.save_changed();
        if let Some(store) = self.store.take() {
            // Joining a thread that flushes is not for this one, which answers RPC.
            let closed = tokio::task::spawn_blocking(move || store.close()).await;
            if let Ok(Err(failure)) = closed {
                warn!(%failure, "store not closed well");
            }
        }
    }
}

/// Ends when transfers have had their time to stop; never while no end was asked for.
pub(super) async fn close_limit(limit: Option<Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit.into()).await,
        None => std::future::pending().await,
    }
}
