//! Torrents and magnet links that wait: what aria2 answers of them was asked of aria2c 1.36.

use serde_json::{Value, json};

use super::server::Server;
use super::torrent::Torrent;

/// Answers as values; the status is that of success.
fn ok(server: &Server, method: &str, params: Value) -> Value {
    let answer = server.call(method, &params.to_string());
    let result = answer
        .strip_prefix(r#"200 "result":"#)
        .unwrap_or_else(|| panic!("{method}: {answer}"));
    serde_json::from_str(result).unwrap()
}

fn torrent() -> Torrent {
    Torrent::multi(
        "dir x",
        &[("a b.txt", 10_000), ("sub/c#?.bin", 30_000), ("z", 5)],
        "8:announce15:http://h:1/ann/7:comment2:hi13:creation datei1234567890e",
    )
}

#[test]
fn a_torrent_is_shown_as_aria2_shows_it() {
    let server = Server::start();
    let (torrent, dir) = (torrent(), server.dir().display().to_string());
    let options = json!({"pause": "true", "select-file": "2-3"});
    let seeds = ["http://s:1/w", "nonsense"];
    let gid = ok(
        &server,
        "aria2.addTorrent",
        json!([torrent.base64(), seeds, options]),
    );
    let file = |index: &str, path: &str, seed: &str, len: &str, selected: &str| {
        json!({
            "completedLength": "0", "index": index, "length": len,
            "path": format!("{dir}/dir x/{path}"), "selected": selected,
            "uris": [{"status": "waiting", "uri": format!("http://s:1/w/dir%20x/{seed}")}],
        })
    };
    let files = json!([
        file("1", "a b.txt", "a%20b.txt", "10000", "false"),
        file("2", "sub/c#?.bin", "sub/c%23%3F.bin", "30000", "true"),
        file("3", "z", "z", "5", "true"),
    ]);
    let told = json!({
        "bittorrent": {
            "announceList": [["http://h:1/ann/"]], "comment": "hi",
            "creationDate": 1_234_567_890, "info": {"name": "dir x"}, "mode": "multi",
        },
        "completedLength": "0", "connections": "0", "dir": dir, "downloadSpeed": "0",
        "files": files, "gid": gid, "infoHash": torrent.info_hash, "numPieces": "3",
        "numSeeders": "0", "pieceLength": "16384", "seeder": "false", "status": "paused",
        "totalLength": "0", "uploadLength": "0", "uploadSpeed": "0",
    });
    assert_eq!(ok(&server, "aria2.tellStatus", json!([gid])), told);
    assert_eq!(ok(&server, "aria2.getFiles", json!([gid])), files);
    assert_eq!(ok(&server, "aria2.getPeers", json!([gid])), json!([]));
    let kept = std::fs::read(server.dir().join(torrent.upload_name())).unwrap();
    assert_eq!(kept, torrent.bytes);

    let changed = json!([
        gid,
        2,
        ["http://s:1/w/dir%20x/sub/c%23%3F.bin"],
        ["http://n/1"]
    ]);
    assert_eq!(ok(&server, "aria2.changeUri", changed), json!([1, 1]));
    let files = ok(&server, "aria2.getFiles", json!([gid]));
    assert_eq!(files[1]["uris"][0]["uri"], "http://n/1");
    assert_eq!(files[2]["uris"][0]["uri"], "http://s:1/w/dir%20x/z");
    let refused = server.call("aria2.changeUri", &json!([gid, 4, [], []]).to_string());
    assert!(refused.contains("fileIndex is out of range"), "{refused}");

    ok(
        &server,
        "aria2.changeOption",
        json!([gid, {"select-file": "1"}]),
    );
    let files = ok(&server, "aria2.getFiles", json!([gid]));
    let selected = |at: usize| files[at]["selected"] == "true";
    assert!(selected(0) && !selected(1) && !selected(2), "{files}");
    let xml = server.xml(&format!(
        "<methodCall><methodName>aria2.tellStatus</methodName><params><param><value><string>\
         {}</string></value></param></params></methodCall>",
        gid.as_str().unwrap()
    ));
    let date = "<name>creationDate</name><value><int>1234567890</int></value>";
    assert!(xml.text().contains(date), "{}", xml.text());
}

#[test]
fn web_seeds_of_a_single_file_are_its_uris() {
    let server = Server::start();
    let torrent = Torrent::single("one.bin", 40_000, "");
    let options = json!({"pause": "true", "rpc-save-upload-metadata": "false"});
    let seeds = ["http://s:1/w/", "http://s:1/file"];
    let gid = ok(
        &server,
        "aria2.addTorrent",
        json!([torrent.base64(), seeds, options]),
    );
    let uris = ok(&server, "aria2.getUris", json!([gid]));
    assert_eq!(uris[0]["uri"], "http://s:1/w/one.bin");
    assert_eq!(uris[1]["uri"], "http://s:1/file");
    assert!(!server.dir().join(torrent.upload_name()).exists());
    // A struct where the list of URIs belongs is a frequent mistake.
    let refused = server.call(
        "aria2.addTorrent",
        &json!([torrent.base64(), {}]).to_string(),
    );
    assert!(
        refused.contains("The parameter at 1 has wrong type."),
        "{refused}"
    );
}

#[test]
fn hostile_torrents_are_refused() {
    use base64::Engine as _;
    let server = Server::start();
    let good = torrent().bytes;
    let text = String::from_utf8_lossy(&good).into_owned();
    let changed = |from: &str, to: &str| {
        let at = text.find(from).unwrap();
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    for (what, bytes) in [
        ("no bencode", b"xx".to_vec()),
        ("piece length 0", changed("lengthi16384e", "lengthi0e")),
        ("negative length", changed("lengthi5e", "lengthi-5e")),
        ("way out", changed("3:sub", "2:..")),
        ("one path twice", changed("1:z", "7:a b.txt")),
        (
            "a length past all numbers",
            changed("lengthi5e", "lengthi9223372036854775807e"),
        ),
        (
            "pieces of 4 GiB",
            changed("lengthi16384e", "lengthi4294967296e"),
        ),
        ("too few hashes", changed("lengthi5e", "lengthi99999999e")),
        (
            "nested deeply",
            [vec![b'l'; 100_000], vec![b'e'; 100_000]].concat(),
        ),
    ] {
        let file = base64::engine::general_purpose::STANDARD.encode(bytes);
        let answer = server.call("aria2.addTorrent", &json!([file]).to_string());
        assert!(
            answer.starts_with(r#"400 "error":{"code":1,"#),
            "{what}: {answer}"
        );
    }
    let stat = ok(&server, "aria2.getGlobalStat", json!([]));
    assert_eq!(
        (&stat["numActive"], &stat["numWaiting"]),
        (&json!("0"), &json!("0"))
    );
}

#[test]
fn a_magnet_link_is_shown_as_aria2_shows_it() {
    let server = Server::start();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let link = format!("magnet:?xt=urn:btih:{hash}&dn=na%20me&tr=http%3A%2F%2Fh%3A1%2Fa&so=0,2-3");
    let gid = ok(
        &server,
        "aria2.addUri",
        json!([[link], {"pause": "true", "out": "x"}]),
    );
    let status = ok(&server, "aria2.tellStatus", json!([gid]));
    assert_eq!(
        status["bittorrent"],
        json!({"announceList": [["http://h:1/a"]]})
    );
    assert_eq!(status["infoHash"], hash);
    let path = &status["files"][0]["path"];
    assert_eq!(
        (path, &status["seeder"]),
        (&json!("[METADATA]na me"), &json!("false"))
    );
    assert_eq!(
        (&status["numPieces"], &status["pieceLength"]),
        (&json!("0"), &json!("16384"))
    );
    let options = ok(&server, "aria2.getOption", json!([gid]));
    assert_eq!(
        (&options["select-file"], options.get("out")),
        (&json!("1,3-4"), None)
    );
}

#[test]
fn saved_metadata_makes_a_magnet_link_its_torrent() {
    let server = Server::start();
    let torrent = torrent();
    let name = format!("{}.torrent", torrent.info_hash);
    std::fs::write(server.dir().join(name), &torrent.bytes).unwrap();
    let link = format!(
        "magnet:?xt=urn:btih:{}&tr=http%3A%2F%2Fmore%2F",
        torrent.info_hash
    );
    let options =
        json!({"pause": "true", "bt-load-saved-metadata": "true", "gid": "aaaa000000000001"});
    let gid = ok(&server, "aria2.addUri", json!([[link], options]));
    let status = ok(&server, "aria2.tellStatus", json!([gid]));
    assert_eq!(status["gid"], "aaaa000000000001");
    assert_eq!(status["files"].as_array().unwrap().len(), 3);
    let tiers = json!([["http://h:1/ann/"], ["http://more/"]]);
    assert_eq!(status["bittorrent"]["announceList"], tiers);
}

/// A torrent of one file whose pieces, 64 MiB each, are not those of any file.
fn huge(name: &str, pieces: usize) -> String {
    use base64::Engine as _;
    let len = pieces << 26;
    let mut bytes = format!(
        "d4:infod6:lengthi{len}e4:name{}:{name}12:piece lengthi{}e6:pieces{}:",
        name.len(),
        1 << 26,
        20 * pieces
    )
    .into_bytes();
    bytes.extend(vec![b'x'; 20 * pieces]);
    bytes.extend(b"ee");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// As aria2c 1.36 shows two torrents that `check-integrity` has hashed, one after the other.
#[test]
fn hash_checks_take_turns_and_show_how_far_they_are() {
    let server = Server::with(&[
        ("check-integrity", "true"),
        ("seed-time", "0"),
        ("file-allocation", "none"),
    ]);
    let add = |torrent: String| ok(&server, "aria2.addTorrent", json!([torrent]));
    // 256 GiB of nothing are hashed for longer than anybody waits here.
    let file = std::fs::File::create(server.dir().join("huge")).unwrap();
    file.set_len(4096 << 26).unwrap();
    let first = add(huge("huge", 4096));
    let hashed = server.call_until(
        "aria2.tellStatus",
        &json!([first]).to_string(),
        r#""verifiedLength":"#,
    );
    assert!(hashed.contains(r#""status":"active""#), "{hashed}");
    assert!(hashed.contains(r#""completedLength":"0""#), "{hashed}");
    assert!(!hashed.contains("verifyIntegrityPending"), "{hashed}");

    let small = Torrent::single("small", 100_000, "");
    std::fs::write(server.dir().join("small"), &small.data).unwrap();
    let second = json!([add(small.base64())]).to_string();
    let waits = server.call_until(
        "aria2.tellStatus",
        &second,
        r#""verifyIntegrityPending":"true""#,
    );
    assert!(waits.contains(r#""status":"active""#), "{waits}");
    assert!(waits.contains(r#""completedLength":"0""#), "{waits}");
    assert!(waits.contains(r#""totalLength":"100000""#), "{waits}");
    assert!(!waits.contains("verifiedLength"), "{waits}");

    ok(&server, "aria2.forceRemove", json!([first]));
    let done = server.call_until("aria2.tellStatus", &second, r#""status":"complete""#);
    assert!(done.contains(r#""completedLength":"100000""#), "{done}");
    assert!(!done.contains("verif"), "{done}");
}

#[test]
fn peers_to_keep_out_are_named_and_told() {
    let server = Server::start();
    let named = || server.call("arioso.getPeerBlocklist", "[]");
    let name = |list: &str| server.call("arioso.setPeerBlocklist", &format!("[{list}]"));
    assert_eq!(named(), r#"200 "result":[]"#);
    let ok = r#"200 "result":"OK""#;
    assert_eq!(name(r#"["10.0.0.0/8","x:1.2.3.4-1.2.3.9"]"#), ok);
    let list = r#"200 "result":["10.0.0.0\/8","x:1.2.3.4-1.2.3.9"]"#;
    assert_eq!(named(), list);
    assert_eq!(
        name(r#"["10.0.0.1","nonsense"]"#),
        r#"400 "error":{"code":1,"message":"No address, network or range of addresses: nonsense"}"#
    );
    assert_eq!(named(), list, "a list that is refused changes nothing");
    assert_eq!(name("[]"), ok);
    assert_eq!(named(), r#"200 "result":[]"#);
}
