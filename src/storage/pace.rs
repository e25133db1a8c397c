//! Pure: when a device is slow, and when it is fast again.

use std::time::{Duration, Instant};

/// A write to the page cache takes some 20 microseconds; one that takes this long waited.
pub const SLOW_WRITE: Duration = Duration::from_millis(20);
/// One write of this length is enough to call the device slow.
const STALLED_WRITE: Duration = Duration::from_millis(150);
/// Slow writes within `WINDOW` that make a device slow. One or two may be the scheduler.
const SLOW_COUNT: usize = 3;
const WINDOW: Duration = Duration::from_secs(1);
/// A device without a slow write for this long is fast again.
pub const CALM: Duration = Duration::from_secs(2);

/// How a device should be written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// On the thread that has the bytes.
    Fast,
    /// By the device's own writer thread.
    Slow,
}

/// Remembers the slow writes of one device.
#[derive(Clone, Debug, Default)]
pub struct PaceDetector {
    /// When the last slow writes ended, oldest first.
    recent: [Option<Instant>; SLOW_COUNT],
    slow_until: Option<Instant>,
}

impl PaceDetector {
    /// Takes in a write that ended at `now` after `took`.
    pub fn handle_write(&mut self, now: Instant, took: Duration) -> Pace {
        if took >= SLOW_WRITE {
            self.recent.rotate_left(1);
            self.recent[SLOW_COUNT - 1] = Some(now);
            let crowded = self.recent[0]
                .is_some_and(|oldest| now.saturating_duration_since(oldest) <= WINDOW);
            // A slow device stays so while any write is slow.
            if crowded || took >= STALLED_WRITE || self.pace(now) == Pace::Slow {
                self.slow_until = Some(now + CALM);
            }
        }
        self.pace(now)
    }

    /// A write has not come back for long.
    pub fn handle_stall(&mut self, now: Instant) {
        self.slow_until = Some(now + CALM);
    }

    pub fn pace(&self, now: Instant) -> Pace {
        match self.slow_until {
            Some(until) if now < until => Pace::Slow,
            _ => Pace::Fast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (ms since start, ms taken) and draws the pace after each: `f` or `S`.
    fn draw(writes: &[(u64, u64)]) -> String {
        let start = Instant::now();
        let mut detector = PaceDetector::default();
        writes
            .iter()
            .map(|(at, took)| {
                let now = start + Duration::from_millis(*at);
                match detector.handle_write(now, Duration::from_millis(*took)) {
                    Pace::Fast => 'f',
                    Pace::Slow => 'S',
                }
            })
            .collect()
    }

    #[test]
    fn fast_writes_stay_inline() {
        assert_eq!(
            draw(&[(0, 0), (1, 1), (30, 19), (60, 19), (90, 19)]),
            "fffff"
        );
    }

    #[test]
    fn one_hiccup_is_the_scheduler() {
        assert_eq!(draw(&[(0, 40), (10, 0), (600, 40), (1700, 40)]), "ffff");
    }

    #[test]
    fn three_slow_writes_in_a_second_are_the_disk() {
        assert_eq!(draw(&[(0, 30), (400, 30), (800, 30)]), "ffS");
    }

    #[test]
    fn one_stall_is_the_disk() {
        assert_eq!(draw(&[(0, 0), (200, 150), (300, 0)]), "fSS");
    }

    #[test]
    fn fast_again_after_two_calm_seconds() {
        assert_eq!(
            draw(&[
                (0, 200),
                (1900, 25),
                (3800, 0),
                (3899, 0),
                (3900, 0),
                (3950, 30)
            ]),
            "SSSSff"
        );
    }

    #[test]
    fn a_write_that_does_not_come_back_counts_at_once() {
        let now = Instant::now();
        let mut detector = PaceDetector::default();
        detector.handle_stall(now);
        assert_eq!(detector.pace(now + CALM / 2), Pace::Slow);
        assert_eq!(detector.pace(now + CALM), Pace::Fast);
    }
}
