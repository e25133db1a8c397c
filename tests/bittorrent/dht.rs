//! DHT nodes that give everybody the same answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use crate::rig::{bencode, hex};

pub struct DhtNode {
    pub address: SocketAddr,
    /// Torrents that were asked for or announced, by their info hashes in hex.
    asked: Arc<Mutex<Vec<String>>>,
}

impl DhtNode {
    /// A node whose ID is made of one byte, with the nodes and peers it tells of.
    pub fn start(id: u8, nodes: Vec<u8>, peers: Vec<Vec<u8>>) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), id, nodes, peers)
    }

    /// At an address of this machine, in the DHT of its family.
    pub fn start_at(at: IpAddr, id: u8, nodes: Vec<u8>, peers: Vec<Vec<u8>>) -> Self {
        let socket = UdpSocket::bind((at, 0)).unwrap();
        let nodes_key = if at.is_ipv4() { "nodes" } else { "nodes6" };
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((len, from)) = socket.recv_from(&mut query) {
                let Ok(value) = arioso::format::bencode::parse(&query[..len]) else {
                    continue;
                };
                let query = value.dict().unwrap();
                let (Some(transaction), Some(_)) = (query.bytes("t"), query.bytes("q")) else {
                    continue;
                };
                let meant = query.dict("a").and_then(|args| args.bytes("info_hash"));
                seen.lock().unwrap().extend(meant.map(hex));
                let answer = bencode(|answer| {
                    answer.dict(|dict| {
                        dict.bytes("r").dict(|reply| {
                            reply.bytes("id").bytes([id; 20]);
                            reply.bytes(nodes_key).bytes(&nodes);
                            reply.bytes("token").bytes("t");
                            reply
                                .bytes("values")
                                .list(|list| peers.iter().for_each(|peer| _ = list.bytes(peer)));
                        });
                        dict.bytes("t").bytes(transaction);
                        dict.bytes("y").bytes("r");
                    });
                });
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { address, asked }
    }

    /// Whether it was asked for this torrent.
    pub fn knows_of(&self, info_hash: &str) -> bool {
        let asked = self.asked.lock().unwrap();
        asked.iter().any(|hash| hash == info_hash)
    }
}

/// A peer or the address of a node as the DHT writes it.
pub fn compact(port: u16) -> Vec<u8> {
    [&[127, 0, 0, 1], &port.to_be_bytes()[..]].concat()
}

/// The same of `::1`.
pub fn compact6(port: u16) -> Vec<u8> {
    let ip = Ipv6Addr::LOCALHOST.octets();
    [&ip, &port.to_be_bytes()[..]].concat()
}
