//! The whole engine with scripted transfers.

mod options;
mod queue;
mod random;
mod results;
mod session;
mod torrents;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::mpsc::UnboundedSender;

use super::embed::assemble;
use super::*;
use crate::base::error::{ErrorCode, Failure};
use crate::option::{OptionId, find};
use crate::transfer::{Control, Ended, Live, TransferSpec};

/// Transfers that end when the test says so, or at once when told to stop.
#[derive(Default)]
struct Script {
    running: HashMap<Gid, UnboundedSender<(Gid, TransferReport)>>,
    /// Every launch, in order.
    launches: Vec<(Gid, Vec<String>)>,
    controls: Vec<(Gid, String)>,
    lives: HashMap<Gid, Arc<Live>>,
    /// Transfers do not answer `Stop`.
    deaf: bool,
}

type Shared = Arc<Mutex<Script>>;

struct Scripted(Shared);
struct Actor(Gid, Shared);

impl Launcher for Scripted {
    fn launch(&mut self, launch: TransferSpec) -> Box<dyn Running> {
        let mut script = self.0.lock();
        let uris = launch.uris.iter().map(|uri| uri.to_string()).collect();
        script.launches.push((launch.gid, uris));
        script.lives.insert(launch.gid, launch.live);
        let before = script.running.insert(launch.gid, launch.reports);
        assert!(before.is_none(), "{} runs twice", launch.gid);
        Box::new(Actor(launch.gid, Arc::clone(&self.0)))
    }
}

impl Running for Actor {
    fn send(&self, control: Control) {
        let mut script = self.1.lock();
        let text = match &control {
            Control::Options(_) => "Options".to_owned(),
            other => format!("{other:?}"),
        };
        script.controls.push((self.0, text));
        if matches!(control, Control::Stop { .. } | Control::Leave { .. }) && !script.deaf {
            end(&mut script, self.0, Ended::Stopped);
        }
    }
}

fn end(script: &mut Script, gid: Gid, ended: Ended) {
    if let Some(reports) = script.running.remove(&gid) {
        let _ = reports.send((gid, TransferReport::Ended(ended)));
    }
}

struct Rig {
    handle: EngineHandle,
    script: Shared,
    events: Receiver<Event>,
    core: tokio::task::JoinHandle<crate::option::settings::EngineSettings>,
}

fn option(name: &str) -> OptionId {
    find(name).unwrap()
}

fn options(pairs: &[(&str, &str)]) -> OptionSet {
    let mut options = OptionSet::new();
    for (name, value) in pairs {
        options.set_text(option(name), value).unwrap();
    }
    options
}

fn texts(pairs: &[(&str, &str)]) -> Vec<(OptionId, String)> {
    pairs
        .iter()
        .map(|(name, value)| (option(name), (*value).to_owned()))
        .collect()
}

impl Rig {
    fn new(pairs: &[(&str, &str)]) -> Self {
        Self::with_dir(pairs, None)
    }

    fn with_dir(pairs: &[(&str, &str)], state_dir: Option<&std::path::Path>) -> Self {
        let script = Shared::default();
        let config = EngineConfig {
            options: options(pairs),
            state_dir: state_dir.map(Into::into),
        };
        let launcher = Box::new(Scripted(Arc::clone(&script)));
        let (core, handle, commands) = assemble(config, launcher, Arc::default()).unwrap();
        let events = handle.events();
        let core = tokio::spawn(core.run(commands));
        Self {
            handle,
            script,
            events,
            core,
        }
    }

    /// Adds a download with a GID of this digit.
    async fn add(&self, digit: char, pairs: &[(&str, &str)]) {
        let gid = gid(digit);
        let mut request =
            AddRequest::uris([format!("http://h/{digit}")]).with(option("gid"), gid.to_string());
        request.options.extend(texts(pairs));
        assert_eq!(self.handle.add(request, None).await, Ok(vec![gid]));
        self.check();
    }

    async fn add_all(&self, digits: &str) {
        for digit in digits.chars() {
            self.add(digit, &[]).await;
        }
    }

    fn end(&self, digit: char, ended: Ended) {
        end(&mut self.script.lock(), gid(digit), ended);
    }

    fn fail(&self, digit: char, code: ErrorCode) {
        self.end(digit, Ended::Failed(Failure::fatal(code, "text")));
    }

    /// Active, waiting and stopped digits; paused ones in brackets, results with their status.
    fn lists(&self) -> String {
        self.check();
        self.handle.read(|registry| {
            let active: String = registry.active().map(digit_of).collect();
            let waiting: String = registry
                .waiting()
                .map(|download| match download.status() {
                    "paused" => format!("({})", digit_of(download)),
                    _ => digit_of(download).to_string(),
                })
                .collect();
            let stopped: String = registry
                .stopped()
                .map(|download| format!("{}{}", digit_of(download), &download.status()[..1]))
                .collect();
            format!("{active}|{waiting}|{stopped}")
        })
    }

    fn check(&self) {
        self.handle
            .read(|registry| assert_eq!(registry.check(), Ok(())));
    }

    /// Lets the engine do what is due, then gives the events since the last call.
    async fn events(&mut self) -> String {
        settle().await;
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            told.push(format!("{}:{:?}", &event.gid.to_string()[..1], event.kind));
        }
        told.join(" ")
    }

    fn launched(&self) -> String {
        let script = self.script.lock();
        script
            .launches
            .iter()
            .map(|(gid, _)| gid.to_string().remove(0))
            .collect()
    }

    async fn shutdown(self) {
        self.handle.shutdown(false).await.unwrap();
        self.handle.ended().await;
        self.core.await.unwrap();
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn gid(digit: char) -> Gid {
    format!("{digit}000000000000001").parse().unwrap()
}

fn digit_of(download: &Download) -> char {
    download.gid().to_string().remove(0)
}
