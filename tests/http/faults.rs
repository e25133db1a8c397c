//! Servers that break off, stall, lie or refuse.

use std::time::{Duration, Instant};

use arioso::base::error::{ErrorCode, Retry};
use arioso::base::units::Rate;
use arioso::source::Opening;

use crate::origin::{Origin, Reply, Step, pattern};
use crate::rig::{Rig, Setup};

const AT_ONCE: Retry = Retry::After(Duration::ZERO);

fn impatient() -> Setup {
    let mut setup = Setup::default();
    setup.settings.connection.timeout = Duration::from_secs(1);
    setup.settings.connection.connect_timeout = Duration::from_secs(1);
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_early_keeps_what_came() {
    let data = pattern(400_000);
    for step in [Step::Close, Step::Reset] {
        let reset = matches!(step, Step::Reset);
        let body = data.clone();
        let origin = Origin::start(move |seen| {
            let pause = Step::Pause(Duration::from_millis(300));
            let reply = Reply::file(&body, seen, &[]).cut(200_000, pause);
            reply.then(step.clone())
        });
        let mut rig = Rig::start(&origin.url("/f"), Opening::Lease);
        rig.fetch(100_000, 400_000);
        rig.opened().await;
        let failure = rig.failure().await;
        assert_eq!((failure.code, failure.retry), (ErrorCode::Unknown, AT_ONCE));
        assert!(!failure.message.is_empty(), "{reset}");
        rig.check(&data, &[(100_000, 300_000)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_in_a_timeout_wherever_it_begins() {
    let data = pattern(100_000);
    let body = data.clone();
    let origin = Origin::start(move |seen| match seen.path.as_str() {
        "/mute" => Reply::default().then(Step::Stall),
        "/trickle" => {
            let mut reply = Reply::default().then(Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()));
            for _ in 0..100 {
                reply = reply.then(Step::Send(b"X: y\r\n".to_vec()));
                reply = reply.then(Step::Pause(Duration::from_millis(100)));
            }
            reply
        }
        _ => Reply::file(&body, seen, &[]).cut(5_000, Step::Stall),
    });
    for path in ["/mute", "/trickle"] {
        let start = Instant::now();
        let mut rig = impatient().start(&origin.url(path), Opening::Whole);
        let failure = rig.failure().await;
        assert_eq!((failure.code, failure.retry), (ErrorCode::Timeout, AT_ONCE));
        assert!(start.elapsed() < Duration::from_secs(8), "{path}");
    }
    let mut rig = impatient().start(&origin.url("/stall"), Opening::Whole);
    rig.opened().await;
    rig.fetch(0, 100_000);
    let failure = rig.failure().await;
    assert_eq!((failure.code, failure.retry), (ErrorCode::Timeout, AT_ONCE));
    rig.check(&data, &[(0, 5_000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_said_so() {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut rig = Rig::start(&format!("http://{address}/f"), Opening::Whole);
    let failure = rig.failure().await;
    assert_eq!((failure.code, failure.retry), (ErrorCode::Unknown, AT_ONCE));
    assert_eq!(
        failure.message,
        "Failed to establish connection, cause: Connection refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_said_so() {
    let mut rig = Rig::start("http://host.invalid/f", Opening::Whole);
    let failure = rig.failure().await;
    assert_eq!(failure.code, ErrorCode::NameResolution);
    assert!(
        failure
            .message
            .starts_with("Name resolution for host.invalid failed:")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_tls_may_be_tried_again() {
    for step in [Step::Reset, Step::Close] {
        // The script answers the first line it reads of the TLS hello, whatever that is.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reset = matches!(step, Step::Reset);
        std::thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            if reset {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        });
        let mut rig = Rig::start(&format!("https://{address}/f"), Opening::Whole);
        let failure = rig.failure().await;
        assert_eq!((failure.code, failure.retry), (ErrorCode::Unknown, AT_ONCE));
        let text = &failure.message;
        assert!(
            text.starts_with("Failed to establish connection, cause: "),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unproven_range_is_never_written() {
    let data = pattern(1000);
    for (status, headers, code) in [
        (
            "206 Partial Content",
            vec!["Content-Range: bytes 99-499/1000", "Content-Length: 400"],
            22,
        ),
        ("206 Partial Content", vec!["Content-Length: 400"], 22),
        (
            "206 Partial Content",
            vec!["Transfer-Encoding: chunked"],
            22,
        ),
        (
            "206 Partial Content",
            vec!["Content-Range: bytes 100-499/999", "Content-Length: 400"],
            8,
        ),
        ("200 OK", vec!["Content-Length: 999"], 8),
        ("200 OK", vec!["Transfer-Encoding: chunked"], 1),
        ("204 No Content", vec![], 22),
        ("200 OK", vec!["Content-Length: 9223372036854775807"], 22),
        ("200 OK", vec!["Content-Length: -5"], 22),
        (
            "200 OK",
            vec!["Content-Length: 99999999999999999999999999"],
            22,
        ),
    ] {
        let body = data.clone();
        let shown = format!("{status} {headers:?}");
        let origin = Origin::start(move |_| Reply::new(status, &headers, &body[..400]));
        let mut rig = Setup::expecting(1000, None).start(&origin.url("/f"), Opening::Lease);
        rig.fetch(100, 500);
        let failure = rig.failure().await;
        assert_eq!(failure.code.code(), code, "{shown}: {failure}");
        assert_eq!(rig.written_len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_file_in_answer_to_a_range_is_told_and_not_spliced() {
    let data = pattern(1000);
    let body = data.clone();
    let origin = Origin::start(move |_| Reply::new("200 OK", &["Content-Length: 1000"], &body));
    let mut rig = Rig::start(&origin.url("/f"), Opening::Lease);
    rig.fetch(100, 500);
    let facts = rig.opened().await;
    assert_eq!((facts.ranges, facts.body_from), (false, Some(0)));
    assert_eq!(rig.failure().await.code, ErrorCode::CannotResume);
    assert_eq!(rig.written_len(), 0);

    let mut from = Rig::start(&origin.url("/f"), Opening::From(100));
    let facts = from.opened().await;
    assert_eq!((facts.ranges, facts.body_from), (false, Some(0)));
    from.fetch(0, 1000);
    from.idle().await;
    from.close().await;
    from.check(&data, &[(0, 1000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_longer_or_shorter_than_asked_for_is_good() {
    let data = pattern(1000);
    let body = data.clone();
    let origin = Origin::start(move |seen| {
        let (start, _) = seen.range().unwrap();
        let (end, total) = match seen.path.as_str() {
            "/long" => (1000, "1000"),
            "/short" => ((start + 50).min(1000), "1000"),
            _ => (1000, "*"),
        };
        let range = format!("Content-Range: bytes {start}-{}/{total}", end - 1);
        let len = format!("Content-Length: {}", end - start);
        let body = &body[start as usize..end as usize];
        Reply::new("206 Partial Content", &[&range, &len], body)
    });
    for path in ["/long", "/short", "/star"] {
        let setup = Setup::expecting(1000, None);
        let mut rig = setup.start(&origin.url(path), Opening::Lease);
        rig.fetch(100, 500);
        rig.opened().await;
        rig.idle().await;
        rig.close().await;
        rig.check(&data, &[(100, 500)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_whether_to_come_back() {
    let origin = Origin::start(|seen| match seen.path.as_str() {
        "/404" => Reply::status("404 Not Found"),
        "/401" => Reply::status("401 Unauthorized"),
        "/429" => Reply::new(
            "429 Slow Down",
            &["Retry-After: 3", "Content-Length: 0"],
            b"",
        ),
        "/500" => Reply::status("500 Oops"),
        "/503" => Reply::status("503 Busy"),
        "/521" => Reply::status("521 Down"),
        _ => Reply::status("403 Forbidden"),
    });
    for (path, code, retry) in [
        ("/404", ErrorCode::ResourceNotFound, Retry::OtherMirror),
        ("/401", ErrorCode::HttpAuthFailed, Retry::OtherMirror),
        (
            "/429",
            ErrorCode::HttpProtocol,
            Retry::After(Duration::from_secs(3)),
        ),
        ("/500", ErrorCode::HttpProtocol, AT_ONCE),
        ("/503", ErrorCode::HttpServiceUnavailable, AT_ONCE),
        ("/521", ErrorCode::HttpProtocol, AT_ONCE),
        ("/403", ErrorCode::HttpProtocol, Retry::OtherMirror),
    ] {
        let failure = Rig::start(&origin.url(path), Opening::Whole)
            .failure()
            .await;
        assert_eq!((failure.code, failure.retry), (code, retry), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_http_is_an_honest_failure() {
    for garbage in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let sent = garbage.to_vec();
        let origin = Origin::start(move |_| {
            let reply = Reply::default().then(Step::Send(sent.clone()));
            reply.then(Step::Close)
        });
        let setup = Setup {
            file_len: None,
            ..Setup::default()
        };
        let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
        rig.fetch(0, u64::MAX);
        loop {
            match rig.next().await {
                crate::rig::Event::Opened(_) => {}
                crate::rig::Event::Closed(Err(_)) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(rig.written_len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_left_after_its_grace() {
    let data = pattern(1_000_000);
    let origin = Origin::start(move |seen| {
        Reply::file(&data, seen, &[]).slowly(100, Duration::from_millis(100))
    });
    let mut setup = Setup::default();
    setup.settings.lowest_speed = Rate(10_000);
    let start = Instant::now();
    let mut rig = setup.start(&origin.url("/f"), Opening::Whole);
    rig.opened().await;
    rig.fetch(0, 1_000_000);
    let failure = rig.failure().await;
    assert_eq!((failure.code, failure.retry), (ErrorCode::TooSlow, AT_ONCE));
    let seconds = start.elapsed().as_secs_f64();
    assert!((9.5..40.0).contains(&seconds), "{seconds}");
    assert!(rig.written_len() > 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_works_in_every_wait() {
    let origin = Origin::start(|seen| match seen.path.as_str() {
        "/mute" => Reply::default().then(Step::Stall),
        _ => Reply::file(&pattern(1000), seen, &[]).cut(0, Step::Stall),
    });
    for path in ["/mute", "/stall"] {
        let mut rig = Rig::start(&origin.url(path), Opening::Whole);
        if path == "/stall" {
            rig.opened().await;
            rig.fetch(0, 1000);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        rig.close().await;
        assert!(start.elapsed() < Duration::from_secs(10), "{path}");
    }
}
