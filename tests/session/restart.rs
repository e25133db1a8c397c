use std::fs;
use std::process::Command;

use arioso::storage::progress;
use serde_json::{Value, json};

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, run, stderr, stdout, wait_for};
use crate::server::{Server, ask};

fn gids(list: &Value) -> Vec<&str> {
    let entries = list.as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["gid"].as_str().unwrap())
        .collect()
}

fn arguments(state: &str) -> [&str; 3] {
    [
        state,
        "--file-allocation=none",
        "--max-concurrent-downloads=1",
    ]
}

#[test]
fn everything_is_back_after_a_kill() {
    let (home, files) = (Home::new(), FileServer::start());
    let body = bytes(40_000_000, 1);
    let big = files.page("/big", &body);
    let small = files.page("/small", &bytes(1000, 2));
    let state = format!("--state-dir={}", home.path("state").display());
    let server = Server::start(home.arioso(), &arguments(&state));
    let gid = |digit: char| digit.to_string().repeat(16);
    let add = |uri: &str, digit: char, mut options: Value| {
        options["gid"] = json!(gid(digit));
        assert_eq!(
            server.call("aria2.addUri", json!([[uri], options])),
            gid(digit)
        );
    };
    add(&small, '1', json!({}));
    server.wait_for_status(&gid('1'), "status", &["complete"]);
    add(&files.uri("/missing"), '2', json!({}));
    server.wait_for_status(&gid('2'), "status", &["error"]);
    files.set_gate("/big", 25_000_000);
    add(
        &big,
        '3',
        json!({"max-download-limit": "50M", "header": ["A: 1", "B: 2"]}),
    );
    add(&small, '4', json!({"out": "four", "pause": "true"}));
    add(&small, '5', json!({"out": "five"}));
    add(&small, '6', json!({"out": "six"}));
    server.call("aria2.changePosition", json!([gid('6'), 0, "POS_SET"]));
    // 16 MiB at most may be fetched again, and the file has 25 MB by then.
    wait_for("the held back byte", || {
        let status = server.call("aria2.tellStatus", json!([gid('3')]));
        (status["completedLength"] == "25000000").then_some(())
    });
    wait_for("a control file that knows enough", || {
        let control = progress::load(&home.file("big")).ok()??;
        (control.to_ranges().total() >= 25_000_000 - (16 << 20)).then_some(())
    });
    // The store says so once the disk has the file.
    wait_for("the first result to be kept", || {
        let log = fs::read(home.path("state").join("finished.log"));
        log.is_ok_and(|log| log.is_empty()).then_some(())
    });
    server.call("aria2.saveSession", json!([]));
    let options = server.call("aria2.getOption", json!([gid('3')]));
    let port = server.port;
    server.kill();
    let asked_before = files.requests().len();

    let server = Server::start_at(port, &mut home.arioso(), &arguments(&state));
    let active = server.call("aria2.tellActive", json!([]));
    assert_eq!(gids(&active), [gid('3')]);
    let waiting = server.call("aria2.tellWaiting", json!([0, 10]));
    assert_eq!(gids(&waiting), [gid('6'), gid('4'), gid('5')]);
    assert_eq!(waiting[1]["status"], "paused");
    let stopped = server.call("aria2.tellStopped", json!([0, 10]));
    assert_eq!(gids(&stopped), [gid('1'), gid('2')]);
    assert_eq!(stopped[0]["completedLength"], "1000");
    assert_eq!(stopped[1]["errorCode"], "3");
    assert_eq!(server.call("aria2.getOption", json!([gid('3')])), options);

    files.set_gate("/big", u64::MAX);
    server.wait_for_status(&gid('3'), "status", &["complete"]);
    assert!(fs::read(home.file("big")).unwrap() == body);
    let again = files.requests()[asked_before..]
        .iter()
        .filter(|request| request.method == "GET" && request.path == "/big")
        .map(|request| request.from)
        .min();
    assert!(
        again >= Some(25_000_000 - (16 << 20)),
        "asked again from {again:?}"
    );
    server.wait_for_status(&gid('5'), "status", &["complete"]);
    assert!(home.file("six").exists() && !home.file("four").exists());
    // The failure was the other process's, and what is paused does not count, as in aria2c.
    assert_eq!(server.stop(), 0);
}

#[test]
fn orderly_end_is_quick_and_keeps_everything() {
    let (home, files) = (Home::new(), FileServer::start());
    let uri = files.page("/a", &bytes(1_000_000, 3));
    files.set_gate("/a", 500_000);
    let state = format!("--state-dir={}", home.path("state").display());
    let session = home.path("session");
    let save = format!("--save-session={}", session.display());
    let mut server = Server::start(home.arioso(), &[&state, &save]);
    let gid = server.call("aria2.addUri", json!([[uri]]));
    let gid = gid.as_str().unwrap();
    server.wait_for_status(gid, "completedLength", &["500000"]);
    assert_eq!(server.call("aria2.shutdown", json!([])), "OK");
    let status = wait_for("the end", || server.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(7));
    let text = fs::read_to_string(&session).unwrap();
    assert!(
        text.starts_with(&uri) && text.contains(&format!("\n gid={gid}\n")),
        "{text}"
    );

    // The same GID stands in the store and in the input file, and is one download.
    let input = format!("--input-file={}", session.display());
    files.set_gate("/a", u64::MAX);
    let server = Server::start(home.arioso(), &[&state, &save, &input]);
    server.wait_for_status(gid, "status", &["complete"]);
    let stat = server.call("aria2.getGlobalStat", json!([]));
    assert_eq!(
        (&stat["numStopped"], &stat["numWaiting"]),
        (&json!("1"), &json!("0"))
    );
    assert_eq!(server.stop(), 0);
}

#[test]
fn one_state_directory_serves_one_process() {
    let home = Home::new();
    let state = format!("--state-dir={}", home.path("state").display());
    let _server = Server::start(home.arioso(), &[&state]);
    let port = format!("--rpc-listen-port={}", crate::program::free_port());
    let output = run(&mut home.arioso(), &["--enable-rpc", &port, &state]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output) + &stderr(&output);
    assert!(text.contains("state") && text.contains("in use"), "{text}");
}

#[test]
fn called_as_aria2c_it_keeps_nothing_unless_asked() {
    let (home, files) = (Home::new(), FileServer::start());
    let uri = files.page("/a", &bytes(1000, 4));
    let start = |command: Command, args: &[&str]| Server::start(command, args);
    let server = start(home.aria2c(), &[]);
    let gid = server.call("aria2.addUri", json!([[uri]]));
    server.wait_for_status(gid.as_str().unwrap(), "status", &["complete"]);
    assert_eq!(server.stop(), 0);
    assert!(!home.path(".local").exists());

    let session = format!("--save-session={}", home.path("s").display());
    start(home.aria2c(), &[&session]).stop();
    assert!(home.path(".local/state/arioso").exists());
    assert!(fs::remove_dir_all(home.path(".local")).is_ok());
    start(home.arioso(), &["--state-dir="]).stop();
    assert!(!home.path(".local").exists());
    start(home.arioso(), &[]).stop();
    assert!(home.path(".local/state/arioso").exists());
}

/// Starts a server that dies at a failpoint, has it do `work`, and starts it again.
fn die_at(point: &str, home: &Home, work: impl FnOnce(&Server)) -> Server {
    let state = format!("--state-dir={}", home.path("state").display());
    let mut command = home.arioso();
    command.env("ARIOSO_FAILPOINT", point);
    let mut server = Server::start(command, &arguments(&state));
    work(&server);
    wait_for("its death", || server.child.try_wait().unwrap());
    let server = Server::start(home.arioso(), &arguments(&state));
    // What was answered less than a second before may be forgotten.
    server.call("aria2.unpauseAll", json!([]));
    server
}

/// A download that is added paused, kept, and goes on until the server dies at `point`; and goes
/// on after that.
fn killed_once(point: &str, home: &Home, uri: &str, mut options: Value) -> Server {
    let gid = "0123456789abcdef";
    options["gid"] = json!(gid);
    options["pause"] = json!("true");
    let server = die_at(point, home, |server| {
        server.call("aria2.addUri", json!([[uri], options]));
        server.call("aria2.saveSession", json!([]));
        // It may be dead before it has answered.
        let _ = ask(server.port, "aria2.unpause", json!([gid]));
    });
    server.wait_for_status(gid, "status", &["complete"]);
    server
}

#[test]
fn finished_before_the_session_knew_its_name_is_found_finished() {
    let files = FileServer::start();
    let body = bytes(70_000, 1);
    let uri = files.page("/file", &body);
    let home = Home::new();
    killed_once("control.forgotten", &home, &uri, json!({}));
    assert_eq!(fs::read(home.file("file")).unwrap(), body);
    assert!(!home.file("file.1").exists(), "fetched a second time");
    assert_eq!(files.requests().len(), 1);
}

#[test]
fn finished_but_not_moved_yet_is_moved_and_what_is_moved_is_found() {
    let files = FileServer::start();
    let body = bytes(70_000, 1);
    let uri = files.page("/file", &body);
    for point in ["control.forgotten", "store.apply:2"] {
        let (home, asked) = (Home::new(), files.requests().len());
        let done = home.path("done");
        let options = json!({"complete-dir": done.to_str().unwrap()});
        let server = killed_once(point, &home, &uri, options);
        let shown = server.call("aria2.getFiles", json!(["0123456789abcdef"]));
        assert_eq!(shown[0]["path"], done.join("file").to_str().unwrap());
        assert_eq!(fs::read(done.join("file")).unwrap(), body, "{point}");
        assert_eq!(fs::read_dir(&done).unwrap().count(), 1, "{point}");
        assert!(!home.file("file").exists(), "{point}");
        assert_eq!(files.requests().len(), asked + 1, "{point}");
    }
}

#[test]
fn what_a_download_led_to_is_found_finished_though_the_session_never_knew_it() {
    let files = FileServer::start();
    let body = bytes(70_000, 1);
    let uri = files.page("/file", &body);
    let metalink = |size: &str| {
        let text = format!(
            "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
             <file name=\"file\">{size}<url>{uri}</url></file></metalink>"
        );
        files.page("/a.meta4", text.as_bytes())
    };
    for size in ["", "<size>70000</size>"] {
        let home = Home::new();
        let server = killed_once("control.forgotten:2", &home, &metalink(size), json!({}));
        let child = wait_for("what it leads to", || {
            let params = json!(["0123456789abcdef", ["followedBy"]]);
            let status = server.call("aria2.tellStatus", params);
            Some(status["followedBy"].get(0)?.as_str()?.to_owned())
        });
        server.wait_for_status(&child, "status", &["complete"]);
        assert_eq!(fs::read(home.file("file")).unwrap(), body);
        assert!(
            !home.file("file.1").exists(),
            "fetched a second time: {size}"
        );
    }
    let asked = files.requests();
    let fetched = asked.iter().filter(|asked| asked.path == "/file");
    assert_eq!(fetched.count(), 2);
}
