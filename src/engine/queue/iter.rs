//! Pure: a walk along the line, from either end.

use super::{NONE, Queue};

/// Iterator over a [`Queue`] in order.
#[derive(Clone)]
pub struct Iter<'a> {
    pub(super) queue: &'a Queue,
    pub(super) from: usize,
    pub(super) to: usize,
    /// The item at `from`, or `NONE` if it has to be looked up.
    pub(super) front: u32,
    /// The item at `to - 1`, or `NONE`.
    pub(super) back: u32,
}

impl Iterator for Iter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.from >= self.to {
            return None;
        }
        let item = match self.front {
            NONE => self.queue.get(self.from)?,
            item => item,
        };
        self.from += 1;
        self.front = self.queue.next_of(item);
        Some(item)
    }

    fn nth(&mut self, n: usize) -> Option<u32> {
        if n > 0 {
            self.from = self.from.saturating_add(n).min(self.to);
            self.front = NONE;
        }
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.to - self.from, Some(self.to - self.from))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<u32> {
        if self.from >= self.to {
            return None;
        }
        let item = match self.back {
            NONE => self.queue.get(self.to - 1)?,
            item => item,
        };
        self.to -= 1;
        self.back = self.queue.previous_of(item);
        Some(item)
    }

    fn nth_back(&mut self, n: usize) -> Option<u32> {
        if n > 0 {
            self.to = self.to.saturating_sub(n).max(self.from);
            self.back = NONE;
        }
        self.next_back()
    }
}

impl ExactSizeIterator for Iter<'_> {}
