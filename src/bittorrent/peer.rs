//! Pure: one connection with a peer, after the handshake: who may ask whom for what, which requests
//! are open, how many more the link can carry, and what came of them.
//!
//! Invariant: a block is at most once in `open`; every block put there by [`Peer::request`] leaves
//! with exactly one event, [`PeerEvent::Block`] or [`PeerEvent::Released`].

mod pipeline;
mod upload;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

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
/// Messages kept of a peer while the piece count is unknown (magnet links).
const EARLY_COUNT_MAX: usize = 20_000;
/// Pieces remembered that may be had while choked; ten are usual.
const ALLOWED_FAST_MAX: usize = 100;

/// The pieces of a torrent, as far as a connection needs to know them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub piece_len: u32,
    pub total: u64,
}

impl Shape {
    pub fn piece_count(self) -> u32 {
        // A torrent whose hashes fit into memory has fewer pieces than u32::MAX.
        u32::try_from(self.total.div_ceil(u64::from(self.piece_len.max(1)))).unwrap_or(u32::MAX)
    }

    /// Bytes of a piece; 0 past the end.
    pub fn len_of(self, piece: PieceIdx) -> u32 {
        let start = u64::from(piece.0) * u64::from(self.piece_len);
        let rest = self.total.saturating_sub(start);
        rest.min(u64::from(self.piece_len)) as u32
    }

    /// Whether the block lies inside its piece.
    pub fn holds(self, block: Block) -> bool {
        let end = u64::from(block.begin) + u64::from(block.len);
        block.len > 0 && end <= u64::from(self.len_of(block.piece))
    }
}

/// What happened on a connection that others need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerEvent {
    /// The peer has these pieces in addition.
    Has(Vec<PieceIdx>),
    /// The peer choked us or let us go; requests may follow.
    Choked(bool),
    Interested(bool),
    /// A block we asked for.
    Block {
        block: Block,
        data: Bytes,
    },
    /// A block we asked for will not come: somebody else may get it.
    Released(Block),
    /// The peer has owed blocks for [`SNUB_AFTER`].
    Snubbed,
    /// The peer asks for blocks; see [`Peer::poll_asked`].
    Asks,
    /// UDP port of the peer's DHT node.
    DhtPort(u16),
    /// This piece may be asked for while choked.
    AllowedFast(PieceIdx),
    /// The peer suggests to fetch this piece (it has it at hand).
    Suggests(PieceIdx),
    /// What the peer said of itself; see [`Peer::extensions`] for all of it.
    Extensions(ExtendedHandshake),
    /// Payload of a ut_metadata message.
    Metadata(Bytes),
    /// Payload of a ut_pex message.
    Pex(Bytes),
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerError {
    /// A bitfield of another length, or with bits behind the last piece.
    BadBitfield,
    /// A piece, or a block of one, that does not exist.
    BadIndex,
    /// A message of the fast extension that was not agreed on.
    NotAgreed,
    /// Messages without end before the torrent is known.
    TooMuch,
    /// Neither side has anything the other wants.
    Useless,
    /// Silent for too long.
    Idle,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadBitfield => "peer sent an impossible bitfield",
            Self::BadIndex => "peer means a piece that does not exist",
            Self::NotAgreed => "peer sent a message of an extension that was not agreed on",
            Self::TooMuch => "peer sent too much before the torrent was known",
            Self::Useless => "neither side has anything for the other",
            Self::Idle => "peer was silent for too long",
        })
    }
}

impl std::error::Error for PeerError {}

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

    /// # Errors
    /// When the connection is to be closed; requests still open come as `Released` before.
    pub fn handle_message(&mut self, now: Instant, message: Message) -> Result<(), PeerError> {
        let handled = self.take_message(now, message);
        if handled.is_err() {
            self.close();
        }
        handled
    }

    fn take_message(&mut self, now: Instant, message: Message) -> Result<(), PeerError> {
        self.received_at = now;
        let is_fast = matches!(
            message,
            Message::HaveAll
                | Message::HaveNone
                | Message::SuggestPiece(_)
                | Message::Reject(_)
                | Message::AllowedFast(_)
        );
        if is_fast && !self.fast {
            return Err(PeerError::NotAgreed);
        }
        let about_pieces = is_fast || matches!(message, Message::Have(_) | Message::Bitfield(_));
        let Some(shape) = self.shape.filter(|_| about_pieces) else {
            if about_pieces {
                return self.keep(message);
            }
            return self.handle_plain(now, message);
        };
        match message {
            Message::Have(piece) => self.add_pieces(shape, vec![piece])?,
            Message::Bitfield(bits) => {
                let bits = Bitfield::from_bytes(bits.to_vec(), shape.piece_count());
                let bits = bits.ok_or(PeerError::BadBitfield)?;
                self.add_pieces(shape, bits.ones().map(PieceIdx).collect())?;
            }
            Message::HaveAll => {
                self.add_pieces(shape, (0..shape.piece_count()).map(PieceIdx).collect())?;
            }
            Message::SuggestPiece(piece) if piece.0 < shape.piece_count() => {
                self.events.push_back(PeerEvent::Suggests(piece));
            }
            Message::AllowedFast(piece) => self.allow(shape, piece),
            Message::Reject(block) => self.handle_reject(block),
            _ => {}
        }
        Ok(())
    }

    /// What means the same whether or not the pieces are known.
    fn handle_plain(&mut self, now: Instant, message: Message) -> Result<(), PeerError> {
        match message {
            Message::Choke => self.handle_choke(),
            Message::Unchoke if self.they_choke => {
                self.they_choke = false;
                self.pipeline.restart(now);
                self.events.push_back(PeerEvent::Choked(false));
            }
            Message::Interested if !self.they_interested => {
                self.they_interested = true;
                self.events.push_back(PeerEvent::Interested(true));
            }
            Message::NotInterested if self.they_interested => {
                self.they_interested = false;
                self.upload.forget_all();
                self.events.push_back(PeerEvent::Interested(false));
            }
            Message::Request(block) => self.handle_request(block)?,
            Message::Cancel(block) => self.messages.extend(self.upload.cancel(block)),
            Message::Piece { piece, begin, data } => {
                let block = Block::new(piece.0, begin, data.len() as u32);
                self.handle_block(now, block, data);
            }
            Message::Port(port) if port > 0 => self.events.push_back(PeerEvent::DhtPort(port)),
            Message::Extended { id, payload } => self.handle_extended(id, payload),
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, message: Message) -> Result<(), PeerError> {
        if self.early.len() >= EARLY_COUNT_MAX {
            return Err(PeerError::TooMuch);
        }
        if matches!(message, Message::Bitfield(_)) {
            // Only one can be right; more would be kept for nothing.
            self.early
                .retain(|kept| !matches!(kept, Message::Bitfield(_)));
        }
        self.early.push(message);
        Ok(())
    }

    fn add_pieces(&mut self, shape: Shape, mut pieces: Vec<PieceIdx>) -> Result<(), PeerError> {
        if pieces.iter().any(|piece| piece.0 >= shape.piece_count()) {
            return Err(PeerError::BadIndex);
        }
        pieces.retain(|piece| !self.has.get(piece.0));
        for piece in &pieces {
            self.has.set(piece.0, true);
        }
        if !pieces.is_empty() {
            self.events.push_back(PeerEvent::Has(pieces));
        }
        Ok(())
    }

    /// Without the fast extension a choke means that nothing asked for will come (BEP 3); with it
    /// every request is answered (BEP 6).
    fn handle_choke(&mut self) {
        if !self.they_choke {
            self.they_choke = true;
            self.events.push_back(PeerEvent::Choked(true));
        }
        if !self.fast {
            let released = self.pipeline.drain().map(PeerEvent::Released);
            self.events.extend(released);
        }
    }

    fn allow(&mut self, shape: Shape, piece: PieceIdx) {
        let exists = piece.0 < shape.piece_count();
        let room = self.allowed_fast.len() < ALLOWED_FAST_MAX;
        if exists && room && !self.allowed_fast.contains(&piece) {
            self.allowed_fast.push(piece);
            self.events.push_back(PeerEvent::AllowedFast(piece));
        }
    }

    fn handle_reject(&mut self, block: Block) {
        // A peer that rejects what it allowed does not allow it any more.
        if self.they_choke {
            self.allowed_fast.retain(|piece| *piece != block.piece);
        }
        if self.pipeline.take(block) {
            self.events.push_back(PeerEvent::Released(block));
        }
    }

    fn handle_block(&mut self, now: Instant, block: Block, data: Bytes) {
        self.down.record(now, data.len() as u64);
        if self.pipeline.arrived(now, block, self.down.speed(now)) {
            self.events.push_back(PeerEvent::Block { block, data });
        } else {
            self.wasted += data.len() as u64;
        }
    }

    fn handle_request(&mut self, block: Block) -> Result<(), PeerError> {
        if !self.shape.is_some_and(|shape| shape.holds(block)) {
            return Err(PeerError::BadIndex);
        }
        match self.upload.ask(block) {
            Ok(()) => self.events.push_back(PeerEvent::Asks),
            Err(answer) => self.messages.extend(answer),
        }
        Ok(())
    }

    fn handle_extended(&mut self, id: u8, payload: Bytes) {
        match id {
            extension::HANDSHAKE => {
                if let Some(said) = ExtendedHandshake::decode(&payload) {
                    if let Some(count) = said.request_count_max {
                        self.pipeline.set_open_max(count);
                    }
                    self.extensions.update(said.clone());
                    self.events.push_back(PeerEvent::Extensions(said));
                }
            }
            extension::UT_METADATA if self.settings.extensions.ut_metadata.is_some() => {
                self.events.push_back(PeerEvent::Metadata(payload));
            }
            extension::UT_PEX if self.settings.extensions.ut_pex.is_some() => {
                self.events.push_back(PeerEvent::Pex(payload));
            }
            _ => {}
        }
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

    pub fn handshake(&self) -> &Handshake {
        &self.remote
    }

    /// All the peer has said of itself.
    pub fn extensions(&self) -> &ExtendedHandshake {
        &self.extensions
    }

    /// The peer's pieces; empty while their number is not known.
    pub fn pieces(&self) -> &Bitfield {
        &self.has
    }

    pub fn is_seeder(&self) -> bool {
        !self.has.is_empty() && self.has.all()
    }

    pub fn speaks_fast(&self) -> bool {
        self.fast
    }

    /// Pieces that may be asked for while choked.
    pub fn allowed_fast(&self) -> &[PieceIdx] {
        &self.allowed_fast
    }

    pub fn is_choking_us(&self) -> bool {
        self.they_choke
    }

    pub fn is_choked(&self) -> bool {
        self.upload.is_choked()
    }

    pub fn is_interested(&self) -> bool {
        self.they_interested
    }

    pub fn are_we_interested(&self) -> bool {
        self.we_interested
    }

    pub fn is_snubbing(&self) -> bool {
        self.pipeline.is_snubbed()
    }

    /// Blocks asked for that have not come.
    pub fn open_count(&self) -> usize {
        self.pipeline.len()
    }

    /// Counts payload that came; its total and speed.
    pub fn down(&self) -> &Meter {
        &self.down
    }

    /// Counts payload that went out.
    pub fn up(&self) -> &Meter {
        &self.up
    }

    /// Payload that came for nothing, in bytes.
    pub fn wasted(&self) -> u64 {
        self.wasted
    }

    pub fn began_at(&self) -> Instant {
        self.began_at
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
