//! What callers see while a file is hashed.

use std::fs::File;
use std::time::{Duration, Instant};

use super::origin::{Origin, Reply, Step};
use super::server::Server;

const GID: &str = "aaaa000000000001";
/// Hashing takes long enough to be looked at, on any machine; the file has no blocks.
const LEN: u64 = 1 << 40;

fn verified(server: &Server) -> Option<u64> {
    let keys = format!(r#"["{GID}",["status","verifiedLength"]]"#);
    let answer = server.call("aria2.tellStatus", &keys);
    let (_, rest) = answer.split_once(r#""verifiedLength":""#)?;
    assert!(answer.contains(r#""status":"active""#), "{answer}");
    rest.split('"').next()?.parse().ok()
}

#[test]
fn the_progress_of_a_check_is_shown_and_it_can_be_ended() {
    let origin = Origin::start(|seen| match seen.range() {
        Some(_) => {
            let range = format!("Content-Range: bytes */{LEN}");
            Reply::new("416 Too far", &[&range, "Content-Length: 0"], b"")
        }
        None => {
            let len = format!("Content-Length: {LEN}");
            Reply::new("200 OK", &[&len], b"").then(Step::Stall)
        }
    });
    // Should the file be taken for an unfinished one, the disk must not be filled.
    let server = Server::with(&[("file-allocation", "none")]);
    let file = File::create(server.dir().join("f")).unwrap();
    file.set_len(LEN).unwrap();
    let sum = format!("sha-256={}", "0".repeat(64));
    let options = format!(
        r#"{{"gid":"{GID}","out":"f","check-integrity":"true","continue":"true","checksum":"{sum}"}}"#
    );
    let uri = origin.url("/f");
    server.call("aria2.addUri", &format!(r#"[["{uri}"],{options}]"#));
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        assert!(Instant::now() < deadline, "progress so far: {seen:?}");
        match verified(&server) {
            Some(bytes) if seen.last().is_none_or(|last| *last < bytes) => seen.push(bytes),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    assert!(seen[2] < LEN);
    server.call("aria2.forceRemove", &format!(r#"["{GID}"]"#));
    let status = format!(r#"["{GID}",["status","verifiedLength"]]"#);
    let gone = server.call_until("aria2.tellStatus", &status, r#""removed""#);
    assert!(!gone.contains("verifiedLength"), "{gone}");
}
