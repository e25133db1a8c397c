//! Pure: an owned copy of what is known of a download.

use std::time::Instant;

use super::download::Download;
use super::file_view::FileView;
use super::state::DownloadState;
use crate::base::error::ErrorCode;
use crate::base::gid::Gid;

/// A download at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub gid: Gid,
    /// aria2's status word.
    pub status: &'static str,
    /// It has stopped for good and its files are closed.
    pub has_ended: bool,
    /// Bytes; 0 while unknown.
    pub total_len: u64,
    /// Bytes on disk.
    pub completed_len: u64,
    pub uploaded_len: u64,
    /// Bytes a second.
    pub down_speed: u64,
    /// Bytes a second.
    pub up_speed: u64,
    pub connections: u32,
    /// Code and text; of stopped downloads only.
    pub error: Option<(ErrorCode, String)>,
    pub files: Vec<FileView>,
}

impl Snapshot {
    pub(super) fn of(download: &Download, now: Instant) -> Self {
        Self {
            gid: download.gid(),
            status: download.status(),
            has_ended: matches!(download.state(), DownloadState::Stopped(_)),
            total_len: download.total_len(),
            completed_len: download.completed_len(),
            uploaded_len: download.uploaded_len(),
            down_speed: download.down_speed(now),
            up_speed: download.up_speed(now),
            connections: download.connections(),
            error: download.error().map(|(code, text)| (code, text.to_owned())),
            files: download.files(),
        }
    }

    /// Finished part, 0 to 1; `None` while the length is unknown.
    pub fn progress(&self) -> Option<f64> {
        (self.total_len > 0).then(|| self.completed_len as f64 / self.total_len as f64)
    }
}
