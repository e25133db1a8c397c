//! 1-15: what a response says, and whether its bytes may be written.

use std::time::Duration;

use crate::chain::{download, download_in, spawn};
use crate::origin::{Origin, Reply, Seen, Step, pattern};
use crate::program::{Home, wait_for};

const MIB: usize = 1 << 20;
const FOUR: &[&str] = &["-x4", "-s4"];

/// A 206 whose `Content-Range` is this, with the body from `start` to `end`.
fn part(data: &[u8], start: usize, end: usize, range: &str) -> Reply {
    let range = format!("Content-Range: bytes {range}");
    let len = format!("Content-Length: {}", end - start);
    Reply::new("206 Partial Content", &[&range, &len], &data[start..end])
}

fn asked(seen: &Seen) -> Option<(usize, usize)> {
    let (start, end) = seen.range()?;
    Some((start as usize, end.map_or(usize::MAX, |end| end as usize)))
}

#[test]
fn bug_01_a_part_longer_than_asked_for_is_good() {
    let data = pattern(6 * MIB);
    for total in ["*", "6291456"] {
        let body = data.clone();
        let origin = Origin::start(move |seen| match asked(seen) {
            Some((start, _)) => {
                let range = format!("{start}-{}/{total}", body.len() - 1);
                part(&body, start, body.len(), &range)
            }
            // Slow enough that the others find something left to ask for.
            None => Reply::file(&body, seen, &[]).slowly(MIB / 4, Duration::from_millis(20)),
        });
        download(FOUR, &[&origin.url("/f")]).is_complete(&data);
        assert!(origin.seen().iter().any(|seen| seen.range().is_some()));
    }
}

#[test]
fn bug_02_a_shifted_start_or_another_total_is_refused() {
    let data = pattern(6 * MIB);
    for shifted in [true, false] {
        let (body, good) = (data.clone(), Origin::with_file(data.clone()));
        let origin = Origin::start(move |seen| match asked(seen) {
            Some((start, end)) if shifted => {
                let end = end.min(body.len());
                part(
                    &body,
                    start - 1,
                    end - 1,
                    &format!("{}-{}/{}", start - 1, end - 2, body.len()),
                )
            }
            Some((start, end)) => {
                let end = end.min(body.len());
                part(
                    &body,
                    start,
                    end,
                    &format!("{start}-{}/{}", end - 1, body.len() - 1),
                )
            }
            None => Reply::file(&body, seen, &[]),
        });
        download(FOUR, &[&origin.url("/f"), &good.url("/f")]).is_complete(&data);
    }
}

#[test]
fn bug_03_a_part_without_its_place_is_not_written() {
    let data = pattern(6 * MIB);
    let body = data.clone();
    let chunked = |body: &[u8]| {
        let mut sent = format!("{:x}\r\n", body.len()).into_bytes();
        sent.extend_from_slice(body);
        sent.extend_from_slice(b"\r\n0\r\n\r\n");
        Reply::new(
            "206 Partial Content",
            &["Transfer-Encoding: chunked"],
            &sent,
        )
    };
    // Every second range comes without Content-Range, and is another part at that.
    let origin = Origin::start(move |seen| match asked(seen) {
        Some((start, end)) if seen.number % 2 == 1 => {
            chunked(&body[start / 2..end.min(body.len()) / 2])
        }
        _ => Reply::file(&body, seen, &[]),
    });
    download(FOUR, &[&origin.url("/f")]).is_complete(&data);

    let body = pattern(300_000);
    let sent = body.clone();
    let origin = Origin::start(move |_| chunked(&sent));
    download(&[], &[&origin.url("/f")]).is_complete(&body);
}

#[test]
fn bug_04_a_server_without_ranges_gets_one_connection() {
    let data = pattern(8 * MIB);
    let body = data.clone();
    let origin = Origin::start(move |_| {
        let len = format!("Content-Length: {}", body.len());
        Reply::new("200 OK", &[&len], &body).slowly(MIB, Duration::from_millis(20))
    });
    download(FOUR, &[&origin.url("/f")]).is_complete(&data);
}

#[test]
fn bug_05_an_error_page_in_mid_file_is_not_the_file() {
    let data = pattern(6 * MIB);
    for with_other in [true, false] {
        let body = data.clone();
        let origin = Origin::start(move |seen| match seen.number {
            0 => Reply::file(&body, seen, &["ETag: \"a\""]).cut(MIB, Step::Close),
            _ => Reply::new(
                "200 OK",
                &["Content-Type: text/html", "Content-Length: 6"],
                b"<html>",
            ),
        });
        let good = Origin::with_file(data.clone());
        let bad = origin.url("/f");
        if with_other {
            download(FOUR, &[&bad, &good.url("/f")]).is_complete(&data);
        } else {
            assert!(download(FOUR, &[&bad]).code > 0);
        }
    }
}

#[test]
fn bug_06_a_length_beside_chunks_counts_for_nothing() {
    let data = pattern(100_000);
    let mut sent = format!("{:x}\r\n", data.len()).into_bytes();
    sent.extend_from_slice(&data);
    sent.extend_from_slice(b"\r\n0\r\n\r\n");
    let origin = Origin::start(move |_| {
        let headers = ["Content-Length: 5", "Transfer-Encoding: chunked"];
        Reply::new("200 OK", &headers, &sent).then(Step::Close)
    });
    download(&[], &[&origin.url("/f")]).is_complete(&data);
}

#[test]
fn bug_07_a_newer_file_replaces_the_old_one_from_its_first_byte() {
    let data = pattern(50_000);
    let origin = Origin::with_file(data.clone());
    let home = Home::new();
    std::fs::write(home.file("f"), pattern(90_000)).unwrap();
    let args = ["--conditional-get", "--allow-overwrite", "-o", "f"];
    download_in(home, &args, &[&origin.url("/f")]).is_complete(&data);
    let seen = &origin.seen()[0];
    assert!(seen.header("if-modified-since").is_some());
    assert_eq!(seen.range(), None);
}

#[test]
fn bug_08_and_09_odd_headers_are_tolerated() {
    let origin = Origin::start(|_| {
        let headers = [
            "Content-Length: 5",
            "X-Empty:",
            "no colon at all",
            "Content-Disposition: attachment; filename=\"f\";",
        ];
        Reply::new("200 OK", &headers, b"hello")
    });
    download_in(Home::new(), &[], &[&origin.url("/other")]).is_complete(b"hello");
}

#[test]
fn bug_10_names_in_percent_escapes() {
    for (header, name) in [
        ("attachment; filename*=UTF-8''a%20%C3%A4.zip", "a ä.zip"),
        ("attachment; filename=\"a%20b.zip\"", "a%20b.zip"),
        ("attachment; filename*=UTF-8''..%2F..%2Fevil", "x y.bin"),
    ] {
        let header = format!("Content-Disposition: {header}");
        let origin =
            Origin::start(move |_| Reply::new("200 OK", &["Content-Length: 5", &header], b"hello"));
        let chain = download_in(Home::new(), &[], &[&origin.url("/d/x%20y.bin")]);
        assert_eq!(chain.code, 0, "{}", chain.text);
        assert_eq!(
            std::fs::read(chain.home.file(name)).unwrap(),
            b"hello",
            "{name}"
        );
    }
}

#[test]
fn bug_11_and_12_one_user_agent_in_a_fixed_order_and_no_fragment() {
    let origin = Origin::with_file(pattern(10));
    let args = ["--header=User-Agent: mine", "--header=X-A: 1"];
    download(&args, &[&origin.url("/f?q#frag")]).is_complete(&pattern(10));
    let seen = &origin.seen()[0];
    assert_eq!(seen.path, "/f?q");
    let names: Vec<String> = seen
        .headers
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    assert_eq!(names, ["user-agent", "accept", "host", "x-a"]);
    assert_eq!(seen.header("user-agent"), Some("mine"));
}

#[test]
fn bug_13_a_mirror_with_another_file_is_dropped_and_named() {
    let data = pattern(6 * MIB);
    let body = data.clone();
    // Slow enough that the other mirror is asked before all is there.
    let good = Origin::start(move |seen| {
        Reply::file(&body, seen, &[]).slowly(MIB / 4, Duration::from_millis(20))
    });
    let other = Origin::with_file(pattern(6 * MIB + 1));
    let uri = other.url("/f");
    let chain = download(
        &["-x2", "-s4", "--console-log-level=warn"],
        &[&good.url("/f"), &uri],
    );
    chain.is_complete(&data);
    assert!(chain.text.contains(&uri), "{}", chain.text);
    assert!(chain.text.contains("another file"), "{}", chain.text);
    assert_eq!(other.seen().len(), 1);
}

#[test]
fn bug_14_parts_of_an_encoded_body_are_not_joined() {
    let data = pattern(200_000);
    let body = data.clone();
    // Says gzip whatever is asked for: the bytes are what is stored, ranges are of no use.
    let origin = Origin::start(move |seen| {
        let reply = Reply::file(&body, seen, &["Content-Encoding: gzip"]);
        match seen.number {
            0 => reply.cut(100_000, Step::Close),
            _ => reply,
        }
    });
    let chain = download(FOUR, &[&origin.url("/f")]);
    assert!(chain.code != 0 || std::fs::read(chain.home.file("f")).unwrap() == data);
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| seen.header("accept-encoding").is_none())
    );
}

#[test]
fn bug_15_an_endless_redirect_is_code_23() {
    let origin = Origin::start(|_| Reply::redirect("/f"));
    download(&[], &[&origin.url("/f")]).failed(23);
}

#[test]
fn a_file_that_changes_between_two_runs_is_not_joined() {
    let data = pattern(2 * MIB);
    for (before, after) in [
        ("ETag: \"a\"", "ETag: \"b\""),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT",
        ),
    ] {
        let body = data.clone();
        let origin = Origin::start(move |seen| match seen.number {
            0 => Reply::file(&body, seen, &[before]).cut(MIB, Step::Stall),
            _ => Reply::file(&pattern(2 * MIB + 1)[1..], seen, &[after]),
        });
        let home = Home::new();
        let mut child = spawn(
            &home,
            &["-o", "f", "--auto-save-interval=1"],
            &[&origin.url("/f")],
        );
        wait_for("a first half", || {
            let len = std::fs::metadata(home.file("f")).ok()?.len();
            (len >= MIB as u64).then_some(())
        });
        std::thread::sleep(Duration::from_millis(100));
        crate::program::kill(&child, "INT");
        child.wait().unwrap();
        assert!(home.file("f.aria2").exists());
        let chain = download_in(home, &["-o", "f"], &[&origin.url("/f")]);
        assert_ne!(
            chain.code, 0,
            "a spliced file was called complete: {}",
            chain.text
        );
    }
}

#[test]
fn a_part_of_a_file_whose_length_nobody_tells_is_not_the_whole() {
    let data = pattern(3 * MIB);
    let body = data.clone();
    let origin = Origin::start(move |seen| {
        let start = asked(seen).map_or(0, |(start, _)| start);
        if start >= body.len() {
            return Reply::status("416 Range Not Satisfiable");
        }
        let end = (start + MIB).min(body.len());
        part(&body, start, end, &format!("{start}-{}/*", end - 1))
    });
    download(&[], &[&origin.url("/f")]).is_complete(&data);
}
