//! Pure: how many datagrams are taken and sent: nobody makes us work hard, or makes us a weapon
//! against others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Queries of one address that are answered within [`WINDOW`]; loopback excepted, where swarms are
/// tested.
const PER_IP_MAX: u32 = 100;
/// Queries of all.
const TOTAL_MAX: u32 = 5_000;
const WINDOW: Duration = Duration::from_secs(10);
/// Queries of ours: at once, and a second in the long run.
const BURST: f64 = 100.0;
const PER_SECOND: f64 = 60.0;

/// Counts both ways.
#[derive(Debug)]
pub struct Guard {
    since: Instant,
    total: u32,
    by_ip: HashMap<IpAddr, u32>,
    budget: f64,
    filled_at: Instant,
}

impl Guard {
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            total: 0,
            by_ip: HashMap::new(),
            budget: BURST,
            filled_at: now,
        }
    }

    /// Whether a query from this address is answered.
    pub fn admits(&mut self, now: Instant, ip: IpAddr) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.since = now;
            self.total = 0;
            self.by_ip.clear();
        }
        self.total += 1;
        if self.total > TOTAL_MAX {
            return false;
        }
        let count = self.by_ip.entry(one_house(ip)).or_default();
        *count += 1;
        *count <= PER_IP_MAX || ip.is_loopback()
    }

    /// Whether a query of ours may be sent now. To be followed by [`Self::sent`] when it is.
    pub fn may_send(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.budget = (self.budget + passed * PER_SECOND).min(BURST);
        self.budget >= 1.0
    }

    pub fn sent(&mut self) {
        self.budget -= 1.0;
    }

    /// When [`Self::may_send`] says yes again.
    pub fn ready_at(&self) -> Instant {
        let missing = (1.0 - self.budget).max(0.0);
        self.filled_at + Duration::from_secs_f64(missing / PER_SECOND) + Duration::from_millis(1)
    }
}

/// Who has IPv6 has a whole network of 64 bits.
fn one_house(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[8..].fill(0);
            Ipv6Addr::from(octets).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_much_waits() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let answered = (0..500).filter(|_| guard.admits(now, ip(1))).count();
        assert_eq!(answered, PER_IP_MAX as usize);
        assert!(guard.admits(now, ip(2)));
        let six = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let answered = (0..500).filter(|n| guard.admits(now, six(*n))).count();
        assert_eq!(answered, PER_IP_MAX as usize, "one network");
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!((0..1_000).all(|_| guard.admits(now, loopback)));
        assert!(guard.admits(now + WINDOW, ip(1)));
    }

    #[test]
    fn our_own_queries_are_spread_over_time() {
        let mut now = Instant::now();
        let mut guard = Guard::new(now);
        let mut sent = 0;
        while guard.may_send(now) {
            guard.sent();
            sent += 1;
        }
        assert_eq!(sent, BURST as usize);
        assert!(guard.ready_at() > now);
        now = guard.ready_at();
        assert!(guard.may_send(now));
        guard.sent();
        assert!(!guard.may_send(now));
    }
}
