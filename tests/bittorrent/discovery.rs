//! Whom others learn of a torrent from, and by what ways its peers may be found.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use arioso::AddRequest;
use serde_json::json;

use crate::dht::{DhtNode, compact, compact6};
use crate::origin::pattern;
use crate::program::{Home, free_port, wait_for};
use crate::rig::{LEN, Node, Torrent, Tracker, bencode, id};
use crate::running::{Program, Seed};
use crate::stranger::Stranger;

fn made(name: &str, private: bool) -> Torrent {
    let flag = bencode(|value| _ = value.int(i64::from(private)));
    let files = [("", pattern(LEN))];
    Torrent::with_info(name, &files, &[], &[], &[("private", flag)])
}

/// With the DHT on, which begins at this node.
fn in_dht(entry: &DhtNode, more: &[(&str, &str)]) -> Node {
    let entry = entry.address.to_string();
    let options = [("enable-dht", "true"), ("dht-entry-point", &entry)];
    Node::start(&[&options, more].concat())
}

/// What the extended handshake of a torrent says, and all before it.
fn hello(node: &Node, torrent: &Torrent) -> Vec<u8> {
    let mut stranger = Stranger::dial(node.port, &torrent.info_hash, *b"-TT0000-abcdefghijkl");
    assert!(stranger.hears(b"ut_metadata"));
    stranger.said
}

fn offers_exchange(hello: &[u8]) -> bool {
    hello.windows(6).any(|part| part == b"ut_pex")
}

/// The bit of BEP 5 in the handshake.
fn offers_dht(hello: &[u8]) -> bool {
    hello[27] & 1 != 0
}

#[test]
fn of_a_private_torrent_nobody_is_told_or_asked_but_its_trackers() {
    let entry = DhtNode::start(2, Vec::new(), Vec::new());
    let node = in_dht(&entry, &[]);
    let [private, open] = [made("private", true), made("open", false)];
    for torrent in [&private, &open] {
        node.seed(torrent, &[]);
    }
    wait_for("the search for the open one", || {
        entry.knows_of(&open.info_hash).then_some(())
    });
    assert!(!entry.knows_of(&private.info_hash));
    for (torrent, is_open) in [(&private, false), (&open, true)] {
        let said = hello(&node, torrent);
        assert_eq!(
            (offers_exchange(&said), offers_dht(&said)),
            (is_open, is_open)
        );
    }
}

#[test]
fn peers_are_exchanged_only_where_the_user_wants_it() {
    for (wanted, offered) in [("true", true), ("false", false)] {
        let node = Node::start(&[]);
        let torrent = made("open", false);
        node.seed(&torrent, &[("enable-peer-exchange", wanted)]);
        assert_eq!(offers_exchange(&hello(&node, &torrent)), offered);
    }
}

#[test]
fn a_link_that_led_to_a_private_torrent_leaves_it_no_peers_of_the_dht() {
    for private in [true, false] {
        let torrent = made("data.bin", private);
        let seed = Seed::start(&torrent);
        let entry = DhtNode::start(2, Vec::new(), vec![compact(seed.node.port)]);
        let node = in_dht(&entry, &[("seed-time", "0"), ("pause-metadata", "true")]);
        let parent = node.add(AddRequest::uris([torrent.magnet("")]));
        node.until_complete(parent);
        let child = node
            .handle
            .read(|registry| registry.get(parent).unwrap().followed_by()[0]);
        // Of the private one nobody gives anything.
        let patience = if private { "2" } else { "0" };
        let changes = vec![(id("bt-stop-timeout"), patience.to_owned())];
        let changed = node.handle.change_option(child, changes);
        node.engine.block_on(changed).unwrap();
        node.engine.block_on(node.handle.unpause(child)).unwrap();
        node.wait(child, "over", |now| now.is_stopped());
        let status = node.handle.snapshot(child).unwrap().status;
        assert_eq!(status, if private { "error" } else { "complete" });
        assert_eq!(seed.given() > 0, !private);
    }
}

#[test]
fn the_dht_nodes_that_a_torrent_names_are_asked() {
    let mut torrent = made("data.bin", false);
    let seed = Seed::start(&torrent);
    let knows = DhtNode::start(2, Vec::new(), vec![compact(seed.node.port)]);
    torrent.file.pop();
    torrent.file.extend(b"5:nodes");
    torrent.file.extend(bencode(|nodes| {
        nodes.list(|nodes| {
            nodes.list(|node| {
                node.bytes("127.0.0.1");
                node.int(i64::from(knows.address.port()));
            });
        });
    }));
    torrent.file.push(b'e');
    // There is no other way into the DHT.
    let nowhere = DhtNode::start(9, Vec::new(), Vec::new());
    let node = in_dht(&nowhere, &[]);
    let request = AddRequest::torrent(torrent.file.clone()).with(id("seed-time"), "0");
    node.until_complete(node.add(request));
    torrent.check_files(&node.files());
}

#[test]
fn the_dht_has_the_port_of_its_option_and_keeps_its_nodes() {
    let entry = DhtNode::start(2, Vec::new(), Vec::new());
    let [first, second] = ["first", "second"].map(|name| made(name, false));
    let port = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let node = in_dht(&entry, &[("dht-listen-port", &port.to_string())]);
    node.seed(&first, &[]);
    wait_for("the first search", || {
        entry.knows_of(&first.info_hash).then_some(())
    });
    let asking = UdpSocket::bind("127.0.0.1:0").unwrap();
    asking
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    wait_for("an answer", || {
        let mut answer = [0; 500];
        asking.send_to(ping, ("127.0.0.1", port)).unwrap();
        let (len, _) = asking.recv_from(&mut answer).ok()?;
        // The node has questions of its own.
        answer[..len].ends_with(b"1:y1:re").then_some(())
    });
    let dir = node.stop();
    // There is no way into the DHT but what was kept.
    let nowhere = [("enable-dht", "true"), ("dht-entry-point", "127.0.0.1:1")];
    let node = Node::start_in(dir, &nowhere);
    node.seed(&second, &[]);
    wait_for("a search by the node that was kept", || {
        entry.knows_of(&second.info_hash).then_some(())
    });
}

/// Whether a UDP socket of this machine is bound to this port of `::1` alone.
fn is_bound_to_loopback(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/udp6").unwrap();
    sockets.contains(&format!(" 00000000000000000000000001000000:{port:04X} "))
}

#[test]
fn peers_come_by_the_dht_of_ipv6_whose_nodes_are_kept() {
    let [first, second] = ["first", "second"].map(|name| made(name, false));
    let seed = Seed::start(&first);
    seed.node.seed(&second, &[]);
    let start = |id, nodes, peers| DhtNode::start_at(Ipv6Addr::LOCALHOST.into(), id, nodes, peers);
    let knows = start(3, Vec::new(), vec![compact6(seed.node.port)]);
    let known = compact6(knows.address.port());
    let entry = start(2, [&[3; 20], &known[..]].concat(), Vec::new());

    let home = Home::new();
    let file = home.path("dht6.dat");
    let port = free_port();
    let run = |home, entry: SocketAddr| {
        let options = [
            "--enable-dht6=true",
            "--dht-listen-addr6=::1",
            &format!("--dht-entry-point6={entry}"),
            &format!("--dht-file-path6={}", file.display()),
            &format!("--dht-listen-port={port}"),
        ];
        Program::start_in(home, &[], &options)
    };
    let program = run(home, entry.address);
    let gid = program.follow(&first.magnet(""), json!({}));
    program.finish(&gid, &first);
    assert!(entry.knows_of(&first.info_hash) && knows.knows_of(&first.info_hash));
    assert!(is_bound_to_loopback(port));
    let Program { home, server, .. } = program;
    assert_eq!(server.stop(), 0);
    let kept = std::fs::read(&file).unwrap();
    assert!(kept.windows(known.len()).any(|part| part == known));

    // There is no way into the DHT but what was kept.
    let program = run(home, "[::1]:1".parse().unwrap());
    let gid = program.follow(&second.magnet(""), json!({}));
    program.finish(&gid, &second);
}

#[test]
fn a_blocklist_of_the_command_line_keeps_peers_out_until_it_is_taken_away() {
    let torrent = made("data.bin", false);
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    std::fs::write(&list, "127.0.0.0/8\n").unwrap();
    let node = Node::start(&[("bt-peer-blocklist", list.to_str().unwrap())]);
    node.seed(&torrent, &[]);
    let is_answered = || {
        let peer = *b"-TT0000-abcdefghijkl";
        Stranger::dial(node.port, &torrent.info_hash, peer).hears(b"BitTorrent protocol")
    };
    assert!(!is_answered());
    let changes = vec![(id("bt-peer-blocklist"), String::new())];
    let changed = node.handle.change_global_option(changes);
    node.engine.block_on(changed).unwrap();
    wait_for("an answer", || is_answered().then_some(()));
}

#[test]
fn the_tracker_of_a_private_torrent_is_asked() {
    let tracker = Tracker::start();
    let flag = bencode(|value| _ = value.int(1));
    let files = [("", pattern(LEN))];
    let torrent = Torrent::with_info(
        "data.bin",
        &files,
        &[tracker.uri()],
        &[],
        &[("private", flag)],
    );
    let seed = Seed::start(&torrent);
    let node = Node::start(&[]);
    let request = AddRequest::torrent(torrent.file.clone()).with(id("seed-time"), "0");
    node.until_complete(node.add(request));
    assert!(seed.given() >= torrent.len());
}
