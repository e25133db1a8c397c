//! What works: whole files, ranges, leases that shrink, connections that are used again, limits.

use std::io::Write as _;
use std::time::{Duration, Instant};

use arioso::base::units::Rate;
use arioso::source::Opening;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::origin::{Origin, Reply, Step, pattern};
use crate::rig::{Event, Rig, Setup, shrink};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_file_in_one_lease() {
    let data = pattern(3_000_000);
    let origin = Origin::with_file(data.clone());
    let mut rig = Rig::start(&origin.url("/f?q=1#frag"), Opening::Whole);
    let facts = rig.opened().await;
    assert_eq!(facts.identity.len, Some(3_000_000));
    assert_eq!((facts.body_from, facts.ranges), (Some(0), true));
    assert_eq!(facts.final_uri, origin.url("/f?q=1"));
    rig.fetch(0, 3_000_000);
    rig.idle().await;
    rig.close().await;
    rig.check(&data, &[(0, 3_000_000)]);
    let seen = origin.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].path, "/f?q=1");
    assert_eq!(seen[0].range(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_ask_for_their_ranges_over_one_connection() {
    let data = pattern(1_000_000);
    let origin = Origin::with_file(data.clone());
    let mut rig = Rig::start(&origin.url("/f"), Opening::Lease);
    let mut leases: Vec<_> = (0..10)
        .map(|n| (500_000 + n * 150_000) % 1_000_000)
        .map(|start| (start, start + 40_000))
        .collect();
    for (number, &(start, end)) in leases.iter().enumerate() {
        rig.fetch(start, end);
        if number == 0 {
            let facts = rig.opened().await;
            assert_eq!(facts.identity.len, Some(1_000_000));
            assert_eq!((facts.body_from, facts.ranges), (Some(500_000), true));
        }
        rig.idle().await;
        assert_eq!(origin.seen()[number].range(), Some((start, Some(end))));
    }
    rig.close().await;
    leases.sort();
    rig.check(&data, &leases);
    assert!(is_reused(&origin), "{}", origin.used_connection_count());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_source_finds_the_connection_of_an_earlier_one() {
    let origin = Origin::with_file(pattern(100_000));
    let net = Setup::default().net;
    for _ in 0..10 {
        let setup = Setup {
            net: net.clone(),
            ..Setup::default()
        };
        let mut rig = setup.start(&origin.url("/f"), Opening::Lease);
        rig.fetch(10, 50_000);
        rig.opened().await;
        rig.idle().await;
        rig.close().await;
    }
    assert!(is_reused(&origin), "{}", origin.used_connection_count());
}

/// Whether ten requests went over few connections. One is the rule, but on a busy machine a request
/// may come before its forerunner's connection is back in reqwest's pool.
fn is_reused(origin: &Origin) -> bool {
    origin.used_connection_count() < 5
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_body_goes_on_where_the_next_lease_begins() {
    let data = pattern(2_000_000);
    let origin = Origin::with_file(data.clone());
    let mut rig = Rig::start(&origin.url("/f"), Opening::Whole);
    rig.opened().await;
    for start in [0, 700_000, 1_400_000] {
        rig.fetch(start, (start + 700_000).min(2_000_000));
        rig.idle().await;
    }
    rig.close().await;
    rig.check(&data, &[(0, 2_000_000)]);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_shrinks_is_left_at_its_new_end() {
    let data = pattern(1_000_000);
    let body = data.clone();
    let origin = Origin::start(move |seen| {
        Reply::file(&body, seen, &[]).slowly(20_000, Duration::from_millis(10))
    });
    let mut rig = Rig::start(&origin.url("/f"), Opening::Whole);
    rig.opened().await;
    let end = rig.fetch(0, 1_000_000);
    rig.wrote().await;
    shrink(&end, 300_001);
    rig.idle().await;
    assert_eq!(rig.written_len(), 300_001);
    rig.check(&data, &[(0, 300_001)]);
    rig.fetch(900_000, 1_000_000);
    rig.idle().await;
    rig.check(&data, &[(0, 300_001), (900_000, 1_000_000)]);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_keeps_every_byte_that_came() {
    let data = pattern(1_000_000);
    let body = data.clone();
    let origin = Origin::start(move |seen| Reply::file(&body, seen, &[]).cut(123_457, Step::Stall));
    let mut rig = Rig::start(&origin.url("/f"), Opening::Whole);
    rig.opened().await;
    rig.fetch(0, 1_000_000);
    while rig.written_len() < 100_000 {
        rig.wrote().await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.close().await;
    rig.check(&data, &[(0, 123_457)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_asks_for_the_rest_only() {
    let data = pattern(500_000);
    let body = data.clone();
    let origin = Origin::start(move |seen| Reply::file(&body, seen, &["ETag: \"a\""]));
    let setup = Setup::expecting(500_000, Some("\"a\""));
    let mut rig = setup.start(&origin.url("/f"), Opening::From(200_000));
    let facts = rig.opened().await;
    assert_eq!((facts.body_from, facts.ranges), (Some(200_000), true));
    rig.fetch(200_000, 500_000);
    rig.idle().await;
    rig.close().await;
    rig.check(&data, &[(200_000, 500_000)]);
    let seen = origin.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("range"), Some("bytes=200000-"));
    assert_eq!(seen[0].header("if-range"), Some("\"a\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_a_complete_file_learns_so() {
    let origin = Origin::with_file(pattern(1000));
    let mut rig = Rig::start(&origin.url("/f"), Opening::From(1000));
    let facts = rig.opened().await;
    assert_eq!((facts.identity.len, facts.body_from), (Some(1000), None));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_asks_by_head_and_by_get_where_there_is_no_head() {
    let origin = Origin::start(|seen| match (seen.path.as_str(), seen.method.as_str()) {
        ("/old", "HEAD") => Reply::status("501 Not Implemented"),
        _ => Reply::file(&pattern(100), seen, &[]),
    });
    for path in ["/new", "/old"] {
        let mut rig = Rig::start(&origin.url(path), Opening::Probe);
        assert_eq!(rig.opened().await.identity.len, Some(100));
        assert!(matches!(rig.next().await, Event::Closed(Ok(()))));
    }
    let methods: Vec<_> = origin.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["HEAD", "HEAD", "GET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_length_ends_where_the_body_does() {
    let chunked = Reply::new(
        "200 OK",
        &["Transfer-Encoding: chunked", "Content-Length: 3"],
        b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
    );
    let until_close = Reply::new("200 OK", &[], b"hello world").then(Step::Close);
    let old = Reply {
        steps: vec![
            Step::Send(b"HTTP/1.0 200 OK\r\n\r\nhello world".to_vec()),
            Step::Close,
        ],
    };
    for reply in [chunked, until_close, old] {
        let origin = Origin::start(move |_| reply.clone());
        let setup = Setup {
            file_len: None,
            ..Setup::default()
        };
        let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
        let facts = rig.opened().await;
        assert_eq!((facts.identity.len, facts.ranges), (None, false));
        rig.fetch(0, u64::MAX);
        assert!(matches!(rig.next().await, Event::Ended(11)));
        rig.close().await;
        assert_eq!(rig.bytes(), b"hello world");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_a_file() {
    let origin = Origin::with_file(Vec::new());
    for end in [0, u64::MAX] {
        let mut rig = Rig::start(&origin.url("/f"), Opening::Whole);
        assert_eq!(rig.opened().await.identity.len, Some(0));
        rig.fetch(0, end);
        assert!(matches!(rig.next().await, Event::Idle | Event::Ended(0)));
        rig.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_decoded_where_that_was_asked_for() {
    let data = pattern(300_000).repeat(3);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&data).unwrap();
    zlib.write_all(&data).unwrap();
    bare.write_all(&data).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut members = Vec::new();
    for part in data.chunks(500_000) {
        let mut member = GzEncoder::new(Vec::new(), Compression::fast());
        member.write_all(part).unwrap();
        members.extend(member.finish().unwrap());
    }
    for (coding, body) in [
        ("gzip", [&gzip[..], &[0; 512]].concat()),
        ("gzip", [&gzip[..], b"no gzip"].concat()),
        ("gzip", gzip),
        ("gzip", members),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
    ] {
        let sent = body.clone();
        let origin = Origin::start(move |seen| {
            Reply::file(&sent, seen, &[&format!("Content-Encoding: {coding}")])
        });
        let mut setup = Setup {
            file_len: None,
            ..Setup::default()
        };
        setup.settings.accept_gzip = true;
        let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
        let facts = rig.opened().await;
        assert_eq!((facts.identity.len, facts.ranges), (None, false));
        rig.fetch(0, u64::MAX);
        assert!(matches!(rig.next().await, Event::Ended(900_000)));
        rig.close().await;
        assert!(rig.bytes() == data);

        let mut raw = Rig::start(&origin.url("/f"), Opening::Whole);
        let facts = raw.opened().await;
        assert_eq!(facts.identity.len, Some(body.len() as u64));
        assert!(!facts.ranges);
        raw.fetch(0, body.len() as u64);
        raw.idle().await;
        raw.close().await;
        raw.check(&body, &[(0, body.len() as u64)]);
    }
}

/// Where the end of the connection is all that ends a body, its coding has to say that it is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_that_ends_too_early_is_not_whole() {
    let data = pattern(100_000);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&data).unwrap();
    zlib.write_all(&data).unwrap();
    bare.write_all(&data).unwrap();
    for (coding, body) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", bare.finish().unwrap()),
    ] {
        let coding = format!("Content-Encoding: {coding}");
        let sent = body[..body.len() / 2].to_vec();
        let origin = Origin::start(move |_| {
            Reply::new("200 OK", &[&coding, "Connection: close"], &sent).then(Step::Close)
        });
        let mut setup = Setup {
            file_len: None,
            ..Setup::default()
        };
        setup.settings.accept_gzip = true;
        let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
        rig.opened().await;
        rig.fetch(0, u64::MAX);
        assert!(matches!(rig.next().await, Event::Closed(Err(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_holds_and_can_be_lifted() {
    let data = pattern(4_000_000);
    let origin = Origin::with_file(data.clone());
    let setup = Setup {
        rate: Rate(1_000_000),
        ..Setup::default()
    };
    let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
    rig.opened().await;
    let start = Instant::now();
    rig.fetch(0, 4_000_000);
    while start.elapsed() < Duration::from_millis(1500) {
        rig.wrote().await;
    }
    let rate = rig.written_len() as f64 / start.elapsed().as_secs_f64();
    assert!((400_000.0..1_400_000.0).contains(&rate), "{rate}");
    let lifted = Instant::now();
    rig.branch.set(Rate::UNLIMITED, Rate::UNLIMITED);
    rig.idle().await;
    // At the old rate the rest would take 2.5 s.
    assert!(lifted.elapsed() < Duration::from_secs(2));
    rig.close().await;
    rig.check(&data, &[(0, 4_000_000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_that_has_not_changed() {
    let origin = Origin::start(|_| Reply::new("304 Not Modified", &["ETag: \"x\""], b""));
    let setup = Setup {
        modified_since: Some(784_111_777),
        ..Setup::default()
    };
    let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
    assert!(rig.opened().await.not_modified);
    rig.close().await;
    assert_eq!(
        origin.seen()[0].header("if-modified-since"),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_headers_are_tolerated() {
    let origin = Origin::start(|_| {
        let headers = [
            "Content-Length: 5",
            "X-Empty:",
            "no colon at all",
            "X-Space : y",
            "Content-Disposition: attachment; filename=\"a.zip\";",
        ];
        Reply::new("200 OK", &headers, b"hello")
    });
    let mut rig = Rig::start(&origin.url("/f"), Opening::Whole);
    assert_eq!(rig.opened().await.name.as_deref(), Some("a.zip"));
    rig.fetch(0, 5);
    rig.idle().await;
    rig.close().await;
    rig.check(b"hello", &[(0, 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_no_bytes_has_no_coding_either() {
    for coding in ["gzip", "deflate"] {
        let coding = format!("Content-Encoding: {coding}");
        let origin =
            Origin::start(move |_| Reply::new("200 OK", &[&coding, "Content-Length: 0"], &[]));
        let mut setup = Setup {
            file_len: None,
            ..Setup::default()
        };
        setup.settings.accept_gzip = true;
        let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
        rig.opened().await;
        rig.fetch(0, u64::MAX);
        assert!(matches!(rig.next().await, Event::Ended(0)));
        rig.close().await;
    }
}
