//! What the transfer wants of the peer, and what it is told of how much more it may want.

use std::collections::VecDeque;
use std::time::Instant;

use super::Driver;
use crate::base::units::PieceIdx;
use crate::bittorrent::link::{PeerOrder, PeerReport};
use crate::bittorrent::peer_source::feed::Fed;
use crate::bittorrent::wire::Block;

/// A window that grew by less than a quarter is not worth a report.
const WINDOW_NEWS_PART: usize = 4;

impl Driver {
    pub(super) fn add_have(&mut self, pieces: &[PieceIdx]) {
        for piece in pieces {
            if piece.0 < self.have.len() {
                self.have.set(piece.0, true);
            }
        }
        self.done = self.done || (!self.have.is_empty() && self.have.all());
    }

    pub(super) fn obey(&mut self, now: Instant, order: PeerOrder) {
        match order {
            PeerOrder::Request(blocks) => {
                self.window_told = self.window_told.saturating_sub(blocks.len());
                self.waiting.extend(blocks);
                self.request_waiting(now);
            }
            PeerOrder::Cancel(blocks) => {
                for block in blocks {
                    match self.waiting.iter().position(|waiting| *waiting == block) {
                        Some(at) => self.reporter.released(self.waiting.remove(at)),
                        None => self.peer.cancel(block),
                    }
                }
            }
            PeerOrder::Have(pieces) => {
                self.add_have(&pieces);
                for piece in pieces {
                    self.peer.send_have_piece(piece);
                }
            }
            PeerOrder::Interested(interested) => self.peer.set_interested(interested),
            PeerOrder::Choke(choke) => self.peer.set_choked(choke),
            PeerOrder::Metadata(payload) => self.peer.send_metadata(payload),
            PeerOrder::Pex(payload) => self.peer.send_pex(payload),
            PeerOrder::Extensions(said) => {
                self.done = said.upload_only.unwrap_or(self.done);
                self.peer.send_extensions(&said);
            }
        }
    }

    /// Asks for what is ordered, as far as the window goes.
    pub(super) fn request_waiting(&mut self, now: Instant) {
        if self.waiting.is_empty() {
            return;
        }
        let mut room = self.peer.window(now);
        while room > 0
            && let Some(block) = self.waiting.pop_front()
        {
            if self.peer.request(now, block) {
                room -= 1;
            } else if !self.may_ask(block) {
                // A block that is open already is answered for once.
                self.reporter.released([block]);
            }
        }
        self.release_waiting();
    }

    /// What the peer will not give is not kept waiting.
    pub(super) fn release_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (keep, drop) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|block| self.may_ask(*block));
        self.waiting = keep;
        let drop: VecDeque<Block> = drop;
        self.reporter.released(drop);
    }

    fn may_ask(&self, block: Block) -> bool {
        let fits = self.torrent.shape.is_some_and(|shape| shape.holds(block));
        fits && self.peer.may_request(block.piece)
    }

    pub(super) fn tell_window(&mut self, now: Instant) {
        let window = self.peer.window(now).saturating_sub(self.waiting.len());
        let whole = window + self.peer.open_count();
        let news = window.abs_diff(self.window_told);
        let hungry = self.window_told == 0 && self.peer.open_count() <= whole / 2;
        if news > 0 && (hungry || news * WINDOW_NEWS_PART >= whole) {
            self.window_told = window;
            self.reporter.tell(PeerReport::Window(window));
        }
    }

    /// Blocks for the peer are read and paid for.
    pub(super) fn send(&mut self, now: Instant, fed: Fed) {
        match fed {
            Fed::Block(block, data) => {
                let len = data.len() as u64;
                if self.peer.send_block(now, block, data) {
                    self.link.up.record(now, len);
                    self.reporter.sent(len);
                }
            }
            Fed::Failed(block, failure) => {
                self.peer.refuse(block);
                self.reporter.tell(PeerReport::Disk(failure));
            }
        }
    }
}
