//! Rank 10: the program. Options are loaded, the process is set up, the engine and what stands
//! around it are started, and at the end comes the exit status.

mod console;
mod feed;
mod local;
mod process;
mod serve;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::base::error::{ErrorCode, Failure};
use crate::cli::{file_list, help, version};
use crate::engine::{Engine, EngineConfig};
use crate::format::metainfo::Metainfo;
use crate::format::metalink::Metalink;
use crate::net::Interface;
use crate::observe::hook::Hooks;
use crate::observe::log::{ConsoleLog, FileLog, Log};
use crate::observe::output::{Output, Stream};
use crate::option::argv::{self, Action, Argv};
use crate::option::load::{self, Loaded, Surroundings};
use crate::option::settings::{ConnectionSettings, ConsoleSettings, EngineSettings, RpcSettings};
use crate::option::spec::ERASE;
use crate::option::value::EventPoll;
use crate::option::{OptionId, OptionSet, keys};
use crate::rpc::{self, RpcServer};

use console::{Console, Terminal};
use feed::Feed;
use serve::{EndLimits, Session, Signals};

/// How long the end of the program waits until all text is written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Runs the program with these arguments, the first of which is its name, and gives the exit
/// status (aria2 manual, section EXIT STATUS).
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    match start(args) {
        Ok(code) => code.code(),
        Err(failure) => {
            // There may be no log yet, and a closed standard error is nobody's fault.
            let _ = writeln!(io::stderr(), "{failure}");
            failure.code.code()
        }
    }
}

fn start(args: impl IntoIterator<Item = OsString>) -> Result<ErrorCode, Failure> {
    process::share_memory();
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_default();
    let args: Vec<String> = args.map(text_of).collect::<Result<_, _>>()?;
    let argv = argv::parse(args)?;
    match &argv.action {
        Action::Version => return print(&version::text()),
        Action::Help(topic) => return print(&help::text(topic)),
        Action::Run => {}
    }
    hide_secrets(&argv);
    let program = Path::new(&program).file_stem().unwrap_or_default();
    let loaded = load::load(argv, &program.to_string_lossy(), &Machine)?;
    if loaded.global.get(keys::SHOW_FILES) {
        return show_files(&loaded);
    }
    let feed = Feed::new(loaded.uris.clone(), &loaded.global)?;
    if feed.is_empty() && !loaded.global.get(keys::ENABLE_RPC) {
        return Err(Failure::fatal(
            ErrorCode::Unknown,
            "Nothing to download: give a URI, an input file (-i) or --enable-rpc. \
             See --help for all options.",
        ));
    }
    for interface in ConnectionSettings::from(&loaded.global).interfaces {
        Interface::find(&interface)?;
    }
    if loaded.global.get(keys::DAEMON) {
        process::daemonize().map_err(|error| startup("become a daemon", &error))?;
    }
    run_session(&loaded, feed)
}

/// `--show-files`: what is in the torrents and Metalinks that were given.
fn show_files(loaded: &Loaded) -> Result<ErrorCode, Failure> {
    let torrent = loaded.global.get(keys::TORRENT_FILE);
    let metalink = loaded.global.get(keys::METALINK_FILE);
    // URIs beside it are its web seeds.
    let only = torrent.or(metalink).map(|path| path.to_string());
    let given: Vec<&String> = match &only {
        Some(path) => vec![path],
        None => loaded.uris.iter().collect(),
    };
    let mut text = String::new();
    for path in given {
        if only.is_none() {
            text.push_str(&format!(">>> Printing the contents of file '{path}'...\n"));
        }
        text.push_str(&match local::kind_of(path) {
            Some(kind) => contents_of(path, kind)?,
            None => "Neither a torrent nor a Metalink: skipped.\n\n".to_owned(),
        });
    }
    print(&text)
}

fn contents_of(path: &str, kind: local::Kind) -> Result<String, Failure> {
    let bytes = local::bytes(path).map_err(|error| startup(&format!("read {path}"), &error))?;
    if kind == local::Kind::Metalink {
        let metalink = Metalink::parse(&bytes, None)?;
        return Ok(file_list::of_metalink(&metalink));
    }
    let name = Path::new(path).file_name().unwrap_or_default();
    let metainfo = Metainfo::parse(&bytes, &format!("{}.file", name.to_string_lossy()))?;
    Ok(file_list::of_torrent(&metainfo))
}

/// An argument as text. Bytes of a URI that are no UTF-8 are escaped, as aria2 does; a path with
/// such bytes would become another path, so it is refused.
fn text_of(arg: OsString) -> Result<String, Failure> {
    arg.into_string().or_else(|arg| {
        let bytes = arg.as_encoded_bytes();
        if bytes.starts_with(b"-") || !bytes.windows(3).any(|three| three == b"://") {
            let shown = arg.to_string_lossy();
            let text = format!("Arguments must be UTF-8, but this one is not: {shown}");
            return Err(Failure::fatal(ErrorCode::Option, text));
        }
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        Ok(text)
    })
}

fn hide_secrets(argv: &Argv) {
    let is_secret = |id: &OptionId| id.spec().scope.has(ERASE);
    let secrets: Vec<&str> = argv
        .sets
        .iter()
        .filter(|(id, text)| is_secret(id) && !text.is_empty())
        .map(|(_, text)| text.as_str())
        .collect();
    process::hide_arguments(&secrets);
}

fn print(text: &str) -> Result<ErrorCode, Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(startup("write to standard output", &error))
        }
        _ => Ok(ErrorCode::Success),
    }
}

fn startup(what: &str, error: &io::Error) -> Failure {
    Failure::fatal(ErrorCode::Unknown, format!("Could not {what}: {error}"))
}

/// What option loading asks of the machine.
struct Machine;

impl Surroundings for Machine {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn current_dir(&self) -> Option<PathBuf> {
        std::env::current_dir().ok()
    }

    fn open_files_limit(&self) -> Option<u64> {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// From the first line of the log to the last.
fn run_session(loaded: &Loaded, feed: Feed) -> Result<ErrorCode, Failure> {
    let mut settings = ConsoleSettings::from(&loaded.global);
    // A daemon's console is nowhere.
    settings.quiet |= settings.daemon;
    let stream = match settings.stderr {
        true => Stream::Stderr,
        false => Stream::Stdout,
    };
    let terminal = Terminal::new(stream);
    let output = Output::start(stream).map_err(|error| startup("start a thread", &error))?;
    let console_log = ConsoleLog {
        level: (!settings.quiet).then_some(settings.level),
        color: terminal.colors(settings.color).on,
    };
    let file_log = FileLog::from(&settings);
    let log = Log::install(console_log, &file_log, output.clone())
        .map_err(|error| startup("open the log file", &error))?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    prepare_process(&settings);
    let quiet = settings.quiet;
    let console = Console::new(output.clone(), settings, terminal);
    let ended = serve(&loaded.global, feed, console, log);
    if let Err(failure) = &ended {
        error!("{failure}");
    }
    output.flush(FLUSH_MAX);
    match ended {
        // The console has shown it.
        Err(failure) if !quiet => Ok(failure.code),
        ended => ended,
    }
}

fn prepare_process(settings: &ConsoleSettings) {
    if let Some(count) = settings.open_files_max
        && let Err(error) = process::allow_open_files(count)
    {
        warn!("The system does not allow {count} open files (--rlimit-nofile): {error}");
    }
    if settings.event_poll != EventPoll::Epoll {
        let word = settings.event_poll.word();
        warn!("--event-poll={word} is accepted, but this program always waits with epoll");
    }
}

/// Starts the engine and what stands around it, and stays until all has ended.
fn serve(
    options: &OptionSet,
    feed: Feed,
    console: Console,
    log: Log,
) -> Result<ErrorCode, Failure> {
    let rpc_settings = RpcSettings::from(options);
    let settings = EngineSettings::from(options);
    let is_server = rpc_settings.enabled;
    let mut engine = Engine::start(EngineConfig {
        options: options.clone(),
        // Without RPC there is nobody to come back to an old session.
        state_dir: settings.state_dir.clone().filter(|_| is_server),
    })?;
    let hooks = Hooks::start().map_err(|error| startup("start a thread", &error))?;
    let on_control = engine.control().enter();
    let signals = Signals::new().map_err(|error| startup("catch signals", &error))?;
    let rpc = match is_server {
        true => Some(bind_rpc(&engine, &rpc_settings)?),
        false => None,
    };
    drop(on_control);
    let mut session = Session {
        events: engine.take_events(),
        engine: engine.handle(),
        console,
        hooks,
        log,
        file_log: FileLog::from(&ConsoleSettings::from(options)),
        limits: EndLimits::from(&settings),
        signals,
        is_server,
        rpc,
    };
    let (done, ended) = tokio::sync::oneshot::channel();
    engine.control().spawn(async move {
        let end = session.run(feed).await;
        // The receiver waits below.
        let _ = done.send((session, end));
    });
    let (mut session, end) = ended
        .blocking_recv()
        .map_err(|_| Failure::fatal(ErrorCode::Unknown, "The engine's thread has died"))?;
    if let Some(server) = session.rpc.take() {
        engine.control().block_on(server.close());
    }
    let code = engine.handle().read(|registry| registry.exit_code());
    session.finish();
    if !end.saved {
        // Whoever asks twice does not want to wait for threads that are busy.
        std::mem::forget(engine);
    }
    Ok(match (end.complaint, code) {
        (Some(ErrorCode::Option), _) => ErrorCode::Option,
        (Some(complaint), ErrorCode::Success) => complaint,
        (_, code) => code,
    })
}

/// The RPC server, on the runtime that is entered. Nobody is let in yet.
fn bind_rpc(engine: &Engine, settings: &RpcSettings) -> Result<RpcServer, Failure> {
    let server = rpc::bind(engine.handle(), settings)?;
    let scheme = if server.is_secure() { "https" } else { "http" };
    for address in server.addresses() {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let port = address.port();
        info!("{family} RPC: listening on TCP port {port} ({scheme}://{address}/jsonrpc)");
    }
    Ok(server)
}
