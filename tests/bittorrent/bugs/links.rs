//! 43, 58, 66, 67: magnet links and where they lead.

use arioso::engine::Download;
use arioso::{AddRequest, Gid};
use serde_json::json;

use super::{Program, Seed};
use crate::dht::{DhtNode, compact};
use crate::origin::pattern;
use crate::program::{Home, run, stdout};
use crate::rig::{LEN, Node, Torrent, id, one_file};

#[test]
fn bug_43_many_links_at_once_all_find_their_torrent() {
    const COUNT: usize = 200;
    let node = Node::start(&[("max-concurrent-downloads", "200")]);
    let torrents: Vec<Torrent> = (0..COUNT)
        .map(|number| Torrent::new(&format!("t{number}"), &[("", pattern(100))], &[], &[]))
        .collect();
    let seeded: Vec<Gid> = torrents
        .iter()
        .map(|torrent| {
            torrent.write_files(&node.files());
            let request = AddRequest::torrent(torrent.file.clone());
            node.add(request.with(id("check-integrity"), "true"))
        })
        .collect();
    for gid in seeded {
        node.wait(gid, "seeding", Download::is_seeding);
    }
    let program = Program::start(&["-j200", "--bt-metadata-only=true"]);
    let gids: Vec<String> = torrents
        .iter()
        .map(|torrent| {
            let link = torrent.magnet(&format!("&x.pe=127.0.0.1:{}", node.port));
            let gid = program.server.call("aria2.addUri", json!([[link]]));
            gid.as_str().unwrap().to_owned()
        })
        .collect();
    for gid in &gids {
        program.until(gid, "status", "complete");
    }
}

#[test]
fn bug_58_the_trackers_of_a_link_may_be_numbered() {
    let (tracker, torrent) = one_file();
    let _seed = Seed::start(&torrent);
    let program = Program::start(&[]);
    let link = torrent.magnet(&format!("&tr.1=http://127.0.0.1:1/&tr.2={}", tracker.uri()));
    let gid = program.follow(&link, json!({}));
    program.finish(&gid, &torrent);
}

#[test]
fn bug_66_a_link_that_is_no_torrents_is_refused() {
    let program = Program::start(&[]);
    for link in [
        "magnet:?xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C&dn=a",
        "magnet:?dn=a",
        "magnet:?xt=urn:btih:12",
    ] {
        let error = program.refusal("aria2.addUri", json!([[link]]));
        assert_eq!(error["code"], 1, "{error}");
        let output = run(&mut Home::new().arioso(), &["--no-conf", link]);
        let text = stdout(&output);
        assert!(text.contains("Unsupported protocol"), "{text}");
        assert_eq!(output.status.code(), Some(1));
    }
    let stat = program.server.call("aria2.getGlobalStat", json!([]));
    assert_eq!(
        (&stat["numActive"], &stat["numWaiting"], &stat["numStopped"]),
        (&json!("0"), &json!("0"), &json!("0"))
    );
}

#[test]
fn bug_67_bad_nodes_and_peers_of_dht_are_passed_over() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let seed = Seed::start(&torrent);
    let peers = vec![compact(0), vec![1, 2, 3], compact(seed.node.port)];
    let knows = DhtNode::start(2, Vec::new(), peers);
    // One at port 0, one that is good, and half a node.
    let nodes = [
        &[1; 20][..],
        &compact(0),
        &[2; 20],
        &compact(knows.address.port()),
        &[3; 13],
    ];
    let entry = DhtNode::start(4, nodes.concat(), Vec::new());
    let entry = format!("--dht-entry-point={}", entry.address);
    let home = Home::new();
    let file = format!("--dht-file-path={}", home.path("dht.dat").display());
    let program = Program::start(&["--enable-dht=true", &entry, &file]);
    let gid = program.follow(&torrent.magnet(""), json!({}));
    program.finish(&gid, &torrent);
}
