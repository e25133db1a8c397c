//! The RPC server as a whole, spoken to by damaged HTTP requests and WebSocket frames: it goes on
//! answering, and none of its tasks panics.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use arioso::base::rng::Rng;

use crate::mutation::Pool;
use crate::server::{Server, post};

const ROUNDS: u32 = 150;

const BODIES: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":"a","method":"aria2.addUri","params":["token:x",["http://127.0.0.1:1/f"],{"pause":"true","split":"4","header":["A: b","C: d"]},0]}"#,
    r#"[{"jsonrpc":"2.0","id":1,"method":"aria2.tellStatus","params":["0123456789abcdef",["gid","status"]]},{"jsonrpc":"2.0","id":2,"method":"system.listMethods"}]"#,
    r#"{"jsonrpc":"2.0","id":3,"method":"system.multicall","params":[[{"methodName":"aria2.getVersion","params":[]},{"methodName":"aria2.tellWaiting","params":[0,10,["gid"]]},{"methodName":"aria2.changePosition","params":["0123456789abcdef",1,"POS_SET"]}]]}"#,
    r#"{"jsonrpc":"2.0","id":4,"method":"aria2.addTorrent","params":["ZDg6YW5ub3VuY2UxOmFl",[],{"pause":true}]}"#,
    "<?xml version=\"1.0\"?><methodCall><methodName>system.multicall</methodName><params><param><value><array><data><value><struct><member><name>methodName</name><value>aria2.getVersion</value></member><member><name>params</name><value><array><data/></array></value></member></struct></value></data></array></value></param></params></methodCall>",
];

/// Whole requests.
fn samples() -> Vec<Vec<u8>> {
    let path = |body: &str| {
        if body.starts_with('<') {
            "/rpc"
        } else {
            "/jsonrpc"
        }
    };
    let mut samples: Vec<Vec<u8>> = BODIES
        .iter()
        .map(|body| post(path(body), "Connection: close\r\n", body.as_bytes()))
        .collect();
    samples.push(
        b"GET /jsonrpc?method=aria2.tellActive&id=q&params=W10%3D&jsoncallback=f HTTP/1.1\r\n\
          Host: x\r\nAccept-Encoding: gzip;q=1, *\r\nOrigin: http://x\r\nConnection: close\r\n\r\n"
            .to_vec(),
    );
    samples.push(
        b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
          Authorization: Basic dTpw\r\nConnection: close\r\n\r\n\
          2c\r\n{\"id\":1,\"method\":\"aria2.getVersion\",\"a\":\"bcd\"}\r\n0\r\n\r\n"
            .to_vec(),
    );
    let mut socket = b"GET /jsonrpc HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
          Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    for body in BODIES {
        // Masked by zeros: text, a ping, and in the end a close.
        socket.extend([0x81, 0xfe]);
        socket.extend((body.len() as u16).to_be_bytes());
        socket.extend([0; 4]);
        socket.extend(body.as_bytes());
    }
    socket.extend([
        0x89, 0x82, 0, 0, 0, 0, b'h', b'i', 0x88, 0x82, 0, 0, 0, 0, 3, 0xe8,
    ]);
    samples.push(socket);
    samples
}

/// Sends one after the other, for so long if it is said.
pub fn torment(seed: u64, time: Option<Duration>) {
    static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Panics of other tests here are theirs.
        let place = panic.location().map_or("", |place| place.file());
        if !place.starts_with("tests/") {
            PANICS.lock().unwrap().push(panic.to_string());
        }
        before(panic);
    }));
    let server = Server::with(&[("max-concurrent-downloads", "1")]);
    let samples = samples();
    let pool = Pool::new(&samples.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut rng = Rng::seeded(seed);
    let end = time.map(|time| Instant::now() + time);
    let mut round = 0;
    while end.map_or(round < ROUNDS, |end| Instant::now() < end) {
        round += 1;
        let input = pool.next(&mut rng);
        let mut stream = server.connect();
        // Refused or hung up on in the middle: as may be.
        let _ = stream.write_all(&input);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        let panics = PANICS.lock().unwrap();
        assert!(
            panics.is_empty(),
            "{panics:?}: b\"{}\"",
            input.escape_ascii()
        );
    }
    let answer = server.call("aria2.getVersion", "[]");
    assert!(answer.starts_with("200 "), "{answer}");
    println!("{round} requests");
}
