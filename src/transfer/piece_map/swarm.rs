//! Pure: pieces that peers work on, and bytes nobody wants.

use std::collections::btree_map::Entry;

use super::{PieceMap, SWARM};
use crate::base::bitfield::Bitfield;
use crate::base::range_set::RangeSet;
use crate::base::units::{PieceIdx, SourceId, Span};

/// A write that saw the old end of a lease passes the new one by no more than this, in bytes. Should
/// a source be further ahead of its reports than that, the pieces are hashed once more.
const OVERRUN: u64 = 256 << 10;

impl PieceMap {
    /// Hands a piece to the peers: nobody else gets a byte of it until [`Self::swarm_hashed`] or
    /// [`Self::give_back`]. Returns what of it is on disk; `None` when it is had, full, leased or
    /// handed out already.
    pub fn check_out(&mut self, piece: PieceIdx) -> Option<RangeSet> {
        let span = self.piece_span(piece);
        if span.is_empty()
            || self.have.get(piece.0)
            || self.swarm.contains_key(&piece)
            || self.hashing.contains_key(&piece)
            || self.written.covers(span)
            || self.is_leased(span)
        {
            return None;
        }
        self.reserved.remove(&piece);
        self.swarm.insert(piece, false);
        Some(self.written.within(span).collect())
    }

    /// Whether a source may still write there.
    fn is_leased(&self, span: Span) -> bool {
        let reaches = |start: u64, end: u64| start < span.end && span.start < end;
        self.held
            .iter()
            .any(|held| reaches(held.at, held.limit.max(held.end)))
    }

    /// Whether peers work on any piece of the span.
    pub(super) fn is_with_swarm(&self, span: Span) -> bool {
        let first = PieceIdx((span.start / self.piece_len) as u32);
        let next = self.swarm.range(first..).next();
        next.is_some_and(|(piece, _)| !self.piece_span(*piece).intersect(span).is_empty())
    }

    /// Pieces peers work on.
    pub fn swarm_count(&self) -> usize {
        self.swarm.len()
    }

    /// The peers' piece was hashed and, if it is right, written. A bad one stays with them, with
    /// nothing of it there. True when a mirror wrote into it meanwhile, so that it has to be hashed
    /// again from the disk.
    #[must_use]
    pub fn swarm_hashed(&mut self, piece: PieceIdx, good: bool) -> bool {
        let span = self.piece_span(piece);
        if !good {
            if let Some(stale) = self.swarm.get_mut(&piece) {
                *stale = false;
                self.written.remove(span);
                self.writers.remove(&piece);
            }
            return false;
        }
        let stale = self.swarm.remove(&piece).unwrap_or(false);
        self.lease_changes += 1;
        self.written.insert(span);
        self.solo.remove(&piece);
        if stale {
            self.writers.insert(piece, vec![SWARM]);
            self.hashing.insert(piece, false);
            return true;
        }
        self.writers.remove(&piece);
        self.set_have(piece, true);
        false
    }

    /// Who wrote bytes of a piece that is not verified.
    pub fn writers_of(&self, piece: PieceIdx) -> Vec<SourceId> {
        self.writers.get(&piece).cloned().unwrap_or_default()
    }

    /// Peers gave a piece up; these bytes of it are on disk, not verified. True when it is full and
    /// has to be hashed.
    #[must_use]
    pub fn give_back(&mut self, piece: PieceIdx, on_disk: &RangeSet) -> bool {
        if self.swarm.remove(&piece).is_none() {
            return false;
        }
        self.lease_changes += 1;
        let span = self.piece_span(piece);
        for part in on_disk.within(span) {
            self.written.insert(part);
            let writers = self.writers.entry(piece).or_default();
            if !writers.contains(&SWARM) {
                writers.push(SWARM);
            }
        }
        let full = self.written.covers(span) && !self.have.get(piece.0);
        if full {
            self.hashing.insert(piece, false);
        }
        full
    }

    /// Ends a lease at the first end of a piece behind `len` bytes of what is left of it. Until the
    /// source has come to rest there, peers are kept from what a write on its way may still reach.
    pub fn cut(&mut self, source: SourceId, len: u64) -> Option<u64> {
        let piece_len = self.piece_len;
        let held = self.held.iter_mut().find(|held| held.source == source)?;
        let end = held.at.saturating_add(len).next_multiple_of(piece_len);
        if end >= held.end {
            return None;
        }
        held.end = end;
        held.limit = held.limit.min(end.saturating_add(OVERRUN));
        // What was refused to peers may be free now.
        self.lease_changes += 1;
        Some(end)
    }

    /// Takes whole pieces that a source has not begun from the end of its lease, for peers: of what
    /// is left of it about `len` bytes stay. Mirrors get none of them until
    /// [`Self::end_reservation`]. Returns where the lease ends now.
    pub fn reserve(&mut self, source: SourceId, len: u64) -> Option<u64> {
        let piece_len = self.piece_len;
        let held = self.held.iter().find(|held| held.source == source)?;
        let begun = (held.at + 1).next_multiple_of(piece_len);
        let near = held.at.saturating_add(len).saturating_add(piece_len / 2) / piece_len;
        let (end, old_end) = ((near * piece_len).max(begun), held.end);
        // `cut` rounds up, and ends at a piece already.
        let end = self.cut(source, end - held.at)?;
        let pieces = end / piece_len..old_end.div_ceil(piece_len);
        self.reserved
            .extend(pieces.map(|index| PieceIdx(index as u32)));
        Some(end)
    }

    /// Mirrors may have what was reserved.
    pub fn end_reservation(&mut self) {
        self.reserved.clear();
    }

    pub fn has_reserved(&self) -> bool {
        !self.reserved.is_empty()
    }

    /// Whether something wanted of the part is not written, by whomever it is held.
    pub fn lacks_in(&self, part: Span) -> bool {
        let part = part.intersect(Span::new(0, self.total));
        self.written
            .gaps(part)
            .any(|gap| self.unwanted.gaps(gap).next().is_some())
    }

    /// Whether a hash is being computed.
    pub fn is_hashing(&self) -> bool {
        !self.hashing.is_empty()
    }

    /// Changes whenever something that was held is free again.
    pub fn lease_changes(&self) -> u64 {
        self.lease_changes
    }

    /// Peers have nothing left to do but what mirrors hold; so many bytes a second they could
    /// bring. `None`: they have.
    pub fn set_contended(&mut self, idle_rate: Option<f64>) {
        self.contended = idle_rate;
        if idle_rate.is_none() {
            self.end_reservation();
        }
    }

    /// What peers could bring that wait for what mirrors hold, in bytes a second.
    pub fn contended(&self) -> Option<f64> {
        self.contended
    }

    /// Filler bytes that are never fetched are there. Returns pieces that are full by that and
    /// have to be hashed.
    #[must_use]
    pub fn set_padding(&mut self, padding: &RangeSet) -> Vec<PieceIdx> {
        let mut full = Vec::new();
        for span in padding.iter() {
            self.written.insert(span);
            let first = span.start / self.piece_len;
            let last = span.end.saturating_sub(1) / self.piece_len;
            for piece in (first..=last).map(|index| PieceIdx(index as u32)) {
                if self.have.get(piece.0) || !self.written.covers(self.piece_span(piece)) {
                    continue;
                }
                if !self.hashed {
                    self.set_have(piece, true);
                } else if let Entry::Vacant(place) = self.hashing.entry(piece) {
                    place.insert(false);
                    full.push(piece);
                }
            }
        }
        full
    }

    /// What is wanted (`None`: everything), rounded out to whole pieces.
    pub fn set_wanted(&mut self, wanted: Option<&RangeSet>) {
        let mut unwanted = RangeSet::new();
        if let Some(wanted) = wanted {
            unwanted.insert(Span::new(0, self.total));
            for span in wanted.iter().filter(|span| !span.is_empty()) {
                let start = span.start / self.piece_len * self.piece_len;
                let end = span.end.next_multiple_of(self.piece_len).min(self.total);
                unwanted.remove(Span::new(start, end));
            }
        }
        self.set_unwanted(unwanted);
        self.lease_changes += 1;
    }

    pub(super) fn set_unwanted(&mut self, unwanted: RangeSet) {
        self.unwanted = unwanted;
        let pieces = (0..self.have.len()).map(PieceIdx);
        let lacking = pieces.filter(|piece| self.is_wanted(*piece) && !self.have.get(piece.0));
        self.lacking = lacking.count() as u32;
    }

    /// Whether the piece is to be fetched, or was.
    pub fn is_wanted(&self, piece: PieceIdx) -> bool {
        !self.waived.contains(&piece) && !self.unwanted.contains(self.piece_span(piece).start)
    }

    /// Does without what is missing of wanted pieces.
    pub fn waive_missing(&mut self) {
        let pieces = (0..self.have.len()).map(PieceIdx);
        let lacking = pieces.filter(|piece| self.is_wanted(*piece) && !self.have.get(piece.0));
        let lacking: Vec<PieceIdx> = lacking.collect();
        let mut unwanted = self.unwanted.clone();
        for piece in &lacking {
            for gap in self.written.gaps(self.piece_span(*piece)) {
                unwanted.insert(gap);
            }
        }
        self.waived.extend(lacking);
        self.set_unwanted(unwanted);
    }

    /// Bytes of the wanted pieces; `None` while the length is not known.
    pub fn wanted_len(&self) -> Option<u64> {
        Some(self.total()? - self.unwanted.total())
    }

    /// Bytes of the wanted pieces that are written.
    pub fn wanted_written(&self) -> u64 {
        let beside = self.unwanted.iter();
        let beside = beside.flat_map(|span| self.written.within(span));
        self.written.total() - beside.map(Span::len).sum::<u64>()
    }

    /// The pieces that are wanted.
    pub fn wanted(&self) -> Bitfield {
        let mut wanted = Bitfield::new(self.have.len());
        for index in 0..wanted.len() {
            wanted.set(index, self.is_wanted(PieceIdx(index)));
        }
        wanted
    }

    /// A piece that several spoilt need not come from one source alone: none could bring all of it.
    pub fn allow_shared(&mut self, piece: PieceIdx) {
        self.solo.remove(&piece);
    }
}
