use std::fs;

use serde_json::{Value, json};

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
