//! The log: one event, two shapes. The console gets `MM/DD HH:MM:SS [NOTICE] text` after an empty
//! line (which ends the progress line), the log file
//! `YYYY-MM-DD HH:MM:SS.uuuuuu [LEVEL] [source:line] text key=value`.
//!
//! aria2 has five levels and so has `tracing`; they are laid over each other in order:
//!
//! | aria2 | error | warn | notice | info | debug |
//! |---|---|---|---|---|---|
//! | macro | `error!` | `warn!` | `info!` | `debug!` | `trace!` |
//!
//! So `info!` is what a user sees by default. On the console fields follow the text except `gid`,
//! which the text names where it matters. Other crates are heard only when they warn, and in the
//! log file only.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Zoned;
use parking_lot::RwLock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::{Registry, reload};

use super::output::{LogFile, LogLimits, LogSink, Output};
use crate::option::settings::ConsoleSettings;
use crate::option::value::LogLevel;

/// What the log file gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLog {
    /// `log`: a path, `-` for standard output, nothing for no log.
    pub path: Option<PathBuf>,
    /// `log-level`
    pub level: LogLevel,
    pub limits: LogLimits,
}

impl From<&ConsoleSettings> for FileLog {
    fn from(settings: &ConsoleSettings) -> Self {
        Self {
            path: settings.log.clone(),
            level: settings.log_level,
            limits: LogLimits {
                len_max: settings.log_len_max,
                old_files_max: settings.log_files_max,
            },
        }
    }
}

/// What the console gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsoleLog {
    /// `console-log-level`; `None` with `quiet`.
    pub level: Option<LogLevel>,
    /// Whether levels are coloured.
    pub color: bool,
}

impl ConsoleLog {
    fn filter(self) -> LevelFilter {
        self.level.map_or(LevelFilter::OFF, filter)
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Info => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// The running log, to be changed while the process lives.
#[derive(Clone)]
pub struct Log {
    output: Output,
    log_level: Arc<RwLock<LevelFilter>>,
    console_level: LevelFilter,
    max_level: reload::Handle<LevelFilter, Registry>,
}

impl Log {
    /// Makes this the log of the process.
    ///
    /// # Errors
    /// The log file cannot be opened.
    pub fn install(console: ConsoleLog, file: &FileLog, output: Output) -> io::Result<Log> {
        let (max_level, handle) = reload::Layer::new(LevelFilter::OFF);
        let log_level = Arc::new(RwLock::new(LevelFilter::OFF));
        let layer = LogLayer {
            console_level: console.filter(),
            color: console.color,
            log_level: Arc::clone(&log_level),
            output: output.clone(),
        };
        let subscriber = Registry::default().with(max_level).with(layer);
        // An embedder, or another test in this process, may have installed its own: then that
        // one stays and only the console's progress is ours.
        let _ = tracing::subscriber::set_global_default(subscriber);
        let log = Log {
            output,
            log_level,
            console_level: console.filter(),
            max_level: handle,
        };
        log.change(file)?;
        Ok(log)
    }

    /// Sends the log elsewhere or changes its level (`aria2.changeGlobalOption`).
    ///
    /// # Errors
    /// The file cannot be opened; the log stays as it was.
    pub fn change(&self, to: &FileLog) -> io::Result<()> {
        let sink = open_sink(to)?;
        let level = match sink {
            LogSink::None => LevelFilter::OFF,
            _ => filter(to.level),
        };
        *self.log_level.write() = level;
        self.output.set_log(sink);
        // Fails only when the subscriber is gone, and then nobody logs.
        let _ = self
            .max_level
            .modify(|max| *max = level.max(self.console_level));
        Ok(())
    }
}

fn open_sink(to: &FileLog) -> io::Result<LogSink> {
    match to.path.as_deref() {
        None => Ok(LogSink::None),
        Some(path) if path == Path::new("-") => Ok(LogSink::Stdout),
        Some(path) => LogFile::open(path, to.limits).map(LogSink::File),
    }
}

struct LogLayer {
    console_level: LevelFilter,
    color: bool,
    log_level: Arc<RwLock<LevelFilter>>,
    output: Output,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) || *metadata.level() <= Level::WARN {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = metadata.level();
        let now = Zoned::now();
        if *level <= self.console_level && is_ours(metadata) {
            self.output.console(console_text(&now, event, self.color));
        }
        if *level <= *self.log_level.read() {
            self.output.log(log_line(&now, event));
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next();
    root == Some(env!("CARGO_CRATE_NAME"))
}

fn console_text(now: &Zoned, event: &Event<'_>, color: bool) -> String {
    let mut text = Text {
        shown: String::new(),
        fields: String::new(),
        hidden: Some("gid"),
    };
    event.record(&mut text);
    let (word, sgr) = level_word(event.metadata().level());
    let time = now.strftime("%m/%d %H:%M:%S");
    let level = match color {
        true => format!("\x1b[{sgr}m{word}\x1b[0m"),
        false => word.to_owned(),
    };
    format!("\n{time} [{level}] {text}\n")
}

fn log_line(now: &Zoned, event: &Event<'_>) -> String {
    let mut text = Text {
        shown: String::new(),
        fields: String::new(),
        hidden: None,
    };
    event.record(&mut text);
    let metadata = event.metadata();
    let (word, _) = level_word(metadata.level());
    let file = metadata.file().unwrap_or("?");
    let file = file.strip_prefix("src/").unwrap_or(file);
    let line = metadata.line().unwrap_or(0);
    let time = now.strftime("%Y-%m-%d %H:%M:%S%.6f");
    format!("{time} [{word}] [{file}:{line}] {text}\n")
}

/// aria2's word for a level, and its colour as an SGR parameter.
fn level_word(level: &Level) -> (&'static str, &'static str) {
    match *level {
        Level::ERROR => ("ERROR", "1;31"),
        Level::WARN => ("WARN", "1;33"),
        Level::INFO => ("NOTICE", "1;32"),
        Level::DEBUG => ("INFO", "1;36"),
        Level::TRACE => ("DEBUG", "1;37"),
    }
}

/// Collects the message and the fields of an event.
struct Text {
    shown: String,
    fields: String,
    hidden: Option<&'static str>,
}

impl Text {
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        if field.name() == "message" {
            let _ = self.shown.write_fmt(value);
        } else if Some(field.name()) != self.hidden {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // File names and servers' words may carry terminal commands.
        for ch in self.shown.trim_end().chars().chain(self.fields.chars()) {
            match ch {
                '\n' | '\t' => f.write_char(ch)?,
                ch if ch.is_control() => write!(f, "{}", ch.escape_default())?,
                ch => f.write_char(ch)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::output::Stream;
    use super::*;

    fn file(path: &str, level: LogLevel) -> FileLog {
        FileLog {
            path: Some(path.into()),
            level,
            limits: LogLimits::default(),
        }
    }

    const SILENT: ConsoleLog = ConsoleLog {
        level: None,
        color: false,
    };

    #[test]
    fn log_file_gets_levels_places_and_fields_and_follows_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let output = Output::start(Stream::Stderr).unwrap();
        let log = Log::install(SILENT, &file(&path("a"), LogLevel::Info), output.clone()).unwrap();
        tracing::info!(gid = "00ab", tries = 3, "te\x1bxt");
        tracing::debug!(target: "arioso::x", "shown");
        tracing::trace!("hidden");
        tracing::debug!(target: "hyper::client", "not ours");
        tracing::warn!(target: "hyper::client", "foreign");
        log.change(&file(&path("b"), LogLevel::Error)).unwrap();
        tracing::warn!("too quiet");
        tracing::error!("loud");
        assert!(
            log.change(&file(&path("no/such"), LogLevel::Debug))
                .is_err()
        );
        tracing::error!("still there");
        output.flush(Duration::from_secs(10));

        let lines = |name: &str| {
            let text = std::fs::read_to_string(path(name)).unwrap();
            // Other tests of this process may log too.
            let ours = text
                .lines()
                .filter(|line| line.contains("[observe/log.rs:"));
            ours.map(str::to_owned).collect::<Vec<_>>()
        };
        let a = lines("a");
        assert_eq!(a.len(), 3, "{a:?}");
        assert!(a[0].contains(" [NOTICE] [observe/log.rs:"), "{a:?}");
        assert!(a[0].ends_with("] te\\u{1b}xt gid=00ab tries=3"), "{a:?}");
        assert!(
            a[1].contains(" [INFO] ") && a[1].ends_with("shown"),
            "{a:?}"
        );
        assert!(a[2].ends_with("foreign"), "{a:?}");
        assert_eq!(lines("b").len(), 2);
        let (date, rest) = a[0].split_once(' ').unwrap();
        assert_eq!((date.len(), rest.find(' ')), (10, Some(15)), "{a:?}");
    }
}
