//! Pure: a set of bytes as disjoint, non-touching spans.

use std::collections::BTreeMap;

use super::units::Span;

/// Disjoint spans in ascending order; touching ones are merged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangeSet {
    /// start → end
    spans: BTreeMap<u64, u64>,
    total: u64,
}

impl RangeSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of bytes in the set.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Adds a span; returns how many of its bytes were new.
    pub fn insert(&mut self, span: Span) -> u64 {
        if span.is_empty() {
            return 0;
        }
        let before = self.total;
        let mut merged = span;
        if let Some((&start, &end)) = self.spans.range(..=span.start).next_back()
            && end >= span.start
        {
            merged = Span::new(start, end.max(span.end));
            self.spans.remove(&start);
            self.total -= end - start;
        }
        while let Some((&start, &end)) = self.spans.range(merged.start..=merged.end).next() {
            merged.end = merged.end.max(end);
            self.spans.remove(&start);
            self.total -= end - start;
        }
        self.spans.insert(merged.start, merged.end);
        self.total += merged.len();
        self.total - before
    }

    /// Takes a span out; returns how many bytes of it were there.
    pub fn remove(&mut self, span: Span) -> u64 {
        if span.is_empty() {
            return 0;
        }
        let touched: Vec<Span> = self.within(span).collect();
        for part in &touched {
            let Some((&start, &end)) = self.spans.range(..=part.start).next_back() else {
                continue;
            };
            self.spans.remove(&start);
            if start < part.start {
                self.spans.insert(start, part.start);
            }
            if part.end < end {
                self.spans.insert(part.end, end);
            }
        }
        let removed = touched.iter().map(|part| part.len()).sum();
        self.total -= removed;
        removed
    }

    pub fn contains(&self, at: u64) -> bool {
        self.spans
            .range(..=at)
            .next_back()
            .is_some_and(|(_, &end)| at < end)
    }

    /// Whether every byte of the span is in the set.
    pub fn covers(&self, span: Span) -> bool {
        span.is_empty()
            || self
                .spans
                .range(..=span.start)
                .next_back()
                .is_some_and(|(_, &end)| span.end <= end)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.spans
            .iter()
            .map(|(&start, &end)| Span::new(start, end))
    }

    /// The parts of `span` that are in the set.
    pub fn within(&self, span: Span) -> impl Iterator<Item = Span> + '_ {
        let first = self
            .spans
            .range(..=span.start)
            .next_back()
            .map_or(span.start, |(&start, _)| start);
        self.spans
            .range(first..span.end.max(first))
            .map(move |(&start, &end)| Span::new(start, end).intersect(span))
            .filter(|part| !part.is_empty())
    }

    /// The parts of `span` that are not in the set.
    pub fn gaps(&self, span: Span) -> impl Iterator<Item = Span> + '_ {
        let mut at = span.start;
        let mut parts = self.within(span);
        let mut ended = false;
        std::iter::from_fn(move || {
            loop {
                if ended {
                    return None;
                }
                let gap = match parts.next() {
                    Some(part) => {
                        let gap = Span::new(at, part.start);
                        at = part.end;
                        gap
                    }
                    None => {
                        ended = true;
                        Span::new(at, span.end)
                    }
                };
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
        })
    }
}

impl Extend<Span> for RangeSet {
    fn extend<I: IntoIterator<Item = Span>>(&mut self, spans: I) {
        for span in spans {
            self.insert(span);
        }
    }
}

impl FromIterator<Span> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut set = Self::new();
        for span in spans {
            set.insert(span);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(set: &RangeSet, len: u64) -> Vec<bool> {
        (0..len).map(|at| set.contains(at)).collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_bytes(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 1..60)) {
            let mut set = RangeSet::new();
            let mut bytes = vec![false; 80];
            for (add, start, len) in steps {
                let span = Span::new(start, start + len);
                let range = start as usize..(start + len) as usize;
                let changed = bytes[range.clone()].iter().filter(|byte| **byte != add).count() as u64;
                let said = if add { set.insert(span) } else { set.remove(span) };
                bytes[range].fill(add);
                prop_assert_eq!(said, changed);
                prop_assert_eq!(model(&set, 80), bytes.clone());
                prop_assert_eq!(set.total(), bytes.iter().filter(|byte| **byte).count() as u64);
                let spans: Vec<Span> = set.iter().collect();
                prop_assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", spans);
                let probe = Span::new(7, 53);
                let inside: u64 = set.within(probe).map(Span::len).sum();
                let outside: u64 = set.gaps(probe).map(Span::len).sum();
                prop_assert_eq!(inside + outside, probe.len());
                prop_assert!(set.gaps(probe).all(|gap| !set.contains(gap.start) && !set.contains(gap.end - 1)));
                prop_assert_eq!(set.covers(probe), outside == 0);
            }
        }
    }
}
