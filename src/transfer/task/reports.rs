//! What sources report, noted on its way to the plan.

use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, warn};

use super::Task;
use crate::base::error::{Failure, Retry};
use crate::base::secret::SafeUrl;
use crate::base::units::SourceId;
use crate::source::{Facts, Report};
use crate::transfer::uri_pool::UriChange;

impl Task {
    pub(super) fn handle_report(&mut self, source: SourceId, report: Report) {
        let now = Instant::now();
        match &report {
            // What a source says that has been dropped is of no interest.
            Report::Opened(facts) if self.mirrors.has(source) => self.note_opened(source, facts),
            Report::Closed(result) => self.note_closed(now, source, result),
            _ => {}
        }
        self.plan
            .handle_report(now, source, report, &self.world.stats);
    }

    fn note_opened(&mut self, source: SourceId, facts: &Facts) {
        self.mirrors.moved(source, &facts.final_uri);
        if self.modified.is_none() {
            self.modified = facts.modified;
        }
        if self.origin.1.is_empty() {
            self.origin = (facts.content_type.clone(), facts.final_uri.clone());
            self.add_mirrors(facts);
        }
        // A mirror of one file of several says nothing of them all.
        let is_whole = self
            .content
            .as_ref()
            .is_none_or(|content| content.files.len() == 1);
        if self.digest.is_none() && is_whole {
            self.digest.clone_from(&facts.identity.digest);
        }
        // A dry run or a name that is taken never gets further than this.
        let mut detail = self.live.detail();
        if detail.path.is_none() {
            detail.path = Some(self.destination.wanted_path(facts));
        }
    }

    /// Mirrors that the first server names. RFC 6249, section 6: without a digest they are nothing.
    fn add_mirrors(&mut self, facts: &Facts) {
        let proven = facts.identity.digest.is_some() || self.settings.checksum.is_some();
        if facts.mirrors.is_empty() || self.content.is_some() || !proven {
            return;
        }
        let known = self.plan.pool().entries();
        let is_new = |uri: &&Arc<str>| known.iter().all(|entry| entry.uri != **uri);
        let add: Vec<Arc<str>> = facts.mirrors.iter().filter(is_new).cloned().collect();
        debug!(gid = %self.gid, count = add.len(), "the server names mirrors");
        let change = UriChange {
            part: None,
            remove: &[],
            add: &add,
            at: None,
        };
        self.plan
            .handle_uris(Instant::now(), &change, &self.world.stats);
        self.mirrors.changed = true;
    }

    fn note_closed(&mut self, now: Instant, source: SourceId, result: &Result<(), Failure>) {
        let Some(running) = self.mirrors.closed(source) else {
            return;
        };
        match result {
            Ok(()) => self.mirrors.record_speed(now, &running, &self.world.stats),
            Err(failure) => {
                self.world.stats.record_failure(&running.uri);
                let uri = SafeUrl(&running.uri);
                if failure.retry == Retry::OtherMirror && self.plan.pool().is_mirrored() {
                    warn!(gid = %self.gid, "{uri} is not used any more: {failure}");
                } else {
                    debug!(gid = %self.gid, source = source.0, %uri, code = failure.code.code(), "{failure}");
                }
            }
        }
    }
}
