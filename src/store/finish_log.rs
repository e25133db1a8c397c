//! What was finished while the session did not say so yet.
//!
//! The store is flushed at most once a second, but the control file of a small download is gone
//! sooner: a kill in between would leave a finished file that nobody knows to be ours, and its
//! download would be fetched again under another name. So a line is written here before the control
//! file goes; it is dropped when the store has said it all. A line survives the end of the process
//! and not that of the machine, where control files are not trusted blindly either.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::file;
use crate::base::gid::Gid;

/// The file is written anew when it is longer than this, in bytes.
const LEN_MAX: u64 = 64 << 10;
/// A download does not wait longer for its line.
const PATIENCE: Duration = Duration::from_millis(100);
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

/// The log, in the state directory. A thread of its own writes it: the disk of the session may take
/// seconds to answer, and downloads go on meanwhile.
pub struct FinishLog {
    lines: Arc<Mutex<Lines>>,
    jobs: Sender<Job>,
    /// The disk has not answered in time.
    is_stalled: Arc<AtomicBool>,
}

#[derive(Default)]
struct Lines {
    by_gid: HashMap<Gid, Finished>,
    /// Paths of those whose GID the session never came to know.
    orphans: HashMap<PathBuf, Gid>,
}

enum Job {
    /// A line, and who waits for it.
    Append(Vec<u8>, SyncSender<()>),
    /// Some lines are of no use any more.
    Tidy,
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
        let by_gid = match same_boot {
            true => lines.collect(),
            false => HashMap::new(),
        };
        let lines = Arc::new(Mutex::new(Lines {
            by_gid,
            ..Lines::default()
        }));
        let (jobs, inbox) = channel();
        let is_stalled = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            path,
            file: None,
            len: 0,
            lines: Arc::clone(&lines),
        };
        writer.rewrite();
        let stalled = Arc::clone(&is_stalled);
        let thread = thread::Builder::new().name("arioso-finished".to_owned());
        // Without a thread the inbox is gone: nothing is noted then.
        let _ = thread.spawn(move || writer.run(&inbox, &stalled));
        Self {
            lines,
            jobs,
            is_stalled,
        }
    }

    /// What was finished under this GID.
    pub fn of(&self, gid: Gid) -> Option<Finished> {
        self.lines.lock().by_gid.get(&gid).cloned()
    }

    /// What was finished at this path under a GID that was lost.
    pub fn orphan(&self, path: &Path) -> Option<Finished> {
        let lines = self.lines.lock();
        lines.by_gid.get(lines.orphans.get(path)?).cloned()
    }

    /// Sorts the lines of an earlier process: `is_open` tells whether a download is there that has
    /// not ended; `None`: nobody knows it.
    pub fn sort(&self, is_open: impl Fn(Gid) -> Option<bool>) {
        let lines = &mut *self.lines.lock();
        lines.by_gid.retain(|gid, _| is_open(*gid) != Some(false));
        let unknown = lines.by_gid.iter();
        let unknown = unknown.filter(|(gid, _)| is_open(**gid).is_none());
        let orphans: HashMap<_, _> = unknown
            .map(|(gid, finished)| (finished.path.clone(), *gid))
            .take(ORPHANS_MAX)
            .collect();
        let kept: HashSet<Gid> = orphans.values().copied().collect();
        let is_kept = |gid: &Gid| is_open(*gid).is_some() || kept.contains(gid);
        lines.by_gid.retain(|gid, _| is_kept(gid));
        lines.orphans = orphans;
    }

    /// A download is whole; its control file goes, or it is moved, next. Blocks until the system
    /// has the line, but not for a disk that stalls.
    pub fn note(&self, gid: Gid, finished: Finished) {
        let line = encode(gid, &finished);
        {
            let mut lines = self.lines.lock();
            if let Some(lost) = lines.orphans.remove(&finished.path) {
                lines.by_gid.remove(&lost);
            }
            lines.by_gid.insert(gid, finished);
        }
        // A path that is no text is not noted.
        let Ok(line) = line else { return };
        let (done, written) = sync_channel(1);
        if self.jobs.send(Job::Append(line, done)).is_ok()
            && !self.is_stalled.load(Ordering::Relaxed)
            && written.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout)
        {
            self.is_stalled.store(true, Ordering::Relaxed);
        }
    }

    /// The store says now what has become of these.
    pub(super) fn settle(&self, gids: impl IntoIterator<Item = Gid>) {
        let mut lines = self.lines.lock();
        let before = lines.by_gid.len();
        for gid in gids {
            lines.by_gid.remove(&gid);
        }
        if lines.by_gid.len() < before {
            // An error means that there is no thread, and no file.
            let _ = self.jobs.send(Job::Tidy);
        }
    }
}

/// The file, on its thread.
struct Writer {
    path: PathBuf,
    /// `None`: it could not be opened.
    file: Option<File>,
    /// Bytes in the file.
    len: u64,
    lines: Arc<Mutex<Lines>>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>, is_stalled: &AtomicBool) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Append(line, done) => {
                    self.append(&line);
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                }
                Job::Tidy => self.tidy(),
            }
            is_stalled.store(false, Ordering::Relaxed);
        }
    }

    fn append(&mut self, line: &[u8]) {
        self.len += line.len() as u64;
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.write_all(line)) {
            debug!(%error, "a finished download is not noted");
        }
    }

    fn tidy(&mut self) {
        if self.len > LEN_MAX {
            return self.rewrite();
        }
        // A line that is added to the table meanwhile is appended after this.
        if self.len > 0 && self.lines.lock().by_gid.is_empty() {
            let emptied = self.file.as_ref().map(|file| file.set_len(0));
            if matches!(emptied, Some(Ok(()))) {
                self.len = 0;
            }
        }
    }

    /// Not in place: a kill must not take the lines that are still needed.
    fn rewrite(&mut self) {
        let encoded = |(gid, finished): (&Gid, &Finished)| encode(*gid, finished).ok();
        let lines: Vec<Vec<u8>> = self
            .lines
            .lock()
            .by_gid
            .iter()
            .filter_map(encoded)
            .collect();
        let text = lines.concat();
        let opened = file::replace(&self.path, |out| out.write_all(&text))
            .and_then(|()| File::options().append(true).open(&self.path));
        if let Err(error) = &opened {
            debug!(%error, "finished downloads are not noted");
        }
        self.file = opened.ok();
        self.len = text.len() as u64;
    }
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

    /// The log's file once it has so many lines.
    fn text(dir: &Path, lines: usize) -> String {
        let begin = std::time::Instant::now();
        loop {
            let text = std::fs::read_to_string(dir.join("finished.log")).unwrap();
            if text.lines().count() == lines && (lines == 0 || text.ends_with('\n')) {
                return text;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{text}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn lines_are_there_until_the_store_says_so_and_until_the_next_boot() {
        let dir = tempfile::tempdir().unwrap();
        let log = FinishLog::open(dir.path(), true);
        log.note(gid(1), finished("/a"));
        log.note(gid(2), finished("/b"));
        log.settle([gid(1)]);
        let whole = text(dir.path(), 2);
        drop(log);
        let cut = &whole[..whole.len() - 3];
        std::fs::write(dir.path().join("finished.log"), format!("{whole}{cut}")).unwrap();

        let log = FinishLog::open(dir.path(), true);
        log.sort(|_| Some(true));
        assert_eq!(log.of(gid(2)), Some(finished("/b")));
        log.settle([gid(1), gid(2)]);
        assert_eq!(log.of(gid(2)), None);
        text(dir.path(), 0);

        log.note(gid(3), finished("/c"));
        text(dir.path(), 1);
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
        text(dir.path(), 3);
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
