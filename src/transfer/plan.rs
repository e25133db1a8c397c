//! Pure: the brain of one download. Reports of sources and of the disk go in, actions come out.
//!
//! It opens one source to learn what the resource is, has the disk prepared, and then keeps up to
//! `split` sources filling the piece map until nothing is missing. Where a torrent or a Metalink
//! says what there is ([`Plan::known`]), the disk is prepared first.

mod content;
mod verify;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::units::{PieceIdx, SourceId, Span};
use crate::source::{Facts, Identity, Opening, Report};

use super::pace::Pace;
use super::picker::Ask;
use super::piece_map::PieceMap;
use super::retry::{NextTry, RetryPolicy};
use super::uri_pool::{HostSpeeds, Mirror, MirrorId, UriChange, UriPool, Want};
use crate::option::value::{PieceSelector, UriSelector};
pub use content::Known;
use verify::Suspects;

/// How often slow and stalled leases are looked for.
const TICK: Duration = Duration::from_millis(500);
/// The control file is replaced when this many bytes came in and [`SAVE_GAP_MIN`] has passed: with
/// what comes while it is being written, no more than 16 MiB are fetched again after a kill…
const SAVE_BYTES: u64 = 12 * 1024 * 1024;
const SAVE_GAP_MIN: Duration = Duration::from_millis(500);
/// …or when this has passed, whatever came in.
const SAVE_GAP_MAX: Duration = Duration::from_secs(10);
/// Mirrors of single files that are looked at in vain before the others have to wait.
const TRIED_MAX: usize = 16;

/// The options a plan follows.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// Connections of the whole download (option `split`).
    pub split: usize,
    /// Connections to one host (option `max-connection-per-server`).
    pub per_host_max: usize,
    /// Shortest span worth a connection of its own, in bytes (option `min-split-size`).
    pub span_min: u64,
    pub selector: PieceSelector,
    pub uri_selector: UriSelector,
    /// A mirror may take over the connections of others (option `reuse-uri`).
    pub reuse_uri: bool,
    /// Of a host with several protocols only one is used (`metalink-enable-unique-protocol`).
    pub one_protocol: bool,
    pub retry: RetryPolicy,
    /// Rather fail than start again from the first byte (option `always-resume`).
    pub always_resume: bool,
    /// Mirrors that may refuse to resume before the download starts again; 0: all of them.
    pub resume_failures_max: u32,
    /// Only ask what the resource is (option `dry-run`).
    pub dry_run: bool,
    /// Ask what it is before asking for it (option `use-head`).
    pub use_head: bool,
    /// Upper bound on the age of the control file; `None`: written at pause and stop only.
    pub save_gap_max: Option<Duration>,
    /// Pieces have hashes.
    pub hashed: bool,
    /// Peers may bring pieces: a download without mirrors is not lost, and one that is complete
    /// stays to give until [`Plan::handle_seeding_over`].
    pub swarm: bool,
    /// Of a file that is found finished.
    pub piece_len: u64,
}

/// What the disk already holds under the expected name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeked {
    /// First byte that is not there; 0 when there is nothing to resume.
    pub resume_at: u64,
    /// Length of a file that an earlier process had finished without living to tell.
    pub finished: Option<u64>,
    /// What the bytes that are there are a part of, as far as that has been noted.
    pub identity: Option<Identity>,
}

/// The file is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub total: Option<u64>,
    pub piece_len: u64,
    /// What an earlier run left.
    pub written: RangeSet,
}

/// What the disk has done.
#[derive(Debug)]
pub enum DiskDone {
    Peeked(Peeked),
    Prepared(Result<Prepared, Failure>),
    Hashed(PieceIdx, Result<bool, Failure>),
    Saved(Result<(), Failure>),
    /// Everything is flushed, checked, named and dated.
    Completed(Result<(), Failure>),
}

/// How a plan ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Complete,
    Stopped,
    Failed(Failure),
}

/// What the task has to do.
#[derive(Debug)]
pub enum Action {
    /// Look what is on disk under the name the first URI suggests.
    Peek,
    Open {
        source: SourceId,
        uri: Arc<str>,
        opening: Opening,
        expect: Option<Identity>,
        /// First byte of the resource in the download.
        base: u64,
        /// It gives pieces and knows no file.
        by_piece: bool,
    },
    Fetch(SourceId, Span),
    /// The source's lease ends earlier now.
    Shrink(SourceId, u64),
    Drop(SourceId),
    /// Choose the name, open and allocate the file, read its control file. With `discard`,
    /// whatever was there is thrown away.
    Prepare {
        facts: Facts,
        discard: bool,
    },
    /// Hash a piece that mirrors filled, by reading it back; [`DiskDone::Hashed`] answers.
    Hash(PieceIdx),
    /// This mirror alone wrote a piece that failed its hash check: warn of it. The piece is
    /// missing again.
    BadPiece {
        piece: PieceIdx,
        uri: Arc<str>,
        /// It is not used any more.
        banned: bool,
    },
    /// Replace the control file.
    Save,
    /// Flush, verify, date and name the finished file. With a swarm the plan then waits to be told
    /// [`Plan::handle_seeding_over`]; a selection that grows makes it fetch, and complete, again.
    Complete,
    /// Drop every source, save what is left to save, and report.
    End(Outcome),
}

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
            DiskDone::Completed(Ok(())) => self.handle_completed(),
            DiskDone::Completed(Err(failure)) => self.end(Outcome::Failed(failure)),
        }
        self.advance(now, speeds);
    }

    fn handle_prepared(&mut self, now: Instant, prepared: Prepared) {
        if self.stage != Stage::Preparing {
            return;
        }
        let resumes =
            !prepared.written.is_empty() && prepared.total != Some(prepared.written.total());
        if self.opener_whole && resumes {
            let end = prepared.total.unwrap_or(u64::MAX);
            let first = prepared.written.gaps(Span::new(0, end)).next();
            self.resume_at = first.map_or(0, |gap| gap.start);
            return self.handle_cannot_resume();
        }
        self.map = PieceMap::new(
            prepared.total,
            prepared.piece_len,
            prepared.written,
            self.settings.hashed,
        );
        self.apply_known();
        self.stage = Stage::Fetching;
        self.saved_at = now;
        // The control file was put beside the data before the data were opened.
        self.bytes_since_save = 0;
    }

    /// What is on disk can't be continued by the mirror that was opened.
    fn handle_cannot_resume(&mut self) {
        for (source, mirror) in self
            .members
            .iter()
            .map(|(id, member)| (*id, member.mirror))
            .collect::<Vec<_>>()
        {
            self.pool.handle_whole_only(mirror);
            self.drop_source(source);
        }
        self.stage = Stage::Opening;
        self.expect = None;
        self.last_failure = Some(cannot_resume());
        self.resume_failures += 1;
        let count = self.settings.resume_failures_max;
        if count > 0 && self.resume_failures >= count {
            self.start_over();
        }
    }

    /// Throws away what is there, if the user allows it; returns whether that is so.
    fn start_over(&mut self) -> bool {
        if self.settings.always_resume || self.discard {
            return false;
        }
        self.discard = true;
        self.resume_at = 0;
        self.expect = None;
        true
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

    fn handle_opened(&mut self, now: Instant, source: SourceId, facts: Facts) {
        let Some(member) = self.members.get_mut(&source) else {
            return;
        };
        member.accepted = true;
        self.pool.handle_accepted(member.mirror);
        let SourceStage::Opening(opening) = member.stage else {
            let first = member.part.map_or(0, |part| part.start);
            let asked = self.map.lease_of(source).map_or(0, |lease| lease.start);
            if self.stage == Stage::Fetching && !facts.ranges && asked > first {
                self.handle_no_ranges(source);
            }
            return;
        };
        if self.stage != Stage::Opening {
            return;
        }
        member.stage = SourceStage::Idle {
            body_at: facts.body_from,
        };
        member.pace = Pace::new(now);
        if facts.not_modified {
            self.map.set_total(0);
            return self.end(Outcome::Complete);
        }
        self.expect = Some(facts.identity.clone());
        self.opener_whole = !facts.ranges;
        if !facts.ranges {
            self.pool.handle_whole_only(member.mirror);
        }
        if opening == Opening::Probe {
            self.drop_source(source);
        }
        if let Opening::From(from) = opening
            && from > 0
            && !facts.ranges
            // Where nothing is missing, nothing has to be resumed.
            && facts.identity.len != Some(from)
        {
            return self.handle_cannot_resume();
        }
        self.stage = Stage::Preparing;
        let discard = self.discard;
        self.actions.push_back(Action::Prepare { facts, discard });
    }

    /// A further connection got the whole resource instead of its span: the mirror serves one
    /// connection and no more.
    fn handle_no_ranges(&mut self, source: SourceId) {
        if let Some(member) = self.members.get(&source) {
            self.pool.handle_whole_only(member.mirror);
        }
        self.last_failure = Some(cannot_resume());
        self.drop_source(source);
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
        if self.settings.hashed {
            self.actions
                .extend(progress.full.iter().map(|piece| Action::Hash(*piece)));
        }
        !progress.full.is_empty() || self.map.is_complete()
    }

    fn handle_closed(&mut self, now: Instant, source: SourceId, result: Result<(), Failure>) {
        self.map.release(source);
        let Some(member) = self.members.remove(&source) else {
            return;
        };
        let Err(failure) = result else {
            self.pool.handle_closed(source);
            return;
        };
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

    fn open_first(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        let from_start = self.resume_at == 0;
        let want = Want::any(from_start);
        let Some(mirror) = self.pool.next(now, &want, speeds, &mut self.rng) else {
            if self.pool.has_hope(&want) {
                return;
            }
            if !from_start && self.pool.has_hope(&Want::any(true)) && self.start_over() {
                return self.open_first(now, speeds);
            }
            return self.fail();
        };
        let opening = if self.settings.dry_run || self.settings.use_head {
            Opening::Probe
        } else if self.resume_at > 0 {
            Opening::From(self.resume_at)
        } else {
            Opening::Whole
        };
        self.open(now, mirror, opening, SourceStage::Opening(opening));
    }

    fn open(
        &mut self,
        now: Instant,
        mirror: MirrorId,
        opening: Opening,
        stage: SourceStage,
    ) -> Option<SourceId> {
        let Mirror {
            uri,
            part,
            by_piece,
        } = self.pool.mirror(mirror)?.clone();
        let source = self.next_source();
        let base = part.map_or(0, |part| part.start);
        self.origins.push(Origin { mirror, base });
        self.pool.handle_opened(mirror, source);
        self.members.insert(
            source,
            Member {
                mirror,
                stage,
                pace: Pace::new(now),
                accepted: false,
                part,
            },
        );
        let expect = match part {
            Some(part) => Some(Identity {
                len: Some(part.len()),
                ..Identity::default()
            }),
            None => self.expect.clone(),
        };
        self.actions.push_back(Action::Open {
            source,
            uri,
            opening,
            expect,
            base,
            by_piece,
        });
        Some(source)
    }

    /// Gives idle sources leases and opens new ones, as far as there is work.
    fn fill(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        let idle: Vec<(SourceId, Option<u64>)> = self
            .members
            .iter()
            .filter_map(|(source, member)| match member.stage {
                SourceStage::Idle { body_at } => Some((*source, body_at)),
                _ => None,
            })
            .collect();
        let mut hungry = false;
        for (source, body_at) in idle {
            let Some(member) = self.members.get(&source) else {
                continue;
            };
            let (mirror, part) = (member.mirror, member.part);
            match self.claim(now, source, mirror, body_at, None) {
                Some(span) => self.fetch(now, source, span),
                None if body_at.is_some() => self.drop_source(source),
                // Another file takes another connection.
                None if part.is_some() => self.drop_source(source),
                None => hungry = true,
            }
        }
        self.hungry = hungry;
        if !hungry {
            self.open_more(now, speeds);
        }
    }

    fn open_more(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        let mut tried = Vec::new();
        while self.may_open() {
            let from_start = self.map.written().is_empty() && self.members.is_empty();
            let want = Want {
                from_start,
                useful: &|part| part.is_none_or(|part| self.map.lacks_in(part)),
                except: &tried,
            };
            let Some(mirror) = self.pool.next(now, &want, speeds, &mut self.rng) else {
                break;
            };
            let part = self.pool.mirror(mirror).and_then(|mirror| mirror.part);
            let source = self.next_source();
            let span_min = Some(self.settings.span_min);
            let Some(span) = self.claim(now, source, mirror, None, span_min) else {
                self.hungry = true;
                if part.is_none() {
                    break;
                }
                tried.push(mirror);
                if tried.len() >= TRIED_MAX {
                    break;
                }
                continue;
            };
            // `claim` leased under the number that `open` gives out next.
            if self
                .open(now, mirror, Opening::Lease, SourceStage::Fetching)
                .is_none()
            {
                self.map.release(source);
                break;
            }
            self.fetch(now, source, span);
        }
    }

    fn next_source(&self) -> SourceId {
        SourceId(self.origins.len() as u32)
    }

    fn may_open(&self) -> bool {
        let limit = if self.map.total().is_some() {
            self.settings.split
        } else {
            1
        };
        self.members.len() < limit
    }

    fn claim(
        &mut self,
        now: Instant,
        source: SourceId,
        mirror: MirrorId,
        body_at: Option<u64>,
        dial_span_min: Option<u64>,
    ) -> Option<Span> {
        let member = self.members.get(&source);
        let rate = member.and_then(|member| member.pace.rate(now));
        // Steps make no sense where the end is not known or the rest cannot be asked for.
        let in_steps = self.map.total().is_some() && !self.pool.is_whole_only(mirror);
        let ask = Ask {
            source,
            rate,
            reach: self.pool.mirror(mirror).and_then(|mirror| mirror.part),
            len_max: self.lease_len_max(rate),
            dial_span_min,
            body_at,
            selector: match in_steps {
                true => self.settings.selector,
                false => PieceSelector::Default,
            },
            step: self.settings.span_min,
        };
        if let Some(span) = self.map.lease(&ask, &mut self.rng) {
            return Some(span);
        }
        let members = &self.members;
        self.map.steal(now, &ask, &|source, now| {
            members
                .get(&source)
                .and_then(|member| member.pace.rate(now))
        })
    }

    fn fetch(&mut self, now: Instant, source: SourceId, span: Span) {
        if let Some(member) = self.members.get_mut(&source) {
            member.stage = SourceStage::Fetching;
            member.pace.begin(now);
        }
        self.actions.push_back(Action::Fetch(source, span));
    }

    /// Ends the download, or starts it over, when nobody is left to ask.
    fn check_hope(&mut self, now: Instant, speeds: &dyn HostSpeeds) {
        if !self.members.is_empty() || self.settings.swarm || self.map.is_hashing() {
            return;
        }
        let from_start = self.map.written().is_empty();
        let useful = |part: Option<Span>| part.is_none_or(|part| self.map.lacks_in(part));
        let hope = |from_start| {
            self.pool.has_hope(&Want {
                from_start,
                useful: &useful,
                except: &[],
            })
        };
        if hope(from_start) {
            return;
        }
        let hope_from_start = hope(true);
        if from_start || !hope_from_start {
            return self.fail();
        }
        // A length that is not known leaves nothing to resume.
        if self.map.total().is_some() && !self.start_over() {
            return self.end(Outcome::Failed(cannot_resume()));
        }
        self.map.clear();
        self.fill(now, speeds);
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

    fn save_is_due(&self, now: Instant) -> bool {
        let Some(gap_max) = self.settings.save_gap_max else {
            return false;
        };
        if self.saving || self.bytes_since_save == 0 || self.map.total().is_none() {
            return false;
        }
        let gap = now.saturating_duration_since(self.saved_at);
        gap >= gap_max.min(SAVE_GAP_MAX)
            || (gap >= SAVE_GAP_MIN && self.bytes_since_save >= SAVE_BYTES)
    }

    fn save(&mut self) {
        self.saving = true;
        self.bytes_since_save = 0;
        self.actions.push_back(Action::Save);
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

fn cannot_resume() -> Failure {
    Failure::new(
        ErrorCode::CannotResume,
        Retry::OtherMirror,
        "the server cannot resume the download",
    )
}

#[cfg(test)]
mod tests;
