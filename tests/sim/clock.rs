//! Virtual time, and what is to happen in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// What comes next.
pub enum Next<H> {
    Happens(H),
    /// A plan wants to be looked at.
    Due,
    /// Nothing ever.
    Nothing,
}

/// Happenings of the same moment come in the order they were put.
pub struct Clock<H> {
    began: Instant,
    now: Instant,
    events: BinaryHeap<Entry<H>>,
    counter: u64,
}

impl<H> Clock<H> {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            now,
            events: BinaryHeap::new(),
            counter: 0,
        }
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    pub fn after(&mut self, wait: Duration, happening: H) {
        self.counter += 1;
        let at = Reverse((self.now + wait, self.counter));
        self.events.push(Entry { at, happening });
    }

    /// Nothing of what was put happens any more.
    pub fn forget(&mut self) {
        self.events.clear();
    }

    /// Goes on to what happens next or is due, whatever comes first.
    pub fn advance(&mut self, due: Option<Instant>) -> Next<H> {
        let next = self.events.peek().map(|entry| entry.at.0.0);
        if let (None, None) = (next, due) {
            return Next::Nothing;
        }
        if next.is_some_and(|at| due.is_none_or(|due| at <= due))
            && let Some(entry) = self.events.pop()
        {
            self.now = self.now.max(entry.at.0.0);
            return Next::Happens(entry.happening);
        }
        // Time passes, however little: nothing may wait for the same moment for ever.
        let least = self.now + Duration::from_millis(1);
        self.now = due.map_or(least, |due| due.max(least));
        Next::Due
    }
}

struct Entry<H> {
    at: Reverse<(Instant, u64)>,
    happening: H,
}

impl<H> PartialEq for Entry<H> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl<H> Eq for Entry<H> {}
impl<H> PartialOrd for Entry<H> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<H> Ord for Entry<H> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
