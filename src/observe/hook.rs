//! Commands run on events (`on-download-*`), as aria2 runs them: no shell, three arguments (GID,
//! number of files, path of the first one), and besides them the environment variables
//! `ARIOSO_GID`, `ARIOSO_DIR`, `ARIOSO_PATH`, `ARIOSO_FILES`, `ARIOSO_INFO_HASH` (empty unless it is a
//! torrent), `ARIOSO_STATUS` and `ARIOSO_ERROR_CODE`.
//!
//! Hooks are started in the order of their events by a thread of their own, so that neither a slow
//! start nor a hook that runs for hours holds up anything else.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::{debug, warn};

use crate::engine::{Event, EventKind};
use crate::option::settings::HookSettings;

/// More hooks at a time are kept waiting.
const RUNNING_MAX: usize = 64;

/// The command that this kind of event runs: `on-download-stop` stands in where a download ends
/// and no command is set for how it ended.
fn command(hooks: &HookSettings, kind: EventKind) -> Option<&Path> {
    let (own, stands_in) = match kind {
        EventKind::Started => (&hooks.start, None),
        EventKind::Paused => (&hooks.pause, None),
        EventKind::BtComplete => (&hooks.bt_complete, None),
        EventKind::Complete | EventKind::SeedingInterrupted => {
            (&hooks.complete, hooks.stop.as_deref())
        }
        EventKind::Failed => (&hooks.error, hooks.stop.as_deref()),
        EventKind::Stopped | EventKind::Interrupted => (&hooks.stop, None),
    };
    own.as_deref().or(stands_in)
}

struct Call {
    command: PathBuf,
    event: Event,
}

impl Call {
    fn spawn(&self) -> io::Result<std::process::Child> {
        let Event { gid, subject, .. } = &self.event;
        let (gid, files) = (gid.to_string(), subject.file_count.to_string());
        let hash = subject.info_hash.map(|hash| hash.to_string());
        let code = subject.error.map_or(0, |code| code.code());
        Command::new(&self.command)
            .args([&gid, &files, &subject.path])
            .env("ARIOSO_GID", &gid)
            .env("ARIOSO_DIR", &subject.dir)
            .env("ARIOSO_PATH", &subject.path)
            .env("ARIOSO_FILES", &files)
            .env("ARIOSO_INFO_HASH", hash.unwrap_or_default())
            .env("ARIOSO_STATUS", subject.status)
            .env("ARIOSO_ERROR_CODE", code.to_string())
            .stdin(Stdio::null())
            .spawn()
    }

    fn log_end(&self, ended: io::Result<ExitStatus>) {
        let (gid, command) = (self.event.gid, self.command.display());
        match ended {
            Ok(status) if status.success() => debug!(%gid, "Hook {command} ended: {status}"),
            Ok(status) => warn!(%gid, "Hook {command} ended: {status}"),
            Err(error) => warn!(%gid, "Hook {command} could not be run: {error}"),
        }
    }
}

/// Runs hooks. Dropping it forgets those that have not been started.
pub struct Hooks {
    calls: Option<Sender<Call>>,
    all_started: Receiver<()>,
}

impl Hooks {
    /// # Errors
    /// The system refuses another thread.
    pub fn start() -> io::Result<Hooks> {
        let (calls, queue) = channel();
        let (started, all_started) = channel();
        thread::Builder::new()
            .name("arioso-hooks".into())
            .spawn(move || {
                run(&queue, &Arc::default());
                drop(started);
            })?;
        Ok(Hooks {
            calls: Some(calls),
            all_started,
        })
    }

    /// Queues the command that `hooks` has for this event, if there is one.
    pub fn handle(&self, hooks: &HookSettings, event: &Event) {
        if let (Some(calls), Some(command)) = (&self.calls, command(hooks, event.kind)) {
            let call = Call {
                command: command.to_owned(),
                event: event.clone(),
            };
            // The thread ends only after the sender.
            let _ = calls.send(call);
        }
    }

    /// Waits until every queued hook was started, not longer than `patience`. Nobody waits for
    /// their ends: a hook may outlive the process.
    pub fn finish(mut self, patience: Duration) {
        self.calls = None;
        if self.all_started.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            warn!("Some hooks were not run: {RUNNING_MAX} others have not ended");
        }
    }
}

/// How many hooks run now.
#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Running {
    fn wait_for_place(&self) {
        let mut count = self.count.lock();
        while *count >= RUNNING_MAX {
            self.fewer.wait(&mut count);
        }
        *count += 1;
    }

    fn leave(&self) {
        *self.count.lock() -= 1;
        self.fewer.notify_one();
    }
}

fn run(queue: &Receiver<Call>, running: &Arc<Running>) {
    while let Ok(call) = queue.recv() {
        running.wait_for_place();
        match call.spawn() {
            Ok(child) => wait_elsewhere(call, child, Arc::clone(running)),
            Err(error) => {
                call.log_end(Err(error));
                running.leave();
            }
        }
    }
}

fn wait_elsewhere(call: Call, mut child: std::process::Child, running: Arc<Running>) {
    let gid = call.event.gid;
    let waiter = thread::Builder::new()
        .name("arioso-hook".into())
        .stack_size(128 * 1024)
        .spawn({
            let running = Arc::clone(&running);
            move || {
                call.log_end(child.wait());
                running.leave();
            }
        });
    if let Err(error) = waiter {
        warn!(%gid, "The end of a hook will not be noticed: {error}");
        running.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;
    use crate::base::error::ErrorCode;
    use crate::engine::Subject;

    fn hooks() -> HookSettings {
        let path = |name: &str| Some(PathBuf::from(name));
        HookSettings {
            start: path("start"),
            pause: path("pause"),
            stop: path("stop"),
            complete: path("complete"),
            error: path("error"),
            bt_complete: path("bt"),
        }
    }

    #[test]
    fn stop_stands_in_for_complete_and_error_only() {
        let chosen = |hooks: &HookSettings, kind| {
            command(hooks, kind).map(|path| path.to_str().unwrap().to_owned())
        };
        let all = hooks();
        let only_stop = HookSettings {
            stop: all.stop.clone(),
            ..HookSettings::default()
        };
        for (kind, own, with_stop_only) in [
            (EventKind::Started, "start", None),
            (EventKind::Paused, "pause", None),
            (EventKind::BtComplete, "bt", None),
            (EventKind::Complete, "complete", Some("stop")),
            (EventKind::Failed, "error", Some("stop")),
            (EventKind::Stopped, "stop", Some("stop")),
            (EventKind::Interrupted, "stop", Some("stop")),
            (EventKind::SeedingInterrupted, "complete", Some("stop")),
        ] {
            assert_eq!(chosen(&all, kind).as_deref(), Some(own));
            assert_eq!(chosen(&only_stop, kind).as_deref(), with_stop_only);
        }
    }

    #[test]
    fn command_gets_arguments_and_environment() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("hook");
        let out = dir.path().join("out");
        let text = format!(
            "#!/bin/sh\necho \"[$1] [$2] [$3] [$#] $ARIOSO_GID $ARIOSO_DIR $ARIOSO_PATH \
             $ARIOSO_FILES $ARIOSO_STATUS $ARIOSO_ERROR_CODE\" > {0}.tmp; mv {0}.tmp {0}\n",
            out.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let set = HookSettings {
            error: Some(script),
            ..HookSettings::default()
        };
        let event = Event {
            gid: "00ab000000000001".parse().unwrap(),
            kind: EventKind::Failed,
            subject: Arc::new(Subject {
                dir: "/d".into(),
                path: "/d/a b".into(),
                file_count: 2,
                info_hash: None,
                status: "error",
                error: Some(ErrorCode::ResourceNotFound),
                ..Subject::default()
            }),
        };
        let hooks = Hooks::start().unwrap();
        hooks.handle(&set, &event);
        hooks.finish(Duration::from_secs(10));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !out.exists() {
            assert!(Instant::now() < deadline, "the hook has not run");
            thread::yield_now();
        }
        assert_eq!(
            std::fs::read_to_string(out).unwrap(),
            "[00ab000000000001] [2] [/d/a b] [3] 00ab000000000001 /d /d/a b 2 error 3\n"
        );
    }
}
