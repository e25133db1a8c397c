//! What RPC, console and embedders hold: calls that become messages to the engine, and looks into
//! its registry.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::intake::DownloadSpec;
use super::queue::How;
use super::reception;
use super::registry::{Counts, Registry};
use super::request::{AddRequest, RequestError};
use super::snapshot::Snapshot;
use super::{Event, EventKind};
use crate::base::gid::Gid;
use crate::bittorrent::peer_filter::PeerFilter;
use crate::limit::LimitTree;
use crate::option::{OptionId, OptionSet};
use crate::store::Search;

/// The engine, as others see it. Cheap to clone. When the engine has ended, calls give
/// [`RequestError::ShutDown`], and what was last known can still be read.
#[derive(Clone)]
pub struct EngineHandle {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) registry: Arc<Mutex<Registry>>,
    /// Weak, so that receivers learn of the engine's end.
    pub(super) events: broadcast::WeakSender<Event>,
    pub(super) counts: watch::Receiver<Counts>,
    pub(super) global: watch::Receiver<Arc<OptionSet>>,
    pub(super) limits: Arc<LimitTree>,
    /// GIDs of an earlier process that are gone but may stand in an old session file.
    pub(super) forgotten: Arc<std::collections::HashSet<Gid>>,
    pub(super) peer_filter: Arc<PeerFilter>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

/// What the engine can be told.
pub(super) enum Command {
    Add {
        specs: Vec<DownloadSpec>,
        position: Option<usize>,
        reply: Reply<Vec<Gid>>,
    },
    Control {
        gid: Gid,
        verb: Verb,
        reply: Reply<()>,
    },
    ControlAll {
        verb: Verb,
        reply: Reply<()>,
    },
    ChangePosition {
        gid: Gid,
        offset: i64,
        how: How,
        reply: Reply<i64>,
    },
    ChangeUri {
        gid: Gid,
        change: Box<UriChange>,
        reply: Reply<(u64, u64)>,
    },
    ChangeOption {
        gid: Gid,
        changes: Vec<(OptionId, String)>,
        reply: Reply<()>,
    },
    ChangeGlobalOption {
        changes: Vec<(OptionId, String)>,
        reply: Reply<()>,
    },
    PurgeResults {
        reply: Reply<()>,
    },
    RemoveResult {
        gid: Gid,
        reply: Reply<()>,
    },
    SearchHistory {
        search: Search,
    },
    ForgetHistory {
        gid: Gid,
        reply: Reply<()>,
    },
    SaveSession {
        reply: Reply<()>,
    },
    ExportSession {
        path: PathBuf,
        reply: Reply<()>,
    },
    UntilQuiet {
        gid: Gid,
        reply: Reply<()>,
    },
    Shutdown {
        force: bool,
        reply: Reply<()>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Pause { force: bool },
    Unpause,
    Remove { force: bool },
}

pub(super) struct UriChange {
    pub file_index: usize,
    pub remove: Vec<String>,
    pub add: Vec<String>,
    pub at: Option<usize>,
}

impl EngineHandle {
    /// Peers that no torrent talks to; shared by all.
    pub fn peer_filter(&self) -> &Arc<PeerFilter> {
        &self.peer_filter
    }

    /// Looks into the registry. Do not hold on: the engine waits meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&Registry) -> R) -> R {
        look(&self.registry.lock())
    }

    /// Adds a download, at the end of the queue or at `position`. A free slot starts it at once.
    ///
    /// # Errors
    /// A bad option value, nothing usable to download, or a GID that is taken.
    pub async fn add(
        &self,
        request: AddRequest,
        position: Option<usize>,
    ) -> Result<Vec<Gid>, RequestError> {
        let base = self.read(|registry| Arc::clone(registry.global()));
        let specs = reception::receive(request, base).await?;
        self.ask(|reply| Command::Add {
            specs,
            position,
            reply,
        })
        .await
    }

    /// # Errors
    /// It is paused or stopped already, or unknown.
    pub async fn pause(&self, gid: Gid, force: bool) -> Result<(), RequestError> {
        self.control(gid, Verb::Pause { force }).await
    }

    /// # Errors
    /// It is not paused, or unknown.
    pub async fn unpause(&self, gid: Gid) -> Result<(), RequestError> {
        self.control(gid, Verb::Unpause).await
    }

    /// Stops a download for good; its files stay. One that waits is gone without a trace, an
    /// active one becomes a result.
    ///
    /// # Errors
    /// It has stopped already, or is unknown.
    pub async fn remove(&self, gid: Gid, force: bool) -> Result<(), RequestError> {
        self.control(gid, Verb::Remove { force }).await
    }

    /// Pauses all; active ones go to the front of the queue.
    ///
    /// # Errors
    /// Only that the engine has ended.
    pub async fn pause_all(&self, force: bool) -> Result<(), RequestError> {
        let verb = Verb::Pause { force };
        self.ask(|reply| Command::ControlAll { verb, reply }).await
    }

    /// # Errors
    /// Only that the engine has ended.
    pub async fn unpause_all(&self) -> Result<(), RequestError> {
        let verb = Verb::Unpause;
        self.ask(|reply| Command::ControlAll { verb, reply }).await
    }

    /// Moves a download in the queue and gives its new place.
    ///
    /// # Errors
    /// It is not in the queue.
    pub async fn change_position(
        &self,
        gid: Gid,
        offset: i64,
        how: How,
    ) -> Result<i64, RequestError> {
        self.ask(|reply| Command::ChangePosition {
            gid,
            offset,
            how,
            reply,
        })
        .await
    }

    /// Takes one instance of each of `remove` from the URIs of file `file_index` (from 1), then
    /// puts the usable ones of `add` in at `at`, or at the end. Gives how many were removed and
    /// added.
    ///
    /// # Errors
    /// It has stopped, has no such file, or is unknown.
    pub async fn change_uri(
        &self,
        gid: Gid,
        file_index: usize,
        remove: Vec<String>,
        add: Vec<String>,
        at: Option<usize>,
    ) -> Result<(u64, u64), RequestError> {
        let change = Box::new(UriChange {
            file_index,
            remove,
            add,
            at,
        });
        self.ask(|reply| Command::ChangeUri { gid, change, reply })
            .await
    }

    /// Changes options of a download; an active one starts again where that is needed. What may
    /// not be changed is ignored.
    ///
    /// # Errors
    /// A bad value (then nothing is changed), or it has stopped or is unknown.
    pub async fn change_option(
        &self,
        gid: Gid,
        changes: Vec<(OptionId, String)>,
    ) -> Result<(), RequestError> {
        self.ask(|reply| Command::ChangeOption {
            gid,
            changes,
            reply,
        })
        .await
    }

    /// Changes options of the process, and so of downloads added later.
    ///
    /// # Errors
    /// A bad value; then nothing is changed.
    pub async fn change_global_option(
        &self,
        changes: Vec<(OptionId, String)>,
    ) -> Result<(), RequestError> {
        self.ask(|reply| Command::ChangeGlobalOption { changes, reply })
            .await
    }

    /// Forgets all results.
    ///
    /// # Errors
    /// Only that the engine has ended.
    pub async fn purge_results(&self) -> Result<(), RequestError> {
        self.ask(|reply| Command::PurgeResults { reply }).await
    }

    /// Forgets one result.
    ///
    /// # Errors
    /// It has not stopped, or is unknown.
    pub async fn remove_result(&self, gid: Gid) -> Result<(), RequestError> {
        self.ask(|reply| Command::RemoveResult { gid, reply }).await
    }

    /// Writes the session to the file of `save-session` and makes the store durable; comes back
    /// when that is done.
    ///
    /// # Errors
    /// There is neither file nor store, or the file cannot be written.
    pub async fn save_session(&self) -> Result<(), RequestError> {
        self.ask(|reply| Command::SaveSession { reply }).await
    }

    /// Writes the session in aria2's format to this file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn export_session(&self, path: PathBuf) -> Result<(), RequestError> {
        self.ask(|reply| Command::ExportSession { path, reply })
            .await
    }

    /// Waits until no transfer of this GID runs, so that its files are closed. A removed download
    /// may be forgotten before that.
    ///
    /// # Errors
    /// Only that the engine has ended.
    pub async fn until_quiet(&self, gid: Gid) -> Result<(), RequestError> {
        self.ask(|reply| Command::UntilQuiet { gid, reply }).await
    }

    /// Begins the orderly end: transfers save and stop, then the session is saved. Comes back at
    /// once; [`Self::ended`] tells when it is over. A second call with `force` hurries.
    ///
    /// # Errors
    /// Only that the engine has ended.
    pub async fn shutdown(&self, force: bool) -> Result<(), RequestError> {
        self.ask(|reply| Command::Shutdown { force, reply }).await
    }

    /// Waits until the engine has ended and everything is saved.
    pub async fn ended(&self) {
        let mut counts = self.counts.clone();
        while counts.changed().await.is_ok() {}
    }

    /// Waits until nothing is active or waits to start (paused ones do not count), or the engine
    /// has ended.
    pub async fn until_idle(&self) {
        let mut counts = self.counts.clone();
        // An error means that the engine has ended.
        let _ = counts
            .wait_for(|counts| counts.active == 0 && counts.ready == 0)
            .await;
    }

    /// Waits until this download has stopped (or is forgotten: `None`).
    pub async fn until_stopped(&self, gid: Gid) -> Option<Snapshot> {
        let mut events = self.events();
        loop {
            let now = self.snapshot(gid)?;
            if now.has_ended {
                return Some(now);
            }
            match events.recv().await {
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return self.snapshot(gid),
            }
        }
    }

    /// What happens from now on. A receiver that falls far behind loses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// How many downloads there are; tells of changes, and of the engine's end by closing.
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.clone()
    }

    /// The options of the process; tells of changes.
    pub fn global_options(&self) -> watch::Receiver<Arc<OptionSet>> {
        self.global.clone()
    }

    /// Bytes a second of all downloads.
    pub fn down_speed(&self) -> u64 {
        self.limits.down_meter().speed(Instant::now())
    }

    /// Bytes a second of all downloads.
    pub fn up_speed(&self) -> u64 {
        self.limits.up_meter().speed(Instant::now())
    }

    /// A copy of everything about one download.
    pub fn snapshot(&self, gid: Gid) -> Option<Snapshot> {
        self.read(|registry| Some(Snapshot::of(registry.get(gid)?, Instant::now())))
    }

    /// Whether the session has or had a download of this GID: an old input file must not bring
    /// it back.
    pub fn knows(&self, gid: Gid) -> bool {
        self.forgotten.contains(&gid) || self.read(|registry| registry.contains(gid))
    }

    async fn control(&self, gid: Gid, verb: Verb) -> Result<(), RequestError> {
        self.ask(|reply| Command::Control { gid, verb, reply })
            .await
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .map_err(|_| RequestError::ShutDown)?;
        answer.await.unwrap_or(Err(RequestError::ShutDown))
    }
}

/// Whether clients over RPC hear of such an event.
impl EventKind {
    pub fn is_notified(self) -> bool {
        !matches!(self, Self::Interrupted | Self::SeedingInterrupted)
    }
}
