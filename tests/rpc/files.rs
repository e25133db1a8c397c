//! Which files clients can name, and which they can delete.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::origin::{Origin, Reply, Step};
use super::server::Server;

const GID: &str = "aaaa000000000001";

fn bad(option: &str) -> String {
    format!(
        r#"400 "error":{{"code":1,"message":"We encountered a problem while processing the option '--{option}'."}}"#
    )
}

fn added(gid: &str) -> String {
    format!(r#"200 "result":"{gid}""#)
}

const OK: &str = r#"200 "result":"OK""#;

fn add(options: &str) -> String {
    format!(r#"[["http://h/f"],{{"pause":"true","gid":"{GID}",{options}}}]"#)
}

#[test]
fn names_that_lead_out_of_their_directory_are_refused() {
    let server = Server::start();
    for (options, option) in [
        (r#""out":"../x""#, "out"),
        (r#""out":"a/../../x""#, "out"),
        (r#""out":"/etc/x""#, "out"),
        (r#""index-out":["1=ok","2=../x"]"#, "index-out"),
        (r#""index-out":"1=/x""#, "index-out"),
        // The first in order of the names is complained of.
        (r#""split":"0","out":"../x""#, "out"),
    ] {
        assert_eq!(server.call("aria2.addUri", &add(options)), bad(option));
    }
    assert_eq!(
        server.call("aria2.addUri", &add(r#""out":"a/b""#)),
        added(GID)
    );
    let change = |out: &str| {
        let params = format!(r#"["{GID}",{{"out":"{out}","split":"2"}}]"#);
        server.call("aria2.changeOption", &params)
    };
    assert_eq!(change("../x"), bad("out"));
    assert_eq!(change("c"), OK);
    let options = server.call("aria2.getOption", &format!(r#"["{GID}"]"#));
    assert!(options.contains(r#""out":"c""#), "{options}");
    assert_eq!(
        server.call("aria2.changeOption", r#"["bbbb",{"out":"../x"}]"#),
        r#"400 "error":{"code":1,"message":"GID bbbb is not found"}"#
    );
}

#[test]
fn a_jail_keeps_every_file_inside() {
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path().canonicalize().expect("a path");
    let jail = root.join("jail");
    fs::create_dir_all(jail.join("in")).expect("a directory");
    symlink(&root, jail.join("up")).expect("a link");
    let path = |name: &str| root.join(name).to_string_lossy().into_owned();
    let server = Server::with(&[("rpc-dir-jail", &path("jail"))]);
    for (name, inside) in [("jail/in", true), ("jail/new/deep", true), ("jail", true)]
        .into_iter()
        .chain(
            ["", "jail/up", "jail/up/x", "jail/../x", "jail/new/../../x"].map(|name| (name, false)),
        )
    {
        let dir = format!(r#""dir":"{}""#, path(name));
        let expected = if inside { added(GID) } else { bad("dir") };
        assert_eq!(server.call("aria2.addUri", &add(&dir)), expected, "{name}");
        if inside {
            let change = format!(r#"["{GID}",{{"dir":"{}"}}]"#, path("jail/up"));
            assert_eq!(server.call("aria2.changeOption", &change), bad("dir"));
            let change = format!(r#"["{GID}",{{"complete-dir":"{}"}}]"#, path("x"));
            assert_eq!(
                server.call("aria2.changeOption", &change),
                bad("complete-dir")
            );
            assert_eq!(
                server.call("aria2.remove", &format!(r#"["{GID}"]"#)),
                added(GID)
            );
        }
    }
    let both = |out: &str| add(&format!(r#""dir":"{}","out":"{out}""#, path("jail")));
    assert_eq!(server.call("aria2.addUri", &both("up/x")), bad("out"));
    assert_eq!(server.call("aria2.addUri", &both("in/x")), added(GID));
    for option in [
        "log",
        "save-session",
        "save-cookies",
        "server-stat-of",
        "dir",
    ] {
        let global = |name: &str| {
            let params = format!(r#"[{{"{option}":"{}"}}]"#, path(name));
            server.call("aria2.changeGlobalOption", &params)
        };
        assert_eq!(global("x"), bad(option));
        assert_eq!(global("jail/up/x"), bad(option));
        assert_eq!(global("jail/in/x"), OK, "{option}");
    }
    let torrent = format!(r#"["ZGU=",[],{{"dir":"{}"}}]"#, path("x"));
    assert_eq!(server.call("aria2.addTorrent", &torrent), bad("dir"));
}

#[test]
fn the_servers_own_files_are_not_for_clients() {
    let server = Server::start();
    let names = [
        "conf-path",
        "input-file",
        "state-dir",
        "rpc-dir-jail",
        "rpc-allowed-host",
        "rpc-certificate",
        "rpc-private-key",
        "rpc-secret",
        "rpc-allow-hooks",
        "load-cookies",
        "netrc-path",
        "server-stat-if",
        "ca-certificate",
        "certificate",
        "private-key",
        "dht-file-path",
        "dht-file-path6",
        "on-download-start",
        "on-download-pause",
        "on-download-stop",
        "on-download-complete",
        "on-download-error",
        "on-bt-download-complete",
        "torrent-file",
        "metalink-file",
    ];
    let before = server.call("aria2.getGlobalOption", "[]");
    for name in names {
        let options = format!(r#"{{"{name}":"/evil"}}"#);
        assert_eq!(
            server.call("aria2.changeGlobalOption", &format!("[{options}]")),
            OK
        );
        assert_eq!(
            server.call("aria2.addUri", &add(&format!(r#""{name}":"/evil""#))),
            added(GID)
        );
        let shown = server.call("aria2.getOption", &format!(r#"["{GID}"]"#));
        assert!(!shown.contains("evil"), "{name}: {shown}");
        assert_eq!(
            server.call("aria2.changeOption", &format!(r#"["{GID}",{options}]"#)),
            OK
        );
        let shown = server.call("aria2.getOption", &format!(r#"["{GID}"]"#));
        assert!(!shown.contains("evil"), "{name}: {shown}");
        server.call("aria2.remove", &format!(r#"["{GID}"]"#));
    }
    assert_eq!(server.call("aria2.getGlobalOption", "[]"), before);
}

fn remove(server: &Server) -> String {
    server.call("arioso.removeWithFiles", &format!(r#"["{GID}"]"#))
}

/// An origin whose file stalls half way.
fn stalling() -> Origin {
    let data = vec![7; 1 << 20];
    Origin::start(move |seen| Reply::file(&data, seen, &[]).cut(1 << 19, Step::Stall))
}

fn fetch(server: &Server, origin: &Origin, options: &str) {
    let params = format!(
        r#"[["{}"],{{"gid":"{GID}","split":"1","out":"d/f.bin"{options}}}]"#,
        origin.url("/f.bin")
    );
    assert_eq!(server.call("aria2.addUri", &params), added(GID));
}

#[test]
fn files_go_with_their_download_whatever_its_state() {
    let origin = stalling();
    let whole = Origin::with_file(vec![1; 4096]);
    for state in ["active", "paused", "removed", "complete"] {
        let server = Server::start();
        let source = if state == "complete" { &whole } else { &origin };
        fetch(&server, source, "");
        let params = format!(r#"["{GID}"]"#);
        let file = server.dir().join("d/f.bin");
        match state {
            "complete" => {
                server.call_until("aria2.tellStatus", &params, r#""status":"complete""#);
            }
            _ => {
                server.call_until("aria2.tellStatus", &params, r#""completedLength":"524288""#);
                assert!(
                    file.exists() && server.dir().join("d/f.bin.aria2").exists(),
                    "{state}"
                );
            }
        }
        match state {
            "paused" => server.call("aria2.forcePause", &params),
            "removed" => server.call("aria2.forceRemove", &params),
            _ => String::new(),
        };
        fs::write(server.dir().join("d/other"), "other").expect("a file");
        assert_eq!(remove(&server), added(GID), "{state}");
        let left: Vec<_> = fs::read_dir(server.dir().join("d"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(left, ["other"], "{state}");
        let status = server.call("aria2.tellStatus", &params);
        assert!(status.contains("is not found"), "{state}: {status}");
    }
}

#[test]
fn what_was_there_before_stays() {
    let server = Server::start();
    let file = server.dir().join("d/f.bin");
    fs::create_dir(server.dir().join("d")).expect("a directory");
    fs::write(&file, "precious").expect("a file");
    let origin = stalling();
    fetch(&server, &origin, r#","pause":"true""#);
    assert_eq!(remove(&server), added(GID));
    // Refused for the file that is there.
    fetch(&server, &origin, r#","auto-file-renaming":"false""#);
    server.call_until(
        "aria2.tellStatus",
        &format!(r#"["{GID}"]"#),
        r#""errorCode":"13""#,
    );
    assert_eq!(remove(&server), added(GID));
    assert_eq!(fs::read(&file).expect("the file"), b"precious");
    assert_eq!(
        remove(&server),
        format!(r#"400 "error":{{"code":1,"message":"GID {GID} is not found"}}"#)
    );
}

#[test]
fn links_and_files_of_others_are_refused() {
    let server = Server::start();
    let origin = stalling();
    let params = format!(r#"["{GID}"]"#);
    fetch(&server, &origin, "");
    server.call_until("aria2.tellStatus", &params, r#""completedLength":"524288""#);
    let outside = tempfile::tempdir().expect("a directory");
    let precious = outside.path().join("f.bin");
    fs::write(&precious, "precious").expect("a file");
    // The directory is moved away and a link out of the tree put in its place.
    fs::rename(server.dir().join("d"), server.dir().join("moved")).expect("moved");
    symlink(outside.path(), server.dir().join("d")).expect("a link");
    let answer = remove(&server);
    assert!(
        answer.contains("is not deleted: a link leads out"),
        "{answer}"
    );
    let status = server.call("aria2.tellStatus", &params);
    assert!(
        status.contains(r#""status":"active""#),
        "nothing was stopped: {status}"
    );
    assert!(precious.exists());

    // The file itself is a link now.
    fs::remove_file(server.dir().join("d")).expect("removed");
    fs::create_dir(server.dir().join("d")).expect("a directory");
    symlink(&precious, server.dir().join("d/f.bin")).expect("a link");
    assert!(remove(&server).contains("it is no plain file"));
    assert!(precious.exists());
}

#[test]
fn a_file_that_another_download_writes_stays() {
    let server = Server::start();
    let whole = Origin::with_file(vec![1; 4096]);
    fetch(&server, &whole, "");
    let params = format!(r#"["{GID}"]"#);
    server.call_until("aria2.tellStatus", &params, r#""status":"complete""#);
    let origin = stalling();
    let second = format!(
        r#"[["{}"],{{"gid":"bbbb000000000001","split":"1","out":"d/f.bin","allow-overwrite":"true"}}]"#,
        origin.url("/f.bin")
    );
    assert_eq!(
        server.call("aria2.addUri", &second),
        added("bbbb000000000001")
    );
    server.call_until(
        "aria2.tellStatus",
        r#"["bbbb"]"#,
        r#""completedLength":"524288""#,
    );
    let answer = remove(&server);
    assert!(answer.contains("in use by another download"), "{answer}");
    std::thread::sleep(Duration::from_millis(50));
    assert!(server.dir().join("d/f.bin").exists());
}
