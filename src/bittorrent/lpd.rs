//! Pure: local peer discovery (BEP 14): the datagram that is multicast in the local network.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use crate::format::info_hash::InfoHash;

/// Where datagrams are sent and listened for.
pub const GROUP_V4: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), 6771));
/// The same for IPv6, site-local.
pub const GROUP_V6: SocketAddr = SocketAddr::V6(SocketAddrV6::new(
    Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f),
    6771,
    0,
    0,
));
/// A torrent is announced so often.
pub const INTERVAL: Duration = Duration::from_secs(300);
/// Most torrents in one datagram: it stays below 1,400 bytes.
pub const HASHES_MAX: usize = 20;

/// An announcement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAnnounce {
    /// TCP port of the sender.
    pub port: u16,
    pub info_hashes: Vec<InfoHash>,
    /// By it the sender knows its own datagrams when they come back.
    pub cookie: Option<String>,
}

impl LocalAnnounce {
    /// `group` is where it is sent.
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {}\r\n",
            self.port
        );
        for hash in self.info_hashes.iter().take(HASHES_MAX) {
            let _ = write!(text, "Infohash: {hash}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            let _ = write!(text, "cookie: {cookie}\r\n");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }

    /// `None` for what is no announcement. Names of headers in any case.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let mut lines = text.split("\r\n");
        if !lines.next()?.starts_with("BT-SEARCH ") {
            return None;
        }
        let mut announce = Self {
            port: 0,
            info_hashes: Vec::new(),
            cookie: None,
        };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("port") {
                announce.port = value.parse().ok()?;
            } else if name.eq_ignore_ascii_case("infohash") {
                announce.info_hashes.extend(InfoHash::parse(value));
            } else if name.eq_ignore_ascii_case("cookie") {
                announce.cookie = Some(value.chars().take(64).collect());
            }
        }
        announce.info_hashes.truncate(HASHES_MAX);
        (announce.port > 0 && !announce.info_hashes.is_empty()).then_some(announce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_datagram_is_that_of_bep_14() {
        let announce = LocalAnnounce {
            port: 6881,
            info_hashes: vec![InfoHash([0xab; 20]), InfoHash([0xcd; 20])],
            cookie: Some("x1".into()),
        };
        let (a, b) = ("ab".repeat(20), "cd".repeat(20));
        let expected = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {a}\r\nInfohash: {b}\r\ncookie: x1\r\n\r\n\r\n"
        );
        assert_eq!(announce.encode(GROUP_V4), expected.into_bytes());
        assert_eq!(
            LocalAnnounce::decode(&announce.encode(GROUP_V6)),
            Some(announce)
        );
        assert_eq!(GROUP_V6.to_string(), "[ff15::efc0:988f]:6771");
        let aria2 = format!(
            "BT-SEARCH * HTTP/1.1\r\nhost: 239.192.152.143:6771\r\nPORT: 1\r\nINFOHASH: {a}\r\n\r\n\r\n"
        );
        assert_eq!(LocalAnnounce::decode(aria2.as_bytes()).unwrap().port, 1);
        for wrong in [
            "",
            "GET / HTTP/1.1\r\n",
            "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n",
            "BT-SEARCH * HTTP/1.1\r\nPort: 70000\r\n",
        ] {
            assert_eq!(LocalAnnounce::decode(wrong.as_bytes()), None);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(BT-SEARCH )?([a-zA-Z]{0,8}:? ?[a-z0-9é]{0,41}\r\n){0,5}") {
            let _ = LocalAnnounce::decode(text.as_bytes());
        }
    }
}
