//! What makes two mirrors the same thing (with 13), and which of them is asked; whole chain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arioso::option::find;
use arioso::{AddRequest, Engine, EngineConfig, OptionSet};

use crate::chain::{download, spawn};
use crate::origin::{Origin, Reply, Step, pattern};
use crate::program::{Home, wait_for};

const MIB: usize = 1 << 20;
const DATE: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT";

/// Two hosts with the same bytes and these headers; whether the second one was used for more
/// than one look.
fn used(first: &'static [&'static str], second: &'static [&'static str]) -> bool {
    let data = pattern(8 * MIB);
    let start = |headers: &'static [&'static str]| {
        let body = data.clone();
        Origin::start(move |seen| {
            Reply::file(&body, seen, headers).slowly(MIB, Duration::from_millis(100))
        })
    };
    let (a, b) = (start(first), start(second));
    let chain = download(&["-x2", "-s4"], &[&a.url("/f"), &b.url("/f")]);
    chain.is_complete(&data);
    !chain.text.contains("another file")
}

#[test]
fn honest_mirrors_may_have_etags_of_another_form() {
    assert!(used(&["ETag: \"a\"", DATE], &["ETag: \"b\"", DATE]));
    assert!(used(&["ETag: \"a\""], &["ETag: W/\"b\""]));
    assert!(used(&["ETag: \"a\""], &[]));
    assert!(!used(&["ETag: \"a\""], &["ETag: \"b\""]));
    assert!(!used(&["ETag: \"a\"", DATE], &["ETag: \"b\"", LATER]));
}

/// A line of a server-stat file, so many seconds old.
fn row(host: &str, speed: u64, age: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let date = now.as_secs() - age;
    format!("host={host}, protocol=http, dl_speed={speed}, last_updated={date}, status=OK\n")
}

/// The first host's line.
fn slow() -> String {
    row("127.0.0.1", 50_000, 0)
}

/// Two hosts with the same file; which of them each way of choosing asks when the second one is
/// said to be faster.
struct Rivals {
    hosts: [Origin; 2],
    dir: tempfile::TempDir,
}

impl Rivals {
    fn new() -> Self {
        let origin = || Origin::with_file(pattern(1000));
        let rivals = Self {
            hosts: [origin(), origin()],
            dir: tempfile::tempdir().unwrap(),
        };
        rivals.write(&(slow() + &row("localhost", 5_000_000, 0)));
        rivals
    }

    fn stat(&self) -> std::path::PathBuf {
        self.dir.path().join("stat")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.stat(), text).unwrap();
    }

    fn uris(&self) -> [String; 2] {
        let port = self.hosts[1].address().port();
        [
            self.hosts[0].url("/f"),
            format!("http://localhost:{port}/f"),
        ]
    }

    /// How many requests each has seen so far.
    fn seen(&self) -> [usize; 2] {
        [0, 1].map(|host| self.hosts[host].seen().len())
    }

    /// The host that is asked, by its number.
    fn chosen(&self, args: &[&str]) -> usize {
        let from = format!("--server-stat-if={}", self.stat().display());
        let (before, uris) = (self.seen(), self.uris());
        let chain = download(&[args, &["-s1", &from]].concat(), &[&uris[0], &uris[1]]);
        chain.is_complete(&pattern(1000));
        let after = self.seen();
        let asked = [0, 1].map(|host| after[host] - before[host]);
        assert_eq!(asked.iter().sum::<usize>(), 1, "{asked:?}");
        asked[1]
    }
}

#[test]
fn speeds_of_servers_are_kept_and_choose_the_next_one() {
    let rivals = Rivals::new();
    assert_eq!(rivals.chosen(&["--uri-selector=inorder"]), 0);
    assert_eq!(rivals.chosen(&["--uri-selector=adaptive"]), 1);
    let to = format!("--server-stat-of={}", rivals.stat().display());
    assert_eq!(rivals.chosen(&["--uri-selector=feedback", &to]), 1);
    let text = std::fs::read_to_string(rivals.stat()).unwrap();
    assert!(
        text.contains("host=localhost, protocol=http, dl_speed="),
        "{text}"
    );
    assert!(text.contains("counter=1, status=OK"), "{text}");
    // A server that failed is the last choice.
    let failed = row("localhost", 5_000_000, 0).replace("=OK", "=ERROR");
    rivals.write(&(slow() + &failed));
    assert_eq!(rivals.chosen(&["--uri-selector=feedback"]), 0);
}

#[test]
fn what_is_known_of_a_server_is_forgotten_in_time() {
    let rivals = Rivals::new();
    let old = row("localhost", 5_000_000, 100_000);
    let timeouts = [
        ("--server-stat-timeout=86400", 0),
        ("--server-stat-timeout=200000", 1),
    ];
    for (timeout, host) in timeouts {
        rivals.write(&(slow() + &old));
        let to = format!("--server-stat-of={}", rivals.stat().display());
        let args = ["--uri-selector=feedback", timeout, &to];
        assert_eq!(rivals.chosen(&args), host, "{timeout}");
        let text = std::fs::read_to_string(rivals.stat()).unwrap();
        assert_eq!(
            text.contains("host=localhost"),
            host == 1,
            "{timeout}: {text}"
        );
    }
}

#[test]
fn aria2c_reads_our_server_stats_and_we_read_its() {
    let aria2c = |args: &[&str]| std::process::Command::new("aria2c").args(args).output();
    if aria2c(&["--version"]).is_err() {
        eprintln!("skipped: aria2c is not installed (scripts/test installs it)");
        return;
    }
    let rivals = Rivals::new();
    // A download from elsewhere writes the file anew and leaves both rows as they are.
    let third = Origin::start_at("127.0.0.2:0", |seen| Reply::file(b"x", seen, &[]));
    let (from, to) = (
        format!("--server-stat-if={}", rivals.stat().display()),
        format!("--server-stat-of={}", rivals.stat().display()),
    );
    download(&[&from, &to], &[&third.url("/f")]).is_complete(b"x");
    assert!(
        std::fs::read_to_string(rivals.stat())
            .unwrap()
            .contains("host=127.0.0.2")
    );
    let home = Home::new();
    let dir = format!("--dir={}", home.path("dl").display());
    let common = [
        "--no-conf",
        "-q",
        "--uri-selector=feedback",
        "-s1",
        &dir,
        &from,
    ];
    let uris = rivals.uris();
    let run = aria2c(&[&common[..], &["-o", "f", &uris[0], &uris[1]]].concat()).unwrap();
    assert_eq!((run.status.code(), rivals.seen()), (Some(0), [0, 1]));
    let run = aria2c(&[&common[..], &["-o", "g", &to, &third.url("/f")]].concat()).unwrap();
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(rivals.chosen(&["--uri-selector=feedback"]), 1);
}

#[test]
fn a_mirror_that_is_not_reused_keeps_to_its_share() {
    let body = pattern(8 * MIB);
    let gone = Origin::start(|_| Reply::status("404 Not Found"));
    for (reuse, share) in [("--reuse-uri=true", 4), ("--reuse-uri=false", 2)] {
        let body = body.clone();
        // No connection ends while we look.
        let good = Origin::start(move |seen| Reply::file(&body, seen, &[]).cut(1000, Step::Stall));
        let args = ["-x4", "-s4", "--timeout=60", reuse];
        let home = Home::new();
        let mut child = spawn(&home, &args, &[&gone.url("/f"), &good.url("/f")]);
        wait_for("its connections", || {
            (good.used_connection_count() >= share).then_some(())
        });
        std::thread::sleep(Duration::from_secs(1));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(good.used_connection_count(), share, "{reuse}");
    }
}

#[test]
fn uris_change_while_it_runs_and_the_new_path_is_shown() {
    let data = pattern(8 * MIB);
    let body = data.clone();
    let slow = Origin::start(move |seen| {
        Reply::file(&body, seen, &[]).slowly(1000, Duration::from_millis(100))
    });
    let fast = Origin::with_file(data.clone());
    let (dir, done) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = OptionSet::new();
    for (name, text) in [
        ("dir", dir.path().to_str().unwrap()),
        ("complete-dir", done.path().to_str().unwrap()),
        ("no-netrc", "true"),
    ] {
        options.set_text(find(name).unwrap(), text).unwrap();
    }
    let config = EngineConfig {
        options,
        state_dir: None,
    };
    let engine = Engine::start(config).unwrap();
    let handle = engine.handle();
    let (from, to) = (slow.url("/f"), fast.url("/f"));
    let request = AddRequest::uris([from.clone()]);
    let gid = engine.block_on(handle.add(request, None)).unwrap()[0];
    let look = |what: &dyn Fn(&arioso::engine::Download) -> bool| {
        handle.read(|registry| registry.get(gid).is_some_and(what))
    };
    wait_for("first bytes", || {
        look(&|download| download.completed_len() > 0).then_some(())
    });
    let changed = handle.change_uri(gid, 1, vec![from], vec![to], None);
    assert_eq!(engine.block_on(changed).unwrap(), (1, 1));
    wait_for("its end", || {
        look(&|download| download.status() == "complete").then_some(())
    });
    let path = handle.read(|registry| registry.get(gid).unwrap().files()[0].path.to_string());
    assert_eq!(path, done.path().join("f").to_str().unwrap());
    assert!(std::fs::read(path).unwrap() == data);
    engine.block_on(engine.handle().shutdown(false)).unwrap();
}
