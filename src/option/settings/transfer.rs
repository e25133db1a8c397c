//! Pure: how a download is fetched.

use std::path::PathBuf;
use std::time::Duration;

use super::{bytes, count, interval, limit, path, rate, seconds, text};
use crate::base::units::Rate;
use crate::option::value::{PieceSelector, UriSelector, split_digest};
use crate::option::{OptionSet, keys};

/// How one download is split, retried, checked and named.
#[derive(Clone, Debug)]
pub struct TransferSettings {
    /// Connections of the download, all mirrors together.
    pub split: usize,
    pub per_server_max: usize,
    /// A span is only divided if both halves have this many bytes.
    pub split_len_min: u64,
    pub piece_len: u64,
    /// `None`: no limit.
    pub tries_max: Option<u32>,
    pub retry_wait: Duration,
    pub lowest_speed: Rate,
    /// `None`: a missing file ends its mirror at once.
    pub not_found_max: Option<u32>,
    pub uri_selector: UriSelector,
    pub piece_selector: PieceSelector,
    pub reuse_uri: bool,
    pub always_resume: bool,
    /// `None`: every mirror may refuse once.
    pub resume_failures_max: Option<u32>,
    pub resume_without_control_file: bool,
    pub allow_overwrite: bool,
    pub auto_file_renaming: bool,
    pub remove_control_file: bool,
    pub allow_piece_length_change: bool,
    pub dir: PathBuf,
    pub out: Option<String>,
    /// `type=hex`, in lower case.
    pub checksum: Option<String>,
    pub check_integrity: bool,
    /// Pieces of a Metalink are hashed as they become complete.
    pub realtime_chunk_checksum: bool,
    pub hash_check_only: bool,
    pub dry_run: bool,
    pub remote_time: bool,
    pub conditional_get: bool,
    pub keep_control_file: bool,
    pub retry_on_disk_full: bool,
    /// Finished files are moved here.
    pub complete_dir: Option<PathBuf>,
    /// Largest age of the control file; `None`: it is saved at pause and stop only.
    pub save_interval: Option<Duration>,
    pub down_limit: Rate,
    pub up_limit: Rate,
}

impl From<&OptionSet> for TransferSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            split: count(set.get(keys::SPLIT)),
            per_server_max: count(set.get(keys::MAX_CONNECTION_PER_SERVER)),
            split_len_min: bytes(set.get(keys::MIN_SPLIT_SIZE)),
            piece_len: bytes(set.get(keys::PIECE_LENGTH)),
            tries_max: limit(set.get(keys::MAX_TRIES)),
            retry_wait: seconds(set.get(keys::RETRY_WAIT)),
            lowest_speed: rate(set.get(keys::LOWEST_SPEED_LIMIT)),
            not_found_max: limit(set.get(keys::MAX_FILE_NOT_FOUND)),
            uri_selector: set.get(keys::URI_SELECTOR),
            piece_selector: set.get(keys::STREAM_PIECE_SELECTOR),
            reuse_uri: set.get(keys::REUSE_URI),
            always_resume: set.get(keys::ALWAYS_RESUME),
            resume_failures_max: limit(set.get(keys::MAX_RESUME_FAILURE_TRIES)),
            resume_without_control_file: set.get(keys::CONTINUE),
            allow_overwrite: set.get(keys::ALLOW_OVERWRITE),
            auto_file_renaming: set.get(keys::AUTO_FILE_RENAMING),
            remove_control_file: set.get(keys::REMOVE_CONTROL_FILE),
            allow_piece_length_change: set.get(keys::ALLOW_PIECE_LENGTH_CHANGE),
            dir: path(set.get(keys::DIR)).unwrap_or_else(|| PathBuf::from(".")),
            out: text(set.get(keys::OUT)),
            checksum: set
                .get(keys::CHECKSUM)
                .and_then(|text| split_digest(&text))
                .map(|(kind, hex)| format!("{kind}={hex}")),
            check_integrity: set.get(keys::CHECK_INTEGRITY),
            realtime_chunk_checksum: set.get(keys::REALTIME_CHUNK_CHECKSUM),
            hash_check_only: set.get(keys::HASH_CHECK_ONLY),
            dry_run: set.get(keys::DRY_RUN),
            remote_time: set.get(keys::REMOTE_TIME),
            conditional_get: set.get(keys::CONDITIONAL_GET),
            keep_control_file: set.get(keys::FORCE_SAVE),
            retry_on_disk_full: set.get(keys::RETRY_ON_DISK_FULL),
            complete_dir: path(set.get(keys::COMPLETE_DIR)),
            save_interval: interval(set.get(keys::AUTO_SAVE_INTERVAL)),
            down_limit: rate(set.get(keys::MAX_DOWNLOAD_LIMIT)),
            up_limit: rate(set.get(keys::MAX_UPLOAD_LIMIT)),
        }
    }
}
