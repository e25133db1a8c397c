//! Safe by default: foreign pages and names, slow clients, too many of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::Message;

use super::server::{Response, Server, is_closed, post};

const CALL: &str = r#"{"id":1,"method":"aria2.pauseAll"}"#;
const SHORT: Duration = Duration::from_millis(300);

fn handshake(server: &Server, headers: &str) -> u16 {
    let request = format!(
        "GET /jsonrpc HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    server.raw(request).status
}

/// Statuses of the same visitor's POST, XML-RPC, GET and WebSocket.
fn statuses(server: &Server, headers: &str) -> [u16; 4] {
    let send = |path: &str, body: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.raw(request).status
    };
    let get = format!("GET /jsonrpc?method=aria2.pauseAll&id=1 HTTP/1.1\r\n{headers}\r\n");
    [
        send("/jsonrpc", CALL),
        send(
            "/rpc",
            "<methodCall><methodName>aria2.pauseAll</methodName></methodCall>",
        ),
        server.raw(get).status,
        handshake(server, headers),
    ]
}

#[test]
fn foreign_pages_and_names_are_refused_on_every_way_in() {
    let open = [200, 200, 200, 101];
    let shut = [403; 4];
    let bare = Server::start();
    let allowing = Server::with(&[("rpc-allowed-host", "dl.example,*.home.example")]);
    for (server, headers, expected) in [
        (&bare, "Host: localhost:6800\r\n", open),
        (&bare, "", open),
        (
            &bare,
            "Host: localhost:6800\r\nOrigin: http://localhost:8080\r\n",
            open,
        ),
        (
            &bare,
            "Host: localhost:6800\r\nOrigin: chrome-extension://abc\r\n",
            open,
        ),
        (
            &bare,
            "Host: localhost:6800\r\nOrigin: https://evil.example\r\n",
            shut,
        ),
        (&bare, "Host: localhost:6800\r\nOrigin: null\r\n", shut),
        (
            &bare,
            "Host: localhost:6800\r\nReferer: https://evil.example/\r\n",
            shut,
        ),
        (
            &bare,
            "Host: localhost:6800\r\nSec-Fetch-Site: cross-site\r\n",
            shut,
        ),
        (
            &bare,
            "Host: evil.example:6800\r\nOrigin: http://evil.example:6800\r\n",
            shut,
        ),
        (&bare, "Host: evil.example:6800\r\n", shut),
        (&bare, "Host: dl.example:6800\r\n", shut),
        (
            &allowing,
            "Host: dl.example:6800\r\nOrigin: https://a.home.example\r\n",
            open,
        ),
        (&allowing, "Host: x.home.example\r\n", open),
        (&allowing, "Host: evil.example\r\n", shut),
    ] {
        assert_eq!(statuses(server, headers), expected, "{headers}");
    }
    let response = bare.raw(format!(
        "POST /jsonrpc HTTP/1.1\r\nHost: evil.example\r\nContent-Length: {}\r\n\r\n{CALL}",
        CALL.len()
    ));
    assert_eq!(response.header("Connection"), Some("close"));
    assert_eq!(response.text(), "");
}

#[test]
fn a_secret_or_the_owners_word_lets_pages_in() {
    let page = "Host: evil.example\r\nOrigin: null\r\n";
    let open = Server::with(&[("rpc-allow-origin-all", "true")]);
    assert_eq!(statuses(&open, page), [200, 200, 200, 101]);
    let guarded = Server::with(&[("rpc-secret", "hush")]);
    assert_eq!(handshake(&guarded, page), 101);
    let body = r#"{"id":1,"method":"aria2.pauseAll","params":["token:hush"]}"#;
    let request = format!(
        "POST /jsonrpc HTTP/1.1\r\n{page}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(guarded.raw(request).status, 200);
    // Browsers add HTTP Basic to the calls of any page.
    let basic = Server::with(&[("rpc-user", "u"), ("rpc-passwd", "p")]);
    let page = "Host: localhost\r\nOrigin: http://evil.example\r\nAuthorization: Basic dTpw\r\n";
    assert_eq!(statuses(&basic, page), [403; 4]);
}

fn impatient() -> Server {
    Server::tuned(&[], |settings| {
        settings.patience.idle = SHORT;
        settings.patience.body = SHORT;
        settings.patience.write = SHORT;
    })
}

/// How long it takes until the peer closes or answers.
fn until_end(stream: &mut TcpStream) -> (Duration, Option<u16>) {
    let started = Instant::now();
    let status = Response::read(stream).map(|response| response.status);
    (started.elapsed(), status)
}

#[test]
fn slow_heads_and_slow_bodies_time_out() {
    let server = impatient();
    for (sent, status) in [
        ("", None),
        ("POST /jsonrpc HT", None),
        ("POST /jsonrpc HTTP/1.1\r\nHost: x\r\nX-", None),
        (
            "POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
            Some(408),
        ),
    ] {
        let mut stream = server.connect();
        stream.write_all(sent.as_bytes()).expect("sent");
        let (took, got) = until_end(&mut stream);
        assert_eq!(got.filter(|status| *status != 400), status, "{sent}");
        assert!(took >= SHORT / 2 && took < SHORT * 60, "{sent}: {took:?}");
    }
    // A byte now and then does not help.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n")
        .expect("sent");
    let started = Instant::now();
    stream.set_read_timeout(Some(SHORT / 6)).expect("a timeout");
    let mut first = [0; 1];
    while stream.read(&mut first).is_err() && started.elapsed() < SHORT * 60 {
        let _ = stream.write_all(b" ");
    }
    assert_eq!(&first, b"H", "an answer has begun");
}

/// A batch whose answer is some ten megabytes, but fits into the request.
fn long_answer() -> String {
    let call = r#"{"id":1,"method":"system.listMethods"}"#;
    format!("[{}]", vec![call; 10_000].join(","))
}

#[test]
fn answers_nobody_reads_end_their_connection_and_delay_no_one() {
    let server = impatient();
    let mut deaf: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = server.connect();
            stream
                .write_all(&post("/jsonrpc", "", long_answer().as_bytes()))
                .expect("sent");
            stream
        })
        .collect();
    let mut socket = server.websocket();
    for _ in 0..40 {
        // It is closed before it has sent all this.
        if socket.0.send(long_answer().into()).is_err() {
            break;
        }
    }
    let mut friend = server.websocket();
    let mut worst = Duration::ZERO;
    let started = Instant::now();
    while started.elapsed() < SHORT * 6 {
        let asked = Instant::now();
        friend.ask(CALL);
        worst = worst.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    // The long answers are made on the same thread, in turns (debug build).
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    for stream in &mut deaf {
        let mut rest = Vec::new();
        // The connection ends in the middle of the answer, by a reset perhaps.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 8 << 20, "{} bytes were kept", rest.len());
    }
}

#[test]
fn connections_beyond_the_limit_are_told_to_come_back() {
    let server = Server::with(&[("rpc-max-connections", "3")]);
    let mut kept: Vec<_> = (0..3).map(|_| server.websocket()).collect();
    for _ in 0..5 {
        let response = server.post(CALL);
        assert_eq!(response.status, 503);
        assert_eq!(response.header("Retry-After"), Some("5"));
    }
    kept[0].ask(CALL);
    drop(kept.pop());
    post_until(&server, CALL, 200);
}

#[test]
fn deep_and_long_json_is_refused() {
    let server = Server::start();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(server.post(deep).status, 500);
    let started = Instant::now();
    let many = format!("[{}]", vec!["{}"; 200_000].join(","));
    assert_eq!(server.post(many).status, 200);
    assert!(started.elapsed() < Duration::from_secs(30));
    let mut stream = server.connect();
    stream
        .write_all(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes())
        .ok();
    let status = Response::read(&mut stream).map_or(0, |response| response.status);
    assert!([0, 400, 431].contains(&status) || is_closed(&mut stream));
}

/// A call of so many bytes.
fn padded(len: usize) -> String {
    CALL.to_owned() + &" ".repeat(len - CALL.len())
}

/// Posts until the answer has this status.
fn post_until(server: &Server, body: &str, status: u16) {
    let started = Instant::now();
    while server.post(body).status != status {
        assert!(started.elapsed() < Duration::from_secs(30), "no {status}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn half_sent_requests_do_not_fill_the_memory() {
    const LEN: usize = 128 << 10;
    let limit = [("rpc-max-request-size", "128K")];
    let server = Server::tuned(&limit, |settings| settings.requests_len_max = 2 << 20);
    let long = padded(LEN);
    let request = post("/jsonrpc", "", long.as_bytes());
    let (most, last) = request.split_at(request.len() - 1);
    let mut senders = Vec::new();
    let started = Instant::now();
    while server.post(&long).status != 503 {
        assert!(started.elapsed() < Duration::from_secs(30), "no 503");
        let mut sender = server.connect();
        // Who is turned away may not get rid of it all.
        let _ = sender.write_all(most);
        senders.push(sender);
    }
    assert_eq!(server.post(CALL).status, 200, "a small call is answered");
    let mut friend = server.websocket();
    friend.ask(CALL);
    let _ = friend.0.send(Message::text(long.as_str()));
    // A reset may overtake the reason.
    if let Ok(Message::Close(frame)) = friend.next() {
        assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1013));
    }
    assert!(friend.next().is_err(), "the socket is closed");
    let answers = senders.iter_mut().map(|sender| {
        let _ = sender.write_all(last);
        Response::read(sender).map(|response| response.status)
    });
    let answered = answers.filter(|status| *status == Some(200)).count();
    // So many fill the room; it is given back when they are answered.
    assert!((1..=18).contains(&answered), "{answered} answered");
    post_until(&server, &long, 200);
    server.websocket().ask(&long);
}
