//! Behaviours that aria2's users have asked for, each by its number in known-bugs.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, wait_for};
use crate::server::Server;

/// A server that keeps a session file and nothing else, which it reads, too.
fn server(home: &Home, args: &[&str]) -> Server {
    let session = home.path("session").display().to_string();
    if !home.path("session").exists() {
        fs::write(home.path("session"), "").unwrap();
    }
    let [save, input] = ["save-session", "input-file"].map(|name| format!("--{name}={session}"));
    let common = ["--state-dir=", "--file-allocation=none", &save, &input];
    Server::start(home.arioso(), &[&common, args].concat())
}

fn add(server: &Server, uri: &str, options: Value) -> String {
    let gid = server.call("aria2.addUri", json!([[uri], options]));
    gid.as_str().unwrap().to_owned()
}

/// The entry of the session file that begins with this URI.
fn entry(home: &Home, uri: &str) -> Option<String> {
    let text = fs::read_to_string(home.path("session")).unwrap();
    let mut lines = text.lines().skip_while(|line| line.trim_end() != uri);
    let first = lines.next()?;
    let rest = lines.take_while(|line| line.starts_with(' '));
    Some(
        std::iter::once(first)
            .chain(rest)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

#[test]
fn bug_49_what_was_paused_is_paused_again_and_nothing_else() {
    let (home, files) = (Home::new(), FileServer::start());
    let pages = ["/done", "/active", "/waiting", "/paused"]
        .map(|name| files.page(name, &bytes(100_000, 1)));
    files.set_gate("/active", 50_000);
    let run = server(
        &home,
        &["--max-concurrent-downloads=1", "--force-save=true"],
    );
    let done = add(&run, &pages[0], json!({}));
    run.wait_for_status(&done, "status", &["complete"]);
    let active = add(&run, &pages[1], json!({}));
    run.wait_for_status(&active, "completedLength", &["50000"]);
    add(&run, &pages[2], json!({}));
    add(&run, &pages[3], json!({"pause": "true"}));
    run.call("aria2.saveSession", json!([]));
    let paused = pages.each_ref().map(|uri| {
        let entry = entry(&home, uri).unwrap();
        entry.contains("\n pause=true")
    });
    assert_eq!(paused, [false, false, false, true]);
}

#[test]
fn bug_50_what_is_paused_shows_its_lengths_after_a_restart() {
    let (home, files) = (Home::new(), FileServer::start());
    let uri = files.page("/a", &bytes(1_000_000, 1));
    files.set_gate("/a", 600_000);
    let state = format!("--state-dir={}", home.path("state").display());
    let first = server(&home, &[&state]);
    let gid = add(&first, &uri, json!({}));
    first.wait_for_status(&gid, "completedLength", &["600000"]);
    first.call("aria2.pause", json!([gid]));
    first.wait_for_status(&gid, "status", &["paused"]);
    assert_eq!(first.stop(), 0);
    let status = server(&home, &[&state]).wait_for_status(&gid, "status", &["paused"]);
    assert_eq!(
        (&status["totalLength"], &status["completedLength"]),
        (&json!("1000000"), &json!("600000"))
    );
}

#[test]
fn bug_51_the_unfinished_is_saved_where_no_results_are_kept() {
    let (home, files) = (Home::new(), FileServer::start());
    let whole = files.page("/a", &bytes(1_000, 1));
    let missing = files.uri("/missing");
    let run = server(&home, &["--max-download-result=0", "--save-not-found=true"]);
    add(&run, &missing, json!({}));
    add(&run, &whole, json!({}));
    wait_for("the end of both", || {
        let stat = run.call("aria2.getGlobalStat", json!([]));
        (stat["numStoppedTotal"] == "2").then_some(())
    });
    run.stop();
    assert!(entry(&home, &missing).is_some());
    assert_eq!(entry(&home, &whole), None);
}

#[test]
fn bug_56_what_force_save_keeps_is_renamed_beside_and_not_fetched_again() {
    let (home, files) = (Home::new(), FileServer::start());
    let body = bytes(100_000, 1);
    let uri = files.page("/a.bin", &body);
    let names = ["a.bin", "a.1.bin", "a.2.bin"];
    let state = format!("--state-dir={}", home.path("state").display());
    let args = ["--force-save=true", &state];
    let run = server(&home, &args);
    for name in &names[..2] {
        let gid = add(&run, &uri, json!({}));
        run.wait_for_status(&gid, "status", &["complete"]);
        assert!(fs::read(home.file(name)).unwrap() == body, "{name}");
    }
    assert_eq!(run.stop(), 0);
    // The next process knows them as results, the one after that by the session file alone.
    let run = server(&home, &args);
    let gid = add(&run, &uri, json!({}));
    run.wait_for_status(&gid, "status", &["complete"]);
    assert!(fs::read(home.file(names[2])).unwrap() == body);
    assert_eq!(run.stop(), 0);
    let run = server(&home, &["--force-save=true"]);
    let finished = wait_for("all of them", || {
        let stopped = run.call("aria2.tellStopped", json!([0, 9, ["status", "files"]]));
        let rows = stopped.as_array()?.clone();
        (rows.len() == names.len()).then_some(rows)
    });
    let mut paths: Vec<String> = finished
        .iter()
        .map(|row| {
            assert_eq!(row["status"], "complete");
            row["files"][0]["path"].as_str().unwrap().to_owned()
        })
        .collect();
    paths.sort_unstable();
    let mut wanted = names.map(|name| home.file(name).display().to_string());
    wanted.sort_unstable();
    assert_eq!(paths, wanted);
    assert!(!home.file("a.3.bin").exists());
}

#[test]
fn bug_57_a_session_is_replaced_as_a_whole_by_who_reads_it_too() {
    let home = Home::new();
    let uri = |number: usize| format!("http://127.0.0.1:1/{number}");
    let run = server(&home, &["--pause=true"]);
    for number in 0..200 {
        add(&run, &uri(number), json!({}));
    }
    run.call("aria2.saveSession", json!([]));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert!(entry(&home, &uri(199)).is_some(), "half a session");
            }
        });
        for _ in 0..50 {
            run.call("aria2.saveSession", json!([]));
        }
        ended.store(true, Ordering::Relaxed);
    });
    run.kill();
    let again = server(&home, &["--pause=true"]);
    wait_for("all of them", || {
        let waiting = again.call("aria2.tellWaiting", json!([0, 999, ["gid"]]));
        (waiting.as_array().unwrap().len() == 200).then_some(())
    });
    assert_eq!(again.stop(), 0);
    assert!(entry(&home, &uri(0)).is_some());
}
