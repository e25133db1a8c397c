use std::time::Duration;

use arioso::AddRequest;
use arioso::engine::Download;

use crate::origin::{Origin, Reply, pattern};
use crate::rig::{LEN, Node, PIECE_LEN, Torrent, Tracker, id, leech, one_file};

#[test]
fn one_gives_and_another_takes() {
    let (tracker, torrent) = one_file();
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.until_complete(gid);
    torrent.check_files(&node.files());
    assert!(seed.uploaded(given) >= torrent.len());
    assert!(!node.files().join("data.bin.aria2").exists());
    let of = |port| {
        let events = tracker.events().into_iter();
        let events = events.filter(move |(of, _)| *of == port);
        events.map(|(_, event)| event).collect::<Vec<_>>()
    };
    assert_eq!(of(node.port), ["started", "completed", "stopped"]);
    assert_eq!(of(seed.port), ["started"]);
}

#[test]
fn a_magnet_link_becomes_a_torrent() {
    let torrent = Torrent::new(
        "top",
        &[("a", pattern(LEN)), ("b", pattern(PIECE_LEN + 5))],
        &[],
        &[],
    );
    let seed = Node::start(&[]);
    seed.seed(&torrent, &[]);
    let node = Node::start(&[("seed-time", "0")]);
    let magnet = format!(
        "magnet:?xt=urn:btih:{}&dn=top&x.pe=127.0.0.1:{}",
        torrent.info_hash, seed.port
    );
    let parent = node.add(AddRequest::uris([magnet]));
    node.until_complete(parent);
    let child = node.handle.read(|registry| {
        let parent = registry.get(parent).unwrap();
        parent.followed_by()[0]
    });
    node.until_complete(child);
    torrent.check_files(&node.files());
}

#[test]
fn a_restart_in_mid_download_goes_on() {
    let (_tracker, torrent) = one_file();
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[("max-upload-limit", "600K")]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.wait(gid, "half there", |now| {
        now.completed_len() > LEN as u64 / 2
    });
    let dir = node.stop();
    assert!(dir.path().join("files/data.bin.aria2").exists());
    let node = Node::start_in(dir, &[]);
    node.until_complete(gid);
    torrent.check_files(&node.files());
    let uploaded = seed.uploaded(given);
    assert!(uploaded < torrent.len() * 3 / 2, "{uploaded}");
}

#[test]
fn seeding_ends_at_its_ratio() {
    let (_tracker, torrent) = one_file();
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[("seed-ratio", "1.0")]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.until_complete(gid);
    seed.until_complete(given);
    assert!(seed.files().join("data.bin").exists());
    assert!(!seed.files().join("data.bin.aria2").exists());
}

#[test]
fn a_pause_while_seeding_keeps_what_is_known() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    seed.engine
        .block_on(seed.handle.pause(given, false))
        .unwrap();
    seed.wait(given, "paused", |now| now.status() == "paused");
    seed.engine
        .block_on(seed.handle.until_quiet(given))
        .unwrap();
    assert!(seed.files().join("data.bin.aria2").exists());
    seed.engine.block_on(seed.handle.unpause(given)).unwrap();
    seed.wait(given, "seeding", Download::is_seeding);
}

#[test]
fn a_web_seed_is_enough() {
    let files = [("a", pattern(LEN)), ("b", pattern(3 * PIECE_LEN + 7))];
    let served = files.clone();
    let origin = Origin::start(move |seen| {
        let file = served
            .iter()
            .find(|(path, _)| seen.path == format!("/pub/top/{path}"));
        match file {
            Some((_, data)) => Reply::file(data, seen, &[]),
            None => Reply::status("404 Not Found"),
        }
    });
    let torrent = Torrent::new("top", &files, &[], &[origin.url("/pub/")]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.until_complete(gid);
    torrent.check_files(&node.files());
}

#[test]
fn only_the_selected_files_come() {
    let tracker = Tracker::start();
    let files = [
        ("a", pattern(5 * PIECE_LEN)),
        ("b", pattern(7 * PIECE_LEN)),
        ("c", pattern(PIECE_LEN / 2)),
    ];
    let torrent = Torrent::new("top", &files, &[tracker.uri()], &[]);
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent).with(id("select-file"), "2"));
    node.until_complete(gid);
    let found = std::fs::read(node.files().join("top/b")).unwrap();
    assert!(found == files[1].1);
    let uploaded = seed.uploaded(given);
    assert!(uploaded <= 8 * PIECE_LEN as u64, "{uploaded}");
}

#[test]
fn who_sends_rubbish_is_banned() {
    let (_tracker, torrent) = one_file();
    let liar = Node::start(&[]);
    let mut wrong = pattern(LEN);
    for at in (0..LEN).step_by(PIECE_LEN / 4) {
        wrong[at] ^= 1;
    }
    std::fs::write(liar.files().join("data.bin"), wrong).unwrap();
    let lies =
        liar.add(AddRequest::torrent(torrent.file.clone()).with(id("bt-seed-unverified"), "true"));
    liar.wait(lies, "seeding", Download::is_seeding);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    liar.wait(lies, "asked", |now| now.uploaded_len() > 0);
    node.wait(gid, "rid of the liar", |now| now.peers().is_empty());
    // Blocks of pieces that are not whole are not proven wrong.
    let (completed, have) = node.handle.read(|registry| {
        let download = registry.get(gid).unwrap();
        (download.completed_len(), download.bitfield_hex())
    });
    assert!(completed < LEN as u64, "{completed}");
    assert!(have.is_none_or(|hex| hex.bytes().all(|digit| digit == b'0')));
    // It hears of somebody better only when it asks again.
    let seed = Node::start(&[]);
    seed.seed(&torrent, &[]);
    std::thread::sleep(Duration::from_millis(100));
    node.until_complete(gid);
    torrent.check_files(&node.files());
}
