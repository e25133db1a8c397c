//! How a transfer ends: what was still on its way, the control file, the document it brought.

use std::sync::atomic::Ordering;

use tracing::warn;

use super::Task;
use super::disk::{DiskEvent, show_moved};
use crate::source::{Identity, Report};
use crate::transfer::document::DocumentFile;
use crate::transfer::handle::{Control, Ended, TransferReport};
use crate::transfer::plan::{DiskDone, Outcome};

impl Task {
    /// Ends every source, takes in what they still wrote, and leaves the control file right.
    pub(super) async fn finish(mut self, outcome: Outcome) -> Ended {
        self.give_up.store(true, Ordering::Release);
        let outcome = self.end_making(outcome).await;
        self.mirrors.end_all(!self.forced).await;
        while let Ok((source, report)) = self.mirrors.reports.try_recv() {
            if let Report::Wrote(span) = report {
                self.plan.handle_last_write(source, span);
            }
        }
        let mut torrent = self.torrent.take();
        if let Some(torrent) = &mut torrent {
            torrent
                .close(!self.forced, &mut self.plan, &self.world.stats)
                .await;
        }
        self.note_changed();
        self.publish();
        self.live.set_connections(0);
        {
            let mut detail = self.live.detail();
            detail.servers.clear();
            detail.down = None;
            detail.up = None;
            if self.untouched {
                // The next run begins as this one did.
                let prior = self.destination.prior.as_ref();
                detail.written = prior.map(|(_, written)| written.clone());
                detail.identity.clone_from(&self.destination.identity);
                detail.restored = self.destination.restored.clone();
            } else {
                detail.written = Some(self.plan.map().trusted());
                let found = self.plan.identity().cloned();
                // The length stands in the control file.
                detail.identity = found.map(|found| Identity { len: None, ..found });
            }
        }
        self.torrent = torrent;
        match outcome {
            Outcome::Complete => {
                self.hand_over_document().await;
                let ended = self.leave().await;
                self.keep_control_file().await;
                ended
            }
            Outcome::Stopped => {
                self.save_at_the_end().await;
                Ended::Stopped
            }
            Outcome::Failed(failure) => {
                self.save_at_the_end().await;
                Ended::Failed(failure)
            }
        }
    }

    /// A file that is being made ready becomes known as ours, and one that is being finished is
    /// complete if it comes to that, whatever was asked meanwhile. A forced end does not wait.
    async fn end_making(&mut self, outcome: Outcome) -> Outcome {
        if let Some(mut making) = self.making.take() {
            while !self.forced {
                tokio::select! {
                    // It has told its outcome, or has broken down.
                    _ = &mut making => break,
                    Some(control) = self.controls.recv() => self.forced = is_force(&control),
                }
            }
        }
        let mut finished = false;
        while let Ok(event) = self.disk.try_recv() {
            match event {
                DiskEvent::Opened(opened) => {
                    if let Ok(opened) = *opened {
                        self.adopt(opened);
                    }
                }
                DiskEvent::Done(DiskDone::Completed(Ok(()))) => finished = !self.is_torrent(),
                DiskEvent::Done(_) | DiskEvent::GivenBack(..) => {}
            }
        }
        match finished {
            true => Outcome::Complete,
            false => outcome,
        }
    }

    /// With `force-save` the control file says from now on that all is there: whoever adds the
    /// download again from a session is to fetch nothing.
    async fn keep_control_file(&mut self) {
        let target = self.target.as_ref().filter(|target| !target.special);
        if let (Some(target), true) = (target, self.settings.keep_control_file) {
            let path = target.keeper.path().to_owned();
            self.save_at_the_end().await;
            self.world.paths.keep(&path, self.gid);
        }
    }

    /// The end of seeding; any other download has done its last steps already.
    async fn leave(&mut self) -> Ended {
        let Some(job) = self.last_steps().filter(|job| job.seeds) else {
            return Ended::Complete;
        };
        if job.keeps_control_file() && !self.settings.keep_control_file {
            self.save_at_the_end().await;
        }
        let left = tokio::task::spawn_blocking(move || job.leave()).await;
        match left {
            Ok(Ok(Some(moved))) => show_moved(&self.live, moved),
            Ok(Err(failure)) => return Ended::Failed(failure),
            _ => {}
        }
        Ended::Complete
    }

    /// Tells the engine of a torrent or Metalink that is to be followed.
    async fn hand_over_document(&self) {
        let path = self.live.detail().path.clone();
        let Some(path) = path else { return };
        let target = self.target.as_ref();
        let (content_type, mut uri) = self.origin.clone();
        if uri.is_empty() {
            // An earlier process finished it.
            uri = self.destination.uri.to_string();
        }
        let document = DocumentFile {
            gid: self.gid,
            follow: self.follow,
            path,
            content_type,
            uri,
            files: target.map(|target| target.files.clone()),
            len: self.plan.map().written().total(),
        };
        if !document.is_document() {
            return;
        }
        let read = tokio::task::spawn_blocking(move || document.read()).await;
        if let Ok(Some(document)) = read {
            let report = TransferReport::Document(Box::new(document));
            let _ = self.to_engine.send((self.gid, report));
        }
    }

    async fn save_at_the_end(&mut self) {
        let Some(state) = self.state() else { return };
        let Some(target) = self.target.as_ref().filter(|target| !target.special) else {
            return;
        };
        let saved = self.saver.save_last(state, target, !self.forced).await;
        let mut written = match saved {
            Ok(written) => written,
            Err(failure) => {
                warn!(gid = %self.gid, "the control file could not be saved: {failure}");
                self.plan.map().trusted()
            }
        };
        // What was reported as written and then failed in the queue of a slow disk.
        for span in target.files.lost() {
            written.remove(span);
        }
        self.live.detail().written = Some(written);
    }
}

/// Whether nothing slow is to be waited for any longer.
fn is_force(control: &Control) -> bool {
    use Control::{Leave, Stop};
    matches!(control, Stop { force: true } | Leave { force: true })
}
