use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, free_port, kill, run, stderr, stdout, wait_for};
use crate::write;

/// Rows of the table of results: status and path, by position.
fn results(stdout: &str) -> Vec<(String, String)> {
    let (_, table) = stdout
        .split_once("\nDownload Results:\n")
        .expect("a table of results");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("gid   |stat|avg speed  |path/URI"));
    assert!(lines.next().unwrap().starts_with("======+====+==========="));
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let columns: Vec<&str> = line.split('|').collect();
            assert_eq!(columns.len(), 4, "{line}");
            assert_eq!(
                (columns[0].len(), columns[1].len(), columns[2].len()),
                (6, 4, 11)
            );
            (columns[1].trim().to_owned(), columns[3].to_owned())
        })
        .collect()
}

#[test]
fn downloads_and_tells() {
    let (home, server) = (Home::new(), FileServer::start());
    let body = bytes(3_000_000, 1);
    let uri = server.page("/a.bin", &body);
    let output = run(&mut home.arioso(), &[&uri]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(fs::read(home.file("a.bin")).unwrap() == body);
    assert!(!home.file("a.bin.aria2").exists());
    let text = stdout(&output);
    let path = home.file("a.bin").to_str().unwrap().to_owned();
    assert!(
        text.contains(&format!("[NOTICE] Download complete: {path}\n")),
        "{text}"
    );
    assert_eq!(results(&text), [("OK".to_owned(), path)]);
    assert!(
        text.ends_with("\nStatus Legend:\n(OK):download completed.\n"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text}");
}

#[test]
fn all_uris_are_mirrors_of_one_file_unless_told_otherwise() {
    let (home, server) = (Home::new(), FileServer::start());
    let body = bytes(100_000, 2);
    let (one, two) = (server.page("/one", &body), server.page("/two", &body));
    let output = run(&mut home.arioso(), &["-o", "both", "-d", "sub", &one, &two]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(fs::read(home.file("sub/both")).unwrap() == body);
    assert_eq!(results(&stdout(&output)).len(), 1);

    let output = run(&mut home.arioso(), &["-Z", "-j", "1", &one, &two]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_eq!(results(&stdout(&output)).len(), 2);
    assert!(home.file("one").exists() && home.file("two").exists());

    let pattern = server.uri("/{one,two,none}");
    let output = run(&mut home.arioso(), &["-P", "-Z", "-d", "p", &pattern]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    assert!(home.file("p/one").exists() && home.file("p/two").exists());
}

/// Known bug 54: neither below `dir` nor renamed where it is a device.
#[test]
fn bug_54_an_absolute_out_stays_absolute() {
    let (home, server) = (Home::new(), FileServer::start());
    let body = bytes(100_000, 3);
    let page = server.page("/one", &body);
    let place = home.file("else/where");
    let out = format!("--out={}", place.display());
    let output = run(&mut home.arioso(), &["-d", "sub", &out, &page]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(fs::read(place).unwrap() == body);
    let output = run(&mut home.arioso(), &["-o", "/dev/null", &page]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_eq!(results(&stdout(&output))[0].0, "OK");
    assert!(!Path::new("/dev/null.1").exists() && !Path::new("/dev/null.aria2").exists());
}

/// Known bug 55: a path may look like a URI of another scheme.
#[test]
fn bug_55_a_torrent_whose_path_looks_like_a_uri() {
    let home = Home::new();
    fs::create_dir(home.file("E:")).unwrap();
    let info = format!(
        "d4:infod6:lengthi5e4:name1:n12:piece lengthi16384e6:pieces20:{}ee",
        "x".repeat(20)
    );
    fs::write(home.file("E:/x.torrent"), info).unwrap();
    let output = run(&mut home.arioso(), &["-S", "E://x.torrent"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("1|./n"), "{}", stdout(&output));
}

#[test]
fn exit_status_tells_what_went_wrong() {
    let (home, server) = (Home::new(), FileServer::start());
    let missing = server.uri("/missing");
    let refused = format!("http://127.0.0.1:{}/x", free_port());
    let cases: &[(&[&str], i32)] = &[
        (&[&missing], 3),
        (&["--max-tries=1", &refused], 1),
        (&["--split=0", &missing], 28),
        (&["--no-such-option", &missing], 28),
        (&[], 1),
        (&["no-scheme"], 1),
        (&["--input-file=none"], 1),
        (&["--conf-path=none", &missing], 1),
        (&["--version"], 0),
        (&["--help"], 0),
    ];
    for (args, code) in cases {
        let output = run(&mut home.arioso(), args);
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {text}");
        assert!(!text.is_empty(), "{args:?} told nothing");
    }
    let output = run(&mut home.arioso(), &[&missing]);
    assert_eq!(results(&stdout(&output)), [("ERR".to_owned(), missing)]);
    let bad = run(&mut home.aria2c(), &["--split=x"]);
    assert!(stderr(&bad).contains("--split"), "{}", stderr(&bad));
}

#[test]
fn signal_saves_and_the_next_run_goes_on() {
    let (home, server) = (Home::new(), FileServer::start());
    let body = bytes(4_000_000, 3);
    let uri = server.page("/big", &body);
    server.set_gate("/big", 1_500_000);
    for signal in ["INT", "TERM", "HUP"] {
        let asked_before = server.requests().len();
        let child = home
            .arioso()
            .args(["--file-allocation=none", "--no-conf", &uri])
            .spawn()
            .unwrap();
        wait_for("the first half", || {
            let len = fs::metadata(home.file("big")).ok()?.len();
            let asked = server.requests().len() > asked_before;
            (asked && len >= 1_500_000).then_some(())
        });
        kill(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(7),
            "{signal}: {}",
            stdout(&output)
        );
        assert_eq!(results(&stdout(&output))[0].0, "INPR");
        assert!(home.file("big.aria2").exists());
    }
    server.set_gate("/big", u64::MAX);
    let output = run(&mut home.arioso(), &[&uri]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(fs::read(home.file("big")).unwrap() == body);
    let resumed = server.requests().last().unwrap().from;
    assert!(resumed >= 1_400_000, "asked again from {resumed}");
}

#[test]
fn input_file_and_its_options() {
    let (home, server) = (Home::new(), FileServer::start());
    let body = bytes(50_000, 4);
    let (one, two) = (server.page("/one", &body), server.page("/two", &body));
    let text = format!(
        "# comment\n{one}\t{two}\n  out=x\n  dir=in\n\n{two}\n out=y\n{}\n",
        server.uri("/missing")
    );
    let input = write(&home, "list", &text);
    for deferred in ["--deferred-input=false", "--deferred-input=true"] {
        let args = [
            "-j1",
            deferred,
            "--allow-overwrite=true",
            "-i",
            input.to_str().unwrap(),
        ];
        let output = run(&mut home.arioso(), &args);
        assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
        assert!(fs::read(home.file("in/x")).unwrap() == body);
        assert!(fs::read(home.file("y")).unwrap() == body);
        let statuses: Vec<_> = results(&stdout(&output))
            .into_iter()
            .map(|row| row.0)
            .collect();
        assert_eq!(statuses, ["OK", "OK", "ERR"]);
    }

    let mut child = home
        .arioso()
        .args(["-i", "-", "-d", "stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(home.file("stdin/y").exists());
}

#[test]
fn conf_file_is_under_the_command_line() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 5));
    fs::create_dir(home.path(".aria2")).unwrap();
    write(
        &home,
        ".aria2/aria2.conf",
        "# mine\ndir=${HOME}/conf\nout=b\nnonsense=1\n",
    );
    let output = run(&mut home.arioso(), &["-o", "c", &uri]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(home.path("conf/c").exists());
    assert!(stdout(&output).contains("[WARN] Unknown option: nonsense=1"));
    write(&home, ".aria2/aria2.conf", "split=x\n");
    assert_eq!(run(&mut home.arioso(), &[&uri]).status.code(), Some(28));
    assert_eq!(
        run(&mut home.arioso(), &["--no-conf", &uri]).status.code(),
        Some(0)
    );
}

#[test]
fn conf_file_in_the_xdg_directory() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 5));
    fs::create_dir_all(home.path("xdg/aria2")).unwrap();
    write(&home, "xdg/aria2/aria2.conf", "out=from-xdg\n");
    let mut program = home.arioso();
    program.env("XDG_CONFIG_HOME", home.path("xdg"));
    let output = run(&mut program, &[&uri]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(home.file("from-xdg").exists());
}

#[test]
fn proxies_of_the_environment_are_asked() {
    for (variable, uri, asked) in [
        ("http_proxy", "http://h.test/f", "GET http://h.test/f "),
        ("https_proxy", "https://h.test/f", "CONNECT h.test:443 "),
        ("ftp_proxy", "ftp://h.test/f", "GET ftp://h.test/f "),
        ("all_proxy", "http://h.test/f", "GET http://h.test/f "),
    ] {
        let home = Home::new();
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", proxy.local_addr().unwrap());
        let told = thread::spawn(move || {
            let (mut stream, _) = proxy.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n");
            line
        });
        let mut program = home.arioso();
        program.env(variable, &address);
        let output = run(&mut program, &["--max-tries=1", uri]);
        assert_ne!(output.status.code(), Some(0), "{}", stdout(&output));
        let line = told.join().unwrap();
        assert!(line.starts_with(asked), "{variable}: {line}");
    }
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 5));
    let mut program = home.arioso();
    program.env("http_proxy", "http://127.0.0.1:1");
    program.env("no_proxy", "127.0.0.1");
    assert_eq!(run(&mut program, &[&uri]).status.code(), Some(0));
}

#[test]
fn quiet_dry_run_and_log() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(1000, 6));
    let output = run(&mut home.arioso(), &["--dry-run", &uri]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let path = home.file("a").to_str().unwrap().to_owned();
    assert_eq!(results(&stdout(&output)), [("OK".to_owned(), path)]);
    assert!(!home.file("a").exists());
    let asked = &server.requests()[0];
    assert_eq!((&*asked.method, &*asked.path), ("HEAD", "/a"));

    let missing = server.uri("/missing?token=hush");
    let output = run(
        &mut home.arioso(),
        &["-q", "-l", "log", "-Z", &uri, &missing],
    );
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stdout(&output) + &stderr(&output), "");
    let log = fs::read_to_string(home.file("log")).unwrap();
    assert!(
        log.contains("[NOTICE]") && log.contains("Download complete: "),
        "{log}"
    );
    assert!(log.contains("errorCode=3"), "{log}");
    assert!(!log.contains("hush"), "{log}");

    // Why it failed is told although the result is forgotten at once.
    let output = run(&mut home.arioso(), &["--max-download-result=0", &missing]);
    let text = stdout(&output);
    assert!(
        text.contains("errorCode=3 ") && text.contains("/missing"),
        "{text}"
    );

    let output = run(
        &mut home.arioso(),
        &["--stderr", "--download-result=hide", &uri],
    );
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("Download complete"));
    assert!(!stderr(&output).contains("Download Results"));

    for (level, told) in [("notice", true), ("warn", false), ("error", false)] {
        let level = format!("--console-log-level={level}");
        let output = run(&mut home.arioso(), &["--allow-overwrite", &level, &uri]);
        let text = stdout(&output);
        assert_eq!(text.contains("Download complete"), told, "{level}: {text}");
    }
}

#[test]
fn progress_and_summary_lines() {
    let (home, server) = (Home::new(), FileServer::start());
    let uri = server.page("/a", &bytes(3_000_000, 7));
    server.set_gate("/a", 1_048_576);
    let child = home
        .arioso()
        .args(["--summary-interval=1", "--stop=2", &uri])
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stdout(&output));
    let text = stdout(&output);
    let line = text
        .lines()
        .find(|line| line.contains(" 1.0MiB/2.8MiB(34%) CN:"))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(line.starts_with("[#") && line.ends_with(']'), "{line}");
    assert_eq!(line.find(' '), Some(8), "{line}");
    assert!(
        text.contains(" *** Download Progress Summary as of "),
        "{text}"
    );
    let file = format!("\nFILE: {}\n", home.file("a").display());
    assert!(text.contains(&file), "{text}");
}
