//! Pure: the queue, the results, the session files and the hooks.

use std::path::PathBuf;
use std::time::Duration;

use super::{count, interval, path, rate, seconds};
use crate::base::units::Rate;
use crate::option::{OptionSet, keys};

/// The queue, the results and the session files.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    pub concurrent_max: usize,
    /// A and B of `A + B * log10(Mbit/s)`, where the queue adapts to the line.
    pub concurrent_by_speed: Option<(f64, f64)>,
    pub seeders_are_free: bool,
    pub down_limit: Rate,
    pub up_limit: Rate,
    /// Stopped downloads that RPC shows.
    pub results_max: usize,
    /// Stopped downloads that the store keeps, those that RPC shows among them.
    pub history_max: usize,
    /// Failures stay for the session file even when they are no results any more; only where one
    /// may be written.
    pub keep_unfinished_results: bool,
    pub state_dir: Option<PathBuf>,
    pub save_session: Option<PathBuf>,
    /// `None`: at the end and when asked.
    pub save_session_interval: Option<Duration>,
    pub input_file: Option<PathBuf>,
    pub deferred_input: bool,
    pub server_stat_in: Option<PathBuf>,
    pub server_stat_out: Option<PathBuf>,
    pub server_stat_timeout: Duration,
    pub load_cookies: Option<PathBuf>,
    pub save_cookies: Option<PathBuf>,
    /// `None`: no time limit.
    pub stop_after: Option<Duration>,
    /// Process whose end is ours.
    pub stop_with_process: Option<u32>,
    pub hooks: HookSettings,
}

impl EngineSettings {
    /// Stopped downloads that the store keeps beyond those that RPC shows.
    pub fn history_len(&self) -> usize {
        self.history_max - self.results_max
    }
}

impl From<&OptionSet> for EngineSettings {
    fn from(set: &OptionSet) -> Self {
        let shown = count(set.get(keys::MAX_DOWNLOAD_RESULT));
        let history = match set.get(keys::SQLITE3_HISTORY_LIMIT) {
            Some(number) if !set.is_set(keys::HISTORY_LIMIT.id) => number,
            _ => set.get(keys::HISTORY_LIMIT),
        };
        Self {
            concurrent_max: count(set.get(keys::MAX_CONCURRENT_DOWNLOADS)),
            concurrent_by_speed: set.get(keys::OPTIMIZE_CONCURRENT_DOWNLOADS),
            seeders_are_free: set.get(keys::BT_DETACH_SEED_ONLY)
                || set.get(keys::DETACH_SHARE_ONLY),
            down_limit: rate(set.get(keys::MAX_OVERALL_DOWNLOAD_LIMIT)),
            up_limit: rate(set.get(keys::MAX_OVERALL_UPLOAD_LIMIT)),
            results_max: shown,
            history_max: count(history).max(shown),
            keep_unfinished_results: set.get(keys::KEEP_UNFINISHED_DOWNLOAD_RESULT)
                && (set.get(keys::ENABLE_RPC)
                    || set.get(keys::SAVE_SESSION).is_some()
                    || set.get(keys::STATE_DIR).is_some()),
            state_dir: path(set.get(keys::STATE_DIR)),
            save_session: path(set.get(keys::SAVE_SESSION)),
            save_session_interval: interval(set.get(keys::SAVE_SESSION_INTERVAL)),
            input_file: path(set.get(keys::INPUT_FILE)),
            deferred_input: set.get(keys::DEFERRED_INPUT),
            server_stat_in: path(set.get(keys::SERVER_STAT_IF)),
            server_stat_out: path(set.get(keys::SERVER_STAT_OF)),
            server_stat_timeout: seconds(set.get(keys::SERVER_STAT_TIMEOUT)),
            load_cookies: path(set.get(keys::LOAD_COOKIES)),
            save_cookies: path(set.get(keys::SAVE_COOKIES)),
            stop_after: interval(set.get(keys::STOP)),
            stop_with_process: set
                .get(keys::STOP_WITH_PROCESS)
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid > 0),
            hooks: HookSettings::from(set),
        }
    }
}

/// Commands that are run on events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HookSettings {
    pub start: Option<PathBuf>,
    pub pause: Option<PathBuf>,
    pub stop: Option<PathBuf>,
    pub complete: Option<PathBuf>,
    pub error: Option<PathBuf>,
    pub bt_complete: Option<PathBuf>,
}

impl From<&OptionSet> for HookSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            start: path(set.get(keys::ON_DOWNLOAD_START)),
            pause: path(set.get(keys::ON_DOWNLOAD_PAUSE)),
            stop: path(set.get(keys::ON_DOWNLOAD_STOP)),
            complete: path(set.get(keys::ON_DOWNLOAD_COMPLETE)),
            error: path(set.get(keys::ON_DOWNLOAD_ERROR)),
            bt_complete: path(set.get(keys::ON_BT_DOWNLOAD_COMPLETE)),
        }
    }
}
