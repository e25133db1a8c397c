//! One rate limit that can be changed while tasks wait at it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex;

use crate::base::units::Rate;

/// governor counts whole nanoseconds a cell, so that a cell must not pass in too few of them:
/// fast limits count cells of several bytes.
const CELLS_A_SECOND_MAX: u64 = 100_000;
/// What may pass at once after a pause, as a part of a second.
const BURST_PART: u64 = 10;
/// What one waiter takes before the next one has its turn, as a part of a second.
const TURN_PART: u64 = 50;
/// A waiter looks this often whether the limit has been changed.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// A limit in bytes a second; unlimited costs one atomic load.
#[derive(Default)]
pub struct Valve {
    limiter: ArcSwapOption<Limiter>,
}

impl Valve {
    pub fn new(rate: Rate) -> Self {
        let valve = Self::default();
        valve.set(rate);
        valve
    }

    /// Changes the limit; those who wait notice within [`WAIT_MAX`].
    pub fn set(&self, rate: Rate) {
        if self.rate() != rate {
            self.limiter.store(Limiter::new(rate).map(Arc::new));
        }
    }

    pub fn rate(&self) -> Rate {
        match self.limiter.load().as_ref() {
            Some(limiter) => limiter.rate,
            None => Rate::UNLIMITED,
        }
    }

    /// Waits until `bytes` may have passed. Those who wait take turns in the order they came.
    pub async fn pay(&self, bytes: usize) {
        let mut rest = bytes as u64;
        while rest > 0 {
            let Some(limiter) = self.limiter.load_full() else {
                return;
            };
            let turn = rest.min(limiter.turn);
            if self.pay_turn(&limiter, turn).await {
                rest -= turn;
            }
        }
    }

    /// False when the limit was changed before the bytes were paid.
    async fn pay_turn(&self, limiter: &Arc<Limiter>, bytes: u64) -> bool {
        let _turn = limiter.queue.lock().await;
        let Some(cells) = NonZeroU32::new(limiter.cells_for(bytes)) else {
            return true;
        };
        while self.is_current(limiter) {
            match limiter.wait_for(cells) {
                None => return true,
                Some(wait) => tokio::time::sleep(wait.min(WAIT_MAX)).await,
            }
        }
        false
    }

    fn is_current(&self, limiter: &Arc<Limiter>) -> bool {
        let current = self.limiter.load();
        current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, limiter))
    }
}

struct Limiter {
    rate: Rate,
    governor: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// Bytes a cell.
    unit: u64,
    burst_cells: u32,
    turn: u64,
    /// Bytes that passed but did not fill a cell yet.
    owed: AtomicU64,
    /// tokio's mutex is fair: first come, first served.
    queue: Mutex<()>,
}

impl Limiter {
    fn new(rate: Rate) -> Option<Self> {
        if rate.is_unlimited() {
            return None;
        }
        let unit = rate.0.div_ceil(CELLS_A_SECOND_MAX);
        let cell_ns = u128::from(unit) * 1_000_000_000 / u128::from(rate.0);
        let burst_cells = u32::try_from((rate.0 / BURST_PART / unit).max(1)).unwrap_or(u32::MAX);
        let quota = Quota::with_period(Duration::from_nanos(u64::try_from(cell_ns).ok()?))?
            .allow_burst(NonZeroU32::new(burst_cells)?);
        Some(Self {
            rate,
            governor: RateLimiter::direct(quota),
            clock: DefaultClock::default(),
            unit,
            burst_cells,
            turn: (rate.0 / TURN_PART)
                .min(u64::from(burst_cells - 1) * unit)
                .max(1),
            owed: AtomicU64::new(0),
            queue: Mutex::new(()),
        })
    }

    /// Whole cells that these bytes fill together with what was owed before; called in turn only.
    fn cells_for(&self, bytes: u64) -> u32 {
        let owed = self.owed.load(Ordering::Relaxed) + bytes;
        let cells = (owed / self.unit).min(u64::from(self.burst_cells));
        self.owed.store(owed - cells * self.unit, Ordering::Relaxed);
        cells as u32
    }

    /// How long to wait for so many cells; `None`: they have been taken.
    fn wait_for(&self, cells: NonZeroU32) -> Option<Duration> {
        match self.governor.check_n(cells) {
            Ok(Err(not_yet)) => Some(not_yet.wait_time_from(self.clock.now())),
            // More cells than the burst are never asked for.
            Ok(Ok(())) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    async fn bytes_within(valve: Arc<Valve>, chunk: usize, time: Duration) -> u64 {
        let end = Instant::now() + time;
        let mut passed = 0;
        while Instant::now() < end {
            match tokio::time::timeout_at(end.into(), valve.pay(chunk)).await {
                Ok(()) => passed += chunk as u64,
                Err(_) => break,
            }
        }
        passed
    }

    fn assert_near(value: u64, wanted: u64, percent: u64) {
        let slack = wanted * percent / 100;
        assert!(value.abs_diff(wanted) <= slack, "{value}, wanted {wanted}");
    }

    #[tokio::test]
    async fn holds_slow_and_fast_rates() {
        for (rate, chunk) in [
            (20_000, 100),
            (1_000_000, 1_400),
            (150_000_000, 65_536),
            (3_000_000_000, 131_072),
        ] {
            let valve = Arc::new(Valve::new(Rate(rate)));
            valve.pay((rate / BURST_PART) as usize).await;
            let passed = bytes_within(valve, chunk, Duration::from_millis(400)).await;
            assert_near(passed, rate * 2 / 5, 25);
        }
    }

    #[tokio::test]
    async fn a_chunk_far_larger_than_the_burst_is_paid_in_slices() {
        let valve = Valve::new(Rate(1_000_000));
        let start = Instant::now();
        valve.pay(500_000).await;
        let took = start.elapsed().as_millis() as u64;
        assert!((300..700).contains(&took), "{took} ms");
    }

    #[tokio::test]
    async fn waiters_share_alike_whatever_their_chunks() {
        let valve = Arc::new(Valve::new(Rate(400_000)));
        let time = Duration::from_millis(600);
        let tasks: Vec<_> = [1_000, 4_000, 16_000, 1_000]
            .map(|chunk| tokio::spawn(bytes_within(valve.clone(), chunk, time)))
            .into_iter()
            .collect();
        let mut shares = Vec::new();
        for task in tasks {
            shares.push(task.await.unwrap());
        }
        let sum: u64 = shares.iter().sum();
        assert!((180_000..330_000).contains(&sum), "{shares:?}");
        assert!(shares.iter().all(|share| *share >= 16_000), "{shares:?}");
    }

    #[tokio::test]
    async fn waiters_notice_a_change_at_once() {
        for rate in [Rate::UNLIMITED, Rate(100_000_000)] {
            let valve = Arc::new(Valve::new(Rate(10)));
            let waiters: Vec<_> = (0..8)
                .map(|_| {
                    let valve = valve.clone();
                    tokio::spawn(async move { valve.pay(5_000).await })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(30)).await;
            let start = Instant::now();
            valve.set(rate);
            for waiter in waiters {
                waiter.await.unwrap();
            }
            assert!(start.elapsed() < Duration::from_millis(150));
        }
    }

    #[tokio::test]
    async fn absurd_rates_neither_panic_nor_hang() {
        for rate in [1, 2, 9, 99_999, 100_001, i64::MAX as u64, u64::MAX] {
            let valve = Valve::new(Rate(rate));
            let _ = tokio::time::timeout(Duration::from_millis(5), valve.pay(3)).await;
            assert_eq!(valve.rate(), Rate(rate));
        }
    }
}
