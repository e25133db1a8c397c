//! Which trackers are asked, and what they are told.

use std::net::TcpListener;

use arioso::AddRequest;
use arioso::engine::Download;

use crate::origin::pattern;
use crate::program::{free_port, wait_for};
use crate::rig::{LEN, Node, Torrent, Tracker, id, leech, one_file, query};

#[test]
fn the_user_says_which_trackers_are_asked() {
    let [named, more] = [(); 2].map(|()| Tracker::start());
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[named.uri()], &[]);
    let asked = |tracker: &Tracker, node: &Node| {
        let mut events = tracker.events().into_iter();
        events.any(|(port, _)| port == node.port)
    };
    for excluded in [named.uri(), "*".to_owned()] {
        let node = Node::start(&[]);
        let request = leech(&torrent).with(id("bt-exclude-tracker"), excluded);
        node.add(request.with(id("bt-tracker"), more.uri()));
        wait_for("the tracker that was added", || {
            asked(&more, &node).then_some(())
        });
        assert!(!asked(&named, &node));
    }
}

#[test]
fn trackers_are_told_what_the_options_say() {
    let (tracker, torrent) = one_file();
    let node = Node::start(&[]);
    let options = [
        ("bt-external-ip", "10.1.2.3"),
        ("bt-require-crypto", "true"),
        ("bt-tracker-interval", "1"),
        ("user-agent", "somebody/1"),
    ];
    let mut request = leech(&torrent);
    for (name, value) in options {
        request = request.with(id(name), value);
    }
    node.add(request);
    // The tracker itself wants half an hour to pass.
    let seen = wait_for("an announcement after the first", || {
        let seen = tracker.announces(&torrent.info_hash);
        (seen.len() > 1).then_some(seen)
    });
    let told = |key| query(&seen[0], key).unwrap_or_default();
    assert_eq!(told("ip").replace("%2E", "."), "10.1.2.3");
    assert_eq!(told("requirecrypto"), "1");
    assert_eq!(told("port"), node.port.to_string());
    assert_eq!(told("left"), LEN.to_string());
    assert_eq!(query(&seen[1], "event"), None);
    assert_eq!(seen[0].header("user-agent"), Some("somebody/1"));
}

#[test]
fn the_first_free_port_is_told() {
    let (tracker, torrent) = one_file();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = (taken.local_addr().unwrap().port(), taken);
    let free = free_port();
    let node = Node::start(&[("listen-port", &format!("{},{free}", taken.0))]);
    node.seed(&torrent, &[]);
    let leecher = Node::start(&[]);
    let gid = leecher.add(leech(&torrent));
    leecher.until_complete(gid);
    let ports: Vec<String> = tracker
        .announces(&torrent.info_hash)
        .iter()
        .filter_map(|seen| query(seen, "port"))
        .collect();
    assert!(ports.contains(&free.to_string()), "{ports:?}");
    assert!(!ports.contains(&taken.0.to_string()), "{ports:?}");
}

#[test]
fn a_tracker_that_does_not_answer_is_not_waited_for() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("http://{}/announce", mute.local_addr().unwrap());
    let tracker = Tracker::start();
    let torrent = Torrent::new(
        "data.bin",
        &[("", pattern(LEN))],
        &[mute, tracker.uri()],
        &[],
    );
    let node = Node::start(&[]);
    node.add(leech(&torrent).with(id("bt-tracker-timeout"), "1"));
    let asked = wait_for("the other tracker", || {
        tracker.announces(&torrent.info_hash).into_iter().next()
    });
    assert_eq!(query(&asked, "event").as_deref(), Some("started"));
}

#[test]
fn trackers_may_change_while_it_runs() {
    let [first, second] = [(); 2].map(|()| Tracker::start());
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[first.uri()], &[]);
    let node = Node::start(&[]);
    let gid = node.add(AddRequest::torrent(torrent.file.clone()));
    let asked = |tracker: &Tracker, event: &str| {
        let told = tracker.events();
        told.contains(&(node.port, event.to_owned())).then_some(())
    };
    wait_for("the first tracker", || asked(&first, "started"));
    let changes = vec![
        (id("bt-tracker"), second.uri()),
        (id("bt-exclude-tracker"), first.uri()),
    ];
    let changed = node.handle.change_option(gid, changes);
    node.engine.block_on(changed).unwrap();
    wait_for("the second tracker", || asked(&second, "started"));
    wait_for("good-bye to the first", || asked(&first, "stopped"));
    node.wait(gid, "going on", |now: &Download| now.status() == "active");
}
