//! How torrents come in: what is kept of links, which files are made, what is there already.

use arioso::AddRequest;
use arioso::engine::Download;
use base64::Engine as _;
use serde_json::json;

use crate::origin::{Origin, pattern};
use crate::rig::{LEN, Node, PIECE_LEN, Torrent, Tracker, bencode, id, leech, one_file};
use crate::running::{Program, Seed};

#[test]
fn the_metadata_of_a_link_is_kept_and_used_again() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let seed = Seed::start(&torrent);
    let program = Program::start(&[]);
    let link = seed.link(&torrent);
    let options = json!({"bt-save-metadata": "true", "bt-metadata-only": "true"});
    let gid = program
        .server
        .call("aria2.addUri", json!([[link], options]));
    let status = program.until(gid.as_str().unwrap(), "status", "complete");
    assert_eq!(status.get("followedBy"), None);
    assert_eq!(seed.given(), 0);
    let kept = program.home.file(&format!("{}.torrent", torrent.info_hash));
    let kept = crate::program::wait_for("the torrent file", || std::fs::read(&kept).ok());
    let info = torrent.file.windows(6).position(|part| part == b"4:info");
    assert!(kept.ends_with(&torrent.file[info.unwrap()..]));
    drop(seed);
    // Nobody can give it again.
    let options = json!({"bt-load-saved-metadata": "true", "pause": "true"});
    let bare = torrent.magnet("");
    let gid = program
        .server
        .call("aria2.addUri", json!([[bare], options]));
    let status = program.until(gid.as_str().unwrap(), "status", "paused");
    assert_eq!(status["bittorrent"]["info"]["name"], "data.bin");
}

#[test]
fn what_a_link_leads_to_is_paused_if_so_wished() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let seed = Seed::start(&torrent);
    let program = Program::start(&[]);
    let gid = program.follow(&seed.link(&torrent), json!({"pause-metadata": "true"}));
    program.until(&gid, "status", "paused");
    program.server.call("aria2.unpause", json!([gid]));
    program.finish(&gid, &torrent);
}

#[test]
fn web_seeds_of_a_link_and_uris_of_a_call_are_mirrors() {
    let data = pattern(LEN);
    let torrent = Torrent::new("data.bin", &[("", data.clone())], &[], &[]);
    let origin = Origin::with_file(data);
    let program = Program::start(&[]);
    let file = base64::engine::general_purpose::STANDARD.encode(&torrent.file);
    let uris = [origin.url("/data.bin")];
    let gid = program
        .server
        .call("aria2.addTorrent", json!([file, uris, {}]));
    program.finish(gid.as_str().unwrap(), &torrent);

    // Somebody who gives the metadata, and next to nothing of the file.
    let node = Node::start(&[("max-upload-limit", "1K")]);
    node.seed(&torrent, &[]);
    let program = Program::start(&[]);
    let link = torrent.magnet(&format!(
        "&x.pe=127.0.0.1:{}&ws={}",
        node.port,
        origin.url("/data.bin")
    ));
    let gid = program.follow(&link, json!({}));
    program.finish(&gid, &torrent);
}

#[test]
fn padding_is_neither_fetched_from_peers_nor_made() {
    let (first, second) = (pattern(PIECE_LEN + 100), pattern(2 * PIECE_LEN));
    let padding = vec![0; PIECE_LEN - 100];
    let parts = [
        ("a", first.clone()),
        (".pad/1", padding.clone()),
        ("b", second.clone()),
    ];
    let list = bencode(|list| {
        list.list(|list| {
            for (path, data) in &parts {
                list.dict(|file| {
                    if path.starts_with(".pad") {
                        file.bytes("attr").bytes("p");
                    }
                    file.bytes("length").int(data.len() as i64);
                    file.bytes("path")
                        .list(|names| path.split('/').for_each(|name| _ = names.bytes(name)));
                });
            }
        });
    });
    let tracker = Tracker::start();
    let mut torrent = Torrent::with_info("top", &parts, &[tracker.uri()], &[], &[("files", list)]);
    torrent.files.remove(1);
    let _seed = Seed::start(&torrent);
    let program = Program::start(&[]);
    let gid = program.add(&torrent, json!({}));
    program.finish(&gid, &torrent);
    let made = std::fs::read_dir(program.home.path("dl/top")).unwrap();
    assert_eq!(made.count(), 2);
}

#[test]
fn what_was_found_complete_is_not_seeded_against_the_users_will() {
    let (tracker, torrent) = one_file();
    for (seeds, status) in [("false", "complete"), ("true", "active")] {
        let node = Node::start(&[]);
        torrent.write_files(&node.files());
        let request = AddRequest::torrent(torrent.file.clone()).with(id("check-integrity"), "true");
        let gid = node.add(request.with(id("bt-hash-check-seed"), seeds));
        node.wait(gid, "at rest", |now| {
            now.is_stopped() || Download::is_seeding(now)
        });
        assert_eq!(node.handle.snapshot(gid).unwrap().status, status);
        let told = tracker.events().iter().any(|(port, _)| *port == node.port);
        assert!(!told || seeds == "true");
    }
}

#[test]
fn the_ends_of_a_file_come_first_if_so_wished() {
    let (_tracker, torrent) = one_file();
    let seed = Node::start(&[]);
    seed.seed(&torrent, &[("max-upload-limit", "300K")]);
    let node = Node::start(&[]);
    let options = format!("head={PIECE_LEN},tail={}", PIECE_LEN / 2);
    let gid = node.add(leech(&torrent).with(id("bt-prioritize-piece"), options));
    let pieces = |now: &Download| {
        let bits = now.bitfield_hex().unwrap_or_default();
        let digits = bits.chars().filter_map(|digit| digit.to_digit(16));
        let bits: Vec<bool> = digits
            .flat_map(|digit| (0..4).rev().map(move |bit| digit >> bit & 1 == 1))
            .collect();
        bits
    };
    node.wait(gid, "at four pieces", |now| {
        pieces(now).iter().filter(|have| **have).count() >= 4
    });
    let have = node
        .handle
        .read(|registry| pieces(registry.get(gid).unwrap()));
    let last = LEN.div_ceil(PIECE_LEN) - 1;
    assert!(have[0] && have[last], "{have:?}");
}

#[test]
fn no_more_files_are_open_than_allowed() {
    const COUNT: usize = 30;
    let files: Vec<(String, Vec<u8>)> = (0..COUNT)
        .map(|number| (format!("f{number}"), pattern(PIECE_LEN / 2 + number)))
        .collect();
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(name, data)| (name.as_str(), data.clone()))
        .collect();
    let tracker = Tracker::start();
    let torrent = Torrent::new("top", &files, &[tracker.uri()], &[]);
    let _seed = Seed::start(&torrent);
    for (limit, few) in [("4", true), ("100", false)] {
        let limit = format!("--bt-max-open-files={limit}");
        let program = Program::start(&[&limit, "--seed-time=60", "--seed-ratio=0"]);
        let gid = program.add(&torrent, json!({}));
        program.until(&gid, "seeder", "true");
        torrent.check_files(&program.home.path("dl"));
        let open = std::fs::read_dir(format!("/proc/{}/fd", program.server.child.id())).unwrap();
        let open = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let below = program.home.path("dl/top").canonicalize().unwrap();
        let count = open.filter(|path| path.starts_with(&below)).count();
        assert_eq!(count <= 4, few, "{count} files are open");
    }
}
