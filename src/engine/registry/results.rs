//! Pure: results, how many of them are kept, and the failures that fell out of them but belong into
//! session files.

use std::time::SystemTime;

use super::Registry;
use crate::base::gid::Gid;
use crate::engine::download::Download;
use crate::engine::request::RequestError;
use crate::engine::state::{DownloadState, ListKind, Outcome};

impl Registry {
    /// How many results are kept, and whether failures among the others still belong into the
    /// session file.
    pub(in crate::engine) fn set_stopped_max(&mut self, max: usize, keep_failures: bool) {
        self.stopped_max = max;
        self.keep_failures = keep_failures;
        self.trim_stopped();
    }

    /// Takes a result of an earlier process over, as the newest one.
    pub(in crate::engine) fn add_stopped(&mut self, download: Download) {
        debug_assert_eq!(download.state.list(), ListKind::Stopped);
        if self.by_gid.contains_key(&download.gid) {
            return;
        }
        let order = download.order;
        let slot = self.keep(download);
        self.stopped.push_back(slot);
        if order > self.next_order {
            self.next_order = order;
        } else {
            self.number(slot);
        }
        self.trim_stopped();
    }

    /// Forgets a result.
    pub(in crate::engine) fn remove_result(&mut self, gid: Gid) -> Result<(), RequestError> {
        let refused = || RequestError::NotStopped(gid);
        let slot = *self.by_gid.get(&gid).ok_or_else(refused)?;
        if !self.at(slot).is_some_and(Download::is_stopped) {
            return Err(refused());
        }
        self.drop_slot(slot);
        Ok(())
    }

    /// Notes when a download stopped, if it just has.
    pub(in crate::engine) fn note_stop(&mut self, gid: Gid, now: SystemTime) {
        let shown = self.by_gid.get(&gid).copied();
        let download = match shown {
            Some(slot) => self.slots[slot as usize].as_deref_mut(),
            None => self
                .dropped_failures
                .get_mut(&gid)
                .map(Box::as_mut)
                .or_else(|| self.fallen.last_mut().filter(|last| last.gid == gid)),
        };
        if let Some(download) = download
            && download.stopped_at.is_none()
            && matches!(download.state, DownloadState::Stopped(_))
        {
            download.stopped_at = Some(now);
        }
    }

    /// Forgets the failures that are no results any more, and the exit status they would have
    /// caused.
    pub(in crate::engine) fn forget_failures(&mut self) {
        let dropped = std::mem::take(&mut self.dropped_failures);
        self.gone.extend(dropped.into_keys());
        self.last_error = None;
    }

    /// Forgets a failure that is no result any more; false: there is none of this GID.
    pub(in crate::engine) fn forget_failure(&mut self, gid: Gid) -> bool {
        self.dropped_failures.remove(&gid).is_some()
    }

    /// A download, even if it is no result any more but belongs into the session file.
    pub(in crate::engine) fn kept(&self, gid: Gid) -> Option<&Download> {
        let dropped = || self.dropped_failures.get(&gid).map(Box::as_ref);
        self.get(gid).or_else(dropped)
    }

    pub(in crate::engine) fn is_kept(&self, gid: Gid) -> bool {
        self.kept(gid).is_some()
    }

    /// Failed downloads that are no results any more but not forgotten either, the oldest first.
    pub(in crate::engine) fn dropped_failures(&self) -> impl Iterator<Item = &Download> {
        let mut dropped: Vec<&Download> = self.dropped_failures.values().map(Box::as_ref).collect();
        dropped.sort_unstable_by_key(|download| download.order);
        dropped.into_iter()
    }

    pub(super) fn trim_stopped(&mut self) {
        while self.stopped.len() > self.stopped_max {
            // One that is still stopping has to tell its end first.
            let ended = |slot: &&u32| {
                matches!(
                    self.slot(**slot).map(|download| &download.state),
                    Some(DownloadState::Stopped(_))
                )
            };
            let Some(slot) = self.stopped.iter().find(ended).copied() else {
                return;
            };
            let Some(mut download) = self.take_slot(slot) else {
                return;
            };
            let failed = matches!(download.state, DownloadState::Stopped(Outcome::Failed(_)));
            if failed && self.keep_failures {
                download.shrink();
                self.fallen_failures.push(download.gid);
                self.dropped_failures.insert(download.gid, download);
            } else {
                self.fallen.push(*download);
            }
        }
    }
}
