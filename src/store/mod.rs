//! Rank 4: the session in sled.
//!
//! The store is a copy that can be rebuilt, kept by a thread of its own: callers never wait for
//! it. Changes are gathered for a moment and written as one batch, flushed at most once a second;
//! while a flush waits for a slow disk, what changes is written beside the store, in `spilled.log`.
//! Results that are no longer shown are moved to a tree of their own, the history.
//! Beside it lies `session.txt`, the same session in aria2's format: the spare copy if the store
//! is damaged, and the way back to aria2c. Bytes and bitfields are not here but in the control
//! files beside the data.

mod file;
mod finish_log;
mod flusher;
mod history;
mod migrate;
mod open;
mod payloads;
mod record;
mod recovery;
mod session_text;
mod spare;
mod spill;
mod tally;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

pub use file::replace;
pub use finish_log::{FinishLog, Finished};
pub use history::{Found, HistoryKey, Search};
pub use payloads::{Payload, payload_dir};
pub use record::{Origin, OriginKind, Place, Record};
pub use session_text::{Naming, push_entry};

use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;

/// Makes a record where it is needed: on the store's thread, and only for the last of several
/// changes.
pub type MakeRecord = Box<dyn FnOnce() -> Record + Send>;

/// What is called when the store is durable, or why it is not.
pub type WhenSynced = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// The session of one state directory. Only one process has it open at a time.
pub struct Store {
    jobs: Sender<Job>,
    thread: JoinHandle<Result<(), Failure>>,
    wants_all: Arc<AtomicBool>,
    finish_log: Arc<FinishLog>,
}

/// What an earlier process left.
#[derive(Default)]
pub struct Restored {
    /// In the order of their lists: results, active, waiting and paused.
    pub records: Vec<Record>,
    /// Downloads that were removed or forgotten since a session file was last written: an old
    /// one must not bring them back.
    pub forgotten: HashSet<Gid>,
    /// The machine has not been started anew since: what its processes wrote is there.
    pub same_boot: bool,
    /// What of this the store itself has still to be told.
    spilled: Group,
}

/// Changes that belong together: a process that is killed leaves all of them or none, unless they
/// are more than a thousand. Of several changes of one download the last counts.
#[derive(Default)]
pub struct Group(Vec<(Gid, Change)>);

impl Group {
    /// Notes a new or changed download.
    pub fn put(&mut self, gid: Gid, record: MakeRecord) {
        self.0.push((gid, Change::Put(record)));
    }

    /// Moves a result to the history. One that a session file still names is to stay among the
    /// downloads as well.
    pub fn archive(&mut self, gid: Gid, record: MakeRecord, stays: bool) {
        self.0.push((gid, Change::Archive(record, stays)));
    }

    /// Notes that a download or a result of the history is gone for good.
    pub fn remove(&mut self, gid: Gid) {
        self.0.push((gid, Change::Gone));
    }
}

enum Change {
    Put(MakeRecord),
    /// To the history; true: it stays among the downloads as well.
    Archive(MakeRecord, bool),
    Gone,
}

enum Job {
    Change(Group),
    ClearHistory,
    HistoryMax(usize),
    Search(Search),
    /// A session file without the removed downloads has been written.
    Forget,
    /// There are no other downloads than these.
    Known(HashSet<Gid>),
    Sync(WhenSynced),
    Close,
}

impl Store {
    /// Opens the session in `dir`, which is made if need be. A damaged store is set aside under
    /// a dated name and rebuilt from `session.txt`. Blocks, up to two seconds if another process
    /// is just ending.
    ///
    /// # Errors
    /// Another process has it, it cannot be written, or a newer version of this program made it.
    pub fn open(dir: &Path) -> Result<(Store, Restored), Failure> {
        let (writer, mut restored) = open::open(dir)?;
        let spilled = std::mem::take(&mut restored.spilled);
        let (jobs, inbox) = channel();
        let wants_all = Arc::new(AtomicBool::new(false));
        let finish_log = Arc::new(FinishLog::open(dir, restored.same_boot));
        let log = Arc::clone(&finish_log);
        let (dir, wants) = (dir.to_owned(), Arc::clone(&wants_all));
        let thread = std::thread::Builder::new()
            .name("arioso-store".to_owned())
            .spawn(move || recovery::run(writer, spilled, &dir, &inbox, &log, &wants))
            .map_err(|error| Failure::from_io(&error, ErrorCode::Unknown, "store thread"))?;
        let store = Store {
            jobs,
            thread,
            wants_all,
            finish_log,
        };
        Ok((store, restored))
    }

    /// Notes what has changed. It is on disk within a second.
    pub fn change(&self, group: Group) {
        self.send(Job::Change(group));
    }

    /// Forgets the whole history.
    pub fn clear_history(&self) {
        self.send(Job::ClearHistory);
    }

    /// How many results the history keeps; the oldest go.
    pub fn set_history_max(&self, max: usize) {
        self.send(Job::HistoryMax(max));
    }

    /// Looks into the history, on the store's thread.
    pub fn search(&self, search: Search) {
        self.send(Job::Search(search));
    }

    /// Where transfers note what they finish before the store can say so.
    pub fn finish_log(&self) -> &Arc<FinishLog> {
        &self.finish_log
    }

    /// Whether the store has lost track, because it could not be written for a while: tell it
    /// with [`Store::known`] what there is, and [`Store::put`] all of that. Says so once.
    pub fn wants_all(&self) -> bool {
        self.wants_all.swap(false, Ordering::AcqRel)
    }

    /// Notes that there are no other downloads than these.
    pub fn known(&self, gids: HashSet<Gid>) {
        self.send(Job::Known(gids));
    }

    /// Session files that name removed downloads have been replaced: they need not be remembered.
    pub fn forget_removed(&self) {
        self.send(Job::Forget);
    }

    /// Writes everything and makes it proof against power loss; then calls `done` on the store's
    /// thread.
    pub fn sync(&self, done: WhenSynced) {
        if let Err(refused) = self.jobs.send(Job::Sync(done))
            && let Job::Sync(done) = refused.0
        {
            done(Err(Failure::fatal(
                ErrorCode::Unknown,
                "the store has failed",
            )));
        }
    }

    /// Writes everything and ends. Blocks.
    ///
    /// # Errors
    /// Something could not be written.
    pub fn close(self) -> Result<(), Failure> {
        self.send(Job::Close);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Failure::fatal(ErrorCode::Unknown, "the store has failed")))
    }

    fn send(&self, job: Job) {
        // The thread has said why it ended; downloads go on without a store.
        let _ = self.jobs.send(job);
    }
}

#[cfg(test)]
mod tests;
