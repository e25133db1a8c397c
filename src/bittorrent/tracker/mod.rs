//! Trackers (BEP 3): what is told and answered, in the forms of HTTP ([`http`]) and UDP ([`udp`]),
//! and which of them to ask when ([`tiers`]), all pure; [`client`] asks them.

pub mod client;
pub mod http;
mod http_client;
pub mod tiers;
pub mod udp;
pub mod udp_socket;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::bittorrent::handshake::PeerId;
use crate::format::info_hash::InfoHash;

/// Peers asked for at once, as aria2 does.
pub const PEERS_WANTED: u32 = 50;
/// Peers read of one answer.
const PEERS_MAX: usize = 1_000;
/// A tracker that asks for less or more is misunderstood or hostile.
const INTERVAL_MIN: Duration = Duration::from_secs(30);
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Why a tracker is told something between two intervals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Started,
    Completed,
    Stopped,
}

/// What a tracker is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    pub info_hash: InfoHash,
    pub peer_id: PeerId,
    /// TCP port we listen at.
    pub port: u16,
    /// Payload bytes since `Started`.
    pub uploaded: u64,
    pub downloaded: u64,
    /// Payload bytes still missing.
    pub left: u64,
    pub event: Option<Event>,
    /// Peers wanted; none when stopping.
    pub wanted: u32,
    /// Address to be told to others (`bt-external-ip`).
    pub ip: Option<IpAddr>,
    /// `trackerid` of its last answer.
    pub tracker_id: Option<String>,
    /// Only peers with encryption are of use (`bt-require-crypto`).
    pub require_crypto: bool,
}

/// What a tracker answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// Until the next announce.
    pub interval: Option<Duration>,
    /// Not sooner than this, whatever happens.
    pub interval_min: Option<Duration>,
    pub seeders: Option<u32>,
    pub leechers: Option<u32>,
    pub peers: Vec<SocketAddr>,
    pub tracker_id: Option<String>,
    /// For the user.
    pub warning: Option<String>,
}

/// Counts of one torrent (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scrape {
    pub seeders: u32,
    pub leechers: u32,
    /// How often it was completed.
    pub completed: u32,
}

fn interval(seconds: i64) -> Option<Duration> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds).clamp(INTERVAL_MIN, INTERVAL_MAX))
}
