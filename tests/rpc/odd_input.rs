//! Whatever is sent, it is answered or the connection ends, and the server goes on. (Texts that are
//! nearly JSON or XML: the readers' own tests in `src/rpc`.)

use std::io::Write;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::server::{Response, Server};

const HANDSHAKE: &str = "GET /jsonrpc HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Words that mean something somewhere; nothing that is looked for on a network.
const WORDS: [&str; 12] = [
    "", "0", "gid", "status", "pause", "true", "split", "dir", "..", "zz", "token:x", "POS_SET",
];

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..300_i64).prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let name = prop::sample::select(&WORDS[..]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn calls(methods: Vec<String>) -> impl Strategy<Value = Vec<Value>> {
    let method = prop_oneof![
        9 => prop::sample::select(methods).prop_map(Value::from),
        1 => value(),
    ];
    let call = prop_oneof![
        6 => (method, prop::collection::vec(value(), 0..4))
            .prop_map(|(method, params)| json!({"methodName": method, "params": params})),
        1 => value().prop_map(|params| json!({"methodName": "aria2.tellStatus", "params": params})),
        1 => value(),
    ];
    prop::collection::vec(call, 0..6)
}

#[test]
fn every_part_of_a_multicall_is_answered() {
    let server = Server::start();
    let listed = server.call("system.listMethods", "[]");
    let listed = listed.strip_prefix(r#"200 "result":"#).expect("a list");
    let mut methods: Vec<String> = serde_json::from_str(listed).expect("names");
    methods.retain(|method| !method.to_lowercase().contains("shutdown"));
    let answered = runner().run(&calls(methods), |calls| {
        let answer = server.call("system.multicall", &json!([calls]).to_string());
        let result = answer.strip_prefix(r#"200 "result":"#);
        let parts: Vec<Value> = result
            .and_then(|result| serde_json::from_str(result).ok())
            .ok_or_else(|| TestCaseError::fail(answer.clone()))?;
        prop_assert_eq!(parts.len(), calls.len(), "{}", answer);
        for part in parts {
            let good = part.as_array().is_some_and(|one| one.len() == 1);
            let bad = part["code"] == 1 && part["message"].is_string();
            prop_assert!(good || bad, "{}", part);
        }
        Ok(())
    });
    answered.expect("answers");
}

/// A frame: any first byte, any payload, masked or not, and a length that may be another.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let head = (any::<u8>(), any::<bool>(), prop::option::of(any::<u8>()));
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        Just(br#"{"id":1,"method":"aria2.getVersion"}"#.to_vec()),
    ];
    (head, payload).prop_map(|((first, masked, told), payload)| {
        let len = told.unwrap_or(payload.len() as u8) & 0x7f;
        let mut frame = vec![first, len | u8::from(masked) << 7];
        frame.extend(masked.then_some([0; 4]).into_iter().flatten());
        frame.extend(payload);
        frame
    })
}

#[test]
fn frames_of_any_kind_end_their_own_connection_at_most() {
    let server = Server::start();
    let frames = prop::collection::vec(frame(), 1..5);
    let survived = runner().run(&frames, |frames| {
        let mut stream = server.connect();
        stream.write_all(HANDSHAKE.as_bytes())?;
        let opened = Response::read(&mut stream).map(|response| response.status);
        prop_assert_eq!(opened, Some(101));
        // The server may have closed before the last of them.
        let _ = stream.write_all(&frames.concat());
        let answer = server.call("aria2.getGlobalStat", "[]");
        prop_assert!(answer.contains("numActive"), "{}", answer);
        Ok(())
    });
    survived.expect("answers");
}
