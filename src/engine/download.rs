//! Pure: one download as the registry keeps it, and what can be read of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::brief::Brief;
use super::event::Subject;
use super::file_view::{self, Choice, FileView, Mirrors};
use super::footprint::Footprint;
use super::state::{DownloadState, ListKind};
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::format::magnet::Magnet;
use crate::option::OptionSet;
use crate::option::keys::{DIR, OUT, PIECE_LENGTH};
use crate::storage::{Content, Layout};
use crate::transfer::{Job, Live, PeerEntry, Restored, ServerEntry, UriEntry, Verified, WebSeed};

/// One download. Ten thousand of them wait in memory, so what few have is boxed.
pub struct Download {
    pub(super) gid: Gid,
    pub(super) state: DownloadState,
    /// What the user gave, kept up to date by `changeUri`.
    pub(super) uris: Box<[Arc<str>]>,
    pub(super) options: OptionSet,
    /// From the first start on; outlives the transfer.
    pub(super) live: Option<Arc<Live>>,
    pub(super) rare: Option<Box<Rare>>,
    /// Of torrents, Metalinks and magnet links.
    pub(super) brief: Option<Box<Brief>>,
    /// Place within its list, for the store: smaller comes first.
    pub(super) order: i64,
    /// Changed since the store was told.
    pub(super) changed: bool,
    /// Of results, unless that is not known.
    pub(super) stopped_at: Option<SystemTime>,
}

/// What most waiting downloads have not.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Rare {
    pub followed_by: Vec<Gid>,
    pub following: Option<Gid>,
    pub belongs_to: Option<Gid>,
    /// The download of its torrent, which has to stop before this one may start.
    pub awaits: Option<Gid>,
    /// From the session of an earlier process.
    pub kept: Kept,
    /// That process ran since the machine was started.
    pub same_boot: bool,
    /// Why it is paused although nobody paused it.
    pub held: Option<Failure>,
}

/// Figures of a download that has not run in this process.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Kept {
    pub total: u64,
    pub completed: u64,
    pub uploaded: u64,
    /// 0: unknown.
    pub piece_len: u64,
    pub path: Option<String>,
}

impl Download {
    pub(super) fn new(gid: Gid, uris: Box<[Arc<str>]>, options: OptionSet, paused: bool) -> Self {
        let state = if paused {
            DownloadState::Paused
        } else {
            DownloadState::Waiting
        };
        Self {
            gid,
            state,
            uris,
            options,
            live: None,
            rare: None,
            brief: None,
            order: 0,
            changed: false,
            stopped_at: None,
        }
    }

    pub fn gid(&self) -> Gid {
        self.gid
    }

    pub fn state(&self) -> &DownloadState {
        &self.state
    }

    /// aria2's status word.
    pub fn status(&self) -> &'static str {
        self.state.status()
    }

    /// Whether it is shown among the active ones.
    pub fn is_active(&self) -> bool {
        self.state.list() == ListKind::Active
    }

    /// Whether it is shown among the results.
    pub fn is_stopped(&self) -> bool {
        self.state.list() == ListKind::Stopped
    }

    /// What it is made of, if it is more than mirrors of one file.
    pub fn brief(&self) -> Option<&Brief> {
        self.brief.as_deref()
    }

    pub fn options(&self) -> &OptionSet {
        &self.options
    }

    /// Bytes; 0 while unknown.
    pub fn total_len(&self) -> u64 {
        self.figure(Live::total, |kept| kept.total)
    }

    /// Bytes on disk; 0 while they are being hashed or wait for that, as aria2 has it.
    pub fn completed_len(&self) -> u64 {
        if self.verified().is_some() {
            return 0;
        }
        self.figure(Live::completed, |kept| kept.completed)
    }

    pub fn uploaded_len(&self) -> u64 {
        self.figure(Live::uploaded, |kept| kept.uploaded)
    }

    /// Bytes a second.
    pub fn down_speed(&self, now: Instant) -> u64 {
        self.running().map_or(0, |live| live.down_speed(now))
    }

    /// Bytes a second.
    pub fn up_speed(&self, now: Instant) -> u64 {
        self.running().map_or(0, |live| live.up_speed(now))
    }

    pub fn connections(&self) -> u32 {
        self.running().map_or(0, |live| live.connections())
    }

    pub fn dir(&self) -> Arc<str> {
        self.options.get(DIR).unwrap_or_else(|| Arc::from("."))
    }

    /// Bytes; before the first start what the torrent or the option says.
    pub fn piece_len(&self) -> u64 {
        if let Some(len) = self.brief().and_then(Brief::piece_len) {
            return len;
        }
        match self.figure(Live::piece_len, |kept| kept.piece_len) {
            0 => self.options.get(PIECE_LENGTH).max(1) as u64,
            len => len,
        }
    }

    pub fn num_pieces(&self) -> u64 {
        let content = self.brief().and_then(Brief::content);
        if let Some(pieces) = content.and_then(|content| content.pieces.as_ref()) {
            // The length may be that of the selected files only.
            return pieces.count() as u64;
        }
        let total = content.and_then(|content| content.total);
        let total = total.unwrap_or_else(|| self.total_len());
        total.div_ceil(self.piece_len())
    }

    /// `None` before the first start and while the length is unknown.
    pub fn bitfield_hex(&self) -> Option<String> {
        let detail = self.live.as_ref()?.detail();
        (!detail.bitfield.is_empty()).then(|| detail.bitfield.hex())
    }

    /// Code and text; of stopped downloads, and of those that wait for space on the disk.
    pub fn error(&self) -> Option<(ErrorCode, &str)> {
        let held = || self.held().map(|held| (held.code, held.message.as_str()));
        self.state.error().or_else(held)
    }

    /// Why it is paused although nobody paused it; it goes on by itself.
    pub fn held(&self) -> Option<&Failure> {
        self.rare.as_ref()?.held.as_ref()
    }

    pub(super) fn set_held(&mut self, held: Option<Failure>) {
        if held.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().held = held;
        }
    }

    /// The figures for a transfer that begins, with what an earlier process knew.
    pub(super) fn begin_live(&mut self) -> Arc<Live> {
        if let Some(live) = &self.live {
            return Arc::clone(live);
        }
        let live = Live::new();
        if self.brief.is_some() {
            live.set_uploaded(self.uploaded_len());
        }
        if let Some(rare) = &self.rare
            // Without it the path is only what the options suggest.
            && rare.kept.piece_len > 0
            && let Some(path) = &rare.kept.path
        {
            let mut detail = live.detail();
            detail.path = Some(path.into());
            detail.restored = Some(Restored {
                total: rare.kept.total,
                same_boot: rare.same_boot,
            });
        }
        self.live = Some(Arc::clone(&live));
        live
    }

    /// Seeders among the connected peers of a torrent or magnet link; 0 unless it is active.
    pub fn seeders(&self) -> u32 {
        self.running().map_or(0, |live| live.seeders())
    }

    /// Whether everything wanted of a torrent is there and it would only give.
    pub fn is_seeding(&self) -> bool {
        let (total, kept) = (self.total_len(), self.rare.as_ref());
        let known = self.brief().and_then(Brief::metainfo).is_some();
        let complete = kept.is_some_and(|rare| rare.kept.completed == total && total > 0);
        known
            && self
                .live
                .as_ref()
                .map_or(complete, |live| live.is_seeding())
    }

    /// The connected peers of an active torrent; empty for others.
    pub fn peers(&self) -> Vec<Arc<PeerEntry>> {
        self.running()
            .map_or_else(Vec::new, |live| live.detail().peers.clone())
    }

    /// Downloads this one has brought forth.
    pub fn followed_by(&self) -> &[Gid] {
        self.rare.as_ref().map_or(&[], |rare| &rare.followed_by)
    }

    /// The download that brought this one forth.
    pub fn following(&self) -> Option<Gid> {
        self.rare.as_ref()?.following
    }

    /// Whether it could run now, were there a slot.
    pub(super) fn may_start(&self) -> bool {
        let awaits = self.rare.as_ref().and_then(|rare| rare.awaits);
        self.state.may_start() && awaits.is_none()
    }

    /// The download this one is a part of.
    pub fn belongs_to(&self) -> Option<Gid> {
        self.rare.as_ref()?.belongs_to
    }

    /// Bytes hashed so far; only while the files are being checked.
    pub fn verified_len(&self) -> Option<u64> {
        match self.verified()? {
            Verified::Bytes(bytes) => Some(bytes),
            Verified::Waits => None,
        }
    }

    /// Bytes of the file allocated so far; only while it is being allocated.
    pub fn allocated_len(&self) -> Option<u64> {
        self.running()?.allocated()
    }

    /// Whether it waits until another download has been checked.
    pub fn verify_pending(&self) -> bool {
        self.verified() == Some(Verified::Waits)
    }

    fn verified(&self) -> Option<Verified> {
        self.running()?.verified()
    }

    pub fn files(&self) -> Vec<FileView> {
        match self.brief() {
            Some(brief) if brief.content().is_some() => self.files_of(brief),
            _ => vec![self.only_file()],
        }
    }

    fn only_file(&self) -> FileView {
        let length = self.total_len();
        FileView {
            index: 1,
            path: self.path(),
            length,
            completed: self.finished_pieces_len(length),
            selected: true,
            uris: self.uri_entries(),
        }
    }

    fn files_of(&self, brief: &Brief) -> Vec<FileView> {
        let Some(content) = brief.content() else {
            return Vec::new();
        };
        let choice = Choice::of(&self.options, self.dir(), content);
        let layout = self.layout();
        let used = self.used_uris();
        let mirrors = Mirrors::of(brief, used);
        let completed = self.completed_by_file(content);
        let views = content.files.iter().enumerate().map(|(index, file)| {
            let (path, selected) = file_view::place(content, &choice, layout.as_deref(), index);
            FileView {
                index: index + 1,
                path,
                length: match content.total {
                    Some(_) => file.len,
                    None => self.total_len(),
                },
                completed: completed.get(index).copied().unwrap_or(0),
                selected,
                uris: match content.files.len() {
                    1 => self.uri_entries(),
                    _ => mirrors.of_file(index),
                },
            }
        });
        views.collect()
    }

    fn completed_by_file(&self, content: &Content) -> Vec<u64> {
        if let Some(live) = &self.live {
            let detail = live.detail();
            if !detail.bitfield.is_empty() {
                return file_view::completed(content, &detail.bitfield, self.piece_len());
            }
        }
        let total = self.total_len();
        match &content.files[..] {
            [_] => vec![self.finished_pieces_len(total)],
            files if total > 0 && self.completed_len() == total => {
                files.iter().map(|file| file.len).collect()
            }
            files => vec![0; files.len()],
        }
    }

    /// The URIs that sources are working on.
    fn used_uris(&self) -> Vec<Arc<str>> {
        let Some(live) = &self.live else {
            return Vec::new();
        };
        let detail = live.detail();
        let used = detail.uris.iter().filter(|entry| entry.used);
        used.map(|entry| Arc::clone(&entry.uri)).collect()
    }

    fn layout(&self) -> Option<Arc<Layout>> {
        self.live.as_ref()?.detail().layout.clone()
    }

    fn magnet(&self) -> Option<&Magnet> {
        match &self.brief()?.job {
            Job::Magnet(magnet) => Some(magnet),
            Job::Uris | Job::Known(_) => None,
        }
    }

    /// Path of the first file that is wanted; empty while unknown.
    pub fn path(&self) -> String {
        if let Some(magnet) = self.magnet() {
            return match &magnet.name {
                Some(name) => format!("[METADATA]{name}"),
                None => format!("[METADATA]{}", magnet.info_hash),
            };
        }
        if let Some(content) = self.brief().and_then(Brief::content) {
            let choice = Choice::of(&self.options, self.dir(), content);
            let layout = self.layout();
            let first = choice.first(content);
            return file_view::place(content, &choice, layout.as_deref(), first).0;
        }
        let started = self
            .live
            .as_ref()
            .and_then(|live| live.detail().path.clone());
        if let Some(path) = started {
            return path.to_string_lossy().into_owned();
        }
        if let Some(path) = self.rare.as_ref().and_then(|rare| rare.kept.path.clone()) {
            return path;
        }
        match self.options.get(OUT) {
            Some(out) => format!("{}/{out}", self.dir()),
            None => String::new(),
        }
    }

    /// How many files are wanted.
    pub fn file_count(&self) -> usize {
        self.brief().and_then(Brief::content).map_or(1, |content| {
            Choice::of(&self.options, self.dir(), content).count(content)
        })
    }

    /// What it has written, now and later on.
    pub fn footprint(&self) -> Footprint {
        let kept = self.rare.as_ref().map(|rare| &rare.kept);
        // Without it the path is only what the options suggest.
        let kept = kept.filter(|kept| kept.piece_len > 0);
        Footprint {
            dir: PathBuf::from(&*self.dir()),
            live: self.live.clone(),
            kept: kept.and_then(|kept| kept.path.as_ref().map(PathBuf::from)),
            content: self.brief().and_then(Brief::content).map(|content| {
                let choice = Choice::of(&self.options, self.dir(), content);
                (choice, Arc::clone(content))
            }),
        }
    }

    /// Whether it has opened a file.
    pub fn has_written(&self) -> bool {
        self.figure(Live::piece_len, |kept| kept.piece_len) > 0
    }

    /// When it stopped; of results, unless that is not known.
    pub fn stopped_at(&self) -> Option<SystemTime> {
        self.stopped_at
    }

    /// The connections of an active download; empty for others.
    pub fn servers(&self) -> Vec<ServerEntry> {
        self.running()
            .map_or_else(Vec::new, |live| live.detail().servers.clone())
    }

    /// The URIs the user gave, without marks of use.
    pub fn uris(&self) -> &[Arc<str>] {
        &self.uris
    }

    /// The URIs as `getUris` shows them, used ones first.
    pub fn uri_entries(&self) -> Vec<UriEntry> {
        if let Some(live) = &self.live {
            let detail = live.detail();
            if !detail.uris.is_empty() {
                return detail.uris.clone();
            }
        }
        let unused = |uri: &Arc<str>| UriEntry {
            uri: Arc::clone(uri),
            used: false,
        };
        self.uris.iter().map(unused).collect()
    }

    /// What hooks are told.
    pub fn subject(&self) -> Subject {
        Subject {
            dir: self.dir().to_string(),
            path: self.path(),
            file_count: self.file_count(),
            info_hash: self.brief().and_then(Brief::info_hash),
            status: self.status(),
            error: self.error().map(|(code, _)| code),
        }
    }

    /// The figures as they would be kept for the next process.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            total: self.total_len(),
            completed: self.figure(Live::completed, |kept| kept.completed),
            uploaded: self.uploaded_len(),
            piece_len: self.figure(Live::piece_len, |kept| kept.piece_len),
            path: Some(self.path()).filter(|path| !path.is_empty()),
        }
    }

    /// The files have been left behind: the next start begins anew.
    pub(super) fn forget_progress(&mut self) {
        self.live = None;
        if let Some(rare) = &mut self.rare {
            rare.kept = Kept::default();
        }
    }

    /// Of what it showed while it ran, only the figures stay.
    pub(super) fn shrink(&mut self) {
        let kept = self.kept();
        self.live = None;
        if kept != Kept::default() || self.rare.is_some() {
            self.rare.get_or_insert_default().kept = kept;
        }
    }

    /// What only a download that goes on needs is let go.
    pub(super) fn forget_ranges(&self) {
        if let Some(live) = &self.live {
            let mut detail = live.detail();
            detail.written = None;
            detail.servers = Vec::new();
        }
    }

    /// As [`Self::change_uris`], of file `file` (from 0) of several.
    pub(super) fn change_seeds(
        &mut self,
        file: usize,
        remove: &[Arc<str>],
        add: &[Arc<str>],
        at: Option<usize>,
    ) -> (u64, u64) {
        let Some(brief) = &mut self.brief else {
            return (0, 0);
        };
        brief.edited = true;
        let start = brief.web_seeds.partition_point(|seed| seed.file < file);
        let end = brief.web_seeds.partition_point(|seed| seed.file <= file);
        let old = brief.web_seeds[start..end].iter();
        let mut uris: Vec<Arc<str>> = old.map(|seed| Arc::clone(&seed.uri)).collect();
        let counts = change_list(&mut uris, remove, add, at);
        let seeds = uris.into_iter().map(|uri| WebSeed { file, uri });
        brief.web_seeds.splice(start..end, seeds);
        counts
    }

    /// Takes one instance of each of `remove` out and puts `add` in at place `at` (the end, if
    /// `None`). Gives the numbers of URIs removed and added.
    pub(super) fn change_uris(
        &mut self,
        remove: &[Arc<str>],
        add: &[Arc<str>],
        at: Option<usize>,
    ) -> (u64, u64) {
        let mut uris = std::mem::take(&mut self.uris).into_vec();
        let counts = change_list(&mut uris, remove, add, at);
        self.uris = uris.into();
        if !self.is_active()
            && let Some(live) = &self.live
        {
            // The next start makes the marks anew; until then what was used is forgotten.
            live.detail().uris.clear();
        }
        counts
    }

    fn running(&self) -> Option<&Live> {
        self.live.as_deref().filter(|_| self.is_active())
    }

    fn figure(&self, live: impl Fn(&Live) -> u64, kept: impl Fn(&Kept) -> u64) -> u64 {
        let now = self.live.as_deref().map_or(0, live);
        match &self.rare {
            Some(rare) if now == 0 => kept(&rare.kept),
            _ => now,
        }
    }

    fn finished_pieces_len(&self, length: u64) -> u64 {
        let Some(live) = &self.live else {
            let completed = self.completed_len();
            return if completed == length {
                length
            } else {
                completed / self.piece_len() * self.piece_len()
            };
        };
        let piece_len = self.piece_len();
        let detail = live.detail();
        let pieces = &detail.bitfield;
        if pieces.is_empty() {
            return self.completed_len();
        }
        let full = u64::from(pieces.count_ones()) * piece_len;
        // The last piece may be shorter than the others.
        let missing = match pieces.get(pieces.len() - 1) {
            true => (u64::from(pieces.len()) * piece_len).saturating_sub(length),
            false => 0,
        };
        full.saturating_sub(missing)
    }
}

/// Gives the numbers of URIs removed and added.
fn change_list(
    uris: &mut Vec<Arc<str>>,
    remove: &[Arc<str>],
    add: &[Arc<str>],
    at: Option<usize>,
) -> (u64, u64) {
    let mut removed = 0;
    for gone in remove {
        if let Some(place) = uris.iter().position(|uri| uri == gone) {
            uris.remove(place);
            removed += 1;
        }
    }
    let at = at.unwrap_or(usize::MAX).min(uris.len());
    uris.splice(at..at, add.iter().cloned());
    (removed, add.len() as u64)
}
