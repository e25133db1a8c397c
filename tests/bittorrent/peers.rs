//! Whom we talk to, and what they learn of us.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use arioso::AddRequest;
use arioso::engine::Download;

use crate::origin::pattern;
use crate::program::wait_for;
use crate::rig::{Node, PIECE_LEN, Torrent, Tracker, id, query};
use crate::stranger::Stranger;

const LEN: usize = 40 * PIECE_LEN - 1234;

fn leech(torrent: &Torrent) -> AddRequest {
    AddRequest::torrent(torrent.file.clone()).with(id("seed-time"), "0")
}

#[test]
fn connected_peers_that_come_to_be_blocked_are_dropped() {
    let tracker = Tracker::start();
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[tracker.uri()], &[]);
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[("max-upload-limit", "2K")]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent));
    let with = |count| move |now: &Download| now.peers().len() == count;
    node.wait(gid, "with a peer", with(1));
    let filter = node.handle.peer_filter();
    filter.set_named(vec!["127.0.0.0/8".to_owned()]).unwrap();
    node.wait(gid, "without peers", with(0));
    seed.wait(given, "without peers", with(0));
}

#[test]
fn peers_of_a_link_that_come_to_be_blocked_are_dropped() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let node = Node::start(&[]);
    let gid = node.add(AddRequest::uris([torrent.magnet("")]));
    node.wait(gid, "begun", |now| now.status() == "active");
    let with = |count| move |now: &Download| now.peers().len() == count;
    let mut stranger = Stranger::meet(node.port, &torrent.info_hash, *b"-TT0000-abcdefghijkl");
    node.wait(gid, "with a peer", with(1));
    let filter = node.handle.peer_filter();
    filter.set_named(vec!["127.0.0.0/8".to_owned()]).unwrap();
    node.wait(gid, "without peers", with(0));
    assert!(!stranger.hears(b"nothing of the kind"));
}

#[test]
fn a_torrent_that_nobody_gives_ends_by_its_timeout() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let node = Node::start(&[]);
    let gid = node.add(leech(&torrent).with(id("bt-stop-timeout"), "1"));
    node.wait(gid, "given up", |now| {
        now.error().is_some_and(|error| error.0.code() == 7)
    });
}

#[test]
fn a_selection_that_changes_brings_the_other_file_too() {
    let tracker = Tracker::start();
    let files = [("a", pattern(5 * PIECE_LEN)), ("b", pattern(7 * PIECE_LEN))];
    let torrent = Torrent::new("top", &files, &[tracker.uri()], &[]);
    let seed = Node::start(&[]);
    let given = seed.seed(&torrent, &[]);
    let node = Node::start(&[]);
    let request = AddRequest::torrent(torrent.file.clone()).with(id("select-file"), "2");
    let gid = node.add(request);
    node.wait(gid, "seeding what is selected", Download::is_seeding);
    assert!(!node.files().join("top/a").exists());
    let changes = vec![
        (id("select-file"), "1-2".to_owned()),
        (id("seed-time"), "0".to_owned()),
    ];
    let changed = node.handle.change_option(gid, changes);
    node.engine.block_on(changed).unwrap();
    node.until_complete(gid);
    torrent.check_files(&node.files());
    let uploaded = seed.uploaded(given);
    assert!(uploaded < torrent.len() * 3 / 2, "{uploaded}");
}

/// A SOCKS5 proxy that keeps the ports it was asked for.
fn socks_proxy() -> (String, Arc<Mutex<Vec<u16>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("socks5://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let kept = kept.clone();
            std::thread::spawn(move || drop(carry(client, &kept)));
        }
    });
    (uri, asked)
}

/// One connection to an IPv4 address, both ways.
fn carry(mut client: std::net::TcpStream, asked: &Mutex<Vec<u16>>) -> std::io::Result<()> {
    let mut hello = [0; 2];
    client.read_exact(&mut hello)?;
    client.read_exact(&mut vec![0; usize::from(hello[1])])?;
    client.write_all(&[5, 0])?;
    let mut head = [0; 10];
    client.read_exact(&mut head)?;
    let port = u16::from_be_bytes([head[8], head[9]]);
    asked.lock().unwrap().push(port);
    let mut server = std::net::TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut up, &mut down));
    std::io::copy(&mut server, &mut client).map(drop)
}

#[test]
fn a_torrent_behind_a_socks_proxy_shows_nothing_of_us() {
    let tracker = Tracker::start();
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[tracker.uri()], &[]);
    let seed = Node::start(&[]);
    seed.seed(&torrent, &[]);
    let (proxy, asked) = socks_proxy();
    let node = Node::start(&[]);
    let other = Torrent::new("other.bin", &[("", pattern(LEN))], &[tracker.uri()], &[]);
    // Of one that is not hidden everything is told.
    node.seed(&other, &[]);
    let hidden = AddRequest::torrent(torrent.file.clone()).with(id("all-proxy"), &*proxy);
    let gid = node.add(hidden);
    node.wait(gid, "seeding", Download::is_seeding);
    torrent.check_files(&node.files());
    let dialled = asked.lock().unwrap().contains(&seed.port);
    assert!(dialled, "the peer was not dialled through the proxy");

    let told = |of: &Torrent, key| {
        let wanted = of.info_hash.clone();
        let announces = tracker.announces(&wanted);
        let of_node = announces
            .into_iter()
            .filter(|seen| query(seen, "port") != Some(seed.port.to_string()));
        of_node
            .filter_map(|seen| query(&seen, key))
            .collect::<Vec<_>>()
    };
    let ports = told(&torrent, "port");
    let open = node.port.to_string();
    assert!(!ports.is_empty() && !ports.contains(&open), "{ports:?}");
    assert!(told(&other, "port").contains(&open));
    let (ids, open_ids) = (told(&torrent, "peer_id"), told(&other, "peer_id"));
    assert!(
        ids.iter().all(|id| !open_ids.contains(id)),
        "{ids:?} {open_ids:?}"
    );

    // Whoever knows the address all the same is not answered.
    let curious = Node::start(&[]);
    let magnet = |of: &Torrent| {
        let hash = &of.info_hash;
        format!("magnet:?xt=urn:btih:{hash}&x.pe=127.0.0.1:{}", node.port)
    };
    let to_hidden = curious.add(AddRequest::uris([magnet(&torrent)]));
    let to_open = curious.add(AddRequest::uris([magnet(&other)]));
    curious.wait(to_open, "answered", |now| now.status() == "complete");
    let met = curious
        .handle
        .read(|registry| registry.get(to_hidden).unwrap().peers().len());
    assert_eq!(met, 0);
}

#[test]
fn our_names_are_those_that_the_user_wants() {
    let tracker = Tracker::start();
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[tracker.uri()], &[]);
    let names = [
        ("peer-id-prefix", "-XY0001-"),
        ("peer-agent", "agent/7 of ours"),
    ];
    let node = Node::start(&names);
    node.seed(&torrent, &[]);
    // As anybody who dials it sees it.
    let mut stranger = Stranger::dial(node.port, &torrent.info_hash, *b"-TT0000-abcdefghijkl");
    assert!(stranger.hears(b"1:v15:agent/7 of ours"));
    assert!(stranger.said[48..].starts_with(b"-XY0001-"));
    let announces = wait_for("an announcement", || {
        let announces = tracker.announces(&torrent.info_hash);
        (!announces.is_empty()).then_some(announces)
    });
    let ids = announces.iter().filter_map(|seen| query(seen, "peer_id"));
    let plain = |id: String| percent_encoding::percent_decode_str(&id).collect::<Vec<u8>>();
    let ids: Vec<Vec<u8>> = ids.map(plain).collect();
    assert!(ids.iter().all(|id| id.starts_with(b"-XY0001-")), "{ids:?}");
}
