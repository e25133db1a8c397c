//! What is changed while a torrent runs, and what is left of it afterwards.

use std::time::Duration;

use arioso::Gid;
use arioso::engine::Download;

use crate::origin::{Origin, Reply, pattern};
use crate::rig::{LEN, Node, PIECE_LEN, Torrent, Tracker, id, leech, one_file};

fn change(node: &Node, gid: Gid, name: &str, value: &str) {
    let changes = vec![(id(name), value.to_owned())];
    let changed = node.handle.change_option(gid, changes);
    node.engine.block_on(changed).unwrap();
}

#[test]
fn limits_change_while_it_runs() {
    let (_tracker, torrent) = one_file();
    let seeds = [(); 3].map(|()| Node::start(&[]));
    // At this rate nobody would wait for the end of it.
    let given = seeds
        .each_ref()
        .map(|seed| seed.seed(&torrent, &[("max-upload-limit", "2K")]));
    let node = Node::start(&[]);
    let gid = node.add(
        leech(&torrent)
            .with(id("bt-max-peers"), "1")
            .with(id("bt-request-peer-speed-limit"), "0"),
    );
    let is = |count| move |now: &Download| now.peers().len() == count;
    node.wait(gid, "with one peer", is(1));
    std::thread::sleep(Duration::from_millis(300));
    node.wait(gid, "with one peer still", is(1));
    change(&node, gid, "bt-request-peer-speed-limit", "100M");
    node.wait(gid, "with one peer more, as it is slow", is(2));
    change(&node, gid, "bt-max-peers", "0");
    node.wait(gid, "with all peers", is(3));
    for (seed, gid) in seeds.iter().zip(given) {
        change(seed, gid, "max-upload-limit", "0");
    }
    node.until_complete(gid);
    torrent.check_files(&node.files());
}

#[test]
fn mirrors_are_changed_for_one_file() {
    let files = [("a", pattern(LEN)), ("b", pattern(3 * PIECE_LEN + 7))];
    let served = files.clone();
    let origin = Origin::start(move |seen| {
        let file = served
            .iter()
            .find(|(path, _)| seen.path == format!("/mirror-of-{path}"));
        match file {
            Some((_, data)) => Reply::file(data, seen, &[]),
            None => Reply::status("404 Not Found"),
        }
    });
    let torrent = Torrent::new("top", &files, &[], &[]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.wait(gid, "begun", |now| now.status() == "active");
    for (index, (path, _)) in files.iter().enumerate() {
        let add = vec![origin.url(&format!("/mirror-of-{path}"))];
        let changed = node
            .handle
            .change_uri(gid, index + 1, Vec::new(), add, None);
        assert_eq!(node.engine.block_on(changed).unwrap(), (0, 1));
    }
    node.until_complete(gid);
    torrent.check_files(&node.files());
}

#[test]
fn what_was_given_is_known_after_a_restart() {
    let (_tracker, torrent) = one_file();
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.until_complete(gid);
    // The other side may have the last block before this one has counted it.
    seed.wait(given, "done with counting", |download| {
        download.uploaded_len() >= torrent.len()
    });
    let dir = seed.stop();
    let seed = Node::start_in(dir, &[]);
    seed.wait(given, "seeding, with what was given before", |download| {
        download.is_seeding() && download.uploaded_len() >= torrent.len()
    });
}

#[test]
fn enough_may_be_less_than_it_was() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[("seed-time", "600")]);
    change(&seed, given, "seed-time", "0.01");
    seed.until_complete(given);

    let (_tracker, torrent) = one_file();
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.until_complete(gid);
    seed.wait(given, "done with counting", |now| {
        now.uploaded_len() >= torrent.len()
    });
    change(&seed, given, "seed-ratio", "0.9");
    seed.until_complete(given);
    torrent.check_files(&seed.files());
}

#[test]
fn the_limit_of_all_uploads_holds_and_changes() {
    let (_tracker, torrent) = one_file();
    let seed = Node::start(&[("max-overall-upload-limit", "2K")]);
    seed.seed(&torrent, &[]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    node.wait(gid, "with a peer", |now| now.peers().len() == 1);
    std::thread::sleep(Duration::from_secs(1));
    let status = node.handle.snapshot(gid).unwrap().status;
    assert_eq!(status, "active");
    let changes = vec![(id("max-overall-upload-limit"), "0".to_owned())];
    let changed = seed.handle.change_global_option(changes);
    seed.engine.block_on(changed).unwrap();
    node.until_complete(gid);
    torrent.check_files(&node.files());
}

#[test]
fn files_that_are_not_wanted_go_although_that_was_said_late() {
    let files = [
        ("a", pattern(5 * PIECE_LEN + 100)),
        ("b", pattern(3 * PIECE_LEN)),
    ];
    for remove in [true, false] {
        let tracker = Tracker::start();
        let torrent = Torrent::new("top", &files, &[tracker.uri()], &[]);
        let seed = Node::start(&[]);
        let given = seed.seed(&torrent, &[("max-upload-limit", "2K")]);
        let node = Node::start(&[]);
        let gid = node.add(leech(&torrent).with(id("select-file"), "1"));
        node.wait(gid, "with a peer", |now| now.peers().len() == 1);
        let value = if remove { "true" } else { "false" };
        change(&node, gid, "bt-remove-unselected-file", value);
        change(&seed, given, "max-upload-limit", "0");
        node.until_complete(gid);
        let found = std::fs::read(node.files().join("top/a")).unwrap();
        assert!(found == files[0].1);
        // The last piece of `a` holds the beginning of `b`.
        assert_eq!(node.files().join("top/b").exists(), !remove);
    }
}
