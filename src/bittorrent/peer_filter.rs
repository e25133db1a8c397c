//! Peers never to talk to: those of a file, and those that were named while we run.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::blocklist::Blocklist;

/// One of a process; looked at for every connection.
#[derive(Default)]
pub struct PeerFilter {
    file: ArcSwap<Blocklist>,
    named: ArcSwap<Named>,
    changes: AtomicU64,
}

/// What somebody has named.
#[derive(Default)]
struct Named {
    /// As they were given.
    lines: Vec<String>,
    list: Blocklist,
}

impl PeerFilter {
    /// An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn is_blocked(&self, ip: IpAddr) -> bool {
        self.file.load().contains(ip) || self.named.load().list.contains(ip)
    }

    /// Replaces what a file says.
    pub fn set_file(&self, list: Blocklist) {
        self.file.store(Arc::new(list));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Replaces what was named: addresses, networks and ranges, as lines of a file have them.
    ///
    /// # Errors
    /// The first that is not understood; then nothing changes.
    pub fn set_named(&self, lines: Vec<String>) -> Result<(), String> {
        if let Some(strange) = lines.iter().find(|line| Blocklist::parse_text(line).1 > 0) {
            return Err(strange.clone());
        }
        let (list, _) = Blocklist::parse_text(&lines.join("\n"));
        self.named.store(Arc::new(Named { lines, list }));
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// What was named.
    pub fn named(&self) -> Vec<String> {
        self.named.load().lines.clone()
    }

    /// Grows with each change: connections that stand have to be looked at again.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_names_block_side_by_side() {
        let filter = PeerFilter::default();
        let ip = |text: &str| text.parse().unwrap();
        filter.set_file(Blocklist::parse(b"10.1.0.0/16").0);
        let named = ["10.2.0.1", "a name:10.3.0.0-10.3.0.9", "2001:db8::/32"];
        let named = named.map(str::to_owned).to_vec();
        filter.set_named(named.clone()).unwrap();
        for blocked in [
            "10.1.2.3",
            "10.2.0.1",
            "::ffff:10.2.0.1",
            "10.3.0.9",
            "2001:db8::1",
        ] {
            assert!(filter.is_blocked(ip(blocked)), "{blocked}");
        }
        assert!(!filter.is_blocked(ip("10.2.0.2")));
        let before = filter.changes();
        let wrong = vec!["10.9.0.1".to_owned(), "nonsense".to_owned()];
        assert_eq!(filter.set_named(wrong), Err("nonsense".to_owned()));
        assert_eq!((filter.named(), filter.changes()), (named, before));
        filter.set_named(Vec::new()).unwrap();
        assert!(!filter.is_blocked(ip("10.2.0.1")) && filter.is_blocked(ip("10.1.2.3")));
        assert!(filter.changes() > before);
    }
}
