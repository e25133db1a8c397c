//! 32-35: cookies, proxies, parameterized URIs, credentials.

use std::time::Duration;

use crate::chain::{download, download_in};
use crate::origin::{Origin, Reply, pattern};
use crate::program::Home;

#[test]
fn bug_32_cookies_of_a_firefox_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cookies.sqlite");
    let browser = rusqlite::Connection::open(&path).unwrap();
    browser
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;
             CREATE TABLE moz_cookies (host TEXT, path TEXT, isSecure INTEGER, expiry INTEGER,
                 name TEXT, value TEXT);
             INSERT INTO moz_cookies VALUES ('127.0.0.1', '/', 0, 4000000000, 'a', '1');",
        )
        .unwrap();
    let data = pattern(1000);
    let body = data.clone();
    let origin = Origin::start(move |seen| {
        let set = "Set-Cookie: n=v; Max-Age=1000; Path=/";
        match seen.path.as_str() {
            "/f" => Reply::new(
                "302 Found",
                &["Location: /g", set, "Content-Length: 0"],
                b"",
            ),
            _ => Reply::file(&body, seen, &[]),
        }
    });
    let saved = dir.path().join("saved.txt");
    let load = format!("--load-cookies={}", path.display());
    let save = format!("--save-cookies={}", saved.display());
    download(&[&load, &save], &[&origin.url("/f")]).is_complete(&data);
    let seen = origin.seen();
    assert_eq!(seen[0].header("cookie"), Some("a=1"));
    assert_eq!(seen[1].header("cookie"), Some("a=1; n=v"));
    let text = std::fs::read_to_string(&saved).unwrap();
    assert!(
        text.starts_with("127.0.0.1\tFALSE\t/\tFALSE\t4000000000\ta\t1\n"),
        "{text}"
    );
    assert!(text.contains("\tn\tv\n"), "{text}");
}

#[test]
fn cookies_of_a_chromium_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Cookies");
    let browser = rusqlite::Connection::open(&path).unwrap();
    browser
        .execute_batch(
            "CREATE TABLE cookies (host_key TEXT, path TEXT, is_secure INTEGER,
                 expires_utc INTEGER, name TEXT, value TEXT);
             INSERT INTO cookies VALUES ('127.0.0.1', '/', 0, 15644473600000000, 'a', '1');",
        )
        .unwrap();
    let data = pattern(1000);
    let origin = Origin::with_file(data.clone());
    let load = format!("--load-cookies={}", path.display());
    download(&[&load], &[&origin.url("/f")]).is_complete(&data);
    assert_eq!(origin.seen()[0].header("cookie"), Some("a=1"));
}

/// Bytes of a name are Latin-1 unless `content-disposition-default-utf8` says otherwise.
#[test]
fn names_in_utf_8_are_taken_where_that_is_said() {
    let data = pattern(1000);
    let body = data.clone();
    let origin = Origin::start(move |seen| {
        let name = "Content-Disposition: attachment; filename=\"na\u{ef}f\"";
        Reply::file(&body, seen, &[name])
    });
    for (said, name) in [("true", "na\u{ef}f"), ("false", "na\u{c3}\u{af}f")] {
        let option = format!("--content-disposition-default-utf8={said}");
        let chain = download_in(Home::new(), &[&option], &[&origin.url("/f")]);
        assert_eq!(chain.code, 0, "{}", chain.text);
        assert!(chain.home.file(name).exists(), "{said}: {}", chain.text);
    }
}

#[test]
fn bug_33_hosts_and_networks_that_need_no_proxy() {
    let data = pattern(1000);
    let origin = Origin::with_file(data.clone());
    let proxy = Origin::with_file(data.clone());
    let set = format!("--http-proxy={}", proxy.url(""));
    for (rule, direct) in [
        ("127.0.0.0/8", true),
        ("127.0.0.1", true),
        ("10.0.0.0/8,.example.org", false),
    ] {
        let (before, through) = (origin.seen().len(), proxy.seen().len());
        let rule = format!("--no-proxy={rule}");
        download(&[&set, &rule], &[&origin.url("/f")]).is_complete(&data);
        assert_eq!(origin.seen().len() - before, usize::from(direct), "{rule}");
        assert_eq!(proxy.seen().len() - through, usize::from(!direct), "{rule}");
    }
}

#[test]
fn bug_34_endless_uri_lists_are_refused_at_once() {
    for uri in ["http://127.0.0.1:1/[0-2147483647]", "http://127.0.0.1:1/{}"] {
        let chain = download(&["-P", "--max-tries=1", "--retry-wait=0"], &[uri]);
        assert!(chain.code > 0, "{}", chain.text);
        assert!(chain.took < Duration::from_secs(20), "{:?}", chain.took);
    }
}

#[test]
fn bug_35_credentials_stay_with_their_server() {
    let data = pattern(1000);
    let there = Origin::with_file(data.clone());
    let to = there.url("/there");
    let here = Origin::start(move |_| Reply::redirect(&to));
    let uri = here.url("/f").replace("http://", "http://u:p@");
    let args = ["--http-user=a", "--http-passwd=b", "--header=Cookie: c=1"];
    download(&args, &[&uri]).is_complete(&data);
    assert_eq!(here.seen()[0].header("authorization"), Some("Basic dTpw"));
    let seen = &there.seen()[0];
    assert_eq!(
        (seen.header("authorization"), seen.header("cookie")),
        (None, None)
    );
}
