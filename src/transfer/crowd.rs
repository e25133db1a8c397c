//! Pure: which blocks of a torrent are asked of which peer.
//!
//! The driver tells what peers have, allow and send; [`Crowd::poll_orders`] answers with all that
//! follows from it. It is cheap when nothing changed, so that a driver calls it once for each batch
//! of inputs, and when [`Crowd::poll_timeout`] is due.
//!
//! A piece the crowd works on is checked out of the [`PieceMap`] (no mirror touches it) until it is
//! hashed or given back. In order:
//! 1. `orders.open`: the driver opens the piece in the assembler, with what of it is on disk.
//! 2. `orders.requests` and `cancels` go to the connections; `Took` and `Released` come back.
//! 3. `PeerReport::Piece` goes to `Plan::handle_swarm_piece` and to [`Crowd::handle_piece`].
//! 4. `orders.give_back`: nobody works on the piece any more. The driver has the assembler write
//!    what it holds of it and tells `Plan::handle_given_back` the spans that are on disk.
//!
//! Pieces that mirrors fetched come by [`Crowd::handle_had`].

mod blocks;
mod member;
mod orders;
mod partial;
mod peers;
mod rarity;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use self::member::Members;
use self::orders::Pass;
use self::partial::Partial;
use self::rarity::Rarity;
use crate::base::bitfield::Bitfield;
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::units::{PieceIdx, SourceId, Span};
use crate::bittorrent::peer::Shape;
use crate::bittorrent::wire::Block;

/// What a crowd follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CrowdSettings {
    /// Bytes of pieces that are open at once, whole pieces counted; four pieces may always be.
    pub open_bytes_max: u64,
}

impl CrowdSettings {
    /// For blocks that have so much memory (`disk-cache`): what does not fit in there is written
    /// and read again, so that more pieces than these are not worth it.
    pub fn within(cache_len_max: u64) -> Self {
        Self {
            open_bytes_max: cache_len_max.saturating_mul(8).clamp(16 << 20, 128 << 20),
        }
    }
}

impl Default for CrowdSettings {
    fn default() -> Self {
        Self::within(16 << 20)
    }
}

/// What the driver has to do now, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Pieces just checked out, each with the bytes of the download that are on disk already.
    pub open: Vec<(PieceIdx, RangeSet)>,
    pub interest: Vec<(SourceId, bool)>,
    pub cancels: Vec<(SourceId, Vec<Block>)>,
    pub requests: Vec<(SourceId, Vec<Block>)>,
    /// Pieces nobody works on any more.
    pub give_back: Vec<PieceIdx>,
}

/// The peers of one torrent and what is asked of them.
///
/// Invariant: a wanted piece that is not had is free (in `rarity`), parked, or open. A block of an
/// open piece is had, asked of somebody, or free; what a peer is asked for and what blocks are asked
/// of it are the same.
pub struct Crowd {
    shape: Shape,
    settings: CrowdSettings,
    rng: Rng,
    peers: Members,
    rarity: Rarity,
    had: Bitfield,
    wanted: Bitfield,
    /// Wanted pieces that are not had.
    lacking: u32,
    open: BTreeMap<PieceIdx, Partial>,
    /// Open pieces with free blocks that belong to no peer alone.
    shared: BTreeSet<PieceIdx>,
    /// Open pieces with free blocks that one peer has for itself, though it need not.
    owned: BTreeSet<PieceIdx>,
    /// Pieces that failed their hash once: what comes late for them proves nothing.
    failed: BTreeSet<PieceIdx>,
    /// When slow pieces were given up for mirrors.
    yielded: BTreeMap<PieceIdx, Instant>,
    /// Wanted pieces that mirrors hold, or that are on their way back to them.
    parked: BTreeSet<PieceIdx>,
    /// The map's count of leases given back when pieces were parked.
    parked_at: u64,
    /// Peers that may have something to be asked for.
    ready: BTreeSet<SourceId>,
    /// Peers with room for which nothing was found.
    starved: BTreeSet<SourceId>,
    interest_changed: BTreeSet<SourceId>,
    cancels: BTreeMap<SourceId, Vec<Block>>,
    /// Pieces to give back, with the next orders.
    give_back: Vec<PieceIdx>,
    pass: Pass,
    steps: u64,
}

impl Crowd {
    /// `have`: verified pieces; `wanted`: pieces to fetch. Both as long as the torrent has pieces.
    pub fn new(
        shape: Shape,
        settings: CrowdSettings,
        have: &Bitfield,
        wanted: &Bitfield,
        rng: Rng,
    ) -> Self {
        let count = shape.piece_count();
        let mut crowd = Self {
            shape,
            settings,
            rng,
            peers: Members::new(),
            rarity: Rarity::new(count),
            had: have.clone(),
            wanted: Bitfield::new(count),
            lacking: 0,
            open: BTreeMap::new(),
            shared: BTreeSet::new(),
            owned: BTreeSet::new(),
            failed: BTreeSet::new(),
            yielded: BTreeMap::new(),
            parked: BTreeSet::new(),
            parked_at: 0,
            ready: BTreeSet::new(),
            starved: BTreeSet::new(),
            interest_changed: BTreeSet::new(),
            cancels: BTreeMap::new(),
            give_back: Vec::new(),
            pass: Pass::default(),
            steps: 0,
        };
        crowd.set_wanted(wanted);
        crowd
    }

    /// The selection changed.
    pub fn set_wanted(&mut self, wanted: &Bitfield) {
        self.wanted = wanted.clone();
        let dropped: Vec<PieceIdx> = self.open.keys().copied().collect();
        for piece in dropped {
            if !wanted.get(piece.0) {
                self.close(piece);
                self.give_back.push(piece);
            }
        }
        self.parked.clear();
        self.lacking = 0;
        for index in 0..self.shape.piece_count() {
            let piece = PieceIdx(index);
            let lacks = self.lacks(piece);
            self.lacking += u32::from(lacks);
            let free = lacks && !self.open.contains_key(&piece);
            self.rarity.set_free(piece, free, &mut self.rng);
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.count_useful(id);
        }
        self.wake_all();
    }

    /// These pieces go before all others (`bt-prioritize-piece`, see [`urgent_pieces`]).
    pub fn set_urgent(&mut self, pieces: &[PieceIdx]) {
        self.rarity.set_urgent(pieces, &mut self.rng);
    }

    /// Connected peers that have the piece.
    pub fn availability(&self, piece: PieceIdx) -> u32 {
        self.rarity.availability(piece)
    }

    /// Connected peers that have everything.
    pub fn seeders(&self) -> usize {
        self.rarity.seeders() as usize
    }

    pub fn is_seeder(&self, id: SourceId) -> bool {
        self.peers.get(&id).is_some_and(|member| member.seeder)
    }

    /// Connected peers that have something we want.
    pub fn useful_peers(&self) -> usize {
        self.peers.values().filter(|peer| peer.useful > 0).count()
    }

    /// Whether every wanted piece is there.
    pub fn is_done(&self) -> bool {
        self.lacking == 0
    }

    /// Pieces and blocks looked at since the beginning: what tests hold to a bound.
    pub fn steps(&self) -> u64 {
        self.steps + self.rarity.steps()
    }

    fn lacks(&self, piece: PieceIdx) -> bool {
        self.wanted.get(piece.0) && !self.had.get(piece.0)
    }

    fn count_useful(&mut self, id: SourceId) {
        let Some(member) = self.peers.get_mut(&id) else {
            return;
        };
        let lists = self.wanted.as_bytes().iter().zip(self.had.as_bytes());
        let useful = member.has.as_bytes().iter().zip(lists);
        member.useful = useful
            .map(|(has, (wanted, had))| (has & wanted & !had).count_ones())
            .sum();
        self.interest_changed.insert(id);
    }

    /// Checks the invariant.
    ///
    /// # Errors
    /// A sentence about what is broken.
    pub fn check(&self) -> Result<(), String> {
        for (piece, partial) in &self.open {
            if self.rarity.is_free(*piece) || self.parked.contains(piece) {
                return Err(format!("{piece:?} is open and not"));
            }
            for (index, by) in partial.all_askers() {
                let member = self.peers.get(&by);
                let asked = member.and_then(|member| member.asked.get(&(*piece, index)));
                if asked.is_none_or(|asked| asked.void) {
                    return Err(format!("{piece:?} {index} is not asked of {by:?}"));
                }
            }
        }
        for (id, member) in &self.peers {
            for ((piece, index), _) in member.asked.iter().filter(|(_, asked)| !asked.void) {
                let asks = |open: &Partial| open.all_askers().any(|asker| asker == (*index, *id));
                if !self.open.get(piece).is_some_and(asks) {
                    return Err(format!("{id:?} is asked for {piece:?} {index} by nobody"));
                }
            }
        }
        for index in 0..self.shape.piece_count() {
            let piece = PieceIdx(index);
            let places = [
                self.rarity.is_free(piece),
                self.parked.contains(&piece),
                self.open.contains_key(&piece),
            ];
            let count = places.iter().filter(|place| **place).count();
            if count != usize::from(self.lacks(piece)) {
                return Err(format!("{piece:?} is in {count} places: {places:?}"));
            }
        }
        Ok(())
    }
}

/// The pieces at both ends of each file: `head` and `tail` in bytes, 0 for none.
pub fn urgent_pieces(files: &[Span], piece_len: u64, head: u64, tail: u64) -> Vec<PieceIdx> {
    let mut pieces = Vec::new();
    for file in files.iter().filter(|file| !file.is_empty()) {
        for part in [
            Span::new(file.start, file.end.min(file.start.saturating_add(head))),
            Span::new(file.start.max(file.end.saturating_sub(tail)), file.end),
        ] {
            if !part.is_empty() {
                let (first, last) = (part.start / piece_len, (part.end - 1) / piece_len);
                pieces.extend((first..=last).map(|index| PieceIdx(index as u32)));
            }
        }
    }
    pieces.sort_unstable();
    pieces.dedup();
    pieces
}
