//! JSON envelopes: what is no call, batches, GET.

use super::server::{Server, filtered};

const PARSE: &str =
    r#"{"id":null,"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error."}}"#;
const INVALID: &str =
    r#"{"id":null,"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}"#;

#[test]
fn messages_that_hold_no_call() {
    let server = Server::start();
    for (body, status, answer) in [
        ("", 500, PARSE),
        ("12", 500, PARSE),
        ("\u{feff}{}", 500, PARSE),
        (r#"{"id":9223372036854775808,"method":"x"}"#, 500, PARSE),
        ("null", 400, INVALID),
        (r#""text""#, 400, INVALID),
        (
            r#"{"jsonrpc":"2.0","method":"aria2.getVersion"}"#,
            400,
            INVALID,
        ),
        (r#"{"id":1,"id":2,"method":"x"}"#, 400, INVALID),
        (
            r#"{"id":1,"method":5}"#,
            400,
            r#"{"id":1,"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request."}}"#,
        ),
        (
            r#"{"id":1,"method":"aria2.getVersion","params":{}}"#,
            500,
            r#"{"id":1,"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params."}}"#,
        ),
        (
            r#"{"id":[1.5,{"b":"é/","a":null}],"method":"aria2.foo"}"#,
            400,
            r#"{"id":[1,{"a":null,"b":"é\/"}],"jsonrpc":"2.0","error":{"code":1,"message":"No such method: aria2.foo"}}"#,
        ),
    ] {
        let response = server.post(body);
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, answer),
            "{body}"
        );
        assert_eq!(response.header("Connection"), Some("close"), "{body}");
    }
}

#[test]
fn nesting_of_any_depth_is_survived() {
    let server = Server::start();
    for body in ["[".repeat(1_000_000), r#"{"a":"#.repeat(300_000)] {
        assert_eq!(server.post(body).text(), PARSE);
    }
}

#[test]
fn batches_answer_in_order() {
    let server = Server::start();
    let session = r#"{"id":"q","jsonrpc":"2.0","method":"aria2.getSessionInfo"}"#;
    let foo = r#"{"id":"q","jsonrpc":"2.0","method":"aria2.foo"}"#;
    let response = server.post(format!("[{session},{foo},5,[],{{}}]"));
    assert_eq!(response.status, 200);
    assert_eq!(
        filtered(&response.text()),
        format!(
            r#"[{{"id":"q","jsonrpc":"2.0","result":{{"product":"arioso","productVersion":"{}","sessionId":"SESSION"}}}},{{"id":"q","jsonrpc":"2.0","error":{{"code":1,"message":"No such method: aria2.foo"}}}},{INVALID}]"#,
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(server.post("[]").text(), "[]");
    assert_eq!(server.post("[[],5]").text(), "[]");
}

/// Known-bugs 45.
#[test]
fn a_batch_of_a_thousand_keeps_its_order() {
    let server = Server::start();
    let calls: Vec<String> = (0..1000)
        .map(|id| format!(r#"{{"id":{id},"method":"aria2.pauseAll"}}"#))
        .collect();
    let answers: Vec<String> = (0..1000)
        .map(|id| format!(r#"{{"id":{id},"jsonrpc":"2.0","result":"OK"}}"#))
        .collect();
    let response = server.post(format!("[{}]", calls.join(",")));
    assert_eq!(response.text(), format!("[{}]", answers.join(",")));
}

#[test]
fn get_takes_base64_and_wraps_for_scripts() {
    let server = Server::start();
    for (query, status, content_type, body) in [
        (
            "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ%3D%3D",
            200,
            "application/json-rpc",
            r#"{"id":"foo","jsonrpc":"2.0","result":[]}"#,
        ),
        (
            "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ==&jsoncallback=cb",
            200,
            "text/javascript",
            r#"cb({"id":"foo","jsonrpc":"2.0","result":[]})"#,
        ),
        (
            "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ",
            400,
            "application/json-rpc",
            INVALID,
        ),
        ("", 400, "application/json-rpc", INVALID),
        (
            "?method=aria2.tellStatus&id=foo&params=WyJ6eiJd&jsoncallback=cb",
            400,
            "text/javascript",
            r#"cb({"id":"foo","jsonrpc":"2.0","error":{"code":1,"message":"Invalid GID zz"}})"#,
        ),
    ] {
        let response = server.get(&format!("/jsonrpc{query}"));
        assert_eq!(
            (
                response.status,
                response.header("Content-Type"),
                response.text().as_str()
            ),
            (status, Some(content_type), body),
            "{query}"
        );
    }
}
