//! Pure: typed views of the options of BitTorrent.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::choice::CryptoLevel;
use super::keys;
use super::set::OptionSet;
use super::settings::{HttpSettings, bytes, count, interval, path, seconds, text};
use super::typed::PieceEnds;
use crate::base::units::Rate;

/// How one torrent is shared.
#[derive(Clone, Debug)]
pub struct BtSettings {
    /// 0 means no limit.
    pub peer_count_max: usize,
    /// Below this speed more peers than `peer_count_max` are asked.
    pub request_peer_speed_limit: Rate,
    pub require_crypto: bool,
    pub crypto_level_min: CryptoLevel,
    pub force_encryption: bool,
    /// How long a peer may be silent.
    pub idle_max: Duration,
    pub exchange: bool,
    pub local_discovery: bool,
    pub prioritize: PieceEnds,
    /// Give up after so long without a byte; `None`: never.
    pub stop_timeout: Option<Duration>,
    /// Of the length; 0: without end.
    pub seed_ratio: f64,
    pub seed_time: Option<Duration>,
    pub hash_check_seed: bool,
    pub seed_unverified: bool,
    pub remove_unselected: bool,
    /// Indexes from 1; empty: all.
    pub selected: Vec<RangeInclusive<u32>>,
    /// `INDEX=PATH` lines.
    pub index_out: Arc<[Arc<str>]>,
    pub tracker: TrackerSettings,
}

/// How trackers are asked.
#[derive(Clone, Debug)]
pub struct TrackerSettings {
    /// More trackers, each a tier of its own.
    pub added: Arc<[Arc<str>]>,
    /// Trackers not to use; `*`: none.
    pub excluded: Arc<[Arc<str>]>,
    /// `None`: as the tracker says.
    pub interval: Option<Duration>,
    pub connect_timeout: Duration,
    pub timeout: Duration,
    /// The address to tell in place of the one they see.
    pub external_ip: Option<String>,
    /// How those of HTTP are reached; of it also count the proxies, the name servers and the
    /// interface, for all trackers.
    pub http: HttpSettings,
}

/// What all torrents of the process share.
#[derive(Clone, Debug)]
pub struct BtNetSettings {
    pub listen_ports: Vec<RangeInclusive<u32>>,
    pub dht_ports: Vec<RangeInclusive<u32>>,
    pub dht: bool,
    pub dht6: bool,
    pub dht_entry_point: Option<String>,
    pub dht_entry_point6: Option<String>,
    pub dht_file_path: Option<PathBuf>,
    pub dht_file_path6: Option<PathBuf>,
    pub dht_listen_addr6: Option<String>,
    pub dht_message_timeout: Duration,
    pub lpd_interface: Option<String>,
    pub peer_id_prefix: String,
    pub peer_agent: String,
    pub port_mapping: bool,
    pub utp: bool,
    pub blocklist: Option<PathBuf>,
    pub disable_ipv6: bool,
    pub external_ip: Option<String>,
}

impl From<&OptionSet> for BtSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            peer_count_max: count(set.get(keys::BT_MAX_PEERS)),
            request_peer_speed_limit: Rate(bytes(set.get(keys::BT_REQUEST_PEER_SPEED_LIMIT))),
            require_crypto: set.get(keys::BT_REQUIRE_CRYPTO),
            crypto_level_min: set.get(keys::BT_MIN_CRYPTO_LEVEL),
            force_encryption: set.get(keys::BT_FORCE_ENCRYPTION),
            idle_max: IDLE_MAX,
            exchange: set.get(keys::ENABLE_PEER_EXCHANGE),
            local_discovery: set.get(keys::BT_ENABLE_LPD),
            prioritize: set.get(keys::BT_PRIORITIZE_PIECE),
            stop_timeout: interval(set.get(keys::BT_STOP_TIMEOUT)),
            seed_ratio: set.get(keys::SEED_RATIO),
            seed_time: set.get(keys::SEED_TIME).map(minutes),
            hash_check_seed: set.get(keys::BT_HASH_CHECK_SEED),
            seed_unverified: set.get(keys::BT_SEED_UNVERIFIED),
            remove_unselected: set.get(keys::BT_REMOVE_UNSELECTED_FILE),
            selected: set.get(keys::SELECT_FILE),
            index_out: set.get(keys::INDEX_OUT),
            tracker: TrackerSettings::from(set),
        }
    }
}

impl From<&OptionSet> for TrackerSettings {
    fn from(set: &OptionSet) -> Self {
        let seconds = |key| seconds(set.get(key));
        Self {
            added: set.get(keys::BT_TRACKER),
            excluded: set.get(keys::BT_EXCLUDE_TRACKER),
            interval: interval(set.get(keys::BT_TRACKER_INTERVAL)),
            connect_timeout: seconds(keys::BT_TRACKER_CONNECT_TIMEOUT),
            timeout: seconds(keys::BT_TRACKER_TIMEOUT),
            external_ip: text(set.get(keys::BT_EXTERNAL_IP)),
            http: HttpSettings::from(set),
        }
    }
}

impl From<&OptionSet> for BtNetSettings {
    fn from(set: &OptionSet) -> Self {
        let path = |key| path(set.get(key));
        Self {
            listen_ports: set.get(keys::LISTEN_PORT),
            dht_ports: set.get(keys::DHT_LISTEN_PORT),
            dht: set.get(keys::ENABLE_DHT),
            dht6: set.get(keys::ENABLE_DHT6),
            dht_entry_point: text(set.get(keys::DHT_ENTRY_POINT)),
            dht_entry_point6: text(set.get(keys::DHT_ENTRY_POINT6)),
            dht_file_path: path(keys::DHT_FILE_PATH),
            dht_file_path6: path(keys::DHT_FILE_PATH6),
            dht_listen_addr6: text(set.get(keys::DHT_LISTEN_ADDR6)),
            dht_message_timeout: seconds(set.get(keys::DHT_MESSAGE_TIMEOUT)),
            lpd_interface: text(set.get(keys::BT_LPD_INTERFACE)),
            peer_id_prefix: text(set.get(keys::PEER_ID_PREFIX)).unwrap_or_default(),
            peer_agent: text(set.get(keys::PEER_AGENT)).unwrap_or_default(),
            port_mapping: set.get(keys::BT_PORT_MAPPING),
            utp: set.get(keys::BT_UTP),
            blocklist: path(keys::BT_PEER_BLOCKLIST),
            disable_ipv6: set.get(keys::DISABLE_IPV6),
            external_ip: text(set.get(keys::BT_EXTERNAL_IP)),
        }
    }
}

/// aria2's own, which no documented option changes.
const IDLE_MAX: Duration = Duration::from_secs(180);

fn minutes(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX)
}
