//! Pure: a plan whose content is known before it begins, and the peers that may bring it.

use std::time::Instant;

use super::{Mirror, Plan, PlanSettings};
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::units::{PieceIdx, Span};
use crate::transfer::uri_pool::HostSpeeds;

/// What is known of a download before it begins.
#[derive(Clone, Debug)]
pub struct Known {
    /// Bytes of all files.
    pub total: u64,
    /// Bytes; not 0.
    pub piece_len: u64,
    /// Bytes that are wanted, of the selected files; where pieces have hashes, whole pieces are
    /// fetched. `None`: all.
    pub wanted: Option<RangeSet>,
    /// Filler that is nowhere stored and never fetched (BEP 47); counts as there.
    pub padding: RangeSet,
}

impl Plan {
    /// A plan for content that is known: it begins with [`Action::Prepare`](super::Action::Prepare)
    /// (whose facts carry the length alone). A Metalink without a size goes through
    /// [`Plan::new`], with `hashed` set where it has piece hashes.
    pub fn known(
        now: Instant,
        mirrors: &[Mirror],
        known: Known,
        settings: PlanSettings,
        rng: Rng,
    ) -> Self {
        let _ = known;
        let uris: Vec<_> = mirrors.iter().map(|mirror| mirror.uri.clone()).collect();
        Self::new(now, &uris, settings, rng)
    }

    /// Adds mirrors, as those a tracker or a Metalink brought later.
    pub fn add_mirrors(&mut self, now: Instant, mirrors: &[Mirror], speeds: &dyn HostSpeeds) {
        let _ = (now, mirrors, speeds);
    }

    /// So many peers that have what we want are connected. While there are any, mirrors get modest
    /// leases.
    pub fn handle_peers(&mut self, now: Instant, count: usize, speeds: &dyn HostSpeeds) {
        let _ = (now, count, speeds);
    }

    /// The crowd's piece was hashed.
    pub fn handle_swarm_piece(
        &mut self,
        now: Instant,
        piece: PieceIdx,
        good: bool,
        speeds: &dyn HostSpeeds,
    ) {
        let _ = (now, piece, good, speeds);
    }

    /// A piece the crowd gave up: mirrors may have it. These spans of it are on disk now.
    pub fn handle_given_back(
        &mut self,
        now: Instant,
        piece: PieceIdx,
        on_disk: &[Span],
        speeds: &dyn HostSpeeds,
    ) {
        let _ = (now, piece, on_disk, speeds);
    }

    /// The selection changed (bytes; `None`: all).
    pub fn handle_wanted(
        &mut self,
        now: Instant,
        wanted: Option<RangeSet>,
        speeds: &dyn HostSpeeds,
    ) {
        let _ = (now, wanted, speeds);
    }

    /// Whether a mirror could work but finds nothing to do: slow peers are to give up pieces.
    pub fn mirrors_idle(&self) -> bool {
        false
    }

    /// Whether everything wanted is there and finished, and we only give.
    pub fn is_seeding(&self) -> bool {
        self.stage == super::Stage::Seeding
    }

    /// Enough was given: the download ends as complete.
    pub fn handle_seeding_over(&mut self) {
        self.end(super::Outcome::Complete);
    }

    /// Takes in what a source still wrote before it was ended.
    pub fn handle_last_write(&mut self, source: crate::base::units::SourceId, span: Span) {
        self.map.wrote(source, span);
    }
}
