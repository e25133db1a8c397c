//! Session entries as we write them, read by the real aria2c and written again by it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use arioso::format::input_file;
use arioso::option::spec::OURS;
use arioso::option::{OptionSet, find};

/// Answers every request with an empty success; enough for `--dry-run`. Returns its address.
fn serve_nothing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n");
        }
    });
    address
}

/// A download's options as pairs, without those aria2c adds or does not know.
fn comparable(options: &[(String, String)]) -> BTreeSet<(String, String)> {
    const ADDED: &[&str] = &["dry-run", "force-save"];
    let known = |name: &str| find(name).is_some_and(|id| !id.spec().scope.has(OURS));
    options
        .iter()
        .filter(|(name, _)| known(name) && !ADDED.contains(&name.as_str()))
        .cloned()
        .collect()
}

#[test]
fn aria2c_takes_our_session_text() {
    if Command::new("aria2c").arg("--version").output().is_err() {
        eprintln!("skipped: aria2c is not installed (scripts/test installs it)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let host = serve_nothing();
    let mut global = OptionSet::new();
    global
        .set_text(find("header").unwrap(), "X-Global: 1")
        .unwrap();
    global
        .set_text(find("enable-rpc").unwrap(), "true")
        .unwrap();
    let global = Arc::new(global);

    let mut text = String::new();
    let texts: &[&[(&str, &str)]] = &[
        &[
            ("out", "a b.bin"),
            ("header", "A: 1=2, 3"),
            ("header", "B: #4"),
            ("max-tries", "9"),
            ("min-split-size", "2M"),
        ],
        &[
            ("checksum", "SHA-1=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ("referer", "http://r/?q=\u{e4}"),
            ("retry-on-403", "true"),
        ],
        &[
            ("all-proxy-user", "u v"),
            ("no-proxy", "127.0.0.1, localhost"),
            ("file-allocation", "none"),
            ("allow-overwrite", "true"),
        ],
        &[
            ("select-file", "1,3-5"),
            ("index-out", "1=x/y"),
            ("seed-ratio", ".5"),
            ("bt-prioritize-piece", "head=1K,tail"),
        ],
    ];
    for (at, texts) in texts.iter().enumerate() {
        let mut options = OptionSet::over(Arc::clone(&global));
        options
            .set_text(find("dir").unwrap(), dir.path().to_str().unwrap())
            .unwrap();
        assert_eq!(options.set_entry(texts.iter().copied()).unwrap(), [""; 0]);
        let gid = format!("00000000000000a{at}");
        let uris = [
            format!("http://{host}/{at}%20x#f"),
            format!("http://{host}/mirror{at}?a=[1]"),
        ];
        let pairs = options.session_pairs();
        let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str()));
        let gid = [("gid", gid.as_str())];
        input_file::write_entry(
            &mut text,
            uris.iter().map(String::as_str),
            gid.into_iter().chain(pairs),
        );
    }
    let (input, session) = (dir.path().join("in.txt"), dir.path().join("out.txt"));
    std::fs::write(&input, &text).unwrap();

    let run = Command::new("aria2c")
        .args([
            "--no-conf",
            "--dry-run",
            "--force-save",
            "--max-concurrent-downloads=1",
            "--enable-color=false",
        ])
        .arg(format!("--input-file={}", input.display()))
        .arg(format!("--save-session={}", session.display()))
        .env_remove("http_proxy")
        .env_remove("all_proxy")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(0), "{said}");
    let warned: Vec<_> = said
        .lines()
        .filter(|line| line.contains("Unknown option"))
        .collect();
    assert!(
        matches!(warned.as_slice(), [line] if line.contains("retry-on-403=true")),
        "{said}"
    );

    let ours = input_file::parse(&text);
    let theirs = input_file::parse(&std::fs::read_to_string(&session).unwrap());
    assert_eq!(theirs.len(), ours.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(
            BTreeSet::from_iter(&ours.uris),
            BTreeSet::from_iter(&theirs.uris)
        );
        assert_eq!(comparable(&ours.options), comparable(&theirs.options));
    }
}
