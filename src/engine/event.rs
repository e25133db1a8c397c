//! Pure: what the engine tells the world about a download.

use std::sync::Arc;

use crate::base::error::ErrorCode;
use crate::base::gid::Gid;
use crate::format::info_hash::InfoHash;

/// One thing that happened to one download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub gid: Gid,
    pub kind: EventKind,
    /// The download as it was then: the registry may have dropped it since.
    pub subject: Arc<Subject>,
}

/// aria2's notifications (manual, section RPC INTERFACE, "Notifications"), and one that only
/// hooks hear.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventKind {
    /// A waiting download became active; also when it restarts for a changed option.
    Started,
    /// An active download stopped because somebody paused it.
    Paused,
    /// An active download was removed.
    Stopped,
    Complete,
    Failed,
    /// A torrent's data is complete; seeding may follow.
    BtComplete,
    /// The process ends while the download is active. Hooks run, RPC clients hear nothing.
    Interrupted,
    /// The process ends while a torrent is seeding: for hooks it is complete.
    SeedingInterrupted,
}

/// What hooks and the console want to know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subject {
    pub dir: String,
    /// Path of the first selected file; empty while unknown.
    pub path: String,
    pub file_count: usize,
    /// Of torrents and magnet links.
    pub info_hash: Option<InfoHash>,
    pub status: &'static str,
    /// Of stopped downloads.
    pub error: Option<ErrorCode>,
    /// What went wrong.
    pub error_text: String,
    /// The first mirror.
    pub uri: Option<Arc<str>>,
}
