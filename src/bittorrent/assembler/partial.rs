//! Pure: the blocks of one piece that is being put together.
//!
//! Invariant: a block is missing, or it is in memory, on the disk or both.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::base::range_set::RangeSet;
use crate::base::units::Span;
use crate::bittorrent::blame::Sent;
use crate::bittorrent::wire::{BLOCK_LEN, Block};
use crate::storage::memory::Held;

/// A piece, block by block.
pub struct Partial {
    /// Where the piece begins on the line of bytes of the download.
    start: u64,
    /// Bytes of the piece.
    len: u32,
    slots: Vec<Slot>,
    missing: u32,
    /// Bytes in memory that are not on the disk.
    dirty: u64,
    /// Bytes in memory.
    held: Held,
    touched: Instant,
}

#[derive(Clone, Default)]
struct Slot {
    data: Option<Bytes>,
    on_disk: bool,
    /// `None`: a mirror or an earlier run.
    by: Option<SocketAddr>,
}

/// What became of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    Known,
    Kept,
    /// Nothing is missing any more.
    Full,
}

/// Neighbouring blocks in memory.
pub struct Run {
    /// On the line of bytes of the download.
    pub span: Span,
    pub blocks: Vec<Bytes>,
}

/// Part of a piece in the order of its bytes.
pub enum Part<'a> {
    Memory(&'a Bytes),
    /// On the line of bytes of the download.
    Disk(Span),
}

impl Partial {
    /// An empty piece; the blocks that `on_disk` covers as a whole are there.
    pub fn new(start: u64, len: u32, on_disk: &RangeSet, held: Held, now: Instant) -> Self {
        let count = len.div_ceil(BLOCK_LEN);
        let mut partial = Self {
            start,
            len,
            slots: vec![Slot::default(); count as usize],
            missing: count,
            dirty: 0,
            held,
            touched: now,
        };
        for index in 0..partial.slots.len() {
            if on_disk.covers(partial.span_of(index)) {
                partial.slots[index].on_disk = true;
                partial.missing -= 1;
            }
        }
        partial
    }

    /// The same piece without any of its blocks.
    pub fn emptied(&self, now: Instant) -> Self {
        let held = self.held.sibling();
        Self::new(self.start, self.len, &RangeSet::new(), held, now)
    }

    /// Takes a block. Only whole ones are: what was never asked for like this is nobody's need.
    pub fn put(&mut self, block: Block, data: Bytes, by: SocketAddr, now: Instant) -> Taken {
        let index = (block.begin / BLOCK_LEN) as usize;
        let whole = block.begin.is_multiple_of(BLOCK_LEN)
            && index < self.slots.len()
            && data.len() as u64 == self.span_of(index).len();
        if !whole || self.slots[index].is_there() {
            return Taken::Known;
        }
        self.touched = now;
        self.held.add(data.len() as u64);
        self.dirty += data.len() as u64;
        self.missing -= 1;
        self.slots[index] = Slot {
            data: Some(data),
            on_disk: false,
            by: Some(by),
        };
        match self.missing {
            0 => Taken::Full,
            _ => Taken::Kept,
        }
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    /// Bytes in memory.
    pub fn held(&self) -> u64 {
        self.held.bytes()
    }

    /// Bytes in memory that are not on the disk.
    pub fn dirty(&self) -> u64 {
        self.dirty
    }

    /// When the last block came.
    pub fn touched(&self) -> Instant {
        self.touched
    }

    /// What is in memory and not on the disk: whole runs, until they have `bytes_max` bytes.
    pub fn dirty_runs(&self, bytes_max: u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut bytes = 0;
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(data) = slot.data.as_ref().filter(|_| !slot.on_disk) else {
                continue;
            };
            if bytes >= bytes_max {
                break;
            }
            let span = self.span_of(index);
            bytes += span.len();
            match runs.last_mut().filter(|run| run.span.end == span.start) {
                Some(run) => {
                    run.span.end = span.end;
                    run.blocks.push(data.clone());
                }
                None => runs.push(Run {
                    span,
                    blocks: vec![data.clone()],
                }),
            }
        }
        runs
    }

    /// These blocks are on the disk by now.
    pub fn mark_on_disk(&mut self, span: Span) {
        let first = (span.start.saturating_sub(self.start) / u64::from(BLOCK_LEN)) as usize;
        for index in first..self.slots.len() {
            let here = self.span_of(index);
            if span.intersect(here) != here {
                break;
            }
            let slot = &mut self.slots[index];
            if slot.data.is_some() && !slot.on_disk {
                slot.on_disk = true;
                self.dirty -= here.len();
            }
        }
    }

    /// Forgets what is both in memory and on the disk.
    pub fn drop_copies(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.on_disk) {
            if let Some(data) = slot.data.take() {
                self.held.remove(data.len() as u64);
            }
        }
    }

    /// What is on the disk.
    pub fn on_disk(&self) -> RangeSet {
        let there = |index: &usize| self.slots[*index].on_disk;
        let indexes = (0..self.slots.len()).filter(there);
        indexes.map(|index| self.span_of(index)).collect()
    }

    /// The bytes of a full piece in their order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.slots
            .iter()
            .enumerate()
            .map(|(index, _)| self.part(index))
    }

    /// The bytes of a block.
    pub fn part_at(&self, begin: u32) -> Option<Part<'_>> {
        let index = (begin / BLOCK_LEN) as usize;
        (index < self.slots.len()).then(|| self.part(index))
    }

    /// The blocks that peers sent.
    pub fn sent(&self) -> Vec<Sent> {
        let slots = self.slots.iter().enumerate();
        let sent = slots.filter_map(|(index, slot)| {
            Some(Sent {
                begin: index as u32 * BLOCK_LEN,
                len: self.span_of(index).len() as u32,
                by: slot.by?,
            })
        });
        sent.collect()
    }

    fn part(&self, index: usize) -> Part<'_> {
        match &self.slots[index].data {
            Some(data) => Part::Memory(data),
            None => Part::Disk(self.span_of(index)),
        }
    }

    fn span_of(&self, index: usize) -> Span {
        let begin = index as u64 * u64::from(BLOCK_LEN);
        let end = (begin + u64::from(BLOCK_LEN)).min(u64::from(self.len));
        Span::new(self.start + begin, self.start + end)
    }
}

impl Slot {
    fn is_there(&self) -> bool {
        self.on_disk || self.data.is_some()
    }
}
