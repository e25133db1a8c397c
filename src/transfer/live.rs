//! What RPC reads of a running download: counters without locks, the rest behind a short one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::base::bitfield::Bitfield;
use crate::base::range_set::RangeSet;
use crate::bittorrent::discovery::SwarmCounts;
use crate::bittorrent::handshake::PeerId;
use crate::limit::Meter;
use crate::source::Identity;
use crate::storage::Layout;

use super::uri_pool::UriEntry;

/// Marks "not being verified".
const NO_VERIFY: u64 = u64::MAX;
/// Marks [`Verified::Waits`].
const WAITS: u64 = u64::MAX - 1;

/// How far the check of what is on the disk has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verified {
    /// The files of another download are being hashed.
    Waits,
    /// Bytes hashed.
    Bytes(u64),
}

/// The figures of one download, written by its transfer and read by anyone at any time. They
/// outlive the transfer, so that a paused or stopped download still shows them.
pub struct Live {
    completed: AtomicU64,
    total: AtomicU64,
    uploaded: AtomicU64,
    verified: AtomicU64,
    allocated: AtomicU64,
    piece_len: AtomicU64,
    connections: AtomicU32,
    /// Seeders among the connected peers.
    seeders: AtomicU32,
    /// Everything wanted is there: we only give.
    seeding: AtomicBool,
    detail: Mutex<Detail>,
}

/// The figures that are more than a number.
#[derive(Default)]
pub struct Detail {
    /// Where the (first) file is being written; `None` before the name is known.
    pub path: Option<PathBuf>,
    pub bitfield: Bitfield,
    pub uris: Vec<UriEntry>,
    pub servers: Vec<ServerEntry>,
    pub peers: Vec<Arc<PeerEntry>>,
    /// All of the swarm, by its tracker.
    pub swarm: SwarmCounts,
    /// The files, once they are settled; of one or several.
    pub layout: Option<Arc<Layout>>,
    /// Download speed; kept here so that it is gone when the transfer is.
    pub down: Option<Arc<Meter>>,
    pub up: Option<Arc<Meter>>,
    /// Exactly what is on disk, finer than a control file says: unpause resumes at the byte.
    pub written: Option<RangeSet>,
    /// What these bytes are a part of: not every file system keeps a note of it.
    pub identity: Option<Identity>,
    /// What an earlier process knew; taken by the first transfer of this one.
    pub restored: Option<Restored>,
}

/// One connected peer, as `getPeers` shows it.
pub struct PeerEntry {
    pub id: PeerId,
    pub address: SocketAddr,
    /// It dialled us.
    pub incoming: bool,
    pub figures: Arc<PeerFigures>,
}

/// What changes while a peer is connected.
#[derive(Default)]
pub struct PeerFigures {
    /// We give it nothing for now.
    pub am_choking: AtomicBool,
    /// It gives us nothing for now.
    pub peer_choking: AtomicBool,
    pub seeder: AtomicBool,
    pub pieces: Mutex<Bitfield>,
    pub down: Arc<Meter>,
    pub up: Arc<Meter>,
}

/// A file at [`Detail::path`] that an earlier process was writing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Bytes; 0: unknown.
    pub total: u64,
    /// The machine has not been started anew since, so what was written is there.
    pub same_boot: bool,
    /// Where it was moved to, or was to be, when it was finished.
    pub moved_to: Option<PathBuf>,
}

/// One connection, as `getServers` shows it.
#[derive(Clone)]
pub struct ServerEntry {
    pub uri: Arc<str>,
    /// After redirects.
    pub current_uri: Arc<str>,
    pub meter: Arc<Meter>,
}

impl Live {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            completed: AtomicU64::new(0),
            total: AtomicU64::new(0),
            uploaded: AtomicU64::new(0),
            verified: AtomicU64::new(NO_VERIFY),
            allocated: AtomicU64::new(NO_VERIFY),
            piece_len: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            seeders: AtomicU32::new(0),
            seeding: AtomicBool::new(false),
            detail: Mutex::new(Detail::default()),
        })
    }

    /// Bytes on disk.
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// Total length; 0 while unknown.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub fn uploaded(&self) -> u64 {
        self.uploaded.load(Ordering::Relaxed)
    }

    /// While the files are being checked, or are to be.
    pub fn verified(&self) -> Option<Verified> {
        match self.verified.load(Ordering::Relaxed) {
            NO_VERIFY => None,
            WAITS => Some(Verified::Waits),
            bytes => Some(Verified::Bytes(bytes)),
        }
    }

    /// Bytes allocated so far, while the file is being allocated.
    pub fn allocated(&self) -> Option<u64> {
        Some(self.allocated.load(Ordering::Relaxed)).filter(|bytes| *bytes != NO_VERIFY)
    }

    /// Piece length; 0 before the first start.
    pub fn piece_len(&self) -> u64 {
        self.piece_len.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Seeders among the connected peers.
    pub fn seeders(&self) -> u32 {
        self.seeders.load(Ordering::Relaxed)
    }

    /// Whether everything wanted of a torrent is there.
    pub fn is_seeding(&self) -> bool {
        self.seeding.load(Ordering::Relaxed)
    }

    /// Bytes a second now.
    pub fn down_speed(&self, now: Instant) -> u64 {
        let meter = self.detail().down.clone();
        meter.map_or(0, |meter| meter.speed(now))
    }

    /// Bytes a second now.
    pub fn up_speed(&self, now: Instant) -> u64 {
        let meter = self.detail().up.clone();
        meter.map_or(0, |meter| meter.speed(now))
    }

    /// Held for a copy only; never across a wait.
    pub fn detail(&self) -> MutexGuard<'_, Detail> {
        self.detail.lock()
    }

    pub fn set_completed(&self, bytes: u64) {
        self.completed.store(bytes, Ordering::Relaxed);
    }

    pub fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    pub fn set_uploaded(&self, bytes: u64) {
        self.uploaded.store(bytes, Ordering::Relaxed);
    }

    pub fn set_verified(&self, verified: Option<Verified>) {
        let mark = match verified {
            None => NO_VERIFY,
            Some(Verified::Waits) => WAITS,
            Some(Verified::Bytes(bytes)) => bytes,
        };
        self.verified.store(mark, Ordering::Relaxed);
    }

    pub fn set_allocated(&self, bytes: Option<u64>) {
        self.allocated
            .store(bytes.unwrap_or(NO_VERIFY), Ordering::Relaxed);
    }

    pub fn set_piece_len(&self, bytes: u64) {
        self.piece_len.store(bytes, Ordering::Relaxed);
    }

    pub fn set_connections(&self, count: u32) {
        self.connections.store(count, Ordering::Relaxed);
    }

    pub fn set_seeders(&self, count: u32) {
        self.seeders.store(count, Ordering::Relaxed);
    }

    pub fn set_seeding(&self, seeding: bool) {
        self.seeding.store(seeding, Ordering::Relaxed);
    }
}
