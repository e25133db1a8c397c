//! Pure: which bytes of a download are missing, leased, written or verified.
//!
//! Invariant: a byte is missing, leased or written; a piece is verified only when all its bytes
//! are written. Leases overlap neither each other nor what is written, except that a lease taken
//! over from a slow source stays doubled until the new one has delivered its first bytes. A piece
//! the swarm has checked out is leased to nobody.

mod lease;
mod swarm;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::bitfield::Bitfield;
use crate::base::range_set::RangeSet;
use crate::base::units::{BLOCK_LEN, PieceIdx, SourceId, Span};

/// For more pieces a length that a server makes up would cost too much memory: 64 TiB in pieces
/// of 1 MiB.
pub const PIECES_MAX: u32 = 1 << 26;

/// Stands for the end of a download whose length is not known.
pub const UNKNOWN_END: u64 = u64::MAX;

/// Stands for whoever wrote bytes before this run.
pub const EARLIER: SourceId = SourceId(u32::MAX);

/// Stands for the peers of a torrent.
pub const SWARM: SourceId = SourceId(u32::MAX - 1);

/// One source's claim.
#[derive(Clone, Debug)]
struct Held {
    source: SourceId,
    /// Next byte it will write.
    at: u64,
    /// Where its claim ends.
    end: u64,
    /// Where the source itself believes it ends; above `end` until the thief has proven itself.
    limit: u64,
    /// Has written inside this lease.
    proven: bool,
}

/// What `wrote` brought about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were not there before.
    pub new_bytes: u64,
    /// Pieces whose last byte came in; where pieces have hashes, those to be hashed.
    pub full: Vec<PieceIdx>,
    /// Sources whose lease now ends earlier.
    pub shrunk: Vec<(SourceId, u64)>,
}

/// What the result of hashing a piece means.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The piece is there.
    Good { writers: Vec<SourceId> },
    /// It is missing again; one writer is a culprit.
    Bad { writers: Vec<SourceId> },
    /// Bytes of it were written while it was hashed: the result says nothing.
    HashAgain,
}

#[derive(Clone, Debug)]
pub struct PieceMap {
    total: u64,
    piece_len: u64,
    written: RangeSet,
    held: Vec<Held>,
    have: Bitfield,
    /// Pieces have hashes: a full piece counts only once it is verified.
    hashed: bool,
    /// Writers of pieces not yet verified; kept only where pieces have hashes.
    writers: BTreeMap<PieceIdx, Vec<SourceId>>,
    /// Pieces whose hash is being computed, and whether they were written to meanwhile.
    hashing: BTreeMap<PieceIdx, bool>,
    /// Pieces that several writers spoilt together: each is fetched again by one source alone, so
    /// that a second failure names the culprit.
    solo: BTreeSet<PieceIdx>,
    /// Bytes nobody has to fetch: of files that are not selected.
    unwanted: RangeSet,
    /// Pieces that are done without: of each only bytes that nobody asked for are missing.
    waived: BTreeSet<PieceIdx>,
    /// Wanted pieces that are not had.
    lacking: u32,
    /// Pieces peers work on, and whether a mirror wrote into one meanwhile.
    swarm: BTreeMap<PieceIdx, bool>,
    /// Counts what makes bytes free again.
    lease_changes: u64,
    /// Peers wait for what mirrors hold; so many bytes a second they could bring.
    contended: Option<f64>,
    /// Pieces taken from mirrors for peers that wait: no mirror gets them.
    reserved: BTreeSet<PieceIdx>,
    changed: Vec<PieceIdx>,
}

impl PieceMap {
    /// A map of `total` bytes (`None`: unknown) of which `written` are on disk already. Full
    /// pieces among them count as verified.
    ///
    /// `piece_len` must not be 0.
    pub fn new(total: Option<u64>, piece_len: u64, written: RangeSet, hashed: bool) -> Self {
        assert!(piece_len > 0, "a piece has a length");
        let end = total.unwrap_or(UNKNOWN_END);
        let mut map = Self {
            total: end,
            piece_len,
            have: Bitfield::new(piece_count(total.unwrap_or(0), piece_len)),
            written,
            held: Vec::new(),
            hashed,
            writers: BTreeMap::new(),
            hashing: BTreeMap::new(),
            solo: BTreeSet::new(),
            unwanted: RangeSet::new(),
            waived: BTreeSet::new(),
            lacking: 0,
            swarm: BTreeMap::new(),
            lease_changes: 0,
            contended: None,
            reserved: BTreeSet::new(),
            changed: Vec::new(),
        };
        for index in 0..map.have.len() {
            let span = map.piece_span(PieceIdx(index));
            if map.written.covers(span) {
                map.have.set(index, true);
            } else if hashed && map.written.within(span).next().is_some() {
                map.writers.insert(PieceIdx(index), vec![EARLIER]);
            }
        }
        map.lacking = map.have.len() - map.have.count_ones();
        map
    }

    /// Total length, or `None` while unknown.
    pub fn total(&self) -> Option<u64> {
        (self.total != UNKNOWN_END).then_some(self.total)
    }

    pub fn piece_len(&self) -> u64 {
        self.piece_len
    }

    pub fn written(&self) -> &RangeSet {
        &self.written
    }

    /// What a later run may take for granted: all that is written, less full pieces whose hash is
    /// not known to be right.
    pub fn trusted(&self) -> RangeSet {
        let mut trusted = self.written.clone();
        for piece in self.writers.keys() {
            let span = self.piece_span(*piece);
            if trusted.covers(span) {
                trusted.remove(span);
            }
        }
        trusted
    }

    /// Full pieces; verified ones where pieces have hashes.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Pieces whose state in `have` changed since the last call.
    pub fn take_changed(&mut self) -> Vec<PieceIdx> {
        std::mem::take(&mut self.changed)
    }

    pub fn piece_span(&self, piece: PieceIdx) -> Span {
        let start = u64::from(piece.0) * self.piece_len;
        Span::new(start, (start + self.piece_len).min(self.total))
    }

    /// Everything wanted is written, and verified where it can be.
    pub fn is_complete(&self) -> bool {
        self.total != UNKNOWN_END && self.lacking == 0
    }

    /// These bytes are on disk.
    pub fn wrote(&mut self, source: SourceId, span: Span) -> Progress {
        let mut progress = Progress {
            new_bytes: self.written.insert(span),
            ..Progress::default()
        };
        if let Some(index) = self.held.iter().position(|held| held.source == source) {
            let held = &mut self.held[index];
            if span.start <= held.at {
                held.at = held.at.max(span.end);
                held.end = held.end.max(held.at);
            }
            if !held.proven {
                held.proven = true;
                let rest = Span::new(span.start, held.end);
                progress.shrunk = self.settle(source, rest);
            }
        }
        if self.total != UNKNOWN_END {
            self.note_pieces(source, span, &mut progress);
        }
        debug_assert_eq!(self.check(), Ok(()));
        progress
    }

    fn note_pieces(&mut self, source: SourceId, span: Span, progress: &mut Progress) {
        let span = Span::new(span.start, span.end.min(self.total));
        if span.is_empty() {
            return;
        }
        let first = span.start / self.piece_len;
        let last = (span.end - 1) / self.piece_len;
        for index in first..=last {
            let piece = PieceIdx(index as u32);
            if self.hashed {
                self.note_writer(source, piece);
            } else if self.have.get(piece.0) {
                continue;
            }
            if !self.written.covers(self.piece_span(piece)) {
                continue;
            }
            if let Some(stale) = self.swarm.get_mut(&piece) {
                // Peers say when it is whole.
                *stale = true;
            } else if !self.hashed {
                self.set_have(piece, true);
            } else if let Some(stale) = self.hashing.get_mut(&piece) {
                *stale = true;
            } else {
                self.hashing.insert(piece, false);
                progress.full.push(piece);
            }
        }
    }

    /// A verified piece that is written to, as by the late write of a lease that was taken over,
    /// has to prove itself again.
    fn note_writer(&mut self, source: SourceId, piece: PieceIdx) {
        let writers = self.writers.entry(piece).or_default();
        if !writers.contains(&source) {
            writers.push(source);
        }
        self.set_have(piece, false);
    }

    fn set_have(&mut self, piece: PieceIdx, had: bool) {
        if piece.0 >= self.have.len() || self.have.get(piece.0) == had {
            return;
        }
        self.have.set(piece.0, had);
        self.changed.push(piece);
        if self.is_wanted(piece) {
            self.lacking = match had {
                true => self.lacking.saturating_sub(1),
                false => self.lacking + 1,
            };
        }
    }

    /// The result of hashing a full piece. A bad one is missing again.
    pub fn verified(&mut self, piece: PieceIdx, good: bool) -> Verdict {
        if self.hashing.remove(&piece) == Some(true) {
            self.hashing.insert(piece, false);
            return Verdict::HashAgain;
        }
        let writers = self.writers.remove(&piece).unwrap_or_default();
        self.set_have(piece, good);
        self.lease_changes += 1;
        if good {
            self.solo.remove(&piece);
            return Verdict::Good { writers };
        }
        if writers.len() > 1 || writers.contains(&EARLIER) {
            self.solo.insert(piece);
        }
        self.written.remove(self.piece_span(piece));
        Verdict::Bad { writers }
    }

    /// What is written there is not right: it is missing again.
    pub fn forget(&mut self, span: Span) {
        self.written.remove(span);
        let pieces = span.start / self.piece_len..span.end.div_ceil(self.piece_len);
        for index in pieces {
            self.set_have(PieceIdx(index as u32), false);
        }
        self.lease_changes += 1;
    }

    /// An unknown length turned out to be this. Returns the pieces that have to be hashed.
    pub fn set_total(&mut self, total: u64) -> Vec<PieceIdx> {
        self.total = total;
        self.have = Bitfield::new(piece_count(total, self.piece_len));
        self.lacking = self.have.len();
        let mut progress = Progress::default();
        // Nobody has counted who wrote what.
        for span in self.written.clone().iter() {
            self.note_pieces(EARLIER, span, &mut progress);
        }
        progress.full
    }

    /// Forgets everything written, as when a server cannot resume.
    pub fn clear(&mut self) {
        let empty = Self::new(self.total(), self.piece_len, RangeSet::new(), self.hashed);
        let unwanted = std::mem::replace(self, empty).unwanted;
        self.set_unwanted(unwanted);
    }

    /// Checks the invariant.
    ///
    /// # Errors
    /// A sentence about what is broken.
    pub fn check(&self) -> Result<(), String> {
        for (index, held) in self.held.iter().enumerate() {
            if held.at > held.end || held.end > held.limit.max(held.at) {
                return Err(format!("lease out of order: {held:?}"));
            }
            for other in &self.held[index + 1..] {
                let both = Span::new(held.at, held.end).intersect(Span::new(other.at, other.end));
                if !both.is_empty() && held.proven && other.proven {
                    return Err(format!("{held:?} and {other:?} share {both:?}"));
                }
            }
        }
        for held in &self.held {
            if held.at < held.end && self.is_with_swarm(Span::new(held.at, held.end)) {
                return Err(format!("{held:?} is with the swarm as well"));
            }
        }
        // A big map is looked at by the big tests, once.
        let had = self.have.ones().take(2048);
        for index in had {
            let span = self.piece_span(PieceIdx(index));
            if !self.written.covers(span) {
                return Err(format!(
                    "piece {index} is had but {span:?} is not all written"
                ));
            }
        }
        Ok(())
    }

    /// Draws the map for tests and logs, one letter a cell of `cell` bytes: `#` written, a letter
    /// for the leaseholder (`a` is source 0), `.` missing.
    pub fn draw(&self, cell: u64) -> String {
        let end = if self.total == UNKNOWN_END {
            0
        } else {
            self.total
        };
        (0..end.div_ceil(cell))
            .map(|index| {
                let at = index * cell;
                if self.written.contains(at) {
                    return '#';
                }
                self.held
                    .iter()
                    .rev()
                    .find(|held| held.at <= at && at < held.end)
                    .map_or('.', |held| char::from(b'a' + (held.source.0 % 26) as u8))
            })
            .collect()
    }
}

/// Number of pieces, at most what fits 32 bits; whoever opens files refuses more than
/// [`PIECES_MAX`] before.
pub fn piece_count(total: u64, piece_len: u64) -> u32 {
    u32::try_from(total.div_ceil(piece_len)).unwrap_or(u32::MAX)
}

/// Rounds down to whole blocks, the finest step a control file can hold.
pub fn whole_blocks(len: u64) -> u64 {
    len - len % BLOCK_LEN
}
