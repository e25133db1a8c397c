//! Keeps `session.txt` beside the store, on a thread of its own: its disk may take seconds to answer,
//! and the session is to be kept meanwhile.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sled::Tree;
use tracing::warn;

use super::file;
use super::record::Record;
use super::session_text::{Naming, push_entry};
use super::tally::Tally;

const EVERY: Duration = Duration::from_secs(4);
/// Writing takes at most one part in so many of a thread's time.
const PART: u32 = 20;

/// The file, and what becomes of it.
pub(super) struct Spare {
    path: PathBuf,
    /// The state of the store that it holds.
    state: Option<u64>,
    /// The state that was written, if it was, and how long that took.
    writing: Option<JoinHandle<(Option<u64>, Duration)>>,
    took: Duration,
}

/// What is written: a state of the store, and perhaps some of what came after it.
pub(super) struct Content {
    pub downloads: Tree,
    pub tally: Tally,
    pub payload_dir: PathBuf,
}

impl Spare {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: None,
            writing: None,
            took: Duration::ZERO,
        }
    }

    /// Whether this state is on the disk.
    pub fn holds(&mut self, state: u64) -> bool {
        if self.writing.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish();
        }
        self.state == Some(state)
    }

    /// Begins to write it anew, unless the last time is not over.
    pub fn begin(&mut self, content: Content) {
        if self.writing.is_some() {
            return;
        }
        let path = self.path.clone();
        let write = move || {
            let begin = Instant::now();
            let written = file::replace(&path, |out| content.write(out));
            if let Err(error) = &written {
                warn!(%error, path = %path.display(), "session.txt not written");
            }
            let state = written.is_ok().then_some(content.tally.state);
            (state, begin.elapsed())
        };
        let thread = thread::Builder::new().name("arioso-spare".to_owned());
        // Without a thread it is tried again later.
        self.writing = thread.spawn(write).ok();
    }

    /// Waits until what was begun is on the disk, or has failed.
    pub fn finish(&mut self) {
        if let Some(run) = self.writing.take() {
            (self.state, self.took) = run.join().unwrap_or_default();
        }
    }

    /// How long it rests between two times.
    pub fn pause(&self) -> Duration {
        EVERY.max(self.took * PART)
    }
}

impl Content {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.tally.head_line().as_bytes())?;
        let mut text = String::new();
        let mut said = HashSet::new();
        let naming = Naming::Copies(&self.payload_dir);
        for (_, _, key) in self.keys_in_order()? {
            let Some(value) = self.downloads.get(key)? else {
                continue;
            };
            // What cannot be read was reported when the store was opened.
            if let Ok(record) = Record::decode(&key, &value) {
                text.clear();
                push_entry(&mut text, &record, naming, &mut said);
                out.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// List, place in it and key of each download: the records themselves may be too many for
    /// memory.
    fn keys_in_order(&self) -> io::Result<Vec<(u8, i64, [u8; 8])>> {
        let mut keys = Vec::new();
        for entry in &self.downloads {
            let (key, value) = entry?;
            let position = Record::position(&key, &value);
            if let (Ok(key), Some((list, order))) = (key.as_ref().try_into(), position) {
                keys.push((list, order, key));
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }
}
