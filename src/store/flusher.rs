//! Flushes sled on a thread of its own: its disk may take seconds to answer.

use std::thread::{self, JoinHandle};

use sled::Db;

use super::writer::failed;
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;

/// What is to be done once a flush has ended.
#[derive(Default)]
pub(super) struct Aftermath {
    /// Gone from the store; their payloads may go.
    pub dropped: Vec<Gid>,
    /// The store says now what has become of these.
    pub ended: Vec<Gid>,
    /// The state of the store that survives the end of this process from now on.
    pub state: u64,
}

/// The flush that runs, if one does.
#[derive(Default)]
pub(super) struct Flusher {
    running: Option<(JoinHandle<Result<(), Failure>>, Aftermath)>,
}

impl Flusher {
    /// Whether a flush runs, or has ended and [`Flusher::poll`] has not said so. Until then sled
    /// takes no batch: whoever has one waits.
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a flush; none may run.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn begin(&mut self, db: &Db, after: Aftermath) -> Result<(), Failure> {
        let db = db.clone();
        let thread = thread::Builder::new()
            .name("arioso-flush".to_owned())
            .spawn(move || db.flush().map(drop).map_err(failed))
            .map_err(|error| Failure::from_io(&error, ErrorCode::Unknown, "flush thread"))?;
        self.running = Some((thread, after));
        Ok(())
    }

    /// What is to be done after the flush, if it has just ended.
    ///
    /// # Errors
    /// It failed.
    pub fn poll(&mut self) -> Result<Option<Aftermath>, Failure> {
        match &self.running {
            Some((thread, _)) if thread.is_finished() => self.wait(),
            _ => Ok(None),
        }
    }

    /// Waits for the flush that runs.
    ///
    /// # Errors
    /// It failed.
    pub fn wait(&mut self) -> Result<Option<Aftermath>, Failure> {
        let Some((thread, after)) = self.running.take() else {
            return Ok(None);
        };
        // sled panics on some failures of its disk.
        let broken = |_| Err(Failure::fatal(ErrorCode::FileIo, "store: broken"));
        thread.join().unwrap_or_else(broken)?;
        Ok(Some(after))
    }
}

impl Aftermath {
    /// Of this flush and a later one.
    pub fn and(mut self, later: Aftermath) -> Self {
        self.dropped.extend(later.dropped);
        self.ended.extend(later.ended);
        self.state = later.state;
        self
    }
}
