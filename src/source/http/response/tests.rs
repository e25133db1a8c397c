//! Pure: tables of responses and what they mean.

use super::*;
use crate::option::OptionSet;
use crate::source::http::request::RangeAsk;
use proptest::prelude::*;

fn settings() -> HttpSettings {
    HttpSettings::from(&OptionSet::new())
}

fn whole() -> Ask {
    Ask::default()
}

fn range(start: u64, end: Option<u64>) -> Ask {
    Ask {
        range: Some(RangeAsk { start, end }),
        ..Ask::default()
    }
}

fn map(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(
            HeaderName::from_bytes(name.trim().as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    headers
}

fn read_with(
    status: u16,
    headers: &str,
    ask: &Ask,
    expect: &Identity,
    settings: &HttpSettings,
) -> Result<Answer, Failure> {
    Head {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &map(headers),
        ask,
        settings,
        expect,
        server: None,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
    }
    .read()
}

fn read(status: u16, headers: &str, ask: &Ask) -> Result<Answer, Failure> {
    read_with(status, headers, ask, &Identity::default(), &settings())
}

fn found(status: u16, headers: &str, ask: &Ask) -> Found {
    match read(status, headers, ask) {
        Ok(Answer::Found(found)) => *found,
        other => panic!("{status} {headers}: {other:?}"),
    }
}

fn refused(status: u16, headers: &str, ask: &Ask) -> Failure {
    read(status, headers, ask).unwrap_err()
}

fn len(len: u64) -> Identity {
    Identity {
        len: Some(len),
        ..Identity::default()
    }
}

#[test]
fn a_whole_file_says_all_there_is_to_know() {
    let headers = "Content-Length: 10\nETag: W/\"x\"\n\
        Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nContent-Type: Text/HTML; charset=x\n\
        Content-Disposition: attachment; filename=f";
    let found = found(200, headers, &whole());
    assert_eq!(found.body_end, Some(10));
    let facts = found.facts;
    assert_eq!(facts.identity.len, Some(10));
    assert_eq!(facts.identity.etag.as_deref(), Some("W/\"x\""));
    assert_eq!(facts.modified, Some(784_111_777));
    assert_eq!(facts.content_type.as_deref(), Some("text/html"));
    assert_eq!(facts.name.as_deref(), Some("f"));
    assert_eq!((facts.body_from, facts.ranges), (Some(0), true));
}

#[test]
fn when_ranges_may_be_asked_for() {
    for (headers, ranges) in [
        ("Content-Length: 10", true),
        ("Content-Length: 10\nAccept-Ranges: bytes", true),
        ("Content-Length: 10\nAccept-Ranges: none", false),
        ("Content-Length: 10\nContent-Encoding: gzip", false),
        ("Content-Length: 10\nContent-Encoding: identity", true),
        ("Content-Type: a/b", false),
        ("Transfer-Encoding: chunked", false),
    ] {
        assert_eq!(
            found(200, headers, &whole()).facts.ranges,
            ranges,
            "{headers}"
        );
    }
    let ignored = found(200, "Content-Length: 10", &range(5, None)).facts;
    assert_eq!((ignored.ranges, ignored.body_from), (false, Some(0)));
}

#[test]
fn a_part_is_taken_if_its_start_is_right() {
    for (headers, ask, end, total) in [
        (
            "Content-Range: bytes 5-9/10",
            range(5, Some(10)),
            Some(10),
            Some(10),
        ),
        (
            "Content-Range: bytes 5-9/*",
            range(5, Some(8)),
            Some(10),
            None,
        ),
        (
            "Content-Range: bytes 5-99/100",
            range(5, Some(8)),
            Some(100),
            Some(100),
        ),
        (
            "Content-Range: bytes 5-6/100",
            range(5, Some(8)),
            Some(7),
            Some(100),
        ),
        (
            "Content-Range: bytes 5-9/10\nContent-Length: 2",
            range(5, None),
            Some(7),
            Some(10),
        ),
        ("Content-Range: bytes 0-9/10", whole(), Some(10), Some(10)),
        ("Content-Length: 10", whole(), Some(10), Some(10)),
        ("Transfer-Encoding: chunked", whole(), None, None),
        (
            "Transfer-Encoding: chunked\nContent-Range: bytes 5-9/10",
            range(5, None),
            Some(10),
            Some(10),
        ),
    ] {
        let found = found(206, headers, &ask);
        assert_eq!(found.body_end, end, "{headers}");
        assert_eq!(found.facts.identity.len, total, "{headers}");
        assert_eq!(
            found.facts.body_from,
            Some(ask.range.map_or(0, |r| r.start))
        );
    }
}

#[test]
fn an_unproven_part_is_refused() {
    for (headers, ask, retry) in [
        (
            "Content-Range: bytes 4-9/10",
            range(5, None),
            Retry::OtherMirror,
        ),
        ("Content-Range: bytes 5-9/10", whole(), Retry::OtherMirror),
        (
            "Content-Length: 5",
            range(5, None),
            Retry::After(Duration::ZERO),
        ),
        (
            "Transfer-Encoding: chunked",
            range(5, None),
            Retry::After(Duration::ZERO),
        ),
        (
            "Content-Range: bytes 5-9/7",
            range(5, None),
            Retry::After(Duration::ZERO),
        ),
        (
            "Content-Range: bytes */10",
            range(5, None),
            Retry::After(Duration::ZERO),
        ),
        (
            "Content-Type: multipart/byteranges",
            range(5, None),
            Retry::After(Duration::ZERO),
        ),
    ] {
        let failure = refused(206, headers, &ask);
        assert_eq!(
            (failure.code, failure.retry),
            (ErrorCode::HttpProtocol, retry),
            "{headers}"
        );
    }
    let encoded = "Content-Encoding: gzip\nContent-Range: bytes 5-9/10";
    assert_eq!(
        refused(206, encoded, &range(5, None)).code,
        ErrorCode::CannotResume
    );
}

#[test]
fn impossible_lengths_fail_honestly() {
    for value in [
        "-5",
        "9223372036854775807",
        "18446744073709551615",
        "1e3",
        "5, 6",
        "+5",
        "0x10",
    ] {
        let failure = refused(200, &format!("Content-Length: {value}"), &whole());
        assert_eq!(failure.code, ErrorCode::HttpProtocol, "{value}");
    }
    assert_eq!(
        found(200, "Content-Length: 5, 5", &whole()).body_end,
        Some(5)
    );
    let both = "Content-Length: 5\nTransfer-Encoding: chunked";
    assert_eq!(found(200, both, &whole()).body_end, None);
    let odd = "Transfer-Encoding: gzip, chunked";
    assert_eq!(refused(200, odd, &whole()).code, ErrorCode::HttpProtocol);
}

#[test]
fn gzip_is_decoded_where_it_was_asked_for() {
    let mut settings = settings();
    let headers = "Content-Encoding: gzip\nContent-Length: 10";
    let read = |settings: &HttpSettings| {
        let answer = read_with(200, headers, &whole(), &Identity::default(), settings);
        match answer {
            Ok(Answer::Found(found)) => (found.coding, found.body_end, found.facts.ranges),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(&settings), (Coding::Identity, Some(10), false));
    settings.accept_gzip = true;
    assert_eq!(read(&settings), (Coding::Gzip, None, false));
}

#[test]
fn the_file_has_to_be_the_same() {
    let expect = Identity {
        len: Some(10),
        etag: Some("\"a\"".to_owned()),
        last_modified: Some("Mon".to_owned()),
        ..Identity::default()
    };
    for (headers, ok) in [
        ("Content-Length: 10", true),
        ("Content-Length: 10\nETag: \"a\"", true),
        (
            "Content-Length: 10\nETag: W/\"a\"\nLast-Modified: Tue",
            true,
        ),
        ("Transfer-Encoding: chunked\nETag: \"a\"", true),
        ("Content-Length: 11", false),
        ("Content-Length: 10\nETag: \"b\"", false),
        ("Content-Length: 10\nLast-Modified: Tue", false),
        ("Transfer-Encoding: chunked", false),
    ] {
        let read = read_with(200, headers, &whole(), &expect, &settings());
        assert_eq!(read.is_ok(), ok, "{headers}");
    }
    for (headers, ok) in [
        ("Content-Range: bytes 5-9/*", true),
        ("Content-Range: bytes 5-9/11", false),
        ("Content-Range: bytes 5-9/10\nETag: \"b\"", false),
    ] {
        let read = read_with(206, headers, &range(5, None), &expect, &settings());
        assert_eq!(read.is_ok(), ok, "{headers}");
    }
}

#[test]
fn statuses_and_what_follows_them() {
    let now = Retry::After(Duration::ZERO);
    for (status, code, retry) in [
        (204, 22, Retry::OtherMirror),
        (304, 22, Retry::OtherMirror),
        (301, 22, Retry::OtherMirror),
        (400, 22, Retry::OtherMirror),
        (403, 22, Retry::OtherMirror),
        (404, 3, Retry::OtherMirror),
        (407, 24, Retry::OtherMirror),
        (410, 22, Retry::OtherMirror),
        (416, 22, Retry::OtherMirror),
        (429, 22, now),
        (500, 22, now),
        (501, 22, Retry::OtherMirror),
        (502, 29, now),
        (503, 29, now),
        (504, 29, now),
        (520, 22, now),
        (521, 22, now),
    ] {
        let failure = refused(status, "X: y", &whole());
        assert_eq!(
            (failure.code.code(), failure.retry),
            (code, retry),
            "{status}"
        );
    }
    assert_eq!(
        refused(500, "X: y", &whole()).message,
        "The response status is not successful. status=500"
    );
    assert_eq!(
        refused(204, "X: y", &whole()).message,
        "Unexpected status 204"
    );
    assert_eq!(
        refused(301, "X: y", &whole()).message,
        "Got 301 status, but no location header provided."
    );
    assert_eq!(read(401, "X: y", &whole()), Ok(Answer::Unauthorized));
    assert_eq!(
        read(302, "Location: /x", &whole()),
        Ok(Answer::Redirect(b"/x".to_vec()))
    );
}

#[test]
fn a_pause_the_server_asks_for_is_kept_within_reason() {
    for (headers, seconds) in [
        ("Retry-After: 7", 7),
        ("Retry-After: 99999999", 3600),
        ("Retry-After: 99999999999999999999999", 0),
        ("Retry-After: -7", 0),
        ("Retry-After: soon", 0),
        ("Retry-After: Sun, 06 Nov 1994 08:49:47 GMT", 10),
        (
            "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT\nDate: Sun, 06 Nov 1994 08:49:40 GMT",
            7,
        ),
        ("Retry-After: Sun, 06 Nov 1993 08:49:47 GMT", 0),
    ] {
        let retry = refused(503, headers, &whole()).retry;
        assert_eq!(
            retry,
            Retry::After(Duration::from_secs(seconds)),
            "{headers}"
        );
    }
}

#[test]
fn status_416_to_an_open_range_tells_the_length() {
    let headers = "Content-Range: bytes */10";
    let facts = found(416, headers, &range(10, None)).facts;
    assert_eq!((facts.identity.len, facts.body_from), (Some(10), None));
    assert_eq!(refused(416, headers, &range(10, Some(20))).code.code(), 22);
    let grown = read_with(416, headers, &range(10, None), &len(11), &settings());
    assert!(grown.is_err());
}

#[test]
fn nothing_changed_since() {
    let ask = Ask {
        if_modified_since: Some(1),
        ..Ask::default()
    };
    assert!(found(304, "X: y", &ask).facts.not_modified);
}

proptest! {
    #[test]
    fn no_head_panics(
        status in 100u16..600,
        names in prop::collection::vec(0usize..9, 0..6),
        values in prop::collection::vec("(bytes)?[ 0-9*/-]{0,24}|[ -~]{0,24}", 6),
        start in any::<u64>(),
        open: bool,
        gzip: bool,
    ) {
        let all = [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING, TRANSFER_ENCODING, ETAG,
            LAST_MODIFIED, RETRY_AFTER, CONTENT_DISPOSITION, LOCATION];
        let mut headers = HeaderMap::new();
        for (name, value) in names.iter().zip(&values) {
            headers.append(all[*name].clone(), value.parse().unwrap());
        }
        let mut settings = settings();
        settings.accept_gzip = gzip;
        let start = start % content_range::LEN_MAX;
        let asked = [whole(), range(start, (!open).then_some(start + 1))];
        for ask in &asked {
            let head = Head {
                status: StatusCode::from_u16(status).unwrap(),
                headers: &headers,
                ask,
                settings: &settings,
                expect: &Identity::default(),
                server: None,
                now: SystemTime::UNIX_EPOCH,
            };
            if let Ok(Answer::Found(found)) = head.read() {
                let from = found.facts.body_from;
                prop_assert!(from.is_none() || from == Some(0) || from == ask.range.map(|r| r.start));
            }
        }
    }
}
