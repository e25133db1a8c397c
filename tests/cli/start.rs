//! What is refused before anything starts, and what is told of it.

use std::fs;
use std::path::Path;

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, free_port, kill, run, stderr, stdout, wait_for};
use crate::write;

#[test]
fn passwords_are_covered_in_the_process_list() {
    let home = Home::new();
    let port = format!("--rpc-listen-port={}", free_port());
    let child = home
        .arioso()
        .args(["--no-conf", "--enable-rpc", &port, "--state-dir="])
        .args(["--rpc-secret=topsecret", "--http-passwd", "hush"])
        .spawn()
        .unwrap();
    let list = format!("/proc/{}/cmdline", child.id());
    let shown = wait_for("stars over the passwords", || {
        let shown = fs::read_to_string(&list).ok()?;
        shown.contains('*').then_some(shown)
    });
    assert!(
        shown.contains("--rpc-secret=*********\0--http-passwd\0****\0"),
        "{shown}"
    );
    kill(&child, "KILL");
    child.wait_with_output().unwrap();
}

#[test]
fn what_cannot_be_fetched_is_a_failed_row_and_never_stops_the_others() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 1));
    let output = run(&mut home.arioso(), &["-Z", "gopher://h/x", &uri]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("[NOTICE] Downloading 2 item(s)\n"), "{text}");
    assert!(text.contains("|ERR |        n/a|gopher://h/x\n"), "{text}");
    assert!(
        text.contains("\n(OK):download completed.(ERR):error occurred.\n"),
        "{text}"
    );

    let list = format!("no-such\n{uri}\n gid=5\n{uri}\n out=b\n");
    let list = write(&home, "list", &list);
    let output = run(&mut home.arioso(), &["-i", list.to_str().unwrap()]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("Unrecognized URI or unsupported protocol: no-such\n"),
        "{text}"
    );
    assert!(text.contains("5 is invalid for GID.\n"), "{text}");
    assert!(text.contains("Downloading 1 item(s)\n"), "{text}");
    assert!(home.file("b").exists());
}

#[test]
fn senseless_command_lines_start_nothing() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 1));
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["no-such"],
            1,
            "Unrecognized URI or unsupported protocol: no-such",
        ),
        (&["-P", "http://h/{a,b"], 1, "is not closed"),
        (&["-P", "-Z", "http://h/[1-10000000]"], 1, "more than 65536"),
        (&["--gid=5"], 1, "5 is invalid for GID."),
        (
            &["-Z", "--gid=00000000000000ab", "http://h/"],
            1,
            "GID 00000000000000ab is not unique",
        ),
        (&["--torrent-file=none"], 28, "There is no file none."),
        (&["--metalink-file=none"], 28, "There is no file none."),
        (&["--certificate=none"], 28, "There is no file none."),
        (&["--rpc-certificate=none"], 28, "There is no file none."),
        (
            &["--interface=no-such-0"],
            1,
            "no network interface no-such-0",
        ),
        (
            &["--multiple-interface=lo,no-such-0"],
            1,
            "no network interface no-such-0",
        ),
    ];
    for (args, code, told) in cases {
        let output = run(home.arioso().arg(&uri), args);
        assert_eq!(output.status.code(), Some(*code), "{args:?}");
        let text = stderr(&output);
        assert!(text.contains(told), "{args:?}: {text}");
        assert_eq!(stdout(&output), "", "{args:?}");
    }
    assert!(server.requests().is_empty());
    let empty = write(&home, "empty", "# nothing\n");
    let output = run(&mut home.arioso(), &["-i", empty.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "No files to download.\n");
}

#[test]
fn connections_leave_from_where_they_are_told_to() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 1));
    for way in [
        "--interface=lo",
        "--interface=127.0.0.1",
        "--interface=localhost",
        "--multiple-interface=lo,127.0.0.1",
        "--disable-ipv6=true",
        "--async-dns=false",
        "--async-dns-server=127.0.0.1",
    ] {
        let output = run(&mut home.arioso(), &["--allow-overwrite=true", way, &uri]);
        assert_eq!(output.status.code(), Some(0), "{way}: {}", stdout(&output));
    }
    let literal = format!("http://[::1]:{}/a", free_port());
    let output = run(
        &mut home.arioso(),
        &["--disable-ipv6=true", "-m1", &literal],
    );
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("refused"), "it was tried: {text}");
}

#[test]
fn one_name_is_not_given_to_several_downloads() {
    let (home, server) = (Home::new(), FileServer::start());
    let (one, two) = (server.page("/one", b"1"), server.page("/two", b"2"));
    run(&mut home.arioso(), &["-Z", "-o", "x", &one, &two]);
    let list = write(
        &home,
        "list",
        &format!("{one}\n dir=in\n{two}\n dir=in\n out=own\n"),
    );
    run(
        &mut home.arioso(),
        &["-o", "x", "-i", list.to_str().unwrap()],
    );
    for name in ["one", "two", "in/one", "in/own"] {
        assert!(home.file(name).exists(), "{name}");
    }
    assert!(!home.file("x").exists() && !home.file("in/x").exists());
}

/// Known-bugs 41.
#[test]
fn bytes_that_are_no_text_are_escaped_in_uris_and_refused_in_paths() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/caf%E9", b"1");
    let raw = uri.replace("%E9", "");
    let raw = [raw.as_bytes(), b"\xe9"].concat();
    let output = run(home.arioso().arg(OsStr::from_bytes(&raw)), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let dir = OsStr::from_bytes(b"--dir=caf\xe9");
    let output = run(home.arioso().arg(dir), &[&uri]);
    assert_eq!(output.status.code(), Some(28));
    assert!(stderr(&output).contains("UTF-8"), "{}", stderr(&output));
}

#[test]
fn an_input_file_counts_alone() {
    let (home, server) = (Home::new(), FileServer::start());
    let (one, two) = (server.page("/one", b"1"), server.page("/two", b"2"));
    let list = write(&home, "list", &format!("{one}\n"));
    let output = run(&mut home.arioso(), &["-i", list.to_str().unwrap(), &two]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("URIs of the command line are not fetched"),
        "{text}"
    );
    assert!(home.file("one").exists() && !home.file("two").exists());
}

#[test]
fn a_gid_that_stands_twice_is_told_and_the_rest_goes_on() {
    let (home, server) = (Home::new(), FileServer::start());
    let (one, two, three) = (
        server.page("/one", b"1"),
        server.page("/two", b"2"),
        server.page("/three", b"3"),
    );
    let gid = " gid=00000000000000aa\n";
    let list = write(&home, "list", &format!("{one}\n{gid}{two}\n{gid}{three}\n"));
    let output = run(&mut home.arioso(), &["-i", list.to_str().unwrap()]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let told = "[ERROR] GID 00000000000000aa is not unique (input file, entry at line 3)";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("Downloading 2 item(s)"), "{text}");
    assert!(home.file("one").exists() && home.file("three").exists());
    assert!(!home.file("two").exists());
}

#[test]
fn the_process_gets_its_files_and_is_honest_about_how_it_waits() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 1));
    server.set_gate("/a", 0);
    // The option only ever raises the limit.
    let mut command = home.program(Path::new("sh"));
    command.args(["-c", "ulimit -Sn 300 && exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_arioso"));
    command.args([
        "--no-conf",
        "--rlimit-nofile=321",
        "--event-poll=poll",
        &uri,
    ]);
    let child = command.spawn().unwrap();
    wait_for("the request", || server.requests().pop());
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = files.unwrap().split_whitespace().collect();
    assert_eq!(words[3], "321", "{limits}");
    server.set_gate("/a", u64::MAX);
    let output = child.wait_with_output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let told = "[WARN] --event-poll=poll is accepted, but this program always waits with epoll";
    assert!(text.contains(told), "{text}");
}
