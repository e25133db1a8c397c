//! Pure: a piece peers work on, block by block.

use std::time::Instant;

use crate::base::range_set::RangeSet;
use crate::base::units::{PieceIdx, SourceId};
use crate::bittorrent::peer::Shape;
use crate::bittorrent::wire::{BLOCK_LEN, Block};

/// Peers one block is asked of at once, in the end-game.
pub const ASKERS_MAX: usize = 3;

/// What is known of one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Slot {
    had: bool,
    askers: [Option<SourceId>; ASKERS_MAX],
}

impl Slot {
    fn is_free(&self) -> bool {
        !self.had && self.askers[0].is_none()
    }
}

/// A piece that is checked out.
#[derive(Debug)]
pub struct Partial {
    slots: Vec<Slot>,
    /// Blocks that are neither had nor asked for.
    free: usize,
    /// Requests open for blocks of it.
    asked: usize,
    had: usize,
    /// Only this peer is asked for blocks of it.
    pub owner: Option<SourceId>,
    /// It failed its hash: one peer alone has to send all of it, so that a second failure names
    /// the culprit.
    pub solo: bool,
    /// The last block came, or the last request was made, at this time.
    pub moved_at: Instant,
}

impl Partial {
    /// Blocks that `on_disk` (spans of the download) covers are had.
    pub fn new(now: Instant, shape: Shape, piece: PieceIdx, on_disk: &RangeSet) -> Self {
        let slots: Vec<Slot> = blocks(shape, piece)
            .map(|block| Slot {
                had: on_disk.covers(block.span(shape.piece_len)),
                askers: [None; ASKERS_MAX],
            })
            .collect();
        let had = slots.iter().filter(|slot| slot.had).count();
        Self {
            free: slots.len() - had,
            had,
            slots,
            asked: 0,
            owner: None,
            solo: false,
            moved_at: now,
        }
    }

    pub fn free(&self) -> usize {
        self.free
    }

    /// Requests that are open.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Blocks that have not come.
    pub fn missing(&self) -> usize {
        self.slots.len() - self.had
    }

    /// Bytes that have not come, the last block counted as a whole one.
    pub fn missing_len(&self) -> u64 {
        self.missing() as u64 * u64::from(BLOCK_LEN)
    }

    pub fn is_had(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.had)
    }

    /// Indexes of up to `count` free blocks, which now are asked of `by`.
    pub fn ask(&mut self, now: Instant, by: SourceId, count: usize) -> Vec<usize> {
        let mut asked = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if asked.len() == count || self.free == 0 {
                break;
            }
            if slot.is_free() {
                slot.askers[0] = Some(by);
                self.free -= 1;
                self.asked += 1;
                asked.push(index);
            }
        }
        if !asked.is_empty() {
            self.moved_at = now;
        }
        asked
    }

    /// Asks a block that is asked of others of one more; false when it has come, is free, or enough
    /// are asked.
    pub fn double(&mut self, index: usize, by: SourceId) -> bool {
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        if slot.had || slot.is_free() || slot.askers.contains(&Some(by)) {
            return false;
        }
        let Some(place) = slot.askers.iter_mut().find(|asker| asker.is_none()) else {
            return false;
        };
        *place = Some(by);
        self.asked += 1;
        true
    }

    /// The block came; returns the others it is still asked of.
    pub fn took(&mut self, now: Instant, index: usize) -> Vec<SourceId> {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| !slot.had) else {
            return Vec::new();
        };
        if slot.is_free() {
            self.free -= 1;
        }
        slot.had = true;
        self.had += 1;
        self.moved_at = now;
        slot.askers.iter().copied().flatten().collect()
    }

    /// A request for the block is over; true when nobody is asked for it now.
    pub fn unask(&mut self, index: usize, by: SourceId) -> bool {
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        let Some(place) = slot.askers.iter().position(|asker| *asker == Some(by)) else {
            return false;
        };
        // The first place says whether anybody is asked.
        slot.askers[place..].rotate_left(1);
        slot.askers[ASKERS_MAX - 1] = None;
        self.asked -= 1;
        let freed = slot.is_free();
        self.free += usize::from(freed);
        freed
    }

    /// Nothing of it is had, and nobody is asked. Those who were: `(block index, peer)`.
    pub fn reset(&mut self, now: Instant) -> Vec<(usize, SourceId)> {
        let mut asked = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            asked.extend(slot.askers.iter().flatten().map(|by| (index, *by)));
            *slot = Slot::default();
        }
        self.free = self.slots.len();
        self.asked = 0;
        self.had = 0;
        self.owner = None;
        self.moved_at = now;
        asked
    }

    /// Everybody a block of it is asked of: `(block index, peer)`.
    pub fn all_askers(&self) -> impl Iterator<Item = (usize, SourceId)> + '_ {
        self.slots.iter().enumerate().flat_map(|(index, slot)| {
            let askers = slot.askers.iter().copied().flatten();
            askers.map(move |by| (index, by))
        })
    }

    /// One letter a block: `#` had, `.` free, a letter for the one asked (`a` is peer 0), `*` for
    /// several.
    #[cfg(test)]
    pub fn draw(&self) -> String {
        let letter = |slot: &Slot| match slot.askers {
            _ if slot.had => '#',
            [None, ..] => '.',
            [Some(by), None, ..] => char::from(b'a' + (by.0 % 26) as u8),
            _ => '*',
        };
        self.slots.iter().map(letter).collect()
    }
}

/// The blocks of a piece.
pub fn blocks(shape: Shape, piece: PieceIdx) -> impl Iterator<Item = Block> {
    let count = shape.len_of(piece).div_ceil(BLOCK_LEN);
    (0..count as usize).map(move |index| block(shape, piece, index))
}

/// A block by its index in the piece.
pub fn block(shape: Shape, piece: PieceIdx, index: usize) -> Block {
    let begin = index as u32 * BLOCK_LEN;
    let len = shape.len_of(piece).saturating_sub(begin).min(BLOCK_LEN);
    Block::new(piece.0, begin, len)
}
