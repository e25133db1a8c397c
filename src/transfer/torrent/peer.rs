//! What a transfer knows of one connection with a peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::base::bitfield::Bitfield;
use crate::base::units::{PieceIdx, SourceId};
use crate::bittorrent::extension::ExtendedHandshake;
use crate::bittorrent::link::{Greeting, PeerOrder};
use crate::bittorrent::peer::Shape;
use crate::bittorrent::pex::{PexState, flag};
use crate::bittorrent::rotation::Seen;
use crate::transfer::live::{PeerEntry, PeerFigures};

/// One connection, from the first dial on.
pub struct Peer {
    pub address: SocketAddr,
    /// It dialled us.
    pub incoming: bool,
    orders: UnboundedSender<PeerOrder>,
    handle: JoinHandle<()>,
    figures: Arc<PeerFigures>,
    /// Once the handshakes are done.
    pub entry: Option<Arc<PeerEntry>>,
    pub connected_at: Instant,
    encrypted: bool,
    utp: bool,
    /// It wants something of us.
    pub interested: bool,
    /// We want something of it.
    pub wanted: bool,
    /// It gets nothing from us for now.
    pub choked: bool,
    /// It owes blocks for too long.
    pub snubbing: bool,
    pub extensions: ExtendedHandshake,
    pub exchange: PexState,
    /// Bytes that had moved when it was last looked at, and when they had changed.
    moved: (u64, Instant),
    bored_since: Option<Instant>,
}

impl Peer {
    pub fn new(
        now: Instant,
        address: SocketAddr,
        incoming: bool,
        orders: UnboundedSender<PeerOrder>,
        handle: JoinHandle<()>,
        figures: Arc<PeerFigures>,
    ) -> Self {
        figures.am_choking.store(true, Ordering::Relaxed);
        figures.peer_choking.store(true, Ordering::Relaxed);
        Self {
            address,
            incoming,
            orders,
            handle,
            figures,
            entry: None,
            connected_at: now,
            encrypted: false,
            utp: false,
            interested: false,
            wanted: false,
            choked: true,
            snubbing: false,
            extensions: ExtendedHandshake::default(),
            exchange: PexState::default(),
            moved: (0, now),
            bored_since: None,
        }
    }

    pub fn order(&self, order: PeerOrder) {
        let _ = self.orders.send(order);
    }

    pub fn greet(&mut self, now: Instant, greeting: Greeting, shape: Option<Shape>) {
        let pieces = shape.map_or(0, Shape::piece_count);
        *self.figures.pieces.lock() = Bitfield::new(pieces);
        self.connected_at = now;
        self.moved.1 = now;
        self.encrypted = greeting.encrypted;
        self.utp = greeting.utp;
        self.entry = Some(Arc::new(PeerEntry {
            id: greeting.remote.peer_id,
            address: self.address,
            incoming: greeting.incoming,
            figures: self.figures.clone(),
        }));
    }

    /// Looks what use it is.
    pub fn see(&mut self, now: Instant, id: SourceId) -> Seen {
        let bytes = self.figures.down.total() + self.figures.up.total();
        if bytes != self.moved.0 {
            self.moved = (bytes, now);
        }
        let bored = !self.wanted && !self.interested;
        self.bored_since = bored.then(|| self.bored_since.unwrap_or(now));
        Seen {
            id,
            bored_since: self.bored_since,
            moved_at: self.moved.1,
        }
    }

    pub fn figures(&self) -> &PeerFigures {
        &self.figures
    }

    pub fn note_has(&self, pieces: &[PieceIdx]) {
        let mut known = self.figures.pieces.lock();
        for piece in pieces {
            known.set(piece.0, true);
        }
    }

    pub fn note_has_all(&self) {
        let mut known = self.figures.pieces.lock();
        for index in 0..known.len() {
            known.set(index, true);
        }
    }

    /// Whether it has every piece; a torrent without pieces nobody has.
    pub fn is_seeder(&self) -> bool {
        let known = self.figures.pieces.lock();
        !known.is_empty() && known.all()
    }

    pub fn set_choked(&mut self, choked: bool) {
        if self.choked != choked {
            self.choked = choked;
            self.figures.am_choking.store(choked, Ordering::Relaxed);
            self.order(PeerOrder::Choke(choked));
        }
    }

    pub fn set_wanted(&mut self, wanted: bool) {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.order(PeerOrder::Interested(wanted));
        }
    }

    /// Where others can dial it, with what PEX says of it.
    pub fn for_exchange(&self) -> Option<(SocketAddr, u8)> {
        let (address, reached) = match (self.incoming, self.extensions.port) {
            (false, _) => (self.address, flag::REACHABLE),
            (true, Some(port)) => (SocketAddr::new(self.address.ip(), port), 0),
            (true, None) => return None,
        };
        let when = |on: bool, flag: u8| if on { flag } else { 0 };
        let flags = reached
            | when(self.encrypted, flag::ENCRYPTION)
            | when(self.utp, flag::UTP)
            | when(self.is_seeder(), flag::SEED);
        Some((address, flags))
    }

    /// Hangs up; gives what is left to wait for.
    pub fn end(self) -> (SocketAddr, JoinHandle<()>) {
        (self.address, self.handle)
    }
}
