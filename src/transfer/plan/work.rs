//! Pure: work for mirrors: who gets which bytes, who else is dialled, and what when nobody is left.

use std::time::Instant;

use super::opening::cannot_resume;
use super::{Action, Member, Origin, Outcome, Plan, SourceStage};
use crate::base::units::{SourceId, Span};
use crate::option::value::PieceSelector;
use crate::source::{Identity, Opening};
use crate::transfer::pace::Pace;
use crate::transfer::picker::Ask;
use crate::transfer::uri_pool::{HostSpeeds, Mirror, MirrorId, Want};

/// Mirrors of single files that are looked at in vain before the others have to wait.
const TRIED_MAX: usize = 16;

impl Plan {
    /// Gives idle sources leases and opens new ones, as far as there is work.
    pub(super) fn fill(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        let idle: Vec<(SourceId, Option<u64>)> = self
            .members
            .iter()
            .filter_map(|(source, member)| match member.stage {
                SourceStage::Idle { body_at } => Some((*source, body_at)),
                _ => None,
            })
            .collect();
        let mut hungry = false;
        for (source, body_at) in idle {
            let Some(member) = self.members.get(&source) else {
                continue;
            };
            let (mirror, part) = (member.mirror, member.part);
            match self.claim(now, source, mirror, body_at, None) {
                Some(span) => self.fetch(now, source, span),
                None if body_at.is_some() => self.drop_source(source),
                // Another file takes another connection.
                None if part.is_some() => self.drop_source(source),
                None => hungry = true,
            }
        }
        self.hungry = hungry;
        if !hungry {
            self.open_more(now, speeds);
        }
    }

    fn open_more(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        let mut tried = Vec::new();
        while self.may_open() {
            let from_start = self.map.written().is_empty() && self.members.is_empty();
            let want = Want {
                from_start,
                useful: &|part| part.is_none_or(|part| self.map.lacks_in(part)),
                except: &tried,
            };
            let Some(mirror) = self.pool.next(now, &want, speeds, &mut self.rng) else {
                break;
            };
            let part = self.pool.mirror(mirror).and_then(|mirror| mirror.part);
            let source = self.next_source();
            let span_min = Some(self.settings.span_min);
            let Some(span) = self.claim(now, source, mirror, None, span_min) else {
                self.hungry = true;
                if part.is_none() {
                    break;
                }
                tried.push(mirror);
                if tried.len() >= TRIED_MAX {
                    break;
                }
                continue;
            };
            // `claim` leased under the number that `open` gives out next.
            if self
                .open(now, mirror, Opening::Lease, SourceStage::Fetching)
                .is_none()
            {
                self.map.release(source);
                break;
            }
            self.fetch(now, source, span);
        }
    }

    fn next_source(&self) -> SourceId {
        SourceId(self.origins.len() as u32)
    }

    fn may_open(&self) -> bool {
        let limit = if self.map.total().is_some() {
            self.settings.split
        } else {
            1
        };
        self.members.len() < limit
    }

    pub(super) fn open(
        &mut self,
        now: Instant,
        mirror: MirrorId,
        opening: Opening,
        stage: SourceStage,
    ) -> Option<SourceId> {
        let Mirror {
            uri,
            part,
            by_piece,
        } = self.pool.mirror(mirror)?.clone();
        let source = self.next_source();
        let base = part.map_or(0, |part| part.start);
        self.origins.push(Origin { mirror, base });
        self.pool.handle_opened(mirror, source);
        self.members.insert(
            source,
            Member {
                mirror,
                stage,
                pace: Pace::new(now),
                accepted: false,
                part,
            },
        );
        let expect = match part {
            Some(part) => Some(Identity {
                len: Some(part.len()),
                ..Identity::default()
            }),
            None => self.expect.clone(),
        };
        self.actions.push_back(Action::Open {
            source,
            uri,
            opening,
            expect,
            base,
            by_piece,
        });
        Some(source)
    }

    fn claim(
        &mut self,
        now: Instant,
        source: SourceId,
        mirror: MirrorId,
        body_at: Option<u64>,
        dial_span_min: Option<u64>,
    ) -> Option<Span> {
        let member = self.members.get(&source);
        let rate = member.and_then(|member| member.pace.rate(now));
        // Steps make no sense where the end is not known or the rest cannot be asked for.
        let in_steps = self.map.total().is_some() && !self.pool.is_whole_only(mirror);
        let ask = Ask {
            source,
            rate,
            reach: self.pool.mirror(mirror).and_then(|mirror| mirror.part),
            len_max: self.lease_len_max(rate),
            dial_span_min,
            body_at,
            selector: match in_steps {
                true => self.settings.selector,
                false => PieceSelector::Default,
            },
            step: self.settings.span_min,
        };
        if let Some(span) = self.map.lease(&ask, &mut self.rng) {
            return Some(span);
        }
        let members = &self.members;
        self.map.steal(now, &ask, &|source, now| {
            members
                .get(&source)
                .and_then(|member| member.pace.rate(now))
        })
    }

    fn fetch(&mut self, now: Instant, source: SourceId, span: Span) {
        if let Some(member) = self.members.get_mut(&source) {
            member.stage = SourceStage::Fetching;
            member.pace.begin(now);
        }
        self.actions.push_back(Action::Fetch(source, span));
    }

    /// Ends the download, or starts it over, when nobody is left to ask.
    pub(super) fn check_hope(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        if !self.members.is_empty() || self.settings.swarm || self.map.is_hashing() {
            return;
        }
        let from_start = self.map.written().is_empty();
        let useful = |part: Option<Span>| part.is_none_or(|part| self.map.lacks_in(part));
        let hope = |from_start| {
            self.pool.has_hope(&Want {
                from_start,
                useful: &useful,
                except: &[],
            })
        };
        if hope(from_start) {
            return;
        }
        let hope_from_start = hope(true);
        if from_start || !hope_from_start {
            return self.fail();
        }
        // A length that is not known leaves nothing to resume.
        if self.map.total().is_some() && !self.start_over() {
            return self.end(Outcome::Failed(cannot_resume()));
        }
        self.map.clear();
        self.expect = None;
        self.fill(now, speeds);
    }
}
