//! Pure: what is shown and logged.

use std::path::PathBuf;
use std::time::Duration;

use super::{bytes, count, interval, path};
use crate::option::value::{DownloadResult, EventPoll, LogLevel};
use crate::option::{OptionSet, keys};

/// What the terminal and the log show, and how the process runs.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    pub quiet: bool,
    /// Everything goes to standard error instead of standard output.
    pub stderr: bool,
    pub level: LogLevel,
    /// `-` is standard output.
    pub log: Option<PathBuf>,
    pub log_level: LogLevel,
    /// The log file is put aside at this many bytes; `None`: never.
    pub log_len_max: Option<u64>,
    pub log_files_max: usize,
    pub color: bool,
    pub human_readable: bool,
    pub truncate_readout: bool,
    pub show_readout: bool,
    /// `None`: no summaries.
    pub summary_interval: Option<Duration>,
    pub results: DownloadResult,
    pub daemon: bool,
    /// `None`: as the system has it.
    pub open_files_max: Option<u64>,
    pub event_poll: EventPoll,
}

impl From<&OptionSet> for ConsoleSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            quiet: set.get(keys::QUIET),
            stderr: set.get(keys::STDERR),
            level: set.get(keys::CONSOLE_LOG_LEVEL),
            log: path(set.get(keys::LOG)),
            log_level: set.get(keys::LOG_LEVEL),
            log_len_max: Some(bytes(set.get(keys::LOG_MAX_SIZE))).filter(|len| *len > 0),
            log_files_max: count(set.get(keys::LOG_MAX_FILES)),
            color: set.get(keys::ENABLE_COLOR),
            human_readable: set.get(keys::HUMAN_READABLE),
            truncate_readout: set.get(keys::TRUNCATE_CONSOLE_READOUT),
            show_readout: set.get(keys::SHOW_CONSOLE_READOUT),
            summary_interval: interval(set.get(keys::SUMMARY_INTERVAL)),
            results: set.get(keys::DOWNLOAD_RESULT),
            daemon: set.get(keys::DAEMON),
            open_files_max: set
                .get(keys::RLIMIT_NOFILE)
                .filter(|_| set.is_set(keys::RLIMIT_NOFILE.id))
                .map(bytes),
            event_poll: set.get(keys::EVENT_POLL),
        }
    }
}
