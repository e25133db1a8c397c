//! Whom we feed: rounds of the choker, and the orders that follow.

use std::time::Instant;

use crate::base::rng::Rng;
use crate::base::units::SourceId;
use crate::bittorrent::choker::{ChokePeer, Choker, ROUND, slot_count};
use crate::limit::LimitBranch;

use super::connections::Connections;

/// The rounds of one torrent.
pub struct Feeding {
    choker: Choker,
    rng: Rng,
    round_at: Instant,
    /// Something happened that is not to wait for the next round.
    again: bool,
}

impl Feeding {
    pub fn new(now: Instant) -> Self {
        Self {
            choker: Choker::new(),
            rng: Rng::from_entropy(),
            round_at: now,
            again: false,
        }
    }

    /// Somebody came to want something or left a place free, or the upload limit changed.
    pub fn again(&mut self) {
        self.again = true;
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(self.round_at)
    }

    /// Chokes and unchokes, if a round is due or something happened.
    pub fn advance(
        &mut self,
        now: Instant,
        seeding: bool,
        limit: &LimitBranch,
        connections: &mut Connections,
    ) {
        let due = now >= self.round_at;
        if !due && !std::mem::take(&mut self.again) {
            return;
        }
        if due {
            self.round_at = now + ROUND;
            self.again = false;
        }
        let peers: Vec<ChokePeer> = connections
            .greeted()
            .map(|(id, peer)| ChokePeer {
                id,
                interested: peer.interested,
                down_speed: peer.figures().down.speed(now),
                up_speed: peer.figures().up.speed(now),
                snubbing: peer.snubbing,
                connected_at: peer.connected_at,
            })
            .collect();
        let slots = slot_count(limit.up_rate(), limit.up_meter().speed(now));
        let fed: Vec<SourceId> = if due {
            self.choker
                .decide(now, seeding, slots, &peers, &mut self.rng)
        } else {
            self.fill(slots, &peers, connections)
        };
        for (id, peer) in connections.greeted_mut() {
            peer.set_choked(!fed.contains(&id));
        }
    }

    /// Between rounds nobody loses his place, and free ones go to those who wait longest.
    fn fill(&self, slots: usize, peers: &[ChokePeer], connections: &Connections) -> Vec<SourceId> {
        let is_fed = |id| connections.get(id).is_some_and(|peer| !peer.choked);
        let (mut fed, mut waiting): (Vec<ChokePeer>, Vec<ChokePeer>) = peers
            .iter()
            .filter(|peer| peer.interested)
            .partition(|peer| is_fed(peer.id));
        waiting.sort_by_key(|peer| peer.connected_at);
        let free = slots.saturating_sub(fed.len());
        fed.extend(waiting.into_iter().take(free));
        fed.into_iter().map(|peer| peer.id).collect()
    }
}
