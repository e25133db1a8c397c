//! What happens to a file that is there: checked, moved, dated.

use base64::Engine as _;
use sha2::Digest as _;

use crate::chain::{download, download_in};
use crate::origin::{Origin, Reply, pattern};
use crate::program::Home;

pub fn sha256(data: &[u8]) -> Vec<u8> {
    sha2::Sha256::digest(data).to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn finished_files_move_to_the_complete_dir() {
    let data = pattern(100_000);
    let origin = Origin::with_file(data.clone());
    for (args, name) in [
        (&[][..], "x/f"),
        (&[], "x/f.1"),
        (&["--allow-overwrite"], "x/f"),
    ] {
        let home = Home::new();
        let done = home.path("done");
        std::fs::create_dir_all(done.join("x")).unwrap();
        if name == "x/f.1" {
            std::fs::write(done.join("x/f"), b"other").unwrap();
        }
        let move_to = format!("--complete-dir={}", done.display());
        let args = [args, &["-o", "x/f", &move_to]].concat();
        let chain = download_in(home, &args, &[&origin.url("/f")]);
        assert_eq!(chain.code, 0, "{}", chain.text);
        assert!(std::fs::read(done.join(name)).unwrap() == data);
        assert!(!chain.home.file("x/f").exists() && !chain.home.file("x/f.aria2").exists());
        assert!(
            chain.text.contains(done.join(name).to_str().unwrap()),
            "{}",
            chain.text
        );
    }
}

#[test]
fn digests_of_the_server_are_verified_where_they_are_asked_for() {
    let data = pattern(100_000);
    let encode = |data: &[u8]| base64::engine::general_purpose::STANDARD.encode(sha256(data));
    for (header, good) in [
        (format!("Digest: SHA-256={}", encode(&data)), true),
        (format!("Repr-Digest: sha-256=:{}:", encode(&data)), true),
        (format!("Digest: SHA-256={}", encode(b"other")), false),
        (
            format!("Repr-Digest: sha-256=:{}:", encode(b"other")),
            false,
        ),
    ] {
        let body = data.clone();
        let origin = Origin::start(move |seen| Reply::file(&body, seen, &[&header]));
        let chain = download(&["--http-want-digest"], &[&origin.url("/f")]);
        assert!(origin.seen()[0].header("want-digest").is_some());
        match good {
            true => chain.is_complete(&data),
            false => chain.failed(32),
        }
        // Nobody asked.
        download(&[], &[&origin.url("/f")]).is_complete(&data);
    }
}

#[test]
fn checksums_of_every_kind() {
    let data = pattern(100_000);
    let origin = Origin::with_file(data.clone());
    let kinds = [
        ("md5", 32),
        ("sha-1", 40),
        ("sha-224", 56),
        ("sha-256", 64),
        ("sha-384", 96),
        ("sha-512", 128),
        ("adler32", 8),
    ];
    for (kind, len) in kinds {
        let wrong = format!("--checksum={kind}={}", "0".repeat(len));
        let chain = download(&[&wrong], &[&origin.url("/f")]);
        chain.failed(32);
        assert!(chain.home.file("f").exists() && chain.home.file("f.aria2").exists());
    }
    let right = format!("--checksum=sha-256={}", hex(&sha256(&data)));
    download(&[&right], &[&origin.url("/f")]).is_complete(&data);
}

#[test]
fn a_finished_file_is_checked_and_mended_or_only_checked() {
    let data = pattern(100_000);
    let origin = Origin::with_file(data.clone());
    let sum = format!("--checksum=sha-256={}", hex(&sha256(&data)));
    for (local, args, code, bytes_sent) in [
        (data.clone(), &["-V", "-c"][..], 0, false),
        (pattern(100_001)[1..].to_vec(), &["-V", "-c"], 0, true),
        (data.clone(), &["-V", "--hash-check-only"], 0, false),
        (
            pattern(100_001)[1..].to_vec(),
            &["-V", "--hash-check-only"],
            32,
            false,
        ),
        (
            data[..5000].to_vec(),
            &["-V", "--hash-check-only"],
            32,
            false,
        ),
    ] {
        let home = Home::new();
        std::fs::write(home.file("f"), &local).unwrap();
        let args = [args, &["-o", "f", &sum]].concat();
        let chain = download_in(home, &args, &[&origin.url("/f")]);
        assert_eq!(chain.code, code, "{args:?} {}", chain.text);
        let kept = std::fs::read(chain.home.file("f")).unwrap();
        let wanted = if bytes_sent || code == 0 {
            &data
        } else {
            &local
        };
        assert!(kept == *wanted, "{args:?}");
    }
}

#[test]
fn with_use_head_it_asks_before_it_fetches() {
    let data = pattern(100_000);
    let origin = Origin::with_file(data.clone());
    download(&["--use-head"], &[&origin.url("/f")]).is_complete(&data);
    let methods: Vec<String> = origin.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
}

#[test]
fn the_date_of_the_server_is_kept() {
    let data = pattern(1000);
    let origin = Origin::start(move |seen| {
        Reply::file(
            &data,
            seen,
            &["Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"],
        )
    });
    let chain = download(&["--remote-time"], &[&origin.url("/f")]);
    let modified = std::fs::metadata(chain.home.file("f"))
        .unwrap()
        .modified()
        .unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(since.as_secs(), 784_111_777);
}
