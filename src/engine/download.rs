//! Pure: one download as the registry keeps it, and what can be read of it.

mod files;
mod mirrors;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::brief::Brief;
use super::event::Subject;
use super::state::{DownloadState, ListKind};
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::bittorrent::discovery::SwarmCounts;
use crate::option::OptionSet;
use crate::option::keys::{DIR, PIECE_LENGTH};
use crate::store::Finished;
use crate::transfer::{Live, PeerEntry, Restored, ServerEntry, Verified};

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
    /// Where an earlier process moved it when it was finished.
    pub moved_to: Option<PathBuf>,
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
                moved_to: rare.moved_to.clone(),
            });
        }
        self.live = Some(Arc::clone(&live));
        live
    }

    /// An earlier process finished it, and was killed before the session said so.
    pub(super) fn recall(&mut self, finished: Finished) {
        let rare = self.rare.get_or_insert_default();
        rare.kept.total = finished.total;
        rare.kept.piece_len = finished.piece_len;
        rare.kept.path = Some(finished.path.to_string_lossy().into_owned());
        rare.moved_to = finished.moved_to;
        rare.same_boot = true;
    }

    /// Seeders among the connected peers of a torrent or magnet link; 0 unless it is active.
    pub fn seeders(&self) -> u32 {
        self.running().map_or(0, |live| live.seeders())
    }

    /// Seeders and leechers of the whole swarm, as its tracker counts them; of an active torrent or
    /// magnet link.
    pub fn swarm(&self) -> SwarmCounts {
        self.running()
            .map_or_else(SwarmCounts::default, |live| live.detail().swarm)
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

    /// When it stopped; of results, unless that is not known.
    pub fn stopped_at(&self) -> Option<SystemTime> {
        self.stopped_at
    }

    /// The connections of an active download; empty for others.
    pub fn servers(&self) -> Vec<ServerEntry> {
        self.running()
            .map_or_else(Vec::new, |live| live.detail().servers.clone())
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
            error_text: self.error().map_or("", |(_, text)| text).to_owned(),
            uri: self.uris.first().cloned(),
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
}
