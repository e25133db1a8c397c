//! What of a download is kept for the next process, and the session file.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{Mutex, oneshot};
use tracing::warn;

use super::Core;
use super::brief::Brief;
use super::download::{Download, Kept, Rare};
use super::handle::Reply;
use super::origin::{SavedOrigin, restore_or_fail};
use super::registry::Registry;
use super::request::RequestError;
use super::state::{DownloadState, ListKind, Outcome, Then};
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::format::info_hash::InfoHash;
use crate::option::keys::DIR;
use crate::option::spec::LIST;
use crate::option::{OptionId, OptionSet, find};
use crate::store::{self, FinishLog, Naming, Place, Record};

/// A cheap copy of a download, from which its record is made on another thread.
pub(super) struct Saved {
    gid: Gid,
    place: Place,
    order: i64,
    uris: Box<[Arc<str>]>,
    options: OptionSet,
    error: Option<(u8, String)>,
    kept: Kept,
    followed_by: Vec<Gid>,
    following: Option<Gid>,
    belongs_to: Option<Gid>,
    stopped_at: Option<SystemTime>,
    info_hash: Option<InfoHash>,
    origin: Option<SavedOrigin>,
}

impl Saved {
    pub fn of(download: &Download) -> Self {
        let ran = download.live.is_some() || download.rare.is_some();
        Self {
            gid: download.gid,
            place: match download.held() {
                // The next process is to try at once.
                Some(_) => Place::Waiting,
                None => place_of(&download.state),
            },
            order: download.order,
            uris: download.uris.clone(),
            options: download.options.clone(),
            error: match &download.state {
                DownloadState::Stopped(Outcome::Failed(failure)) => {
                    Some((failure.code.code(), failure.message.clone()))
                }
                _ => None,
            },
            kept: if ran {
                download.kept()
            } else {
                Kept::default()
            },
            followed_by: download.followed_by().to_vec(),
            following: download.following(),
            belongs_to: download.belongs_to(),
            stopped_at: download.stopped_at,
            info_hash: download.brief().and_then(Brief::info_hash),
            origin: download.brief().and_then(SavedOrigin::of),
        }
    }

    pub fn into_record(self) -> Record {
        let uris = self.uris.iter().map(|uri| uri.to_string()).collect();
        let (origin, payload) = match self.origin.map(SavedOrigin::into_parts) {
            Some((origin, payload)) => (Some(origin), payload),
            None => (None, store::Payload::default()),
        };
        Record {
            origin,
            payload,
            options: owned(self.options.session_pairs()),
            error: self.error,
            total: self.kept.total,
            completed: self.kept.completed,
            uploaded: self.kept.uploaded,
            piece_len: self.kept.piece_len,
            path: self.kept.path,
            info_hash: self.info_hash.map(|hash| hash.to_string()),
            followed_by: self.followed_by.iter().map(|gid| gid.value()).collect(),
            following: self.following.map(Gid::value),
            belongs_to: self.belongs_to.map(Gid::value),
            at: seconds(self.stopped_at),
            ..Record::new(self.gid, self.place, self.order, uris)
        }
    }
}

/// Where a download will stand in the next process. What is being stopped has stopped by then.
fn place_of(state: &DownloadState) -> Place {
    match state {
        DownloadState::Waiting | DownloadState::Stopping(Then::Resume | Then::Park) => {
            Place::Waiting
        }
        DownloadState::Paused | DownloadState::Stopping(Then::Pause) => Place::Paused,
        DownloadState::Active(_) | DownloadState::Stopping(Then::Restart) => Place::Active,
        DownloadState::Stopping(Then::Remove) | DownloadState::Stopped(Outcome::Removed) => {
            Place::Removed
        }
        DownloadState::Stopping(Then::Finish) | DownloadState::Stopped(Outcome::Complete) => {
            Place::Complete
        }
        DownloadState::Stopped(Outcome::Failed(_)) => Place::Error,
    }
}

/// Since 1970; 0: unknown.
fn seconds(time: Option<SystemTime>) -> u64 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs())
}

fn owned(pairs: Vec<(&'static str, String)>) -> Vec<(String, String)> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The options of a record, the lines of a cumulative one put together as it prints them.
fn values_of(pairs: &[(String, String)]) -> Vec<(OptionId, String)> {
    let mut values: Vec<(OptionId, String)> = Vec::new();
    for (name, value) in pairs {
        let Some(id) = find(name) else {
            continue;
        };
        if !id.spec().scope.has(LIST) {
            values.push((id, value.clone()));
            continue;
        }
        if values.last().is_none_or(|(last, _)| *last != id) {
            values.push((id, String::new()));
        }
        if let Some((_, lines)) = values.last_mut() {
            lines.push_str(value);
            lines.push('\n');
        }
    }
    values
}

/// The download of a record. Values that `base` has as well are not repeated.
pub(super) fn download_of(record: Record, base: &Arc<OptionSet>) -> Download {
    let gid = record.gid;
    let mut options = OptionSet::over(Arc::clone(base));
    for (id, value) in values_of(&record.options) {
        let known = base.is_set(id) || id == DIR.id;
        if known && base.text(id).as_deref() == Some(&value) {
            continue;
        }
        if let Err(error) = options.replace_text(id, &value) {
            warn!(%gid, %error, "option of an earlier session is left out");
        }
    }
    let uris = record.uris.into_iter().map(Arc::from).collect();
    let (origin, payload) = (record.origin, record.payload);
    let mut download = Download::new(gid, uris, options, record.place == Place::Paused);
    download.order = record.order;
    download.state = match record.place {
        Place::Paused => DownloadState::Paused,
        Place::Waiting | Place::Active => DownloadState::Waiting,
        Place::Complete => DownloadState::Stopped(Outcome::Complete),
        Place::Removed => DownloadState::Stopped(Outcome::Removed),
        Place::Error => DownloadState::Stopped(Outcome::Failed(Box::new(failure_of(record.error)))),
    };
    let to_gids = |values: Vec<u64>| values.into_iter().filter_map(Gid::new).collect();
    if download.state.list() == ListKind::Stopped && record.at > 0 {
        download.stopped_at = Some(UNIX_EPOCH + Duration::from_secs(record.at));
    }
    let rare = Rare {
        followed_by: to_gids(record.followed_by),
        following: record.following.and_then(Gid::new),
        belongs_to: record.belongs_to.and_then(Gid::new),
        kept: Kept {
            total: record.total,
            completed: record.completed,
            uploaded: record.uploaded,
            piece_len: record.piece_len,
            path: record.path,
        },
        ..Rare::default()
    };
    if rare != Rare::default() {
        download.rare = Some(Box::new(rare));
    }
    if let Some(origin) = origin
        && let Some(failure) = restore_or_fail(&mut download, origin, &payload)
        && download.state.list() != ListKind::Stopped
    {
        download.state = DownloadState::Stopped(Outcome::Failed(Box::new(failure)));
    }
    download
}

fn failure_of(error: Option<(u8, String)>) -> Failure {
    let (code, message) = error.unwrap_or_default();
    let code = ErrorCode::from_code(code).filter(|code| *code != ErrorCode::Success);
    Failure::fatal(code.unwrap_or(ErrorCode::Unknown), message)
}

/// Fills the registry with what an earlier process left. What was active then starts first.
pub(super) fn restore(registry: &mut Registry, records: Vec<Record>, same_boot: bool) {
    let base = Arc::clone(registry.global());
    let mut active = Vec::new();
    for record in records {
        let mut was_active = record.place == Place::Active;
        let mut download = download_of(record, &base);
        was_active &= download.state.list() == ListKind::Queue;
        if let Some(rare) = &mut download.rare {
            rare.same_boot = same_boot;
        }
        match download.state.list() {
            _ if was_active => active.push(download),
            ListKind::Stopped => registry.add_stopped(download),
            _ => registry.add_restored(download),
        }
    }
    for download in active.into_iter().rev() {
        registry.add(download, Some(0));
    }
    registry.wait_again();
}

/// Tells unfinished downloads where they were finished before the session could say so.
pub(super) fn recall_finished(registry: &mut Registry, log: &FinishLog) {
    log.sort(|gid| {
        let download = registry.get(gid)?;
        Some(download.state().list() != ListKind::Stopped)
    });
    let unfinished: Vec<Gid> = registry.waiting().map(Download::gid).collect();
    for gid in unfinished {
        if let Some(finished) = log.of(gid) {
            registry.edit(gid, |download| download.recall(finished));
        }
    }
}

/// Writes session files, one after the other.
#[derive(Default)]
pub(super) struct Saver {
    path: Option<PathBuf>,
    /// Where the store has copies of torrents.
    copies: Option<PathBuf>,
    turn: Arc<Mutex<()>>,
}

impl Saver {
    pub fn new(path: Option<PathBuf>, state_dir: Option<&Path>) -> Self {
        Self {
            path,
            copies: state_dir.map(store::payload_dir),
            turn: Arc::default(),
        }
    }

    pub fn set_path(&mut self, path: Option<PathBuf>) {
        self.path = path;
    }
}

impl Core {
    /// `aria2.saveSession`: the answer comes when everything is on disk.
    pub(super) fn save_session(&mut self, reply: Reply<()>) {
        if self.saver.path.is_none() && self.store.is_none() {
            // An error means that the caller has lost interest.
            let _ = reply.send(Err(RequestError::NoSessionFile));
            return;
        }
        let written = self.save_session_to_file();
        let synced = self.store.as_ref().map(|store| {
            let (done, synced) = oneshot::channel();
            store.sync(Box::new(move |result| {
                let _ = done.send(result);
            }));
            synced
        });
        tokio::spawn(async move {
            let mut result = written.await;
            if let Some(synced) = synced
                && let Ok(Err(failure)) = synced.await
            {
                warn!(%failure, "store not saved");
                result = result.and(Err(RequestError::SessionNotSaved("store".to_owned())));
            }
            let _ = reply.send(result);
        });
    }

    /// `aria2.exportSession`
    pub(super) fn export_session(&mut self, path: PathBuf, reply: Reply<()>) {
        let saved = collect(&self.registry.lock());
        let copies = self.saver.copies.clone();
        tokio::spawn(async move {
            let result = write_elsewhere(path, saved, copies).await;
            // An error means that the caller has lost interest.
            let _ = reply.send(result);
        });
    }

    /// The saving that `save-session-interval` asks for.
    pub(super) fn save_session_file(&mut self) {
        let written = self.save_session_to_file();
        self.plan_next_save(Instant::now());
        tokio::spawn(async move {
            if let Err(error) = written.await {
                warn!(%error, "session not saved");
            }
        });
    }

    pub(super) fn plan_next_save(&mut self, now: Instant) {
        self.next_save = self.settings.save_session_interval.map(|time| now + time);
    }

    /// Takes the session as it is now; the future writes it. Without a file there is nothing to
    /// do.
    pub(super) fn save_session_to_file(
        &mut self,
    ) -> impl Future<Output = Result<(), RequestError>> + Send + use<> {
        self.unsaved = false;
        let work = self.saver.path.clone().map(|path| {
            if let Some(store) = &self.store {
                store.forget_removed();
            }
            (path, collect(&self.registry.lock()))
        });
        let turn = Arc::clone(&self.saver.turn);
        let copies = self.saver.copies.clone();
        async move {
            let Some((path, saved)) = work else {
                return Ok(());
            };
            let _turn = turn.lock().await;
            write_elsewhere(path, saved, copies).await
        }
    }
}

/// Writes a session on another thread.
async fn write_elsewhere(
    path: PathBuf,
    saved: Vec<Saved>,
    copies: Option<PathBuf>,
) -> Result<(), RequestError> {
    let shown = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || write(&path, saved, copies.as_deref())).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            warn!(%error, path = shown, "session file not written");
            Err(RequestError::SessionNotSaved(shown))
        }
        Err(_) => Err(RequestError::SessionNotSaved(shown)),
    }
}

fn collect(registry: &Registry) -> Vec<Saved> {
    // Those that have fallen out of the results are older than all that have not.
    let results = registry.dropped_failures().chain(registry.stopped());
    results
        .chain(registry.active())
        .chain(registry.waiting())
        .map(Saved::of)
        .collect()
}

fn write(path: &Path, saved: Vec<Saved>, copies: Option<&Path>) -> io::Result<()> {
    store::replace(path, |out| {
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut packer = GzEncoder::new(out, Compression::default());
            write_entries(&mut packer, saved, copies)?;
            packer.finish()?;
            return Ok(());
        }
        write_entries(out, saved, copies)
    })
}

fn write_entries(
    out: &mut impl io::Write,
    saved: Vec<Saved>,
    copies: Option<&Path>,
) -> io::Result<()> {
    let mut text = String::new();
    let mut said = HashSet::new();
    for one in saved {
        text.clear();
        let naming = Naming::Origins(copies);
        store::push_entry(&mut text, &one.into_record(), naming, &mut said);
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}
