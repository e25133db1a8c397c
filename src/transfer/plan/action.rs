//! Pure: what a plan wants done, and what it is told of the disk.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::error::Failure;
use crate::base::range_set::RangeSet;
use crate::base::units::{PieceIdx, SourceId, Span};
use crate::source::{Facts, Identity, Opening};

/// What the disk already holds under the expected name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeked {
    /// First byte that is not there; 0 when there is nothing to resume.
    pub resume_at: u64,
    /// Length of a file that an earlier process had finished without living to tell.
    pub finished: Option<u64>,
    /// Where it is now, if it was still to be moved.
    pub moved: Option<PathBuf>,
    /// What the bytes that are there are a part of, as far as that has been noted.
    pub identity: Option<Identity>,
}

/// The file is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub total: Option<u64>,
    pub piece_len: u64,
    /// What an earlier run left.
    pub written: RangeSet,
}

/// What the disk has done.
#[derive(Debug)]
pub enum DiskDone {
    Peeked(Peeked),
    Prepared(Result<Prepared, Failure>),
    Hashed(PieceIdx, Result<bool, Failure>),
    Saved(Result<(), Failure>),
    /// Everything is there, but these pieces of its files are not what they should be.
    Spoilt(Vec<Span>),
    /// Everything is flushed, checked, named and dated.
    Completed(Result<(), Failure>),
}

/// How a plan ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Complete,
    Stopped,
    Failed(Failure),
}

/// What the task has to do.
#[derive(Debug)]
pub enum Action {
    /// Look what is on disk under the name the first URI suggests.
    Peek,
    Open {
        source: SourceId,
        uri: Arc<str>,
        opening: Opening,
        expect: Option<Identity>,
        /// First byte of the resource in the download.
        base: u64,
        /// It gives pieces and knows no file.
        by_piece: bool,
    },
    Fetch(SourceId, Span),
    /// The source's lease ends earlier now.
    Shrink(SourceId, u64),
    Drop(SourceId),
    /// Choose the name, open and allocate the file, read its control file. With `discard`,
    /// whatever was there is thrown away.
    Prepare {
        facts: Facts,
        discard: bool,
    },
    /// Hash a piece that mirrors filled, by reading it back; [`DiskDone::Hashed`] answers.
    Hash(PieceIdx),
    /// This mirror alone wrote a piece that failed its hash check: warn of it. The piece is
    /// missing again.
    BadPiece {
        piece: Span,
        uri: Arc<str>,
        /// It is not used any more.
        banned: bool,
    },
    /// Replace the control file.
    Save,
    /// Flush, verify, date and name the finished file. With a swarm the plan then waits to be told
    /// [`Plan::handle_seeding_over`]; a selection that grows makes it fetch, and complete, again.
    Complete,
    /// Drop every source, save what is left to save, and report.
    End(Outcome),
}
