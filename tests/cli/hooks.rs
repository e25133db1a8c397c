use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, kill, run, stdout, wait_for};
use crate::write;

/// A script that appends its name, arguments and environment to `calls`.
fn hook(home: &Home, name: &str) -> String {
    let calls = home.path("calls");
    let script = format!(
        "#!/bin/sh\necho \"{name} $# $1 $2 $3 $ARIOSO_GID $ARIOSO_FILES $ARIOSO_PATH \
         $ARIOSO_STATUS $ARIOSO_ERROR_CODE $ARIOSO_DIR\" >> {}\n",
        calls.display()
    );
    let path = write(home, name, &script);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn hooks_get_their_arguments_even_at_the_end() {
    let (home, server) = (Home::new(), FileServer::start());
    let good = server.page("/a b", &bytes(1000, 1)).replace(' ', "%20");
    server.page("/a%20b", &bytes(1000, 1));
    let args = [
        format!("--on-download-start={}", hook(&home, "start")),
        format!("--on-download-complete={}", hook(&home, "complete")),
        format!("--on-download-stop={}", hook(&home, "stop")),
        "--gid=00000000000000ab".to_owned(),
        good,
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = run(&mut home.arioso(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let calls = wait_for("two calls", || {
        let mut calls: Vec<String> = fs::read_to_string(home.path("calls"))
            .ok()?
            .lines()
            .map(str::to_owned)
            .collect();
        calls.sort();
        (calls.len() == 2).then_some(calls)
    });
    let gid = "00000000000000ab";
    let dir = home.path("dl").display().to_string();
    assert_eq!(
        calls[0],
        format!("complete 3 {gid} 1 {dir}/a b {gid} 1 {dir}/a b complete 0 {dir}")
    );
    assert!(
        calls[1].starts_with(&format!("start 3 {gid} 1 ")),
        "{calls:?}"
    );
}

#[test]
fn stop_hook_stands_in_for_the_error_hook() {
    let (home, server) = (Home::new(), FileServer::start());
    let stop = format!("--on-download-stop={}", hook(&home, "stop"));
    let output = run(&mut home.arioso(), &[&stop, &server.uri("/missing")]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    let call = wait_for("a call", || {
        let text = fs::read_to_string(home.path("calls")).ok()?;
        text.ends_with('\n').then_some(text)
    });
    assert!(
        call.starts_with("stop 3 ") && call.contains(" error 3 "),
        "{call}"
    );
}

#[test]
fn how_a_hook_ended_is_in_the_log() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 1));
    server.set_gate("/a", 0);
    let failing = write(&home, "failing", "#!/bin/sh\nexit 3\n");
    fs::set_permissions(&failing, PermissionsExt::from_mode(0o755)).unwrap();
    for (command, told) in [
        (failing.to_str().unwrap(), "ended: exit status: 3"),
        ("/no/such/hook", "could not be run: "),
    ] {
        let start = format!("--on-download-start={command}");
        let args = ["--no-conf", "-q", "-l", "log", &start, &uri];
        let child = home.arioso().args(args).spawn().unwrap();
        let told = format!("Hook {command} {told}");
        wait_for("a line about the hook", || {
            let log = fs::read_to_string(home.file("log")).ok()?;
            log.contains(&told).then_some(())
        });
        kill(&child, "KILL");
        child.wait_with_output().unwrap();
    }
}
