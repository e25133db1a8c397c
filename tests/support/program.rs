//! The built program, run in a directory of its own: nothing of the user's files is read.

#![allow(dead_code)] // every test binary uses another part

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No condition a test waits for takes longer, unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A home directory with a place for downloads in it.
pub struct Home {
    dir: TempDir,
}

impl Home {
    pub fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dl")).unwrap();
        Home { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A downloaded file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path("dl").join(name)
    }

    /// `arioso` with the downloads directory as its current directory.
    pub fn arioso(&self) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_arioso")))
    }

    /// The same program under the name `aria2c`.
    pub fn aria2c(&self) -> Command {
        let link = self.path("aria2c");
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_arioso"), &link).unwrap();
        }
        self.program(&link)
    }

    /// Another program, in the same surroundings.
    pub fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .current_dir(self.path("dl"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Runs the program to its end.
pub fn run(command: &mut Command, args: &[&str]) -> Output {
    command.args(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Sends a signal as `kill` does.
pub fn kill(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let done = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(done.unwrap().success());
}

/// A port that was free a moment ago; `rpc-listen-port` has no zero.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
