//! 61, 63, 65: hashes, and what comes after them.

use arioso::AddRequest;
use arioso::engine::Download;
use serde_json::json;

use super::{Program, Seed};
use crate::origin::pattern;
use crate::program::{Home, free_port};
use crate::rig::{LEN, Node, PIECE_LEN, id, leech, one_file};

#[test]
fn bug_61_a_check_that_finds_pieces_missing_is_no_error() {
    let (_tracker, torrent) = one_file();
    let seed = Seed::start(&torrent);
    let home = Home::new();
    std::fs::write(home.file("a.torrent"), &torrent.file).unwrap();
    let mut half = pattern(LEN);
    half[LEN / 2..].fill(0);
    std::fs::write(home.file("data.bin"), half).unwrap();
    let output = home
        .arioso()
        .args(["--no-conf", "--enable-dht=false", "--bt-enable-lpd=false"])
        .args(["--check-integrity=true", "--seed-time=0"])
        .arg(format!("--listen-port={}", free_port()))
        .args(["--log=log.txt", "--log-level=debug", "a.torrent"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    torrent.check_files(&home.path("dl"));
    let log = std::fs::read_to_string(home.file("log.txt")).unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    for text in [&log, &*shown] {
        assert!(!text.contains("ERROR"), "{text}");
    }
    let given = seed.given();
    assert!(given <= (LEN / 2 + PIECE_LEN) as u64, "{given}");
}

#[test]
fn bug_63_who_seeds_is_active_and_a_seeder() {
    let (_tracker, torrent) = one_file();
    let program = Program::start(&["--seed-ratio=0", "--seed-time=60"]);
    torrent.write_files(&program.home.path("dl"));
    let gid = program.add(&torrent, json!({"check-integrity": "true"}));
    let status = program.until(&gid, "seeder", "true");
    assert_eq!(status["status"], "active");
    let active = program.server.call("aria2.tellActive", json!([]));
    assert_eq!(active[0]["gid"], gid.as_str());
    // Others get it all, and it stays what it is.
    let node = Node::start(&[]);
    let taken = node.add(leech(&torrent));
    node.until_complete(taken);
    let status = program.until(&gid, "seeder", "true");
    assert_eq!(status["status"], "active");
    assert_eq!(status["completedLength"], LEN.to_string().as_str());
}

#[test]
fn bug_65_of_a_bad_piece_only_itself_comes_again() {
    const SPOILT: usize = 7;
    let (_tracker, torrent) = one_file();
    let liar = Node::start(&[]);
    let mut wrong = pattern(LEN);
    wrong[SPOILT * PIECE_LEN + 5] ^= 1;
    std::fs::write(liar.files().join("data.bin"), wrong).unwrap();
    let torrent_of_liar = AddRequest::torrent(torrent.file.clone());
    let lies = liar.add(torrent_of_liar.with(id("bt-seed-unverified"), "true"));
    liar.wait(lies, "seeding", Download::is_seeding);
    let program = Program::start(&["--bt-tracker-interval=1"]);
    let gid = program.add(&torrent, json!({}));
    // It is banned after the bad piece, which may come at any time.
    liar.wait(lies, "asked", |now| now.uploaded_len() >= PIECE_LEN as u64);
    liar.wait(lies, "left alone", |now| now.peers().is_empty());
    let status = program.until(&gid, "connections", "0");
    let good = status["bitfield"].as_str().map_or(0, |hex| {
        let digits = hex.chars().filter_map(|digit| digit.to_digit(16));
        digits.map(u32::count_ones).sum::<u32>() as usize
    });
    let seed = Seed::start(&torrent);
    program.finish(&gid, &torrent);
    let given = seed.given();
    // What was proven before is not asked for again.
    assert!(
        given <= (LEN - good * PIECE_LEN + PIECE_LEN) as u64,
        "{given} beside {good} pieces"
    );
}
