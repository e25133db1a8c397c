//! Pure: the pieces nobody works on yet, by how many peers have them.
//!
//! A piece moves between its buckets in constant time, whatever the number of pieces and peers.
//! Peers that have everything are one number, so that they come and go without touching a piece.

use crate::base::bitfield::Bitfield;
use crate::base::rng::Rng;
use crate::base::units::PieceIdx;

/// Marks a piece that is in no bucket.
const NOWHERE: u32 = u32::MAX;
/// Pieces looked at in order of rarity before the peer's own list is searched.
const SCAN_MAX: usize = 64;
/// Pieces of the peer's own list that are compared.
const COMPARED_MAX: usize = 32;

/// Counts of all pieces, buckets of those that may be picked.
pub struct Rarity {
    /// Peers that have the piece, seeders left out.
    counts: Vec<u32>,
    seeders: u32,
    urgent: Bitfield,
    /// Pieces that may be picked.
    free: Bitfield,
    /// Free pieces that go before all others.
    first: Vec<u32>,
    /// Other free pieces by count.
    buckets: Vec<Vec<u32>>,
    /// Where a piece stands in its bucket.
    place: Vec<u32>,
    /// Pieces looked at so far.
    steps: u64,
}

impl Rarity {
    /// No piece may be picked yet.
    pub fn new(piece_count: u32) -> Self {
        let count = piece_count as usize;
        Self {
            counts: vec![0; count],
            seeders: 0,
            urgent: Bitfield::new(piece_count),
            free: Bitfield::new(piece_count),
            first: Vec::new(),
            buckets: Vec::new(),
            place: vec![NOWHERE; count],
            steps: 0,
        }
    }

    pub fn availability(&self, piece: PieceIdx) -> u32 {
        let count = self.counts.get(piece.0 as usize).copied().unwrap_or(0);
        count + self.seeders
    }

    pub fn seeders(&self) -> u32 {
        self.seeders
    }

    pub fn add_seeder(&mut self) {
        self.seeders += 1;
    }

    pub fn remove_seeder(&mut self) {
        self.seeders = self.seeders.saturating_sub(1);
    }

    /// Pieces looked at since the beginning.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub fn is_free(&self, piece: PieceIdx) -> bool {
        self.free.get(piece.0)
    }

    /// Whether some connected peer has a free piece.
    pub fn any_reachable(&self) -> bool {
        if self.free.none() {
            return false;
        }
        let reachable = |piece: &u32| self.availability(PieceIdx(*piece)) > 0;
        self.seeders > 0
            || self.buckets.iter().skip(1).any(|bucket| !bucket.is_empty())
            || self.first.iter().any(reachable)
    }

    /// One more peer has the piece.
    pub fn add(&mut self, piece: PieceIdx, rng: &mut Rng) {
        self.change(piece, |count| count + 1, rng);
    }

    /// One peer less has the piece.
    pub fn remove(&mut self, piece: PieceIdx, rng: &mut Rng) {
        self.change(piece, |count| count.saturating_sub(1), rng);
    }

    fn change(&mut self, piece: PieceIdx, to: impl Fn(u32) -> u32, rng: &mut Rng) {
        let index = piece.0 as usize;
        let Some(count) = self.counts.get(index).copied() else {
            return;
        };
        let free = self.is_free(piece);
        if free {
            self.unplace(piece);
        }
        self.counts[index] = to(count);
        if free {
            self.put(piece, rng);
        }
    }

    /// The piece may be picked from now on, or not.
    pub fn set_free(&mut self, piece: PieceIdx, free: bool, rng: &mut Rng) {
        if piece.0 >= self.free.len() || self.is_free(piece) == free {
            return;
        }
        self.free.set(piece.0, free);
        if free {
            self.put(piece, rng);
        } else {
            self.unplace(piece);
        }
    }

    pub fn set_urgent(&mut self, pieces: &[PieceIdx], rng: &mut Rng) {
        let mut urgent = Bitfield::new(self.free.len());
        pieces.iter().for_each(|piece| urgent.set(piece.0, true));
        let free: Vec<u32> = self.free.ones().collect();
        for piece in &free {
            self.unplace(PieceIdx(*piece));
        }
        self.urgent = urgent;
        for piece in free {
            self.put(PieceIdx(piece), rng);
        }
    }

    fn bucket(&mut self, piece: PieceIdx) -> &mut Vec<u32> {
        if self.urgent.get(piece.0) {
            return &mut self.first;
        }
        let count = self.counts[piece.0 as usize] as usize;
        if self.buckets.len() <= count {
            self.buckets.resize_with(count + 1, Vec::new);
        }
        &mut self.buckets[count]
    }

    /// Puts a piece at a random place of its bucket, so that not everybody takes the same.
    fn put(&mut self, piece: PieceIdx, rng: &mut Rng) {
        let bucket = self.bucket(piece);
        let last = bucket.len();
        bucket.push(piece.0);
        let at = rng.below(bucket.len() as u64) as usize;
        bucket.swap(at, last);
        let moved = bucket[last];
        self.place[piece.0 as usize] = at as u32;
        self.place[moved as usize] = last as u32;
        self.place[piece.0 as usize] = at as u32;
    }

    fn unplace(&mut self, piece: PieceIdx) {
        let at = self.place[piece.0 as usize] as usize;
        self.place[piece.0 as usize] = NOWHERE;
        let bucket = self.bucket(piece);
        debug_assert_eq!(bucket.get(at), Some(&piece.0), "a piece stands where it is");
        bucket.swap_remove(at);
        if let Some(moved) = bucket.get(at).copied() {
            self.place[moved as usize] = at as u32;
        }
    }

    /// The rarest free piece among those the peer has and `may` be asked for; urgent ones first.
    pub fn pick(
        &mut self,
        has: &Bitfield,
        may: &dyn Fn(PieceIdx) -> bool,
        rng: &mut Rng,
    ) -> Option<PieceIdx> {
        let order = self.first.iter().chain(self.buckets.iter().flatten());
        // What the rarest bucket holds no peer but seeders has.
        let mut budget = SCAN_MAX;
        for piece in order {
            self.steps += 1;
            if has.get(*piece) && may(PieceIdx(*piece)) {
                return Some(PieceIdx(*piece));
            }
            budget -= 1;
            if budget == 0 {
                return self.search(has, may, rng);
            }
        }
        None
    }

    /// An urgent piece, or a random one, of those the peer has.
    pub fn pick_early(
        &mut self,
        has: &Bitfield,
        may: &dyn Fn(PieceIdx) -> bool,
        rng: &mut Rng,
    ) -> Option<PieceIdx> {
        let urgent = self.first.iter().map(|piece| PieceIdx(*piece));
        let mut urgent = urgent.filter(|piece| has.get(piece.0) && may(*piece));
        if let Some(piece) = urgent.next() {
            return Some(piece);
        }
        self.matches(has, may, rng, 1).into_iter().next()
    }

    /// For a peer whose pieces others have as well: compares some of its own.
    fn search(
        &mut self,
        has: &Bitfield,
        may: &dyn Fn(PieceIdx) -> bool,
        rng: &mut Rng,
    ) -> Option<PieceIdx> {
        let found = self.matches(has, may, rng, COMPARED_MAX);
        let key = |piece: &PieceIdx| (!self.urgent.get(piece.0), self.counts[piece.0 as usize]);
        found.into_iter().min_by_key(key)
    }

    /// Free pieces of the peer from a random place on, eight bytes of both lists at a time.
    fn matches(
        &mut self,
        has: &Bitfield,
        may: &dyn Fn(PieceIdx) -> bool,
        rng: &mut Rng,
        count_max: usize,
    ) -> Vec<PieceIdx> {
        let words = self.free.as_bytes().len().div_ceil(8);
        let begin = rng.below(words as u64) as usize;
        let mut found = Vec::new();
        for offset in 0..words {
            let at = (begin + offset) % words;
            self.steps += 1;
            let mut both = word(self.free.as_bytes(), at) & word(has.as_bytes(), at);
            while both != 0 {
                let bit = both.leading_zeros();
                both &= !(1 << (63 - bit));
                let piece = PieceIdx(at as u32 * 64 + bit);
                self.steps += 1;
                if may(piece) {
                    found.push(piece);
                }
            }
            if found.len() >= count_max {
                break;
            }
        }
        if count_max == 1 && found.len() > 1 {
            let chosen = rng.below(found.len() as u64) as usize;
            found.swap(0, chosen);
        }
        found
    }
}

/// Eight bytes of a bitfield, first piece highest; zeros behind its end.
fn word(bytes: &[u8], at: usize) -> u64 {
    let part = bytes.get(at * 8..).unwrap_or_default();
    let mut word = [0; 8];
    let len = part.len().min(8);
    word[..len].copy_from_slice(&part[..len]);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(drawing: &str) -> Bitfield {
        let mut bits = Bitfield::new(drawing.len() as u32);
        for (index, cell) in drawing.chars().enumerate() {
            bits.set(index as u32, cell == '#');
        }
        bits
    }

    fn rarity(peers: &[&str]) -> (Rarity, Rng) {
        let count = peers[0].len() as u32;
        let (mut rarity, mut rng) = (Rarity::new(count), Rng::seeded(1));
        (0..count).for_each(|piece| rarity.set_free(PieceIdx(piece), true, &mut rng));
        for peer in peers {
            for piece in bits(peer).ones() {
                rarity.add(PieceIdx(piece), &mut rng);
            }
        }
        (rarity, rng)
    }

    /// The order in which a peer that has everything is asked.
    fn order(rarity: &mut Rarity, rng: &mut Rng) -> Vec<u32> {
        let all = bits(&"#".repeat(rarity.counts.len()));
        let mut order = Vec::new();
        while let Some(piece) = rarity.pick(&all, &|_| true, rng) {
            rarity.set_free(piece, false, rng);
            order.push(piece.0);
        }
        order
    }

    #[test]
    fn the_rarest_goes_first_and_urgent_ones_before_it() {
        let (mut rarity, mut rng) = self::rarity(&["####", "###.", "#.#.", "#..."]);
        assert_eq!(order(&mut rarity, &mut rng), [3, 1, 2, 0]);
        let (mut rarity, mut rng) = self::rarity(&["####", "###.", "#.#.", "#..."]);
        rarity.set_urgent(&[PieceIdx(0)], &mut rng);
        assert_eq!(order(&mut rarity, &mut rng), [0, 3, 1, 2]);
    }

    #[test]
    fn ties_are_broken_by_chance() {
        let first = |seed| {
            let (mut rarity, mut rng) = (Rarity::new(8), Rng::seeded(seed));
            (0..8).for_each(|piece| rarity.set_free(PieceIdx(piece), true, &mut rng));
            rarity.pick(&bits("########"), &|_| true, &mut rng)
        };
        let picked: std::collections::BTreeSet<_> = (0..50).map(first).collect();
        assert!(picked.len() > 5, "{picked:?}");
    }

    #[test]
    fn a_peer_that_has_only_the_commonest_is_served_without_a_long_search() {
        let mut peers = vec!["#".repeat(5000) + &".".repeat(5000)];
        let common = ".".repeat(9999) + "#";
        peers.extend((0..100).map(|_| common.clone()));
        let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
        let (mut rarity, mut rng) = self::rarity(&peers);
        let before = rarity.steps();
        let picked = rarity.pick(&bits(&common), &|_| true, &mut rng);
        assert_eq!(picked, Some(PieceIdx(9999)));
        assert!(rarity.steps() - before < 300, "{}", rarity.steps() - before);
    }

    #[test]
    fn counts_follow_peers_that_come_and_go() {
        let (mut rarity, mut rng) = self::rarity(&["##..", ".##."]);
        rarity.add_seeder();
        assert_eq!(rarity.availability(PieceIdx(1)), 3);
        rarity.remove(PieceIdx(1), &mut rng);
        assert_eq!(rarity.availability(PieceIdx(1)), 2);
        rarity.remove_seeder();
        assert!(rarity.any_reachable());
        assert_eq!(rarity.availability(PieceIdx(3)), 0);
    }
}
