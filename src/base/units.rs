//! Pure: newtypes for byte spans, indexes and rates.

use std::fmt;

/// Peers refuse longer requests, and aria2's control file counts progress in these.
pub const BLOCK_LEN: u64 = 16 * 1024;

/// A half-open range of bytes `[start, end)` of a download.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    pub const fn contains(self, at: u64) -> bool {
        self.start <= at && at < self.end
    }

    /// The part that both spans cover; empty when they do not meet.
    pub fn intersect(self, other: Span) -> Span {
        let start = self.start.max(other.start);
        Span::new(start, self.end.min(other.end).max(start))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Index of a piece of a download, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PieceIdx(pub u32);

/// Names one source (a connection or a peer) inside one transfer; never reused there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceId(pub u32);

/// Bytes a second; 0 means "no limit" where it limits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Rate(pub u64);

impl Rate {
    pub const UNLIMITED: Rate = Rate(0);

    pub const fn is_unlimited(self) -> bool {
        self.0 == 0
    }
}
