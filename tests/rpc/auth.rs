//! Tokens, HTTP Basic, and the delay of refusals.

use std::time::{Duration, Instant};

use super::server::Server;

const UNAUTHORIZED: &str = r#"400 "error":{"code":1,"message":"Unauthorized"}"#;

#[test]
fn every_call_needs_the_token() {
    let server = Server::with(&[("rpc-secret", "hush")]);
    let gid = r#"200 "result":"OK""#;
    assert_eq!(server.call("aria2.pauseAll", r#"["token:hush"]"#), gid);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for params in [
            "[]",
            r#"["token:"]"#,
            r#"["token:hus"]"#,
            r#"["token:hush2"]"#,
            r#"["hush"]"#,
        ] {
            let server = &server;
            scope.spawn(move || {
                assert_eq!(
                    server.call("aria2.pauseAll", params),
                    UNAUTHORIZED,
                    "{params}"
                );
                assert_eq!(server.call("no.such", params), UNAUTHORIZED, "{params}");
            });
        }
        let server = &server;
        scope.spawn(move || {
            let asked = Instant::now();
            server.call("aria2.pauseAll", r#"["token:hush"]"#);
            assert!(
                asked.elapsed() < Duration::from_secs(1),
                "refusals delay nobody else"
            );
        });
    });
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

#[test]
fn system_methods_need_none_and_multicall_has_them_inside() {
    let server = Server::with(&[("rpc-secret", "hush")]);
    let listed = server.call("system.listNotifications", "[]");
    assert!(
        listed.starts_with(r#"200 "result":["aria2.onDownloadStart""#),
        "{listed}"
    );
    assert_eq!(
        server.call("system.multicall", r#"["token:hush",[]]"#),
        r#"400 "error":{"code":1,"message":"The parameter at 0 has wrong type."}"#
    );
    let started = Instant::now();
    assert_eq!(
        server.call(
            "system.multicall",
            r#"[[{"methodName":"aria2.pauseAll","params":["token:hush"]},{"methodName":"aria2.pauseAll"},{"methodName":"aria2.pauseAll"}]]"#
        ),
        r#"200 "result":[["OK"],{"code":1,"message":"Unauthorized"},{"code":1,"message":"Unauthorized"}]"#
    );
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_millis(1900),
        "one delay: {took:?}"
    );
}

#[test]
fn tokens_are_taken_out_where_no_secret_is_set() {
    let server = Server::start();
    assert_eq!(
        server.call("aria2.tellStatus", r#"["token:any","zz"]"#),
        r#"400 "error":{"code":1,"message":"Invalid GID zz"}"#
    );
    assert_eq!(
        server.call("aria2.tellStatus", r#"["token:any","token:zz"]"#),
        r#"400 "error":{"code":1,"message":"Invalid GID token:zz"}"#
    );
}

#[test]
fn basic_guards_everything_but_preflights() {
    let server = Server::with(&[("rpc-user", "u"), ("rpc-passwd", "p")]);
    let call = r#"{"id":1,"method":"system.listNotifications"}"#;
    for headers in ["", "Authorization: Basic dTpx\r\n"] {
        let response = server.post_to("/jsonrpc", headers, call);
        assert_eq!(
            response.head,
            "HTTP/1.1 401 Unauthorized\nDate: T\nContent-Length: 0\nExpires: T\nCache-Control: no-cache\nConnection: close\nWww-Authenticate: Basic realm=\"aria2\""
        );
    }
    let good = "Authorization: Basic dTpw\r\n";
    assert_eq!(server.post_to("/jsonrpc", good, call).status, 200);
    assert_eq!(
        server.raw("OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n").status,
        200
    );
    let upgrade = "GET /jsonrpc HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(server.raw(format!("{upgrade}\r\n")).status, 401);
    assert_eq!(server.raw(format!("{upgrade}{good}\r\n")).status, 101);
}

#[test]
fn xml_refusals_are_faults() {
    let server = Server::with(&[("rpc-secret", "hush")]);
    let response = server.xml("<methodCall><methodName>aria2.getVersion</methodName></methodCall>");
    assert_eq!(response.status, 200);
    assert!(response.text().contains("<string>Unauthorized</string>"));
}
