//! The store's thread: gathers changes, writes them as one batch.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sled::transaction::{TransactionError, Transactional};
use sled::{Batch, Db, Tree};
use tracing::{debug, warn};

use super::finish_log::FinishLog;
use super::flusher::{Aftermath, Flusher};
use super::history::{Found, History, key_of};
use super::payloads::Payloads;
use super::record::Record;
use super::spare::{Content, Spare};
use super::spill::{Lines, Spill};
use super::tally::Tally;
use super::{Change, Group, Job, MakeRecord};
use crate::base::error::{ErrorCode, Failure};
use crate::base::failpoint;
use crate::base::gid::Gid;

/// Changes that come close together are written together.
const GATHER: Duration = Duration::from_millis(200);
/// A burst of more changes is written in parts.
const BATCH_MAX: usize = 1000;
/// Between two flushes; with the time of gathering nothing is older than a second.
const FLUSH_EVERY: Duration = Duration::from_millis(700);
/// How often to see whether a flush has ended.
const FLUSH_LOOK: Duration = Duration::from_millis(20);
/// More removed downloads than these are not remembered for the sake of old session files.
const FORGOTTEN_MAX: usize = 50_000;

/// What is still to be written.
#[derive(Default)]
pub(super) struct Changes {
    /// The last change of each download.
    pub by_gid: HashMap<Gid, Change>,
    /// What is in the history goes before anything else.
    pub clears_history: bool,
    /// Remembered for a writer that goes on in place of this one.
    pub history_max: Option<usize>,
}

pub(super) struct Writer {
    pub db: Db,
    pub downloads: Tree,
    pub tally: Tally,
    pub gone: Tree,
    pub payloads: Payloads,
    /// What is to be done after the next flush.
    pub after: Aftermath,
    pub flusher: Flusher,
    pub history: History,
    /// sled's own file, for what its flush leaves out.
    pub db_file: PathBuf,
    pub spare: Spare,
    pub spill: Spill,
    pub gone_count: usize,
    /// Held as long as the store is open; `None` once another writer goes on with it.
    pub lock: Option<File>,
}

/// When what is due.
struct Plan {
    /// When the first of the gathered changes came.
    first_change: Option<Instant>,
    last_flush: Instant,
    /// Some of the gathered changes are nowhere yet.
    has_unspilled: bool,
    /// `session.txt` may be older than the store.
    text_is_old: bool,
    next_text: Instant,
}

impl Writer {
    /// Works until told to close, or until all senders are gone. `changes` are still to be
    /// written.
    pub fn work(
        &mut self,
        jobs: &Receiver<Job>,
        changes: &mut Changes,
        log: &FinishLog,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        let mut plan = Plan {
            first_change: None,
            last_flush: now.checked_sub(FLUSH_EVERY).unwrap_or(now),
            has_unspilled: false,
            text_is_old: true,
            next_text: now,
        };
        if changes.clears_history {
            self.history.clear()?;
            changes.clears_history = false;
        }
        if let Some(max) = changes.history_max {
            self.history.set_max(max)?;
        }
        if !changes.by_gid.is_empty() {
            plan.changed();
        }
        loop {
            let job = match plan.wait(&self.flusher) {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(time) => jobs.recv_timeout(time),
            };
            match job {
                Ok(Job::Change(group)) => {
                    self.gather(group, changes)?;
                    plan.changed();
                }
                Ok(Job::ClearHistory) => {
                    self.apply(changes)?;
                    self.history.clear()?;
                    // Flushed with the next change, which this is one of.
                    plan.changed();
                }
                Ok(Job::HistoryMax(max)) => {
                    changes.history_max = Some(max);
                    self.apply(changes)?;
                    self.history.set_max(max)?;
                }
                Ok(Job::Search(search)) => {
                    self.apply(changes)?;
                    let found = self.history.search(&search);
                    (search.done)(found.unwrap_or_else(|failure| {
                        warn!(%failure, "the history cannot be read");
                        Found::default()
                    }));
                }
                Ok(Job::Forget) => {
                    self.apply(changes)?;
                    self.forget()?;
                }
                Ok(Job::Sync(done)) => {
                    done(self.apply(changes).and_then(|()| self.sync(changes)));
                    plan.flushed();
                }
                Ok(Job::Known(gids)) => self.keep_only(&gids, changes)?,
                Ok(Job::Close) => return self.close(changes),
                // Not an orderly end: what was removed stays remembered.
                Err(RecvTimeoutError::Disconnected) => {
                    self.apply(changes)?;
                    return self.sync(changes);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(after) = self.flusher.poll()? {
                self.spill.outdate(after.state);
                self.drop_payloads(after.dropped, changes)?;
                log.settle(after.ended);
                failpoint::hit("store.flushed");
            }
            if plan.flush_is_due() && !self.flusher.is_busy() {
                self.apply(changes)?;
                self.after.state = self.tally.state;
                let after = std::mem::take(&mut self.after);
                self.flusher.begin(&self.db, after)?;
                plan.flushed();
            } else if plan.flush_is_due() && plan.has_unspilled {
                self.write_beside(changes);
                plan.spilled();
            }
            // It must not be newer than the store.
            if plan.text_is_due() && !self.flusher.is_busy() {
                plan.text_is_old = !self.spare.holds(self.tally.state);
                if plan.text_is_old {
                    self.spare.begin(self.content());
                }
                plan.next_text = Instant::now() + self.spare.pause();
            }
        }
    }

    /// Adds a group to the changes; those before it are handed on if that made too many, so that
    /// only a group that is too large itself is written in parts.
    pub fn gather(&mut self, group: Group, changes: &mut Changes) -> Result<(), Failure> {
        // sled takes none while it flushes.
        let parted = !self.flusher.is_busy();
        if parted && changes.by_gid.len() + group.0.len() > BATCH_MAX {
            self.apply(changes)?;
        }
        for (gid, change) in group.0 {
            changes.by_gid.insert(gid, change);
            if parted && changes.by_gid.len() >= BATCH_MAX {
                self.apply(changes)?;
            }
        }
        Ok(())
    }

    /// Writes everything for the last time.
    pub fn close(&mut self, changes: &mut Changes) -> Result<(), Failure> {
        self.apply(changes)?;
        self.spare.finish();
        if !self.spare.holds(self.tally.state) {
            self.spare.begin(self.content());
            self.spare.finish();
        }
        self.forget()?;
        self.sync(changes)
    }

    /// Removes what is not among these: it went while nothing could be written.
    fn keep_only(&mut self, gids: &HashSet<Gid>, changes: &mut Changes) -> Result<(), Failure> {
        for entry in &self.downloads {
            let (key, _) = entry.map_err(failed)?;
            if let Some(gid) = Record::gid_of(&key).filter(|gid| !gids.contains(gid)) {
                let stays = |change: &mut Change| matches!(change, Change::Archive(..));
                if !changes.by_gid.get_mut(&gid).is_some_and(stays) {
                    changes.by_gid.insert(gid, Change::Gone);
                }
            }
        }
        Ok(())
    }

    /// Hands the changes to sled, which writes them at its next flush.
    fn apply(&mut self, changes: &mut Changes) -> Result<(), Failure> {
        if changes.by_gid.is_empty() {
            return Ok(());
        }
        let at = unix_time();
        let (mut downloads, mut gone) = (Batch::default(), Batch::default());
        let mut archived = Batch::default();
        let (mut has_archived, mut removed) = (false, HashSet::new());
        let count = changes.by_gid.len();
        for (gid, change) in changes.by_gid.drain() {
            let key = Record::key(gid);
            match change {
                Change::Put(make) => {
                    self.tally.count += u64::from(!self.has(&key)?);
                    let record = self.stamped(make, at)?;
                    if record.place.has_ended() {
                        self.after.ended.push(gid);
                    }
                    downloads.insert(&key, encoded(&record)?);
                    gone.remove(&key);
                }
                Change::Archive(make, stays) => {
                    self.after.ended.push(gid);
                    let record = self.stamped(make, at)?;
                    self.history.keep_payload(self.payloads.dir(), &record);
                    let (has, value) = (self.has(&key)?, encoded(&record)?);
                    archived.insert(&key_of(&record), value.clone());
                    has_archived = true;
                    if stays {
                        self.tally.count += u64::from(!has);
                        downloads.insert(&key, value);
                        continue;
                    }
                    self.tally.count -= u64::from(has);
                    downloads.remove(&key);
                    gone.insert(&key, &at.to_be_bytes());
                    self.gone_count += 1;
                    self.after.dropped.push(gid);
                }
                Change::Gone => {
                    self.after.ended.push(gid);
                    self.tally.count -= u64::from(self.has(&key)?);
                    downloads.remove(&key);
                    self.after.dropped.push(gid);
                    gone.insert(&key, &at.to_be_bytes());
                    self.gone_count += 1;
                    removed.insert(gid);
                }
            }
        }
        self.tally.state += 1;
        failpoint::hit("store.apply");
        downloads.insert(Tally::KEY, &self.tally.encode());
        if has_archived {
            self.move_over(&downloads, &archived)?;
        } else {
            self.downloads.apply_batch(downloads).map_err(failed)?;
        }
        failpoint::hit("store.between");
        self.gone.apply_batch(gone).map_err(failed)?;
        failpoint::hit("store.applied");
        if has_archived {
            self.history.grown()?;
        }
        if !removed.is_empty() {
            self.history.remove(|gid| removed.contains(&gid))?;
        }
        if self.gone_count > FORGOTTEN_MAX {
            self.forget()?;
        }
        debug!(count, "changes kept");
        // One burst must not hold memory for good.
        changes.by_gid.shrink_to(BATCH_MAX);
        Ok(())
    }

    /// Writes the changes beside the store, which waits for its disk; they are still to be applied.
    /// Without that they would be lost should the process be killed now, and no more.
    pub fn write_beside(&mut self, changes: &mut Changes) {
        let at = unix_time();
        let mut lines = Lines::new(self.tally.state);
        let mut made = |gid, make: MakeRecord| -> MakeRecord {
            let record = stamp(make(), at);
            if let Err(failure) = self.payloads.keep(&record) {
                debug!(%failure, %gid, "its torrent is not kept yet");
            }
            lines.push(gid, Some(&record));
            Box::new(move || record)
        };
        let all = std::mem::take(&mut changes.by_gid).into_iter();
        changes.by_gid = all
            .map(|(gid, change)| match change {
                Change::Put(make) => (gid, Change::Put(made(gid, make))),
                Change::Archive(make, stays) => (gid, Change::Archive(made(gid, make), stays)),
                Change::Gone => (gid, change),
            })
            .collect();
        for (gid, change) in &changes.by_gid {
            if matches!(change, Change::Gone) {
                lines.push(*gid, None);
            }
        }
        if let Err(error) = self.spill.write(self.tally.state, &lines) {
            debug!(%error, "changes are not kept while the disk does not answer");
        }
    }

    /// A record with the time it is written at, its payload on the disk.
    fn stamped(&mut self, make: MakeRecord, at: u64) -> Result<Record, Failure> {
        let record = stamp(make(), at);
        self.payloads.keep(&record)?;
        Ok(record)
    }

    /// Results are in one of the trees at any time.
    fn move_over(&self, downloads: &Batch, archived: &Batch) -> Result<(), Failure> {
        (&self.downloads, self.history.tree())
            .transaction(|(from, to)| {
                to.apply_batch(archived)?;
                from.apply_batch(downloads)?;
                Ok(())
            })
            .map_err(|error: TransactionError<()>| match error {
                TransactionError::Storage(error) => failed(error),
                TransactionError::Abort(()) => {
                    Failure::fatal(ErrorCode::FileIo, "store: results not moved")
                }
            })
    }

    fn has(&self, key: &[u8]) -> Result<bool, Failure> {
        self.downloads.contains_key(key).map_err(failed)
    }

    /// The store does without these for sure, unless they are among the `changes` to come. Until
    /// its flush a record that is gone may come back, and needs its payload.
    pub fn drop_payloads(&mut self, dropped: Vec<Gid>, changes: &Changes) -> Result<(), Failure> {
        for gid in dropped {
            if !self.has(&Record::key(gid))? && !changes.by_gid.contains_key(&gid) {
                self.payloads.drop(gid);
            }
        }
        self.payloads.sync(false);
        Ok(())
    }

    /// sled's flush survives the end of the process only; this survives power loss.
    fn sync(&mut self, changes: &Changes) -> Result<(), Failure> {
        self.db.flush().map_err(failed)?;
        let before = self.flusher.wait()?.unwrap_or_default();
        self.after = before.and(std::mem::take(&mut self.after));
        self.spill.outdate(self.tally.state);
        let dropped = std::mem::take(&mut self.after.dropped);
        self.drop_payloads(dropped, changes)?;
        self.payloads.sync(true);
        File::open(&self.db_file)
            .and_then(|file| file.sync_data())
            .map_err(|error| Failure::from_io(&error, ErrorCode::FileIo, "store"))
    }

    fn forget(&mut self) -> Result<(), Failure> {
        self.gone_count = 0;
        self.gone.clear().map_err(failed)
    }

    fn content(&self) -> Content {
        Content {
            downloads: self.downloads.clone(),
            tally: self.tally,
            payload_dir: self.payloads.dir().to_owned(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Another writer would write the same file.
        self.spare.finish();
        // A flush has hold of sled.
        let _ = self.flusher.wait();
        // Another process may have the directory only when sled has let go of it, and that is
        // when this lock goes.
        if let Some(lock) = &self.lock {
            let _ = lock.unlock();
        }
    }
}

impl Plan {
    fn changed(&mut self) {
        self.first_change.get_or_insert_with(Instant::now);
        self.has_unspilled = true;
        self.text_is_old = true;
    }

    fn flushed(&mut self) {
        self.first_change = None;
        self.spilled();
    }

    fn spilled(&mut self) {
        self.last_flush = Instant::now();
        self.has_unspilled = false;
    }

    fn flush_at(&self) -> Option<Instant> {
        Some((self.first_change? + GATHER).max(self.last_flush + FLUSH_EVERY))
    }

    fn text_at(&self) -> Option<Instant> {
        // Not before the changes it is to show have been written.
        (self.text_is_old && self.first_change.is_none()).then_some(self.next_text)
    }

    fn flush_is_due(&self) -> bool {
        self.flush_at().is_some_and(|at| at <= Instant::now())
    }

    fn text_is_due(&self) -> bool {
        self.text_at().is_some_and(|at| at <= Instant::now())
    }

    /// How long nothing is to be done but what comes; `None`: until something comes.
    fn wait(&self, flusher: &Flusher) -> Option<Duration> {
        let now = Instant::now();
        let idle = !flusher.is_busy();
        let look = (!idle).then(|| now + FLUSH_LOOK);
        let flush = self.flush_at().filter(|_| idle || self.has_unspilled);
        let text = self.text_at().filter(|_| idle);
        let at = [look, flush, text].into_iter().flatten().min()?;
        Some(at.saturating_duration_since(now))
    }
}

/// The time in seconds.
fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

fn stamp(mut record: Record, at: u64) -> Record {
    if record.at == 0 {
        record.at = at;
    }
    record
}

/// A failure of sled.
pub(super) fn failed(error: sled::Error) -> Failure {
    Failure::fatal(ErrorCode::FileIo, format!("store: {error}"))
}

fn encoded(record: &Record) -> Result<Vec<u8>, Failure> {
    let value = record.encode();
    value.map_err(|error| Failure::fatal(ErrorCode::Unknown, error.to_string()))
}
