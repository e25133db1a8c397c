//! Pure: a plan's first source: what the resource is, and whether it goes on with what is on disk.

use std::time::Instant;

use super::{Action, Outcome, Plan, Prepared, SourceStage, Stage};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::units::{SourceId, Span};
use crate::source::{Facts, Opening};
use crate::transfer::pace::Pace;
use crate::transfer::piece_map::PieceMap;
use crate::transfer::uri_pool::{HostSpeeds, Want};

impl Plan {
    pub(super) fn open_first(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        let from_start = self.resume_at == 0;
        let want = Want::any(from_start);
        let Some(mirror) = self.pool.next(now, &want, speeds, &mut self.rng) else {
            if self.pool.has_hope(&want) {
                return;
            }
            if !from_start && self.pool.has_hope(&Want::any(true)) && self.start_over() {
                return self.open_first(now, speeds);
            }
            return self.fail();
        };
        let opening = if self.settings.dry_run || self.settings.use_head {
            Opening::Probe
        } else if self.resume_at > 0 {
            Opening::From(self.resume_at)
        } else {
            Opening::Whole
        };
        self.open(now, mirror, opening, SourceStage::Opening(opening));
    }

    pub(super) fn handle_opened(&mut self, now: Instant, source: SourceId, facts: Facts) {
        let Some(member) = self.members.get_mut(&source) else {
            return;
        };
        member.accepted = true;
        self.pool.handle_accepted(member.mirror);
        let SourceStage::Opening(opening) = member.stage else {
            let first = member.part.map_or(0, |part| part.start);
            let asked = self.map.lease_of(source).map_or(0, |lease| lease.start);
            if self.stage == Stage::Fetching && !facts.ranges && asked > first {
                self.handle_no_ranges(source);
            }
            return;
        };
        if self.stage != Stage::Opening {
            return;
        }
        member.stage = SourceStage::Idle {
            body_at: facts.body_from,
        };
        member.pace = Pace::new(now);
        if facts.not_modified {
            self.map.set_total(0);
            return self.end(Outcome::Complete);
        }
        self.expect = Some(facts.identity.clone());
        self.opener_whole = !facts.ranges;
        if !facts.ranges {
            self.pool.handle_whole_only(member.mirror);
        }
        if opening == Opening::Probe {
            self.drop_source(source);
        }
        if let Opening::From(from) = opening
            && from > 0
            && !facts.ranges
            // Where nothing is missing, nothing has to be resumed.
            && facts.identity.len != Some(from)
        {
            return self.handle_cannot_resume();
        }
        self.stage = Stage::Preparing;
        let discard = self.discard;
        self.actions.push_back(Action::Prepare { facts, discard });
    }

    /// A further connection got the whole resource instead of its span: the mirror serves one
    /// connection and no more.
    fn handle_no_ranges(&mut self, source: SourceId) {
        if let Some(member) = self.members.get(&source) {
            self.pool.handle_whole_only(member.mirror);
        }
        self.last_failure = Some(cannot_resume());
        self.drop_source(source);
    }

    pub(super) fn handle_prepared(&mut self, now: Instant, prepared: Prepared) {
        if self.stage != Stage::Preparing {
            return;
        }
        let resumes =
            !prepared.written.is_empty() && prepared.total != Some(prepared.written.total());
        if self.opener_whole && resumes {
            let end = prepared.total.unwrap_or(u64::MAX);
            let first = prepared.written.gaps(Span::new(0, end)).next();
            self.resume_at = first.map_or(0, |gap| gap.start);
            return self.handle_cannot_resume();
        }
        self.map = PieceMap::new(
            prepared.total,
            prepared.piece_len,
            prepared.written,
            self.settings.hashed,
        );
        self.apply_known();
        self.stage = Stage::Fetching;
        self.saved_at = now;
        // The control file was put beside the data before the data were opened.
        self.bytes_since_save = 0;
    }

    /// What is on disk can't be continued by the mirror that was opened.
    fn handle_cannot_resume(&mut self) {
        for (source, mirror) in self
            .members
            .iter()
            .map(|(id, member)| (*id, member.mirror))
            .collect::<Vec<_>>()
        {
            self.pool.handle_whole_only(mirror);
            self.drop_source(source);
        }
        self.stage = Stage::Opening;
        self.expect = None;
        self.last_failure = Some(cannot_resume());
        self.resume_failures += 1;
        let count = self.settings.resume_failures_max;
        if count > 0 && self.resume_failures >= count {
            self.start_over();
        }
    }

    /// Throws away what is there, if the user allows it; returns whether that is so.
    pub(super) fn start_over(&mut self) -> bool {
        if self.settings.always_resume || self.discard {
            return false;
        }
        self.discard = true;
        self.resume_at = 0;
        self.expect = None;
        true
    }
}

pub(super) fn cannot_resume() -> Failure {
    Failure::new(
        ErrorCode::CannotResume,
        Retry::OtherMirror,
        "the server cannot resume the download",
    )
}
