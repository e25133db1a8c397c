//! What was finished while the session did not say so yet.
//!
//! The store is flushed at most once a second, but the control file of a small download is gone
//! sooner: a kill in between would leave a finished file that nobody knows to be ours, and its
//! download would be fetched again under another name. So a line is written here before the control
//! file goes; it is dropped when the store has said it all. A line survives the end of the process
//! and not that of the machine, where control files are not trusted blindly either.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::file;
use crate::base::gid::Gid;

/// The file is written anew when it is longer than this, in bytes.
const LEN_MAX: u64 = 64 << 10;
/// Lines of downloads nobody knows that are kept.
const ORPHANS_MAX: usize = 1000;

/// Where a download was finished.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// The file, or the directory of several.
    pub path: PathBuf,
    /// Bytes.
    pub total: u64,
    /// Bytes.
    pub piece_len: u64,
    /// Where it is moved to from `path` (option `complete-dir`).
    pub moved_to: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    gid: String,
    #[serde(flatten)]
    finished: Finished,
}

/// The log, in the state directory.
pub struct FinishLog {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None`: it could not be opened.
    file: Option<File>,
    len: u64,
    lines: HashMap<Gid, Finished>,
    /// Paths of those whose GID the session never came to know.
    orphans: HashMap<PathBuf, Gid>,
}

impl FinishLog {
    /// Opens the log in `dir`. What it cannot read or write costs a fetch and nothing else.
    pub(super) fn open(dir: &Path, same_boot: bool) -> Self {
        let path = dir.join("finished.log");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            // A line that was cut by the kill was written for a control file that is still there.
            let line: Line = serde_json::from_str(line).ok()?;
            Some((line.gid.parse().ok()?, line.finished))
        });
        let lines = match same_boot {
            true => lines.collect(),
            false => HashMap::new(),
        };
        let state = State {
            lines,
            ..State::default()
        };
        let log = Self {
            path,
            state: Mutex::new(state),
        };
        log.rewrite(&mut log.state.lock());
        log
    }

    /// What was finished under this GID.
    pub fn of(&self, gid: Gid) -> Option<Finished> {
        self.state.lock().lines.get(&gid).cloned()
    }

    /// What was finished at this path under a GID that was lost.
    pub fn orphan(&self, path: &Path) -> Option<Finished> {
        let state = self.state.lock();
        state.lines.get(state.orphans.get(path)?).cloned()
    }

    /// Sorts the lines of an earlier process: `is_open` tells whether a download is there that has
    /// not ended; `None`: nobody knows it.
    pub fn sort(&self, is_open: impl Fn(Gid) -> Option<bool>) {
        let mut state = self.state.lock();
        state.lines.retain(|gid, _| is_open(*gid) != Some(false));
        let unknown = state
            .lines
            .iter()
            .filter(|(gid, _)| is_open(**gid).is_none());
        let orphans: HashMap<_, _> = unknown
            .map(|(gid, finished)| (finished.path.clone(), *gid))
            .take(ORPHANS_MAX)
            .collect();
        let is_kept = |gid: &Gid| is_open(*gid).is_some() || orphans.values().any(|it| it == gid);
        state.lines.retain(|gid, _| is_kept(gid));
        state.orphans = orphans;
    }

    /// A download is whole; its control file goes, or it is moved, next.
    pub fn note(&self, gid: Gid, finished: Finished) {
        let mut state = self.state.lock();
        if let Some(lost) = state.orphans.remove(&finished.path) {
            state.lines.remove(&lost);
        }
        let written = append(&mut state, gid, &finished);
        state.lines.insert(gid, finished);
        if let Err(error) = written {
            debug!(%gid, %error, "a finished download is not noted");
        }
    }

    /// The store says now what has become of these.
    pub(super) fn settle(&self, gids: impl IntoIterator<Item = Gid>) {
        let mut state = self.state.lock();
        for gid in gids {
            state.lines.remove(&gid);
        }
        if state.len > LEN_MAX {
            self.rewrite(&mut state);
        } else if state.lines.is_empty() && state.len > 0 {
            let emptied = state.file.as_ref().map(|file| file.set_len(0));
            if matches!(emptied, Some(Ok(()))) {
                state.len = 0;
            }
        }
    }

    fn rewrite(&self, state: &mut State) {
        // Not truncated in place: a kill must not take the lines that are still needed.
        let written = file::replace(&self.path, |out| {
            for (gid, finished) in &state.lines {
                out.write_all(&encode(*gid, finished)?)?;
            }
            Ok(())
        });
        let opened = written.and_then(|()| File::options().append(true).open(&self.path));
        if let Err(error) = &opened {
            debug!(%error, "finished downloads are not noted");
        }
        state.file = opened.ok();
        let metadata = state.file.as_ref().and_then(|file| file.metadata().ok());
        state.len = metadata.map_or(0, |metadata| metadata.len());
    }
}

fn append(state: &mut State, gid: Gid, finished: &Finished) -> io::Result<()> {
    let line = encode(gid, finished)?;
    state.len += line.len() as u64;
    let file = state.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
    file.write_all(&line)
}

fn encode(gid: Gid, finished: &Finished) -> io::Result<Vec<u8>> {
    let line = Line {
        gid: gid.to_string(),
        finished: finished.clone(),
    };
    let mut line = serde_json::to_vec(&line)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gid(value: u64) -> Gid {
        Gid::new(value).unwrap()
    }

    fn finished(path: &str) -> Finished {
        Finished {
            path: path.into(),
            total: 7,
            piece_len: 4,
            moved_to: None,
        }
    }

    #[test]
    fn lines_are_there_until_the_store_says_so_and_until_the_next_boot() {
        let dir = tempfile::tempdir().unwrap();
        let log = FinishLog::open(dir.path(), true);
        log.note(gid(1), finished("/a"));
        log.note(gid(2), finished("/b"));
        log.settle([gid(1)]);
        drop(log);
        let text = std::fs::read_to_string(dir.path().join("finished.log")).unwrap();
        let cut = &text[..text.len() - 3];
        std::fs::write(dir.path().join("finished.log"), format!("{text}{cut}")).unwrap();

        let log = FinishLog::open(dir.path(), true);
        log.sort(|_| Some(true));
        assert_eq!(log.of(gid(2)), Some(finished("/b")));
        log.settle([gid(1), gid(2)]);
        let len = std::fs::metadata(dir.path().join("finished.log"))
            .unwrap()
            .len();
        assert_eq!((log.of(gid(2)), len), (None, 0));

        log.note(gid(3), finished("/c"));
        let log = FinishLog::open(dir.path(), false);
        assert_eq!(log.of(gid(3)), None);
    }

    #[test]
    fn what_nobody_knows_is_found_by_its_path_until_it_is_finished_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = FinishLog::open(dir.path(), true);
        for (number, path) in [(1, "/ended"), (2, "/open"), (3, "/lost")] {
            log.note(gid(number), finished(path));
        }
        let log = FinishLog::open(dir.path(), true);
        log.sort(|known| [None, Some(false), Some(true), None][known.value() as usize]);
        assert_eq!(
            (log.of(gid(1)), log.orphan(Path::new("/open"))),
            (None, None)
        );
        assert_eq!(log.orphan(Path::new("/lost")), Some(finished("/lost")));
        log.note(gid(4), finished("/lost"));
        assert_eq!(log.orphan(Path::new("/lost")), None);
    }
}
