//! 59, 60, 64, 68: what a torrent says of its files.

use base64::Engine as _;
use serde_json::json;

use super::{Program, Seed};
use crate::origin::pattern;
use crate::rig::{PIECE_LEN, Torrent, bencode};

#[test]
fn bug_59_an_empty_name_at_the_end_of_a_path_is_skipped() {
    let files = [("a/b/", pattern(3 * PIECE_LEN)), ("c", pattern(5))];
    let torrent = Torrent::new("top", &files, &[], &[]);
    let seed = Seed::start(&torrent);
    let program = Program::start(&[]);
    let gid = program.follow(&seed.link(&torrent), json!({}));
    let status = program.finish(&gid, &torrent);
    let path = status["files"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("/top/a/b"), "{path}");
}

#[test]
fn bug_59_a_path_that_leads_out_is_refused() {
    let program = Program::start(&[]);
    for path in ["../b", "a/../../b", "a/..", "."] {
        let torrent = Torrent::new("top", &[(path, pattern(9)), ("c", pattern(9))], &[], &[]);
        let file = base64::engine::general_purpose::STANDARD.encode(&torrent.file);
        let error = program.refusal("aria2.addTorrent", json!([file]));
        assert_eq!(error["code"], 1, "{path}: {error}");
    }
}

#[test]
fn bug_60_a_hybrid_torrent_keeps_its_info_hash() {
    let files = [("a", pattern(2 * PIECE_LEN)), ("b", pattern(PIECE_LEN))];
    // The tree of version 2: below every name a dictionary whose only key is empty.
    let tree = bencode(|tree| {
        tree.dict(|tree| {
            for (name, data) in &files {
                tree.bytes(name).dict(|file| {
                    file.bytes("").dict(|file| {
                        file.bytes("length").int(data.len() as i64);
                        file.bytes("pieces root").bytes([7; 32]);
                    });
                });
            }
        });
    });
    let version = bencode(|value| _ = value.int(2));
    let more = [("file tree", tree), ("meta version", version)];
    let torrent = Torrent::with_info("top", &files, &[], &[], &more);
    let seed = Seed::start(&torrent);
    let program = Program::start(&[]);
    // Metadata that comes by a link is taken only if its hash is right.
    let link = format!(
        "{}&xt=urn:btmh:1220{}",
        seed.link(&torrent),
        "00".repeat(32)
    );
    let gid = program.follow(&link, json!({}));
    let status = program.finish(&gid, &torrent);
    assert_eq!(status["infoHash"], torrent.info_hash.as_str());
}

#[test]
fn bug_64_of_several_names_the_readable_ones_count() {
    let files = [("a", pattern(2 * PIECE_LEN)), ("b", pattern(PIECE_LEN))];
    let utf8 = bencode(|value| _ = value.bytes("名前"));
    let list = bencode(|list| {
        list.list(|list| {
            for (at, (_, data)) in files.iter().enumerate() {
                list.dict(|file| {
                    file.bytes("length").int(data.len() as i64);
                    // No text in any encoding we know.
                    file.bytes("path").list(|path| _ = path.bytes([0xff, 0xfe]));
                    let name = format!("ファイル{at}");
                    file.bytes("path.utf-8").list(|path| _ = path.bytes(&name));
                });
            }
        });
    });
    let more = [("name.utf-8", utf8), ("files", list)];
    let torrent = Torrent::with_info("\u{fffd}", &files, &[], &[], &more);
    let program = Program::start(&[]);
    let gid = program.add(&torrent, json!({"pause": "true"}));
    let status = program.until(&gid, "status", "paused");
    assert_eq!(status["bittorrent"]["info"]["name"], "名前");
    for at in 0..2 {
        let path = status["files"][at]["path"].as_str().unwrap();
        assert!(path.ends_with(&format!("/名前/ファイル{at}")), "{path}");
    }
}

#[test]
fn bug_68_of_unselected_files_nothing_is_fetched() {
    let files = [
        ("a", pattern(9 * PIECE_LEN)),
        ("b", pattern(3 * PIECE_LEN)),
        ("c", pattern(9 * PIECE_LEN)),
        ("d", pattern(PIECE_LEN / 2)),
    ];
    let torrent = Torrent::new("top", &files, &[], &[]);
    let seed = Seed::start(&torrent);
    let program = Program::start(&[]);
    // A link, of which nobody knows the files when it is added.
    let gid = program.follow(&seed.link(&torrent), json!({"select-file": "2,4"}));
    let status = program.until(&gid, "status", "complete");
    assert_eq!(status["files"][0]["selected"], "false");
    let dir = program.home.path("dl/top");
    for at in [1, 3] {
        let (name, data) = &files[at];
        assert!(std::fs::read(dir.join(name)).unwrap() == *data, "{name}");
    }
    for name in ["a", "c"] {
        assert!(!dir.join(name).exists(), "{name}");
    }
    let wanted = files[1].1.len() + files[3].1.len();
    let given = seed.given();
    assert!(given <= wanted as u64, "{given} of {wanted}");
}
