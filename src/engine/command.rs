//! What each command does to the downloads.

use std::sync::Arc;
use std::time::Instant;

use super::bulk::Bulk;
use super::handle::{Command, Reply, UriChange, Verb};
use super::intake::DownloadSpec;
use super::request::RequestError;
use super::state::{DownloadState, StateInput, Then};
use super::{Brief, Core, Download, EventKind, change, limits_of, usable_uri};
use crate::base::gid::Gid;
use crate::option::settings::EngineSettings;
use crate::option::{OptionId, keys};
use crate::transfer::Control;

impl Core {
    pub(super) fn apply(&mut self, command: Command) {
        match command {
            Command::Add {
                specs,
                position,
                reply,
            } => answer(reply, self.add(specs, position)),
            Command::Control { gid, verb, reply } => answer(reply, self.control(gid, verb)),
            Command::ControlAll { verb, reply } => {
                let bulk = Bulk::control(&self.registry.lock(), verb, reply);
                self.begin_bulk(bulk);
            }
            Command::ChangePosition {
                gid,
                offset,
                how,
                reply,
            } => {
                let place = self.registry.lock().change_position(gid, offset, how);
                answer(reply, place.map(|place| place as i64));
            }
            Command::ChangeUri { gid, change, reply } => {
                answer(reply, self.change_uri(gid, *change));
            }
            Command::ChangeOption {
                gid,
                changes,
                reply,
            } => {
                answer(reply, self.change_option(gid, &changes));
            }
            Command::ChangeGlobalOption { changes, reply } => {
                answer(reply, self.change_global_option(&changes));
            }
            Command::PurgeResults { reply } => {
                let bulk = Bulk::purge(&self.registry.lock(), reply);
                self.begin_bulk(bulk);
            }
            Command::RemoveResult { gid, reply } => answer(reply, self.remove_result(gid)),
            Command::SearchHistory { search } => self.search_history(search),
            Command::ForgetHistory { gid, reply } => answer(reply, self.forget_history(gid)),
            Command::SaveSession { reply } => self.save_session(reply),
            Command::ExportSession { path, reply } => self.export_session(path, reply),
            Command::UntilQuiet { gid, reply } => match self.running.get_mut(&gid) {
                Some(run) => run.waiters.push(reply),
                None => answer(reply, Ok(())),
            },
            Command::Shutdown { force, reply } => {
                self.close(force);
                answer(reply, Ok(()));
            }
        }
    }

    /// Adds downloads, one after the other, up to one whose GID is taken.
    pub(super) fn add(
        &mut self,
        specs: Vec<DownloadSpec>,
        position: Option<usize>,
    ) -> Result<Vec<Gid>, RequestError> {
        let mut gids = Vec::with_capacity(specs.len());
        let mut awaited = None;
        // What comes from one document is one line of a session: under the GID of the first.
        let mut line_gid = None;
        for (nth, mut spec) in specs.into_iter().enumerate() {
            let position = position.map(|position| position.saturating_add(nth));
            let for_next = spec.for_next;
            let line = spec.brief.as_mut().and_then(|brief| brief.line.as_mut());
            let is_named = line.is_some();
            if let Some(line) = line {
                line.gid = line.gid.or(line_gid);
            }
            let gid = self.add_one(spec, position)?;
            if is_named {
                line_gid = line_gid.or(Some(gid));
            }
            if let Some(torrent) = awaited.take() {
                self.registry.lock().let_wait(gid, torrent);
            }
            awaited = for_next.then_some(gid);
            gids.push(gid);
        }
        Ok(gids)
    }

    fn add_one(
        &mut self,
        spec: DownloadSpec,
        position: Option<usize>,
    ) -> Result<Gid, RequestError> {
        let mut registry = self.registry.lock();
        // A transfer may still be stopping under a GID that the registry has forgotten.
        let taken = |gid: Gid| registry.contains(gid) || self.running.contains_key(&gid);
        let gid = match spec.gid {
            Some(gid) if taken(gid) => return Err(RequestError::NoUsableUri),
            Some(gid) => gid,
            None => loop {
                match Gid::new(self.rng.next_u64()) {
                    Some(gid) if !taken(gid) => break gid,
                    _ => {}
                }
            },
        };
        let mut download = Download::new(gid, spec.uris, spec.options, spec.paused);
        download.brief = spec.brief;
        registry.add(download, position);
        Ok(gid)
    }

    pub(super) fn control(&mut self, gid: Gid, verb: Verb) -> Result<(), RequestError> {
        if !self.registry.lock().contains(gid) {
            return Err(RequestError::UnknownGid(gid.to_string()));
        }
        let (input, force, refused) = match verb {
            Verb::Pause { force } => (StateInput::Pause, force, RequestError::CannotPause(gid)),
            Verb::Unpause => (StateInput::Unpause, false, RequestError::CannotUnpause(gid)),
            Verb::Remove { force } => (
                StateInput::Remove { force },
                force,
                RequestError::NotRemovable(gid),
            ),
        };
        let held = matches!(verb, Verb::Pause { .. }) && self.registry.lock().pause_held(gid);
        if held || self.step_or_force(gid, &input, force) {
            if matches!(verb, Verb::Unpause) {
                // The torrent of a file of a Metalink, without which that would wait for ever.
                let part = self.registry.lock().paused_part(gid);
                part.inspect(|part| {
                    self.step(*part, &StateInput::Unpause);
                });
            }
            Ok(())
        } else {
            Err(refused)
        }
    }

    fn change_uri(&mut self, gid: Gid, change: UriChange) -> Result<(u64, u64), RequestError> {
        let mut registry = self.registry.lock();
        let download = registry
            .get(gid)
            .ok_or_else(|| RequestError::UnknownGid(gid.to_string()))?;
        if download.is_stopped() {
            return Err(RequestError::CannotChangeUri(gid));
        }
        let content = download.brief().and_then(Brief::content);
        let file_count = content.map_or(1, |content| content.files.len());
        if !(1..=file_count).contains(&change.file_index) {
            return Err(RequestError::FileIndexOutOfRange);
        }
        let file = change.file_index - 1;
        let usable = |uris: &[String]| -> Vec<Arc<str>> {
            uris.iter().filter_map(|uri| usable_uri(uri)).collect()
        };
        let (remove, add) = (usable(&change.remove), usable(&change.add));
        let counts = registry.edit(gid, |download| match file_count {
            1 => download.change_uris(&remove, &add, change.at),
            _ => download.change_seeds(file, &remove, &add, change.at),
        });
        drop(registry);
        self.send(
            gid,
            Control::Uris {
                file,
                remove,
                add,
                at: change.at,
            },
        );
        Ok(counts.unwrap_or_default())
    }

    fn change_option(
        &mut self,
        gid: Gid,
        changes: &[(OptionId, String)],
    ) -> Result<(), RequestError> {
        let mut registry = self.registry.lock();
        let download = registry
            .get(gid)
            .ok_or_else(|| RequestError::UnknownGid(gid.to_string()))?;
        if download.is_stopped() {
            return Err(RequestError::CannotChangeOption(gid));
        }
        let active = download.is_active();
        let change = change::change_download(download.options(), changes)?;
        if !change.any {
            return Ok(());
        }
        let options = change.options.clone();
        registry.edit(gid, |download| {
            download.options = options;
            if change.moved {
                download.forget_progress();
            }
        });
        drop(registry);
        if !active {
            return Ok(());
        }
        if let Some(run) = self.running.get(&gid) {
            let (down, up) = limits_of(&change.options);
            run.limit.set(down, up);
        }
        if change.restart {
            self.step(gid, &StateInput::Restart);
        } else {
            self.send(gid, Control::Options(change.options));
        }
        Ok(())
    }

    fn change_global_option(&mut self, changes: &[(OptionId, String)]) -> Result<(), RequestError> {
        let mut registry = self.registry.lock();
        let (options, changed) = change::change_global(registry.global_options(), changes)?;
        if changed.is_empty() {
            return Ok(());
        }
        let options = Arc::new(options);
        registry.set_global(Arc::clone(&options));
        let settings = EngineSettings::from(&*options);
        registry.set_stopped_max(settings.results_max, settings.keep_unfinished_results);
        drop(registry);
        self.limits.set(settings.down_limit, settings.up_limit);
        self.saver.set_path(settings.save_session.clone());
        self.settings = settings;
        self.set_history_max();
        if changed.contains(&keys::SAVE_SESSION_INTERVAL.id) {
            self.plan_next_save(Instant::now());
        }
        if changed.contains(&keys::MAX_CONCURRENT_DOWNLOADS.id) {
            self.park_extras();
        }
        // An error means that nobody listens.
        let _ = self.global.send(options);
        Ok(())
    }

    /// With fewer slots than active downloads, the latest to start go back to the queue
    /// (aria2/aria2#2285: as waiting ones, not as paused ones).
    fn park_extras(&mut self) {
        let extras: Vec<Gid> = {
            let registry = self.registry.lock();
            let count = self
                .busy_slots(&registry)
                .saturating_sub(self.settings.concurrent_max);
            registry
                .active()
                .rev()
                .take(count)
                .map(Download::gid)
                .collect()
        };
        for gid in extras {
            self.step(gid, &StateInput::Park);
        }
    }

    pub(super) fn remove_result(&mut self, gid: Gid) -> Result<(), RequestError> {
        if !self.registry.lock().contains(gid) {
            return Err(RequestError::UnknownGid(gid.to_string()));
        }
        self.note_farewell(gid);
        self.registry.lock().remove_result(gid)
    }

    /// A removed download that is forgotten before its transfer has ended still gets its event.
    fn note_farewell(&mut self, gid: Gid) {
        let registry = self.registry.lock();
        let Some(download) = registry.get(gid) else {
            return;
        };
        let kind = match download.state() {
            DownloadState::Stopping(Then::Remove) => EventKind::Stopped,
            DownloadState::Stopping(Then::Finish) => EventKind::Complete,
            _ => return,
        };
        if let Some(run) = self.running.get_mut(&gid) {
            run.farewell = Some((kind, Arc::new(download.subject())));
        }
    }

    fn send(&self, gid: Gid, control: Control) {
        if let Some(run) = self.running.get(&gid) {
            run.transfer.send(control);
        }
    }
}

pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, RequestError>) {
    // An error means that the caller has lost interest.
    let _ = reply.send(result);
}
