//! The store's thread when its disk fails: it takes changes in and tries again until it can write.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::{debug, error, info};

use super::finish_log::FinishLog;
use super::history::Found;
use super::writer::{Changes, Writer};
use super::{Change, Group, Job, open};
use crate::base::error::{ErrorCode, Failure};

/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// Works until told to close, or until all senders are gone. `spilled` is still to be written.
/// `wants_all` is raised after a time in which nothing could be written.
pub(super) fn run(
    mut writer: Writer,
    spilled: Group,
    dir: &Path,
    jobs: &Receiver<Job>,
    log: &FinishLog,
    wants_all: &AtomicBool,
) -> Result<(), Failure> {
    let mut changes = Changes {
        by_gid: spilled.0.into_iter().collect(),
        ..Changes::default()
    };
    loop {
        // sled panics on some failures of its disk.
        let work = AssertUnwindSafe(|| writer.work(jobs, &mut changes, log));
        let worked = catch_unwind(work)
            .unwrap_or_else(|_| Err(Failure::fatal(ErrorCode::FileIo, "store: broken")));
        let Err(failure) = worked else {
            return Ok(());
        };
        error!(%failure, "the session is not kept until its disk can be written again");
        let lock = writer.lock.take();
        drop(writer);
        writer = match reopen(dir, lock, jobs, &mut changes, &failure)? {
            Some(writer) => writer,
            None => return Ok(()),
        };
        wants_all.store(true, Ordering::Release);
        info!("the session is kept again");
    }
}

/// Tries until the store can be opened; `None`: then it was closed in order, as somebody wished.
fn reopen(
    dir: &Path,
    lock: Option<File>,
    jobs: &Receiver<Job>,
    changes: &mut Changes,
    failure: &Failure,
) -> Result<Option<Writer>, Failure> {
    let lock = lock.ok_or_else(|| failure.clone())?;
    loop {
        let closing = take_in(jobs, changes, failure);
        let opened = lock
            .try_clone()
            .map_err(|error| Failure::from_io(&error, ErrorCode::FileIo, "store"))
            .and_then(|lock| open::open_locked(dir, lock));
        match opened {
            Ok((mut writer, _)) if closing => {
                writer.close(changes)?;
                return Ok(None);
            }
            Ok((writer, _)) => return Ok(Some(writer)),
            Err(failure) if closing => return Err(failure),
            Err(failure) => debug!(%failure, "the store cannot be opened yet"),
        }
    }
}

/// Takes jobs for a while; true: the store is to be closed.
fn take_in(jobs: &Receiver<Job>, changes: &mut Changes, failure: &Failure) -> bool {
    let until = Instant::now() + RETRY;
    loop {
        match jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Job::Change(group)) => changes.by_gid.extend(group.0),
            Ok(Job::ClearHistory) => {
                changes.clears_history = true;
                for change in changes.by_gid.values_mut() {
                    if matches!(change, Change::Archive(..)) {
                        *change = Change::Gone;
                    }
                }
            }
            Ok(Job::HistoryMax(max)) => changes.history_max = Some(max),
            Ok(Job::Search(search)) => (search.done)(Found::default()),
            // All of it is asked for again.
            Ok(Job::Forget | Job::Known(_)) => {}
            Ok(Job::Sync(done)) => done(Err(failure.clone())),
            Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}
