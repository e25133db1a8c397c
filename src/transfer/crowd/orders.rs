//! Pure: what follows from all that was told: new requests, end-game, pieces given up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::member::Member;
use super::partial::{self, Partial};
use super::{Crowd, Orders};
use crate::base::units::{PieceIdx, SourceId};
use crate::bittorrent::wire::Block;
use crate::transfer::piece_map::PieceMap;

/// The first pieces are taken at random, so that there is soon something to give that others lack.
const RANDOM_PIECES: u32 = 4;
/// So many pieces may be open whatever memory says.
const OPEN_MIN: usize = 4;
/// Peers that have nothing left to do are looked at no more often.
const PASS: Duration = Duration::from_millis(100);
/// Blocks that are compared in one pass of the end-game.
const DOUBLED_MAX: usize = 2048;
/// Of those, looked at for one peer.
const LOOKS_MAX: usize = 128;
/// Blocks a peer is asked for a second time in one pass.
const DOUBLED_PEER_MAX: usize = 16;
/// A block owed for so long may be asked of others while there is still other work.
const PATIENCE: Duration = Duration::from_secs(15);
/// A piece nobody is asked for is given back after so long.
const UNASKED: Duration = Duration::from_secs(10);
/// With idle mirrors a piece is given up that would take peers longer than this, in seconds.
const SLOW_SECONDS: f64 = 20.0;
/// Or longer than this, in seconds…
const OVERTAKE_SECONDS: f64 = 2.0;
/// …and so many times what idle mirrors would need.
const OVERTAKE_FACTOR: f64 = 1.5;
/// A piece that was given up for mirrors and came back stays for so long.
const YIELD_GAP: Duration = Duration::from_secs(120);
/// What a peer refused is asked of it again after so long.
const FORGET: Duration = Duration::from_secs(30);
/// A piece one peer has to send alone is taken from it after so long without a block.
const SOLO_PATIENCE: Duration = Duration::from_secs(20);

/// When the peers without work were looked at.
#[derive(Debug, Default)]
pub struct Pass {
    at: Option<Instant>,
    forgiven_at: Option<Instant>,
}

impl Crowd {
    /// Everything that follows from what was told since the last call. With `mirrors_idle`
    /// ([`Plan::mirrors_idle`](crate::transfer::plan::Plan::mirrors_idle)) slow peers give up
    /// pieces.
    pub fn poll_orders(
        &mut self,
        now: Instant,
        map: &mut PieceMap,
        mirrors_idle: Option<f64>,
    ) -> Orders {
        let mut orders = Orders {
            give_back: std::mem::take(&mut self.give_back),
            ..Orders::default()
        };
        self.unpark(map);
        self.tell_interest(&mut orders);
        while let Some(id) = self.ready.pop_first() {
            let hungry = self.serve(now, id, map, &mut orders);
            if hungry {
                self.starved.insert(id);
            }
        }
        let contended = !self.parked.is_empty() && !self.starved.is_empty();
        map.set_contended(contended.then(|| self.idle_rate(now)));
        let due = self.pass.at.is_none_or(|at| now >= at + PASS);
        if due && (mirrors_idle.is_some() || !self.starved.is_empty()) {
            self.pass.at = Some(now);
            self.forgive(now);
            self.give_up(now, mirrors_idle, &mut orders);
            self.double(now, &mut orders);
        }
        orders.cancels = std::mem::take(&mut self.cancels).into_iter().collect();
        debug_assert!(
            self.shape.piece_count() > 256 || self.open.len() > 64 || self.check() == Ok(()),
            "{:?}",
            self.check()
        );
        orders
    }

    /// What peers that find nothing to do have shown they can bring, in bytes a second.
    fn idle_rate(&self, now: Instant) -> f64 {
        let idle = self.starved.iter().filter_map(|id| self.peers.get(id));
        idle.filter_map(|member| member.rate(now)).sum()
    }

    /// When [`Self::poll_orders`] is to be called at the latest.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.open.is_empty() && self.starved.is_empty() {
            return None;
        }
        let gap = match self.starved.is_empty() || self.open.is_empty() {
            true => Duration::from_secs(1),
            false => PASS,
        };
        Some(self.pass.at.map_or(now + gap, |at| (at + gap).max(now)))
    }

    /// Mirrors gave something back: it may be free now.
    fn unpark(&mut self, map: &PieceMap) {
        if self.parked.is_empty() || self.parked_at == map.lease_changes() {
            return;
        }
        for piece in std::mem::take(&mut self.parked) {
            self.rarity.set_free(piece, true, &mut self.rng);
        }
        self.wake_all();
    }

    fn tell_interest(&mut self, orders: &mut Orders) {
        for id in std::mem::take(&mut self.interest_changed) {
            if let Some(member) = self.peers.get_mut(&id)
                && member.interested != (member.useful > 0)
            {
                member.interested = !member.interested;
                orders.interest.push((id, member.interested));
            }
        }
    }

    /// Fills a peer's window; true when room is left and nothing was found.
    fn serve(
        &mut self,
        now: Instant,
        id: SourceId,
        map: &mut PieceMap,
        orders: &mut Orders,
    ) -> bool {
        self.steps += 1;
        let mut asked = Vec::new();
        let mut room = self.peers.get(&id).map_or(0, Member::room);
        if self.peers.get(&id).is_none_or(|member| member.useful == 0) {
            return false;
        }
        while room > 0 {
            let Some(piece) = self.choose(now, id, map, orders) else {
                break;
            };
            let blocks = self.ask(now, id, piece, room);
            if blocks.is_empty() {
                debug_assert!(false, "a chosen piece has free blocks");
                break;
            }
            room -= blocks.len().min(room);
            asked.extend(blocks);
        }
        if !asked.is_empty() {
            orders.requests.push((id, asked));
        }
        room > 0
    }

    /// An open piece with free blocks for this peer; opens one if need be.
    fn choose(
        &mut self,
        now: Instant,
        id: SourceId,
        map: &mut PieceMap,
        orders: &mut Orders,
    ) -> Option<PieceIdx> {
        let member = self.peers.get(&id)?;
        let free = |piece: &&PieceIdx| self.open.get(piece).is_some_and(|open| open.free() > 0);
        if let Some(own) = member.owned.iter().find(free) {
            return Some(*own);
        }
        let mut looked = 0;
        let shared = self.shared.iter().copied().find(|piece| {
            looked += 1;
            may_take(member, *piece)
        });
        self.steps += looked;
        if let Some(piece) = shared {
            self.claim_solo(id, piece);
            return Some(piece);
        }
        if self.open.len() < self.open_max() {
            return self.open_new(now, id, map, orders);
        }
        // Memory is spent: pieces are shared after all.
        let mut looked = 0;
        let owned = self.owned.iter().copied().find(|piece| {
            looked += 1;
            may_take(member, *piece)
        });
        self.steps += looked;
        owned
    }

    pub(super) fn open_max(&self) -> usize {
        let piece_len = u64::from(self.shape.piece_len.max(1));
        let count = self.settings.open_bytes_max / piece_len;
        usize::try_from(count).unwrap_or(usize::MAX).max(OPEN_MIN)
    }

    /// A piece that failed is fetched by one peer alone.
    fn claim_solo(&mut self, id: SourceId, piece: PieceIdx) {
        if let Some(partial) = self.open.get_mut(&piece).filter(|open| open.solo)
            && let Some(member) = self.peers.get_mut(&id)
        {
            partial.owner = Some(id);
            member.owned.push(piece);
            self.sort(piece);
        }
    }

    /// Checks out a piece that nobody works on.
    fn open_new(
        &mut self,
        now: Instant,
        id: SourceId,
        map: &mut PieceMap,
        orders: &mut Orders,
    ) -> Option<PieceIdx> {
        loop {
            let piece = self.pick(id)?;
            self.rarity.set_free(piece, false, &mut self.rng);
            let Some(on_disk) = map.check_out(piece) else {
                self.parked.insert(piece);
                self.parked_at = map.lease_changes();
                continue;
            };
            let mut partial = Partial::new(now, self.shape, piece, &on_disk);
            partial.solo = self.failed.contains(&piece);
            let member = self.peers.get_mut(&id)?;
            if partial.solo || member.works_alone(now, u64::from(self.shape.piece_len)) {
                partial.owner = Some(id);
                member.owned.push(piece);
            }
            orders.open.push((piece, on_disk));
            self.open.insert(piece, partial);
            self.sort(piece);
            return Some(piece);
        }
    }

    /// Which piece a peer begins next.
    fn pick(&mut self, id: SourceId) -> Option<PieceIdx> {
        let member = self.peers.get_mut(&id)?;
        while let Some(piece) = member.suggested.pop() {
            if self.rarity.is_free(piece) && may_take(member, piece) {
                return Some(piece);
            }
        }
        let member = self.peers.get(&id)?;
        if member.choked {
            let allowed = member.allowed.iter().copied();
            let mut open = allowed.filter(|piece| self.rarity.is_free(*piece));
            return open.find(|piece| may_take(member, *piece));
        }
        let may = |piece| may_take(member, piece);
        if self.had.count_ones() < RANDOM_PIECES {
            return self.rarity.pick_early(&member.has, &may, &mut self.rng);
        }
        self.rarity.pick(&member.has, &may, &mut self.rng)
    }

    /// Asks a peer for free blocks of a piece.
    fn ask(&mut self, now: Instant, id: SourceId, piece: PieceIdx, room: usize) -> Vec<Block> {
        let (Some(member), Some(partial)) = (self.peers.get_mut(&id), self.open.get_mut(&piece))
        else {
            return Vec::new();
        };
        let indexes = partial.ask(now, id, room);
        member.ask(now, piece, &indexes);
        self.steps += indexes.len() as u64;
        self.sort(piece);
        let block = |index| partial::block(self.shape, piece, index);
        indexes.into_iter().map(block).collect()
    }

    /// Nobody works on this piece any more.
    fn return_piece(&mut self, piece: PieceIdx, orders: &mut Orders) {
        self.close(piece);
        orders.give_back.push(piece);
        if self.lacks(piece) {
            // The map says when it may be taken again.
            self.parked.insert(piece);
        }
    }

    /// A peer that refused a piece may give it by now.
    fn forgive(&mut self, now: Instant) {
        if self.pass.forgiven_at.is_some_and(|at| now < at + FORGET) {
            return;
        }
        self.pass.forgiven_at = Some(now);
        let mut forgiven = Vec::new();
        for (id, member) in &mut self.peers {
            if !member.refused.is_empty() {
                member.refused.clear();
                forgiven.push(*id);
            }
        }
        for id in forgiven {
            self.wake(id);
        }
    }

    /// Gives up pieces nobody is asked for and, for mirrors that have nothing to do, slow ones.
    fn give_up(&mut self, now: Instant, mirrors_idle: Option<f64>, orders: &mut Orders) {
        let mut slow: Option<(f64, PieceIdx)> = None;
        let cramped = self.open.len() >= self.open_max() && !self.starved.is_empty();
        let (mut unasked, mut stuck) = (Vec::new(), Vec::new());
        for (piece, open) in &self.open {
            self.steps += 1;
            let still = now.saturating_duration_since(open.moved_at);
            if open.asked() == 0 {
                let patience = if mirrors_idle.is_some() || cramped {
                    PASS
                } else {
                    UNASKED
                };
                if open.free() > 0 && still >= patience {
                    unasked.push(*piece);
                }
            } else if open.solo {
                if still >= SOLO_PATIENCE {
                    stuck.push(*piece);
                }
            } else if let Some(rate) = mirrors_idle
                && open.missing() > 0
                && !self.yielded_lately(now, *piece)
            {
                let seconds = self.seconds_left(now, open);
                let theirs = open.missing_len() as f64 / rate.max(1.0);
                let patience = SLOW_SECONDS.min(OVERTAKE_SECONDS + OVERTAKE_FACTOR * theirs);
                if seconds > patience && slow.is_none_or(|(most, _)| seconds > most) {
                    slow = Some((seconds, *piece));
                }
            }
        }
        for piece in unasked {
            self.return_piece(piece, orders);
        }
        if let Some((_, piece)) = slow {
            self.yielded.insert(piece, now);
            self.return_piece(piece, orders);
        }
        for piece in stuck {
            self.take_from_owner(now, piece);
        }
    }

    /// Whether mirrors had their chance with it.
    fn yielded_lately(&self, now: Instant, piece: PieceIdx) -> bool {
        let at = self.yielded.get(&piece);
        at.is_some_and(|at| now < *at + YIELD_GAP)
    }

    /// Seconds until the last block will have come.
    fn seconds_left(&self, now: Instant, open: &Partial) -> f64 {
        let mut most: f64 = 0.0;
        let mut askers = BTreeSet::new();
        for (index, by) in open.all_askers() {
            if open.is_had(index) {
                continue;
            }
            let member = self.peers.get(&by);
            askers.insert(by);
            let seconds = member.and_then(|member| member.seconds_for(now, 0));
            // Somebody new is given the benefit of the doubt for as long as a piece may take.
            let waited = now.saturating_duration_since(open.moved_at).as_secs_f64();
            most = most.max(seconds.unwrap_or(waited));
        }
        // What is not asked of anybody yet comes behind that.
        let members = askers.iter().filter_map(|by| self.peers.get(by));
        let rate: f64 = members.filter_map(|member| member.rate(now)).sum();
        match rate > 0.0 {
            true => most.max(open.missing_len() as f64 / rate),
            false => most,
        }
    }

    fn take_from_owner(&mut self, now: Instant, piece: PieceIdx) {
        let Some(open) = self.open.get_mut(&piece) else {
            return;
        };
        open.moved_at = now;
        let owner = open.owner.take();
        let askers: Vec<(usize, SourceId)> = open.all_askers().collect();
        for (index, by) in askers {
            self.void(piece, index, by);
            self.unask(piece, index, by);
        }
        if let Some(member) = owner.and_then(|owner| self.peers.get_mut(&owner)) {
            member.owned.retain(|owned| *owned != piece);
            member.refuse(piece);
        }
        self.sort(piece);
    }

    /// End-game: peers that have nothing left to do are asked for what others owe.
    fn double(&mut self, now: Instant, orders: &mut Orders) {
        let all_asked = !self.rarity.any_reachable() && self.open.values().all(|o| o.free() == 0);
        let mut owed = self.owed(now, all_asked);
        if owed.is_empty() {
            return;
        }
        // What takes longest goes first, to the fastest.
        owed.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let mut idle: Vec<(u64, SourceId)> = self
            .starved
            .iter()
            .filter_map(|id| {
                let member = self.peers.get(id).filter(|member| !member.snubbed)?;
                let rate = member.rate(now).unwrap_or(0.0);
                Some((u64::MAX - rate as u64, *id))
            })
            .collect();
        idle.sort_unstable();
        for (_, id) in idle {
            let blocks = self.double_for(now, id, &owed);
            if !blocks.is_empty() {
                orders.requests.push((id, blocks));
            }
        }
    }

    /// Blocks that were asked for and have not come.
    fn owed(&mut self, now: Instant, all_asked: bool) -> Vec<Owed> {
        let mut owed = Vec::new();
        for (piece, open) in self.open.iter().filter(|(_, open)| !open.solo) {
            if owed.len() >= DOUBLED_MAX {
                break;
            }
            for (index, by) in open.all_askers() {
                self.steps += 1;
                let Some(member) = self.peers.get(&by).filter(|_| !open.is_had(index)) else {
                    continue;
                };
                let Some(asked) = member.asked.get(&(*piece, index)) else {
                    continue;
                };
                let age = now.saturating_duration_since(asked.at);
                if !all_asked && age < PATIENCE {
                    continue;
                }
                let seconds = match member.seconds_for(now, 0) {
                    Some(seconds) if age.as_secs_f64() <= 2.0 * seconds + 1.0 => seconds,
                    // Nothing is known of it: it gets a little time to show what it is.
                    None if age.as_secs_f64() <= 1.0 => continue,
                    _ => f64::INFINITY,
                };
                owed.push(Owed {
                    seconds,
                    piece: *piece,
                    index,
                });
            }
        }
        owed
    }

    fn double_for(&mut self, now: Instant, id: SourceId, owed: &[Owed]) -> Vec<Block> {
        let mut blocks = Vec::new();
        for Owed {
            seconds,
            piece,
            index,
        } in owed.iter().take(LOOKS_MAX)
        {
            self.steps += 1;
            let Some(member) = self.peers.get(&id) else {
                break;
            };
            let ours = member.seconds_for(now, 1);
            let pays = seconds.is_infinite() || ours.is_some_and(|ours| ours < *seconds);
            if !pays || member.room() == 0 || blocks.len() >= DOUBLED_PEER_MAX {
                break;
            }
            if !may_take(member, *piece) || member.asked.contains_key(&(*piece, *index)) {
                continue;
            }
            let open = self.open.get_mut(piece);
            if open.is_some_and(|open| open.double(*index, id))
                && let Some(member) = self.peers.get_mut(&id)
            {
                member.ask(now, *piece, &[*index]);
                blocks.push(partial::block(self.shape, *piece, *index));
            }
        }
        blocks
    }
}

/// A block that somebody was asked for.
struct Owed {
    /// Until it will have come, as far as can be told.
    seconds: f64,
    piece: PieceIdx,
    index: usize,
}

/// Whether a block of this piece may be asked of the peer. One that still owes blocks of an earlier
/// try is left alone, so that its answers are not mistaken.
fn may_take(member: &Member, piece: PieceIdx) -> bool {
    let mut earlier = member.asked.range((piece, 0)..=(piece, usize::MAX));
    member.may_ask(piece) && !earlier.any(|(_, asked)| asked.void)
}
