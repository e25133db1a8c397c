//! Torrents that are removed, and added again before those before them have left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use arioso::engine::Download;
use arioso::{AddRequest, Gid};

use crate::dht::compact;
use crate::origin::{Origin, Reply, pattern};
use crate::program::wait_for;
use crate::rig::{LEN, Node, Torrent, bencode, id, query};
use crate::running::Seed;

/// A tracker that is slow to let go.
struct Reluctant {
    _origin: Origin,
    /// The port of the peer that it names; 0: it names nobody.
    names: Arc<AtomicU16>,
}

fn reluctant() -> (Reluctant, Torrent) {
    let names = Arc::new(AtomicU16::new(0));
    let named = names.clone();
    let origin = Origin::start(move |seen| {
        if query(seen, "event").as_deref() == Some("stopped") {
            std::thread::sleep(Duration::from_secs(1));
        }
        let port = named.load(Ordering::Relaxed);
        let peer = match port {
            0 => Default::default(),
            _ => compact(port),
        };
        let body = bencode(|answer| {
            answer.dict(|dict| {
                dict.bytes("interval").int(1800);
                dict.bytes("peers").bytes(&peer);
            });
        });
        let len = format!("Content-Length: {}", body.len());
        Reply::new("200 OK", &[&len], &body)
    });
    let trackers = [origin.url("/announce")];
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &trackers, &[]);
    let tracker = Reluctant {
        _origin: origin,
        names,
    };
    (tracker, torrent)
}

fn remove(node: &Node, gid: Gid) {
    node.engine
        .block_on(node.handle.remove(gid, false))
        .unwrap();
}

fn quiet(node: &Node, gid: Gid) {
    node.engine.block_on(node.handle.until_quiet(gid)).unwrap();
}

#[test]
fn a_removal_while_seeding_is_over_when_the_control_file_is_gone() {
    let (_tracker, torrent) = reluctant();
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    let control = seed.files().join("data.bin.aria2");
    assert!(control.exists());
    let mut events = seed.handle.events();
    remove(&seed, given);
    // That is answered at once, and told when the files are nobody's.
    seed.wait(given, "shown as it will be", |now| {
        now.status() == "complete"
    });
    quiet(&seed, given);
    assert!(!control.exists());
    let told = wait_for("the event", || events.try_recv().ok());
    assert_eq!((told.gid, told.kind), (given, arioso::EventKind::Complete));
    torrent.check_files(&seed.files());
}

#[test]
fn who_is_added_again_at_once_keeps_its_control_file() {
    let (_tracker, torrent) = reluctant();
    let seed = Node::start(&[]);
    let control = seed.files().join("data.bin.aria2");
    let mut given = seed.seed(&torrent, &[]);
    for forgotten in [false, true] {
        remove(&seed, given);
        if forgotten {
            let gone = seed.handle.remove_result(given);
            seed.engine.block_on(gone).unwrap();
        }
        let request = AddRequest::torrent(torrent.file.clone());
        let again = seed.add(request.with(id("check-integrity"), "true"));
        seed.wait(again, "seeding again", Download::is_seeding);
        quiet(&seed, given);
        assert!(control.exists(), "the one before has taken it away");
        given = again;
    }
    torrent.check_files(&seed.files());
}

#[test]
fn an_unfinished_one_that_was_removed_goes_on_when_it_is_added_again() {
    let (tracker, torrent) = reluctant();
    let seed = Seed::start(&torrent);
    tracker.names.store(seed.node.port, Ordering::Relaxed);
    let node = Node::start(&[]);
    let add = |limit| {
        let request = AddRequest::torrent(torrent.file.clone()).with(id("seed-time"), "0");
        node.add(request.with(id("max-download-limit"), limit))
    };
    let mut gid = add("400K");
    for pauses in [true, false] {
        node.wait(gid, "begun", |now| now.completed_len() > 0);
        if pauses {
            node.engine.block_on(node.handle.pause(gid, false)).unwrap();
        }
        remove(&node, gid);
        gid = add(if pauses { "400K" } else { "0" });
    }
    node.until_complete(gid);
    torrent.check_files(&node.files());
    let given = seed.given();
    assert!(given < torrent.len() * 3 / 2, "{given}");
}
