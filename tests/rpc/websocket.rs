//! WebSocket: handshake, frames, events, bad clients.

use std::io::Write;
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::server::{Response, Server, filtered};

const CALL: &str = r#"{"id":1,"method":"aria2.pauseAll"}"#;
const OK: &str = r#"{"id":1,"jsonrpc":"2.0","result":"OK"}"#;
const PARSE: &str =
    r#"{"id":null,"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error."}}"#;

fn handshake(server: &Server, start: &str, headers: &str) -> Response {
    server.raw(format!(
        "{start} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n{headers}\r\n"
    ))
}

#[test]
fn handshakes() {
    let server = Server::start();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let v13 = "Sec-WebSocket-Version: 13\r\n";
    let offers = "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let response = handshake(
        &server,
        "GET /jsonrpc",
        &format!("{key}{v13}{offers}Origin: http://localhost:8080\r\n"),
    );
    assert_eq!(
        response.head,
        "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\nSec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    for (start, headers, status) in [
        (
            "GET /jsonrpc",
            format!("{key}Sec-WebSocket-Version: 8\r\n"),
            426,
        ),
        ("GET /jsonrpc", key.to_owned(), 426),
        ("GET /jsonrpc", v13.to_owned(), 400),
        ("POST /jsonrpc", format!("{key}{v13}"), 400),
        ("GET /rpc", format!("{key}{v13}"), 404),
        ("GET /jsonrpc?x=y", format!("{key}{v13}"), 101),
    ] {
        let response = handshake(&server, start, &headers);
        assert_eq!(response.status, status, "{start} {headers}");
        if status == 426 {
            assert_eq!(response.header("Sec-Websocket-Version"), Some("13"));
        }
    }
}

#[test]
fn text_binary_and_fragments_are_answered_in_text() {
    let server = Server::start();
    let mut socket = server.websocket_at("/jsonrpc?token=x");
    assert_eq!(socket.ask(CALL), OK);
    socket.send(Message::binary(CALL));
    assert_eq!(socket.text(), OK);
    assert_eq!(
        socket.ask(&format!("[{CALL},{CALL},7]")),
        format!("[{OK},{OK}]")
    );
    assert_eq!(socket.ask(""), PARSE);
    let (first, second) = CALL.split_at(9);
    let part = |text: &str, code, last| {
        Message::Frame(Frame::message(
            Bytes::copy_from_slice(text.as_bytes()),
            OpCode::Data(code),
            last,
        ))
    };
    socket.send(part(first, Data::Text, false));
    socket.send(Message::Ping(Bytes::from_static(b"p")));
    socket.send(part(second, Data::Continue, true));
    assert_eq!(
        socket.next().expect("a pong"),
        Message::Pong(Bytes::from_static(b"p"))
    );
    assert_eq!(socket.text(), OK);
    socket.send(Message::Pong(Bytes::new()));
    assert!(socket.is_quiet(), "pings and pongs bring no message");
}

#[test]
fn answers_keep_the_order_of_the_calls() {
    let server = Server::start();
    let mut socket = server.websocket();
    for id in 0..200 {
        socket.send(format!(r#"{{"id":{id},"method":"aria2.unpauseAll"}}"#));
    }
    for id in 0..200 {
        assert_eq!(
            socket.text(),
            format!(r#"{{"id":{id},"jsonrpc":"2.0","result":"OK"}}"#)
        );
    }
}

#[test]
fn closes_are_echoed() {
    let server = Server::start();
    let mut socket = server.websocket();
    let frame = CloseFrame {
        code: CloseCode::Library(4001),
        reason: "bye".into(),
    };
    socket.0.close(Some(frame.clone())).expect("sent");
    assert_eq!(socket.next().expect("a close"), Message::Close(Some(frame)));
    assert!(matches!(socket.next(), Err(Error::ConnectionClosed)));
}

#[test]
fn bad_frames_close_with_their_code() {
    let server = Server::start();
    for (bytes, code) in [
        // Unmasked.
        (&b"\x81\x01a"[..], CloseCode::Protocol),
        // Reserved bit.
        (b"\xc1\x81\0\0\0\0a", CloseCode::Protocol),
        // Text that is no UTF-8.
        (b"\x81\x81\0\0\0\0\xff", CloseCode::Invalid),
        // A continuation of nothing.
        (b"\x80\x81\0\0\0\0a", CloseCode::Protocol),
    ] {
        let mut socket = server.websocket();
        socket.0.get_mut().write_all(bytes).expect("sent");
        match socket.next() {
            Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, code, "{bytes:?}"),
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
}

#[test]
fn messages_beyond_the_limit_are_answered() {
    let server = Server::with(&[("rpc-max-request-size", "1K")]);
    let mut socket = server.websocket();
    let padded = |len: usize| format!("{CALL}{}", " ".repeat(len - CALL.len()));
    assert_eq!(socket.ask(&padded(1024)), OK);
    assert_eq!(socket.ask(&padded(1025)), PARSE);
    assert_eq!(socket.ask(CALL), OK);
}

/// Known-bugs 46.
#[test]
fn refusals_wait_and_later_answers_pass_them() {
    let server = Server::with(&[("rpc-secret", "hush")]);
    let mut socket = server.websocket();
    let started = Instant::now();
    socket.send(r#"{"id":1,"method":"aria2.pauseAll"}"#);
    socket.send(r#"{"id":2,"method":"aria2.pauseAll","params":["token:hush"]}"#);
    assert_eq!(socket.text(), r#"{"id":2,"jsonrpc":"2.0","result":"OK"}"#);
    assert_eq!(
        socket.text(),
        r#"{"id":1,"jsonrpc":"2.0","error":{"code":1,"message":"Unauthorized"}}"#
    );
    assert!(started.elapsed() >= Duration::from_secs(1));
}

/// Adds a download that fails at once: nobody listens on port 1.
fn add(token: &str) -> String {
    format!(
        r#"{{"id":"add","method":"aria2.addUri","params":["token:{token}",["http://127.0.0.1:1/f"]]}}"#
    )
}

#[test]
fn events_go_to_every_socket_behind_the_answer() {
    let server = Server::start();
    let (mut one, mut two) = (server.websocket(), server.websocket());
    assert_eq!(
        filtered(&one.ask(&add(""))),
        r#"{"id":"add","jsonrpc":"2.0","result":"GID"}"#
    );
    for socket in [&mut one, &mut two] {
        for name in ["aria2.onDownloadStart", "aria2.onDownloadError"] {
            assert_eq!(
                filtered(&socket.text()),
                format!(r#"{{"jsonrpc":"2.0","method":"{name}","params":[{{"gid":"GID"}}]}}"#)
            );
        }
    }
}

/// Known-bugs 37.
#[test]
fn web_pages_are_told_events_once_they_have_shown_the_token() {
    let server = Server::with(&[("rpc-secret", "hush")]);
    let mut stranger = server.websocket_of("http://evil.test");
    let mut friend = server.websocket_of("http://friend.test");
    let (mut program, mut self_named) = (server.websocket(), server.websocket_of_itself());
    assert_eq!(stranger.ask("{"), PARSE);
    assert!(
        stranger
            .ask(r#"{"id":1,"method":"system.listMethods"}"#)
            .contains("aria2.addUri")
    );
    assert!(friend.ask(&add("hush")).contains("result"));
    for socket in [&mut friend, &mut program, &mut self_named] {
        assert!(socket.text().contains("onDownloadStart"));
    }
    assert!(stranger.is_quiet());
}
