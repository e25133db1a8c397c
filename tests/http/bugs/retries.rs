//! 16-24: who is asked again, when, and how often; and `retry-on-*`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::chain::{download, spawn};
use crate::origin::{Origin, Reply, Step, pattern};
use crate::program::{Home, wait_for};

const MIB: usize = 1 << 20;

#[test]
fn bug_16_a_refused_connection_of_eight_comes_back() {
    let data = pattern(40 * MIB);
    let body = data.clone();
    let origin = Origin::start(move |seen| match seen.number {
        3 => Reply::status("503 Busy"),
        _ => Reply::file(&body, seen, &[]).slowly(100_000, Duration::from_millis(60)),
    });
    download(&["-x8", "-s8"], &[&origin.url("/f")]).is_complete(&data);
    // The retry came on that connection or on one more.
    let seen = origin.seen();
    let again = seen
        .iter()
        .filter(|one| one.connection == seen[3].connection)
        .count();
    assert!(again >= 2 || origin.used_connection_count() > 8);
}

#[test]
fn bug_16_a_server_that_bears_two_connections_is_not_hammered() {
    let data = pattern(8 * MIB);
    let (body, open) = (data.clone(), Arc::new(AtomicUsize::new(0)));
    let origin = Origin::start_limited(2, open, move |seen| {
        Reply::file(&body, seen, &[]).slowly(100_000, Duration::from_millis(100))
    });
    let chain = download(&["-x8", "-s8", "--max-tries=3"], &[&origin.url("/f")]);
    chain.is_complete(&data);
    assert!(origin.seen().len() < 40, "{} requests", origin.seen().len());
}

#[test]
fn a_server_that_has_answered_once_only_gets_few_connections() {
    let body = pattern(64 * MIB);
    let origin = Origin::start(move |seen| match seen.number {
        0 => Reply::file(&body, seen, &[]).slowly(10_000, Duration::from_millis(50)),
        _ => Reply {
            steps: vec![Step::Stall],
        },
    });
    let home = Home::new();
    let args = ["-x16", "-s16", "--timeout=60", "--connect-timeout=60"];
    let mut child = spawn(&home, &args, &[&origin.url("/f")]);
    wait_for("the second step", || {
        (origin.seen().len() >= 4).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    let seen = origin.seen().len();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen, 4);
}

#[test]
fn bug_16_a_lasting_503_ends_at_max_tries() {
    let origin = Origin::start(|_| Reply::status("503 Busy"));
    let chain = download(&["--max-tries=3"], &[&origin.url("/f")]);
    chain.failed(29);
    assert_eq!(origin.seen().len(), 3);
    assert!(chain.took >= Duration::from_secs(2));
}

#[test]
fn bug_17_a_reset_in_the_tls_handshake_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("https://{}/f", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            seen.fetch_add(1, Ordering::Relaxed);
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    });
    let chain = download(&["--max-tries=3"], &[&uri]);
    assert!(chain.code > 0);
    assert!(count.load(Ordering::Relaxed) >= 3);
}

#[test]
fn bug_18_too_many_requests_waits_as_long_as_it_is_asked() {
    let data = pattern(1000);
    let body = data.clone();
    let origin = Origin::start(move |seen| match seen.number {
        0 => Reply::new(
            "429 Slow Down",
            &["Retry-After: 2", "Content-Length: 0"],
            b"",
        ),
        _ => Reply::file(&body, seen, &[]),
    });
    let chain = download(&["--retry-wait=0"], &[&origin.url("/f")]);
    chain.is_complete(&data);
    assert!(chain.took >= Duration::from_secs(2), "{:?}", chain.took);
}

#[test]
fn bug_19_a_front_that_lost_its_server_is_tried_again() {
    let data = pattern(1000);
    for status in ["500 Oops", "502 Bad", "520 Unknown", "521 Down", "524 Late"] {
        let body = data.clone();
        let origin = Origin::start(move |seen| match seen.number {
            0 => Reply::status(status),
            _ => Reply::file(&body, seen, &[]),
        });
        download(&["--retry-wait=0"], &[&origin.url("/f")]).is_complete(&data);
    }
}

#[test]
fn bug_20_a_missing_file_is_looked_for_as_often_as_it_is_said() {
    let origin = Origin::start(|_| Reply::status("404 Not Found"));
    let chain = download(&["--max-file-not-found=3"], &[&origin.url("/f")]);
    chain.failed(4);
    assert_eq!(origin.seen().len(), 3);
    assert!(chain.took >= Duration::from_secs(2));
    let origin = Origin::start(|_| Reply::status("404 Not Found"));
    download(&[], &[&origin.url("/f")]).failed(3);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn bug_21_a_connection_that_is_too_slow_is_made_anew() {
    let data = pattern(400_000);
    let body = data.clone();
    let origin = Origin::start(move |seen| {
        let reply = Reply::file(&body, seen, &[]);
        match seen.number {
            0 => reply.slowly(100, Duration::from_millis(100)),
            _ => reply,
        }
    });
    let chain = download(&["--lowest-speed-limit=10K"], &[&origin.url("/f")]);
    chain.is_complete(&data);
    assert!(chain.took < Duration::from_secs(20), "{:?}", chain.took);
}

#[test]
fn bug_22_a_slow_connection_does_not_hold_up_the_end() {
    let data = pattern(16 * MIB);
    let body = data.clone();
    // The second connection trickles; the others have 2 MB/s each.
    let origin = Origin::start(move |seen| {
        let reply = Reply::file(&body, seen, &[]);
        match seen.number {
            1 => reply.slowly(100, Duration::from_millis(100)),
            _ => reply.slowly(200_000, Duration::from_millis(100)),
        }
    });
    let began = Instant::now();
    download(&["-x8", "-s8"], &[&origin.url("/f")]).is_complete(&data);
    // Seven of 2 MB/s need 1.2 s.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(9), "{took:?}");
}

#[test]
fn bug_23_a_server_that_says_nothing_is_left_for_another() {
    let mute = Origin::start(|_| Reply::default().then(Step::Stall));
    let data = pattern(1000);
    let good = Origin::with_file(data.clone());
    let args = ["--timeout=1", "--connect-timeout=1", "--max-tries=1"];
    let chain = download(&args, &[&mute.url("/f"), &good.url("/f")]);
    chain.is_complete(&data);
    assert!(chain.took < Duration::from_secs(20), "{:?}", chain.took);
    download(&args, &[&mute.url("/f")]).failed(2);
}

#[test]
fn bug_24_an_expired_signed_url_is_asked_for_again() {
    let data = pattern(4 * MIB);
    for (status, changes) in [
        ("403 Forbidden", false),
        ("410 Gone", false),
        ("403 Forbidden", true),
    ] {
        let body = data.clone();
        let signed = Arc::new(AtomicUsize::new(0));
        let origin = Origin::start(move |seen| {
            if seen.path == "/f" {
                let number = signed.fetch_add(1, Ordering::Relaxed);
                return Reply::redirect(&format!("/signed?{number}"));
            }
            match (seen.path.as_str(), seen.number) {
                ("/signed?0", 1) => {
                    Reply::file(&body, seen, &["ETag: \"a\""]).cut(2 * MIB, Step::Close)
                }
                ("/signed?0", _) => Reply::status(status),
                _ if changes => Reply::file(&body, seen, &["ETag: \"b\""]),
                _ => Reply::file(&body, seen, &["ETag: \"a\""]),
            }
        });
        let chain = download(&["-x1", "-s1"], &[&origin.url("/f")]);
        if changes {
            assert!(chain.code > 0);
        } else {
            chain.is_complete(&data);
            let redirects = origin
                .seen()
                .iter()
                .filter(|seen| seen.path == "/f")
                .count();
            assert_eq!(redirects, 2);
        }
    }
}

#[test]
fn refusals_of_a_kind_are_tried_again_where_that_is_asked_for() {
    let data = pattern(1000);
    let kinds = [
        ("--retry-on-400", "400 Bad Request"),
        ("--retry-on-403", "403 Forbidden"),
        ("--retry-on-406", "406 Not Acceptable"),
        ("--retry-on-unknown", "418 Teapot"),
    ];
    for (option, status) in kinds {
        let refuses_once = || {
            let body = data.clone();
            Origin::start(move |seen| match seen.number {
                0 => Reply::status(status),
                _ => Reply::file(&body, seen, &[]),
            })
        };
        let origin = refuses_once();
        download(&["--retry-wait=0", option], &[&origin.url("/f")]).is_complete(&data);
        assert_eq!(origin.seen().len(), 2, "{option}");
        // The other three leave this kind alone.
        let others = kinds.map(|(other, _)| other);
        let others: Vec<&str> = others.into_iter().filter(|one| *one != option).collect();
        let origin = refuses_once();
        download(&others, &[&origin.url("/f")]).failed(22);
        assert_eq!(origin.seen().len(), 1, "without {option}");
    }
    // max-tries holds for them too.
    let origin = Origin::start(|_| Reply::status("403 Forbidden"));
    let args = ["--retry-on-403", "--retry-wait=0", "--max-tries=2"];
    download(&args, &[&origin.url("/f")]).failed(22);
    assert_eq!(origin.seen().len(), 2);
}
