//! Pure: tests of torrent files.

use super::*;
use proptest::prelude::*;

/// A single-file torrent of 5 bytes with `extra` keys before `length` and a name.
fn single(name: &str, len: &str, piece_len: &str, hashes: usize) -> Vec<u8> {
    let pieces = "x".repeat(hashes * 20);
    format!(
        "d8:announce9:http://t/4:infod6:length{len}4:name{}:{name}12:piece length{piece_len}6:pieces{}:{pieces}ee",
        name.len(),
        pieces.len(),
    )
    .into_bytes()
}

/// A multi-file torrent named `top`: each file is its length and its path entries, bencoded.
fn multi(files: &[(u64, &str)]) -> Vec<u8> {
    let total: u64 = files.iter().map(|(len, _)| len).sum();
    let hashes = "x".repeat(total.div_ceil(16384) as usize * 20);
    let files: String = files
        .iter()
        .map(|(len, rest)| format!("d6:lengthi{len}e{rest}e"))
        .collect();
    format!(
        "d4:infod5:filesl{files}e4:name3:top12:piece lengthi16384e6:pieces{}:{hashes}ee",
        hashes.len()
    )
    .into_bytes()
}

fn paths(torrent: &[u8]) -> Result<Vec<String>, String> {
    Metainfo::parse(torrent, "fallback.file")
        .map(|meta| meta.info.files.into_iter().map(|file| file.path).collect())
        .map_err(|failure| failure.message)
}

#[test]
fn the_hash_is_the_one_aria2_shows() {
    let meta = Metainfo::parse(&single("a", "i5e", "i16384e", 1), "").unwrap();
    // `aria2c -S` of the same bytes.
    assert_eq!(
        meta.info.hash.to_string(),
        "084b9725ed8700c6026b7ecf16d797b9d5989eb9"
    );
    assert_eq!(
        (meta.info.total, meta.info.piece_count(), meta.info.multi),
        (5, 1, false)
    );
    assert_eq!(meta.info.len_of_piece(0), 5);
    assert_eq!(meta.info.len_of_piece(1), 0);
    assert_eq!(meta.tiers, [["http://t/"]]);
    let saved = Metainfo::encode(&meta.info.raw, &meta.tiers);
    let again = Metainfo::parse(&saved, "").unwrap();
    assert_eq!((again.info, again.tiers), (meta.info, meta.tiers));
}

#[test]
fn hostile_torrents_are_refused_with_a_reason() {
    for (torrent, reason) in [
        (
            single("a", "i5e", "i0e", 1),
            "piece length 0 is out of range",
        ),
        (
            single("a", "i5e", "i-1e", 1),
            "piece length -1 is out of range",
        ),
        (
            single("a", "i5e", "i4294967296e", 1),
            "piece length 4294967296 is out of range",
        ),
        (
            single("a", "i-5e", "i16384e", 1),
            "length -5 of a file is negative",
        ),
        (
            single("a", "i9223372036854775807e", "i1e", 1),
            "torrent of 9223372036854775807 bytes in pieces of 1 has 20 bytes of piece hashes",
        ),
        (
            single("a", "i5e", "i16384e", 2),
            "torrent of 5 bytes in pieces of 16384 has 40 bytes of piece hashes",
        ),
        (
            single("..", "i5e", "i16384e", 1),
            "path of a file leads out of its directory",
        ),
        (
            single("a/../../b", "i5e", "i16384e", 1),
            "path of a file leads out of its directory",
        ),
        (
            single("///", "i5e", "i16384e", 1),
            "path of a file is empty",
        ),
        (
            single(&"a".repeat(5000), "i5e", "i16384e", 1),
            "path of a file is too long",
        ),
        (b"le".to_vec(), "torrent is not a dictionary"),
        (b"de".to_vec(), "torrent has no info dictionary"),
        (b"<html>".to_vec(), "not bencoded data at byte 0"),
        (vec![b'l'; 1 << 20], "bencoded data is nested too deeply"),
        (
            b"d4:infod9:file treede12:meta versioni2e4:name1:a12:piece lengthi16384eee".to_vec(),
            "torrent is of version 2 only, which is not supported",
        ),
        (
            multi(&[(2, "4:pathl2:..1:be")]),
            "path of a file leads out of its directory",
        ),
        (multi(&[(2, "4:pathle")]), "path of a file is empty"),
        (multi(&[(2, "")]), "torrent has a file without path"),
        (
            multi(&[(2, "4:pathl1:be"), (3, "4:pathl1:be")]),
            "two files of the torrent claim top/b",
        ),
        (
            multi(&[
                (2, "4:pathl1:be"),
                (1, "4:pathl3:b ae"),
                (3, "4:pathl1:b1:ce"),
            ]),
            "two files of the torrent claim top/b",
        ),
        (
            multi(&[(2, "4:pathl1:be"), (3, "4:pathl0:3:./be")]),
            "two files of the torrent claim top/b",
        ),
    ] {
        assert_eq!(paths(&torrent), Err(reason.to_owned()));
    }
}

#[test]
fn a_million_files_are_refused_early() {
    let mut torrent = b"d4:infod5:filesl".to_vec();
    for index in 0..FILE_COUNT_MAX + 1 {
        torrent.extend_from_slice(format!("d6:lengthi0e4:pathl7:{index:07}ee").as_bytes());
    }
    torrent.extend_from_slice(b"e4:name1:a12:piece lengthi16384e6:pieces0:ee");
    assert_eq!(
        paths(&torrent),
        Err("torrent has more than 200000 files".to_owned())
    );
}

#[test]
fn the_sum_of_lengths_may_not_overflow() {
    let file = "d6:lengthi9223372036854775807e4:pathl1:aee";
    let other = "d6:lengthi9223372036854775807e4:pathl1:bee";
    let torrent =
        format!("d4:infod5:filesl{file}{other}e4:name1:a12:piece lengthi16384e6:pieces0:ee");
    assert_eq!(
        paths(torrent.as_bytes()),
        Err("total length of the torrent is out of range".to_owned())
    );
}

#[test]
fn names_are_made_safe() {
    for (name, path) in [
        ("a", "a"),
        ("a/b", "a/b"),
        ("/etc/passwd", "etc/passwd"),
        ("a\nb", "a%0Ab"),
        ("", "fallback.file"),
        ("C:\\x", "C:\\x"),
        ("日本", "日本"),
    ] {
        assert_eq!(
            paths(&single(name, "i5e", "i16384e", 1)),
            Ok(vec![path.to_owned()])
        );
    }
    let mut latin = single("?", "i5e", "i16384e", 1);
    let at = latin.iter().position(|byte| *byte == b'?').unwrap();
    latin[at] = 0xe9;
    assert_eq!(paths(&latin), Ok(vec!["%E9".to_owned()]));
}

#[test]
fn paths_of_many_files() {
    for (files, expected) in [
        // known-bugs 59: an empty component at the end is skipped.
        (multi(&[(5, "4:pathl1:b0:e")]), vec!["top/b"]),
        (multi(&[(5, "4:pathl1:b0:1:ce")]), vec!["top/b/c"]),
        (
            multi(&[(5, "4:pathl1:xe10:path.utf-8l2:\u{e9}e")]),
            vec!["top/\u{e9}"],
        ),
        (
            multi(&[
                (2, "4:pathl1:ae"),
                (3, "4:attr1:p4:pathl4:.pad1:3e"),
                (3, "4:attr2:hp4:pathl4:.pad1:3e"),
            ]),
            vec!["top/a", "top/.pad/3", "top/.pad/3"],
        ),
        // A name that merely begins like another.
        (
            multi(&[(2, "4:pathl1:be"), (3, "4:pathl2:bce")]),
            vec!["top/b", "top/bc"],
        ),
    ] {
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(paths(&files), Ok(expected));
    }
}

#[test]
fn hybrid_torrents_hash_what_was_sent() {
    // known-bugs 60: the v2 file tree has empty keys, which some re-encode wrongly.
    let info = b"d9:file treed1:ad0:d6:lengthi5eeee6:lengthi5e12:meta versioni2e4:name1:a12:piece lengthi16384e6:pieces20:xxxxxxxxxxxxxxxxxxxxe";
    let torrent = [b"d4:info", &info[..], b"12:piece layersdee"].concat();
    let meta = Metainfo::parse(&torrent, "").unwrap();
    assert!(meta.info.hybrid);
    assert_eq!(meta.info.raw, info);
    assert_eq!(meta.info.hash, InfoHash::of(info));
    let from_peers = Metainfo::from_info(info, vec![vec!["udp://t".into()]]).unwrap();
    assert_eq!((from_peers.info, from_peers.tiers.len()), (meta.info, 1));
    assert!(Metainfo::from_info(&[info, &b"x"[..]].concat(), Vec::new()).is_err());
}

#[test]
fn hints_outside_the_info() {
    let body = "4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:xxxxxxxxxxxxxxxxxxxx7:privatei1ee";
    let torrent = format!(
        "d8:announce4:a://13:announce-listll5:b:// 4:b://0:el4:c://4:d://eleli1eee\
         7:comment1:x13:comment.utf-82:hi13:creation datei7e9:httpseedsl8:http://se{body}\
         5:nodesll9:127.0.0.1i6881eel1:ai0eeli1ei2eee8:url-list9:http://m/e"
    );
    let meta = Metainfo::parse(torrent.as_bytes(), "").unwrap();
    assert_eq!(meta.tiers, [vec!["b://"], vec!["c://", "d://"]]);
    assert_eq!(meta.web_seeds, ["http://m/"]);
    assert_eq!(meta.http_seeds, ["http://s"]);
    assert_eq!(meta.nodes, [("127.0.0.1".to_owned(), 6881)]);
    assert_eq!(
        (meta.creation_date, meta.comment.as_deref()),
        (Some(7), Some("hi"))
    );
    assert!(meta.info.private);
    let said = Metainfo {
        creation_date: None,
        comment: None,
        ..meta
    };
    assert_eq!(Metainfo::parse(&said.to_file(), "").unwrap(), said);
}

#[test]
fn one_torrent_has_several_names() {
    // known-bugs 64: the name in another encoding and in UTF-8; the latter counts, and a broken
    // twin does not.
    let with = |twin: &[u8]| {
        let mut torrent = b"d4:infod6:lengthi5e4:name1:a10:name.utf-8".to_vec();
        torrent.extend_from_slice(format!("{}:", twin.len()).as_bytes());
        torrent.extend_from_slice(twin);
        torrent.extend_from_slice(b"12:piece lengthi16384e6:pieces20:xxxxxxxxxxxxxxxxxxxxee");
        paths(&torrent).unwrap().remove(0)
    };
    assert_eq!(with("ä".as_bytes()), "ä");
    assert_eq!(with(b"\xff"), "a");
}

proptest! {
    #[test]
    fn damaged_torrents_never_panic(at in 0usize..170, byte: u8, cut in 0usize..200) {
        let mut torrent = multi(&[(2, "4:pathl1:ae"), (3, "4:attr1:p4:pathl4:.pad1:3e")]);
        if let Some(place) = torrent.get_mut(at) {
            *place = byte;
        }
        torrent.truncate(cut);
        if let Ok(meta) = Metainfo::parse(&torrent, "f") {
            for file in &meta.info.files {
                prop_assert!(!file.path.split('/').any(|part| matches!(part, "" | "." | "..")));
            }
        }
    }
}
