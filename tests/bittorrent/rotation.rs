//! Peers of no use make room for others: minutes of the program's clock, which runs ahead here.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::program::{Home, wait_for};
use crate::rig::one_file;
use crate::running::{Program, Seed};
use crate::stranger::Stranger;

/// A clock that is put forward; its library is preloaded.
struct Clock {
    library: PathBuf,
    path: PathBuf,
    file: File,
    ahead: i64,
}

impl Clock {
    fn new(dir: &Path) -> Self {
        let library = dir.join("clock_ahead.so");
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/bittorrent/clock_ahead.c"
        );
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([library.as_os_str(), source.as_ref()])
            .status();
        assert!(made.unwrap().success());
        let path = dir.join("clock");
        let file = File::create(&path).unwrap();
        file.write_all_at(&[0; 8], 0).unwrap();
        Self {
            library,
            path,
            file,
            ahead: 0,
        }
    }

    fn forward(&mut self, seconds: i64) {
        self.ahead += seconds;
        self.file
            .write_all_at(&self.ahead.to_ne_bytes(), 0)
            .unwrap();
    }
}

#[test]
fn where_peers_of_no_use_fill_the_places_a_better_one_gets_in_after_a_while() {
    const PLACES: usize = 2;
    let (tracker, torrent) = one_file();
    let home = Home::new();
    let mut clock = Clock::new(&home.path("."));
    let preload = [
        ("LD_PRELOAD", clock.library.clone()),
        ("CLOCK_AHEAD", clock.path.clone()),
    ];
    let preload = preload
        .each_ref()
        .map(|(name, path)| (*name, path.as_os_str()));
    let program = Program::start_in(
        home,
        &preload,
        &[
            &format!("--bt-max-peers={PLACES}"),
            "--bt-request-peer-speed-limit=0",
            "--bt-tracker-interval=1",
        ],
    );
    let gid = program.add(&torrent, json!({}));
    // They have nothing and want nothing.
    let mut idle: Vec<Stranger> = (0..PLACES)
        .map(|number| {
            let id = [b'a' + number as u8; 20];
            Stranger::meet(program.port, &torrent.info_hash, id)
        })
        .collect();
    program.until(&gid, "connections", &PLACES.to_string());
    let seed = Seed::start(&torrent);
    // It is known by now, and there is no place.
    let asked = tracker.announces(&torrent.info_hash).len();
    wait_for("two announcements more", || {
        (tracker.announces(&torrent.info_hash).len() > asked + 2).then_some(())
    });
    let status = program.until(&gid, "connections", &PLACES.to_string());
    assert_eq!(
        (&status["status"], &status["completedLength"]),
        (&json!("active"), &json!("0"))
    );
    // As long as they say that they are there, nobody else has a reason to hang up on them.
    let done = wait_for("the end of the download", || {
        clock.forward(10);
        for stranger in &mut idle {
            stranger.keep_alive();
        }
        std::thread::sleep(Duration::from_millis(150));
        let status = program.server.call("aria2.tellStatus", json!([gid]));
        (status["status"] == "complete").then_some(status)
    });
    assert_eq!(done["errorCode"], "0");
    torrent.check_files(&program.home.path("dl"));
    assert!(seed.given() >= torrent.len());
}
