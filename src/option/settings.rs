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

fn text(text: Option<Arc<str>>) -> Option<String> {
    text.map(|text| text.to_string())
}

fn path(text: Option<Arc<str>>) -> Option<PathBuf> {
    text.map(|text| PathBuf::from(text.as_ref()))
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(bytes(number))
}

/// Where 0 means never.
fn interval(number: i64) -> Option<Duration> {
    Some(seconds(number)).filter(|time| !time.is_zero())
}

/// Where 0 means no limit.
fn limit(number: i64) -> Option<u32> {
    (number > 0).then(|| u32::try_from(number).unwrap_or(u32::MAX))
}

fn rate(number: i64) -> Rate {
    Rate(bytes(number))
}

fn bytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}
