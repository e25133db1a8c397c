//! Rank 8: all downloads.
//!
//! One task owns the registry and the queue. Requests come in as commands, transfers report,
//! a clock ticks; after each input the consequences follow in a fixed order: free slots are
//! filled, the store is told what changed, events go out. Nothing here waits for disk or network:
//! transfers run on the data runtime, the store and session files are written on other threads.
//!
//! What is asked for shows at once, as in aria2: after `pause` a download reads `paused` and
//! stands at the front of the queue, after `remove` it is a result reading `removed`, although its
//! transfer still closes its files. The event comes when that is done. The slot is free at once.

mod bookkeeping;
mod brief;
mod bulk;
mod change;
mod command;
mod download;
mod embed;
mod ending;
mod event;
mod file_view;
mod footprint;
mod handle;
mod history;
mod intake;
mod keepsakes;
mod launch;
mod offspring;
mod origin;
mod queue;
mod reception;
mod registry;
mod reports;
mod request;
mod session;
mod slots;
mod snapshot;
mod space;
mod state;
mod syncer;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::debug;

pub use brief::{Brief, Line, Payload, PayloadKind};
pub use download::Download;
pub use embed::{Engine, EngineConfig};
pub use event::{Event, EventKind, Subject};
pub use file_view::FileView;
pub use footprint::Footprint;
pub use handle::EngineHandle;
pub use history::HistoryPage;
pub use intake::usable_uri;
pub use launch::{DataRuntime, Launcher, Running};
pub use queue::How;
pub use registry::{Counts, Downloads, Registry};
pub use request::{AddRequest, RequestError, Source, Upload};
pub use snapshot::Snapshot;
pub use state::{DownloadState, ListKind, Outcome, Then};

use ending::close_limit;
use handle::Command;
use slots::{Pace, slots};
use state::StateInput;

use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::base::rng::Rng;
use crate::base::units::Rate;
use crate::format::info_hash::InfoHash;
use crate::format::metainfo::Metainfo;
use crate::limit::{LimitBranch, LimitTree};
use crate::option::settings::EngineSettings;
use crate::option::{OptionSet, keys};
use crate::store::Store;
use crate::transfer::{Control, Document, Ended, Job, Phase, TransferReport, TransferSpec};

const TICK: Duration = Duration::from_secs(1);
/// How often the store hears of the progress of active downloads: for a look at the list after a
/// crash; the truth about bytes is in the control files.
const PROGRESS_TICKS: u32 = 10;
const EVENTS_MAX: usize = 2048;

/// The owner of all downloads.
struct Core {
    registry: Arc<Mutex<Registry>>,
    settings: EngineSettings,
    limits: Arc<LimitTree>,
    launcher: Box<dyn Launcher>,
    running: HashMap<Gid, Run>,
    report_in: mpsc::UnboundedReceiver<(Gid, TransferReport)>,
    report_out: mpsc::UnboundedSender<(Gid, TransferReport)>,
    store: Option<Store>,
    events: broadcast::Sender<Event>,
    pending: Vec<Event>,
    counts: watch::Sender<Counts>,
    global: watch::Sender<Arc<OptionSet>>,
    rng: Rng,
    ticks: u32,
    saver: session::Saver,
    /// Something changed since the session file was written.
    unsaved: bool,
    next_save: Option<Instant>,
    /// When to give up waiting for transfers; `None` while no end was asked for.
    closing: Option<Instant>,
    /// Requests about all downloads that are being worked off.
    bulks: VecDeque<bulk::Bulk>,
    syncer: syncer::Syncer,
    space: space::Space,
}

/// A transfer that runs, or was told to stop and has not ended.
struct Run {
    transfer: Box<dyn Running>,
    /// The torrent it is about.
    info_hash: Option<InfoHash>,
    limit: LimitBranch,
    /// The removed download was forgotten before its transfer ended; this is told then.
    farewell: Option<(EventKind, Arc<Subject>)>,
    /// Those who want to know when it has ended.
    waiters: Vec<handle::Reply<()>>,
    /// What the transfer of a magnet link has brought.
    metadata: Option<Arc<Metainfo>>,
    /// The torrent or Metalink that was fetched.
    document: Option<Box<Document>>,
}

impl Core {
    /// Gives back the settings it ended with.
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) -> EngineSettings {
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.settle();
        let mut deserted = false;
        while !self.may_end() {
            tokio::select! {
                command = commands.recv(), if !deserted => match command {
                    Some(command) => self.apply(command),
                    None => {
                        // Nobody is left who could ask for anything.
                        deserted = true;
                        self.close(false);
                    }
                },
                Some((gid, report)) = self.report_in.recv() => self.on_report(gid, report),
                gid = self.syncer.synced() => self.on_synced(gid),
                gids = self.space.found() => self.on_space(gids),
                _ = clock.tick() => self.on_tick(),
                () = tokio::task::yield_now(), if !self.bulks.is_empty() => self.go_on_with_bulk(),
                () = close_limit(self.closing) => {}
            }
            self.settle();
        }
        drop(commands);
        let settings = self.settings.clone();
        self.finish().await;
        settings
    }

    fn settle(&mut self) {
        self.start_waiting();
        self.save_changed();
        self.publish_events();
    }

    fn on_tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(PROGRESS_TICKS) {
            let mut registry = self.registry.lock();
            let active: Vec<Gid> = registry.active().map(Download::gid).collect();
            for gid in active {
                registry.edit(gid, |_| ());
            }
        }
        if let Some(store) = self.store.as_ref().filter(|store| store.wants_all()) {
            store.known(self.registry.lock().touch_all());
        }
        if self.ticks.is_multiple_of(space::LOOK_TICKS) {
            self.space.look(self.registry.lock().held());
        }
        let now = Instant::now();
        if self.unsaved && self.next_save.is_some_and(|at| at <= now) {
            self.save_session_file();
        }
    }

    /// Applies an input to a download; false if its state does not allow it.
    fn step(&mut self, gid: Gid, input: &StateInput) -> bool {
        self.step_or_force(gid, input, false)
    }

    /// As [`Self::step`]; with `force` a transfer that has to stop skips its good-byes.
    fn step_or_force(&mut self, gid: Gid, input: &StateInput, force: bool) -> bool {
        let quiet = *input == StateInput::Phase(Phase::Seeding) && self.is_quiet_completion(gid);
        let stepped = {
            let mut registry = self.registry.lock();
            let Ok(stepped) = registry.step(gid, input) else {
                return false;
            };
            registry.note_stop(gid, SystemTime::now());
            stepped
        };
        if stepped.stop
            && let Some(run) = self.running.get(&gid)
        {
            let leaves = DownloadState::Stopping(Then::Finish);
            let registry = self.registry.lock();
            let leaves = registry.get(gid).is_some_and(|now| *now.state() == leaves);
            run.transfer.send(match leaves {
                true => Control::Leave { force },
                false => Control::Stop { force },
            });
        }
        if let Some((kind, subject)) = stepped.event.filter(|_| !quiet) {
            self.tell(gid, kind, subject);
        }
        true
    }

    fn tell(&mut self, gid: Gid, kind: EventKind, subject: Subject) {
        match subject.error.filter(|_| kind == EventKind::Failed) {
            Some(code) => debug!(%gid, code = code.code(), path = subject.path, "download failed"),
            None => debug!(%gid, ?kind, path = subject.path, "download"),
        }
        self.pending.push(Event {
            gid,
            kind,
            subject: Arc::new(subject),
        });
    }

    fn start_waiting(&mut self) {
        if self.closing.is_some() || self.pauses_all() {
            return;
        }
        loop {
            let gid = {
                let registry = self.registry.lock();
                if self.busy_slots(&registry) >= self.slots() {
                    return;
                }
                registry.next_to_start()
            };
            let Some(gid) = gid.filter(|gid| !self.awaits_twin(*gid)) else {
                return;
            };
            if !self.start(gid) {
                return;
            }
        }
    }

    fn start(&mut self, gid: Gid) -> bool {
        if !self.step(gid, &StateInput::Start) {
            return false;
        }
        if let Some((hash, twin)) = self.twin_of(gid) {
            let text = format!("InfoHash {hash} is in use by GID#{twin} already");
            let failure = Failure::fatal(ErrorCode::DuplicateInfoHash, text);
            return self.step(gid, &StateInput::Ended(Ended::Failed(failure)));
        }
        let launch = self.registry.lock().edit(gid, |download| {
            let (down, up) = limits_of(&download.options);
            let brief = download.brief();
            TransferSpec {
                gid,
                job: brief.map_or(Job::Uris, |brief| brief.job.clone()),
                uris: download.uris.to_vec(),
                web_seeds: brief.map_or_else(Vec::new, |brief| brief.web_seeds.clone()),
                options: download.options.clone(),
                is_torrent_file: download.belongs_to().is_some(),
                live: download.begin_live(),
                limit: self.limits.branch(down, up),
                finish_log: self.store.as_ref().map(|store| store.finish_log().clone()),
                follows: download.following().is_some(),
                reports: self.report_out.clone(),
            }
        });
        let Some(launch) = launch else {
            return false;
        };
        debug!(%gid, uris = launch.uris.len(), "transfer starts");
        let limit = launch.limit.clone();
        let info_hash = self.info_hash_of(gid);
        let transfer = self.launcher.launch(launch);
        self.running.insert(
            gid,
            Run {
                transfer,
                info_hash,
                limit,
                farewell: None,
                waiters: Vec::new(),
                metadata: None,
                document: None,
            },
        );
        true
    }

    fn info_hash_of(&self, gid: Gid) -> Option<InfoHash> {
        self.registry.lock().get(gid)?.brief()?.info_hash()
    }

    /// The torrent of the same name whose transfer runs; it may be forgotten already.
    fn twin_of(&self, gid: Gid) -> Option<(InfoHash, Gid)> {
        let hash = self.info_hash_of(gid)?;
        let is_twin = |(other, run): &(&Gid, &Run)| **other != gid && run.info_hash == Some(hash);
        let (twin, _) = self.running.iter().find(is_twin)?;
        Some((hash, *twin))
    }

    /// Whether a torrent has to wait until the one of the same name has ended.
    fn awaits_twin(&self, gid: Gid) -> bool {
        self.twin_of(gid).is_some_and(|(_, twin)| {
            let registry = self.registry.lock();
            let twin = registry.get(twin);
            twin.is_none_or(|twin| matches!(twin.state(), DownloadState::Stopping(_)))
        })
    }

    /// Active downloads that take a slot.
    fn busy_slots(&self, registry: &Registry) -> usize {
        if !self.settings.seeders_are_free {
            return registry.counts().active;
        }
        let seeds =
            |download: &&Download| *download.state() != DownloadState::Active(Phase::Seeding);
        registry.active().filter(seeds).count()
    }

    fn slots(&self) -> usize {
        let pace = self.settings.concurrent_by_speed;
        let pace = pace.map(|(base, factor)| Pace { base, factor });
        let speed = match pace {
            Some(_) => self.limits.down_meter().speed(Instant::now()),
            None => 0,
        };
        slots(self.settings.concurrent_max, pace, speed)
    }

    fn publish_events(&mut self) {
        for event in self.pending.drain(..) {
            // An error means that nobody listens.
            let _ = self.events.send(event);
        }
        let now = self.registry.lock().counts();
        self.counts
            .send_if_modified(|counts| std::mem::replace(counts, now) != now);
    }
}

/// A download's own limits, down and up.
fn limits_of(options: &OptionSet) -> (Rate, Rate) {
    let rate = |bytes: i64| Rate(bytes.max(0) as u64);
    (
        rate(options.get(keys::MAX_DOWNLOAD_LIMIT)),
        rate(options.get(keys::MAX_UPLOAD_LIMIT)),
    )
}
