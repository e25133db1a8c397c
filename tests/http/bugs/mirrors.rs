//! What makes two mirrors the same thing (with 13), whole chain.

use std::time::Duration;

use arioso::option::find;
use arioso::{AddRequest, Engine, EngineConfig, OptionSet};

use crate::chain::download;
use crate::origin::{Origin, Reply, pattern};
use crate::program::wait_for;

const MIB: usize = 1 << 20;
const DATE: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
const LATER: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT";

/// Two hosts with the same bytes and these headers; whether the second one was used for more
/// than one look.
fn used(first: &'static [&'static str], second: &'static [&'static str]) -> bool {
    let data = pattern(8 * MIB);
    let start = |headers: &'static [&'static str]| {
        let body = data.clone();
        Origin::start(move |seen| {
            Reply::file(&body, seen, headers).slowly(MIB, Duration::from_millis(100))
        })
    };
    let (a, b) = (start(first), start(second));
    let chain = download(&["-x2", "-s4"], &[&a.url("/f"), &b.url("/f")]);
    chain.is_complete(&data);
    !chain.text.contains("another file")
}

#[test]
fn honest_mirrors_may_have_etags_of_another_form() {
    assert!(used(&["ETag: \"a\"", DATE], &["ETag: \"b\"", DATE]));
    assert!(used(&["ETag: \"a\""], &["ETag: W/\"b\""]));
    assert!(used(&["ETag: \"a\""], &[]));
    assert!(!used(&["ETag: \"a\""], &["ETag: \"b\""]));
    assert!(!used(&["ETag: \"a\"", DATE], &["ETag: \"b\"", LATER]));
}

#[test]
fn speeds_of_servers_are_kept_and_choose_the_next_one() {
    let data = pattern(100_000);
    let (one, other) = (
        Origin::with_file(data.clone()),
        Origin::with_file(data.clone()),
    );
    let port = other.address().port();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stat");
    let row = |host: &str, speed| {
        format!("host={host}, protocol=http, dl_speed={speed}, last_updated=4000000000\n")
    };
    std::fs::write(&path, row("127.0.0.1", 5) + &row("localhost", 500)).unwrap();
    let (from, to) = (
        format!("--server-stat-if={}", path.display()),
        format!("--server-stat-of={}", path.display()),
    );
    let args = ["--uri-selector=feedback", "-s1", &from, &to];
    let uris = [one.url("/f"), format!("http://localhost:{port}/f")];
    download(&args, &[&uris[0], &uris[1]]).is_complete(&data);
    assert_eq!((one.seen().len(), other.seen().len()), (0, 1));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("host=localhost, protocol=http, dl_speed="),
        "{text}"
    );
    assert!(text.contains("counter=1, status=OK"), "{text}");
}

#[test]
fn uris_change_while_it_runs_and_the_new_path_is_shown() {
    let data = pattern(8 * MIB);
    let body = data.clone();
    let slow = Origin::start(move |seen| {
        Reply::file(&body, seen, &[]).slowly(1000, Duration::from_millis(100))
    });
    let fast = Origin::with_file(data.clone());
    let (dir, done) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = OptionSet::new();
    for (name, text) in [
        ("dir", dir.path().to_str().unwrap()),
        ("complete-dir", done.path().to_str().unwrap()),
        ("no-netrc", "true"),
    ] {
        options.set_text(find(name).unwrap(), text).unwrap();
    }
    let config = EngineConfig {
        options,
        state_dir: None,
    };
    let engine = Engine::start(config).unwrap();
    let handle = engine.handle();
    let (from, to) = (slow.url("/f"), fast.url("/f"));
    let request = AddRequest::uris([from.clone()]);
    let gid = engine.block_on(handle.add(request, None)).unwrap()[0];
    let look = |what: &dyn Fn(&arioso::engine::Download) -> bool| {
        handle.read(|registry| registry.get(gid).is_some_and(what))
    };
    wait_for("first bytes", || {
        look(&|download| download.completed_len() > 0).then_some(())
    });
    let changed = handle.change_uri(gid, 1, vec![from], vec![to], None);
    assert_eq!(engine.block_on(changed).unwrap(), (1, 1));
    wait_for("its end", || {
        look(&|download| download.status() == "complete").then_some(())
    });
    let path = handle.read(|registry| registry.get(gid).unwrap().files()[0].path.to_string());
    assert_eq!(path, done.path().join("f").to_str().unwrap());
    assert!(std::fs::read(path).unwrap() == data);
    engine.block_on(engine.handle().shutdown(false)).unwrap();
}
