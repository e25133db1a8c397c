//! Pure: which requests of an HTTPS server share its HTTP/2 connection, and which get a TCP
//! connection of their own.
//!
//! Sharing saves a handshake for each of many small files. A long body gains nothing by it: it
//! would have to share the one connection's congestion window, and its segments are there to get
//! around just that. So:
//! - The first request of a download may share; it offers HTTP/2 and HTTP/1.1 (ALPN). Every later
//!   one, that is every segment, gets an HTTP/1.1 connection of its own, as does everything that
//!   is not HTTPS: there is no h2c.
//! - Of a server that has not answered yet one first request goes ahead, and the others wait a
//!   moment for what it learns; else they would all dial.
//! - While the last file of a server was long, first requests do not share either.
//! - One long body may stay on the shared connection; what a second one does there is up to its
//!   source ([`Hosts::take_seat`]).
//! - After a failure on the shared connection it is left alone for a while, so that a retry does
//!   not depend on what has just failed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Longer bodies, in bytes, are better off on a TCP connection of their own.
pub const SHORT_LEN_MAX: u32 = 4 * 1024 * 1024;
/// How long the other first requests wait for the answer to the very first one.
const LEARN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a shared connection is left alone after a failure.
const AVOID_TIME: Duration = Duration::from_secs(300);
/// What is known of so many servers is kept.
const HOST_COUNT_MAX: usize = 4096;

/// Over which connection a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// HTTP/1.1 over a connection that serves nobody else meanwhile.
    #[default]
    Own,
    /// Over the HTTP/2 connection of its server, if the server can.
    Shared,
}

/// What a first request does now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    Go(Way),
    /// Asks again when something has been learnt, at the latest then.
    Wait(Instant),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// The first answer is awaited.
    Asking {
        until: Instant,
    },
    Http1,
    Http2 {
        last_was_long: bool,
        long_bodies: u32,
    },
    Avoided {
        until: Instant,
    },
}

/// What is known of servers, each named by host and port.
#[derive(Debug, Default)]
pub struct Hosts {
    known: HashMap<String, Known>,
}

impl Hosts {
    pub fn handle_first_request(&mut self, now: Instant, server: &str) -> Turn {
        match self.known.get(server) {
            Some(Known::Http1) => Turn::Go(Way::Own),
            Some(Known::Http2 { last_was_long, .. }) => Turn::Go(match last_was_long {
                true => Way::Own,
                false => Way::Shared,
            }),
            Some(Known::Avoided { until }) if now < *until => Turn::Go(Way::Own),
            Some(Known::Asking { until }) if now < *until => Turn::Wait(*until),
            Some(Known::Avoided { .. } | Known::Asking { .. }) | None => {
                let until = now + LEARN_TIME_MAX;
                self.set(server, Known::Asking { until });
                Turn::Go(Way::Shared)
            }
        }
    }

    /// A first request was answered; `len` is that of the whole body, where it is known.
    pub fn handle_answer(&mut self, server: &str, way: Way, is_http2: bool, len: Option<u64>) {
        let long = len.is_some_and(is_long);
        match (self.known.get_mut(server), way) {
            (Some(Known::Http2 { last_was_long, .. }), _) => *last_was_long = long,
            (_, Way::Shared) => {
                let known = match is_http2 {
                    true => Known::Http2 {
                        last_was_long: long,
                        long_bodies: 0,
                    },
                    false => Known::Http1,
                };
                self.set(server, known);
            }
            (_, Way::Own) => {}
        }
    }

    /// A request or body on the shared connection failed.
    pub fn handle_failure(&mut self, now: Instant, server: &str) {
        let until = now + AVOID_TIME;
        self.set(server, Known::Avoided { until });
    }

    /// Whether a long body may stay on the shared connection; true for one at a time, until
    /// [`Hosts::leave_seat`].
    pub fn take_seat(&mut self, server: &str) -> bool {
        match self.known.get_mut(server) {
            Some(Known::Http2 { long_bodies, .. }) if *long_bodies == 0 => {
                *long_bodies += 1;
                true
            }
            _ => false,
        }
    }

    pub fn leave_seat(&mut self, server: &str) {
        if let Some(Known::Http2 { long_bodies, .. }) = self.known.get_mut(server) {
            *long_bodies = long_bodies.saturating_sub(1);
        }
    }

    fn set(&mut self, server: &str, known: Known) {
        // Forgetting costs no more than learning again.
        if self.known.len() >= HOST_COUNT_MAX && !self.known.contains_key(server) {
            self.known.clear();
        }
        self.known.insert(server.to_owned(), known);
    }
}

/// Whether a body of this length is better off on a connection of its own.
pub fn is_long(len: u64) -> bool {
    len > u64::from(SHORT_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Option<u64> = Some(SHORT_LEN_MAX as u64 + 1);
    const SHORT: Option<u64> = Some(SHORT_LEN_MAX as u64);

    /// What five first requests do at once.
    fn five(hosts: &mut Hosts, now: Instant) -> String {
        let turn = |_| match hosts.handle_first_request(now, "h") {
            Turn::Go(Way::Own) => 'o',
            Turn::Go(Way::Shared) => 's',
            Turn::Wait(_) => '.',
        };
        (0..5).map(turn).collect()
    }

    #[test]
    fn one_goes_ahead_and_the_others_do_as_it_learns() {
        let now = Instant::now();
        for (is_http2, len, then) in [
            (true, SHORT, "sssss"),
            (true, None, "sssss"),
            (true, LONG, "ooooo"),
            (false, SHORT, "ooooo"),
        ] {
            let mut hosts = Hosts::default();
            assert_eq!(five(&mut hosts, now), "s....");
            hosts.handle_answer("h", Way::Shared, is_http2, len);
            assert_eq!(five(&mut hosts, now), then);
        }
    }

    #[test]
    fn nobody_waits_long_for_one_that_gets_no_answer() {
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        five(&mut hosts, now);
        assert_eq!(five(&mut hosts, now + LEARN_TIME_MAX), "s....");
    }

    #[test]
    fn the_last_length_counts_however_it_came() {
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        hosts.handle_answer("h", Way::Shared, true, SHORT);
        hosts.handle_answer("h", Way::Shared, true, LONG);
        assert_eq!(five(&mut hosts, now), "ooooo");
        hosts.handle_answer("h", Way::Own, false, SHORT);
        assert_eq!(five(&mut hosts, now), "sssss");
    }

    #[test]
    fn an_own_connection_says_nothing_of_a_server_that_has_none_to_share() {
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        hosts.handle_answer("h", Way::Own, false, SHORT);
        assert_eq!(five(&mut hosts, now), "s....");
        hosts.handle_answer("h", Way::Shared, false, SHORT);
        hosts.handle_answer("h", Way::Own, false, SHORT);
        assert_eq!(five(&mut hosts, now), "ooooo");
    }

    #[test]
    fn what_failed_is_left_alone_for_a_while() {
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        hosts.handle_answer("h", Way::Shared, true, SHORT);
        hosts.handle_failure(now, "h");
        assert_eq!(five(&mut hosts, now), "ooooo");
        assert_eq!(five(&mut hosts, now + AVOID_TIME), "s....");
    }

    #[test]
    fn one_long_body_has_a_seat() {
        let mut hosts = Hosts::default();
        assert!(!hosts.take_seat("h"));
        hosts.handle_answer("h", Way::Shared, true, LONG);
        assert!(hosts.take_seat("h"));
        assert!(!hosts.take_seat("h"));
        hosts.leave_seat("h");
        assert!(hosts.take_seat("h"));
    }
}
