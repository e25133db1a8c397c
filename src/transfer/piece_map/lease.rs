//! Pure: who may fill which bytes: leases, and what slower sources lose to others.

use std::time::Instant;

use super::{Held, PieceMap, UNKNOWN_END};
use crate::base::rng::Rng;
use crate::base::units::{PieceIdx, SourceId, Span};
use crate::transfer::picker::{self, Ask, Candidate};

impl PieceMap {
    /// Wanted, neither written nor claimed.
    pub fn missing(&self) -> Vec<Span> {
        self.missing_in(Span::new(0, self.total))
    }

    /// What is [missing](Self::missing) of a part of the download.
    pub fn missing_in(&self, part: Span) -> Vec<Span> {
        let part = part.intersect(Span::new(0, self.total));
        let held = self.held.iter().map(|held| Span::new(held.at, held.end));
        let swarm = self.swarm.keys().chain(&self.reserved);
        let swarm = swarm.map(|piece| self.piece_span(*piece));
        let mut claimed: Vec<Span> = held
            .chain(swarm)
            .chain(self.unwanted.within(part))
            .filter(|span| !span.is_empty())
            .collect();
        claimed.sort_unstable();
        let mut claimed = claimed.into_iter().peekable();
        let mut missing = Vec::new();
        for gap in self.written.gaps(part) {
            let mut at = gap.start;
            while let Some(next) = claimed.peek().filter(|next| next.start < gap.end) {
                if next.start > at {
                    missing.push(Span::new(at, next.start));
                }
                at = at.max(next.end);
                if next.end > gap.end {
                    break;
                }
                claimed.next();
            }
            if at < gap.end {
                missing.push(Span::new(at, gap.end));
            }
        }
        missing
    }

    /// The rest of a source's lease.
    pub fn lease_of(&self, source: SourceId) -> Option<Span> {
        self.held
            .iter()
            .find(|held| held.source == source)
            .map(|held| Span::new(held.at, held.end))
    }

    /// Claims a missing span for a source; `None` when nothing unclaimed is missing.
    pub fn lease(&mut self, ask: &Ask, rng: &mut Rng) -> Option<Span> {
        let reach = ask.reach.unwrap_or(Span::new(0, self.total));
        let span = picker::pick(&self.missing_in(reach), ask, self.piece_len, rng)?;
        let span = self.around_solo(span).intersect(reach);
        self.hold(ask.source, span);
        Some(span)
    }

    /// Cuts a missing span so that a solo piece is leased whole or not at all. A missing part of
    /// one is all of it, since what a source gives up of it is forgotten.
    fn around_solo(&self, span: Span) -> Span {
        let touched = self.solo.iter().map(|piece| self.piece_span(*piece));
        let first = touched
            .filter(|piece| !piece.intersect(span).is_empty())
            .min_by_key(|piece| piece.start);
        match first {
            None => span,
            Some(piece) if piece.start <= span.start => piece,
            Some(piece) => Span::new(span.start, piece.start),
        }
    }

    fn is_solo(&self, at: u64) -> bool {
        u32::try_from(at / self.piece_len).is_ok_and(|index| self.solo.contains(&PieceIdx(index)))
    }

    /// Claims part of what another source holds, the slowest first. That source is told to stop
    /// earlier only when the new one has written its first bytes.
    pub fn steal(
        &mut self,
        now: Instant,
        ask: &Ask,
        rate: &dyn Fn(SourceId, Instant) -> Option<f64>,
    ) -> Option<Span> {
        if self.total == UNKNOWN_END {
            return None;
        }
        let candidates: Vec<Candidate> = self
            .held
            .iter()
            .filter(|held| {
                held.source != ask.source && held.at < held.end && !self.is_solo(held.at)
            })
            .filter_map(|held| {
                // The tail is what can be taken, as far as the thief can fetch it.
                let reach = ask.reach.unwrap_or(Span::new(0, self.total));
                let rest = Span::new(held.at.max(reach.start), held.end);
                (rest.end <= reach.end && !rest.is_empty()).then(|| Candidate {
                    source: held.source,
                    rest,
                    rate: rate(held.source, now),
                })
            })
            .collect();
        let (victim, split) = picker::split(&candidates, ask, self.piece_len)?;
        let held = self.held.iter_mut().find(|held| held.source == victim)?;
        let span = Span::new(split, held.end);
        held.end = split;
        self.hold(ask.source, span);
        Some(span)
    }

    fn hold(&mut self, source: SourceId, span: Span) {
        debug_assert!(self.lease_of(source).is_none(), "one lease a source");
        self.held.push(Held {
            source,
            at: span.start,
            end: span.end,
            limit: span.end,
            proven: false,
        });
    }

    /// Ends the doubled claims over `span` in favour of `winner`.
    pub(super) fn settle(&mut self, winner: SourceId, span: Span) -> Vec<(SourceId, u64)> {
        let mut shrunk = Vec::new();
        for held in &mut self.held {
            if held.source == winner || held.limit <= span.start || held.at >= span.end {
                continue;
            }
            let limit = span.start.max(held.at);
            held.limit = limit;
            held.end = held.end.min(limit);
            shrunk.push((held.source, limit));
        }
        shrunk
    }

    /// A source gives its lease back, done or not.
    pub fn release(&mut self, source: SourceId) {
        let Some(index) = self.held.iter().position(|held| held.source == source) else {
            return;
        };
        let gone = self.held.swap_remove(index);
        self.lease_changes += 1;
        if gone.at < gone.end && self.is_solo(gone.at) {
            let piece = PieceIdx((gone.at / self.piece_len) as u32);
            self.written.remove(self.piece_span(piece));
            self.writers.remove(&piece);
        }
        if gone.proven {
            return;
        }
        // The source it was taken from has not been told yet: it simply goes on.
        if let Some(victim) = self
            .held
            .iter_mut()
            .find(|held| held.end == gone.at && held.limit > held.end)
        {
            victim.end = victim.limit.min(gone.end).max(victim.end);
        }
    }
}
