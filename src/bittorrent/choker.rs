//! Pure: whom to feed. While leeching, those who feed us, and one other by chance, so that newcomers
//! get to show what they have (tit for tat with optimistic unchoke, as BEP 3 describes it). While
//! seeding everybody in turn.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use crate::base::rng::Rng;
use crate::base::units::{Rate, SourceId};

/// Decisions are made so often; more often makes connections flutter.
pub const ROUND: Duration = Duration::from_secs(10);
/// The optimistic unchoke stays for three rounds.
const OPTIMISTIC_TIME: Duration = Duration::from_secs(30);
/// How long a peer is fed by a seed before others come first.
const TURN: Duration = Duration::from_secs(60);
/// A new connection is three times as likely to be tried by chance (BEP 3).
const NEW_TIME: Duration = Duration::from_secs(60);
const SLOTS_MIN: usize = 4;
const SLOTS_MAX: usize = 100;

/// What the choker knows of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChokePeer {
    pub id: SourceId,
    pub interested: bool,
    /// It feeds us at so many bytes a second.
    pub down_speed: u64,
    /// We feed it at so many bytes a second.
    pub up_speed: u64,
    pub snubbing: bool,
    pub connected_at: Instant,
}

/// How many peers to feed at once: enough to fill the link, few enough that each notices it.
pub fn slot_count(up_limit: Rate, up_speed: u64) -> usize {
    let carried = if up_limit.is_unlimited() {
        up_speed
    } else {
        up_limit.0
    };
    // The rule of the first client: a share grows with the root of the rate in KiB.
    let slots = ((carried as f64 / 1024.0) * 0.6).sqrt() as usize;
    let min = if up_limit.is_unlimited() {
        2 * SLOTS_MIN
    } else {
        SLOTS_MIN
    };
    slots.clamp(min, SLOTS_MAX)
}

/// Remembers who is being fed and since when.
#[derive(Debug, Default)]
pub struct Choker {
    /// Fed now, with the beginning of the turn.
    fed: Vec<(SourceId, Instant)>,
    /// Fed once, with the end of the last turn; waiting since then.
    past: Vec<(SourceId, Instant)>,
    optimistic: Option<(SourceId, Instant)>,
}

impl Choker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Who is to be unchoked from now on; everybody else is to be choked. To be called once a
    /// [`ROUND`], and when a fed peer left or lost interest.
    pub fn decide(
        &mut self,
        now: Instant,
        seeding: bool,
        slots: usize,
        peers: &[ChokePeer],
        rng: &mut Rng,
    ) -> Vec<SourceId> {
        let slots = slots.max(1);
        let wanting: Vec<ChokePeer> = peers
            .iter()
            .filter(|peer| peer.interested)
            .copied()
            .collect();
        self.past
            .retain(|(id, _)| peers.iter().any(|peer| peer.id == *id));
        let chosen = if seeding {
            self.optimistic = None;
            self.in_turn(now, slots, &wanting, rng)
        } else {
            self.by_merit(now, slots, &wanting, rng)
        };
        self.remember(now, &chosen);
        chosen
    }

    /// Leecher: the best feeders, and one by chance.
    fn by_merit(
        &mut self,
        now: Instant,
        slots: usize,
        wanting: &[ChokePeer],
        rng: &mut Rng,
    ) -> Vec<SourceId> {
        let optimistic = self.choose_optimistic(now, wanting, rng);
        let mut ranked: Vec<&ChokePeer> = wanting
            .iter()
            .filter(|peer| !peer.snubbing && Some(peer.id) != optimistic)
            .collect();
        ranked.sort_by_key(|peer| (Reverse(peer.down_speed), Reverse(peer.up_speed), peer.id));
        let merit = slots.saturating_sub(usize::from(optimistic.is_some()));
        let mut chosen: Vec<SourceId> = ranked.iter().take(merit).map(|peer| peer.id).collect();
        chosen.extend(optimistic);
        chosen
    }

    fn choose_optimistic(
        &mut self,
        now: Instant,
        wanting: &[ChokePeer],
        rng: &mut Rng,
    ) -> Option<SourceId> {
        let wants = |id| wanting.iter().any(|peer| peer.id == id);
        if let Some((id, since)) = self.optimistic
            && wants(id)
            && now.saturating_duration_since(since) < OPTIMISTIC_TIME
        {
            return Some(id);
        }
        let weight = |peer: &ChokePeer| {
            let new = now.saturating_duration_since(peer.connected_at) < NEW_TIME;
            if new { 3 } else { 1 }
        };
        let fed = |peer: &&ChokePeer| self.fed.iter().any(|(id, _)| *id == peer.id);
        let mut lots: Vec<&ChokePeer> = wanting.iter().filter(|peer| !fed(peer)).collect();
        if lots.is_empty() {
            lots = wanting.iter().collect();
        }
        let mut drawn = rng.below(lots.iter().map(|peer| weight(peer)).sum());
        let id = lots.iter().find_map(|peer| {
            let hit = drawn < weight(peer);
            drawn = drawn.saturating_sub(weight(peer));
            hit.then_some(peer.id)
        });
        self.optimistic = id.map(|id| (id, now));
        id
    }

    /// Seeder: whoever has its turn goes on, then whoever waits longest, then whoever had a turn.
    fn in_turn(
        &self,
        now: Instant,
        slots: usize,
        wanting: &[ChokePeer],
        rng: &mut Rng,
    ) -> Vec<SourceId> {
        let rank = |peer: &ChokePeer| {
            if let Some((_, since)) = self.fed.iter().find(|(id, _)| *id == peer.id) {
                let over = now.saturating_duration_since(*since) >= TURN;
                return (if over { 3 } else { 0 }, None);
            }
            match self.past.iter().find(|(id, _)| *id == peer.id) {
                None => (1, None),
                Some((_, ended)) => (2, Some(*ended)),
            }
        };
        let mut ranked: Vec<_> = wanting
            .iter()
            .map(|peer| (rank(peer), Reverse(peer.up_speed), rng.next_u64(), peer.id))
            .collect();
        ranked.sort();
        ranked.truncate(slots);
        ranked.into_iter().map(|(.., id)| id).collect()
    }

    fn remember(&mut self, now: Instant, chosen: &[SourceId]) {
        let before = std::mem::take(&mut self.fed);
        for (id, since) in &before {
            if !chosen.contains(id) {
                self.past.retain(|(past, _)| past != id);
                self.past.push((*id, now));
            } else if now.saturating_duration_since(*since) < TURN {
                self.fed.push((*id, *since));
            }
        }
        for id in chosen {
            if !self.fed.iter().any(|(fed, _)| fed == id) {
                self.fed.push((*id, now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u32, down_speed: u64, connected_at: Instant) -> ChokePeer {
        ChokePeer {
            id: SourceId(id),
            interested: true,
            down_speed,
            up_speed: 0,
            snubbing: false,
            connected_at,
        }
    }

    #[test]
    fn a_leecher_feeds_its_feeders_and_one_by_chance() {
        let start = Instant::now();
        let mut rng = Rng::seeded(1);
        let mut choker = Choker::new();
        let mut peers: Vec<_> = (0..10).map(|id| peer(id, u64::from(id), start)).collect();
        peers[9].interested = false;
        peers[8].snubbing = true;
        let mut lucky = std::collections::BTreeSet::new();
        for round in 0..60 {
            let now = start + ROUND * round;
            let chosen = choker.decide(now, false, 4, &peers, &mut rng);
            assert_eq!(chosen.len(), 4);
            assert!(!chosen.contains(&SourceId(9)));
            // The three best, unless one of them is the lucky one.
            let best = [7, 6, 5]
                .iter()
                .filter(|id| chosen.contains(&SourceId(**id)))
                .count();
            assert!(best >= 3, "round {round}: {chosen:?}");
            lucky.insert(chosen[3]);
        }
        assert!(lucky.len() >= 4, "{lucky:?}");
    }

    #[test]
    fn a_seed_feeds_everybody_in_turn() {
        let start = Instant::now();
        let mut rng = Rng::seeded(1);
        let mut choker = Choker::new();
        let peers: Vec<_> = (0..12).map(|id| peer(id, 0, start)).collect();
        let mut rounds = vec![0; 12];
        for round in 0..90 {
            for id in choker.decide(start + ROUND * round, true, 4, &peers, &mut rng) {
                rounds[id.0 as usize] += 1;
            }
        }
        assert_eq!(rounds, [30; 12]);
    }

    #[test]
    fn slots_follow_the_link() {
        for (limit, speed, slots) in [
            (0, 0, 8),
            (0, 10 << 20, 78),
            (0, u64::MAX, 100),
            (1024, 10 << 20, 4),
            (1 << 20, 0, 24),
        ] {
            assert_eq!(slot_count(Rate(limit), speed), slots, "{limit} {speed}");
        }
    }

    #[test]
    fn nobody_wants_anything() {
        let mut choker = Choker::new();
        let now = Instant::now();
        assert!(
            choker
                .decide(now, false, 4, &[], &mut Rng::seeded(1))
                .is_empty()
        );
        assert!(
            choker
                .decide(now, true, 4, &[], &mut Rng::seeded(1))
                .is_empty()
        );
    }
}
