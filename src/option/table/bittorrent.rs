//! Pure: rows of torrents, peers, trackers and the DHT.

use crate::option::spec::{ADD, GLOBAL, HOME, Kind, LIST, LIVE, OURS, QUEUED, options};
use crate::option::value::{Choice, CryptoLevel, Follow, List, PieceEnds, Ranges, Text};

const MAX: i64 = i64::MAX;

options! { 3;
    /// Do not count downloads that only seed towards max-concurrent-downloads.
    BT_DETACH_SEED_ONLY: bool = "bt-detach-seed-only" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Bittorrent],
    }

    /// Also run on-bt-download-complete when a torrent turns out to be complete by its hash
    /// check.
    BT_ENABLE_HOOK_AFTER_HASH_CHECK: bool = "bt-enable-hook-after-hash-check" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Look for peers in the local network. Never done for private torrents.
    BT_ENABLE_LPD: bool = "bt-enable-lpd" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Trackers of the torrent not to use, separated by commas; '*' excludes all.
    BT_EXCLUDE_TRACKER: List = "bt-exclude-tracker" {
        arg: "URI[,...]",
        kind: Kind::Commas,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Address that trackers and the DHT are told in place of the one they see.
    BT_EXTERNAL_IP: Text = "bt-external-ip" {
        arg: "IPADDRESS",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Talk to peers only with the whole stream encrypted. Short for bt-require-crypto with
    /// bt-min-crypto-level=arc4.
    BT_FORCE_ENCRYPTION: bool = "bt-force-encryption" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Go on seeding after check-integrity found a torrent complete.
    BT_HASH_CHECK_SEED: bool = "bt-hash-check-seed" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent, Checksum],
    }

    /// For a magnet link, first look for its .torrent file from bt-save-metadata in the download
    /// directory instead of asking peers.
    BT_LOAD_SAVED_METADATA: bool = "bt-load-saved-metadata" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Interface or address for finding peers in the local network.
    BT_LPD_INTERFACE: Text = "bt-lpd-interface" {
        arg: "INTERFACE",
        kind: Kind::Text,
        scope: 0,
        tags: [Bittorrent],
    }

    /// How many files of multi-file downloads may be open at once.
    BT_MAX_OPEN_FILES: i64 = "bt-max-open-files" {
        arg: "NUM",
        kind: Kind::Int(1, MAX),
        default: "100",
        scope: GLOBAL,
        tags: [Bittorrent],
    }

    /// How many peers one torrent may have; 0 means no limit.
    BT_MAX_PEERS: i64 = "bt-max-peers" {
        arg: "NUM",
        kind: Kind::Int(0, MAX),
        default: "55",
        scope: ADD | QUEUED | LIVE | GLOBAL,
        tags: [Bittorrent],
    }

    /// For a magnet link, end when the metadata has come and fetch no files.
    BT_METADATA_ONLY: bool = "bt-metadata-only" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Weakest way of talking to peers that use the encrypted handshake: 'plain' afterwards, or
    /// 'arc4' throughout.
    BT_MIN_CRYPTO_LEVEL: CryptoLevel = "bt-min-crypto-level" {
        arg: "plain|arc4",
        kind: Kind::Choice(CryptoLevel::WORDS),
        default: "plain",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// File with addresses and networks of peers never to talk to, one a line. (arioso)
    BT_PEER_BLOCKLIST: Text = "bt-peer-blocklist" {
        arg: "FILE",
        kind: Kind::Path,
        scope: OURS | GLOBAL | HOME,
        tags: [Bittorrent],
    }

    /// Ask the router by UPnP or NAT-PMP to let peers in. (arioso)
    BT_PORT_MAPPING: bool = "bt-port-mapping" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS,
        tags: [Bittorrent],
    }

    /// Fetch the first or last bytes of each file first, so that it can be looked at early: head,
    /// tail or both, each with an optional size (1M).
    BT_PRIORITIZE_PIECE: PieceEnds = "bt-prioritize-piece" {
        arg: "head[=SIZE],tail[=SIZE]",
        kind: Kind::PiecePriority,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Delete files that select-file left out when a torrent is complete. Pieces on their edges
    /// create such files.
    BT_REMOVE_UNSELECTED_FILE: bool = "bt-remove-unselected-file" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | LIVE | GLOBAL,
        tags: [Bittorrent],
    }

    /// Look for more peers while a torrent is slower than this many bytes a second.
    BT_REQUEST_PEER_SPEED_LIMIT: i64 = "bt-request-peer-speed-limit" {
        arg: "SPEED",
        kind: Kind::Size(0, MAX),
        default: "50K",
        scope: ADD | QUEUED | LIVE | GLOBAL,
        tags: [Bittorrent],
    }

    /// Talk to peers only with the encrypted handshake.
    BT_REQUIRE_CRYPTO: bool = "bt-require-crypto" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Save the metadata of a magnet link as a .torrent file, named after the info hash, in the
    /// download directory.
    BT_SAVE_METADATA: bool = "bt-save-metadata" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Seed files that are there without verifying them first.
    BT_SEED_UNVERIFIED: bool = "bt-seed-unverified" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// End a torrent that has received nothing for this many seconds. 0 never does.
    BT_STOP_TIMEOUT: i64 = "bt-stop-timeout" {
        arg: "SEC",
        kind: Kind::Int(0, MAX),
        default: "0",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// More trackers for every torrent, separated by commas; each is a tier of its own. Those of
    /// bt-exclude-tracker are taken out first.
    BT_TRACKER: List = "bt-tracker" {
        arg: "URI[,...]",
        kind: Kind::Commas,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Seconds that connecting to a tracker may take.
    BT_TRACKER_CONNECT_TIMEOUT: i64 = "bt-tracker-connect-timeout" {
        arg: "SEC",
        kind: Kind::Int(1, 600),
        default: "60",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Seconds between requests to a tracker, whatever the tracker says. 0 follows the tracker.
    BT_TRACKER_INTERVAL: i64 = "bt-tracker-interval" {
        arg: "SEC",
        kind: Kind::Int(0, MAX),
        default: "0",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Seconds to wait for a tracker's answer.
    BT_TRACKER_TIMEOUT: i64 = "bt-tracker-timeout" {
        arg: "SEC",
        kind: Kind::Int(1, 600),
        default: "60",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Talk to peers by uTP (BEP 29) as well: those that dial us so, and those that TCP does not
    /// reach. Its UDP port has the number of listen-port. (arioso)
    BT_UTP: bool = "bt-utp" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: OURS,
        tags: [Bittorrent],
    }

    /// Another build's name of bt-detach-seed-only; either of them turns it on.
    DETACH_SHARE_ONLY: bool = "detach-share-only" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS | GLOBAL,
        tags: [Bittorrent],
    }

    /// Node through which the IPv4 DHT is entered, as host:port.
    DHT_ENTRY_POINT: Text = "dht-entry-point" {
        arg: "HOST:PORT",
        kind: Kind::HostPort,
        scope: 0,
        tags: [Bittorrent],
    }

    /// Node through which the IPv6 DHT is entered, as host:port.
    DHT_ENTRY_POINT6: Text = "dht-entry-point6" {
        arg: "HOST:PORT",
        kind: Kind::HostPort,
        scope: 0,
        tags: [Bittorrent],
    }

    /// File that keeps the known nodes of the IPv4 DHT.
    DHT_FILE_PATH: Text = "dht-file-path" {
        arg: "PATH",
        kind: Kind::Path,
        scope: HOME,
        tags: [Bittorrent],
    }

    /// File that keeps the known nodes of the IPv6 DHT.
    DHT_FILE_PATH6: Text = "dht-file-path6" {
        arg: "PATH",
        kind: Kind::Path,
        scope: HOME,
        tags: [Bittorrent],
    }

    /// Address that the IPv6 DHT binds to; it must be a global one.
    DHT_LISTEN_ADDR6: Text = "dht-listen-addr6" {
        arg: "ADDR",
        kind: Kind::Text,
        scope: 0,
        tags: [Basic, Bittorrent],
    }

    /// UDP ports for the DHT and UDP trackers, the first free one is taken; for example
    /// 6881,6885-6889.
    DHT_LISTEN_PORT: Ranges = "dht-listen-port" {
        arg: "PORT...",
        kind: Kind::Ranges(1024, 65_535),
        default: "6881-6999",
        scope: 0,
        tags: [Basic, Bittorrent],
    }

    /// Seconds to wait for the answer of a DHT node.
    DHT_MESSAGE_TIMEOUT: i64 = "dht-message-timeout" {
        arg: "SEC",
        kind: Kind::Int(1, 60),
        default: "10",
        scope: 0,
        tags: [Bittorrent],
    }

    /// Find peers through the IPv4 DHT. Never done for private torrents. UDP trackers do not need
    /// it.
    ENABLE_DHT: bool = "enable-dht" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: 0,
        tags: [Basic, Bittorrent],
    }

    /// Find peers through the IPv6 DHT. Never done for private torrents.
    ENABLE_DHT6: bool = "enable-dht6" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Basic, Bittorrent],
    }

    /// Exchange addresses of peers with other peers. Never done for private torrents.
    ENABLE_PEER_EXCHANGE: bool = "enable-peer-exchange" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// What to do with a fetched torrent: 'true' downloads its files, 'mem' does so without
    /// keeping the .torrent file, 'false' takes it as an ordinary file.
    FOLLOW_TORRENT: Follow = "follow-torrent" {
        arg: "true|false|mem",
        kind: Kind::Choice(Follow::WORDS),
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Path below dir for the file of this number of a torrent, as INDEX=PATH; may be given
    /// several times.
    INDEX_OUT: List = "index-out" {
        short: 'O',
        arg: "INDEX=PATH",
        kind: Kind::IndexPath,
        scope: ADD | QUEUED | LIST,
        tags: [Bittorrent],
    }

    /// TCP ports at which peers reach us, the first free one is taken; for example
    /// 6881,6885-6889.
    LISTEN_PORT: Ranges = "listen-port" {
        arg: "PORT...",
        kind: Kind::Ranges(1024, 65_535),
        default: "6881-6999",
        scope: 0,
        tags: [Basic, Bittorrent],
    }

    /// Most bytes a second that all torrents together may send; 0 means no limit.
    MAX_OVERALL_UPLOAD_LIMIT: i64 = "max-overall-upload-limit" {
        arg: "SPEED",
        kind: Kind::Size(0, MAX),
        default: "0",
        scope: GLOBAL,
        tags: [Basic, Bittorrent],
    }

    /// Most bytes a second that each torrent may send; 0 means no limit.
    MAX_UPLOAD_LIMIT: i64 = "max-upload-limit" {
        short: 'u',
        arg: "SPEED",
        kind: Kind::Size(0, MAX),
        default: "0",
        scope: ADD | QUEUED | LIVE | GLOBAL,
        tags: [Basic, Bittorrent],
    }

    /// Program to run when all data of a torrent is there, before seeding. It gets the
    /// identifier, the number of files and the first path.
    ON_BT_DOWNLOAD_COMPLETE: Text = "on-bt-download-complete" {
        arg: "COMMAND",
        kind: Kind::Path,
        scope: HOME,
        tags: [Advanced, Hook],
    }

    /// Pause the downloads that a magnet link, a fetched torrent or a Metalink brings forth. Only
    /// of use with RPC.
    PAUSE_METADATA: bool = "pause-metadata" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, Rpc],
    }

    /// Name of the program that peers are told in the extended handshake.
    PEER_AGENT: Text = "peer-agent" {
        arg: "PEER_AGENT",
        kind: Kind::Text,
        default: concat!("arioso/", env!("CARGO_PKG_VERSION")),
        scope: 0,
        tags: [Bittorrent],
    }

    /// Beginning of the 20 bytes that identify us to peers and trackers; the rest is random.
    PEER_ID_PREFIX: Text = "peer-id-prefix" {
        arg: "PEER_ID_PREFIX",
        kind: Kind::Text,
        default: "-Ai0100-",
        scope: 0,
        tags: [Bittorrent],
    }

    /// Seed until this many times the size was sent; 0.0 means without end. seed-time may end it
    /// earlier.
    SEED_RATIO: f64 = "seed-ratio" {
        arg: "RATIO",
        kind: Kind::Float(0.0),
        default: "1.0",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Seed for this many minutes at most, fractions allowed; 0 does not seed at all.
    SEED_TIME: Option<f64> = "seed-time" {
        arg: "MINUTES",
        kind: Kind::Float(0.0),
        scope: ADD | QUEUED | GLOBAL,
        tags: [Bittorrent],
    }

    /// Numbers of the files of a torrent or Metalink to download, for example 1-5,8; all without
    /// it. show-files prints the numbers.
    SELECT_FILE: Ranges = "select-file" {
        arg: "INDEX...",
        kind: Kind::Ranges(1, 1_048_576),
        scope: ADD | QUEUED,
        tags: [Metalink, Bittorrent],
    }

    /// List the files in the given torrents and Metalinks with their numbers, and exit.
    SHOW_FILES: bool = "show-files" {
        short: 'S',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Basic, Metalink, Bittorrent],
    }

    /// Path of a .torrent file to download.
    TORRENT_FILE: Text = "torrent-file" {
        short: 'T',
        arg: "TORRENT_FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Basic, Bittorrent],
    }
}
