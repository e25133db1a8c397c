//! The engine as a library: everything but RPC and console, on threads of its own.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::handle::Command;
use super::keepsakes;
use super::launch::{DataRuntime, Launcher};
use super::registry::{Counts, Registry};
use super::session::{self, Saver};
use super::space::Space;
use super::syncer::Syncer;
use super::{Core, EVENTS_MAX, EngineHandle, Event};
use crate::base::error::{ErrorCode, Failure};
use crate::base::rng::{Rng, random_bytes};
use crate::bittorrent::bt_net::BtNet;
use crate::bittorrent::peer_filter::PeerFilter;
use crate::limit::LimitTree;
use crate::net::Net;
use crate::option::settings::EngineSettings;
use crate::option::{OptionSet, keys};
use crate::store::{Restored, Store};
use crate::transfer::World;
use crate::transfer::claims::PathClaims;
use crate::transfer::stats::ServerStats;

/// For what the end of the process means to the DHT's files and the router's port mappings.
const BT_STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// What an engine starts with.
#[derive(Clone, Default)]
pub struct EngineConfig {
    /// Options of the process; every download begins with them.
    pub options: OptionSet,
    /// Where the session is kept between processes; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
}

/// A running engine. Dropping it ends it in haste; [`Engine::shutdown`] does so in order.
///
/// Two runtimes keep RPC quick: `control` (one thread: the engine and whoever talks to it) and
/// `data` (transfers).
pub struct Engine {
    handle: EngineHandle,
    control: Handle,
    data: Handle,
    /// Held as long as tasks on the control runtime have to live.
    release: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    early: Option<broadcast::Receiver<Event>>,
}

impl Engine {
    /// Opens the session, if there is one, and starts what waits. Blocks, up to two seconds if
    /// another process is just leaving the state directory.
    ///
    /// # Errors
    /// The state directory cannot be had, or the system gives no thread.
    pub fn start(config: EngineConfig) -> Result<Engine, Failure> {
        // One worker more than there are cores: every core can write, and somebody is left when a
        // disk holds all of these writes (`storage::inline_gate`).
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let data = Builder::new_multi_thread()
            .worker_threads(cores + 1)
            .thread_name("arioso-data")
            .enable_all()
            .build()
            .map_err(|error| no_runtime(&error))?;
        let net = Net::new();
        let world = Arc::new(World {
            bt: BtNet::new(net.clone(), &config.options),
            net,
            paths: PathClaims::default(),
            stats: ServerStats::default(),
        });
        keepsakes::load(&world, &EngineSettings::from(&config.options));
        let launcher = Box::new(DataRuntime {
            world: Arc::clone(&world),
            runtime: data.handle().clone(),
        });
        Self::start_with(config, data, launcher, Some(world))
    }

    fn start_with(
        config: EngineConfig,
        data: Runtime,
        launcher: Box<dyn Launcher>,
        world: Option<Arc<World>>,
    ) -> Result<Engine, Failure> {
        let control = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| no_runtime(&error))?;
        let filter = world.as_ref().map(|world| world.bt.filter().clone());
        let (core, handle, commands) = assemble(config, launcher, filter.unwrap_or_default())?;
        if let Some(world) = &world {
            handle.read(|registry| keepsakes::claim_kept(world, registry));
            data.spawn(follow_options(world.bt.clone(), handle.global_options()));
        }
        let (release, released) = oneshot::channel();
        let mut engine = Engine {
            early: Some(handle.events()),
            handle,
            control: control.handle().clone(),
            data: data.handle().clone(),
            release: Some(release),
            thread: None,
        };
        let thread = std::thread::Builder::new()
            .name("arioso-control".to_owned())
            .spawn(move || {
                control.block_on(async {
                    let settings = core.run(commands).await;
                    if let Some(world) = world {
                        keepsakes::save(&world, &settings);
                        // A router or disk that does not answer is not waited for.
                        let _ = tokio::time::timeout(BT_STOP_TIME_MAX, world.bt.stop()).await;
                    }
                    // Others on this runtime may still have something to say.
                    let _ = released.await;
                });
                data.shutdown_background();
            })
            .map_err(|error| no_runtime(&error))?;
        engine.thread = Some(thread);
        Ok(engine)
    }

    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Events from the very start on, those of downloads that an earlier process left included;
    /// once. Later calls are as [`EngineHandle::events`].
    pub fn take_events(&mut self) -> broadcast::Receiver<Event> {
        self.early.take().unwrap_or_else(|| self.handle.events())
    }

    /// The runtime of the engine's own thread. What runs here must never block.
    pub fn control(&self) -> &Handle {
        &self.control
    }

    /// The runtime of the transfers.
    pub fn data(&self) -> &Handle {
        &self.data
    }

    /// Runs a future to its end on the calling thread; for programs without a runtime of their
    /// own. Not to be called from within one.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.control.block_on(future)
    }

    /// Ends in order: transfers save their progress and stop, then the session is saved.
    /// `force` cuts good-byes to trackers short.
    pub async fn shutdown(self, force: bool) {
        // An error means that it has ended already.
        let _ = self.handle.shutdown(force).await;
        self.handle.ended().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        // An error means that it has ended already.
        let _ = self
            .handle
            .commands
            .send(Command::Shutdown { force: true, reply });
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Assembled = (Core, EngineHandle, mpsc::UnboundedReceiver<Command>);

/// Global options that matter to what all torrents share.
async fn follow_options(bt: Arc<BtNet>, mut options: watch::Receiver<Arc<OptionSet>>) {
    while options.changed().await.is_ok() {
        let path = options.borrow_and_update().get(keys::BT_PEER_BLOCKLIST);
        bt.set_blocklist(path.as_deref().map(Path::new)).await;
    }
}

/// The engine without its threads.
pub(super) fn assemble(
    config: EngineConfig,
    launcher: Box<dyn Launcher>,
    peer_filter: Arc<PeerFilter>,
) -> Result<Assembled, Failure> {
    let (store, restored) = match &config.state_dir {
        Some(dir) => {
            let (store, restored) = Store::open(dir)?;
            (Some(store), restored)
        }
        None => (None, Restored::default()),
    };
    let settings = EngineSettings::from(&config.options);
    let options = Arc::new(config.options);
    let mut registry = Registry::new(Arc::clone(&options), session_id());
    registry.set_stopped_max(settings.results_max, settings.keep_unfinished_results);
    session::restore(&mut registry, restored.records, restored.same_boot);
    if let Some(store) = &store {
        session::recall_finished(&mut registry, store.finish_log());
    }

    let registry = Arc::new(Mutex::new(registry));
    let limits = LimitTree::new(settings.down_limit, settings.up_limit);
    let (commands, inbox) = mpsc::unbounded_channel();
    let (report_out, report_in) = mpsc::unbounded_channel();
    let events = broadcast::Sender::new(EVENTS_MAX);
    let counts = watch::Sender::new(Counts::default());
    let global = watch::Sender::new(options);
    let handle = EngineHandle {
        commands,
        registry: Arc::clone(&registry),
        events: events.downgrade(),
        counts: counts.subscribe(),
        global: global.subscribe(),
        limits: Arc::clone(&limits),
        forgotten: Arc::new(restored.forgotten),
        peer_filter,
    };
    let mut core = Core {
        registry,
        saver: Saver::new(settings.save_session.clone(), config.state_dir.as_deref()),
        settings,
        limits,
        launcher,
        running: HashMap::new(),
        report_in,
        report_out,
        store,
        events,
        pending: Vec::new(),
        counts,
        global,
        rng: Rng::from_entropy(),
        ticks: 0,
        unsaved: false,
        next_save: None,
        closing: None,
        bulks: VecDeque::new(),
        syncer: Syncer::default(),
        space: Space::default(),
    };
    core.set_history_max();
    core.seek_torrents();
    core.plan_next_save(Instant::now());
    Ok((core, handle, inbox))
}

/// 20 random bytes, as aria2 has it.
fn session_id() -> String {
    let mut id = String::with_capacity(40);
    for byte in random_bytes::<20>() {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

fn no_runtime(error: &std::io::Error) -> Failure {
    Failure::from_io(error, ErrorCode::Unknown, "threads")
}
