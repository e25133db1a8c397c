//! The same file from the first byte to the last, or none.

use arioso::base::error::{ErrorCode, Retry};
use arioso::source::Opening;

use crate::origin::{Origin, Reply, pattern};
use crate::rig::{Rig, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_between_leases_is_noticed() {
    for (before, after) in [
        ("ETag: \"a\"", "ETag: \"b\""),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT",
        ),
    ] {
        let data = pattern(300_000);
        let body = data.clone();
        let origin = Origin::start(move |seen| {
            let header = if seen.number == 0 { before } else { after };
            Reply::file(&body, seen, &[header])
        });
        let mut rig = Rig::start(&origin.url("/f"), Opening::Lease);
        rig.fetch(0, 100_000);
        rig.opened().await;
        rig.idle().await;
        rig.fetch(200_000, 300_000);
        let failure = rig.failure().await;
        assert_eq!(failure.retry, Retry::OtherMirror);
        assert!(failure.message.contains("another file"), "{failure}");
        rig.check(&data, &[(0, 100_000)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_another_file_is_refused_before_it_opens() {
    let origin = Origin::start(|seen| Reply::file(&pattern(1000), seen, &["ETag: \"a\""]));
    for (len, etag) in [(1001, None), (1000, Some("\"b\""))] {
        for opening in [Opening::Whole, Opening::From(10), Opening::Probe] {
            let mut rig = Setup::expecting(len, etag).start(&origin.url("/f"), opening);
            assert_eq!(rig.failure().await.retry, Retry::OtherMirror, "{opening:?}");
        }
    }
    let setup = Setup::expecting(1000, Some("W/\"a\""));
    setup
        .start(&origin.url("/f"), Opening::Whole)
        .opened()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_in_mid_file_is_not_the_file() {
    let data = pattern(300_000);
    let body = data.clone();
    let origin = Origin::start(move |seen| match seen.number {
        0 => Reply::file(&body, seen, &[]),
        _ => Reply::new("200 OK", &["Content-Length: 6"], b"<html>"),
    });
    let mut rig = Rig::start(&origin.url("/f"), Opening::Lease);
    rig.fetch(0, 100_000);
    rig.opened().await;
    rig.idle().await;
    rig.fetch(100_000, 300_000);
    assert_ne!(rig.failure().await.code, ErrorCode::Success);
    rig.check(&data, &[(0, 100_000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_parts_are_never_spliced() {
    let origin =
        Origin::start(|seen| Reply::file(&pattern(1000), seen, &["Content-Encoding: gzip"]));
    for opening in [Opening::From(100), Opening::Lease] {
        let mut rig = Rig::start(&origin.url("/f"), opening);
        rig.fetch(100, 500);
        assert_eq!(rig.failure().await.code, ErrorCode::CannotResume);
        assert_eq!(rig.written_len(), 0);
    }
}
