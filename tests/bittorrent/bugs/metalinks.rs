//! 62, 64, 65: Metalinks with and without torrents.

use std::fmt::Write as _;
use std::process::Output;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Seed;
use crate::origin::{Origin, Reply, Step, pattern};
use crate::program::{Home, free_port, stdout};
use crate::rig::{LEN, PIECE_LEN, one_file};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn run(home: &Home, name: &str, entries: &str) -> Output {
    run_unsized(home, name, &format!("<size>{LEN}</size>{entries}"))
}

fn run_unsized(home: &Home, name: &str, entries: &str) -> Output {
    let text = format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
         <file name=\"{name}\">{entries}</file></metalink>"
    );
    std::fs::write(home.path("a.meta4"), text).unwrap();
    home.arioso()
        .args(["--no-conf", "--enable-dht=false", "--bt-enable-lpd=false"])
        .args(["--seed-time=0", "--file-allocation=none"])
        .arg(format!("--listen-port={}", free_port()))
        .args(["--split=1", "-M"])
        .arg(home.path("a.meta4"))
        .output()
        .unwrap()
}

/// The hashes of all pieces of a file.
fn pieces(data: &[u8]) -> String {
    let mut entries = format!("<pieces type=\"sha-1\" length=\"{PIECE_LEN}\">");
    for piece in data.chunks(PIECE_LEN) {
        let _ = write!(entries, "<hash>{}</hash>", hex(&Sha1::digest(piece)));
    }
    entries + "</pieces>"
}

/// A Metalink that leads to a torrent, and nothing else; the file's hash as it says.
fn by_torrent(name: &str, hash: &str) -> (Home, Output) {
    let (_tracker, torrent) = one_file();
    let _seed = Seed::start(&torrent);
    let origin = Origin::with_file(torrent.file.clone());
    let home = Home::new();
    let output = run(
        &home,
        name,
        &format!(
            "<hash type=\"sha-256\">{hash}</hash>\
             <metaurl mediatype=\"torrent\">{}</metaurl>",
            origin.url("/a.torrent")
        ),
    );
    (home, output)
}

#[test]
fn bug_62_the_hash_of_the_file_counts_for_what_came_by_torrent() {
    let (_home, output) = by_torrent("data.bin", &"00".repeat(32));
    assert_eq!(output.status.code(), Some(32), "{}", stdout(&output));
}

#[test]
fn bug_64_a_metalink_names_the_file_and_not_its_torrent() {
    let data = pattern(LEN);
    let (home, output) = by_torrent("other.bin", &hex(&Sha256::digest(&data)));
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(std::fs::read(home.file("other.bin")).unwrap() == data);
    assert!(!home.file("data.bin").exists());
}

#[test]
fn bug_65_a_bad_piece_of_a_mirror_comes_again_alone() {
    const SPOILT: usize = 7;
    let data = pattern(LEN);
    let mut wrong = data.clone();
    wrong[SPOILT * PIECE_LEN + 5] ^= 1;
    let (bad, good) = (Origin::with_file(wrong), Origin::with_file(data.clone()));
    let entries = format!(
        "{}<url priority=\"1\">{}</url><url priority=\"2\">{}</url>",
        pieces(&data),
        bad.url("/f"),
        good.url("/f")
    );
    let home = Home::new();
    let output = run(&home, "data.bin", &entries);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(std::fs::read(home.file("data.bin")).unwrap() == data);
    // Nothing before the bad piece is asked of the other mirror.
    let from = good
        .seen()
        .iter()
        .filter_map(|seen| Some(seen.range()?.0))
        .min();
    assert_eq!(from, Some((SPOILT * PIECE_LEN) as u64));
}

/// Neither the Metalink nor the server says how long the file is.
#[test]
fn pieces_are_checked_where_nobody_tells_the_length() {
    let data = pattern(LEN);
    let mut spoilt = data.clone();
    spoilt[PIECE_LEN + 5] ^= 1;
    let short = data[..2 * PIECE_LEN].to_vec();
    for (sent, right) in [(data.clone(), true), (spoilt, false), (short, false)] {
        let origin = Origin::start(move |_| {
            Reply::new("200 OK", &["Connection: close"], &sent).then(Step::Close)
        });
        let entries = format!("{}<url>{}</url>", pieces(&data), origin.url("/f"));
        let home = Home::new();
        let output = run_unsized(&home, "data.bin", &entries);
        assert_eq!(output.status.success(), right, "{}", stdout(&output));
    }
}
