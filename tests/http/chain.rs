//! The whole chain: URIs and options into the program, bytes and exit status out.

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::program::Home;

/// No run of these tests takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run of the program came to.
pub struct Chain {
    pub home: Home,
    pub code: i32,
    pub text: String,
    pub took: Duration,
}

/// Downloads these mirrors of one file to `f`.
pub fn download(args: &[&str], uris: &[&str]) -> Chain {
    download_in(Home::new(), &[args, &["-o", "f"]].concat(), uris)
}

/// Downloads in a home that may hold something already, under the server's name.
pub fn download_in(home: Home, args: &[&str], uris: &[&str]) -> Chain {
    let began = Instant::now();
    let mut child = spawn(&home, args, uris);
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = out.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            break -1;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Chain {
        home,
        code,
        text: reader.join().unwrap(),
        took: began.elapsed(),
    }
}

/// Starts the program and leaves it running.
pub fn spawn(home: &Home, args: &[&str], uris: &[&str]) -> Child {
    let common = [
        "--no-conf",
        "--no-netrc",
        "--file-allocation=none",
        "--show-console-readout=false",
        "--enable-color=false",
        "--min-split-size=1M",
        "--connect-timeout=5",
        "--timeout=5",
        "--retry-wait=1",
    ];
    let mut command = home.arioso();
    command.args(common).args(args).args(uris);
    command.stderr(Stdio::null()).spawn().unwrap()
}

impl Chain {
    /// Asserts that the program called the file complete, and that it is.
    pub fn is_complete(&self, data: &[u8]) {
        assert_eq!(self.code, 0, "{}", self.text);
        let got = std::fs::read(self.home.file("f")).unwrap();
        assert!(got == data, "wrong bytes, {} of {}", got.len(), data.len());
        assert!(!self.home.file("f.aria2").exists());
    }

    /// Asserts the exit status of a failure, and that no finished file is left.
    pub fn failed(&self, code: i32) {
        assert_eq!(self.code, code, "{}", self.text);
    }
}
