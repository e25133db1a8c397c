//! Pure: the requests open with one peer, and how many more its link can carry.
//!
//! The window begins small and grows by one with each block that comes (so it doubles each round
//! trip) until the speed stops growing; from then on it holds what arrives in a few seconds.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::SNUB_AFTER;
use crate::bittorrent::wire::{BLOCK_LEN, Block};

const WINDOW_MIN: usize = 5;
/// The window holds what comes in so many seconds.
const WINDOW_SECONDS: u64 = 3;
/// What a peer takes that says nothing of it (`reqq`); common clients take 250 and more.
const OPEN_MAX_DEFAULT: u32 = 250;
/// More than this is never open: 8 MiB.
const OPEN_MAX: u32 = 512;
/// Growth is looked at once a second.
const ROUND: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Pipeline {
    /// In the order they were asked for.
    open: VecDeque<Block>,
    /// Given up on while snubbed: should they come after all, they are of use.
    late: HashSet<Block>,
    open_max: usize,
    /// The window while it still grows; `None` once the speed decides.
    growing: Option<usize>,
    round_at: Option<Instant>,
    round_speed: u64,
    /// The last block, or the first request after a pause.
    active_at: Option<Instant>,
    snubbed: bool,
}

impl Pipeline {
    pub fn new() -> Self {
        Self {
            open: VecDeque::new(),
            late: HashSet::new(),
            open_max: OPEN_MAX_DEFAULT as usize,
            growing: Some(WINDOW_MIN),
            round_at: None,
            round_speed: 0,
            active_at: None,
            snubbed: false,
        }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_open(&self, block: Block) -> bool {
        self.open.contains(&block)
    }

    pub fn set_open_max(&mut self, count: u32) {
        self.open_max = count.clamp(1, OPEN_MAX) as usize;
    }

    /// The peer unchoked us: what was learnt of the link before is old.
    pub fn restart(&mut self, now: Instant) {
        self.growing = Some(WINDOW_MIN);
        self.round_at = None;
        self.active_at = (!self.open.is_empty()).then_some(now);
    }

    /// Room for more requests, given the speed in bytes a second.
    pub fn window(&self, speed: u64) -> usize {
        self.window_len(speed).saturating_sub(self.open.len())
    }

    fn window_len(&self, speed: u64) -> usize {
        if self.snubbed {
            return 1;
        }
        let carried = speed.saturating_mul(WINDOW_SECONDS) / u64::from(BLOCK_LEN);
        let carried = usize::try_from(carried).unwrap_or(usize::MAX);
        let window = self.growing.unwrap_or(WINDOW_MIN).max(carried);
        window.min(self.open_max)
    }

    /// False when it is open already.
    pub fn open(&mut self, now: Instant, block: Block) -> bool {
        if self.is_open(block) {
            return false;
        }
        if self.open.is_empty() {
            self.active_at = Some(now);
        }
        self.late.remove(&block);
        self.open.push_back(block);
        true
    }

    /// Takes a block out without it having come.
    pub fn take(&mut self, block: Block) -> bool {
        self.late.remove(&block);
        match self.open.iter().position(|open| *open == block) {
            Some(at) => self.open.remove(at).is_some(),
            None => false,
        }
    }

    /// A block came; true when it was asked for. `speed`: bytes a second by now.
    pub fn arrived(&mut self, now: Instant, block: Block, speed: impl Fn() -> u64) -> bool {
        if self.late.remove(&block) {
            self.snubbed = false;
            self.active_at = Some(now);
            return true;
        }
        if !self.take(block) {
            return false;
        }
        self.snubbed = false;
        self.active_at = (!self.open.is_empty()).then_some(now);
        self.grow(now, speed);
        true
    }

    fn grow(&mut self, now: Instant, speed: impl Fn() -> u64) {
        let Some(window) = &mut self.growing else {
            return;
        };
        *window = (*window + 1).min(self.open_max);
        let began = *self.round_at.get_or_insert(now);
        if now.saturating_duration_since(began) >= ROUND {
            let speed = speed();
            // A tenth more a second is growth; less is noise.
            if speed < self.round_speed + self.round_speed / 10 {
                self.growing = None;
            }
            self.round_at = Some(now);
            self.round_speed = speed;
        }
    }

    /// Everything open, which then is not any more.
    pub fn drain(&mut self) -> impl Iterator<Item = Block> + '_ {
        self.active_at = None;
        self.late.clear();
        self.open.drain(..)
    }

    pub fn snub_at(&self) -> Option<Instant> {
        let at = self.active_at.filter(|_| !self.open.is_empty())?;
        Some(at + SNUB_AFTER)
    }

    /// Whether blocks are owed for too long by now.
    pub fn is_snubbing(&self, now: Instant) -> bool {
        self.snub_at().is_some_and(|at| at <= now)
    }

    pub fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// Gives up on everything open; one request at a time from now on, until a block comes.
    pub fn snub(&mut self) -> impl Iterator<Item = Block> + '_ {
        self.snubbed = true;
        self.growing = None;
        self.active_at = None;
        // Bounded: at most what a window held.
        self.late.clear();
        self.late.extend(self.open.iter().copied());
        self.open.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_link() {
        let mut pipeline = Pipeline::new();
        let mut now = Instant::now();
        assert_eq!(pipeline.window(0), WINDOW_MIN);
        for index in 0..20 {
            let block = Block::new(index, 0, BLOCK_LEN);
            assert!(pipeline.open(now, block) && !pipeline.open(now, block));
            assert!(pipeline.arrived(now, block, || 1_000));
        }
        assert_eq!(pipeline.window(0), WINDOW_MIN + 20);
        for index in 0..2 {
            now += ROUND;
            let block = Block::new(index, 0, BLOCK_LEN);
            pipeline.open(now, block);
            pipeline.arrived(now, block, || 1_000);
        }
        assert_eq!(
            pipeline.window(0),
            WINDOW_MIN,
            "a slow link keeps a small window"
        );
        assert_eq!(pipeline.window(1 << 20), 3 * 64, "three seconds of 1 MiB/s");
        assert_eq!(pipeline.window(1 << 40), OPEN_MAX_DEFAULT as usize);
        pipeline.set_open_max(u32::MAX);
        assert_eq!(pipeline.window(1 << 40), OPEN_MAX as usize);
        pipeline.set_open_max(2);
        assert_eq!(pipeline.window(1 << 40), 2);
    }
}
