//! HTTP: paths, headers, CORS, compression, bodies, connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use insta::assert_snapshot;

use super::server::{Response, Server, is_closed, post};

const CALL: &[u8] = br#"{"id":1,"method":"aria2.pauseAll"}"#;
const OK: &str = r#"{"id":1,"jsonrpc":"2.0","result":"OK"}"#;

#[test]
fn headers_stand_in_aria2s_order() {
    let server = Server::start();
    assert_snapshot!(server.post(CALL).head, @r"
    HTTP/1.1 200 OK
    Date: T
    Content-Length: 38
    Expires: T
    Cache-Control: no-cache
    Content-Type: application/json-rpc
    ");
    assert_snapshot!(server.post("5").head, @r"
    HTTP/1.1 500 Internal Server Error
    Date: T
    Content-Length: 76
    Expires: T
    Cache-Control: no-cache
    Content-Type: application/json-rpc
    Connection: close
    ");
}

#[test]
fn only_two_paths_exist() {
    let server = Server::start();
    for start in [
        "GET /",
        "POST /",
        "POST /jsonrpc/",
        "POST /JSONRPC",
        "PUT /jsonrpc",
        "DELETE /jsonrpc",
        "PATCH /jsonrpc",
        "HEAD /jsonrpc",
        "GET /rpc",
    ] {
        let response = server.raw(format!(
            "{start} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(
            response.head,
            "HTTP/1.1 404 Not Found\nDate: T\nContent-Length: 0\nExpires: T\nCache-Control: no-cache",
            "{start}"
        );
    }
    assert_eq!(server.post_to("/jsonrpc?x=y", "", CALL).text(), OK);
    assert_eq!(
        server
            .post_to("/jsonrpc", "Content-Type: text/plain\r\n", CALL)
            .text(),
        OK
    );
}

#[test]
fn cors_only_where_it_is_allowed() {
    let ask = "OPTIONS /any HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x, Y\r\n\r\n";
    let plain = "OPTIONS /any HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nAccess-Control-Request-Headers: x\r\n\r\n";
    let closed = Server::start();
    assert_eq!(
        closed.raw(ask).head,
        "HTTP/1.1 200 OK\nDate: T\nContent-Length: 0\nExpires: T\nCache-Control: no-cache"
    );
    assert_eq!(
        closed.post(CALL).header("Access-Control-Allow-Origin"),
        None
    );
    let open = Server::with(&[("rpc-allow-origin-all", "true")]);
    assert_snapshot!(open.raw(ask).head, @r"
    HTTP/1.1 200 OK
    Date: T
    Content-Length: 0
    Expires: T
    Cache-Control: no-cache
    Access-Control-Allow-Origin: *
    Access-Control-Allow-Methods: POST, GET, OPTIONS
    Access-Control-Max-Age: 1728000
    Access-Control-Allow-Headers: x, Y
    ");
    assert_eq!(open.raw(plain).header("Access-Control-Allow-Methods"), None);
    for response in [open.post(CALL), open.post("5"), open.get("/nowhere")] {
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"));
    }
}

/// Known-bugs 38.
#[test]
fn answers_are_compressed_when_asked() {
    let server = Server::start();
    let response = server.post_to("/jsonrpc", "Accept-Encoding: deflate, gzip\r\n", CALL);
    assert_eq!(response.header("Content-Encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&response.body[..])
        .read_to_string(&mut text)
        .expect("gzip");
    assert_eq!(text, OK);
    let plain = server.post_to("/jsonrpc", "Accept-Encoding: deflate\r\n", CALL);
    assert_eq!(
        (plain.header("Content-Encoding"), plain.text().as_str()),
        (None, OK)
    );
}

#[test]
fn chunked_bodies_are_read() {
    let server = Server::start();
    let (first, second) = CALL.split_at(7);
    let mut request =
        b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in [first, second, b""] {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    assert_eq!(server.raw(request).text(), OK);
}

#[test]
fn bodies_beyond_the_limit_are_answered_413() {
    let server = Server::with(&[("rpc-max-request-size", "1K")]);
    let padded = |len: usize| {
        let mut body = CALL.to_vec();
        body.resize(len, b' ');
        body
    };
    assert_eq!(server.post(padded(1024)).text(), OK);
    let response = server.post(padded(1025));
    assert_eq!(
        (response.status, response.header("Connection")),
        (413, Some("close"))
    );
    let mut request =
        b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n".to_vec();
    request.extend_from_slice(&padded(2048));
    request.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(server.raw(request).status, 413);
}

#[test]
fn connections_stay_open_and_take_requests_at_once() {
    let server = Server::start();
    let mut stream = server.connect();
    let calls: Vec<u8> = (0..20)
        .flat_map(|id| {
            let body = format!(r#"{{"id":{id},"method":"aria2.pauseAll"}}"#);
            post("/jsonrpc", "", body.as_bytes())
        })
        .collect();
    stream.write_all(&calls).expect("sent");
    for id in 0..20 {
        let response = Response::read(&mut stream).expect("an answer");
        assert_eq!(
            response.text(),
            format!(r#"{{"id":{id},"jsonrpc":"2.0","result":"OK"}}"#)
        );
    }
    stream.write_all(&post("/nowhere", "", b"")).expect("sent");
    assert_eq!(Response::read(&mut stream).expect("an answer").status, 404);
    let mut errors = post("/jsonrpc", "", b"5");
    errors.extend_from_slice(&post("/jsonrpc", "", CALL));
    stream.write_all(&errors).expect("sent");
    assert_eq!(Response::read(&mut stream).expect("an answer").status, 500);
    assert!(
        Response::read(&mut stream).is_none(),
        "an error answer closes"
    );
}

#[test]
fn http_1_0_closes_unless_asked() {
    let server = Server::start();
    for (headers, closes) in [("", true), ("Connection: keep-alive\r\n", false)] {
        let mut stream = server.connect();
        let request = String::from_utf8(post("/jsonrpc", headers, CALL)).expect("text");
        stream
            .write_all(request.replace("HTTP/1.1", "HTTP/1.0").as_bytes())
            .expect("sent");
        let response = Response::read(&mut stream).expect("an answer");
        assert!(response.head.starts_with("HTTP/1."), "{}", response.head);
        assert_eq!(response.text(), OK);
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        assert_eq!(is_closed(&mut stream), closes, "{headers:?}");
    }
}

#[test]
fn both_families_listen_on_one_port() {
    let server = Server::start();
    let ports: Vec<u16> = server
        .addresses()
        .iter()
        .map(std::net::SocketAddr::port)
        .collect();
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    assert!(
        server
            .addresses()
            .iter()
            .all(|address| address.ip().is_loopback())
    );
}

#[test]
fn listening_on_all_addresses_is_for_those_who_ask() {
    let server = Server::with(&[("rpc-listen-all", "true")]);
    let addresses = server.addresses();
    assert!(!addresses.is_empty());
    assert!(
        addresses
            .iter()
            .all(|address| address.ip().is_unspecified())
    );
    let here = (Ipv4Addr::LOCALHOST, addresses[0].port());
    assert!(TcpStream::connect(here).is_ok());
}
