//! Pure: how long a finished torrent is given to others, and how long an unfinished one may stand
//! still.

use std::time::{Duration, Instant};

use crate::option::bt_settings::BtSettings;

/// Decides when enough has been given.
#[derive(Clone, Debug)]
pub struct Seeding {
    began_at: Instant,
    /// Of the length; 0: without end.
    ratio: f64,
    time: Option<Duration>,
    /// Bytes that are here.
    len: u64,
}

impl Seeding {
    /// Seeding of `len` bytes begins now.
    pub fn new(now: Instant, settings: &BtSettings, len: u64) -> Self {
        Self {
            began_at: now,
            ratio: settings.seed_ratio,
            time: settings.seed_time,
            len,
        }
    }

    /// Whether `seed-time` has passed, or `seed-ratio` is reached by the bytes `uploaded` since
    /// the torrent was added. What comes first counts; without `seed-time` and with a ratio of 0
    /// there is no end.
    pub fn is_over(&self, now: Instant, uploaded: u64) -> bool {
        let time = self
            .time
            .is_some_and(|time| now.saturating_duration_since(self.began_at) >= time);
        let ratio = self.ratio > 0.0 && uploaded as f64 >= self.len as f64 * self.ratio;
        time || ratio
    }
}

/// Notices that nothing came for too long (`bt-stop-timeout`).
#[derive(Clone, Debug)]
pub struct Standstill {
    limit: Option<Duration>,
    received: u64,
    since: Instant,
}

impl Standstill {
    /// `None`: patience without end.
    pub fn new(now: Instant, limit: Option<Duration>) -> Self {
        Self {
            limit,
            received: 0,
            since: now,
        }
    }

    /// Whether it is too long, given all bytes `received` up to now.
    pub fn is_over(&mut self, now: Instant, received: u64) -> bool {
        if received != self.received {
            self.received = received;
            self.since = now;
        }
        self.limit
            .is_some_and(|limit| now.saturating_duration_since(self.since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Whether seeding is over after so many minutes and so many of 1,000 bytes.
    fn check(ratio: f64, minutes: Option<f64>, passed: f64, uploaded: u64) -> bool {
        let mut settings = BtSettings::from(&OptionSet::new());
        settings.seed_ratio = ratio;
        settings.seed_time = minutes.map(|minutes| MINUTE.mul_f64(minutes));
        let start = Instant::now();
        let seeding = Seeding::new(start, &settings, 1_000);
        seeding.is_over(start + MINUTE.mul_f64(passed), uploaded)
    }

    #[test]
    fn ratio_or_time_whichever_comes_first() {
        assert!(!check(1.0, None, 1e6, 999));
        assert!(check(1.0, None, 0.0, 1_000));
        assert!(check(1.5, Some(0.5), 0.5, 0));
        assert!(!check(1.5, Some(0.5), 0.4, 1_499));
        assert!(!check(0.0, None, 1e6, u64::MAX));
        assert!(check(0.0, Some(2.0), 2.0, 0));
        assert!(check(2.0, Some(0.0), 0.0, 0), "seed-time=0: not at all");
    }

    #[test]
    fn a_standstill_counts_from_the_last_byte() {
        let start = Instant::now();
        let mut still = Standstill::new(start, Some(MINUTE));
        assert!(!still.is_over(start + MINUTE / 2, 7));
        assert!(!still.is_over(start + MINUTE, 7));
        assert!(still.is_over(start + MINUTE + MINUTE / 2, 7));
        assert!(!Standstill::new(start, None).is_over(start + MINUTE * 9_999, 0));
    }
}
