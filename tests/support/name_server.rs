//! A name server on loopback whose answers a script gives.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// What a question gets.
pub enum Answer {
    Address(IpAddr),
    /// The name exists, but not with this type.
    Empty,
    /// SERVFAIL.
    Failure,
}

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// Starts a server; the script gets the name and whether IPv6 is asked for.
pub fn start(script: impl Fn(&str, bool) -> Answer + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buf = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buf) {
            if let Some(reply) = reply(&buf[..len], &script) {
                let _ = socket.send_to(&reply, from);
            }
        }
    });
    address
}

fn reply(query: &[u8], script: &impl Fn(&str, bool) -> Answer) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while *query.get(at)? != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let question = query.get(12..at + 5)?;
    let answer = match kind {
        TYPE_A | TYPE_AAAA => script(&labels.join("."), kind == TYPE_AAAA),
        _ => Answer::Empty,
    };
    let code = if matches!(answer, Answer::Failure) {
        2
    } else {
        0
    };
    let count = u8::from(matches!(answer, Answer::Address(_)));
    let mut reply = query[..2].to_vec();
    reply.extend([
        0x84 | (query[2] & 1),
        0x80 | code,
        0,
        1,
        0,
        count,
        0,
        0,
        0,
        0,
    ]);
    reply.extend(question);
    if let Answer::Address(ip) = answer {
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        reply.extend((octets.len() as u16).to_be_bytes());
        reply.extend(octets);
    }
    Some(reply)
}
