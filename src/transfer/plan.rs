//! Pure: the brain of one download. Reports of sources and of the disk go in, actions come out.
//!
//! It opens one source to learn what the resource is, has the disk prepared, and then keeps up to
//! `split` sources filling the piece map until nothing is missing. Where a torrent or a Metalink
//! says what there is ([`Plan::known`]), the disk is prepared first.

mod action;
mod content;
mod opening;
mod saving;
mod settings;
mod verify;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::units::{SourceId, Span};
use crate::source::{Identity, Opening, Report};

use super::pace::Pace;
use super::piece_map::PieceMap;
use super::retry::NextTry;
use super::uri_pool::{HostSpeeds, Mirror, MirrorId, UriChange, UriPool};
pub use action::{Action, DiskDone, Outcome, Peeked, Prepared};
pub use content::Known;
pub use settings::PlanSettings;
use verify::Suspects;

/// How often slow and stalled leases are looked for.
const TICK: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Peeking,
    Opening,
    Preparing,
    Fetching,
    Completing,
    /// All is there, and peers are given of it.
    Seeding,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SourceStage {
    /// Dialled to learn what the resource is.
    Opening(Opening),
    /// Waits for a lease; an open body may stand at some byte.
    Idle {
        body_at: Option<u64>,
    },
    Fetching,
}

/// Where a source's bytes come from and where they go.
#[derive(Clone, Copy, Debug)]
struct Origin {
    mirror: MirrorId,
    /// First byte of its resource in the download.
    base: u64,
}

#[derive(Debug)]
struct Member {
    mirror: MirrorId,
    stage: SourceStage,
    pace: Pace,
    /// The server has answered with the resource.
    accepted: bool,
    /// The part of the download it can fetch; `None`: all.
    part: Option<Span>,
}

/// The decisions of one download.
pub struct Plan {
    settings: PlanSettings,
    stage: Stage,
    pool: UriPool,
    members: BTreeMap<SourceId, Member>,
    map: PieceMap,
    expect: Option<Identity>,
    /// First byte that is missing, as far as is known before the file is open.
    resume_at: u64,
    resume_failures: u32,
    /// No mirror could resume and the user allows starting over.
    discard: bool,
    /// What a torrent or Metalink says.
    known: Option<Known>,
    /// Connected peers that have what we want.
    peers: usize,
    /// The source that opened the resource serves whole resources only.
    opener_whole: bool,
    last_failure: Option<Failure>,
    suspects: Suspects,
    /// Of each source ever opened, by its number: late reports outlive the source and its mirror.
    origins: Vec<Origin>,
    tick_at: Instant,
    saving: bool,
    saved_at: Instant,
    bytes_since_save: u64,
    /// A mirror could work and finds nothing to do.
    hungry: bool,
    /// Since when only bytes are missing that nobody asked for.
    edges_since: Option<Instant>,
    /// When pieces were last taken from mirrors for peers.
    reserved_at: Instant,
    rng: Rng,
    actions: VecDeque<Action>,
}

impl Plan {
    /// A plan that begins by looking at the disk.
    pub fn new(now: Instant, uris: &[Arc<str>], settings: PlanSettings, rng: Rng) -> Self {
        // aria2 hands the URIs out in turn until `split` is reached; a URI that is not reused
        // serves so many connections and no more, whatever becomes of the others.
        let per_uri_max = match settings.reuse_uri {
            true => usize::MAX,
            false => settings.split.div_ceil(uris.len().max(1)),
        };
        let mut pool = UriPool::new(
            uris,
            settings.uri_selector,
            settings.per_host_max,
            per_uri_max,
        );
        if settings.one_protocol {
            pool.use_one_protocol();
        }
        Self {
            pool,
            stage: Stage::Peeking,
            members: BTreeMap::new(),
            map: PieceMap::new(None, 1, RangeSet::new(), settings.hashed),
            expect: None,
            resume_at: 0,
            resume_failures: 0,
            discard: false,
            known: None,
            peers: 0,
            opener_whole: false,
            last_failure: None,
            suspects: Suspects::default(),
            origins: Vec::new(),
            tick_at: now + TICK,
            saving: false,
            saved_at: now,
            bytes_since_save: 0,
            hungry: false,
            edges_since: None,
            reserved_at: now,
            rng,
            actions: VecDeque::from([Action::Peek]),
            settings,
        }
    }

    pub fn map(&self) -> &PieceMap {
        &self.map
    }

    pub fn map_mut(&mut self) -> &mut PieceMap {
        &mut self.map
    }

    pub fn pool(&self) -> &UriPool {
        &self.pool
    }

    /// What the download was found to be.
    pub fn identity(&self) -> Option<&Identity> {
        self.expect.as_ref()
    }

    /// Sources that have been opened or are being opened.
    pub fn sources(&self) -> impl Iterator<Item = SourceId> + '_ {
        self.members.keys().copied()
    }

    /// Whether the file is open and a control file says something.
    pub fn is_fetching(&self) -> bool {
        matches!(
            self.stage,
            Stage::Fetching | Stage::Completing | Stage::Seeding
        )
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Plan::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let mirror = self.pool.poll_timeout(now);
        let tick = (self.stage == Stage::Fetching).then_some(self.tick_at);
        [mirror.filter(|_| self.stage != Stage::Ended), tick]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn handle_timeout(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        if now >= self.tick_at {
            self.tick_at = now + TICK;
        }
        self.advance(now, speeds);
    }

    /// The user changed the list of URIs; returns nothing, drops sources on removed ones.
    pub fn handle_uris(&mut self, now: Instant, change: &UriChange, speeds: &dyn HostSpeeds) {
        let part = change.part;
        for uri in change.remove {
            for source in self.pool.remove(uri, part) {
                self.drop_source(source);
            }
        }
        for (offset, uri) in change.add.iter().enumerate() {
            let at = change.at;
            let place = at.map_or(usize::MAX, |at| at.saturating_add(offset));
            self.pool.insert(place, Mirror::new(uri.clone(), part));
        }
        self.advance(now, speeds);
    }

    /// The user wants it stopped.
    pub fn handle_stop(&mut self) {
        self.end(Outcome::Stopped);
    }

    pub fn handle_disk(&mut self, now: Instant, done: DiskDone, speeds: &dyn HostSpeeds) {
        match done {
            DiskDone::Peeked(peeked) => {
                self.resume_at = peeked.resume_at;
                self.expect = peeked.identity;
                if self.stage == Stage::Peeking {
                    self.stage = Stage::Opening;
                    if let Some(total) = peeked.finished {
                        let whole = RangeSet::from_iter([Span::new(0, total)]);
                        let piece_len = self.settings.piece_len;
                        self.map = PieceMap::new(Some(total), piece_len, whole, false);
                        return self.end(Outcome::Complete);
                    }
                }
            }
            DiskDone::Prepared(Ok(prepared)) => self.handle_prepared(now, prepared),
            DiskDone::Prepared(Err(failure)) | DiskDone::Hashed(_, Err(failure)) => {
                self.end(Outcome::Failed(failure));
            }
            DiskDone::Hashed(piece, Ok(good)) => self.handle_hashed(piece, good),
            DiskDone::Saved(result) => {
                self.saving = false;
                // 17: the file was removed, replaced or cut under us, or its disk is broken.
                match result {
                    Err(failure)
                        if matches!(failure.code, ErrorCode::DiskFull | ErrorCode::FileIo) =>
                    {
                        self.end(Outcome::Failed(failure));
                    }
                    // What it was to claim is still unsaved.
                    Err(_) => self.bytes_since_save = self.bytes_since_save.max(1),
                    Ok(()) => {}
                }
            }
            DiskDone::Spoilt(pieces) => self.handle_spoilt(&pieces),
            DiskDone::Completed(Ok(())) => self.handle_completed(),
            DiskDone::Completed(Err(failure)) => self.end(Outcome::Failed(failure)),
        }
        self.advance(now, speeds);
    }

    pub fn handle_report(
        &mut self,
        now: Instant,
        source: SourceId,
        report: Report,
        speeds: &dyn HostSpeeds,
    ) {
        match report {
            Report::Opened(facts) => self.handle_opened(now, source, *facts),
            // The hot path: nothing else changes when bytes come in.
            Report::Wrote(span) => {
                let span = self.in_download(source, span);
                let full = self.handle_wrote(now, source, span);
                if !full && !self.save_is_due(now) {
                    return;
                }
            }
            Report::Idle => {
                self.map.release(source);
                if let Some(member) = self.members.get_mut(&source) {
                    member.stage = SourceStage::Idle { body_at: None };
                }
            }
            Report::Ended(total) => {
                self.map.release(source);
                if self.map.total().is_none() {
                    let full = self.map.set_total(total);
                    self.actions.extend(full.into_iter().map(Action::Hash));
                }
                self.drop_source(source);
            }
            Report::Closed(result) => self.handle_closed(now, source, result),
        }
        self.advance(now, speeds);
    }

    /// Returns whether a piece got full.
    fn handle_wrote(&mut self, now: Instant, source: SourceId, span: Span) -> bool {
        let progress = self.map.wrote(source, span);
        self.bytes_since_save += progress.new_bytes;
        if let Some(member) = self.members.get_mut(&source) {
            member.pace.wrote(now, span.len());
            // Where a broken download starts over, a part of it is no progress to forgive for.
            if self.map.total().is_some() {
                self.pool.handle_progress(member.mirror);
            }
        }
        for (holder, end) in progress.shrunk {
            self.actions.push_back(Action::Shrink(holder, end));
        }
        if !self.settings.hashed && self.known.is_some() {
            self.note_author(source, span);
        }
        if self.settings.hashed {
            self.actions
                .extend(progress.full.iter().map(|piece| Action::Hash(*piece)));
        }
        !progress.full.is_empty() || self.map.is_complete()
    }

    fn handle_closed(&mut self, now: Instant, source: SourceId, result: Result<(), Failure>) {
        let asked = self.map.lease_of(source).map_or(0, |lease| lease.start);
        self.map.release(source);
        let Some(member) = self.members.remove(&source) else {
            return;
        };
        let Err(failure) = result else {
            self.pool.handle_closed(source);
            return;
        };
        if failure.code == ErrorCode::CannotResume && asked > 0 && self.map.total().is_none() {
            // Where a file of unknown length broke off, another may have ended: it is still good
            // from its first byte on.
            self.pool.handle_closed(source);
            self.pool.handle_whole_only(member.mirror);
            self.last_failure = Some(failure);
            return;
        }
        if let Retry::After(asked) = failure.retry
            && !member.accepted
            && self.pool.serves_others(member.mirror, source)
        {
            let (mirror, retry) = (member.mirror, &self.settings.retry);
            self.last_failure = Some(failure);
            return self.pool.handle_refused(now, mirror, source, retry, asked);
        }
        let next = self.pool.handle_failure(
            now,
            member.mirror,
            source,
            &self.settings.retry,
            failure.clone(),
        );
        match next {
            // One of many ways to the bytes: only the disk is lost for all of them.
            NextTry::Fail(failure) if self.known.is_some() && !is_of_the_disk(&failure) => {
                self.last_failure = Some(failure);
            }
            NextTry::Fail(failure) => self.end(Outcome::Failed(failure)),
            NextTry::Switch(failure) => self.last_failure = Some(failure),
            NextTry::At(_) => self.last_failure = Some(failure),
        }
    }

    fn drop_source(&mut self, source: SourceId) {
        self.map.release(source);
        self.pool.handle_closed(source);
        if self.members.remove(&source).is_some() {
            self.actions.push_back(Action::Drop(source));
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if self.stage == Stage::Ended {
            return;
        }
        self.stage = Stage::Ended;
        self.actions.push_back(Action::End(outcome));
    }

    /// After each input: do whatever is possible now.
    fn advance(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        match self.stage {
            Stage::Opening if self.members.is_empty() => self.open_first(now, speeds),
            Stage::Fetching => {
                if self.settings.dry_run {
                    return self.end(Outcome::Complete);
                }
                if self.map.is_complete() {
                    return self.complete();
                }
                self.make_way(now);
                self.fill(now, speeds);
                self.check_hope(now, speeds);
                self.waive_edges(now);
                if self.save_is_due(now) && self.stage == Stage::Fetching {
                    self.saved_at = now;
                    self.save();
                }
            }
            Stage::Seeding if !self.map.is_complete() => {
                self.stage = Stage::Fetching;
                self.advance(now, speeds);
            }
            _ => {}
        }
    }

    fn fail(&mut self) {
        let failure = self
            .last_failure
            .clone()
            .unwrap_or_else(|| Failure::new(ErrorCode::Unknown, Retry::Never, "No URI available."));
        self.end(Outcome::Failed(failure));
    }

    fn complete(&mut self) {
        self.stage = Stage::Completing;
        let sources: Vec<SourceId> = self.members.keys().copied().collect();
        for source in sources {
            self.drop_source(source);
        }
        self.actions.push_back(Action::Complete);
    }
}

/// Whether it is our side that failed.
fn is_of_the_disk(failure: &Failure) -> bool {
    matches!(
        failure.code,
        ErrorCode::DiskFull
            | ErrorCode::FileIo
            | ErrorCode::OpenFailed
            | ErrorCode::CreateFailed
            | ErrorCode::DirCreateFailed
    )
}

#[cfg(test)]
mod tests;
