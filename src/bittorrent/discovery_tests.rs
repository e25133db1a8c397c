//! The search against small trackers on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

use super::discovery::{Discovery, DiscoverySpec, Found, SwarmCounts, SwarmFigures};
use super::handshake::PeerId;
use super::lpd_node::Lpd;
use super::swarm::Origin;
use super::tracker::udp_socket::UdpTrackers;
use crate::base::gid::Gid;
use crate::base::secret::Secret;
use crate::format::info_hash::InfoHash;
use crate::net::Net;
use crate::option::OptionSet;
use crate::option::bt_settings::BtSettings;

const PATIENCE: Duration = Duration::from_secs(60);
/// 10.0.0.1:6881, then an IPv6 one.
const PEERS: &[u8] = b"d8:completei3e10:incompletei4e8:intervali1800e12:min intervali1e5:peers6:\x0a\0\0\x01\x1a\xe15:extra1:xe";

/// The queries an HTTP tracker gets; it answers all with `answer`.
async fn http_tracker(
    ip: &str,
    port: u16,
    answer: &'static [u8],
    seen: &UnboundedSender<String>,
) -> u16 {
    tracker(ip, port, move |_| answer.to_vec(), seen).await
}

/// One that knows nobody, and says of how many only who asks for that (BEP 48).
async fn scraping_tracker(seen: &UnboundedSender<String>) -> u16 {
    let answer = |asked: &str| match asked.starts_with("GET /scrape?") {
        true => [
            b"d5:filesd20:",
            &[0xab; 20][..],
            b"d8:completei5e10:downloadedi9e10:incompletei6eeee",
        ]
        .concat(),
        false => b"d8:intervali1800e5:peers0:e".to_vec(),
    };
    tracker("127.0.0.1", 0, answer, seen).await
}

async fn tracker(
    ip: &str,
    port: u16,
    answer: impl Fn(&str) -> Vec<u8> + Copy + Send + 'static,
    seen: &UnboundedSender<String>,
) -> u16 {
    let listener = TcpListener::bind((ip, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let answer = answer(&head);
                let _ = seen.send(head);
                let status = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    answer.len()
                );
                let _ = socket
                    .write_all(&[status.as_bytes(), &answer].concat())
                    .await;
            });
        }
    });
    port
}

/// The events a UDP tracker is told.
async fn udp_tracker(seen: &UnboundedSender<String>) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let seen = seen.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let asked = &buffer[..len];
            let answer = match asked[8..12] {
                [0, 0, 0, 0] => [&asked[8..16], b"8 bytes!"].concat(),
                [0, 0, 0, 1] => {
                    assert_eq!(&asked[..8], b"8 bytes!");
                    let path = String::from_utf8_lossy(asked.get(100..).unwrap_or_default());
                    let _ = seen.send(format!("event={} {path}", asked[83]));
                    let counts = [0, 0, 7, 8, 0, 0, 0, 4, 0, 0, 0, 3];
                    [&asked[8..16], &counts, &[10, 0, 0, 2, 0, 80]].concat()
                }
                _ => continue,
            };
            let _ = socket.send_to(&answer, from).await;
        }
    });
    port
}

fn spec(tiers: &[&[&str]], change: impl FnOnce(&mut BtSettings)) -> DiscoverySpec {
    let mut settings = BtSettings::from(&OptionSet::new());
    settings.tracker.timeout = Duration::from_secs(30);
    change(&mut settings);
    let own = |tier: &&[&str]| tier.iter().map(|uri| (*uri).to_owned()).collect();
    DiscoverySpec {
        gid: Gid::new(1).unwrap(),
        info_hash: InfoHash([0xab; 20]),
        ours: PeerId(*b"A2-1-37-0-abcdefghij"),
        port: Some(6_881),
        tiers: tiers.iter().map(own).collect(),
        private: false,
        nodes: Vec::new(),
        settings,
        figures: Arc::new(SwarmFigures::default()),
        net: Net::new(),
        udp_trackers: UdpTrackers::new(Vec::new()),
        dht: None,
        lpd: None,
    }
}

async fn next<T>(inbox: &mut UnboundedReceiver<T>) -> T {
    timeout(PATIENCE, inbox.recv())
        .await
        .expect("in time")
        .expect("open")
}

async fn next_peers(inbox: &mut UnboundedReceiver<Found>) -> Vec<SocketAddr> {
    loop {
        if let Found::Peers(peers, origin) = next(inbox).await {
            assert_eq!(origin, Origin::Tracker);
            return peers;
        }
    }
}

#[tokio::test]
async fn an_http_tracker_hears_everything_in_time() {
    let (seen, mut asked) = mpsc::unbounded_channel();
    let port = http_tracker("127.0.0.1", 0, PEERS, &seen).await;
    let refusing = http_tracker("127.0.0.1", 0, b"d14:failure reason2:noe", &seen).await;
    let first = format!("http://127.0.0.1:{refusing}/announce");
    let (excluded, uri) = (
        "http://127.0.0.1:1/announce",
        format!("http://127.0.0.1:{port}/announce?key=1"),
    );
    let spec = spec(&[&[excluded], &[&first]], |settings| {
        settings.tracker.excluded = [excluded.into()].into();
        settings.tracker.added = [uri.as_str().into()].into();
        settings.tracker.external_ip = Some("1.2.3.4".to_owned());
        settings.require_crypto = true;
        settings.tracker.http.headers = ["X-Test: one".into()].into();
        settings.tracker.http.referer = Some("http://ref/".to_owned());
    });
    let figures = spec.figures.clone();
    let (found, mut inbox) = mpsc::unbounded_channel();
    let discovery = Discovery::start(spec, found);
    assert!(
        next(&mut asked).await.contains("event=started"),
        "the refusing one comes first"
    );
    let started = next(&mut asked).await;
    assert!(
        started.starts_with("GET /announce?key=1&info_hash=%AB"),
        "{started}"
    );
    for part in [
        "left=16384&",
        "port=6881&event=started&requirecrypto=1&ip=1%2E2%2E3%2E4",
        "user-agent: arioso/",
        "x-test: one",
        "referer: http://ref/",
    ] {
        assert!(
            started.to_lowercase().contains(&part.to_lowercase()),
            "{part}: {started}"
        );
    }
    assert!(matches!(
        next(&mut inbox).await,
        Found::Counts(SwarmCounts {
            seeders: Some(3),
            leechers: Some(4)
        })
    ));
    assert_eq!(
        next_peers(&mut inbox).await,
        ["10.0.0.1:6881".parse().unwrap()]
    );
    figures.left.store(0, Ordering::Relaxed);
    discovery.complete();
    let completed = next(&mut asked).await;
    assert!(completed.contains("&left=0&") && completed.contains("event=completed"));
    assert_eq!(next_peers(&mut inbox).await.len(), 1);
    discovery.stop(PATIENCE).await;
    let stopped = next(&mut asked).await;
    assert!(stopped.contains("numwant=0&") && stopped.contains("event=stopped"));
}

/// While a tracker takes its time to answer, the torrent is finished and an option changed that is
/// none of its business.
#[tokio::test]
async fn a_slow_tracker_is_told_everything_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/announce", listener.local_addr().unwrap());
    let spec = spec(&[&[&uri]], |_| {});
    let settings = spec.settings.tracker.clone();
    let (found, _inbox) = mpsc::unbounded_channel();
    let discovery = Discovery::start(spec, found);
    let asked = async || {
        let (mut socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        (socket, String::from_utf8_lossy(&head).into_owned())
    };
    let (mut slow, head) = asked().await;
    assert!(head.contains("event=started"), "{head}");
    discovery.complete();
    discovery.change_trackers(settings);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\nd8:completei1ee";
    slow.write_all(answer).await.unwrap();
    let (_socket, head) = asked().await;
    assert!(head.contains("event=completed"), "{head}");
}

#[tokio::test]
async fn who_names_no_counts_is_asked_for_them() {
    let (seen, mut asked) = mpsc::unbounded_channel();
    let port = scraping_tracker(&seen).await;
    let uri = format!("http://127.0.0.1:{port}/announce");
    let (found, mut inbox) = mpsc::unbounded_channel();
    let _discovery = Discovery::start(spec(&[&[&uri]], |_| {}), found);
    assert!(next(&mut asked).await.starts_with("GET /announce?"));
    assert!(
        next(&mut asked)
            .await
            .starts_with("GET /scrape?info_hash=%AB")
    );
    assert!(matches!(
        next(&mut inbox).await,
        Found::Counts(SwarmCounts {
            seeders: Some(5),
            leechers: Some(6)
        })
    ));
}

#[tokio::test]
async fn a_udp_tracker_hears_everything_in_time() {
    let (seen, mut asked) = mpsc::unbounded_channel();
    let port = udp_tracker(&seen).await;
    let uri = format!("udp://127.0.0.1:{port}/announce?x");
    let (found, mut inbox) = mpsc::unbounded_channel();
    let discovery = Discovery::start(spec(&[&[&uri]], |_| {}), found);
    assert_eq!(next(&mut asked).await, "event=2 /announce?x");
    assert_eq!(
        next_peers(&mut inbox).await,
        ["10.0.0.2:80".parse().unwrap()]
    );
    discovery.complete();
    assert_eq!(next(&mut asked).await, "event=1 /announce?x");
    discovery.stop(PATIENCE).await;
    assert_eq!(next(&mut asked).await, "event=3 /announce?x");
}

#[tokio::test]
async fn the_local_network_is_told_where_that_is_wanted_and_allowed() {
    for (wanted, private, told) in [
        (true, false, true),
        (false, false, false),
        (true, true, false),
    ] {
        let lpd = Lpd::mute();
        let mut spec = spec(&[], |settings| settings.local_discovery = wanted);
        spec.lpd = Some(lpd.clone());
        spec.private = private;
        let info_hash = spec.info_hash;
        let _discovery = Discovery::start(spec, mpsc::unbounded_channel().0);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(lpd.has_joined(info_hash), told, "{wanted} {private}");
    }
}

#[tokio::test]
async fn both_families_of_a_tracker_are_told() {
    let names = tokio::net::lookup_host(("localhost", 0)).await.unwrap();
    let (seen, mut asked) = mpsc::unbounded_channel();
    if names
        .map(|at| at.is_ipv4())
        .collect::<std::collections::HashSet<_>>()
        .len()
        < 2
    {
        println!("localhost has one family here: not tested");
        return;
    }
    let port = http_tracker("127.0.0.1", 0, PEERS, &seen).await;
    http_tracker("::1", port, PEERS, &seen).await;
    let uri = format!("http://localhost:{port}/announce");
    let (found, mut inbox) = mpsc::unbounded_channel();
    let discovery = Discovery::start(spec(&[&[&uri]], |_| {}), found);
    for _ in 0..2 {
        assert!(next(&mut asked).await.contains("event=started"));
        next_peers(&mut inbox).await;
    }
    discovery.stop(PATIENCE).await;
    for _ in 0..2 {
        assert!(next(&mut asked).await.contains("event=stopped"));
    }
}

#[tokio::test]
async fn nothing_passes_beside_a_socks_proxy() {
    let (seen, mut asked) = mpsc::unbounded_channel();
    let udp = format!("udp://127.0.0.1:{}/announce", udp_tracker(&seen).await);
    let http = http_tracker("127.0.0.1", 0, PEERS, &seen).await;
    let http = format!("http://127.0.0.1:{http}/announce");
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("socks5://{}", proxy.local_addr().unwrap());
    let spec = spec(&[&[&udp], &[&http]], |settings| {
        let proxies = &mut settings.tracker.http.proxies;
        proxies.all = Some(Secret::new(address.clone()));
        proxies.http = proxies.all.clone();
    });
    let (found, _inbox) = mpsc::unbounded_channel();
    let discovery = Discovery::start(spec, found);
    let (mut socket, _) = timeout(PATIENCE, proxy.accept()).await.unwrap().unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), 5, "the version of SOCKS");
    drop(discovery);
    assert!(asked.try_recv().is_err());
}
