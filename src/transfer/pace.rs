//! Pure: how fast one source delivers, as the picker needs it: quick to notice a slow-down.

use std::time::{Duration, Instant};

/// Shorter gaps between writes are lumped together; their quotient would be noise.
const SAMPLE_MIN: Duration = Duration::from_millis(50);
/// Time in which the estimate moves most of the way to a new speed.
const SETTLE: Duration = Duration::from_secs(2);
/// A source that wrote nothing for this long while it holds a lease is stalled.
const STALL: Duration = Duration::from_secs(2);

/// Smoothed bytes a second of one source while it holds a lease.
#[derive(Clone, Debug)]
pub struct Pace {
    since: Instant,
    pending: u64,
    rate: Option<f64>,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            pending: 0,
            rate: None,
        }
    }

    /// A lease begins now; time before it says nothing about the speed.
    pub fn begin(&mut self, now: Instant) {
        self.since = now;
        self.pending = 0;
    }

    pub fn wrote(&mut self, now: Instant, bytes: u64) {
        self.pending += bytes;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < SAMPLE_MIN {
            return;
        }
        let sample = self.pending as f64 / elapsed.as_secs_f64();
        self.rate = Some(match self.rate {
            None => sample,
            Some(rate) => {
                let weight = 1.0 - (-elapsed.as_secs_f64() / SETTLE.as_secs_f64()).exp();
                rate + weight * (sample - rate)
            }
        });
        self.since = now;
        self.pending = 0;
    }

    /// Bytes a second; `None` while nothing is known. Silence lowers it.
    pub fn rate(&self, now: Instant) -> Option<f64> {
        let silence = now.saturating_duration_since(self.since);
        if silence >= STALL {
            return Some(self.pending as f64 / silence.as_secs_f64());
        }
        self.rate
    }

    /// Bytes a second as it was, whatever has been silent since.
    pub fn last_rate(&self) -> Option<f64> {
        self.rate
    }

    /// How long nothing has come, in steps of a sample.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether a source that holds a lease has gone silent.
    pub fn stalled(&self, now: Instant) -> bool {
        self.pending == 0 && now.saturating_duration_since(self.since) >= STALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_steady_flow_and_notices_its_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        assert_eq!(pace.rate(at(10)), None);
        for step in 1..=100u64 {
            pace.wrote(at(step * 10), 1000);
        }
        let rate = pace.rate(at(1000)).unwrap();
        assert!((95_000.0..105_000.0).contains(&rate), "{rate}");
        assert!(!pace.stalled(at(2900)));
        assert!(pace.stalled(at(3000)));
        assert_eq!(pace.rate(at(3000)), Some(0.0));
    }

    #[test]
    fn a_sudden_slow_down_shows_within_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for step in 1..=20u64 {
            pace.wrote(start + Duration::from_millis(step * 100), 1_000_000);
        }
        for step in 21..=60u64 {
            pace.wrote(start + Duration::from_millis(step * 100), 100);
        }
        let rate = pace.rate(start + Duration::from_secs(6)).unwrap();
        assert!(rate < 2_000_000.0, "{rate}");
    }
}
