//! Pure: pieces that mirrors filled and that were hashed: which mirror is to blame for a bad one.

use std::collections::BTreeMap;

use super::{Action, Plan};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::SafeUrl;
use crate::base::units::{PieceIdx, SourceId};
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
}

impl Plan {
    pub(super) fn handle_hashed(&mut self, piece: PieceIdx, good: bool) {
        match self.map.verified(piece, good) {
            Verdict::Good { writers } => self.acquit(&writers),
            Verdict::HashAgain => self.actions.push_back(Action::Hash(piece)),
            Verdict::Bad { writers } => self.blame(piece, &writers),
        }
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
            return self.strike(piece, *mirror);
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
        self.suspect(piece, writers);
    }

    /// One of several may have spoilt the piece.
    pub(super) fn suspect(&mut self, piece: PieceIdx, writers: &[SourceId]) {
        for mirror in self.mirrors_of(writers) {
            let count = self.suspects.suspicions.entry(mirror).or_insert(0);
            *count += 1;
            if *count >= SUSPICIONS_MAX {
                self.suspects.suspicions.remove(&mirror);
                self.give_up_on(piece, mirror);
            }
        }
    }

    /// The mirror alone wrote a bad piece.
    fn strike(&mut self, piece: PieceIdx, mirror: MirrorId) {
        let strikes = self.suspects.strikes.entry(mirror).or_insert(0);
        *strikes += 1;
        // The only mirror gets another chance: bytes may have been spoilt on the way.
        let span = self.map.piece_span(piece);
        let banned =
            *strikes >= STRIKES_MAX || self.peers > 0 || self.pool.has_other_hope(mirror, span);
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

    fn give_up_on(&mut self, piece: PieceIdx, mirror: MirrorId) {
        let Some(known) = self.pool.mirror(mirror) else {
            return;
        };
        let uri = known.uri.clone();
        let text = format!(
            "piece {} from {} failed its hash check",
            piece.0,
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
