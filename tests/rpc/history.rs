//! The methods of Motrix's engine, and keys that are shown to those who name them.

use std::fs;

use super::origin::{Origin, Reply};
use super::server::{Server, filtered};

/// A server with results: two complete (a.mp4 of 10 bytes, b.iso of 2000), one failed (c).
fn with_results(options: &[(&str, &str)]) -> (Server, Origin) {
    let origin = Origin::start(|seen| match seen.path.as_str() {
        "/a.mp4" => Reply::file(&[1; 10], seen, &[]),
        "/b.iso" => Reply::file(&[2; 2000], seen, &[]),
        _ => Reply::status("404 Not Found"),
    });
    let server = Server::with(options);
    for (gid, name) in [("a", "a.mp4"), ("b", "b.iso"), ("c", "c")] {
        let gid = format!("{gid}000000000000001");
        let params = format!(
            r#"[["{}"],{{"gid":"{gid}","split":"1","max-tries":"1"}}]"#,
            origin.url(&format!("/{name}"))
        );
        server.call("aria2.addUri", &params);
        server.call_until("aria2.tellStatus", &format!(r#"["{gid}"]"#), "errorCode");
    }
    (server, origin)
}

/// First letters of the GIDs that a query finds, and their number.
fn search(server: &Server, query: &str, offset: u32, len: u32) -> String {
    let answer = server.call(
        "aria2.searchDownloadResult",
        &format!(r#"[{query},{offset},{len},["gid"]]"#),
    );
    let gids = answer.split(r#""gid":""#).skip(1);
    gids.filter_map(|gid| gid.chars().next()).collect()
}

#[test]
fn results_are_counted_and_searched() {
    let (server, _origin) = with_results(&[]);
    for (query, found) in [
        ("{}", "cba"),
        (r#"{"status":["complete"]}"#, "ba"),
        (r#"{"status":["error","removed"]}"#, "c"),
        (r#"{"status":"complete"}"#, "ba"),
        (r#"{"pathLike":"%.MP4"}"#, "a"),
        (r#"{"pathLike":"%.mp"}"#, ""),
        (r#"{"gidPrefix":"B0"}"#, "b"),
        (r#"{"minSize":11}"#, "b"),
        (r#"{"maxSize":"10"}"#, "ca"),
        (r#"{"minSize":1,"maxSize":10,"status":["complete"]}"#, "a"),
        (r#"{"since":1700000000000}"#, "cba"),
        (r#"{"until":1700000000000}"#, ""),
        (r#"{"since":99999999999999}"#, ""),
        (r#"{"infoHash":"aa"}"#, ""),
        (r#"{"nobody":"knows"}"#, "cba"),
    ] {
        assert_eq!(search(&server, query, 0, 1000), found, "{query}");
        assert_eq!(
            server.call("aria2.getDownloadResultCount", &format!("[{query}]")),
            format!(r#"200 "result":{{"count":"{}"}}"#, found.len()),
            "{query}"
        );
    }
    assert_eq!(search(&server, "{}", 1, 1), "b");
    assert_eq!(search(&server, "{}", 5, 1), "");
    assert_eq!(search(&server, "{}", 0, 0), "");
    assert_eq!(
        server.call("aria2.getDownloadResultCount", "[]"),
        r#"200 "result":{"count":"3"}"#
    );
    assert_eq!(
        server.call("aria2.searchDownloadResult", "[{},-1,1]"),
        r#"400 "error":{"code":1,"message":"The integer parameter at 1 has invalid value: the value must be greater than or equal to 0."}"#
    );
    let all = server.call("aria2.searchDownloadResult", "[{},0,1]");
    assert!(
        all.contains(r#""files":[{"#) && !all.contains("finishedAt"),
        "{all}"
    );
}

#[test]
fn a_result_starts_again_as_another_download() {
    let (server, _origin) = with_results(&[]);
    let answer = server.call(
        "aria2.requeueDownloadResult",
        r#"["a000000000000001",{"out":"again.mp4","pause":"true"}]"#,
    );
    assert_eq!(
        filtered(&answer),
        r#"200 "result":{"gid":"GID","strategy":"source-uri"}"#
    );
    let waiting = server.call("aria2.tellWaiting", r#"[0,9,["gid","status"]]"#);
    assert!(!waiting.contains("a000000000000001"), "{waiting}");
    assert!(waiting.contains("paused"), "{waiting}");
    let gid = answer.split('"').nth(5).expect("a gid").to_owned();
    let options = server.call("aria2.getOption", &format!(r#"["{gid}"]"#));
    for pair in [
        r#""out":"again.mp4""#,
        r#""max-tries":"1""#,
        r#""split":"1""#,
    ] {
        assert!(options.contains(pair), "{pair} in {options}");
    }
    assert_eq!(search(&server, "{}", 0, 9), "cba", "the result stays");
    for (params, message) in [
        (
            format!(r#"["{gid}"]"#),
            format!("No download result for GID#{gid}"),
        ),
        (r#"["dddd"]"#.to_owned(), "GID dddd is not found".to_owned()),
        (
            r#"["a000000000000001",{"out":"../x"}]"#.to_owned(),
            "We encountered a problem while processing the option '--out'.".to_owned(),
        ),
    ] {
        assert_eq!(
            server.call("aria2.requeueDownloadResult", &params),
            format!(r#"400 "error":{{"code":1,"message":"{message}"}}"#)
        );
    }
}

#[test]
fn sessions_are_exported_to_the_state_directory_only() {
    let place = tempfile::tempdir().expect("a directory");
    let state = place.path().join("state");
    let (server, origin) = with_results(&[("state-dir", &state.to_string_lossy())]);
    let waiting = format!(r#"[["{}"],{{"pause":"true"}}]"#, origin.url("/later"));
    server.call("aria2.addUri", &waiting);
    let ok = r#"200 "result":"OK""#;
    assert_eq!(
        server.call("aria2.exportSession", r#"["dump.session"]"#),
        ok
    );
    let text = fs::read_to_string(state.join("dump.session")).expect("the file");
    assert!(text.contains("/later") && text.contains("/c"), "{text}");
    let absolute = format!(r#"["{}"]"#, state.join("x.session").display());
    assert_eq!(server.call("aria2.exportSession", &absolute), ok);
    for path in [
        "session.txt",
        "../x.session",
        "/tmp/arioso.session",
        "store/db",
    ] {
        let answer = server.call("aria2.exportSession", &format!(r#"["{path}"]"#));
        assert!(answer.starts_with("400"), "{path}: {answer}");
    }
    assert!(
        Server::start()
            .call("aria2.exportSession", r#"["a.session"]"#)
            .contains("there is none")
    );
}

#[test]
fn our_keys_are_for_those_who_name_them() {
    let (server, _origin) = with_results(&[]);
    let keys = r#"["phase","finishedAt","allocatedLength","status"]"#;
    let answer = server.call("aria2.tellStatus", &format!(r#"["a0",{keys}]"#));
    let since = answer
        .split('"')
        .nth(5)
        .and_then(|ms| ms.parse::<u64>().ok());
    assert!(since.is_some_and(|ms| ms > 1_700_000_000_000), "{answer}");
    assert!(answer.ends_with(r#""status":"complete"}"#), "{answer}");
    assert!(
        !server
            .call("aria2.tellStatus", r#"["a0"]"#)
            .contains("finishedAt")
    );
}

#[test]
fn results_that_are_no_longer_shown_are_found() {
    let place = tempfile::tempdir().expect("a directory");
    let state = place.path().join("state");
    for shown in ["0", "1"] {
        let state = state.join(shown);
        let (server, _origin) = with_history(shown, &state);
        assert_eq!(search(&server, "{}", 0, 9), "cba");
        assert_eq!(search(&server, "{}", 1, 1), "b");
        assert_eq!(search(&server, "{}", 2, 5), "a");
        for (query, found) in [
            (r#"{"status":["complete"]}"#, "ba"),
            (r#"{"pathLike":"%.MP4"}"#, "a"),
            (r#"{"gidPrefix":"B0"}"#, "b"),
            (r#"{"minSize":11}"#, "b"),
            (r#"{"since":1700000000000}"#, "cba"),
            (r#"{"infoHash":"aa"}"#, ""),
        ] {
            assert_eq!(search(&server, query, 0, 9), found, "{query}");
            assert_eq!(
                server.call("aria2.getDownloadResultCount", &format!("[{query}]")),
                format!(r#"200 "result":{{"count":"{}"}}"#, found.len())
            );
        }
        let row = server.call("aria2.searchDownloadResult", r#"[{"gidPrefix":"b"},0,1]"#);
        for part in [
            r#""status":"complete""#,
            r#""totalLength":"2000""#,
            "/b.iso",
        ] {
            assert!(row.contains(part), "{part} in {row}");
        }
        // Digits that several downloads share mean none of the history either.
        let waiting = ["a100000000000000", "a200000000000000"];
        for gid in waiting {
            let params = format!(r#"[["http://h/"],{{"gid":"{gid}","pause":"true"}}]"#);
            server.call("aria2.addUri", &params);
        }
        for method in ["aria2.removeDownloadResult", "aria2.requeueDownloadResult"] {
            assert_eq!(
                server.call(method, r#"["a"]"#),
                r#"400 "error":{"code":1,"message":"GID a is not unique"}"#
            );
        }
        for gid in waiting {
            server.call("aria2.remove", &format!(r#"["{gid}"]"#));
        }
        let again = server.call(
            "aria2.requeueDownloadResult",
            r#"["a0",{"out":"again.mp4","pause":"true"}]"#,
        );
        assert!(again.starts_with(r#"200 "result":{"gid":"#), "{again}");
        let ok = r#"200 "result":"OK""#;
        assert_eq!(server.call("aria2.removeDownloadResult", r#"["a0"]"#), ok);
        assert_eq!(search(&server, "{}", 0, 9), "cb");
        assert_eq!(
            server.call("aria2.removeDownloadResult", r#"["a000000000000001"]"#),
            r#"400 "error":{"code":1,"message":"GID a000000000000001 is not found"}"#
        );
        assert_eq!(server.call("aria2.purgeDownloadResult", "[]"), ok);
        assert_eq!(search(&server, "{}", 0, 9), "");
    }
}

/// As [`with_results`], with a state directory; waits until all three are found.
fn with_history(shown: &str, state: &std::path::Path) -> (Server, Origin) {
    let origin = Origin::start(|seen| match seen.path.as_str() {
        "/a.mp4" => Reply::file(&[1; 10], seen, &[]),
        "/b.iso" => Reply::file(&[2; 2000], seen, &[]),
        _ => Reply::status("404 Not Found"),
    });
    let state = state.to_string_lossy();
    let server = Server::with(&[("state-dir", &*state), ("max-download-result", shown)]);
    for (gid, name) in [("a", "a.mp4"), ("b", "b.iso"), ("c", "c")] {
        let params = format!(
            r#"[["{}"],{{"gid":"{gid}000000000000001","max-tries":"1"}}]"#,
            origin.url(&format!("/{name}"))
        );
        server.call("aria2.addUri", &params);
        let query = format!(r#"[{{"gidPrefix":"{gid}"}}]"#);
        server.call_until("aria2.getDownloadResultCount", &query, r#""1""#);
    }
    (server, origin)
}
