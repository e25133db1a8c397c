//! Which trackers are asked, and what they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use arioso::AddRequest;
use arioso::engine::Download;
use rustls::version::TLS13;
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::origin::{Origin, Reply, pattern};
use crate::program::{free_port, wait_for};
use crate::rig::{LEN, Node, Torrent, Tracker, bencode, id, leech, one_file, query, unhex};
use crate::running::Program;
use crate::tls_front::{TlsFront, tls_file};

#[test]
fn the_user_says_which_trackers_are_asked() {
    let [named, more] = [(); 2].map(|()| Tracker::start());
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[named.uri()], &[]);
    for excluded in [named.uri(), "*".to_owned()] {
        let node = Node::start(&[]);
        let request = leech(&torrent).with(id("bt-exclude-tracker"), excluded);
        node.add(request.with(id("bt-tracker"), more.uri()));
        wait_for("the tracker that was added", || {
            more.knows(node.port).then_some(())
        });
        assert!(!named.knows(node.port));
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

/// A listener whose queue is full: whoever else dials it hears nothing, not even a refusal.
fn deaf() -> (SocketAddr, Socket, Vec<TcpStream>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let dial = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
    let queue = std::iter::from_fn(dial).collect();
    (address, listener, queue)
}

#[test]
fn a_tracker_that_cannot_be_dialled_is_not_waited_for() {
    let deaf = deaf();
    let tracker = Tracker::start();
    // Two of them: 60 seconds for each, as without the option, are more than the test has.
    let [one, other] = ["one", "other"].map(|path| format!("http://{}/{path}", deaf.0));
    let trackers = [one, other, tracker.uri()];
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &trackers, &[]);
    let program = Program::start(&[
        "--bt-tracker-connect-timeout=1",
        "--bt-tracker-timeout=600",
        "--connect-timeout=600",
    ]);
    program.add(&torrent, json!({}));
    wait_for("the tracker that can be", || {
        tracker.knows(program.port).then_some(())
    });
}

#[test]
fn a_tracker_of_https_is_asked_where_its_authority_is_trusted() {
    let [tracker, next] = [(); 2].map(|()| Tracker::start());
    let front = TlsFront::start(tracker.address(), "server.pem", &TLS13);
    let uri = format!("https://localhost:{}/announce", front.address.port());
    let trackers = [uri, next.uri()];
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &trackers, &[]);
    let seed = Node::start(&[]);
    let plain = tracker.uri();
    let options = [("bt-exclude-tracker", "*"), ("bt-tracker", &plain)];
    seed.seed(&torrent, &options);
    wait_for("the seed", || tracker.knows(seed.port).then_some(()));

    let doubting = Program::start(&[]);
    doubting.add(&torrent, json!({}));
    // It is asked because nothing came of the first one.
    wait_for("the next tracker", || {
        next.knows(doubting.port).then_some(())
    });
    assert_eq!(front.names(), Vec::<String>::new());
    assert!(!tracker.knows(doubting.port));

    let authority = format!("--ca-certificate={}", tls_file("authority.pem").display());
    let trusting = Program::start(&[&authority]);
    let gid = trusting.add(&torrent, json!({}));
    trusting.finish(&gid, &torrent);
    assert!(tracker.knows(trusting.port));
    assert_eq!(front.names()[0], "localhost");
}

#[test]
fn the_counts_of_a_swarm_are_asked_for_where_the_answer_has_none() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let info_hash = unhex(&torrent.info_hash);
    let tracker = Origin::start(move |seen| {
        let is_scrape = seen.path.starts_with("/scrape?");
        let answer = bencode(|answer| {
            answer.dict(|dict| {
                if !is_scrape {
                    dict.bytes("interval").int(1800);
                    return;
                }
                dict.bytes("files").dict(|files| {
                    files.bytes(&info_hash).dict(|counts| {
                        counts.bytes("complete").int(7);
                        counts.bytes("downloaded").int(9);
                        counts.bytes("incomplete").int(5);
                    });
                });
            });
        });
        Reply::file(&answer, seen, &[])
    });
    let program = Program::start(&[]);
    let gid = program.add(&torrent, json!({"bt-tracker": tracker.url("/announce")}));
    let counts = json!({"swarmSeeders": "7", "swarmLeechers": "5"});
    wait_for("the counts", || {
        let keys = json!([gid, ["swarmSeeders", "swarmLeechers"]]);
        let status = program.server.call("aria2.tellStatus", keys);
        (status == counts).then_some(())
    });
    // They are told to those who ask for them.
    let status = program.server.call("aria2.tellStatus", json!([gid]));
    assert_eq!(status["swarmSeeders"], json!(null));
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

/// An HTTP proxy that lets everybody through to `server`, whoever they ask for; its URI, and the
/// first lines of what it was asked.
fn tunnel_to(server: SocketAddr) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let lines = asked.clone();
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let lines = lines.clone();
            // Whoever hangs up ends it.
            thread::spawn(move || tunnel(client, server, &lines));
        }
    });
    (uri, asked)
}

fn tunnel(mut client: TcpStream, server: SocketAddr, lines: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head);
    lines
        .lock()
        .unwrap()
        .extend(head.lines().next().map(str::to_owned));
    client.write_all(b"HTTP/1.1 200 Yes\r\n\r\n")?;
    let mut server = TcpStream::connect(server)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from_client, &mut to_server));
    io::copy(&mut server, &mut client).map(drop)
}

#[test]
fn trackers_are_asked_through_a_tunnel_as_mirrors_are() {
    for (scheme, method) in [("http", "tunnel"), ("https", "get"), ("https", "tunnel")] {
        let tracker = Tracker::start();
        let (proxy, asked) = tunnel_to(tracker.address());
        let announce = format!("{scheme}://tracker.invalid:81/announce");
        let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[announce], &[]);
        let node = Node::start(&[]);
        let request = leech(&torrent).with(id("all-proxy"), proxy);
        node.add(request.with(id("proxy-method"), method));
        let first = || asked.lock().unwrap().first().cloned();
        assert_eq!(
            wait_for("the proxy", first),
            "CONNECT tracker.invalid:81 HTTP/1.1",
            "{scheme} {method}"
        );
        // The tracker has no TLS.
        if scheme == "http" {
            wait_for("the tracker", || tracker.events().pop());
        }
    }
}
