//! Driver of one download: the only `select!`. It carries out what the plan decides and tells
//! the plan what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::base::bitfield::Bitfield;
use crate::base::error::{Failure, Retry};
use crate::base::gid::Gid;
use crate::base::range_set::RangeSet;
use crate::base::secret::SafeUrl;
use crate::base::units::{PieceIdx, SourceId, Span};
use crate::limit::LimitBranch;
use crate::option::OptionSet;
use crate::option::bt_settings::BtSettings;
use crate::option::settings::{FtpSettings, HttpSettings, TransferSettings};
use crate::source::http::{HttpShared, PieceSeed};
use crate::source::{Facts, Report, Shared, Target};
use crate::storage::Content;
use crate::storage::digest::Checksum;

use super::content_finish::{ContentEnd, Moved};
use super::destination::{Destination, Opened, Told};
use super::document::{Finished, FollowSettings};
use super::finish::Finish;
use super::handle::{Control, Ended, Phase, TransferReport, TransferSpec, World};
use super::hashing::PieceHashing;
use super::keeper::ControlKeeper;
use super::live::Live;
use super::mirrors::Mirrors;
use super::plan::{Action, DiskDone, Outcome, Plan, Prepared};
use super::saver::{OpenFile, Saver, State};
use super::setup::Setup;
use super::torrent::{Input, Torrent};
use super::uri_pool::UriChange;

/// Reports handled between two looks at everything else.
const REPORTS_AT_ONCE: usize = 256;

pub(super) struct Task {
    pub(super) gid: Gid,
    pub(super) world: Arc<World>,
    pub(super) live: Arc<Live>,
    pub(super) limit: LimitBranch,
    pub(super) options: OptionSet,
    to_engine: UnboundedSender<(Gid, TransferReport)>,
    controls: UnboundedReceiver<Control>,
    pub(super) settings: Arc<TransferSettings>,
    pub(super) destination: Arc<Destination>,
    /// The files, where they were known from the beginning.
    pub(super) content: Option<Arc<Content>>,
    pub(super) plan: Plan,
    mirrors: Mirrors,
    disk_to_me: UnboundedSender<DiskEvent>,
    disk: UnboundedReceiver<DiskEvent>,
    pub(super) target: Option<OpenFile>,
    hashing: PieceHashing,
    /// Peers are wanted and not sought yet.
    pub(super) wants_swarm: bool,
    pub(super) torrent: Option<Box<Torrent>>,
    /// Bytes given before this run.
    pub(super) uploaded_before: u64,
    /// All was there when the files were opened, and was hashed.
    pub(super) found_whole: Option<Checked>,
    seeding: bool,
    /// `Last-Modified` of what is being fetched.
    modified: Option<i64>,
    /// `Content-Type` and URI, after redirects, of what is being fetched.
    origin: (Option<String>, String),
    follow: FollowSettings,
    /// The digest of the whole: the server's, or the Metalink's.
    digest: Option<Checksum>,
    /// Tells a long disk job that nobody waits for it any more.
    give_up: Arc<AtomicBool>,
    /// The file is being made ready, or finished.
    making: Option<JoinHandle<()>>,
    /// This run has done nothing about the file yet.
    untouched: bool,
    forced: bool,
    saver: Saver,
}

/// How it is known that all was there at the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checked {
    ByHash,
    ByControlFile,
}

enum DiskEvent {
    Opened(Box<Result<Opened, Failure>>),
    GivenBack(PieceIdx, Result<RangeSet, Failure>),
    Done(DiskDone),
}

impl Task {
    /// # Errors
    /// As [`Setup::new`].
    pub(super) fn new(
        spec: TransferSpec,
        world: Arc<World>,
        controls: UnboundedReceiver<Control>,
    ) -> Result<Self, Failure> {
        let (disk_to_me, disk) = mpsc::unbounded_channel();
        let Setup {
            settings,
            destination,
            content,
            plan,
        } = Setup::new(&spec)?;
        let http = HttpShared {
            gid: spec.gid,
            settings: HttpSettings::from(&spec.options),
            net: world.net.clone(),
            modified_since: destination.local_time(),
        };
        let follow = FollowSettings::new(&spec.options, &spec.job, spec.is_torrent_file);
        Ok(Self {
            gid: spec.gid,
            world,
            live: spec.live,
            mirrors: Mirrors::new(
                Shared::new(http, FtpSettings::from(&spec.options)),
                spec.limit.clone(),
            ),
            limit: spec.limit,
            options: spec.options,
            to_engine: spec.reports,
            controls,
            settings,
            destination,
            digest: content.as_ref().and_then(|known| known.checksum.clone()),
            origin: Default::default(),
            follow,
            hashing: PieceHashing::default(),
            content,
            plan,
            disk_to_me,
            disk,
            target: None,
            wants_swarm: false,
            torrent: None,
            uploaded_before: 0,
            found_whole: None,
            seeding: false,
            modified: None,
            give_up: Arc::default(),
            making: None,
            untouched: true,
            forced: false,
            saver: Saver::default(),
        })
    }

    pub(super) async fn run(mut self) -> Ended {
        self.tell(Phase::Opening);
        // What was whole when an earlier transfer ended stays so to whoever looks at it meanwhile.
        self.live.set_seeding(false);
        let mut batch = Vec::with_capacity(REPORTS_AT_ONCE);
        let outcome = loop {
            if std::mem::take(&mut self.wants_swarm) {
                self.join_swarm().await;
            }
            if let Some(outcome) = self.act() {
                break outcome;
            }
            self.publish();
            let due = self.poll_timeout(Instant::now());
            tokio::select! {
                biased;
                control = self.controls.recv() => self.handle_control(control),
                Some(event) = self.disk.recv() => self.handle_disk(event),
                _ = self.mirrors.reports.recv_many(&mut batch, REPORTS_AT_ONCE) => {
                    for (source, report) in batch.drain(..) {
                        self.handle_report(source, report);
                    }
                }
                input = next_input(&mut self.torrent) => self.handle_input(input),
                () = sleep_until(due) => self.plan.handle_timeout(Instant::now(), &self.world.stats),
            }
        };
        self.finish(outcome).await
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let torrent = self.torrent.as_ref();
        let torrent = torrent.and_then(|torrent| torrent.poll_timeout(now));
        [self.plan.poll_timeout(now), torrent]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn tell(&self, phase: Phase) {
        let _ = self
            .to_engine
            .send((self.gid, TransferReport::Phase(phase)));
    }

    fn handle_control(&mut self, control: Option<Control>) {
        match control {
            // The engine is gone: keep what is there and end.
            None => self.plan.handle_stop(),
            Some(Control::Stop { force }) => {
                self.forced = force;
                self.plan.handle_stop();
            }
            Some(Control::Leave { force }) => {
                self.forced = force;
                if self.seeding {
                    self.plan.handle_seeding_over();
                } else {
                    self.plan.handle_stop();
                }
            }
            Some(Control::Uris {
                file,
                remove,
                add,
                at,
            }) => {
                let change = UriChange {
                    part: self.part_of(file),
                    remove: &remove,
                    add: &add,
                    at,
                };
                self.plan
                    .handle_uris(Instant::now(), &change, &self.world.stats);
                self.mirrors.changed = true;
            }
            Some(Control::Options(options)) => {
                let changed = TransferSettings::from(&options);
                self.limit.set(changed.down_limit, changed.up_limit);
                if let Some(torrent) = &mut self.torrent {
                    torrent.change(BtSettings::from(&options));
                }
                self.settings = Arc::new(changed);
                self.options = options;
            }
            Some(Control::Save) => self.save(),
        }
    }

    /// Where file `file` (from 0) of several is; `None`: it is the only one.
    fn part_of(&self, file: usize) -> Option<Span> {
        let place = self.destination.content.as_ref()?;
        let count = place.layout.files().len();
        (count > 1 && file < count).then(|| place.layout.span_of(file))
    }

    fn handle_disk(&mut self, event: DiskEvent) {
        let done = match event {
            DiskEvent::Done(done) => done,
            DiskEvent::Opened(opened) => {
                DiskDone::Prepared(opened.map(|opened| self.adopt(opened)))
            }
            DiskEvent::GivenBack(piece, on_disk) => return self.handle_given_back(piece, on_disk),
        };
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

    fn handle_input(&mut self, input: Input) {
        if let Some(torrent) = &mut self.torrent {
            torrent.handle_input(Instant::now(), input, &mut self.plan, &self.world.stats);
        }
    }

    /// The file is open: show it.
    fn adopt(&mut self, opened: Opened) -> Prepared {
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

    pub(super) fn is_torrent(&self) -> bool {
        let content = self.content.as_ref();
        content.is_some_and(|content| content.torrent.is_some())
    }

    fn handle_report(&mut self, source: SourceId, report: Report) {
        let now = Instant::now();
        match &report {
            // What a source says that has been dropped is of no interest.
            Report::Opened(facts) if self.mirrors.has(source) => self.note_opened(source, facts),
            Report::Closed(result) => self.note_closed(now, source, result),
            _ => {}
        }
        self.plan
            .handle_report(now, source, report, &self.world.stats);
    }

    fn note_opened(&mut self, source: SourceId, facts: &Facts) {
        self.mirrors.moved(source, &facts.final_uri);
        if self.modified.is_none() {
            self.modified = facts.modified;
        }
        if self.origin.1.is_empty() {
            self.origin = (facts.content_type.clone(), facts.final_uri.clone());
            self.add_mirrors(facts);
        }
        if self.digest.is_none() {
            self.digest.clone_from(&facts.identity.digest);
        }
        // A dry run or a name that is taken never gets further than this.
        let mut detail = self.live.detail();
        if detail.path.is_none() {
            detail.path = Some(self.destination.wanted_path(facts));
        }
    }

    /// Mirrors that the first server names. RFC 6249, section 6: without a digest they are nothing.
    fn add_mirrors(&mut self, facts: &Facts) {
        let proven = facts.identity.digest.is_some() || self.settings.checksum.is_some();
        if facts.mirrors.is_empty() || self.content.is_some() || !proven {
            return;
        }
        let known = self.plan.pool().entries();
        let is_new = |uri: &&Arc<str>| known.iter().all(|entry| entry.uri != **uri);
        let add: Vec<Arc<str>> = facts.mirrors.iter().filter(is_new).cloned().collect();
        debug!(gid = %self.gid, count = add.len(), "the server names mirrors");
        let change = UriChange {
            part: None,
            remove: &[],
            add: &add,
            at: None,
        };
        self.plan
            .handle_uris(Instant::now(), &change, &self.world.stats);
        self.mirrors.changed = true;
    }

    fn note_closed(&mut self, now: Instant, source: SourceId, result: &Result<(), Failure>) {
        let Some(running) = self.mirrors.closed(source) else {
            return;
        };
        match result {
            Ok(()) => self.mirrors.record_speed(now, &running, &self.world.stats),
            Err(failure) => {
                self.world.stats.record_failure(&running.uri);
                let uri = SafeUrl(&running.uri);
                if failure.retry == Retry::OtherMirror && self.plan.pool().is_mirrored() {
                    warn!(gid = %self.gid, "{uri} is not used any more: {failure}");
                } else {
                    debug!(gid = %self.gid, source = source.0, %uri, code = failure.code.code(), "{failure}");
                }
            }
        }
    }

    /// Carries out everything the plan and the swarm want now.
    fn act(&mut self) -> Option<Outcome> {
        self.note_changed();
        if let Some(outcome) = self.drive_swarm() {
            return Some(outcome);
        }
        while let Some(action) = self.plan.poll_action() {
            match action {
                Action::Peek => self.peek(),
                Action::Open {
                    source,
                    uri,
                    opening,
                    expect,
                    base,
                    by_piece,
                } => {
                    let target = Target {
                        uri,
                        opening,
                        expect,
                        base,
                        pieces: self.pieces().filter(|_| by_piece),
                    };
                    self.mirrors.open(source, target);
                }
                Action::Fetch(source, span) => {
                    if let Some(target) = &self.target {
                        self.mirrors.fetch(source, span, &target.files);
                    }
                }
                Action::Shrink(source, end) => self.mirrors.shrink(source, end),
                Action::Drop(source) => self.mirrors.drop_source(source, &self.world.stats),
                Action::Prepare { facts, discard } => self.prepare(facts, discard),
                Action::Hash(piece) => self.hash(piece),
                Action::BadPiece { piece, uri, banned } => {
                    let uri = SafeUrl(&uri);
                    let then = if banned {
                        "it is not used any more"
                    } else {
                        "it gets another chance"
                    };
                    warn!(gid = %self.gid, "piece {} from {uri} failed its hash check; {then}", piece.0);
                }
                Action::Save => self.save(),
                Action::Complete => self.complete(),
                Action::End(outcome) => return Some(outcome),
            }
        }
        if self.plan.is_seeding() && !std::mem::replace(&mut self.seeding, true) {
            self.begin_seeding();
            // Where nothing is to be given, that was the end already.
            return self.act();
        }
        None
    }

    fn drive_swarm(&mut self) -> Option<Outcome> {
        let torrent = self.torrent.as_mut()?;
        if let Some(outcome) = torrent.ended() {
            return Some(outcome);
        }
        let given_back = torrent.advance(Instant::now(), &mut self.plan, &self.world.stats);
        let (assembler, ended) = (torrent.assembler.clone(), torrent.ended());
        for piece in given_back {
            let assembler = assembler.clone();
            self.on_disk_thread(move || DiskEvent::GivenBack(piece, assembler.give_back(piece)));
        }
        ended
    }

    /// The torrent as mirrors know it that give its pieces.
    fn pieces(&self) -> Option<PieceSeed> {
        let content = self.content.as_ref()?;
        Some(PieceSeed {
            info_hash: content.torrent.as_ref()?.info.hash,
            piece_len: content.pieces.as_ref()?.piece_len,
        })
    }

    fn peek(&self) {
        let destination = self.destination.clone();
        self.on_disk_thread(move || DiskEvent::Done(DiskDone::Peeked(destination.peek())));
    }

    fn prepare(&mut self, facts: Facts, discard: bool) {
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

    fn hash(&self, piece: PieceIdx) {
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
    fn save(&mut self) {
        let Some(state) = self.state() else { return };
        let Some(target) = self.target.as_ref().filter(|target| !target.special) else {
            return;
        };
        let to_me = self.disk_to_me.clone();
        self.saver.save(state, target, move |saved| {
            let _ = to_me.send(DiskEvent::Done(DiskDone::Saved(saved)));
        });
    }

    fn state(&self) -> Option<State> {
        State::of(
            self.plan.map(),
            self.torrent.as_ref().map(|torrent| torrent.state()),
        )
    }

    fn complete(&mut self) {
        let Some(job) = self.last_steps() else { return };
        self.live.set_completed(self.plan.map().wanted_written());
        if self.settings.checksum.is_some() || self.digest.is_some() {
            self.tell(Phase::Checking);
        }
        let (live, give_up) = (self.live.clone(), self.give_up.clone());
        let making = self.on_disk_thread(move || {
            let result = job.run(&|verified| live.set_verified(Some(verified)), &give_up);
            live.set_verified(None);
            let result = result.map(|moved| {
                if let Some(moved) = moved {
                    show_moved(&live, moved);
                }
            });
            DiskEvent::Done(DiskDone::Completed(result))
        });
        self.making = Some(making);
    }

    fn last_steps(&self) -> Option<Finish> {
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
        })
    }

    fn on_disk_thread(&self, job: impl FnOnce() -> DiskEvent + Send + 'static) -> JoinHandle<()> {
        let to_me = self.disk_to_me.clone();
        tokio::task::spawn_blocking(move || {
            let _ = to_me.send(job());
        })
    }

    /// Pieces that came to be had, or not: shown, and told to everybody who has to know.
    fn note_changed(&mut self) {
        if self.settings.dry_run {
            return;
        }
        let map = self.plan.map_mut();
        let changed = map.take_changed();
        let have = map.have();
        if !changed.is_empty() || self.live.detail().bitfield.len() != have.len() {
            let mut detail = self.live.detail();
            if detail.bitfield.len() == have.len() {
                for piece in &changed {
                    detail.bitfield.set(piece.0, have.get(piece.0));
                }
            } else {
                detail.bitfield = have.clone();
            }
        }
        if let Some(torrent) = self.torrent.as_mut().filter(|_| !changed.is_empty()) {
            torrent.handle_changed(&changed, have);
        }
    }

    /// Brings what RPC reads up to date.
    fn publish(&mut self) {
        if self.settings.dry_run {
            return;
        }
        let map = self.plan.map();
        let partial = self.torrent.as_ref().map_or(0, |torrent| torrent.partial());
        let written = map.wanted_written();
        // Until the file is open the figure of the run before stands.
        let known = self.target.is_some() || map.is_complete();
        let mut completed = written;
        if let Some(total) = map.wanted_len() {
            self.live.set_total(total);
            completed = (written + partial).min(total);
        }
        if known {
            self.live.set_completed(completed);
        }
        let peers = self.torrent.as_mut().map_or(0, |torrent| torrent.publish());
        self.live.set_connections(self.mirrors.len() as u32 + peers);
        if std::mem::take(&mut self.mirrors.changed) {
            self.publish_sources();
        }
    }

    fn publish_sources(&self) {
        let uris = self.plan.pool().entries();
        let servers = self.mirrors.entries();
        let mut detail = self.live.detail();
        detail.uris = uris;
        detail.servers = servers;
    }

    /// Ends every source, takes in what they still wrote, and leaves the control file right.
    async fn finish(mut self, outcome: Outcome) -> Ended {
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
                detail.restored = self.destination.restored;
            } else {
                detail.written = Some(self.plan.map().trusted());
            }
        }
        self.torrent = torrent;
        match outcome {
            Outcome::Complete => {
                self.hand_over_document().await;
                self.leave().await
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
        if let Some(making) = self.making.take().filter(|_| !self.forced) {
            // It tells its outcome, or has broken down.
            let _ = making.await;
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

    /// The end of seeding; any other download has done its last steps already.
    async fn leave(&mut self) -> Ended {
        let Some(job) = self.last_steps().filter(|job| job.seeds) else {
            return Ended::Complete;
        };
        if job.keeps_control_file() {
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
        let (Some(target), Some(path)) = (&self.target, path) else {
            return;
        };
        let finished = Finished {
            gid: self.gid,
            follow: self.follow,
            path,
            content_type: self.origin.0.clone(),
            uri: self.origin.1.clone(),
            files: target.files.clone(),
            len: self.plan.map().written().total(),
        };
        if !finished.is_document() {
            return;
        }
        let read = tokio::task::spawn_blocking(move || finished.read()).await;
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

/// The files are elsewhere now.
fn show_moved(live: &Live, moved: Moved) {
    let mut detail = live.detail();
    detail.path = Some(moved.root);
    detail.layout = Some(Arc::new(moved.layout));
}

async fn next_input(torrent: &mut Option<Box<Torrent>>) -> Input {
    match torrent {
        Some(torrent) => torrent.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
