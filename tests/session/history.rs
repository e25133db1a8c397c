use std::fs;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::file_server::{FileServer, bytes};
use crate::program::{Home, wait_for};
use crate::server::Server;
use crate::torrent::Torrent;

fn found(server: &Server, filter: Value) -> Vec<String> {
    let rows = server.call(
        "aria2.searchDownloadResult",
        json!([filter, 0, 99, ["gid"]]),
    );
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["gid"].as_str().unwrap().to_owned())
        .collect()
}

/// Known-bugs 48.
#[test]
fn the_history_outlives_kills_and_what_was_removed_does_not() {
    let (home, files) = (Home::new(), FileServer::start());
    let uri = files.page("/a", &bytes(1000, 1));
    let torrent = Torrent::single("whole.bin", 40_000, "");
    fs::write(home.file("whole.bin"), &torrent.data).unwrap();
    let state = format!("--state-dir={}", home.path("state").display());
    let shown = "--max-download-result=1";
    let server = Server::start(home.arioso(), &[&state, shown]);
    let wait = |server: &Server, count: usize| {
        wait_for("the results", || {
            (found(server, json!({})).len() == count).then_some(())
        });
    };
    let options = json!({"gid": "f".repeat(16), "check-integrity": "true", "seed-time": "0"});
    let seeded = json!([torrent.base64(), [], options]);
    server.call("aria2.addTorrent", seeded);
    wait(&server, 1);
    let stalled = files.page("/stalled", &bytes(1000, 2));
    files.set_gate("/stalled", 10);
    let nowhere = format!("{uri}-is-not-here");
    let ways = [
        (&uri, "complete"),
        (&nowhere, "error"),
        (&stalled, "removed"),
    ];
    for (index, (uri, _)) in ways.iter().enumerate() {
        let digit = (index + 1).to_string();
        let gid = digit.repeat(16);
        let options = json!({"gid": gid, "out": digit, "max-tries": "1"});
        server.call("aria2.addUri", json!([[uri], options]));
        if index == 2 {
            wait_for("its start", || {
                let status = server.call("aria2.tellStatus", json!([gid]));
                (status["status"] == "active" && status["connections"] != "0").then_some(())
            });
            server.call("aria2.forceRemove", json!([gid]));
        }
        wait(&server, 2 + index);
    }
    let all = ["3", "2", "1", "f"].map(|digit| digit.repeat(16));
    let as_they_ended = |server: &Server| {
        assert_eq!(found(server, json!({})), all);
        for (gid, status) in [
            (&all[0], "removed"),
            (&all[1], "error"),
            (&all[2], "complete"),
        ] {
            assert_eq!(
                found(server, json!({"status": [status], "gidPrefix": gid})),
                std::slice::from_ref(gid)
            );
        }
    };
    as_they_ended(&server);
    server.call("aria2.saveSession", json!([]));
    server.kill();

    let server = Server::start(home.arioso(), &[&state, shown]);
    as_they_ended(&server);
    assert_eq!(
        server
            .call("aria2.tellStopped", json!([0, 9]))
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let hash = json!({"infoHash": torrent.info_hash.to_uppercase()});
    let row = server.call("aria2.searchDownloadResult", json!([hash, 0, 9]));
    assert_eq!(row[0]["infoHash"], json!(torrent.info_hash), "{row}");
    assert_eq!(row[0]["status"], "complete");
    let options = json!({"pause": "true"});
    let again = server.call("aria2.requeueDownloadResult", json!([all[3], options]));
    let again = server.call("aria2.tellStatus", json!([again["gid"]]));
    assert_eq!(again["infoHash"], json!(torrent.info_hash));
    server.call("aria2.removeDownloadResult", json!([all[1]]));
    server.call("aria2.saveSession", json!([]));
    server.kill();

    let limit = "--sqlite3-history-limit=2";
    let server = Server::start(home.arioso(), &[&state, shown, limit]);
    wait(&server, 2);
    assert_eq!(found(&server, json!({})), [all[0].clone(), all[2].clone()]);
    server.call("aria2.purgeDownloadResult", json!([]));
    assert_eq!(server.stop(), 0);
    let server = Server::start(home.arioso(), &[&state]);
    assert!(found(&server, json!({})).is_empty());
}

fn sha256(data: &[u8]) -> String {
    let digest = Sha256::digest(data);
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("<hash>{}</hash>", digits.collect::<String>())
}

#[test]
fn files_of_a_metalink_are_verified_when_they_are_fetched_again() {
    const LEN: usize = 40_000;
    const PIECE_LEN: usize = 16 << 10;
    let (home, files) = (Home::new(), FileServer::start());
    let good = bytes(LEN, 1);
    let whole = sha256(&good).replace("<hash>", "<hash type=\"sha-256\">");
    let pieces: String = good.chunks(PIECE_LEN).map(sha256).collect();
    let pieces = format!("<pieces type=\"sha-256\" length=\"{PIECE_LEN}\">{pieces}</pieces>");
    let (gone, second) = (files.uri("/gone"), files.page("/p", &good));
    let document = format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
         <file name=\"sub/w\"><language>de</language>{whole}<url>{}</url></file>\
         <file name=\"p\"><language>de</language><size>{LEN}</size>{pieces}<url>{gone}</url></file>\
         </metalink>",
        files.page("/w", &good)
    );
    let state = format!("--state-dir={}", home.path("state").display());
    let server = Server::start(home.arioso(), &[&state]);
    let document = base64::engine::general_purpose::STANDARD.encode(document);
    let options = json!({"pause": "true", "max-tries": "2", "metalink-language": "de"});
    let gids = server.call("aria2.addMetalink", json!([document, options]));
    server.call("aria2.changeUri", json!([gids[1], 1, [gone], [second]]));
    server.call("aria2.unpauseAll", json!([]));
    for gid in gids.as_array().unwrap() {
        server.wait_for_status(gid.as_str().unwrap(), "status", &["complete"]);
    }

    let mut bad = good.clone();
    bad[LEN / 2] ^= 1;
    let fetched_again = |server: &Server, index: usize, code: &str| {
        fs::remove_dir_all(home.path("dl")).unwrap();
        fs::create_dir(home.path("dl")).unwrap();
        let requeue = json!([gids[index]]);
        let again = server.call("aria2.requeueDownloadResult", requeue);
        let again = again["gid"].as_str().unwrap();
        let done = server.wait_for_status(again, "status", &["complete", "error"]);
        assert_eq!(done["errorCode"], code, "{done}");
        if code == "0" {
            assert!(fs::read(home.file(["sub/w", "p"][index])).unwrap() == good);
        }
    };
    let both_ways = |server: &Server| {
        for (data, code) in [(&bad, "32"), (&good, "0")] {
            for (index, page) in ["/w", "/p"].into_iter().enumerate() {
                files.page(page, data);
                fetched_again(server, index, code);
            }
        }
    };
    both_ways(&server);
    server.call("aria2.saveSession", json!([]));
    server.kill();
    // Only the store has them now.
    let server = Server::start(home.arioso(), &[&state, "--max-download-result=1"]);
    let shown = server.call("aria2.tellStopped", json!([0, 9, ["gid"]]));
    let is_shown = |gid| shown.as_array().unwrap().contains(&json!({ "gid": gid }));
    assert!(!is_shown(&gids[0]) && !is_shown(&gids[1]), "{shown}");
    both_ways(&server);
}
