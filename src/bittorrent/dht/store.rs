//! Pure: the peers that were announced to us, to be named to those who look for them (BEP 5).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::base::rng::Rng;
use crate::format::info_hash::InfoHash;

/// Clients announce themselves every 15 to 30 minutes.
const PEER_TIME: Duration = Duration::from_secs(45 * 60);
const TORRENTS_MAX: usize = 2_000;
const PEERS_MAX: usize = 200;
/// So many of a torrent are named at once: the datagram stays below 1,000 bytes.
const NAMED_V4_MAX: usize = 50;
const NAMED_V6_MAX: usize = 25;

/// Peers by torrent.
#[derive(Debug, Default)]
pub struct PeerStore {
    torrents: HashMap<InfoHash, Vec<(SocketAddr, Instant)>>,
}

impl PeerStore {
    /// Keeps a peer that proved its address by a token. Once full, the longest silent of a torrent
    /// makes room; new torrents are not kept.
    pub fn add(&mut self, now: Instant, info_hash: InfoHash, peer: SocketAddr) {
        if self.torrents.len() >= TORRENTS_MAX && !self.torrents.contains_key(&info_hash) {
            return;
        }
        let peers = self.torrents.entry(info_hash).or_default();
        peers.retain(|(known, _)| *known != peer);
        if peers.len() >= PEERS_MAX {
            peers.remove(0);
        }
        peers.push((peer, now));
    }

    /// Some peers of the torrent, drawn where there are many.
    pub fn some(&self, now: Instant, info_hash: InfoHash, rng: &mut Rng) -> Vec<SocketAddr> {
        let Some(peers) = self.torrents.get(&info_hash) else {
            return Vec::new();
        };
        let fresh = |at: Instant| now.saturating_duration_since(at) < PEER_TIME;
        let live = peers.iter().filter(|(_, at)| fresh(*at));
        let mut peers: Vec<SocketAddr> = live.map(|(peer, _)| *peer).collect();
        let count = match peers.first() {
            Some(SocketAddr::V6(_)) => NAMED_V6_MAX,
            _ => NAMED_V4_MAX,
        };
        for at in 0..count.min(peers.len()) {
            let other = at + rng.below((peers.len() - at) as u64) as usize;
            peers.swap(at, other);
        }
        peers.truncate(count);
        peers
    }

    /// Forgets who has not announced himself again; to be called every few minutes.
    pub fn expire(&mut self, now: Instant) {
        self.torrents.retain(|_, peers| {
            peers.retain(|(_, at)| now.saturating_duration_since(*at) < PEER_TIME);
            !peers.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_until_they_fall_silent() {
        let now = Instant::now();
        let mut rng = Rng::seeded(1);
        let mut store = PeerStore::default();
        let hash = InfoHash([1; 20]);
        for port in 1..=300 {
            store.add(now, hash, SocketAddr::from(([10, 0, 0, 1], port)));
        }
        let named = store.some(now, hash, &mut rng);
        assert_eq!(named.len(), NAMED_V4_MAX);
        assert!(named.iter().all(|peer| peer.port() > 100));
        let later = now + PEER_TIME - Duration::from_secs(1);
        let again = SocketAddr::from(([10, 0, 0, 1], 300));
        store.add(later, hash, again);
        store.expire(now + PEER_TIME);
        assert_eq!(store.some(now + PEER_TIME, hash, &mut rng), [again]);
        assert!(store.some(now, InfoHash([2; 20]), &mut rng).is_empty());
        store.expire(later + PEER_TIME);
        assert!(store.torrents.is_empty());
    }

    #[test]
    fn a_flood_of_torrents_does_not_fill_memory() {
        let now = Instant::now();
        let mut store = PeerStore::default();
        for number in 0..5_000u32 {
            let mut hash = InfoHash([0; 20]);
            hash.0[..4].copy_from_slice(&number.to_be_bytes());
            store.add(now, hash, "10.0.0.1:1".parse().unwrap());
        }
        assert_eq!(store.torrents.len(), TORRENTS_MAX);
    }
}
