//! Pure: what the peer says.

use std::time::Instant;

use bytes::Bytes;

use super::{Peer, PeerError, PeerEvent, Shape};
use crate::base::bitfield::Bitfield;
use crate::base::units::PieceIdx;
use crate::bittorrent::extension::{self, ExtendedHandshake};
use crate::bittorrent::wire::{Block, Message};

/// Messages kept of a peer while the piece count is unknown (magnet links).
const EARLY_COUNT_MAX: usize = 20_000;
/// Pieces remembered that may be had while choked; ten are usual.
const ALLOWED_FAST_MAX: usize = 100;

impl Peer {
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
        if self.pipeline.arrived(now, block, || self.down.speed(now)) {
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
}
