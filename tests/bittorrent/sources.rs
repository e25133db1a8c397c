//! Where the bytes of a torrent come from beside its peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arioso::AddRequest;
use arioso::format::metainfo::Metainfo;

use crate::origin::{Origin, Reply, Seen, pattern};
use crate::rig::{Node, PIECE_LEN, Torrent, Tracker, id, query};

const LEN: usize = 40 * PIECE_LEN - 1234;

fn leech(file: Vec<u8>) -> AddRequest {
    AddRequest::torrent(file).with(id("seed-time"), "0")
}

/// The torrent file with a mirror that gives pieces.
fn with_http_seed(torrent: &Torrent, uri: String) -> Vec<u8> {
    let mut metainfo = Metainfo::parse(&torrent.file, "x").unwrap();
    metainfo.http_seeds = vec![uri];
    metainfo.to_file()
}

/// The bytes of `data` that a request of BEP 17 names; `None`: it names nothing rightly.
fn asked<'a>(seen: &Seen, info_hash: &str, data: &'a [u8]) -> Option<&'a [u8]> {
    let hash = query(seen, "info_hash")?;
    let hash = percent_encoding::percent_decode_str(&hash);
    let hash: String = hash.map(|byte| format!("{byte:02x}")).collect();
    let piece: usize = query(seen, "piece")?.parse().ok()?;
    let ranges = query(seen, "ranges")?;
    let (first, last) = ranges.split_once('-')?;
    let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
    let right = hash == info_hash && last < PIECE_LEN && seen.range().is_none();
    let start = piece * PIECE_LEN;
    data.get(start + first..=start + last).filter(|_| right)
}

#[test]
fn an_http_seed_gives_pieces_and_is_left_alone_while_it_is_busy() {
    let files = [("a", pattern(LEN)), ("b", pattern(3 * PIECE_LEN + 7))];
    let whole = [files[0].1.clone(), files[1].1.clone()].concat();
    let torrent = Torrent::new("top", &files, &[], &[]);
    let info_hash = torrent.info_hash.clone();
    let origin = Origin::start(move |seen| {
        // As often as would end any other mirror.
        if seen.number < 6 {
            return Reply::new("503 Busy", &["Content-Length: 1"], b"1");
        }
        match asked(seen, &info_hash, &whole) {
            Some(part) => {
                let len = format!("Content-Length: {}", part.len());
                Reply::new("200 OK", &[&len], part)
            }
            None => Reply::status("400 What"),
        }
    });
    let node = Node::start(&[]);
    let file = with_http_seed(&torrent, origin.url("/seed.php?k=v"));
    let gid = node.add(leech(file));
    node.until_complete(gid);
    torrent.check_files(&node.files());
    let seen = origin.seen();
    let seen = seen.iter().map(|seen| seen.path.as_str());
    let asked: Vec<&str> = seen
        .filter(|path| path.contains("?k=v&info_hash="))
        .collect();
    assert!(asked.len() >= 6 + LEN / PIECE_LEN, "{asked:?}");
}

#[test]
fn mirrors_and_peers_both_give_something() {
    let tracker = Tracker::start();
    let data = pattern(LEN);
    let sent = Arc::new(AtomicU64::new(0));
    let (served, counted) = (data.clone(), sent.clone());
    let origin = Origin::start(move |seen| {
        let (start, end) = seen.range().unwrap_or((0, None));
        let len = end.unwrap_or(served.len() as u64) - start;
        counted.fetch_add(len, Ordering::Relaxed);
        Reply::file(&served, seen, &[])
    });
    let mirrors = [origin.url("/data.bin")];
    let torrent = Torrent::new("data.bin", &[("", data)], &[tracker.uri()], &mirrors);
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    let node = Node::start(&[("split", "4"), ("max-connection-per-server", "4")]);
    // The mirror holds all of it long before a peer has been found, and could give it alone.
    let gid = node.add(leech(torrent.file.clone()).with(id("max-download-limit"), "600K"));
    node.until_complete(gid);
    torrent.check_files(&node.files());
    let uploaded = seed.uploaded(given);
    assert!(uploaded > 0, "nothing came from the peer");
    assert!(
        sent.load(Ordering::Relaxed) > 0,
        "nothing came from the mirror"
    );
}
