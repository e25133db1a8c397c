//! Pure: typed views of an option set, built once for those who use them. Below `engine/` nobody
//! looks an option up by its name.

mod connection;
mod console;
mod disk;
mod engine;
mod ftp;
mod http;
mod proxy;
mod rpc;
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::units::Rate;

pub use connection::{ConnectionSettings, TlsSettings};
pub use console::ConsoleSettings;
pub use disk::DiskSettings;
pub use engine::{EngineSettings, HookSettings};
pub use ftp::FtpSettings;
pub use http::HttpSettings;
pub use proxy::ProxySettings;
pub use rpc::{RpcPatience, RpcSettings};
pub use transfer::TransferSettings;

pub(super) fn text(text: Option<Arc<str>>) -> Option<String> {
    text.map(|text| text.to_string())
}

pub(super) fn path(text: Option<Arc<str>>) -> Option<PathBuf> {
    text.map(|text| PathBuf::from(text.as_ref()))
}

/// As long as aria2's longest times, 68 years: a point in time so far off can be told.
const SECONDS_MAX: u64 = i32::MAX as u64;

pub(super) fn seconds(number: i64) -> Duration {
    Duration::from_secs(bytes(number).min(SECONDS_MAX))
}

/// Where 0 means never.
pub(super) fn interval(number: i64) -> Option<Duration> {
    Some(seconds(number)).filter(|time| !time.is_zero())
}

/// Where 0 means no limit.
fn limit(number: i64) -> Option<u32> {
    (number > 0).then(|| u32::try_from(number).unwrap_or(u32::MAX))
}

fn rate(number: i64) -> Rate {
    Rate(bytes(number))
}

pub(super) fn bytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::option::bt_settings::BtSettings;
    use crate::option::{OptionSet, keys};

    #[test]
    fn the_longest_times_end_some_day() {
        let mut set = OptionSet::new();
        for key in [
            keys::SAVE_SESSION_INTERVAL,
            keys::BT_TRACKER_INTERVAL,
            keys::BT_STOP_TIMEOUT,
        ] {
            set.set_text(key.id, &i64::MAX.to_string()).unwrap();
        }
        let bt = BtSettings::from(&set);
        let save = EngineSettings::from(&set).save_session_interval;
        for time in [save, bt.tracker.interval, bt.stop_timeout] {
            assert!(Instant::now().checked_add(time.unwrap()).is_some());
        }
    }
}
