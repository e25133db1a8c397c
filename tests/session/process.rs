use std::fs;
use std::process::Command;

use serde_json::json;

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, free_port, kill, run, wait_for};
use crate::server::{Server, ask};

#[test]
fn daemon_lets_its_parent_go_and_remembers_where_it_was_started() {
    let home = Home::new();
    let port = free_port();
    let listen = format!("--rpc-listen-port={port}");
    let log = format!("--log={}", home.path("log").display());
    let args = ["--daemon", "--enable-rpc", "--state-dir=", &listen, &log];
    let output = run(&mut home.arioso(), &args);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
    let options = wait_for("the daemon's answer", || {
        ask(port, "aria2.getGlobalOption", json!([])).ok()
    });
    let dir = home.path("dl").canonicalize().unwrap();
    assert_eq!(options["result"]["dir"], dir.to_str().unwrap());
    assert_eq!(
        ask(port, "aria2.shutdown", json!([])).unwrap()["result"],
        "OK"
    );
    wait_for("the daemon's end", || {
        ask(port, "aria2.getVersion", json!([]))
            .is_err()
            .then_some(())
    });
    let log = fs::read_to_string(home.path("log")).unwrap();
    assert!(log.contains("listening on TCP port"), "{log}");
}

#[test]
fn it_ends_with_the_process_it_was_given() {
    let home = Home::new();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let with = format!("--stop-with-process={}", other.id());
    let mut server = Server::start(home.arioso(), &[&with, "--state-dir="]);
    other.kill().unwrap();
    other.wait().unwrap();
    let status = wait_for("the end", || server.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn log_follows_the_global_options() {
    let (home, files) = (Home::new(), FileServer::start());
    let server = Server::start(home.arioso(), &["--state-dir="]);
    let log = home.path("later.log");
    let change = json!([{"log": log.to_str().unwrap(), "log-level": "notice"}]);
    server.call("aria2.changeGlobalOption", change);
    let uri = files.page("/a", &bytes(1000, 1));
    let text = wait_for("a line about a download", || {
        let gid = server.call("aria2.addUri", json!([[uri]]));
        server.wait_for_status(gid.as_str().unwrap(), "status", &["complete"]);
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("Download complete: ").then_some(text)
    });
    assert!(
        !text.contains("[INFO]") && !text.contains("[DEBUG]"),
        "{text}"
    );
    assert_eq!(server.stop(), 0);
}

#[test]
fn the_table_of_results_follows_the_global_options() {
    for (word, shown) in [("full", true), ("hide", false)] {
        let home = Home::new();
        let server = Server::start(home.arioso(), &["--state-dir="]);
        let change = json!([{"download-result": word}]);
        server.call("aria2.changeGlobalOption", change);
        let (status, says) = server.stop_and_listen();
        assert_eq!(status, 0);
        assert_eq!(says.contains("avg speed  |  %|"), shown, "{says}");
    }
}

#[test]
fn shutdown_is_orderly_and_a_second_signal_is_not_waited_for() {
    let (home, files) = (Home::new(), FileServer::start());
    let uri = files.page("/a", &bytes(1_000_000, 2));
    files.set_gate("/a", 200_000);
    let mut server = Server::start(home.arioso(), &["--state-dir="]);
    let gid = server.call("aria2.addUri", json!([[uri]]));
    server.wait_for_status(gid.as_str().unwrap(), "completedLength", &["200000"]);
    kill(&server.child, "INT");
    kill(&server.child, "INT");
    let status = wait_for("the end", || server.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(7));
    assert!(home.file("a.aria2").exists());
}

#[test]
fn whoever_asks_first_sees_the_whole_input_file() {
    let (home, port) = (Home::new(), free_port());
    let entry = "http://127.0.0.1:1/x\n  pause=true\n";
    fs::write(home.path("list"), entry.repeat(2000)).unwrap();
    let input = format!("--input-file={}", home.path("list").display());
    let listen = format!("--rpc-listen-port={port}");
    let args = ["--enable-rpc", "--no-conf", "--state-dir=", &listen, &input];
    let mut child = home.arioso().args(args).spawn().unwrap();
    let stat = wait_for("the first answer", || {
        ask(port, "aria2.getGlobalStat", json!([])).ok()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stat["result"]["numWaiting"], "2000");
}
