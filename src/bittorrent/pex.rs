//! Pure: peer exchange (ut_pex, BEP 11): the message codec, and per connection what the other side
//! was told already, so that a message only holds what changed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::compact;
use crate::format::bencode::{self, Writer};

/// Shortest time between two messages to one peer (BEP 11).
pub const INTERVAL: Duration = Duration::from_secs(60);
/// Most peers in one message, of those that came and of those that went (BEP 11).
const PEERS_MAX: usize = 50;
/// More than this of one message is not read.
const READ_MAX: usize = 200;

/// Bits that go with each added peer.
pub mod flag {
    pub const ENCRYPTION: u8 = 0x01;
    pub const SEED: u8 = 0x02;
    pub const UTP: u8 = 0x04;
    pub const HOLEPUNCH: u8 = 0x08;
    /// We dialled it, so it can be reached.
    pub const REACHABLE: u8 = 0x10;
}

/// A ut_pex message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PexMessage {
    /// Peers that came, with their flags.
    pub added: Vec<(SocketAddr, u8)>,
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    pub fn encode(&self) -> Vec<u8> {
        let packed = |v4: bool| {
            let (mut peers, mut flags) = (Vec::new(), Vec::new());
            for (address, flag) in self.added.iter().filter(|(peer, _)| peer.is_ipv4() == v4) {
                compact::write(*address, &mut peers);
                flags.push(*flag);
            }
            (peers, flags)
        };
        let gone = |v4: bool| {
            let mut peers = Vec::new();
            for address in self.dropped.iter().filter(|peer| peer.is_ipv4() == v4) {
                compact::write(*address, &mut peers);
            }
            peers
        };
        let ((added, flags), (added6, flags6)) = (packed(true), packed(false));
        let mut writer = Writer::new();
        writer.dict(|dict| {
            dict.bytes("added").bytes(added);
            dict.bytes("added.f").bytes(flags);
            dict.bytes("added6").bytes(added6);
            dict.bytes("added6.f").bytes(flags6);
            dict.bytes("dropped").bytes(gone(true));
            dict.bytes("dropped6").bytes(gone(false));
        });
        writer.finish()
    }

    /// `None` when it is no dictionary; keys that are missing or malformed count as empty.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let dict = bencode::parse(payload).ok()?.dict()?;
        let bytes = |key| dict.bytes(key).unwrap_or_default();
        let flagged = |peers, len, flags| {
            let flags: &[u8] = bytes(flags);
            let peers: &[u8] = bytes(peers);
            peers
                .chunks_exact(len)
                .enumerate()
                .filter_map(|(index, peer)| {
                    let flag = flags.get(index).copied().unwrap_or_default();
                    Some((compact::read(peer)?, flag))
                })
                .filter(|(address, _)| compact::is_possible(*address))
                .take(READ_MAX)
                .collect::<Vec<_>>()
        };
        let mut added = flagged("added", compact::V4_LEN, "added.f");
        added.extend(flagged("added6", compact::V6_LEN, "added6.f"));
        let mut dropped: Vec<_> = compact::read_v4(bytes("dropped")).take(READ_MAX).collect();
        dropped.extend(compact::read_v6(bytes("dropped6")).take(READ_MAX));
        Some(Self { added, dropped })
    }
}

/// What one peer was told.
#[derive(Debug, Default)]
pub struct PexState {
    told: BTreeSet<SocketAddr>,
    sent_at: Option<Instant>,
    received_at: Option<Instant>,
}

impl PexState {
    /// The next message for a peer, given who is connected now (without that peer itself); `None`
    /// when it is too early or nothing changed.
    pub fn poll_message(
        &mut self,
        now: Instant,
        connected: &[(SocketAddr, u8)],
    ) -> Option<PexMessage> {
        let early = |at: Instant| now.saturating_duration_since(at) < INTERVAL;
        if self.sent_at.is_some_and(early) {
            return None;
        }
        let present: BTreeSet<SocketAddr> = connected.iter().map(|(peer, _)| *peer).collect();
        let added: Vec<_> = connected
            .iter()
            .filter(|(peer, _)| !self.told.contains(peer))
            .take(PEERS_MAX)
            .copied()
            .collect();
        let dropped: Vec<_> = self
            .told
            .difference(&present)
            .take(PEERS_MAX)
            .copied()
            .collect();
        if added.is_empty() && dropped.is_empty() {
            return None;
        }
        self.told.extend(added.iter().map(|(peer, _)| *peer));
        for peer in &dropped {
            self.told.remove(peer);
        }
        self.sent_at = Some(now);
        Some(PexMessage { added, dropped })
    }

    /// Whether a message that came now is to be believed: peers that send them faster than BEP 11
    /// allows (some leeway given) try to fill our list.
    pub fn accept(&mut self, now: Instant) -> bool {
        let soon = |at: Instant| now.saturating_duration_since(at) < INTERVAL / 2;
        let accepted = !self.received_at.is_some_and(soon);
        if accepted {
            self.received_at = Some(now);
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_reads_back() {
        let message = PexMessage {
            added: vec![
                (peer("1.2.3.4:5"), flag::SEED),
                (peer("[2001:db8::1]:6"), flag::UTP),
            ],
            dropped: vec![peer("5.6.7.8:9"), peer("[2001:db8::2]:6")],
        };
        let bytes = message.encode();
        assert!(bytes.starts_with(b"d5:added6:\x01\x02\x03\x04\0\x057:added.f1:\x026:added618:"));
        assert_eq!(PexMessage::decode(&bytes), Some(message));
        assert_eq!(
            PexMessage::decode(b"d5:addedi1ee"),
            Some(PexMessage::default())
        );
        assert_eq!(PexMessage::decode(b"i1e"), None);
        // Fewer flags than peers.
        let short = PexMessage::decode(b"d5:added6:\x01\x02\x03\x04\0\x05e").unwrap();
        assert_eq!(short.added, [(peer("1.2.3.4:5"), 0)]);
    }

    #[test]
    fn only_changes_are_told_and_at_most_once_a_minute() {
        let mut state = PexState::default();
        let start = Instant::now();
        let (a, b) = ((peer("1.1.1.1:1"), 0), (peer("2.2.2.2:2"), 0));
        assert_eq!(state.poll_message(start, &[]), None);
        let first = state.poll_message(start, &[a, b]).unwrap();
        assert_eq!(first.added, [a, b]);
        assert_eq!(state.poll_message(start + INTERVAL / 2, &[a]), None);
        let second = state.poll_message(start + INTERVAL, &[a]).unwrap();
        assert_eq!((second.added, second.dropped), (vec![], vec![b.0]));
        assert_eq!(state.poll_message(start + INTERVAL * 2, &[a]), None);
        assert!(state.accept(start));
        assert!(!state.accept(start + Duration::from_secs(1)));
        assert!(state.accept(start + INTERVAL));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = PexMessage::decode(&bytes);
        }
    }
}
