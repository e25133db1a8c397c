//! Pure: how many downloads may run at once.

/// The coefficients of `optimize-concurrent-downloads`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    pub base: f64,
    pub factor: f64,
}

/// How many downloads may run at once: `max-concurrent-downloads`, or fewer where
/// `optimize-concurrent-downloads` says so (aria2 manual: A + B·log10 of the speed in Mbit/s; as
/// observed, A rounded down before there is a speed, rounded up after that). At least one, so
/// that there is a speed to measure.
pub fn slots(limit: usize, pace: Option<Pace>, bytes_per_second: u64) -> usize {
    let Some(pace) = pace else {
        return limit;
    };
    let megabits = bytes_per_second as f64 * 8.0 / 1e6;
    let count = match bytes_per_second {
        0 => pace.base.floor(),
        _ => (pace.base + pace.factor * megabits.log10()).ceil(),
    };
    // The cast turns what is below zero into 0.
    (count as usize).clamp(1, limit.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_opens_slots_up_to_the_limit() {
        let pace = Some(Pace {
            base: 5.0,
            factor: 25.0,
        });
        for (limit, pace, speed, count) in [
            (5, None, 0, 5),
            (0, None, 0, 0),
            (50, pace, 0, 5),
            (3, pace, 0, 3),
            (50, pace, 1_000, 1),
            (50, pace, 125_000, 5),
            (50, pace, 126_000, 6),
            (50, pace, 1_250_000, 30),
            (20, pace, 1_250_000, 20),
        ] {
            assert_eq!(slots(limit, pace, speed), count, "{limit} {speed}");
        }
    }
}
