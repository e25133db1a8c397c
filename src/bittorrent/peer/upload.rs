//! Pure: what one peer asks us for.

use std::collections::VecDeque;

use sha1::{Digest, Sha1};

use crate::base::units::PieceIdx;
use crate::bittorrent::extension::REQUEST_COUNT_MAX;
use crate::bittorrent::wire::{Block, Message, REQUEST_LEN_MAX};
use crate::format::info_hash::InfoHash;

#[derive(Debug)]
pub struct Upload {
    fast: bool,
    choked: bool,
    /// Pieces it may have while choked.
    allowed: Vec<PieceIdx>,
    asked: VecDeque<Block>,
    /// Handed to the driver, not answered yet.
    reading: Vec<Block>,
}

impl Upload {
    pub fn new(fast: bool) -> Self {
        Self {
            fast,
            choked: true,
            allowed: Vec::new(),
            asked: VecDeque::new(),
            reading: Vec::new(),
        }
    }

    pub fn is_choked(&self) -> bool {
        self.choked
    }

    pub fn allow(&mut self, pieces: Vec<PieceIdx>) {
        self.allowed = pieces;
    }

    fn may_have(&self, block: Block) -> bool {
        !self.choked || self.allowed.contains(&block.piece)
    }

    fn rejection(&self, block: Block) -> Option<Message> {
        self.fast.then_some(Message::Reject(block))
    }

    /// Queues a request.
    ///
    /// # Errors
    /// The answer to a request that is not granted, if one is to be sent.
    pub fn ask(&mut self, block: Block) -> Result<(), Option<Message>> {
        let known = self.asked.contains(&block) || self.reading.contains(&block);
        if known {
            return Err(None);
        }
        let full = self.asked.len() + self.reading.len() >= REQUEST_COUNT_MAX as usize;
        if full || block.len > REQUEST_LEN_MAX || !self.may_have(block) {
            return Err(self.rejection(block));
        }
        self.asked.push_back(block);
        Ok(())
    }

    /// The peer takes a request back; what is being read is sent nevertheless.
    pub fn cancel(&mut self, block: Block) -> Option<Message> {
        let at = self.asked.iter().position(|asked| *asked == block)?;
        self.asked.remove(at);
        self.rejection(block)
    }

    pub fn poll(&mut self) -> Option<Block> {
        let block = self.asked.pop_front()?;
        self.reading.push(block);
        Some(block)
    }

    /// True when the block is still to be sent.
    pub fn finish(&mut self, block: Block) -> bool {
        match self.reading.iter().position(|reading| *reading == block) {
            Some(at) => {
                self.reading.swap_remove(at);
                true
            }
            None => false,
        }
    }

    pub fn forget_all(&mut self) {
        self.asked.clear();
        self.reading.clear();
    }

    /// Messages that tell the peer; none when nothing changes.
    pub fn set_choked(&mut self, choked: bool) -> Vec<Message> {
        if self.choked == choked {
            return Vec::new();
        }
        self.choked = choked;
        if !choked {
            return vec![Message::Unchoke];
        }
        let mut messages = vec![Message::Choke];
        let asked: Vec<Block> = self.asked.drain(..).chain(self.reading.drain(..)).collect();
        for block in asked {
            if self.fast && self.may_have(block) {
                self.asked.push_back(block);
            } else {
                messages.extend(self.rejection(block));
            }
        }
        messages
    }
}

/// Pieces that a peer at this IPv4 address may have while choked: up to `count` of them, the same
/// whoever computes it (BEP 6).
pub fn allowed_fast_set(
    ip: [u8; 4],
    info_hash: InfoHash,
    piece_count: u32,
    count: usize,
) -> Vec<PieceIdx> {
    let count = count.min(piece_count as usize);
    let mut pieces = Vec::with_capacity(count);
    let [a, b, c, _] = ip;
    let mut seed = [&[a, b, c, 0][..], &info_hash.0].concat();
    while pieces.len() < count {
        seed = Sha1::digest(&seed).to_vec();
        for word in seed.as_chunks::<4>().0 {
            let piece = PieceIdx(u32::from_be_bytes(*word) % piece_count);
            if pieces.len() < count && !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_fast_set_is_that_of_bep_6() {
        let set = |count| {
            let pieces = allowed_fast_set([80, 4, 4, 200], InfoHash([0xaa; 20]), 1313, count);
            pieces.iter().map(|piece| piece.0).collect::<Vec<_>>()
        };
        assert_eq!(set(7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set(9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
        assert_eq!(allowed_fast_set([1; 4], InfoHash([1; 20]), 3, 10).len(), 3);
        assert!(allowed_fast_set([1; 4], InfoHash([1; 20]), 0, 10).is_empty());
    }
}
