//! What the console shows while downloads run and when the program ends. Rendering is in `cli`;
//! here are the clock, the terminal's width and the figures.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use jiff::Zoned;
use tracing::{error, info};

use super::feed::{Fed, Refused};
use crate::base::gid::Gid;
use crate::base::secret::SafeUrl;
use crate::cli::readout::{self, Progress, Style, Swarm};
use crate::cli::results::{self, FileResult};
use crate::cli::style::{Colors, truncate};
use crate::engine::{Brief, Download, DownloadState, Event, EventKind, FileView, Registry};
use crate::observe::output::{Output, Stream};
use crate::option::settings::ConsoleSettings;
use crate::option::value::DownloadResult;
use crate::transfer::Phase;

/// Width of rules and of the progress line where the terminal has none.
const COLUMNS: usize = 79;

/// So many average speeds are kept before those of forgotten downloads are dropped.
const AVERAGES_MAX: usize = 4096;

/// The console of the process.
pub struct Console {
    output: Output,
    settings: ConsoleSettings,
    terminal: Terminal,
    started: HashMap<Gid, (Instant, u64)>,
    averages: HashMap<Gid, Option<u64>>,
    /// In the order of their interruption, at the end of the process.
    interrupted: Vec<Gid>,
    /// What came of the command line and the input file, once that is known.
    fed: Option<Fed>,
    next_summary: Option<Instant>,
    line_shown: bool,
}

/// The stream that the console is.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    stream: Stream,
    is_terminal: bool,
}

impl Terminal {
    pub fn new(stream: Stream) -> Self {
        let is_terminal = match stream {
            Stream::Stdout => io::stdout().is_terminal(),
            Stream::Stderr => io::stderr().is_terminal(),
        };
        Self {
            stream,
            is_terminal,
        }
    }

    /// Whether and how to colour, given `enable-color`.
    pub fn colors(self, enabled: bool) -> Colors {
        Colors {
            on: enabled && self.is_terminal,
        }
    }

    /// One less than the width, lest the terminal begins a new line.
    fn columns(self) -> usize {
        let size = match self.stream {
            _ if !self.is_terminal => return COLUMNS,
            Stream::Stdout => rustix::termios::tcgetwinsize(io::stdout()),
            Stream::Stderr => rustix::termios::tcgetwinsize(io::stderr()),
        };
        match size {
            Ok(size) if size.ws_col > 1 => usize::from(size.ws_col) - 1,
            _ => COLUMNS,
        }
    }
}

impl Console {
    pub fn new(output: Output, settings: ConsoleSettings, terminal: Terminal) -> Self {
        let next_summary = settings
            .summary_interval
            .map(|interval| Instant::now() + interval);
        Self {
            output,
            settings,
            terminal,
            started: HashMap::new(),
            averages: HashMap::new(),
            interrupted: Vec::new(),
            fed: None,
            next_summary,
            line_shown: false,
        }
    }

    /// Tells of an event and keeps the times it needs for the table of results.
    pub fn handle(&mut self, event: &Event, registry: &Registry) {
        let now = Instant::now();
        let download = registry.get(event.gid);
        match event.kind {
            EventKind::Started => {
                let completed = download.map_or(0, Download::completed_len);
                self.started.insert(event.gid, (now, completed));
            }
            EventKind::BtComplete => {}
            _ => self.note_end(event.gid, download, now, registry),
        }
        if event.kind == EventKind::Interrupted {
            self.interrupted.push(event.gid);
        }
        tell(event);
    }

    fn note_end(
        &mut self,
        gid: Gid,
        download: Option<&Download>,
        now: Instant,
        registry: &Registry,
    ) {
        let Some((start, completed_then)) = self.started.remove(&gid) else {
            return;
        };
        let completed = download.map_or(0, Download::completed_len);
        let average = average_speed(completed.saturating_sub(completed_then), now - start);
        self.averages.insert(gid, average);
        if self.averages.len() > AVERAGES_MAX.max(2 * registry.counts().stopped) {
            self.averages.retain(|gid, _| registry.contains(*gid));
        }
    }

    /// Once a second: the progress line, and the summary when it is due.
    pub fn tick(&mut self, registry: &Registry, now: Instant) {
        if self.settings.quiet {
            return;
        }
        let summary_due = self.next_summary.is_some_and(|due| due <= now);
        if !summary_due && !self.settings.show_readout {
            return;
        }
        let active: Vec<Progress> = registry
            .active()
            .map(|download| progress(download, now))
            .collect();
        if summary_due {
            self.next_summary = self
                .settings
                .summary_interval
                .map(|interval| now + interval);
            if !active.is_empty() {
                self.print_summary(&active);
            }
        }
        if self.settings.show_readout {
            self.print_line(&active);
        }
    }

    fn print_summary(&mut self, active: &[Progress]) {
        let now = Zoned::now().strftime("%a %b %e %H:%M:%S %Y").to_string();
        let columns = self.terminal.columns();
        let human = self.settings.human_readable;
        let block = readout::summary(active, &now, columns, human);
        self.output.console(format!("{}{block}\n", self.cleared()));
        self.line_shown = false;
    }

    /// A terminal shows one line that is overwritten, everything else gets line after line.
    fn print_line(&mut self, active: &[Progress]) {
        let style = Style {
            colors: self.terminal.colors(self.settings.color),
            human: self.settings.human_readable,
        };
        let mut line = readout::line(active, style);
        if !self.terminal.is_terminal {
            if !line.is_empty() {
                self.output.console(line + "\n");
            }
            return;
        }
        if self.settings.truncate_readout {
            line = truncate(&line, self.terminal.columns());
        }
        if self.line_shown || !line.is_empty() {
            self.output.console(self.cleared() + &line);
        }
        self.line_shown = !line.is_empty();
    }

    /// What empties the line the cursor stands in.
    fn cleared(&self) -> String {
        match self.terminal.is_terminal {
            true => format!("\r{}\r", " ".repeat(self.terminal.columns())),
            false => String::new(),
        }
    }

    /// How the table of results is to look.
    pub fn show_results(&mut self, results: DownloadResult) {
        self.settings.results = results;
    }

    /// Keeps what the table of results needs.
    pub fn take_fed(&mut self, fed: Fed) {
        self.fed = Some(fed);
    }

    /// The table of results, and a hint where something is left to do. Without any download only
    /// a server has a table.
    pub fn print_results(&self, registry: &Registry, is_server: bool) {
        if self.settings.quiet {
            return;
        }
        let counts = registry.counts();
        if !is_server && counts.active + counts.waiting == 0 && counts.stopped_total == 0 {
            match &self.fed {
                // What went wrong was told.
                None => return,
                Some(fed) if fed.count == 0 => {
                    self.output.console("No files to download.\n".to_owned());
                    return;
                }
                Some(_) => {}
            }
        }
        let now = Instant::now();
        let interrupted = self.interrupted.iter().filter_map(|gid| registry.get(*gid));
        let stopped = registry
            .stopped()
            .map(|download| (download, status(download)))
            .chain(interrupted.map(|download| (download, results::Status::InProgress)))
            .map(|(download, status)| self.result(download, status, now));
        let refused = self.fed.iter().flat_map(|fed| &fed.refused);
        let results: Vec<_> = refused.map(refused_result).chain(stopped).collect();
        let mut text = String::new();
        if self.settings.results != DownloadResult::Hide {
            let full = self.settings.results == DownloadResult::Full;
            let colors = self.terminal.colors(self.settings.color);
            text = results::table(&results, full, COLUMNS, colors);
        }
        let unfinished = |result: &results::DownloadResult| {
            matches!(
                result.status,
                results::Status::InProgress | results::Status::Failed
            )
        };
        if results.iter().any(unfinished) {
            text.push_str(
                "\nWhat is not finished goes on from where it stopped when it is started again.\n\
                 For more about errors, keep a log: --log=FILE\n",
            );
        }
        self.output.console(text);
    }

    fn result(
        &self,
        download: &Download,
        status: results::Status,
        now: Instant,
    ) -> results::DownloadResult {
        let running = self.started.get(&download.gid()).and_then(|(start, then)| {
            average_speed(download.completed_len().saturating_sub(*then), now - *start)
        });
        let ended = self.averages.get(&download.gid()).copied().flatten();
        results::DownloadResult {
            gid: download.gid(),
            status,
            average_speed: ended.or(running),
            files: {
                let files = download.files();
                let wanted = files.iter().filter(|file| file.selected);
                wanted.map(file_result).collect()
            },
        }
    }
}

fn refused_result(refused: &Refused) -> results::DownloadResult {
    results::DownloadResult {
        gid: refused.gid,
        status: results::Status::Failed,
        average_speed: None,
        files: vec![FileResult {
            name: results::name("", Some(&refused.uri)),
            completed: 0,
            total: 0,
        }],
    }
}

fn status(download: &Download) -> results::Status {
    match download.status() {
        "complete" => results::Status::Complete,
        "removed" => results::Status::Removed,
        _ => results::Status::Failed,
    }
}

fn file_result(file: &FileView) -> FileResult {
    FileResult {
        name: file_name(file),
        completed: file.completed,
        total: file.length,
    }
}

fn file_name(file: &FileView) -> String {
    let uri = file.uris.first().map(|entry| &*entry.uri);
    results::name(&file.path, uri)
}

fn progress(download: &Download, now: Instant) -> Progress {
    let files = download.files();
    let selected = || files.iter().filter(|file| file.selected);
    let first = selected().next().map_or("n/a".to_owned(), file_name);
    let verified = download.verified_len();
    Progress {
        gid: download.gid(),
        total: download.total_len(),
        // While a file is verified its bytes are all there.
        completed: match verified {
            Some(_) => download.total_len(),
            None => download.completed_len(),
        },
        uploaded: download.uploaded_len(),
        connections: download.connections(),
        swarm: download.brief().and_then(Brief::info_hash).map(|_| Swarm {
            seeders: download.seeders(),
            seeding: *download.state() == DownloadState::Active(Phase::Seeding),
        }),
        down_speed: download.down_speed(now),
        up_speed: download.up_speed(now),
        allocated: download.allocated_len(),
        verified,
        name: results::name_of_many(first, selected().count()),
    }
}

/// Bytes a second; `None` when no time passed that could be measured.
fn average_speed(bytes: u64, time: Duration) -> Option<u64> {
    let bytes_a_second = u128::from(bytes) * 1000;
    bytes_a_second
        .checked_div(time.as_millis())
        .map(|speed| u64::try_from(speed).unwrap_or(u64::MAX))
}

/// The notice of an event.
fn tell(event: &Event) {
    let Event { gid, subject, .. } = event;
    let path = &subject.path;
    match event.kind {
        EventKind::Complete | EventKind::SeedingInterrupted => {
            info!(%gid, "Download complete: {path}");
        }
        EventKind::Paused => info!(%gid, "Download GID#{gid} paused"),
        EventKind::Stopped => info!(%gid, "Download GID#{gid} removed: {path}"),
        EventKind::Interrupted => info!(%gid, "Download GID#{gid} not complete: {path}"),
        EventKind::Failed => {
            let code = subject.error.map_or(1, |code| code.code());
            let text = &subject.error_text;
            let uri = subject.uri.as_ref();
            let uri = uri.map_or_else(String::new, |uri| format!(" URI={}", SafeUrl(uri)));
            error!(%gid, "Download GID#{gid} failed: errorCode={code} {text}{uri}");
        }
        EventKind::Started | EventKind::BtComplete => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_speed_needs_a_measurable_time() {
        assert_eq!(average_speed(1000, Duration::from_micros(900)), None);
        assert_eq!(average_speed(1000, Duration::from_millis(2)), Some(500_000));
        assert_eq!(average_speed(0, Duration::from_secs(2)), Some(0));
        let most = average_speed(u64::MAX, Duration::from_millis(1));
        assert_eq!(most, Some(u64::MAX));
    }
}
