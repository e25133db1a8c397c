//! Pure: a speedometer over a sliding window of ten seconds, written by many and read by anyone
//! without a lock.
//!
//! Time is cut into slots of half a second that lie in a ring. A slot carries its own number, so
//! that a stale one is recognised and begun anew by whoever writes first. Two writers that begin
//! a slot in the same instant can lose one another's bytes to the speed, never to the total.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SLOT_MS: u64 = 500;
const SLOT_COUNT: u64 = 20;
const WINDOW_MS: u64 = SLOT_MS * SLOT_COUNT;
/// A flow that was silent for so long has stopped.
const SILENCE_MS_MAX: u64 = 2_500;
/// A flow is not extrapolated from a shorter time than this.
const ELAPSED_MS_MIN: u64 = 250;
/// Nor a single burst from less than this: nobody knows how long it took to come.
const BURST_MS_MIN: u64 = 1_000;
/// Low bits of a slot hold bytes, high bits the slot's number.
const BYTES_BITS: u32 = 40;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;
const NUMBER_MASK: u64 = u64::MAX >> BYTES_BITS;

/// Counts bytes and tells their speed.
#[derive(Debug, Default)]
pub struct Meter {
    /// When the first bytes came; all other times are milliseconds after it.
    base: OnceLock<Instant>,
    slots: [AtomicU64; SLOT_COUNT as usize],
    total: AtomicU64,
    /// First and latest record of the flow that runs now, plus one; 0 means none.
    began_ms: AtomicU64,
    latest_ms: AtomicU64,
    /// What the first record of the flow brought. It came over a time before the flow began, so
    /// the speed leaves it out.
    first_bytes: AtomicU64,
}

impl Meter {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `bytes` that passed at `now`.
    pub fn record(&self, now: Instant, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        let base = *self.base.get_or_init(|| now);
        let now_ms = millis_between(base, now);
        let latest = self.latest_ms.swap(now_ms + 1, Ordering::Relaxed);
        if latest == 0 || now_ms + 1 > latest + WINDOW_MS {
            self.began_ms.store(now_ms + 1, Ordering::Relaxed);
            self.first_bytes.store(bytes, Ordering::Relaxed);
        }
        let number = now_ms / SLOT_MS;
        let slot = &self.slots[(number % SLOT_COUNT) as usize];
        let bytes = bytes.min(BYTES_MASK);
        let held = slot.load(Ordering::Relaxed);
        let tag = (number & NUMBER_MASK) << BYTES_BITS;
        if held & !BYTES_MASK == tag {
            // Saturates well below the tag: 2^40 bytes in half a second are out of reach.
            if (held & BYTES_MASK) + bytes <= BYTES_MASK {
                slot.fetch_add(bytes, Ordering::Relaxed);
            }
        } else {
            slot.store(tag | bytes, Ordering::Relaxed);
        }
    }

    /// Bytes a second over the last ten seconds, or since the flow began if that is less; 0 when
    /// nothing came for two and a half seconds.
    pub fn speed(&self, now: Instant) -> u64 {
        match self.base.get() {
            Some(base) if self.silent_ms(millis_between(*base, now)) <= SILENCE_MS_MAX => {
                self.average(now)
            }
            _ => 0,
        }
    }

    /// As [`Meter::speed`], but a silence counts as time in which nothing came and no more.
    pub fn average(&self, now: Instant) -> u64 {
        let Some(base) = self.base.get() else {
            return 0;
        };
        let now_ms = millis_between(*base, now);
        let newest = now_ms / SLOT_MS;
        let oldest = newest.saturating_sub(SLOT_COUNT - 1);
        let bytes: u64 = (oldest..=newest)
            .map(|number| self.bytes_in(number))
            .fold(0, u64::saturating_add);
        let began_ms = self.began_ms.load(Ordering::Relaxed).saturating_sub(1);
        let latest_ms = self.latest_ms.load(Ordering::Relaxed).saturating_sub(1);
        let elapsed_ms = now_ms.saturating_sub(began_ms.max(oldest * SLOT_MS));
        let (bytes, elapsed_ms) = if latest_ms <= began_ms {
            (bytes, elapsed_ms.max(BURST_MS_MIN))
        } else if began_ms / SLOT_MS >= oldest {
            let first = self.first_bytes.load(Ordering::Relaxed);
            (bytes.saturating_sub(first), elapsed_ms.max(ELAPSED_MS_MIN))
        } else {
            (bytes, elapsed_ms.max(ELAPSED_MS_MIN))
        };
        (u128::from(bytes) * 1000 / u128::from(elapsed_ms)) as u64
    }

    /// All bytes ever recorded.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn silent_ms(&self, now_ms: u64) -> u64 {
        match self.latest_ms.load(Ordering::Relaxed) {
            0 => u64::MAX,
            latest => now_ms.saturating_sub(latest - 1),
        }
    }

    fn bytes_in(&self, number: u64) -> u64 {
        let held = self.slots[(number % SLOT_COUNT) as usize].load(Ordering::Relaxed);
        if held >> BYTES_BITS == number & NUMBER_MASK {
            held & BYTES_MASK
        } else {
            0
        }
    }
}

fn millis_between(base: Instant, now: Instant) -> u64 {
    let elapsed: Duration = now.saturating_duration_since(base);
    elapsed.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` every `step_ms` for `for_ms` from `from`; returns the end.
    fn feed(meter: &Meter, from: Instant, for_ms: u64, step_ms: u64, bytes: u64) -> Instant {
        let mut at = 0;
        while at < for_ms {
            meter.record(from + Duration::from_millis(at), bytes);
            at += step_ms;
        }
        from + Duration::from_millis(for_ms)
    }

    #[test]
    fn steady_flow_shows_its_speed_from_early_on() {
        for seconds in [1, 5, 9, 10, 11, 60] {
            let (meter, start) = (Meter::new(), Instant::now());
            let now = feed(&meter, start, seconds * 1000, 10, 1_000);
            let speed = meter.speed(now);
            assert!((95_000..=106_000).contains(&speed), "{seconds} s: {speed}");
            assert_eq!(meter.total(), seconds * 100_000);
        }
    }

    #[test]
    fn falls_to_zero_soon_after_the_flow_and_starts_afresh() {
        let (meter, start) = (Meter::new(), Instant::now());
        assert_eq!(meter.speed(start), 0);
        let now = feed(&meter, start, 20_000, 100, 10_000);
        assert!(meter.speed(now + Duration::from_secs(2)) > 0);
        assert_eq!(meter.speed(now + Duration::from_secs(3)), 0);
        let average = meter.average(now + Duration::from_secs(5));
        assert!((40_000..60_000).contains(&average), "{average}");
        let again = now + Duration::from_secs(100);
        let now = feed(&meter, again, 1_000, 10, 500);
        let speed = meter.speed(now);
        assert!((47_000..=53_000).contains(&speed), "{speed}");
    }

    #[test]
    fn one_burst_is_not_blown_up() {
        let (meter, start) = (Meter::new(), Instant::now());
        meter.record(start, 1_000_000);
        assert_eq!(meter.speed(start), 1_000_000);
        assert_eq!(meter.speed(start + Duration::from_secs(1)), 1_000_000);
    }

    #[test]
    fn a_server_that_sends_once_a_second_is_no_faster_for_it() {
        let (meter, start) = (Meter::new(), Instant::now());
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            meter.record(now, 100_000);
            for later_ms in [50, 400, 990] {
                let speed = meter.speed(now + Duration::from_millis(later_ms));
                assert!(speed <= 106_000, "{second} s + {later_ms} ms: {speed}");
                assert!(speed >= 50_000, "{second} s + {later_ms} ms: {speed}");
            }
        }
    }

    #[test]
    fn survives_absurd_numbers() {
        let (meter, start) = (Meter::new(), Instant::now());
        meter.record(start, u64::MAX);
        meter.record(start, 1 << 39);
        meter.record(start + Duration::from_secs(1 << 33), 4);
        meter.speed(start + Duration::from_secs(1 << 33));
    }
}
