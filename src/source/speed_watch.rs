//! Pure: whether a connection is too slow (`lowest-speed-limit`).
//!
//! Only time in which the server could have delivered counts: not what was spent waiting for a
//! rate limit or a slow disk.

use std::time::{Duration, Instant};

use crate::base::units::Rate;

/// A connection is judged by what came in so much time.
const SPAN: Duration = Duration::from_secs(10);

/// The flow of one connection since its last judgement.
#[derive(Clone, Debug)]
pub struct SpeedWatch {
    began: Instant,
    waited: Duration,
    bytes: u64,
}

impl SpeedWatch {
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    pub fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// We, not the server, were the slow ones for this long.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// The speed, if it is time to judge and it is below `lowest`.
    pub fn too_slow(&mut self, now: Instant, lowest: Rate) -> Option<u64> {
        if lowest.is_unlimited() {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.began);
        let elapsed = elapsed.saturating_sub(self.waited);
        if elapsed < SPAN {
            return None;
        }
        let speed = (self.bytes as f64 / elapsed.as_secs_f64()) as u64;
        *self = Self::new(now);
        (speed < lowest.0).then_some(speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_time_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lowest = Rate(100);
        for (waited, bytes, seconds, judged) in [
            (0, 500, 9, None),
            (0, 500, 10, Some(50)),
            (0, 1000, 10, None),
            (5, 500, 14, None),
            (5, 500, 15, Some(50)),
            (60, 500, 65, None),
        ] {
            let mut watch = SpeedWatch::new(start);
            watch.received(bytes);
            watch.waited(Duration::from_secs(waited));
            assert_eq!(watch.too_slow(at(seconds), lowest), judged);
            assert_eq!(watch.too_slow(at(seconds), Rate::UNLIMITED), None);
        }
        // Each stretch is judged by itself.
        let mut watch = SpeedWatch::new(start);
        watch.received(1_000_000);
        assert_eq!(watch.too_slow(at(10), lowest), None);
        assert_eq!(watch.too_slow(at(20), lowest), Some(0));
    }
}
