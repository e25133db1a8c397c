//! Pure: one connection with a peer, after the handshake: who may ask whom for what, which requests
//! are open, how many more the link can carry, and what came of them.
//!
//! Invariant: a block is at most once in `open`; every block put there by [`Peer::request`] leaves
//! with exactly one event, [`PeerEvent::Block`] or [`PeerEvent::Released`].

mod event;
mod incoming;
mod pipeline;
mod shape;
mod upload;
mod view;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::event::{PeerError, PeerEvent};
pub use self::shape::Shape;
pub use self::upload::allowed_fast_set;
use self::{pipeline::Pipeline, upload::Upload};
use super::extension::{self, ExtendedHandshake};
use super::handshake::Handshake;
use super::wire::{Block, Message};
use crate::base::bitfield::Bitfield;
use crate::base::units::PieceIdx;
use crate::limit::Meter;

/// Something is sent at least so often, so that the other side does not hang up (BEP 3).
const KEEP_ALIVE: Duration = Duration::from_secs(110);
/// A peer that owes blocks for so long is snubbing us.
pub const SNUB_AFTER: Duration = Duration::from_secs(60);

/// What a connection is told of our side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerSettings {
    /// How long a peer may be silent (`bt-timeout`).
    pub idle_max: Duration,
    /// Our extended handshake.
    pub extensions: ExtendedHandshake,
    /// Port of our DHT node, told to peers that have one as well.
    pub dht_port: Option<u16>,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Peer {
    shape: Option<Shape>,
    settings: PeerSettings,
    /// Both sides speak it.
    fast: bool,
    remote: Handshake,
    extensions: ExtendedHandshake,
    has: Bitfield,
    /// What came before the shape was known.
    early: Vec<Message>,
    we_interested: bool,
    they_choke: bool,
    they_interested: bool,
    allowed_fast: Vec<PieceIdx>,
    pipeline: Pipeline,
    upload: Upload,
    down: Meter,
    up: Meter,
    /// Bytes that came without having been asked for, or twice.
    wasted: u64,
    began_at: Instant,
    received_at: Instant,
    sent_at: Instant,
    messages: VecDeque<Message>,
    events: VecDeque<PeerEvent>,
}

impl Peer {
    /// A connection whose handshakes are done. `shape` is not known for a magnet link. `ours` is
    /// what we sent, `remote` what came.
    pub fn new(
        now: Instant,
        shape: Option<Shape>,
        settings: PeerSettings,
        ours: &Handshake,
        remote: Handshake,
    ) -> Self {
        let count = shape.map_or(0, Shape::piece_count);
        let fast = ours.fast && remote.fast;
        let mut peer = Self {
            shape,
            fast,
            extensions: ExtendedHandshake::default(),
            has: Bitfield::new(count),
            early: Vec::new(),
            we_interested: false,
            they_choke: true,
            they_interested: false,
            allowed_fast: Vec::new(),
            pipeline: Pipeline::new(),
            upload: Upload::new(fast),
            down: Meter::new(),
            up: Meter::new(),
            wasted: 0,
            began_at: now,
            received_at: now,
            sent_at: now,
            messages: VecDeque::new(),
            events: VecDeque::new(),
            settings,
            remote,
        };
        if ours.extended && remote.extended {
            let hello = peer.settings.extensions.encode();
            peer.send_extended(extension::HANDSHAKE, hello);
        }
        if let (true, true, Some(port)) = (ours.dht, remote.dht, peer.settings.dht_port) {
            peer.messages.push_back(Message::Port(port));
        }
        peer
    }

    /// Tells the peer what we have; the first thing to call, before any request. Nothing is said
    /// while the torrent is not known.
    pub fn send_have(&mut self, have: &Bitfield) {
        if self.shape.is_none() {
            return;
        }
        let message = match (self.fast, have.none(), have.all()) {
            (true, true, _) => Message::HaveNone,
            (true, _, true) => Message::HaveAll,
            (false, true, _) => return,
            _ => Message::Bitfield(Bytes::copy_from_slice(have.as_bytes())),
        };
        // The bitfield comes before everything else (BEP 3); older clients insist.
        self.messages.push_front(message);
    }

    /// The torrent of a magnet link is known now.
    ///
    /// # Errors
    /// When the peer has said things that do not fit it.
    pub fn set_shape(&mut self, now: Instant, shape: Shape) -> Result<(), PeerError> {
        self.shape = Some(shape);
        self.has = Bitfield::new(shape.piece_count());
        for message in std::mem::take(&mut self.early) {
            self.handle_message(now, message)?;
        }
        Ok(())
    }

    /// How many more blocks to ask for now; 0 while choked, unless only the pieces of
    /// [`Self::allowed_fast`] are meant.
    pub fn window(&self, now: Instant) -> usize {
        let may_ask = self.we_interested && (!self.they_choke || !self.allowed_fast.is_empty());
        if may_ask {
            self.pipeline.window(self.down.speed(now))
        } else {
            0
        }
    }

    /// Whether a block of this piece may be asked for now.
    pub fn may_request(&self, piece: PieceIdx) -> bool {
        self.has.get(piece.0) && (!self.they_choke || self.allowed_fast.contains(&piece))
    }

    /// Asks for a block; false (and nothing happens) when it may not be asked for or is open.
    pub fn request(&mut self, now: Instant, block: Block) -> bool {
        let fits = self.shape.is_some_and(|shape| shape.holds(block));
        if !fits || !self.may_request(block.piece) || !self.pipeline.open(now, block) {
            return false;
        }
        self.messages.push_back(Message::Request(block));
        true
    }

    /// Takes a request back (end-game: somebody else was faster). With the fast extension the peer
    /// answers, so the block stays open until then.
    pub fn cancel(&mut self, block: Block) {
        if !self.pipeline.is_open(block) {
            return;
        }
        self.messages.push_back(Message::Cancel(block));
        if !self.fast && self.pipeline.take(block) {
            self.events.push_back(PeerEvent::Released(block));
        }
    }

    /// Tells the peer whether it has something we want.
    pub fn set_interested(&mut self, interested: bool) {
        if self.we_interested != interested {
            self.we_interested = interested;
            self.messages.push_back(match interested {
                true => Message::Interested,
                false => Message::NotInterested,
            });
        }
    }

    /// Chokes the peer or lets it go.
    pub fn set_choked(&mut self, choked: bool) {
        self.messages.extend(self.upload.set_choked(choked));
    }

    /// Pieces the peer may have while it is choked (BEP 6); see [`allowed_fast_set`].
    pub fn allow_fast(&mut self, pieces: Vec<PieceIdx>) {
        if self.fast {
            self.messages
                .extend(pieces.iter().copied().map(Message::AllowedFast));
            self.upload.allow(pieces);
        }
    }

    /// We have this piece now.
    pub fn send_have_piece(&mut self, piece: PieceIdx) {
        if self.shape.is_some() {
            self.messages.push_back(Message::Have(piece));
        }
    }

    /// The next block the peer wants and may have; the answer is [`Self::send_block`] or
    /// [`Self::refuse`]. Drivers take one when the upload limit allows it.
    pub fn poll_asked(&mut self) -> Option<Block> {
        self.upload.poll()
    }

    /// Answers what [`Self::poll_asked`] gave. Dropped, and false, when the peer was choked in the
    /// meantime.
    pub fn send_block(&mut self, now: Instant, block: Block, data: Bytes) -> bool {
        if !self.upload.finish(block) {
            return false;
        }
        self.up.record(now, data.len() as u64);
        self.messages.push_back(Message::Piece {
            piece: block.piece,
            begin: block.begin,
            data,
        });
        true
    }

    /// We do not have what [`Self::poll_asked`] gave.
    pub fn refuse(&mut self, block: Block) {
        if self.upload.finish(block) && self.fast {
            self.messages.push_back(Message::Reject(block));
        }
    }

    /// Sends a ut_metadata message, if the peer takes them.
    pub fn send_metadata(&mut self, payload: Vec<u8>) {
        if let Some(id) = self.extensions.ut_metadata.filter(|id| *id > 0) {
            self.send_extended(id, payload);
        }
    }

    /// Sends a ut_pex message, if the peer takes them.
    pub fn send_pex(&mut self, payload: Vec<u8>) {
        if let Some(id) = self.extensions.ut_pex.filter(|id| *id > 0) {
            self.send_extended(id, payload);
        }
    }

    /// Tells the peer what changed on our side (upload only, metadata size).
    pub fn send_extensions(&mut self, said: &ExtendedHandshake) {
        if self.remote.extended {
            self.send_extended(extension::HANDSHAKE, said.encode());
        }
    }

    fn send_extended(&mut self, id: u8, payload: Vec<u8>) {
        self.messages.push_back(Message::Extended {
            id,
            payload: payload.into(),
        });
    }

    /// # Errors
    /// [`PeerError::Idle`] when the peer was silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        if now.saturating_duration_since(self.received_at) >= self.settings.idle_max {
            self.close();
            return Err(PeerError::Idle);
        }
        if now.saturating_duration_since(self.sent_at) >= KEEP_ALIVE && self.messages.is_empty() {
            self.messages.push_back(Message::KeepAlive);
        }
        if self.pipeline.is_snubbing(now) {
            self.events.push_back(PeerEvent::Snubbed);
            let released = self.pipeline.snub().map(PeerEvent::Released);
            self.events.extend(released);
        }
        Ok(())
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Instant {
        let idle = self.received_at + self.settings.idle_max;
        let keep_alive = self.sent_at + KEEP_ALIVE;
        let soonest = idle.min(keep_alive);
        self.pipeline
            .snub_at()
            .map_or(soonest, |snub| soonest.min(snub))
    }

    /// The next message to write.
    pub fn poll_message(&mut self, now: Instant) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.sent_at = now;
        Some(message)
    }

    /// Whether messages wait to be written.
    pub fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// The connection is gone: everything still open comes as `Released`.
    pub fn close(&mut self) {
        let released = self.pipeline.drain().map(PeerEvent::Released);
        self.events.extend(released);
        self.upload.forget_all();
    }

    /// Whether one of two connected sides could still use the other; a seed needs no seed.
    pub fn is_useless(&self, we_are_done: bool) -> bool {
        we_are_done && (self.is_seeder() || self.extensions.upload_only == Some(true))
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
