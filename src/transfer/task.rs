//! Driver of one download: the only `select!`. It carries out what the plan decides and tells
//! the plan what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::base::error::{Failure, Retry};
use crate::base::gid::Gid;
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::secret::SafeUrl;
use crate::base::units::SourceId;
use crate::format::control_file::ControlFile;
use crate::limit::LimitBranch;
use crate::option::OptionSet;
use crate::option::settings::{DiskSettings, HttpSettings, TransferSettings};
use crate::source::http::HttpShared;
use crate::source::{Facts, Report, Target};
use crate::storage::Files;
use crate::storage::digest::Checksum;
use crate::storage::progress::Durability;

use super::destination::{Destination, Opened, Told};
use super::finish;
use super::handle::{Control, Ended, Phase, TransferReport, TransferSpec, World};
use super::keeper::ControlKeeper;
use super::live::Live;
use super::mirrors::Mirrors;
use super::plan::{Action, DiskDone, Outcome, Plan, PlanSettings};
use super::retry::RetryPolicy;
use super::sync_pace::SyncPace;

/// Reports handled between two looks at everything else.
const REPORTS_AT_ONCE: usize = 256;

/// The open file.
struct OpenFile {
    files: Arc<Files>,
    keeper: Arc<ControlKeeper>,
    special: bool,
}

pub(super) struct Task {
    gid: Gid,
    world: Arc<World>,
    live: Arc<Live>,
    limit: LimitBranch,
    to_engine: UnboundedSender<(Gid, TransferReport)>,
    controls: UnboundedReceiver<Control>,
    settings: Arc<TransferSettings>,
    destination: Arc<Destination>,
    plan: Plan,
    mirrors: Mirrors,
    disk_to_me: UnboundedSender<DiskEvent>,
    disk: UnboundedReceiver<DiskEvent>,
    target: Option<OpenFile>,
    /// `Last-Modified` of what is being fetched.
    modified: Option<i64>,
    /// The server's digest of what is being fetched.
    digest: Option<Checksum>,
    /// Tells a long disk job that nobody waits for it any more.
    give_up: Arc<AtomicBool>,
    forced: bool,
    /// The control file is being replaced.
    saving: Option<JoinHandle<()>>,
    sync_pace: Arc<SyncPace>,
}

enum DiskEvent {
    Opened(Box<Result<Opened, Failure>>),
    Done(DiskDone),
}

impl Task {
    pub(super) fn new(spec: TransferSpec, controls: UnboundedReceiver<Control>) -> Self {
        let settings = Arc::new(TransferSettings::from(&spec.options));
        let (disk_to_me, disk) = mpsc::unbounded_channel();
        let (prior, restored) = {
            let mut detail = spec.live.detail();
            detail.down = Some(spec.limit.down_meter().clone());
            detail.up = Some(spec.limit.up_meter().clone());
            let path = detail.path.clone();
            let prior = path.map(|path| (path, detail.written.take().unwrap_or_default()));
            (prior, detail.restored.take())
        };
        let destination = Destination {
            gid: spec.gid,
            settings: settings.clone(),
            disk: DiskSettings::from(&spec.options),
            uri: spec.uris.first().cloned().unwrap_or_else(|| Arc::from("")),
            prior,
            restored,
        };
        let rng = Rng::from_entropy();
        let plan = Plan::new(
            Instant::now(),
            &spec.uris,
            plan_settings(&settings, &spec.options),
            rng,
        );
        let http = HttpShared {
            gid: spec.gid,
            settings: HttpSettings::from(&spec.options),
            net: spec.world.net.clone(),
            modified_since: destination.local_time(),
        };
        let mirrors = Mirrors::new(http, spec.limit.clone());
        Self {
            gid: spec.gid,
            world: spec.world,
            live: spec.live,
            limit: spec.limit,
            to_engine: spec.reports,
            controls,
            settings,
            destination: Arc::new(destination),
            plan,
            mirrors,
            disk_to_me,
            disk,
            target: None,
            modified: None,
            digest: None,
            give_up: Arc::default(),
            forced: false,
            saving: None,
            sync_pace: Arc::default(),
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        self.tell(Phase::Opening);
        let mut batch = Vec::with_capacity(REPORTS_AT_ONCE);
        let outcome = loop {
            if let Some(outcome) = self.act() {
                break outcome;
            }
            self.publish();
            let due = self.plan.poll_timeout(Instant::now());
            tokio::select! {
                biased;
                control = self.controls.recv() => self.handle_control(control),
                Some(event) = self.disk.recv() => self.handle_disk(event),
                _ = self.mirrors.reports.recv_many(&mut batch, REPORTS_AT_ONCE) => {
                    for (source, report) in batch.drain(..) {
                        self.handle_report(source, report);
                    }
                }
                () = sleep_until(due) => self.plan.handle_timeout(Instant::now(), &self.world.stats),
            }
        };
        self.finish(outcome).await
    }

    fn tell(&self, phase: Phase) {
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
            Some(Control::Uris {
                file: _,
                remove,
                add,
                at,
            }) => {
                let now = Instant::now();
                self.plan
                    .handle_uris(now, &remove, &add, at, &self.world.stats);
                self.mirrors.changed = true;
            }
            Some(Control::Options(options)) => {
                let changed = TransferSettings::from(&options);
                self.limit.set(changed.down_limit, changed.up_limit);
            }
            Some(Control::Save) => self.save(),
        }
    }

    fn handle_disk(&mut self, event: DiskEvent) {
        let done = match event {
            DiskEvent::Done(done) => done,
            DiskEvent::Opened(opened) => {
                DiskDone::Prepared(opened.map(|opened| self.adopt(opened)))
            }
        };
        self.plan
            .handle_disk(Instant::now(), done, &self.world.stats);
    }

    /// The file is open: show it.
    fn adopt(&mut self, opened: Opened) -> super::plan::Prepared {
        let Opened {
            files,
            path,
            prepared,
            special,
        } = opened;
        let total = prepared.total.unwrap_or(0);
        self.live.set_total(total);
        self.live.set_piece_len(prepared.piece_len);
        self.live.set_allocated(None);
        self.live.detail().path = Some(path.clone());
        self.target = Some(OpenFile {
            keeper: Arc::new(ControlKeeper::new(files.clone(), path)),
            files,
            special,
        });
        self.tell(Phase::Fetching);
        prepared
    }

    fn handle_report(&mut self, source: SourceId, report: Report) {
        let now = Instant::now();
        match &report {
            Report::Opened(facts) => self.note_opened(source, facts),
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
        if self.digest.is_none() {
            self.digest.clone_from(&facts.digest);
        }
        // A dry run or a name that is taken never gets further than this.
        let mut detail = self.live.detail();
        if detail.path.is_none() {
            detail.path = Some(self.destination.wanted_path(facts));
        }
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

    /// Carries out everything the plan wants now.
    fn act(&mut self) -> Option<Outcome> {
        while let Some(action) = self.plan.poll_action() {
            match action {
                Action::Peek => self.peek(),
                Action::Open {
                    source,
                    uri,
                    opening,
                    expect,
                    base,
                } => {
                    let target = Target {
                        uri,
                        opening,
                        expect,
                        base,
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
        None
    }

    fn peek(&self) {
        let destination = self.destination.clone();
        self.on_disk_thread(move || DiskEvent::Done(DiskDone::Peeked(destination.peek())));
    }

    fn prepare(&self, facts: Facts, discard: bool) {
        if self.settings.dry_run {
            let total = facts.identity.len;
            self.live.set_total(total.unwrap_or(0));
            self.live.set_completed(total.unwrap_or(0));
            let prepared = super::plan::Prepared {
                total,
                piece_len: self.settings.piece_len,
                written: RangeSet::new(),
            };
            let _ = self
                .disk_to_me
                .send(DiskEvent::Done(DiskDone::Prepared(Ok(prepared))));
            return;
        }
        self.tell(Phase::Allocating);
        let (destination, world) = (self.destination.clone(), self.world.clone());
        let (live, give_up) = (self.live.clone(), self.give_up.clone());
        self.on_disk_thread(move || {
            let allocated = |bytes| live.set_allocated(Some(bytes));
            let verified = |bytes| live.set_verified(Some(bytes));
            let told = Told {
                allocated: &allocated,
                verified: &verified,
            };
            let opened = destination.prepare(&facts, discard, &world.paths, &told, &give_up);
            live.set_verified(None);
            DiskEvent::Opened(Box::new(opened))
        });
    }

    fn hash(&self, piece: crate::base::units::PieceIdx) {
        // Only sources of later issues (Metalink, BitTorrent) bring piece hashes; the plan asks
        // for a hash only where its settings say there are some.
        debug_assert!(false, "no piece hashes were given for {piece:?}");
    }

    /// Replaces the control file with what is written by now.
    fn save(&mut self) {
        let (Some(target), Some(control)) = (&self.target, self.control_file()) else {
            return;
        };
        if target.special {
            return;
        }
        let (keeper, turn) = (target.keeper.clone(), target.keeper.turn());
        let written = self.plan.map().written().total();
        let (pace, durability) = (self.sync_pace.clone(), self.sync_pace.durability(written));
        let job = self.on_disk_thread(move || {
            let began = Instant::now();
            let saved = keeper.save(turn, &control, durability);
            pace.note(durability, began.elapsed());
            DiskEvent::Done(DiskDone::Saved(saved))
        });
        self.saving = Some(job);
    }

    fn control_file(&self) -> Option<ControlFile> {
        let map = self.plan.map();
        let piece_len = u32::try_from(map.piece_len()).ok()?;
        ControlFile::from_ranges(&map.trusted(), map.total()?, piece_len)
    }

    fn complete(&mut self) {
        let Some(target) = &self.target else { return };
        self.live.set_completed(self.plan.map().written().total());
        let job = finish::Finish {
            files: target.files.clone(),
            keeper: target.keeper.clone(),
            special: target.special,
            settings: self.settings.clone(),
            modified: self.modified,
            total: self.plan.map().total(),
            digest: self.digest.clone(),
        };
        if self.settings.checksum.is_some() || self.digest.is_some() {
            self.tell(Phase::Checking);
        }
        let (live, give_up) = (self.live.clone(), self.give_up.clone());
        self.on_disk_thread(move || {
            let result = job.run(&|bytes| live.set_verified(Some(bytes)), &give_up);
            live.set_verified(None);
            let result = result.map(|moved| {
                if let Some(path) = moved {
                    live.detail().path = Some(path);
                }
            });
            DiskEvent::Done(DiskDone::Completed(result))
        });
    }

    fn on_disk_thread(&self, job: impl FnOnce() -> DiskEvent + Send + 'static) -> JoinHandle<()> {
        let to_me = self.disk_to_me.clone();
        tokio::task::spawn_blocking(move || {
            let _ = to_me.send(job());
        })
    }

    /// Brings what RPC reads up to date.
    fn publish(&mut self) {
        if self.settings.dry_run {
            return;
        }
        let map = self.plan.map_mut();
        let changed = map.take_changed();
        self.live.set_completed(map.written().total());
        if let Some(total) = map.total() {
            self.live.set_total(total);
        }
        let have = map.have();
        if !changed.is_empty() || self.live.detail().bitfield.len() != have.len() {
            let mut detail = self.live.detail();
            if detail.bitfield.len() == have.len() {
                for piece in changed {
                    detail.bitfield.set(piece.0, have.get(piece.0));
                }
            } else {
                detail.bitfield = have.clone();
            }
        }
        if std::mem::take(&mut self.mirrors.changed) {
            self.publish_sources();
        }
    }

    fn publish_sources(&self) {
        let uris = self.plan.pool().entries();
        let servers = self.mirrors.entries();
        self.live.set_connections(self.mirrors.len() as u32);
        let mut detail = self.live.detail();
        detail.uris = uris;
        detail.servers = servers;
    }

    /// Ends every source, takes in what they still wrote, and leaves the control file right.
    async fn finish(mut self, outcome: Outcome) -> Ended {
        self.give_up.store(true, Ordering::Release);
        self.mirrors.end_all(!self.forced).await;
        while let Ok((source, report)) = self.mirrors.reports.try_recv() {
            if let Report::Wrote(span) = report {
                self.plan.handle_last_write(source, span);
            }
        }
        self.publish();
        {
            let mut detail = self.live.detail();
            detail.servers.clear();
            detail.down = None;
            detail.up = None;
            detail.written = Some(self.plan.map().trusted());
        }
        if outcome != Outcome::Complete {
            if let Some(saving) = self.saving.take().filter(|_| !self.forced) {
                // Two at once would write the same temporary file.
                let _ = saving.await;
            }
            self.save_at_the_end().await;
            self.forget_lost();
        }
        match outcome {
            Outcome::Complete => Ended::Complete,
            Outcome::Stopped => Ended::Stopped,
            Outcome::Failed(failure) => Ended::Failed(failure),
        }
    }

    /// Takes back what was reported as written and then failed in the queue of a slow disk.
    fn forget_lost(&self) {
        let lost = self.target.as_ref().map(|target| target.files.lost());
        if let Some(written) = &mut self.live.detail().written {
            for span in lost.unwrap_or_default() {
                written.remove(span);
            }
        }
    }

    async fn save_at_the_end(&self) {
        let (Some(target), Some(control)) = (&self.target, self.control_file()) else {
            return;
        };
        if target.special {
            return;
        }
        let (keeper, turn) = (target.keeper.clone(), target.keeper.turn());
        let saved =
            tokio::task::spawn_blocking(move || keeper.save(turn, &control, Durability::Process))
                .await;
        if let Ok(Err(failure)) = saved {
            warn!(gid = %self.gid, "the control file could not be saved: {failure}");
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn plan_settings(settings: &TransferSettings, options: &OptionSet) -> PlanSettings {
    PlanSettings {
        split: settings.split,
        per_host_max: settings.per_server_max,
        span_min: settings.split_len_min,
        selector: settings.piece_selector,
        uri_selector: settings.uri_selector,
        reuse_uri: settings.reuse_uri,
        retry: RetryPolicy {
            tries_max: settings.tries_max,
            wait: settings.retry_wait,
            not_found_max: settings.not_found_max.unwrap_or(0),
        },
        always_resume: settings.always_resume,
        resume_failures_max: settings.resume_failures_max.unwrap_or(0),
        dry_run: settings.dry_run,
        use_head: HttpSettings::from(options).use_head,
        save_gap_max: settings.save_interval,
        hashed: false,
        swarm: false,
        piece_len: settings.piece_len,
    }
}
