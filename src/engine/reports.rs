//! What transfers report, and what follows from it.

use std::sync::Arc;

use tracing::{info, warn};

use super::event::{Event, EventKind, Subject};
use super::state::{DownloadState, StateInput, Then};
use super::{Brief, Core, Download, Run, command, space};
use crate::base::gid::Gid;
use crate::format::metainfo::Metainfo;
use crate::option::keys;
use crate::transfer::{Ended, Phase, TransferReport};

impl Core {
    pub(super) fn on_report(&mut self, gid: Gid, report: TransferReport) {
        let input = match report {
            TransferReport::Phase(phase) => StateInput::Phase(phase),
            TransferReport::Metadata(metainfo) => return self.on_metadata(gid, metainfo),
            TransferReport::Document(document) => {
                if let Some(run) = self.running.get_mut(&gid) {
                    run.document = Some(document);
                }
                return;
            }
            TransferReport::Ended(ended) => {
                let mut run = self.running.remove(&gid);
                let document = run.as_mut().and_then(|run| run.document.take());
                let metadata = run.and_then(|run| self.bury(gid, run));
                let leads_on = ended == Ended::Complete && !self.is_being_removed(gid);
                if let Some(metainfo) = metadata.filter(|_| leads_on) {
                    self.follow_magnet(gid, metainfo);
                }
                if let Some(document) = document.filter(|_| leads_on) {
                    self.follow_document(gid, *document);
                }
                if let Some((kind, subject)) = self.interruption(gid, &ended) {
                    self.tell(gid, kind, subject);
                    return;
                }
                if self.hold(gid, &ended) {
                    return;
                }
                if ended == Ended::Complete {
                    self.tell_unseeded(gid);
                }
                StateInput::Ended(ended)
            }
        };
        let opened = matches!(input, StateInput::Phase(Phase::Fetching | Phase::Seeding));
        self.step(gid, &input);
        if opened {
            // The store is to know the path before the download can be complete.
            self.registry.lock().edit(gid, |_| ());
        }
        if input == StateInput::Ended(Ended::Complete) {
            self.sync_files(gid);
        }
    }

    /// What is left to say when a transfer has ended. Gives the metadata it fetched.
    fn bury(&mut self, gid: Gid, run: Run) -> Option<Arc<Metainfo>> {
        for waiter in run.waiters {
            command::answer(waiter, Ok(()));
        }
        if let Some((kind, subject)) = run.farewell {
            self.pending.push(Event { gid, kind, subject });
        }
        run.metadata
    }

    /// Pauses a download that ended for want of something until that is back.
    fn hold(&mut self, gid: Gid, ended: &Ended) -> bool {
        let Ended::Failed(failure) = ended else {
            return false;
        };
        let (retries, is_paused) = {
            let registry = self.registry.lock();
            let Some(download) = registry.get(gid) else {
                return false;
            };
            let is_paused = *download.state() == DownloadState::Stopping(Then::Pause);
            (download.options.get(keys::RETRY_ON_DISK_FULL), is_paused)
        };
        if !space::may_come_back(failure, retries) || !self.step(gid, &StateInput::Held) {
            return false;
        }
        if is_paused {
            // Its user has paused it meanwhile: it does not go on by itself.
            return true;
        }
        warn!(%gid, code = failure.code.code(), "Download GID#{gid} waits: {failure}");
        self.registry.lock().hold(gid, failure.clone());
        true
    }

    /// What these downloads waited for is there again.
    pub(super) fn on_space(&mut self, gids: Vec<Gid>) {
        for gid in gids {
            let is_held = |download: &Download| download.held().is_some();
            if self.registry.lock().get(gid).is_some_and(is_held) {
                info!(%gid, "Download GID#{gid} goes on: there is space again");
                self.step(gid, &StateInput::Unpause);
            }
        }
    }

    /// An active download that the end of the process stopped stays active in the session.
    fn interruption(&self, gid: Gid, ended: &Ended) -> Option<(EventKind, Subject)> {
        if self.closing.is_none() || *ended != Ended::Stopped {
            return None;
        }
        let registry = self.registry.lock();
        let download = registry.get(gid).filter(|download| download.is_active())?;
        let kind = match download.state() {
            DownloadState::Active(Phase::Seeding) => EventKind::SeedingInterrupted,
            _ => EventKind::Interrupted,
        };
        Some((kind, download.subject()))
    }

    /// A torrent that is not to be seeded is complete twice at once, as in aria2.
    fn tell_unseeded(&mut self, gid: Gid) {
        let subject = {
            let registry = self.registry.lock();
            let torrent = |download: &&Download| {
                let known = download.brief().and_then(Brief::metainfo);
                known.is_some()
                    && download.is_active()
                    && *download.state() != DownloadState::Active(Phase::Seeding)
            };
            registry.get(gid).filter(torrent).map(Download::subject)
        };
        if let Some(subject) = subject {
            self.tell(gid, EventKind::BtComplete, subject);
        }
    }

    /// Whether the completion of this torrent goes without its event: its control file says that
    /// it was complete before; or it was only found by a hash check, and
    /// `bt-enable-hook-after-hash-check` is off.
    pub(super) fn is_quiet_completion(&self, gid: Gid) -> bool {
        let hook = keys::BT_ENABLE_HOOK_AFTER_HASH_CHECK;
        let registry = self.registry.lock();
        registry
            .get(gid)
            .is_some_and(|download| match download.state() {
                DownloadState::Active(Phase::Opening) => true,
                DownloadState::Active(Phase::Checking) => !download.options().get(hook),
                _ => false,
            })
    }
}
