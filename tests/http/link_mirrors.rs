//! Mirrors that `Link` headers name (RFC 6249), whole chain.

use std::time::Duration;

use base64::Engine as _;

use crate::bugs::finishing::{hex, sha256};
use crate::chain::{Chain, download};
use crate::origin::{Origin, Reply, pattern};

const LEN: usize = 4 << 20;
/// Half of the file for a connection of its own; each host bears one.
const TWO: [&str; 2] = ["-s2", "-x1"];

fn digest_of(data: &[u8]) -> String {
    let digest = base64::engine::general_purpose::STANDARD.encode(sha256(data));
    format!("Digest: SHA-256={digest}")
}

fn duplicate(mirror: &str) -> String {
    format!("Link: <{mirror}>; rel=duplicate; pri=1")
}

/// Another host, so that it gets a connection beside the first one.
fn mirror(data: &[u8], headers: &'static [&'static str]) -> Origin {
    let data = data.to_vec();
    Origin::start_at("127.0.0.2:0", move |seen| Reply::file(&data, seen, headers))
}

/// The file, slowly, with these header lines.
fn first(data: &[u8], headers: &[String]) -> Origin {
    let (data, headers) = (data.to_vec(), headers.to_vec());
    Origin::start(move |seen| {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        Reply::file(&data, seen, &headers).slowly(LEN / 8, Duration::from_millis(300))
    })
}

fn fetch(origin: &Origin, args: &[&str]) -> Chain {
    download(&[&TWO[..], args].concat(), &[&origin.url("/f")])
}

#[test]
fn are_used_where_a_digest_proves_what_they_send() {
    let data = pattern(LEN);
    let (told, checksum) = (
        digest_of(&data),
        format!("--checksum=sha-256={}", hex(&sha256(&data))),
    );
    for (with_digest, args, used) in [
        (true, &[][..], true),
        (false, &[], false),
        (false, &[checksum.as_str()], true),
        (true, &["--http-link-mirrors=false"], false),
    ] {
        let other = mirror(&data, &[]);
        let mut headers = vec![duplicate(&other.url("/m"))];
        headers.extend(with_digest.then(|| told.clone()));
        let origin = first(&data, &headers);
        let chain = fetch(&origin, args);
        chain.is_complete(&data);
        let asked = other.seen();
        assert_eq!(!asked.is_empty(), used, "{with_digest} {args:?}");
        assert!(asked.iter().all(|seen| seen.path == "/m"));
    }
}

#[test]
fn a_redirect_may_name_them() {
    let data = pattern(LEN);
    let (slow, other) = (first(&data, &[]), mirror(&data, &[]));
    let (to, link, digest) = (
        slow.url("/f"),
        duplicate(&other.url("/m")),
        digest_of(&data),
    );
    let redirector = Origin::start(move |_| {
        let to = format!("Location: {to}");
        Reply::new(
            "302 Found",
            &[&to, &link, &digest, "Content-Length: 0"],
            b"",
        )
    });
    fetch(&redirector, &[]).is_complete(&data);
    assert!(!other.seen().is_empty());
}

#[test]
fn another_file_is_refused_and_its_place_named() {
    let data = pattern(LEN);
    let mut spoilt = data.clone();
    spoilt[LEN - 10] ^= 1;
    let wrong = digest_of(&spoilt).leak();
    let cases = [
        mirror(&data[..LEN - 1], &[]),
        mirror(&spoilt, vec![&*wrong].leak()),
    ];
    for other in cases {
        let headers = [duplicate(&other.url("/m")), digest_of(&data)];
        let origin = first(&data, &headers);
        let chain = fetch(&origin, &[]);
        chain.is_complete(&data);
        let named = format!("{} is not used any more", other.url("/m"));
        assert!(chain.text.contains(&named), "{}", chain.text);
        assert!(chain.text.contains("another file"), "{}", chain.text);
    }
}

#[test]
fn what_a_mirror_spoils_is_found_out() {
    let data = pattern(LEN);
    let mut spoilt = data.clone();
    spoilt[LEN - 10] ^= 1;
    let other = mirror(&spoilt, &[]);
    let headers = [duplicate(&other.url("/m")), digest_of(&data)];
    fetch(&first(&data, &headers), &[]).failed(32);
}

#[test]
fn dead_ones_and_descriptions_do_no_harm() {
    let data = pattern(LEN);
    let other = Origin::start_at("127.0.0.2:0", |_| Reply::status("404 Not Found"));
    let headers = [
        duplicate("http://127.0.0.3:1/f"),
        duplicate(&other.url("/m")),
        format!(
            "Link: <{}>; rel=describedby; type=\"application/metalink4+xml\"",
            other.url("/d.meta4")
        ),
        digest_of(&data),
    ];
    fetch(&first(&data, &headers), &[]).is_complete(&data);
    let asked = other.seen();
    assert!(asked.iter().all(|seen| seen.path == "/m"), "{asked:?}");
}
