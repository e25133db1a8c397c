//! Files of a Metalink that are some of the files of one torrent (`metaurl` with `name`): one
//! download, through the whole chain.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::origin::{Origin, Reply, Step, pattern};
use crate::program::{Home, free_port, wait_for};
use crate::rig::{Node, PIECE_LEN, Torrent, Tracker};
use crate::server::Server;

/// What is at a path of the site; nothing is there at others.
#[derive(Clone)]
enum Page {
    File(Vec<u8>),
    /// It comes slowly.
    Slow(Vec<u8>),
    /// No answer ever.
    Hangs,
}

/// A torrent `top` of the files `a`, `sub/b` and `c`, and a server with mirrors of the first two.
struct Site {
    origin: Origin,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    torrent: Torrent,
}

impl Site {
    /// Where files end at the ends of pieces no file needs bytes of another one.
    fn aligned() -> Self {
        Self::new([4 * PIECE_LEN, 3 * PIECE_LEN, PIECE_LEN + 77], &[])
    }

    fn new(lens: [usize; 3], trackers: &[String]) -> Self {
        let mut rest = pattern(lens.iter().sum());
        let files = ["a", "sub/b", "c"].iter().zip(lens).map(|(path, len)| {
            let after = rest.split_off(len);
            (*path, std::mem::replace(&mut rest, after))
        });
        let files: Vec<(&str, Vec<u8>)> = files.collect();
        let torrent = Torrent::new("top", &files, trackers, &[]);
        let pages: Arc<Mutex<HashMap<String, Page>>> = Arc::default();
        let held = pages.clone();
        let origin = Origin::start(move |seen| {
            let page = held.lock().unwrap().get(&seen.path).cloned();
            match page {
                None => Reply::status("404 Not Found"),
                Some(Page::File(data)) => Reply::file(&data, seen, &[]),
                Some(Page::Slow(data)) => {
                    Reply::file(&data, seen, &[]).slowly(1 << 10, Duration::from_millis(100))
                }
                Some(Page::Hangs) => Reply::default().then(Step::Stall),
            }
        });
        let site = Self {
            origin,
            pages,
            torrent,
        };
        site.put("/t.torrent", Page::File(site.torrent.file.clone()));
        site.put("/a", Page::File(site.data(0).to_vec()));
        site.put("/b", Page::File(site.data(1).to_vec()));
        site
    }

    fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    fn remove(&self, path: &str) {
        self.pages.lock().unwrap().remove(path);
    }

    fn data(&self, file: usize) -> &[u8] {
        &self.torrent.files[file].1
    }

    fn requests(&self, path: &str) -> usize {
        self.origin
            .seen()
            .iter()
            .filter(|seen| seen.path == path)
            .count()
    }

    /// An entry of a Metalink: its name, the torrent's file it is, what it is called in there, and
    /// whatever else it says.
    fn entry(&self, name: &str, file: usize, inside: &str, more: &str) -> String {
        let (torrent, mirror) = (self.origin.url("/t.torrent"), ["/a", "/b", "/c"][file]);
        format!(
            "<file name=\"{name}\"><size>{}</size>{more}\
             <metaurl mediatype=\"torrent\" name=\"{inside}\">{torrent}</metaurl>\
             <url priority=\"1\">{}</url></file>",
            self.data(file).len(),
            self.origin.url(mirror)
        )
    }

    /// Two of the three files, under other names.
    fn two(&self) -> String {
        document(&[
            self.entry("m/A", 0, "top/a", ""),
            self.entry("B", 1, "top/sub/b", ""),
        ])
    }

    fn check(&self, home: &Home) {
        for (name, file) in [("m/A", 0), ("B", 1)] {
            assert!(
                fs::read(home.file(name)).unwrap() == self.data(file),
                "{name}"
            );
        }
    }
}

fn document(entries: &[String]) -> String {
    let head = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">";
    format!("{head}{}</metalink>", entries.concat())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a Metalink says of a file's pieces.
fn pieces_of(data: &[u8], piece_len: usize) -> String {
    let mut pieces = format!("<pieces type=\"sha-1\" length=\"{piece_len}\">");
    for piece in data.chunks(piece_len) {
        let _ = write!(pieces, "<hash>{}</hash>", hex(&Sha1::digest(piece)));
    }
    pieces + "</pieces>"
}

fn start(home: &Home, state: &str) -> Server {
    let listen = format!("--listen-port={}", free_port());
    let args = [
        "--enable-dht=false",
        "--bt-enable-lpd=false",
        "--file-allocation=none",
        "--seed-time=0",
        "--max-tries=2",
        "--retry-wait=0",
        "--rpc-save-upload-metadata=false",
        &listen,
        state,
    ];
    Server::start(home.arioso(), &args)
}

/// Adds a Metalink; the GIDs of its downloads.
fn add(server: &Server, document: &str, options: Value) -> Vec<String> {
    let file = base64::engine::general_purpose::STANDARD.encode(document);
    let gids = server.call("aria2.addMetalink", json!([file, options]));
    let gids = gids.as_array().unwrap().iter();
    gids.map(|gid| gid.as_str().unwrap().to_owned()).collect()
}

fn status(server: &Server, gid: &str) -> Value {
    server.call("aria2.tellStatus", json!([gid]))
}

/// Length, whether it is selected, and the path below the download directory of each file.
fn files(home: &Home, status: &Value) -> Vec<(u64, bool, String)> {
    let dir = home.path("dl").canonicalize().unwrap();
    let dir = format!("{}/", dir.display());
    let files = status["files"].as_array().unwrap().iter();
    files
        .map(|file| {
            let path = file["path"].as_str().unwrap().trim_start_matches(&dir);
            let len = file["length"].as_str().unwrap().parse().unwrap();
            (len, file["selected"] == "true", path.to_owned())
        })
        .collect()
}

#[test]
fn two_files_of_a_torrent_come_as_one_download_by_their_mirrors_alone() {
    // The first piece of `c` begins with bytes of `sub/b`: nobody has the rest of it.
    let site = Site::new([4 * PIECE_LEN - 1000, 3 * PIECE_LEN + 500, 9000], &[]);
    let home = Home::new();
    let server = start(&home, "--state-dir=");
    let gids = add(&server, &site.two(), json!({"pause": "true"}));
    let [part, whole] = &gids[..] else {
        panic!("{gids:?}")
    };
    let (a, b) = (site.data(0).len() as u64, site.data(1).len() as u64);
    let waiting = status(&server, whole);
    assert_eq!(status(&server, part)["belongsTo"], json!(whole));
    assert_eq!(
        files(&home, &waiting),
        [(a, true, "m/A".into()), (b, true, "B".into())]
    );
    server.call("aria2.unpause", json!([whole]));
    let done = server.wait_for_status(whole, "status", &["complete"]);
    assert_eq!(done["infoHash"], json!(site.torrent.info_hash));
    assert_eq!(done["bittorrent"]["info"]["name"], "top");
    assert_eq!(
        files(&home, &done),
        [
            (a, true, "m/A".into()),
            (b, true, "B".into()),
            (9000, false, "top/c".into())
        ]
    );
    assert_eq!(status(&server, part)["status"], "complete");
    assert!(!home.file("t.torrent").exists());
    site.check(&home);
    // A result can be had again.
    fs::remove_dir_all(home.path("dl")).unwrap();
    fs::create_dir(home.path("dl")).unwrap();
    let asked = site.requests("/t.torrent");
    let again = server.call("aria2.requeueDownloadResult", json!([whole]));
    let again = again["gid"].as_str().unwrap();
    server.wait_for_status(again, "status", &["complete"]);
    site.check(&home);
    assert_eq!(site.requests("/t.torrent"), asked);
}

#[test]
fn peers_give_what_mirrors_do_not_have() {
    let tracker = Tracker::start();
    let site = Site::new(
        [4 * PIECE_LEN - 1000, 3 * PIECE_LEN + 500, 9000],
        &[tracker.uri()],
    );
    site.remove("/b");
    let mut wrong = site.data(0).to_vec();
    wrong[PIECE_LEN + 7] ^= 1;
    site.put("/a", Page::File(wrong));
    let seed = Node::start(&[]);
    let given = seed.seed(&site.torrent, &[]);
    let home = Home::new();
    let server = start(&home, "--state-dir=");
    let gids = add(&server, &site.two(), json!({}));
    server.wait_for_status(&gids[1], "status", &["complete"]);
    site.check(&home);
    assert!(seed.uploaded(given) > 0);
}

#[test]
fn a_torrent_that_does_not_fit_is_done_without() {
    let site = Site::aligned();
    site.put("/page.torrent", Page::File(b"<html>".to_vec()));
    let b = |inside| site.entry("B", 1, inside, "");
    let a = || site.entry("m/A", 0, "top/a", "");
    let len = site.data(1).len();
    let longer = b("top/sub/b").replace(&format!("<size>{len}"), &format!("<size>{}", len + 1));
    for (what, document, code) in [
        ("a name", document(&[a(), b("top/b")]), "0"),
        ("one file twice", document(&[a(), b("top/a")]), "0"),
        (
            "gone",
            site.two().replace("/t.torrent", "/none.torrent"),
            "0",
        ),
        (
            "no torrent",
            site.two().replace("/t.torrent", "/page.torrent"),
            "0",
        ),
        (
            "a path in a file",
            document(&[a(), b("top/sub/b")]).replace("\"B\"", "\"top/c/B\""),
            "0",
        ),
        // No mirror has so many bytes either.
        ("a length", document(&[a(), longer]), "error"),
    ] {
        let home = Home::new();
        let server = start(&home, "--state-dir=");
        let gids = add(&server, &document, json!({}));
        let status = server.wait_for_status(&gids[1], "status", &["complete", "error"]);
        assert_eq!(status["infoHash"], Value::Null, "{what}");
        assert_eq!(status["files"].as_array().unwrap().len(), 2, "{what}");
        if code == "0" {
            assert_eq!(status["errorCode"], code, "{what}: {status}");
            let name = if what == "a path in a file" {
                "top/c/B"
            } else {
                "B"
            };
            assert!(fs::read(home.file(name)).unwrap() == site.data(1), "{what}");
            assert!(
                fs::read(home.file("m/A")).unwrap() == site.data(0),
                "{what}"
            );
        } else {
            assert_eq!(status["status"], "error", "{what}: {status}");
        }
    }
}

#[test]
fn hashes_of_the_metalink_count_with_and_without_the_torrent() {
    let site = Site::aligned();
    let zeros = format!("<hash type=\"sha-256\">{}</hash>", "00".repeat(32));
    let right = format!(
        "<hash type=\"sha-256\">{}</hash>",
        hex(&Sha256::digest(site.data(0)))
    );
    let pieces = pieces_of(site.data(1), 3 * PIECE_LEN);
    // Of the first piece another hash.
    let digest = hex(&Sha1::digest(site.data(1)));
    let wrong_pieces = pieces.replace(&digest, &"ab".repeat(20));
    assert_ne!(pieces, wrong_pieces);
    for torrent in ["/t.torrent", "/none.torrent"] {
        for (a, b, code) in [
            (&right, &pieces, "0"),
            (&zeros, &pieces, "32"),
            (&right, &wrong_pieces, "32"),
        ] {
            let home = Home::new();
            let server = start(&home, "--state-dir=");
            let entries = [
                site.entry("m/A", 0, "top/a", a),
                site.entry("B", 1, "top/sub/b", b),
            ];
            let document = document(&entries).replace("/t.torrent", torrent);
            let gids = add(&server, &document, json!({}));
            let status = server.wait_for_status(&gids[1], "status", &["complete", "error"]);
            assert_eq!(status["errorCode"], code, "{torrent} {a} {b}: {status}");
        }
    }
}

#[test]
fn without_the_torrent_only_the_bad_piece_of_a_file_is_fetched_again() {
    let site = Site::aligned();
    let mut wrong = site.data(1).to_vec();
    wrong[PIECE_LEN + 7] ^= 1;
    site.put("/b", Page::File(wrong));
    site.put("/b2", Page::File(site.data(1).to_vec()));
    let whole = hex(&Sha256::digest(site.data(1)));
    let whole = format!("<hash type=\"sha-256\">{whole}</hash>");
    for hash in [&whole, ""] {
        let home = Home::new();
        let server = start(&home, "--state-dir=");
        let second = site.origin.url("/b2");
        let b = format!(
            "{hash}{}<url priority=\"2\">{second}</url>",
            pieces_of(site.data(1), PIECE_LEN)
        );
        let entries = [
            site.entry("m/A", 0, "top/a", ""),
            site.entry("B", 1, "top/sub/b", &b),
        ];
        let document = document(&entries).replace("/t.torrent", "/none.torrent");
        let gids = add(&server, &document, json!({}));
        let status = server.wait_for_status(&gids[1], "status", &["complete", "error"]);
        assert_eq!(status["errorCode"], "0", "{status}");
        site.check(&home);
    }
    let seen = site.origin.seen();
    let again = seen.iter().filter(|seen| seen.path == "/b2");
    let again: Vec<_> = again.map(|seen| seen.header("range")).collect();
    let piece = format!("bytes={PIECE_LEN}-{}", 2 * PIECE_LEN - 1);
    assert_eq!(again, [Some(piece.as_str()); 2]);
    assert_eq!(site.requests("/a"), 2);
}

#[test]
fn the_torrents_own_web_seeds_count_whenever_it_is_queued_again() {
    let mut site = Site::aligned();
    let files: Vec<_> = ["a", "sub/b", "c"]
        .into_iter()
        .zip(site.torrent.files.iter().map(|(_, data)| data.clone()))
        .collect();
    site.torrent = Torrent::new("top", &files, &[], &[site.origin.url("/seed/")]);
    site.put("/t.torrent", Page::File(site.torrent.file.clone()));
    site.remove("/b");
    // The first time it comes too slowly to end.
    site.put("/seed/top/sub/b", Page::Slow(site.data(1).to_vec()));
    let home = Home::new();
    let server = start(&home, "--state-dir=");
    let gids = add(&server, &site.two(), json!({}));
    let whole = &gids[1];
    let asked = |times| {
        let enough = || (site.requests("/seed/top/sub/b") >= times).then_some(());
        wait_for("a request to the web seed", enough);
    };
    asked(1);
    server.call("aria2.changeOption", json!([whole, {"split": "2"}]));
    asked(2);
    server.call("aria2.pause", json!([whole]));
    server.wait_for_status(whole, "status", &["paused"]);
    server.call("aria2.unpause", json!([whole]));
    asked(3);
    server.call("aria2.forceRemove", json!([whole]));
    server.wait_for_status(whole, "status", &["removed"]);
    site.put("/seed/top/sub/b", Page::File(site.data(1).to_vec()));
    let again = server.call("aria2.requeueDownloadResult", json!([whole]));
    let again = again["gid"].as_str().unwrap();
    let done = server.wait_for_status(again, "status", &["complete", "error"]);
    assert_eq!(done["errorCode"], "0", "{done}");
    site.check(&home);
}

#[test]
fn mirrors_that_were_changed_stay_so_when_it_is_queued_again() {
    for torrent in ["/t.torrent", "/none.torrent"] {
        let site = Site::aligned();
        site.put("/b", Page::Hangs);
        site.put("/b2", Page::Hangs);
        let home = Home::new();
        let server = start(&home, "--state-dir=");
        let document = site.two().replace("/t.torrent", torrent);
        let gids = add(&server, &document, json!({}));
        server.wait_for_status(&gids[1], "status", &["active"]);
        let [old, new] = ["/b", "/b2"].map(|path| [site.origin.url(path)]);
        let counts = server.call("aria2.changeUri", json!([gids[1], 2, old, new]));
        assert_eq!(counts, json!([1, 1]));
        server.call("aria2.forceRemove", json!([gids[1]]));
        server.wait_for_status(&gids[1], "status", &["removed"]);
        site.put("/b2", Page::File(site.data(1).to_vec()));
        let again = server.call("aria2.requeueDownloadResult", json!([gids[1]]));
        let again = again["gid"].as_str().unwrap();
        server.wait_for_status(again, "status", &["complete"]);
        site.check(&home);
    }
}

#[test]
fn what_is_not_of_the_torrent_is_a_download_of_its_own() {
    let site = Site::aligned();
    site.put("/c", Page::File(site.data(2).to_vec()));
    let home = Home::new();
    let server = start(&home, "--state-dir=");
    let plain = format!(
        "<file name=\"C\"><url>{}</url></file>",
        site.origin.url("/c")
    );
    let alone = site.entry("one/a", 0, "other/a", "");
    let alone = alone.replace("t.torrent", "u.torrent");
    let files = [("a", site.data(0).to_vec()), ("x", vec![1; 5])];
    let other = Torrent::new("other", &files, &[], &[]);
    site.put("/u.torrent", Page::File(other.file));
    let entries = [
        site.entry("m/A", 0, "top/a", ""),
        plain,
        site.entry("B", 1, "top/sub/b", ""),
        alone,
    ];
    let gids = add(&server, &document(&entries), json!({}));
    assert_eq!(gids.len(), 5);
    let counts = [1, 2, 3, 4].map(|index: usize| {
        server.wait_for_status(&gids[index], "status", &["complete"])["files"]
            .as_array()
            .unwrap()
            .len()
    });
    // The torrent of the last one has two files, of which one is wanted.
    assert_eq!(counts, [3, 1, 1, 2]);
    site.check(&home);
    assert!(fs::read(home.file("C")).unwrap() == site.data(2));
    assert!(fs::read(home.file("one/a")).unwrap() == site.data(0));
}

/// Waits until the session beside the store names the download.
fn until_named(home: &Home, gid: &str) {
    let text = home.path("state/session.txt");
    wait_for("the session", || {
        let text = fs::read_to_string(&text).unwrap_or_default();
        text.contains(gid).then_some(())
    });
}

/// Ends the program as a power cut would while the files come, and starts it again.
fn killed_half_way(without_store: bool) {
    let site = Site::aligned();
    site.put("/a", Page::Slow(site.data(0).to_vec()));
    let home = Home::new();
    let state = format!("--state-dir={}", home.path("state").display());
    let server = start(&home, &state);
    let gids = add(&server, &site.two(), json!({}));
    let whole = &gids[1];
    let progress = |server: &Server| {
        let status = status(server, whole);
        let text = status["completedLength"].as_str()?.to_owned();
        (status["infoHash"].is_string() && text.parse::<u64>().ok()? > 0).then_some(())
    };
    wait_for("some bytes", || progress(&server));
    server.call("aria2.pause", json!([whole]));
    server.wait_for_status(whole, "status", &["paused"]);
    server.call("aria2.unpause", json!([whole]));
    let kept = home.path(&format!("state/torrents/{whole}.meta4"));
    wait_for("the torrent beside the store", || {
        let text = fs::read_to_string(&kept).unwrap_or_default();
        text.contains(">data:").then_some(())
    });
    if without_store {
        until_named(&home, whole);
    }
    server.kill();
    if without_store {
        fs::remove_dir_all(home.path("state/store")).unwrap();
    }
    // Once it has come it is not needed again.
    site.remove("/t.torrent");
    site.put("/a", Page::File(site.data(0).to_vec()));
    let server = start(&home, &state);
    let done = server.wait_for_status(whole, "status", &["complete", "error"]);
    assert_eq!(done["errorCode"], "0", "{done}");
    assert_eq!(done["infoHash"], json!(site.torrent.info_hash));
    assert_eq!(site.requests("/t.torrent"), 1);
    site.check(&home);
}

#[test]
fn it_goes_on_after_a_kill() {
    killed_half_way(false);
}

#[test]
fn it_goes_on_after_a_kill_and_the_loss_of_the_store() {
    killed_half_way(true);
}

#[test]
fn a_torrent_that_had_not_come_is_fetched_by_the_next_process() {
    for without_store in [false, true] {
        let site = Site::aligned();
        site.put("/t.torrent", Page::Hangs);
        let home = Home::new();
        let state = format!("--state-dir={}", home.path("state").display());
        let server = start(&home, &state);
        let gids = add(&server, &site.two(), json!({}));
        wait_for("the request", || {
            (site.requests("/t.torrent") > 0).then_some(())
        });
        until_named(&home, &gids[1]);
        server.kill();
        if without_store {
            fs::remove_dir_all(home.path("state/store")).unwrap();
        }
        site.put("/t.torrent", Page::File(site.torrent.file.clone()));
        let server = start(&home, &state);
        let done = server.wait_for_status(&gids[1], "status", &["complete", "error"]);
        assert_eq!(done["errorCode"], "0", "{done}");
        assert_eq!(done["infoHash"], json!(site.torrent.info_hash));
        site.check(&home);
    }
}
