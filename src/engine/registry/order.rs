//! Pure: the numbers by which the store knows the order of the queue. Each move changes the number
//! of one download; only where no number is left between two others do some neighbours move up.

use super::Registry;

/// Distance of neighbours: so often can something be put between two, as the binary logarithm.
const GAP: i64 = 1 << 20;
/// Distance that is worth the work where numbers are spread anew.
const GAP_MIN: i64 = 1 << 10;
/// So many downloads to either side are tried first.
const REACH: usize = 8;

impl Registry {
    /// Gives the download at `index` of the queue a number between those of its neighbours.
    pub(super) fn number_in_queue(&mut self, index: usize) {
        let before = index.checked_sub(1).and_then(|at| self.order_at(at));
        if let Some((order, _)) = spread(before, self.order_at(index + 1), 1, 1) {
            self.set_order_at(index, order);
            return;
        }
        self.make_room(index);
    }

    /// Spreads the numbers around a place, of as few downloads as that takes: the store is told of
    /// each.
    fn make_room(&mut self, index: usize) {
        let mut reach = REACH;
        loop {
            let first = index.saturating_sub(reach);
            let end = index.saturating_add(reach).min(self.queue.len());
            let before = first.checked_sub(1).and_then(|at| self.order_at(at));
            let after = self.order_at(end);
            if let Some((order, gap)) = spread(before, after, end - first, GAP_MIN) {
                for (nth, at) in (first..end).enumerate() {
                    self.set_order_at(at, order + nth as i64 * gap);
                }
                return;
            }
            // All of the queue has room enough.
            reach = reach.saturating_mul(4);
        }
    }

    fn order_at(&self, index: usize) -> Option<i64> {
        Some(self.slot(self.queue.get(index)?)?.order)
    }

    fn set_order_at(&mut self, index: usize, order: i64) {
        if let Some(slot) = self.queue.get(index) {
            self.set_order(slot, order);
        }
    }
}

/// The first of `count` numbers between two others, and their distance; `None` if it would be less
/// than `gap_min`.
fn spread(
    before: Option<i64>,
    after: Option<i64>,
    count: usize,
    gap_min: i64,
) -> Option<(i64, i64)> {
    let count = i64::try_from(count).ok()?;
    match (before, after) {
        (None, None) => Some((0, GAP)),
        (Some(before), None) => {
            before.checked_add(GAP.checked_mul(count)?)?;
            Some((before + GAP, GAP))
        }
        (None, Some(after)) => Some((after.checked_sub(GAP.checked_mul(count)?)?, GAP)),
        (Some(before), Some(after)) => {
            let gap = after.checked_sub(before)? / (count + 1);
            (gap >= gap_min).then_some((before + gap, gap))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Download, How};
    use super::*;
    use crate::base::gid::Gid;
    use crate::base::rng::Rng;
    use crate::option::OptionSet;

    fn queue_of(len: u64) -> Registry {
        let mut registry = Registry::new(Arc::default(), String::new());
        for number in 1..=len {
            add(&mut registry, number, None);
        }
        registry.take_changes();
        registry
    }

    fn add(registry: &mut Registry, number: u64, position: Option<usize>) {
        let gid = Gid::new(number).unwrap();
        let download = Download::new(gid, Box::default(), OptionSet::new(), true);
        assert!(registry.add(download, position));
        assert_eq!(registry.check(), Ok(()));
    }

    #[test]
    fn the_same_place_again_and_again_concerns_few_others() {
        for place in [0, 1, 500, 998] {
            let mut registry = queue_of(1000);
            for number in 2000..2200 {
                add(&mut registry, number, Some(place));
                let told = registry.take_changes().changed.len();
                assert!(told <= 8 * REACH + 1, "{told} at {place}");
            }
        }
    }

    #[test]
    fn moves_keep_numbers_in_order() {
        let mut rng = Rng::seeded(7);
        let mut registry = queue_of(40);
        for _ in 0..3000 {
            let gid = Gid::new(1 + rng.below(40)).unwrap();
            // Most of them to two places.
            let place = [3, 4, 3, 4, rng.below(40)][rng.below(5) as usize];
            registry
                .change_position(gid, place as i64, How::Set)
                .unwrap();
            assert_eq!(registry.check(), Ok(()));
        }
    }

    #[test]
    fn numbers_end_somewhere() {
        assert_eq!(
            spread(Some(i64::MAX - GAP), None, 1, 1),
            Some((i64::MAX, GAP))
        );
        assert_eq!(spread(Some(i64::MAX - GAP + 1), None, 1, 1), None);
        assert_eq!(spread(None, Some(i64::MIN), 1, 1), None);
        assert_eq!(spread(Some(i64::MIN), Some(i64::MAX), 1, 1), None);
        assert_eq!(spread(Some(3), Some(4), 1, 1), None);
        assert_eq!(spread(Some(3), Some(5), 1, 1), Some((4, 1)));
    }
}
