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

use std::time::{Duration, Instant};

use super::piece_map::PieceMap;
use crate::base::bitfield::Bitfield;
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

impl Default for CrowdSettings {
    fn default() -> Self {
        Self {
            open_bytes_max: 128 << 20,
        }
    }
}

/// What the driver has to do now, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Pieces just checked out, each with the spans of the download that are on disk already.
    pub open: Vec<(PieceIdx, Vec<Span>)>,
    pub interest: Vec<(SourceId, bool)>,
    pub cancels: Vec<(SourceId, Vec<Block>)>,
    pub requests: Vec<(SourceId, Vec<Block>)>,
    /// Pieces nobody works on any more.
    pub give_back: Vec<PieceIdx>,
}

/// The peers of one torrent and what is asked of them.
pub struct Crowd {
    shape: Shape,
    settings: CrowdSettings,
    rng: Rng,
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
        let _ = (have, wanted);
        Self {
            shape,
            settings,
            rng,
        }
    }

    /// The selection changed.
    pub fn set_wanted(&mut self, wanted: &Bitfield) {
        let _ = wanted;
    }

    /// These pieces go before all others (`bt-prioritize-piece`, see [`urgent_pieces`]).
    pub fn set_urgent(&mut self, pieces: &[PieceIdx]) {
        let _ = pieces;
    }

    /// A peer is connected; it has nothing and chokes us.
    pub fn join(&mut self, now: Instant, id: SourceId) {
        let _ = (now, id);
    }

    /// A peer is gone; what was asked of it is free again. `Released` need not be told for it.
    pub fn leave(&mut self, now: Instant, id: SourceId) {
        let _ = (now, id);
    }

    pub fn handle_has(&mut self, id: SourceId, pieces: &[PieceIdx]) {
        let _ = (id, pieces);
    }

    pub fn handle_has_all(&mut self, id: SourceId) {
        let _ = id;
    }

    pub fn handle_choked(&mut self, id: SourceId, choked: bool) {
        let _ = (id, choked);
    }

    pub fn handle_allowed_fast(&mut self, id: SourceId, piece: PieceIdx) {
        let _ = (id, piece);
    }

    pub fn handle_suggests(&mut self, id: SourceId, piece: PieceIdx) {
        let _ = (id, piece);
    }

    pub fn handle_snubbed(&mut self, id: SourceId, snubbed: bool) {
        let _ = (id, snubbed);
    }

    /// So many blocks more may be asked of the peer now.
    pub fn handle_window(&mut self, id: SourceId, blocks: usize) {
        let _ = (id, blocks);
    }

    pub fn handle_took(&mut self, now: Instant, id: SourceId, blocks: &[Block]) {
        let _ = (now, id, blocks);
    }

    pub fn handle_released(&mut self, now: Instant, id: SourceId, blocks: &[Block]) {
        let _ = (now, id, blocks);
    }

    /// A piece of ours was hashed. The assembler holds nothing of a bad one any more.
    pub fn handle_piece(&mut self, piece: PieceIdx, good: bool) {
        let _ = (piece, good);
    }

    /// A piece was verified, or turned out not to be there after all, by others than us: feed it
    /// from `PieceMap::take_changed`.
    pub fn handle_had(&mut self, piece: PieceIdx, had: bool) {
        let _ = (piece, had);
    }

    /// Everything that follows from what was told since the last call. With `mirrors_idle`
    /// ([`Plan::mirrors_idle`](super::plan::Plan::mirrors_idle)) slow peers give up pieces.
    pub fn poll_orders(&mut self, now: Instant, map: &mut PieceMap, mirrors_idle: bool) -> Orders {
        let _ = (now, map, mirrors_idle, &mut self.rng, self.settings);
        Orders::default()
    }

    /// When [`Self::poll_orders`] is to be called at the latest.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        Some(now + Duration::from_secs(1))
    }

    /// Connected peers that have the piece.
    pub fn availability(&self, piece: PieceIdx) -> u32 {
        let _ = piece;
        0
    }

    /// Connected peers that have everything.
    pub fn seeders(&self) -> usize {
        0
    }

    pub fn is_seeder(&self, id: SourceId) -> bool {
        let _ = id;
        false
    }

    /// Whether every wanted piece is there.
    pub fn is_done(&self) -> bool {
        self.shape.total == 0
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
