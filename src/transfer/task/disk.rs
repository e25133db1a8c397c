//! What a transfer has the disk do, and what comes of it.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::{Checked, Task};
use crate::base::bitfield::Bitfield;
use crate::base::error::Failure;
use crate::base::range_set::RangeSet;
use crate::base::units::PieceIdx;
use crate::option::bt_settings::BtSettings;
use crate::source::Facts;
use crate::transfer::content_finish::{ContentEnd, Moved};
use crate::transfer::destination::{Opened, Told};
use crate::transfer::finish::{Finale, Finish};
use crate::transfer::handle::{Phase, TransferReport};
use crate::transfer::keeper::ControlKeeper;
use crate::transfer::live::Live;
use crate::transfer::plan::{DiskDone, Prepared};
use crate::transfer::saver::{OpenFile, State};

/// What the disk has done.
pub(super) enum DiskEvent {
    Opened(Box<Result<Opened, Failure>>),
    GivenBack(PieceIdx, Result<RangeSet, Failure>),
    Done(DiskDone),
}

impl Task {
    pub(super) fn handle_disk(&mut self, event: DiskEvent) {
        let done = match event {
            DiskEvent::Done(done) => done,
            DiskEvent::Opened(opened) => {
                DiskDone::Prepared(opened.map(|opened| self.adopt(opened)))
            }
            DiskEvent::GivenBack(piece, on_disk) => return self.handle_given_back(piece, on_disk),
        };
        if let DiskDone::Spoilt(_) = &done {
            self.tell(Phase::Fetching);
        }
        self.plan
            .handle_disk(Instant::now(), done, &self.world.stats);
    }

    fn handle_given_back(&mut self, piece: PieceIdx, on_disk: Result<RangeSet, Failure>) {
        let on_disk = match on_disk {
            Ok(on_disk) => on_disk,
            Err(failure) => {
                let done = DiskDone::Hashed(piece, Err(failure));
                return self
                    .plan
                    .handle_disk(Instant::now(), done, &self.world.stats);
            }
        };
        self.plan
            .handle_given_back(Instant::now(), piece, &on_disk, &self.world.stats);
    }

    /// The file is open: show it.
    pub(super) fn adopt(&mut self, opened: Opened) -> Prepared {
        let Opened {
            files,
            path,
            prepared,
            special,
            uploaded,
            checked,
        } = opened;
        let total = prepared.total.unwrap_or(0);
        self.live.set_total(total);
        self.live.set_piece_len(prepared.piece_len);
        self.live.set_allocated(None);
        {
            let mut detail = self.live.detail();
            detail.path = Some(path.clone());
            // Shown anew, as the pieces are now.
            detail.bitfield = Bitfield::new(0);
            // Where the bytes of a file without a name are is nobody's business.
            detail.layout = (!special).then(|| Arc::new(files.layout().clone()));
        }
        self.uploaded_before = uploaded.max(self.live.uploaded());
        self.found_whole = checked.then_some(Checked::ByHash);
        self.wants_swarm = self.is_torrent();
        self.target = Some(OpenFile {
            keeper: Arc::new(ControlKeeper::new(files.clone(), path)),
            files,
            special,
        });
        if !self.was_whole(&prepared, checked) {
            self.tell(Phase::Fetching);
        }
        prepared
    }

    /// Whether an earlier run has fetched all of this torrent. `bt-seed-unverified` only believes so.
    fn was_whole(&self, prepared: &Prepared, checked: bool) -> bool {
        let place = self.destination.content.as_ref();
        let believed = place.is_some_and(|place| place.bt.seed_unverified);
        let all = prepared.total == Some(prepared.written.total());
        self.is_torrent() && !believed && (checked || all)
    }

    pub(super) fn peek(&self) {
        let destination = self.destination.clone();
        let live = self.live.clone();
        self.on_disk_thread(move || {
            let peeked = destination.peek();
            if let Some(path) = &peeked.moved {
                live.detail().path = Some(path.clone());
            }
            DiskEvent::Done(DiskDone::Peeked(peeked))
        });
    }

    pub(super) fn prepare(&mut self, facts: Facts, discard: bool) {
        if self.settings.dry_run {
            let total = facts.identity.len;
            self.live.set_total(total.unwrap_or(0));
            self.live.set_completed(total.unwrap_or(0));
            let prepared = Prepared {
                total,
                // Nobody sees pieces, and a server may speak of exabytes.
                piece_len: total.unwrap_or(0).max(1),
                written: RangeSet::new(),
            };
            let _ = self
                .disk_to_me
                .send(DiskEvent::Done(DiskDone::Prepared(Ok(prepared))));
            return;
        }
        let (destination, world) = (self.destination.clone(), self.world.clone());
        let (live, give_up) = (self.live.clone(), self.give_up.clone());
        let (gid, to_engine) = (self.gid, self.to_engine.clone());
        self.untouched = false;
        let making = self.on_disk_thread(move || {
            let phase = |phase| _ = to_engine.send((gid, TransferReport::Phase(phase)));
            let allocated = |bytes| live.set_allocated(Some(bytes));
            let verified = |verified| live.set_verified(Some(verified));
            let told = Told {
                allocated: &allocated,
                verified: &verified,
                phase: &phase,
            };
            let opened = destination.prepare(&facts, discard, &world.paths, &told, &give_up);
            live.set_verified(None);
            DiskEvent::Opened(Box::new(opened))
        });
        self.making = Some(making);
    }

    pub(super) fn hash(&self, piece: PieceIdx) {
        let (Some(target), Some(content)) = (&self.target, &self.content) else {
            return;
        };
        let span = self.plan.map().piece_span(piece);
        let to_me = self.disk_to_me.clone();
        self.hashing
            .check(&target.files, content, (piece, span), move |result| {
                let _ = to_me.send(DiskEvent::Done(DiskDone::Hashed(piece, result)));
            });
    }

    /// Replaces the control file with what is written by now.
    pub(super) fn save(&mut self) {
        let Some(state) = self.state() else { return };
        let Some(target) = self.target.as_ref().filter(|target| !target.special) else {
            return;
        };
        let to_me = self.disk_to_me.clone();
        self.saver.save(state, target, move |saved| {
            let _ = to_me.send(DiskEvent::Done(DiskDone::Saved(saved)));
        });
    }

    pub(super) fn state(&self) -> Option<State> {
        State::of(
            self.plan.map(),
            self.torrent.as_ref().map(|torrent| torrent.state()),
        )
    }

    pub(super) fn complete(&mut self) {
        let Some(job) = self.last_steps() else { return };
        self.live.set_completed(self.plan.map().wanted_written());
        let content = self.content.as_ref();
        let is_proven = content.is_some_and(|content| !content.proofs.is_empty());
        if self.settings.checksum.is_some() || self.digest.is_some() || is_proven {
            self.tell(Phase::Checking);
        }
        let (live, give_up) = (self.live.clone(), self.give_up.clone());
        let making = self.on_disk_thread(move || {
            let result = job.run(&|verified| live.set_verified(Some(verified)), &give_up);
            live.set_verified(None);
            DiskEvent::Done(match result {
                Ok(Finale::Spoilt(pieces)) => DiskDone::Spoilt(pieces),
                Ok(Finale::Done(moved)) => {
                    if let Some(moved) = moved {
                        show_moved(&live, moved);
                    }
                    DiskDone::Completed(Ok(()))
                }
                Err(failure) => DiskDone::Completed(Err(failure)),
            })
        });
        self.making = Some(making);
    }

    pub(super) fn last_steps(&self) -> Option<Finish> {
        let target = self.target.as_ref()?;
        Some(Finish {
            files: target.files.clone(),
            keeper: target.keeper.clone(),
            special: target.special,
            settings: self.settings.clone(),
            modified: self.modified,
            total: self.plan.map().total(),
            digest: self.digest.clone(),
            content: self.content.as_ref().map(|content| ContentEnd {
                content: content.clone(),
                root: target.keeper.path().to_owned(),
                remove_unselected: BtSettings::from(&self.options).remove_unselected,
            }),
            seeds: self.is_torrent(),
            note: self.note.clone(),
        })
    }

    pub(super) fn on_disk_thread(
        &self,
        job: impl FnOnce() -> DiskEvent + Send + 'static,
    ) -> JoinHandle<()> {
        let to_me = self.disk_to_me.clone();
        tokio::task::spawn_blocking(move || {
            let _ = to_me.send(job());
        })
    }
}

/// The files are elsewhere now.
pub(super) fn show_moved(live: &Live, moved: Moved) {
    let mut detail = live.detail();
    detail.path = Some(moved.root);
    detail.layout = Some(Arc::new(moved.layout));
}
