//! The life of the process between start and end: events are told and hooked, the clock ticks,
//! signals and limits end it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::{error, info, warn};

use super::console::Console;
use super::feed::{Fed, Feed};
use super::process;
use crate::base::error::{ErrorCode, Failure};
use crate::engine::{EngineHandle, Event};
use crate::observe::hook::Hooks;
use crate::observe::log::{FileLog, Log};
use crate::option::OptionSet;
use crate::option::settings::{ConsoleSettings, EngineSettings, HookSettings};
use crate::rpc::RpcServer;

/// The console's clock.
const TICK: Duration = Duration::from_secs(1);

/// How long the end waits for hooks to be started and for text to be written.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Everything that looks at the engine from outside.
pub struct Session {
    pub engine: EngineHandle,
    pub events: broadcast::Receiver<Event>,
    pub console: Console,
    pub hooks: Hooks,
    pub log: Log,
    /// What `log` was last told.
    pub file_log: FileLog,
    pub limits: EndLimits,
    pub signals: Signals,
    /// A server waits for more when nothing is left to do.
    pub is_server: bool,
    /// Lets callers in once the given downloads are known.
    pub rpc: Option<RpcServer>,
}

/// When the program ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndLimits {
    /// `stop`
    pub after: Option<Duration>,
    /// `stop-with-process`
    pub with_process: Option<u32>,
}

impl From<&EngineSettings> for EndLimits {
    fn from(settings: &EngineSettings) -> Self {
        Self {
            after: settings.stop_after,
            with_process: settings.stop_with_process,
        }
    }
}

/// How the session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// False: a second signal came before everything was saved.
    pub saved: bool,
    /// Something about the input that shows in the exit status.
    pub complaint: Option<ErrorCode>,
}

impl Session {
    /// Runs until all downloads are done (a server: until it is told to end), then until
    /// everything is saved.
    pub async fn run(&mut self, feed: Feed) -> End {
        let mut options = self.engine.global_options();
        // Somebody may have been quick to change them over RPC.
        self.follow(&options);
        let mut counts = self.engine.counts();
        let mut clock = interval_at((Instant::now() + TICK).into(), TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let engine = self.engine.clone();
        let ended = engine.ended();
        tokio::pin!(ended);
        // Whoever asks first sees all downloads that were given, as with aria2.
        if feed.may_last() {
            self.open_rpc();
        }
        let feeding = feed.run(self.engine.clone());
        tokio::pin!(feeding);
        let mut all_fed = false;
        let mut complaint = None;
        let mut ending = false;
        let end_time = self.limits.after.map(|after| Instant::now() + after);
        loop {
            tokio::select! {
                () = &mut ended => return End { saved: true, complaint },
                event = self.events.recv() => self.on_event(event),
                fed = &mut feeding, if !all_fed => {
                    all_fed = true;
                    complaint = complaint_of(&fed);
                    self.open_rpc();
                    match fed {
                        Ok(fed) => self.console.take_fed(fed),
                        Err(_) if ending => {}
                        Err(_) => {
                            ending = true;
                            begin_end(&engine).await;
                        }
                    }
                }
                Ok(()) = counts.changed(), if !ending => {}
                Ok(()) = options.changed() => self.follow(&options),
                _ = clock.tick() => {
                    let now = Instant::now();
                    let console = &mut self.console;
                    self.engine.read(|registry| console.tick(registry, now));
                    if !ending && self.limit_reached(end_time, now) {
                        ending = true;
                        begin_end(&engine).await;
                    }
                }
                () = self.signals.next() => {
                    if ending {
                        return End { saved: false, complaint };
                    }
                    info!("Stopping. A second signal stops at once.");
                    ending = true;
                    begin_end(&engine).await;
                }
            }
            if all_fed && !ending && !self.is_server && self.is_idle() {
                ending = true;
                begin_end(&engine).await;
            }
        }
    }

    fn open_rpc(&mut self) {
        if let Some(rpc) = &mut self.rpc {
            rpc.open();
        }
    }

    fn is_idle(&self) -> bool {
        let counts = self.engine.read(|registry| registry.counts());
        counts.active == 0 && counts.ready == 0
    }

    fn limit_reached(&mut self, end_time: Option<Instant>, now: Instant) -> bool {
        if end_time.is_some_and(|end| end <= now) {
            info!("The time given with --stop is over.");
            return true;
        }
        let process = self.limits.with_process;
        let gone = process.filter(|process| !process::is_alive(*process));
        if let Some(process) = gone {
            info!("Process {process} has ended, and so do we.");
        }
        gone.is_some()
    }

    fn on_event(&mut self, event: Result<Event, RecvError>) {
        match event {
            Ok(event) => self.take(&event),
            Err(RecvError::Lagged(count)) => tell_lost(count),
            // The engine's end is noticed elsewhere.
            Err(RecvError::Closed) => {}
        }
    }

    fn take(&mut self, event: &Event) {
        let console = &mut self.console;
        let hooks = self.engine.read(|registry| {
            console.handle(event, registry);
            HookSettings::from(registry.global_options())
        });
        self.hooks.handle(&hooks, event);
    }

    /// Brings the log and the table of results to where `aria2.changeGlobalOption` wants them.
    fn follow(&mut self, options: &watch::Receiver<Arc<OptionSet>>) {
        let settings = ConsoleSettings::from(&**options.borrow());
        self.console.show_results(settings.results);
        let wanted = FileLog::from(&settings);
        if wanted == self.file_log {
            return;
        }
        if let Err(error) = self.log.change(&wanted) {
            error!("The log stays as it is: {error}");
        }
        self.file_log = wanted;
    }

    /// What is left to do once the engine has ended: late events, hooks, the table of results.
    pub fn finish(mut self) {
        loop {
            match self.events.try_recv() {
                Ok(event) => self.take(&event),
                Err(TryRecvError::Lagged(count)) => tell_lost(count),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.hooks.finish(FAREWELL_MAX);
        let console = &self.console;
        let is_server = self.is_server;
        self.engine
            .read(|registry| console.print_results(registry, is_server));
    }
}

async fn begin_end(engine: &EngineHandle) {
    // It fails only when the engine has ended already, which the loop notices.
    let _ = engine.shutdown(false).await;
}

fn complaint_of(fed: &Result<Fed, Failure>) -> Option<ErrorCode> {
    match fed {
        Ok(fed) if fed.refused.is_empty() => None,
        Ok(_) => Some(ErrorCode::Unknown),
        Err(failure) => {
            error!("{failure}");
            Some(failure.code)
        }
    }
}

fn tell_lost(count: u64) {
    warn!("{count} events came too fast; their hooks were not run");
}

/// The signals that end the program: all three mean the same.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// The system does not let signals be caught.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
