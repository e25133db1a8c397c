//! Pure: KRPC, the messages of the DHT (BEP 5), with nodes of IPv6 (BEP 32), read-only nodes (BEP
//! 43) and the address one is seen at (BEP 42).

use std::net::SocketAddr;

use super::{Node, NodeId};
use crate::bittorrent::compact;
use crate::format::bencode::{self, Dict, Writer};
use crate::format::info_hash::InfoHash;

/// Transaction ids of others are echoed; longer ones are not answered.
const TRANSACTION_LEN_MAX: usize = 32;
/// Tokens of others are kept and echoed; longer ones are not.
const TOKEN_LEN_MAX: usize = 64;
/// Peers read of one answer.
const PEERS_MAX: usize = 200;
/// Nodes read of one answer; eight are usual.
const NODES_MAX: usize = 32;

/// Error codes of BEP 5.
pub mod code {
    pub const GENERIC: i64 = 201;
    pub const SERVER: i64 = 202;
    pub const PROTOCOL: i64 = 203;
    pub const UNKNOWN_METHOD: i64 = 204;
}

/// A datagram of the DHT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Chosen by who asks, echoed by who answers.
    pub transaction: Vec<u8>,
    pub body: Body,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    Query {
        from: NodeId,
        query: Query,
        /// The sender answers no queries: it is not to be kept as a node.
        read_only: bool,
        want: Want,
    },
    Response(Response),
    Error {
        code: i64,
        text: String,
    },
}

/// Nodes of which families are to be named (BEP 32); of the sender's own where neither is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Want {
    pub v4: bool,
    pub v6: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    Ping,
    FindNode(NodeId),
    GetPeers(InfoHash),
    AnnouncePeer {
        info_hash: InfoHash,
        /// `None`: the port the datagram came from (`implied_port`).
        port: Option<u16>,
        token: Vec<u8>,
    },
    /// One nobody here knows; the answer is error 204.
    Unknown,
}

/// Which keys it has depends on the query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    pub from: NodeId,
    /// Nodes of IPv4 and of IPv6; those at impossible addresses are left out.
    pub nodes: Vec<Node>,
    pub peers: Vec<SocketAddr>,
    /// Needed to announce to the sender.
    pub token: Option<Vec<u8>>,
    /// Where the query came from, as the sender saw it (BEP 42).
    pub seen_as: Option<SocketAddr>,
}

impl Response {
    /// The answer that says no more than who we are.
    pub fn bare(from: NodeId) -> Self {
        Self {
            from,
            nodes: Vec::new(),
            peers: Vec::new(),
            token: None,
            seen_as: None,
        }
    }
}

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.dict(|dict| {
            match &self.body {
                Body::Query {
                    from,
                    query,
                    read_only,
                    want,
                } => {
                    dict.bytes("a")
                        .dict(|args| put_arguments(args, *from, query, *want));
                    dict.bytes("q").bytes(query.name());
                    if *read_only {
                        dict.bytes("ro").int(1);
                    }
                }
                Body::Response(response) => {
                    if let Some(address) = response.seen_as {
                        let mut packed = Vec::new();
                        compact::write(address, &mut packed);
                        dict.bytes("ip").bytes(packed);
                    }
                    dict.bytes("r")
                        .dict(|values| put_response(values, response));
                }
                Body::Error { code, text } => {
                    dict.bytes("e").list(|list| {
                        list.int(*code).bytes(text);
                    });
                }
            }
            dict.bytes("t").bytes(&self.transaction);
            dict.bytes("y").bytes(match self.body {
                Body::Query { .. } => "q",
                Body::Response(_) => "r",
                Body::Error { .. } => "e",
            });
        });
        writer.finish()
    }

    /// `None` for what is no message of the DHT.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let dict = bencode::parse(datagram).ok()?.dict()?;
        let transaction = dict.bytes("t")?;
        if transaction.len() > TRANSACTION_LEN_MAX {
            return None;
        }
        let body = match dict.bytes("y")? {
            b"q" => read_query(dict)?,
            b"r" => Body::Response(Response {
                seen_as: dict.bytes("ip").and_then(compact::read),
                ..read_response(dict.dict("r")?)?
            }),
            b"e" => read_error(dict),
            _ => return None,
        };
        Some(Self {
            transaction: transaction.to_vec(),
            body,
        })
    }
}

impl Query {
    fn name(&self) -> &'static str {
        match self {
            Self::Ping | Self::Unknown => "ping",
            Self::FindNode(_) => "find_node",
            Self::GetPeers(_) => "get_peers",
            Self::AnnouncePeer { .. } => "announce_peer",
        }
    }
}

fn put_arguments(args: &mut Writer, from: NodeId, query: &Query, want: Want) {
    args.bytes("id").bytes(from.0);
    match query {
        Query::Ping | Query::Unknown => {}
        Query::FindNode(target) => _ = args.bytes("target").bytes(target.0),
        Query::GetPeers(hash) => _ = args.bytes("info_hash").bytes(hash.0),
        Query::AnnouncePeer {
            info_hash,
            port,
            token,
        } => {
            args.bytes("implied_port").int(i64::from(port.is_none()));
            args.bytes("info_hash").bytes(info_hash.0);
            args.bytes("port").int(i64::from(port.unwrap_or_default()));
            args.bytes("token").bytes(token);
        }
    }
    if want != Want::default() {
        args.bytes("want").list(|list| {
            for (name, _) in [("n4", want.v4), ("n6", want.v6)]
                .iter()
                .filter(|row| row.1)
            {
                list.bytes(name);
            }
        });
    }
}

fn put_response(values: &mut Writer, response: &Response) {
    values.bytes("id").bytes(response.from.0);
    for (key, v4) in [("nodes", true), ("nodes6", false)] {
        let mut packed = Vec::new();
        for node in response
            .nodes
            .iter()
            .filter(|node| node.address.is_ipv4() == v4)
        {
            packed.extend_from_slice(&node.id.0);
            compact::write(node.address, &mut packed);
        }
        if !packed.is_empty() {
            values.bytes(key).bytes(packed);
        }
    }
    if let Some(token) = &response.token {
        values.bytes("token").bytes(token);
    }
    if !response.peers.is_empty() {
        values.bytes("values").list(|list| {
            for peer in &response.peers {
                let mut packed = Vec::new();
                compact::write(*peer, &mut packed);
                list.bytes(packed);
            }
        });
    }
}

fn id_of(dict: Dict<'_>, key: &str) -> Option<[u8; 20]> {
    dict.bytes(key)?.try_into().ok()
}

fn read_query(dict: Dict<'_>) -> Option<Body> {
    let args = dict.dict("a")?;
    let from = NodeId(id_of(args, "id")?);
    let query = match dict.bytes("q")? {
        b"ping" => Query::Ping,
        b"find_node" => Query::FindNode(NodeId(id_of(args, "target")?)),
        b"get_peers" => Query::GetPeers(InfoHash(id_of(args, "info_hash")?)),
        b"announce_peer" => {
            let implied = args.int("implied_port").is_some_and(|flag| flag != 0);
            let port = match implied {
                true => None,
                false => Some(
                    u16::try_from(args.int("port")?)
                        .ok()
                        .filter(|port| *port > 0)?,
                ),
            };
            Query::AnnouncePeer {
                info_hash: InfoHash(id_of(args, "info_hash")?),
                port,
                token: args.bytes("token")?.to_vec(),
            }
        }
        _ => Query::Unknown,
    };
    let read_only = dict.int("ro") == Some(1);
    let wants = |name: &[u8]| {
        let mut listed = args.list("want").into_iter().flat_map(|list| list.iter());
        listed.any(|value| value.bytes() == Some(name))
    };
    Some(Body::Query {
        from,
        query,
        read_only,
        want: Want {
            v4: wants(b"n4"),
            v6: wants(b"n6"),
        },
    })
}

fn read_response(values: Dict<'_>) -> Option<Response> {
    let mut nodes = Vec::new();
    for (key, len) in [("nodes", compact::V4_LEN), ("nodes6", compact::V6_LEN)] {
        let packed = values.bytes(key).unwrap_or_default();
        nodes.extend(
            packed
                .chunks_exact(20 + len)
                .filter_map(read_node)
                .take(NODES_MAX),
        );
    }
    let listed = values
        .list("values")
        .into_iter()
        .flat_map(|list| list.iter());
    let peers = listed
        .filter_map(|value| compact::read(value.bytes()?))
        .filter(|peer| compact::is_possible(*peer))
        .take(PEERS_MAX)
        .collect();
    let token = values
        .bytes("token")
        .filter(|token| token.len() <= TOKEN_LEN_MAX);
    Some(Response {
        from: NodeId(id_of(values, "id")?),
        nodes,
        peers,
        token: token.map(<[u8]>::to_vec),
        seen_as: None,
    })
}

/// A node whose address is impossible is left out, not the whole answer (known-bugs 67).
fn read_node(packed: &[u8]) -> Option<Node> {
    let (id, address) = packed.split_first_chunk::<20>()?;
    let address = compact::read(address).filter(|address| compact::is_possible(*address))?;
    Some(Node {
        id: NodeId(*id),
        address,
    })
}

fn read_error(dict: Dict<'_>) -> Body {
    let mut parts = dict.list("e").into_iter().flat_map(|list| list.iter());
    let code = parts
        .next()
        .and_then(|code| code.int())
        .unwrap_or(code::GENERIC);
    let text = parts
        .next()
        .and_then(|text| text.bytes())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(200)]);
    Body::Error {
        code,
        text: text.chars().filter(|letter| !letter.is_control()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: NodeId = NodeId(*b"abcdefghij0123456789");
    const B: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

    fn query(query: Query) -> Body {
        Body::Query {
            from: A,
            query,
            read_only: false,
            want: Want::default(),
        }
    }

    #[test]
    fn wanted_families_and_the_address_one_is_seen_at() {
        let body = Body::Query {
            from: A,
            query: Query::FindNode(B),
            read_only: true,
            want: Want { v4: true, v6: true },
        };
        let message = Message {
            transaction: b"aa".to_vec(),
            body,
        };
        let text = message.encode().escape_ascii().to_string();
        assert!(
            text.contains("4:wantl2:n42:n6ee1:q9:find_node2:roi1e1:t"),
            "{text}"
        );
        assert_eq!(Message::decode(text.as_bytes()), Some(message));
        let body = Body::Response(Response {
            seen_as: Some("1.2.3.4:5".parse().unwrap()),
            ..Response::bare(A)
        });
        let message = Message {
            transaction: b"aa".to_vec(),
            body,
        };
        assert!(
            message
                .encode()
                .starts_with(b"d2:ip6:\x01\x02\x03\x04\0\x051:rd")
        );
        assert_eq!(Message::decode(&message.encode()), Some(message));
    }

    #[test]
    fn messages_are_the_examples_of_bep_5() {
        let hash = InfoHash(B.0);
        for (datagram, transaction, body) in [
            (&b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"[..], "aa", query(Query::Ping)),
            (
                b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
                "aa",
                Body::Response(Response::bare(B)),
            ),
            (
                b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
                "aa",
                query(Query::FindNode(B)),
            ),
            (
                b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
                "aa",
                query(Query::GetPeers(hash)),
            ),
            (
                b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
                "aa",
                Body::Response(Response {
                    peers: vec!["97.120.106.101:11893".parse().unwrap(), "105.100.104.116:28269".parse().unwrap()],
                    token: Some(b"aoeusnth".to_vec()),
                    ..Response::bare(A)
                }),
            ),
            (
                b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
                "aa",
                query(Query::AnnouncePeer { info_hash: hash, port: None, token: b"aoeusnth".to_vec() }),
            ),
            (
                b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
                "aa",
                Body::Error { code: 201, text: "A Generic Error Ocurred".into() },
            ),
        ] {
            let message = Message { transaction: transaction.into(), body };
            assert_eq!(Message::decode(datagram).as_ref(), Some(&message));
            assert_eq!(message.encode().escape_ascii().to_string(), datagram.escape_ascii().to_string());
        }
    }

    #[test]
    fn nodes_of_both_families_and_bad_ones() {
        let nodes = vec![
            Node {
                id: A,
                address: "1.2.3.4:5".parse().unwrap(),
            },
            Node {
                id: B,
                address: "[2001:db8::1]:6".parse().unwrap(),
            },
        ];
        let body = Body::Response(Response {
            nodes,
            ..Response::bare(A)
        });
        let message = Message {
            transaction: b"x".to_vec(),
            body,
        };
        assert_eq!(Message::decode(&message.encode()), Some(message));
        // known-bugs 67: port 0, then a good one, then half a node.
        let packed = [
            &A.0[..],
            &[1, 2, 3, 4, 0, 0],
            &B.0,
            &[1, 2, 3, 4, 0, 1],
            &[7; 9],
        ]
        .concat();
        let datagram = [
            &b"d1:rd2:id20:abcdefghij01234567895:nodes61:"[..],
            &packed,
            b"e1:t1:x1:y1:re",
        ]
        .concat();
        let Some(Message {
            body: Body::Response(response),
            ..
        }) = Message::decode(&datagram)
        else {
            panic!("not read");
        };
        assert_eq!(
            response.nodes,
            [Node {
                id: B,
                address: "1.2.3.4:1".parse().unwrap()
            }]
        );
    }

    #[test]
    fn what_is_malformed_or_unknown() {
        for datagram in [
            "",
            "i1e",
            "de",
            "d1:t1:x1:y1:ze",
            "d1:y1:qe",
            "d1:ad2:id3:abce1:q4:ping1:t1:x1:y1:qe",
            "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token1:xe1:q13:announce_peer1:t1:x1:y1:qe",
        ] {
            assert_eq!(Message::decode(datagram.as_bytes()), None, "{datagram}");
        }
        let unknown = b"d1:ad2:id20:abcdefghij0123456789e1:q4:vote2:roi1e1:t1:x1:y1:qe";
        let body = Body::Query {
            from: A,
            query: Query::Unknown,
            read_only: true,
            want: Want::default(),
        };
        assert_eq!(Message::decode(unknown).unwrap().body, body);
    }

    proptest! {
        #[test]
        fn damaged_messages_never_panic(at in 0usize..120, byte: u8, cut in 0usize..140) {
            let mut datagram = b"d1:rd2:id20:abcdefghij01234567895:nodes26:mnopqrstuvwxyz123456\x01\x02\x03\x04\0\x055:token8:aoeusnth6:valuesl6:axje.uee1:t2:aa1:y1:re".to_vec();
            if let Some(place) = datagram.get_mut(at) {
                *place = byte;
            }
            datagram.truncate(cut);
            let _ = Message::decode(&datagram);
        }
    }
}
