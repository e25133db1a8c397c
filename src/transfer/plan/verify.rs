//! Pure: pieces that mirrors filled and that were hashed: which mirror is to blame for a bad one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Plan, Stage};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::range_set::RangeSet;
use crate::base::secret::SafeUrl;
use crate::base::units::{PieceIdx, SourceId, Span};
use crate::transfer::piece_map::Verdict;
use crate::transfer::uri_pool::{Mirror, MirrorId};

/// Bad pieces after which the only mirror is given up.
const STRIKES_MAX: u32 = 3;
/// Bad pieces that no mirror alone can bring, and no good one since, after which those who had a
/// hand in them are given up unproven.
const SUSPICIONS_MAX: u32 = 4;

/// What mirrors had to do with bad pieces.
#[derive(Debug, Default)]
pub struct Suspects {
    /// Pieces they spoilt alone.
    strikes: BTreeMap<MirrorId, u32>,
    /// Pieces that cross files which they may have spoilt, in a row.
    suspicions: BTreeMap<MirrorId, u32>,
    /// What they wrote where the pieces of the map have no hashes.
    wrote: BTreeMap<MirrorId, RangeSet>,
    /// Pieces of files that several of them spoilt together.
    shared: BTreeSet<Span>,
}

impl Plan {
    pub(super) fn handle_hashed(&mut self, piece: PieceIdx, good: bool) {
        match self.map.verified(piece, good) {
            Verdict::Good { writers } => self.acquit(&writers),
            Verdict::HashAgain => self.actions.push_back(Action::Hash(piece)),
            Verdict::Bad { writers } => self.blame(piece, &writers),
        }
    }

    /// Where the pieces of the map have no hashes, those of the files in it are looked at when all
    /// is there.
    pub(super) fn note_author(&mut self, source: SourceId, span: Span) {
        if let Some(mirror) = self.mirror_of(source) {
            self.suspects.wrote.entry(mirror).or_default().insert(span);
        }
    }

    /// These pieces of files are not what they should be: they are fetched again.
    pub(super) fn handle_spoilt(&mut self, pieces: &[Span]) {
        if self.stage != Stage::Completing {
            return;
        }
        self.stage = Stage::Fetching;
        let found = pieces
            .iter()
            .map(|piece| (*piece, self.take_authors(*piece)));
        let found: Vec<(Span, Vec<MirrorId>)> = found.collect();
        for (piece, authors) in found {
            self.map.forget(piece);
            match &authors[..] {
                [mirror] => self.strike(piece, *mirror),
                // The next time it may be one alone.
                _ if self.suspects.shared.insert(piece) => {}
                several => self.suspect(piece, several),
            }
        }
    }

    /// The mirrors that wrote there; none for what an earlier run left.
    fn take_authors(&mut self, span: Span) -> Vec<MirrorId> {
        let mut authors = Vec::new();
        for (mirror, wrote) in &mut self.suspects.wrote {
            if wrote.within(span).next().is_some() {
                wrote.remove(span);
                authors.push(*mirror);
            }
        }
        authors
    }

    /// They had a hand in a good piece.
    pub(super) fn acquit(&mut self, writers: &[SourceId]) {
        for source in writers {
            if let Some(mirror) = self.mirror_of(*source) {
                self.suspects.suspicions.remove(&mirror);
            }
        }
    }

    fn mirror_of(&self, source: SourceId) -> Option<MirrorId> {
        let origin = self.origins.get(source.0 as usize)?;
        Some(origin.mirror)
    }

    fn mirrors_of(&self, writers: &[SourceId]) -> Vec<MirrorId> {
        let mirrors = writers.iter().filter_map(|source| self.mirror_of(*source));
        let mut mirrors: Vec<MirrorId> = mirrors.collect();
        mirrors.sort_unstable();
        mirrors.dedup();
        mirrors
    }

    fn blame(&mut self, piece: PieceIdx, writers: &[SourceId]) {
        let mirrors = self.mirrors_of(writers);
        let others = writers
            .iter()
            .any(|source| self.mirror_of(*source).is_none());
        if let ([mirror], false) = (&mirrors[..], others) {
            return self.strike(self.map.piece_span(piece), *mirror);
        }
        // No single mirror could bring all of a piece that crosses files.
        let span = self.map.piece_span(piece);
        let covers = |mirror: &Mirror| {
            let part = mirror.part.unwrap_or(span);
            part.intersect(span) == span
        };
        if self.pool.any_alive(covers) {
            // One source alone fetches it again, which proves who it was.
            return;
        }
        self.map.allow_shared(piece);
        self.suspect(span, &mirrors);
    }

    /// One of several may have spoilt the piece that peers have finished.
    pub(super) fn suspect_of_swarm(&mut self, piece: PieceIdx, writers: &[SourceId]) {
        let mirrors = self.mirrors_of(writers);
        self.suspect(self.map.piece_span(piece), &mirrors);
    }

    /// One of several may have spoilt the piece.
    fn suspect(&mut self, piece: Span, mirrors: &[MirrorId]) {
        for mirror in mirrors.iter().copied() {
            let count = self.suspects.suspicions.entry(mirror).or_insert(0);
            *count += 1;
            if *count >= SUSPICIONS_MAX {
                self.suspects.suspicions.remove(&mirror);
                self.give_up_on(piece, mirror);
            }
        }
    }

    /// The mirror alone wrote a bad piece.
    fn strike(&mut self, piece: Span, mirror: MirrorId) {
        let strikes = self.suspects.strikes.entry(mirror).or_insert(0);
        *strikes += 1;
        // The only mirror gets another chance: bytes may have been spoilt on the way.
        let banned =
            *strikes >= STRIKES_MAX || self.peers > 0 || self.pool.has_other_hope(mirror, piece);
        if banned {
            self.give_up_on(piece, mirror);
        } else if let Some(known) = self.pool.mirror(mirror) {
            let uri = known.uri.clone();
            self.actions.push_back(Action::BadPiece {
                piece,
                uri,
                banned: false,
            });
        }
    }

    fn give_up_on(&mut self, piece: Span, mirror: MirrorId) {
        let Some(known) = self.pool.mirror(mirror) else {
            return;
        };
        let uri = known.uri.clone();
        let text = format!(
            "the piece at {piece:?} from {} failed its hash check",
            SafeUrl(&uri)
        );
        self.last_failure = Some(Failure::new(ErrorCode::Checksum, Retry::OtherMirror, text));
        self.actions.push_back(Action::BadPiece {
            piece,
            uri,
            banned: true,
        });
        for source in self.pool.ban(mirror) {
            self.drop_source(source);
        }
    }
}
