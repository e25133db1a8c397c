//! Pure: what the crowd knows of one peer.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::base::bitfield::Bitfield;
use crate::base::units::{PieceIdx, SourceId};
use crate::bittorrent::wire::BLOCK_LEN;
use crate::transfer::pace::Pace;

/// A peer that needs no longer than this for a piece gets pieces alone.
const ALONE_SECONDS: f64 = 20.0;
/// Suggestions kept of a peer.
const SUGGESTED_MAX: usize = 16;
/// Pieces remembered that may be had while choked.
const ALLOWED_MAX: usize = 100;
/// Pieces remembered that a peer refused though it had let us go.
const REFUSED_MAX: usize = 64;

/// One open request.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub at: Instant,
    /// Taken back, or its piece began anew: what comes of it says nothing.
    pub void: bool,
}

/// One connected peer.
#[derive(Debug)]
pub struct Member {
    pub has: Bitfield,
    pub seeder: bool,
    pub choked: bool,
    pub snubbed: bool,
    /// Blocks that may be asked for beside those that are.
    pub window: usize,
    pub allowed: Vec<PieceIdx>,
    pub suggested: Vec<PieceIdx>,
    pub refused: Vec<PieceIdx>,
    /// Open requests by piece and index of the block.
    pub asked: BTreeMap<(PieceIdx, usize), Asked>,
    /// Open pieces that only it is asked for.
    pub owned: Vec<PieceIdx>,
    /// Pieces it has, we want and do not have.
    pub useful: u32,
    pub interested: bool,
    pace: Pace,
}

impl Member {
    pub fn new(now: Instant, piece_count: u32) -> Self {
        Self {
            has: Bitfield::new(piece_count),
            seeder: false,
            choked: true,
            snubbed: false,
            window: 0,
            allowed: Vec::new(),
            suggested: Vec::new(),
            refused: Vec::new(),
            asked: BTreeMap::new(),
            owned: Vec::new(),
            useful: 0,
            interested: false,
            pace: Pace::new(now),
        }
    }

    /// Blocks to ask for now.
    pub fn room(&self) -> usize {
        match (self.snubbed, self.choked) {
            (_, true) if self.allowed.is_empty() => 0,
            // One block shows whether it sends again.
            (true, _) => self.window.min(1_usize.saturating_sub(self.asked.len())),
            _ => self.window,
        }
    }

    pub fn may_ask(&self, piece: PieceIdx) -> bool {
        self.has.get(piece.0)
            && (!self.choked || self.allowed.contains(&piece))
            && !self.refused.contains(&piece)
    }

    pub fn allow(&mut self, piece: PieceIdx) {
        if self.allowed.len() < ALLOWED_MAX && !self.allowed.contains(&piece) {
            self.allowed.push(piece);
        }
    }

    pub fn suggest(&mut self, piece: PieceIdx) {
        self.suggested.retain(|known| *known != piece);
        if self.suggested.len() >= SUGGESTED_MAX {
            self.suggested.remove(0);
        }
        self.suggested.push(piece);
    }

    pub fn refuse(&mut self, piece: PieceIdx) {
        if !self.refused.contains(&piece) {
            if self.refused.len() >= REFUSED_MAX {
                self.refused.remove(0);
            }
            self.refused.push(piece);
        }
    }

    /// Blocks are asked of it.
    pub fn ask(&mut self, now: Instant, piece: PieceIdx, indexes: &[usize]) {
        if self.asked.is_empty() {
            self.pace.begin(now);
        }
        self.window = self.window.saturating_sub(indexes.len());
        let asked = Asked {
            at: now,
            void: false,
        };
        let keys = indexes.iter().map(|index| ((piece, *index), asked));
        self.asked.extend(keys);
    }

    pub fn sent(&mut self, now: Instant, bytes: u64) {
        self.pace.wrote(now, bytes);
    }

    /// Bytes a second; `None` while nothing is known.
    pub fn rate(&self, now: Instant) -> Option<f64> {
        match self.asked.is_empty() {
            // Silence says nothing where nothing is asked for.
            true => self.pace.last_rate(),
            false => self.pace.rate(now),
        }
    }

    /// Whether it is quick enough to have pieces for itself.
    pub fn works_alone(&self, now: Instant, piece_len: u64) -> bool {
        let seconds = |rate: f64| piece_len as f64 / rate.max(1.0);
        !self.snubbed
            && self
                .rate(now)
                .is_some_and(|rate| seconds(rate) <= ALONE_SECONDS)
    }

    /// Seconds until everything asked of it, and `more` blocks, will have come.
    pub fn seconds_for(&self, now: Instant, more: usize) -> Option<f64> {
        if self.snubbed {
            return None;
        }
        let bytes = (self.asked.len() + more) as u64 * u64::from(BLOCK_LEN);
        Some(bytes as f64 / self.rate(now).filter(|rate| *rate > 0.0)?)
    }
}

/// Who is asked for what, for tests and logs.
pub type Members = BTreeMap<SourceId, Member>;
