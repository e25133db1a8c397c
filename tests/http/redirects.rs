//! Redirects: where they lead, when they end, and what does not go along.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arioso::base::error::ErrorCode;
use arioso::base::secret::Secret;
use arioso::source::Opening;

use crate::origin::{Origin, Reply, Seen, pattern};
use crate::rig::{Rig, Setup};

const BASIC_U_P: &str = "Basic dTpw";

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_once_and_remembered() {
    let data = pattern(100_000);
    let body = data.clone();
    let origin = Origin::start(move |seen| match seen.path.as_str() {
        "/a" => Reply::redirect("b?x"),
        _ => Reply::file(&body, seen, &[]),
    });
    let mut rig = Rig::start(&origin.url("/a"), Opening::Lease);
    rig.fetch(0, 50_000);
    assert_eq!(rig.opened().await.final_uri, origin.url("/b?x"));
    rig.idle().await;
    rig.fetch(60_000, 100_000);
    rig.idle().await;
    rig.close().await;
    rig.check(&data, &[(0, 50_000), (60_000, 100_000)]);
    let paths: Vec<_> = origin.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/a", "/b?x", "/b?x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_and_blind_redirects_fail() {
    let origin = Origin::start(|seen| match seen.path.as_str() {
        "/loop" => Reply::redirect("/loop"),
        "/ftp" => Reply::redirect("ftp://h/f"),
        _ => Reply::status("302 Found"),
    });
    for (path, code, text) in [
        (
            "/loop",
            ErrorCode::TooManyRedirects,
            "Too many redirects: count=20",
        ),
        (
            "/blind",
            ErrorCode::HttpProtocol,
            "Got 302 status, but no location header provided.",
        ),
        (
            "/ftp",
            ErrorCode::HttpProtocol,
            "The server redirects to a place that cannot be used: scheme ftp",
        ),
    ] {
        let failure = Rig::start(&origin.url(path), Opening::Whole)
            .failure()
            .await;
        assert_eq!((failure.code, failure.message.as_str()), (code, text));
    }
    assert_eq!(origin.seen().len(), 21 + 2);
}

/// Two servers, as two ports are: the first redirects to the second.
fn two_servers() -> (Origin, Origin) {
    let second = Origin::start(|seen| Reply::file(&pattern(10), seen, &[]));
    let to = second.url("/there");
    let first = Origin::start(move |seen| match seen.path.as_str() {
        "/away" => Reply::redirect(&to),
        "/home" => Reply::redirect("/here"),
        _ => Reply::file(&pattern(10), seen, &[]),
    });
    (first, second)
}

fn private_headers(seen: &Seen) -> (Option<&str>, Option<&str>) {
    (seen.header("authorization"), seen.header("cookie"))
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_to_another_server() {
    let with_options = || {
        let mut setup = Setup::default();
        setup.settings.user = Some("u".to_owned());
        setup.settings.password = Some(Secret::new("p"));
        setup.settings.headers = ["Cookie: c=1".into()].into();
        setup
    };
    let with_header = || {
        let mut setup = Setup::default();
        let lines = [
            format!("Authorization: {BASIC_U_P}"),
            "Cookie: c=1".to_owned(),
        ];
        setup.settings.headers = lines.map(Into::into).into();
        setup
    };
    for setup in [with_options, with_header] {
        let (first, second) = two_servers();
        for path in ["/away", "/home"] {
            setup()
                .start(&first.url(path), Opening::Whole)
                .opened()
                .await;
        }
        for seen in first.seen() {
            assert_eq!(private_headers(&seen), (Some(BASIC_U_P), Some("c=1")));
        }
        assert_eq!(first.seen().len(), 3);
        let there = second.seen();
        assert_eq!(private_headers(&there[0]), (None, None));
        assert_eq!(
            there[0].header("host"),
            Some(second.address().to_string().as_str())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_in_the_uri_are_sent_at_once_and_stay() {
    let (first, second) = two_servers();
    let uri = |path| first.url(path).replace("http://", "http://u:p@");
    for path in ["/away", "/home"] {
        Rig::start(&uri(path), Opening::Whole).opened().await;
    }
    for seen in first.seen() {
        assert_eq!(seen.header("authorization"), Some(BASIC_U_P));
    }
    assert_eq!(second.seen()[0].header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_where_the_option_says_so() {
    let origin = Origin::start(|seen| match seen.header("authorization") {
        Some(BASIC_U_P) => Reply::file(&pattern(10), seen, &[]),
        _ => Reply::status("401 Unauthorized"),
    });
    let setup = |password: &str| {
        let mut setup = Setup::default();
        setup.settings.user = Some("u".to_owned());
        setup.settings.password = Some(Secret::new(password));
        setup.settings.auth_challenge = true;
        setup
    };
    setup("p")
        .start(&origin.url("/f"), Opening::Whole)
        .opened()
        .await;
    let sent: Vec<_> = origin
        .seen()
        .iter()
        .map(|s| s.header("authorization").is_some())
        .collect();
    assert_eq!(sent, [false, true]);
    let failure = setup("wrong")
        .start(&origin.url("/f"), Opening::Whole)
        .failure()
        .await;
    assert_eq!(failure.code, ErrorCode::HttpAuthFailed);
    assert_eq!(failure.message, "Authorization failed.");
    assert_eq!(origin.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_that_expires_is_asked_for_again() {
    let data = pattern(300_000);
    let body = data.clone();
    let expired = Arc::new(AtomicBool::new(false));
    let expiry = expired.clone();
    let origin = Origin::start(move |seen| match seen.path.as_str() {
        "/f" if expiry.load(Ordering::Relaxed) => Reply::redirect("/signed2"),
        "/f" => Reply::redirect("/signed1"),
        "/signed1" if expiry.load(Ordering::Relaxed) => Reply::status("403 Forbidden"),
        _ => Reply::file(&body, seen, &[]),
    });
    let mut rig = Rig::start(&origin.url("/f"), Opening::Lease);
    rig.fetch(0, 100_000);
    rig.opened().await;
    rig.idle().await;
    expired.store(true, Ordering::Relaxed);
    rig.fetch(200_000, 300_000);
    rig.idle().await;
    rig.close().await;
    rig.check(&data, &[(0, 100_000), (200_000, 300_000)]);
    let paths: Vec<_> = origin.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/f", "/signed1", "/signed1", "/f", "/signed2"]);
}
