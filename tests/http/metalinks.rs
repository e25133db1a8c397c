//! Metalinks that cannot be followed, or whose files cannot be had: which code, what words.

use std::time::Duration;

use crate::bugs::finishing::{hex, sha256};
use crate::chain::{Chain, download_in};
use crate::origin::{Origin, Reply, pattern};
use crate::program::Home;

const LEN: usize = 100_000;
/// None of these is a matter of waiting.
const SOON: Duration = Duration::from_secs(30);

fn run(document: &[u8]) -> Chain {
    let home = Home::new();
    let path = home.path("a.meta4");
    std::fs::write(&path, document).unwrap();
    let option = format!("--metalink-file={}", path.display());
    download_in(home, &[&option, "--max-tries=2", "--split=1"], &[])
}

fn v4(files: &str) -> String {
    format!("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">{files}</metalink>")
}

/// Checks code and words; no file may be left that looks finished.
fn fails(name: &str, document: &[u8], code: i32, words: &[&str]) {
    let chain = run(document);
    let (text, took) = (&chain.text, chain.took);
    let told = words.iter().all(|word| text.contains(word));
    assert!(
        chain.code == code && told,
        "{name}: {} {text}, not {code} {words:?}",
        chain.code
    );
    assert!(took < SOON, "{name}: {took:?}");
    let finished = chain.home.file("x").exists() && !chain.home.file("x.aria2").exists();
    assert!(!finished, "{name}");
}

#[test]
fn documents_that_are_refused_say_why() {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let deep = v4(&"<a>".repeat(200));
    let named = |name: &str| {
        v4(&format!(
            "<file name=\"{name}\"><url>http://h/x</url></file>"
        ))
    };
    let sized = v4("<file name=\"x\"><size>-1</size><url>http://h/x</url></file>");
    let entity = v4("<file name=\"x\"><url>&lol;</url></file>");
    for (name, document, words) in [
        (
            "no XML",
            &b"<metalink"[..],
            "Could not parse Metalink XML document.",
        ),
        ("nothing", b"", "Could not parse Metalink XML document."),
        ("compressed", &gzip, "compressed by gzip"),
        ("deep", deep.as_bytes(), "nested too deep"),
        ("entities", entity.as_bytes(), "entities of its own"),
        ("above", named("../x").as_bytes(), "Bad file@name"),
        ("absolute", named("/etc/x").as_bytes(), "Bad file@name"),
        ("size", sized.as_bytes(), "Bad size"),
    ] {
        fails(name, document, 20, &[words]);
    }
}

#[test]
fn documents_without_files_of_ours_lead_nowhere() {
    for document in [
        "<html><body/></html>".to_owned(),
        "<metalink version=\"2.0\" xmlns=\"http://other/\"><files/></metalink>".to_owned(),
        v4(""),
    ] {
        fails("empty", document.as_bytes(), 0, &[]);
    }
}

#[test]
fn files_that_cannot_be_had_say_why() {
    let data = pattern(LEN);
    let good = Origin::with_file(data.clone());
    let missing = Origin::start(|_| Reply::status("404 Not Found"));
    let file = |parts: &str| v4(&format!("<file name=\"x\">{parts}</file>"));
    let url = |origin: &Origin| format!("<url>{}</url>", origin.url("/f"));
    let at_good = |parts: &str| file(&format!("{parts}{}", url(&good)));
    let wrong = hex(&sha256(b"other"));
    for (name, document, code, words) in [
        ("no mirror", file("<size>5</size>"), 1, "No URI available"),
        (
            "no mirror of ours",
            file("<url>rsync://h/x</url>"),
            1,
            "No URI available",
        ),
        ("missing", file(&url(&missing)), 3, "Resource not found"),
        (
            "too long",
            at_good("<size>5</size>"),
            8,
            "100000 bytes, expected",
        ),
        (
            "too short",
            at_good("<size>100001</size>"),
            8,
            "100000 bytes, expected",
        ),
        (
            "hash",
            at_good(&format!("<hash type=\"sha-256\">{wrong}</hash>")),
            32,
            // Clients have words of their own for this code: as with aria2, none go with it.
            "errorCode=32",
        ),
        (
            "piece",
            at_good(&format!(
                "<size>{LEN}</size><pieces type=\"sha-256\" length=\"{LEN}\"><hash>{wrong}</hash></pieces>"
            )),
            32,
            "failed its hash check",
        ),
    ] {
        fails(name, document.as_bytes(), code, &[words]);
    }
}

#[test]
fn hashes_that_are_of_no_use_are_told_and_others_count() {
    let data = pattern(LEN);
    let origin = Origin::with_file(data.clone());
    let right = hex(&sha256(&data));
    let wrong = hex(&sha256(b"other"));
    let hash = |kind: &str, digest: &str| format!("<hash type=\"{kind}\">{digest}</hash>");
    let pieces = |kind: &str, digests: &str| {
        let digests = format!("<hash>{digests}</hash>");
        format!("<pieces type=\"{kind}\" length=\"{LEN}\">{digests}</pieces>")
    };
    let none = "nothing is left to check it by";
    let others = "others are left";
    for (what, hashes, code, words) in [
        ("letters", hash("sha-256", &"zz".repeat(32)), 0, none),
        ("length", hash("sha-512", &right), 0, none),
        ("kind", hash("sha-9", &right), 0, none),
        ("piece", pieces("sha-256", "zz"), 0, none),
        ("length of a piece", pieces("sha-1", &right), 0, none),
        (
            "another",
            hash("sha-512", "x") + &hash("sha-256", &right),
            0,
            others,
        ),
        (
            "another, wrong",
            hash("sha-512", "x") + &hash("sha-256", &wrong),
            32,
            others,
        ),
        (
            "other pieces, wrong",
            pieces("sha-512", "x") + &pieces("sha-256", &wrong),
            32,
            others,
        ),
        // Of two of a kind the first counts, as in aria2.
        (
            "two",
            hash("sha-256", &wrong) + &hash("sha-256", &right),
            32,
            "",
        ),
    ] {
        let url = origin.url("/f");
        let size = format!("<size>{LEN}</size>");
        let document = v4(&format!(
            "<file name=\"x\">{size}{hashes}<url>{url}</url></file>"
        ));
        let chain = run(document.as_bytes());
        assert_eq!(chain.code, code, "{what}: {}", chain.text);
        assert!(chain.text.contains(words), "{what}: {}", chain.text);
    }
}
