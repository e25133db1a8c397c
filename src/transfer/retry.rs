//! Pure: what to do with a mirror after a failed try.

use std::time::{Duration, Instant};

use crate::base::error::{ErrorCode, Failure, Retry};

/// First wait of a mirror that failed without asking for one; doubled with each try in a row.
const BACK_OFF: Duration = Duration::from_millis(250);
/// No mirror is left alone for longer, unless it asked for it.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// A server that asks for more patience than this is treated as gone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// The options that govern retries.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Tries in a row without progress (option `max-tries`); `None` is no limit.
    pub tries_max: Option<u32>,
    /// Least time between two tries (option `retry-wait`).
    pub wait: Duration,
    /// 404 answers after which a mirror is given up (option `max-file-not-found`); 0: at the first.
    pub not_found_max: u32,
}

/// A mirror's history of failures.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    failed: u32,
    not_found: u32,
    /// Bytes that come too slowly are no progress to forgive for.
    too_slow: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NextTry {
    /// The whole download is lost.
    Fail(Failure),
    /// This mirror is.
    Switch(Failure),
    /// Again, not before.
    At(Instant),
}

impl Tries {
    /// Bytes came in: what failed before is forgiven.
    pub fn handle_progress(&mut self) {
        self.failed = 0;
    }
}

impl RetryPolicy {
    pub fn handle_failure(&self, now: Instant, tries: &mut Tries, failure: Failure) -> NextTry {
        tries.failed += 1;
        if failure.code == ErrorCode::TooSlow {
            tries.too_slow += 1;
            tries.failed = tries.failed.max(tries.too_slow);
        }
        if failure.code == ErrorCode::ResourceNotFound && self.not_found_max > 0 {
            return self.handle_not_found(now, tries, failure);
        }
        match failure.retry {
            Retry::Never => NextTry::Fail(failure),
            Retry::OtherMirror => NextTry::Switch(failure),
            Retry::After(_) if self.is_spent(tries) => NextTry::Switch(failure),
            Retry::After(asked) if asked > RETRY_AFTER_MAX => NextTry::Switch(failure),
            Retry::After(asked) => NextTry::At(now + asked.max(self.pause(tries.failed))),
        }
    }

    fn handle_not_found(&self, now: Instant, tries: &mut Tries, failure: Failure) -> NextTry {
        tries.not_found += 1;
        if tries.not_found >= self.not_found_max {
            let text = format!("Reached max-file-not-found count={}", self.not_found_max);
            return NextTry::Switch(Failure::new(
                ErrorCode::MaxFileNotFound,
                Retry::OtherMirror,
                text,
            ));
        }
        if self.is_spent(tries) {
            return NextTry::Switch(failure);
        }
        NextTry::At(now + self.pause(tries.failed))
    }

    fn is_spent(&self, tries: &Tries) -> bool {
        self.tries_max
            .is_some_and(|tries_max| tries.failed >= tries_max)
    }

    /// How long a mirror is left alone after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(16));
        self.wait.max(doubled.min(BACK_OFF_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            tries_max: Some(3),
            wait: Duration::from_secs(2),
            not_found_max: 0,
        }
    }

    fn failure(code: ErrorCode, retry: Retry) -> Failure {
        Failure::new(code, retry, "text")
    }

    #[test]
    fn tries_in_a_row_are_counted_and_forgiven_by_progress() {
        let now = Instant::now();
        let mut tries = Tries::default();
        let overloaded = || {
            failure(
                ErrorCode::HttpServiceUnavailable,
                Retry::After(Duration::ZERO),
            )
        };
        for _ in 0..2 {
            assert_eq!(
                policy().handle_failure(now, &mut tries, overloaded()),
                NextTry::At(now + Duration::from_secs(2))
            );
        }
        tries.handle_progress();
        assert!(matches!(
            policy().handle_failure(now, &mut tries, overloaded()),
            NextTry::At(_)
        ));
        policy().handle_failure(now, &mut tries, overloaded());
        assert_eq!(
            policy().handle_failure(now, &mut tries, overloaded()),
            NextTry::Switch(overloaded())
        );
    }

    #[test]
    fn without_a_wait_the_pauses_grow_and_a_servers_wish_is_kept() {
        let now = Instant::now();
        let policy = RetryPolicy {
            tries_max: None,
            wait: Duration::ZERO,
            not_found_max: 0,
        };
        let mut tries = Tries::default();
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            let refused = failure(ErrorCode::Unknown, Retry::After(Duration::ZERO));
            let NextTry::At(at) = policy.handle_failure(now, &mut tries, refused) else {
                panic!()
            };
            assert!(at - now >= last && at - now <= BACK_OFF_MAX);
            last = at - now;
        }
        assert_eq!(last, BACK_OFF_MAX);
        let asked = failure(
            ErrorCode::HttpProtocol,
            Retry::After(Duration::from_secs(77)),
        );
        assert_eq!(
            policy.handle_failure(now, &mut tries, asked),
            NextTry::At(now + Duration::from_secs(77))
        );
    }

    #[test]
    fn not_found_is_final_unless_it_is_counted() {
        let now = Instant::now();
        let missing = || failure(ErrorCode::ResourceNotFound, Retry::OtherMirror);
        let mut tries = Tries::default();
        assert_eq!(
            policy().handle_failure(now, &mut tries, missing()),
            NextTry::Switch(missing())
        );
        let counting = RetryPolicy {
            not_found_max: 2,
            ..policy()
        };
        let mut tries = Tries::default();
        assert!(matches!(
            counting.handle_failure(now, &mut tries, missing()),
            NextTry::At(_)
        ));
        let NextTry::Switch(last) = counting.handle_failure(now, &mut tries, missing()) else {
            panic!()
        };
        assert_eq!(last.code, ErrorCode::MaxFileNotFound);
        assert_eq!(last.message, "Reached max-file-not-found count=2");
    }
}
