//! Downloads that are to fail, run all at once: each has its code and a sentence, is not tried
//! again in vain, keeps its secrets, and leaves the work to another mirror if there is one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arioso::option::find;
use arioso::{AddRequest, Engine, EngineConfig, EngineHandle, Gid, OptionSet, keys};

use crate::origin::Origin;
use crate::server::{self, Script};

/// Each download gives up after so many tries in a row.
pub const TRIES_MAX: usize = 3;
/// The same where each of them waits for a time limit.
const IMPATIENT_TRIES: usize = 2;
/// Stands in each URI, and must not be told.
pub const PASSWORD: &str = "wr0ng";
/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Case {
    name: String,
    pub uri: String,
    options: Vec<(&'static str, String)>,
    code: u8,
    /// All of them stand in the message.
    words: Vec<&'static str>,
    /// Connections the server has seen, and how many it is to see.
    tries: Option<(Arc<AtomicUsize>, usize)>,
    /// What it says of the file keeps other mirrors away.
    misleads: bool,
    impatient: bool,
}

impl Case {
    /// A file of a scripted FTP server.
    pub fn ftp(name: &str, script: Script, code: u8, words: &[&'static str], tries: usize) -> Self {
        let scheme = if script.implicit { "ftps" } else { "ftp" };
        let server = server::start(script);
        let uri = format!("{scheme}://user:{PASSWORD}@127.0.0.1:{}/d/f", server.port);
        Self::of_uri(name, uri, code, words)
            .counted(server.connections, tries)
            // Each try is a connection.
            .with("ftp-reuse-connection", "false")
    }

    pub fn of_uri(name: &str, uri: String, code: u8, words: &[&'static str]) -> Self {
        Self {
            name: name.to_owned(),
            uri,
            options: Vec::new(),
            code,
            words: words.to_vec(),
            tries: None,
            misleads: false,
            impatient: false,
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.options.push((name, value.into()));
        self
    }

    /// A time limit is meant to pass.
    pub fn impatient(mut self) -> Self {
        self.impatient = true;
        if let Some((_, tries)) = &mut self.tries {
            *tries = (*tries).min(IMPATIENT_TRIES);
        }
        self
    }

    pub fn counted(mut self, connections: Arc<AtomicUsize>, tries: usize) -> Self {
        self.tries = Some((connections, tries));
        self
    }

    pub fn any_tries(mut self) -> Self {
        self.tries = None;
        self
    }

    pub fn misleading(mut self) -> Self {
        self.misleads = true;
        self
    }

    fn request(&self, dir: &std::path::Path, mirrors: &[String]) -> AddRequest {
        let (seconds, tries) = match (self.impatient, mirrors.len()) {
            (true, 1) => ("1", IMPATIENT_TRIES),
            // The good one has to answer in that time.
            (true, _) => ("2", IMPATIENT_TRIES),
            (false, _) => ("30", TRIES_MAX),
        };
        let mut request = AddRequest::uris(mirrors)
            .with(keys::DIR, dir.to_string_lossy())
            .with(keys::OUT, "f")
            .with(keys::SPLIT, "1")
            .with(find("uri-selector").unwrap(), "inorder")
            .with(keys::TIMEOUT, seconds)
            .with(keys::CONNECT_TIMEOUT, seconds)
            .with(keys::MAX_TRIES, tries.to_string());
        for (name, value) in &self.options {
            request = request.with(find(name).unwrap(), value);
        }
        request
    }

    /// What is wrong with how it failed.
    fn faults(&self, code: u8, message: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if code != self.code || !self.words.iter().all(|word| message.contains(word)) {
            let wanted = (self.code, &self.words);
            faults.push(format!("{}: {code} {message:?}, not {wanted:?}", self.name));
        }
        if message.contains(PASSWORD) || message.is_empty() {
            faults.push(format!("{}: says {message:?}", self.name));
        }
        if let Some((count, wanted)) = &self.tries {
            let count = count.load(Ordering::Relaxed);
            if count != *wanted {
                faults.push(format!("{}: {count} connections, not {wanted}", self.name));
            }
        }
        faults
    }
}

/// Runs them alone, and then each with a good mirror beside it.
pub fn check(cases: &[Case]) {
    check_in(&[], cases);
}

/// The same in a process with these options.
pub fn check_in(options: &[(&str, &str)], cases: &[Case]) {
    let given = options;
    let mut options = OptionSet::new();
    for (name, value) in [&[("max-concurrent-downloads", "100")], given].concat() {
        options.set_text(find(name).unwrap(), value).unwrap();
    }
    let config = EngineConfig {
        options,
        ..EngineConfig::default()
    };
    let engine = Engine::start(config).unwrap();
    let alone = run(&engine, cases, None);
    let mut faults = Vec::new();
    for (case, (code, message)) in cases.iter().zip(alone) {
        println!("{}: {code} {message}", case.name);
        faults.extend(case.faults(code, &message));
    }
    let good = Origin::with_file(data());
    let saved = run(&engine, cases, Some(&good.url("/d/f")));
    for (case, (code, message)) in cases.iter().zip(saved) {
        if code != 0 && !case.misleads {
            let name = &case.name;
            faults.push(format!("{name}: {code} {message:?} with another mirror"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Code and message of each, in their order.
fn run(engine: &Engine, cases: &[Case], mirror: Option<&String>) -> Vec<(u8, String)> {
    let dir = tempfile::tempdir().unwrap();
    let handle = engine.handle();
    engine.block_on(async {
        let mut gids = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let dir = dir.path().join(number.to_string());
            let mirrors: Vec<String> = [&case.uri].into_iter().chain(mirror).cloned().collect();
            let added = handle.add(case.request(&dir, &mirrors), None).await;
            gids.push(added.unwrap()[0]);
        }
        let mut results = Vec::new();
        for (gid, case) in gids.into_iter().zip(cases) {
            let (code, message) = outcome(&handle, gid, &case.name).await;
            let file = dir.path().join(results.len().to_string()).join("f");
            let is_wrong = code == 0 && std::fs::read(file).ok() != Some(data());
            results.push(match is_wrong {
                true => (u8::MAX, "a wrong file".to_owned()),
                false => (code, message),
            });
        }
        results
    })
}

async fn outcome(handle: &EngineHandle, gid: Gid, name: &str) -> (u8, String) {
    let result = tokio::time::timeout(PATIENCE, handle.until_stopped(gid)).await;
    let result = result.unwrap_or_else(|_| panic!("{name} hangs"));
    match result.expect("it is forgotten").error {
        Some((code, message)) => (code.code(), message),
        None => (0, String::new()),
    }
}

/// A server that answers a command with this, always.
pub fn replying(command: &'static str, reply: &'static str) -> Script {
    Script {
        replies: HashMap::from([(command, (reply, 99))]),
        ..small()
    }
}

/// A right server.
pub fn small() -> Script {
    Script {
        data: data(),
        ..Script::default()
    }
}

pub fn data() -> Vec<u8> {
    (0..300_000u32)
        .map(|number| (number * 7 % 251) as u8)
        .collect()
}
