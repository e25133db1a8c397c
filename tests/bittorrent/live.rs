//! What is changed while a torrent runs, and what is left of it afterwards.

use std::time::Duration;

use arioso::Gid;
use arioso::engine::Download;

use crate::origin::{Origin, Reply, pattern};
use crate::program::wait_for;
use crate::rig::{LEN, Node, PIECE_LEN, Torrent, id, leech, one_file};

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
fn a_removal_while_seeding_leaves_the_files() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    seed.engine
        .block_on(seed.handle.remove(given, false))
        .unwrap();
    seed.engine
        .block_on(seed.handle.until_quiet(given))
        .unwrap();
    torrent.check_files(&seed.files());
    wait_for("the control file to go", || {
        (!seed.files().join("data.bin.aria2").exists()).then_some(())
    });
}
