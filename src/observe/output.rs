//! The one thread that writes to the console and to the log file, so that a slow terminal, a full
//! pipe or a stalled disk never holds up whoever has something to say.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Text that waits to be written beyond this is dropped, and the number of lost lines is told.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// Which standard stream the console is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    Stdout,
    /// `stderr=true`.
    Stderr,
}

impl Stream {
    fn write(self, text: &[u8]) -> io::Result<()> {
        match self {
            Stream::Stdout => write_and_flush(&mut io::stdout().lock(), text),
            Stream::Stderr => write_and_flush(&mut io::stderr().lock(), text),
        }
    }
}

fn write_and_flush(to: &mut impl Write, text: &[u8]) -> io::Result<()> {
    to.write_all(text)?;
    to.flush()
}

/// Where log lines go.
#[derive(Debug)]
pub enum LogSink {
    None,
    /// `log=-`
    Stdout,
    File(LogFile),
}

/// A file that is appended to, and put aside when it grows too long: `log` becomes `log.1`, that
/// one `log.2`, and so on.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    len: u64,
    limits: LogLimits,
}

/// How long a log file may become and how many older ones are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogLimits {
    /// Bytes; `None`: no limit.
    pub len_max: Option<u64>,
    /// Files put aside that are kept.
    pub old_files_max: usize,
}

impl LogFile {
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn open(path: &Path, limits: LogLimits) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(LogFile {
            file,
            path: path.to_owned(),
            len,
            limits,
        })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let full = self.limits.len_max.is_some_and(|max| self.len >= max);
        if full && self.put_aside().is_err() {
            // It is still open, and is tried again when it has grown as much once more.
            self.len = 0;
        }
        self.len += text.len() as u64;
        self.file.write_all(text)
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let old = |number: usize| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let kept = self.limits.old_files_max;
        for number in (1..kept).rev() {
            unless_gone(fs::rename(old(number), old(number + 1)))?;
        }
        // Another program may have put it aside already.
        match kept {
            0 => unless_gone(fs::remove_file(&self.path))?,
            _ => unless_gone(fs::rename(&self.path, old(1)))?,
        }
        *self = LogFile::open(&self.path, self.limits)?;
        Ok(())
    }
}

/// What became of a file that does not have to be there.
fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

enum Job {
    Console(String),
    Log(String),
    Sink(LogSink),
    Flush(SyncSender<()>),
}

/// A handle on the writer thread. The thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Output {
    jobs: Sender<Job>,
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Pending {
    bytes: AtomicUsize,
    lines_lost: AtomicU64,
}

impl Output {
    /// Starts the thread. Call it after the process has become a daemon: threads do not survive
    /// a fork.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(console: Stream) -> io::Result<Output> {
        let (jobs, queue) = channel();
        let pending = Arc::new(Pending::default());
        let writer = Writer {
            console,
            log: LogSink::None,
            pending: Arc::clone(&pending),
        };
        thread::Builder::new()
            .name("arioso-output".into())
            .spawn(move || writer.run(&queue))?;
        Ok(Output { jobs, pending })
    }

    /// Writes `text` to the console as it is.
    pub fn console(&self, text: String) {
        self.offer(text, Job::Console);
    }

    /// Writes `line`, which brings its own line feed, to the log.
    pub fn log(&self, line: String) {
        self.offer(line, Job::Log);
    }

    /// Sends all later log lines to `sink`.
    pub fn set_log(&self, sink: LogSink) {
        // The thread lives as long as a handle does, so a send cannot fail.
        let _ = self.jobs.send(Job::Sink(sink));
    }

    /// Waits until everything said so far is written, but not longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, wait) = sync_channel(1);
        let _ = self.jobs.send(Job::Flush(done));
        let _ = wait.recv_timeout(patience);
    }

    fn offer(&self, text: String, job: impl FnOnce(String) -> Job) {
        let len = text.len();
        if self.pending.bytes.fetch_add(len, Ordering::Relaxed) > PENDING_BYTES_MAX {
            self.pending.bytes.fetch_sub(len, Ordering::Relaxed);
            self.pending.lines_lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let _ = self.jobs.send(job(text));
    }
}

struct Writer {
    console: Stream,
    log: LogSink,
    pending: Arc<Pending>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let mut log = String::new();
            for job in std::iter::once(first).chain(queue.try_iter()) {
                self.take(job, &mut log);
            }
            self.write_log(&mut log);
        }
    }

    /// Console text is written at once, log lines are gathered into one write.
    fn take(&mut self, job: Job, log: &mut String) {
        match job {
            Job::Console(text) => {
                // A console that is gone (closed pipe) is no reason to stop downloading.
                let _ = self.console.write(text.as_bytes());
                self.pending.bytes.fetch_sub(text.len(), Ordering::Relaxed);
            }
            Job::Log(line) => log.push_str(&line),
            Job::Sink(sink) => {
                self.write_log(log);
                self.log = sink;
            }
            Job::Flush(done) => {
                self.write_log(log);
                let _ = done.send(());
            }
        }
    }

    fn write_log(&mut self, log: &mut String) {
        if log.is_empty() {
            return;
        }
        let len = log.len();
        let lost = self.pending.lines_lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            log.push_str(&format!(
                "... {lost} lines lost: the log could not be written in time\n"
            ));
        }
        // A full disk must not stop the program; there is nobody left to tell.
        let _ = match &mut self.log {
            LogSink::None => Ok(()),
            LogSink::Stdout => Stream::Stdout.write(log.as_bytes()),
            LogSink::File(file) => file.write(log.as_bytes()),
        };
        self.pending.bytes.fetch_sub(len, Ordering::Relaxed);
        log.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_go_to_the_sink_of_their_time() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = dir.path().join(name);
            LogSink::File(LogFile::open(&path, LogLimits::default()).unwrap())
        };
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let output = Output::start(Stream::Stderr).unwrap();
        output.log("nowhere\n".into());
        output.set_log(open("a"));
        output.log("one\n".into());
        output.log("two\n".into());
        output.set_log(open("b"));
        output.log("three\n".into());
        output.flush(Duration::from_secs(10));
        assert_eq!(read("a"), "one\ntwo\n");
        assert_eq!(read("b"), "three\n");
        assert_eq!(output.pending.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_log_file_that_cannot_be_put_aside_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let limits = LogLimits {
            len_max: Some(5),
            old_files_max: 1,
        };
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let mut log = LogFile::open(&path, limits).unwrap();
        log.write(b"first\n").unwrap();
        // As logrotate does it.
        fs::rename(&path, dir.path().join("taken")).unwrap();
        log.write(b"second\n").unwrap();
        assert_eq!(
            (read("taken"), read("log")),
            ("first\n".into(), "second\n".into())
        );
        // Its old name is taken by what cannot be replaced.
        fs::create_dir_all(dir.path().join("log.1/in-use")).unwrap();
        log.write(b"third\n").unwrap();
        log.write(b"fourth\n").unwrap();
        assert_eq!(read("log"), "second\nthird\nfourth\n");
    }

    #[test]
    fn long_log_files_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let limits = LogLimits {
            len_max: Some(5),
            old_files_max: 2,
        };
        let mut log = LogFile::open(&path, limits).unwrap();
        for text in ["one\n", "two\n", "three\n", "four4\n", "five5\n"] {
            log.write(text.as_bytes()).unwrap();
        }
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        files.sort();
        let expected = [
            ("log", "five5\n"),
            ("log.1", "four4\n"),
            ("log.2", "three\n"),
        ];
        assert_eq!(
            files,
            expected.map(|(name, text)| (name.into(), text.into()))
        );
    }
}
