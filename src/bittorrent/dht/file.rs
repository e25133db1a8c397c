//! Pure: aria2's file of DHT nodes (`dht.dat`, `dht6.dat`; behaviour.md section 7).

use std::fmt;

use super::{Node, NodeId};
use crate::bittorrent::compact;

const MAGIC: [u8; 8] = [0xa1, 0xa2, 0x02, 0, 0, 0, 0, 3];
/// The version before it differs in the width of the time only.
const VERSION_MIN: u16 = 2;
const HEAD_LEN: usize = 56;
/// Bytes of a node: length, 7 reserved, address padded to 24, id, 4 reserved.
const NODE_LEN: usize = 56;
const ADDRESS_LEN: usize = 24;
/// A table holds fewer.
const NODES_MAX: usize = 2_000;

/// What the file keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtFile {
    /// Our own id.
    pub id: NodeId,
    /// Seconds since 1970 when it was written.
    pub saved_at: u64,
    /// All of IPv4 or all of IPv6.
    pub nodes: Vec<Node>,
}

/// Why a file is not read; a new id is drawn then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DhtFileError {
    NotOurs,
    Truncated,
}

impl fmt::Display for DhtFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "not a file of DHT nodes",
            Self::Truncated => "file of DHT nodes ends too early",
        })
    }
}

impl std::error::Error for DhtFileError {}

impl DhtFile {
    pub fn encode(&self) -> Vec<u8> {
        let nodes = &self.nodes[..self.nodes.len().min(NODES_MAX)];
        let mut out = Vec::with_capacity(HEAD_LEN + nodes.len() * NODE_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.saved_at.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(nodes.len() as u32).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        for node in nodes {
            let start = out.len();
            let mut address = Vec::with_capacity(ADDRESS_LEN);
            compact::write(node.address, &mut address);
            out.push(address.len() as u8);
            out.extend_from_slice(&[0; 7]);
            out.extend_from_slice(&address);
            out.resize(start + 8 + ADDRESS_LEN, 0);
            out.extend_from_slice(&node.id.0);
            out.extend_from_slice(&[0; 4]);
        }
        out
    }

    /// Nodes with an impossible address are left out.
    ///
    /// # Errors
    /// When it is no such file or its head is cut off; nodes that are cut off are just missing.
    pub fn decode(bytes: &[u8]) -> Result<Self, DhtFileError> {
        if bytes.len() < MAGIC.len() {
            return Err(DhtFileError::Truncated);
        }
        let version = u16::from_be_bytes([bytes[6], bytes[7]]);
        if bytes[..3] != MAGIC[..3] || !(VERSION_MIN..=3).contains(&version) {
            return Err(DhtFileError::NotOurs);
        }
        let (head, rest) = bytes
            .split_first_chunk::<HEAD_LEN>()
            .ok_or(DhtFileError::Truncated)?;
        // Version 2 has four bytes of time, then four reserved.
        let saved_at = match version {
            2 => u64::from(u32::from_be_bytes([head[8], head[9], head[10], head[11]])),
            _ => head[8..16]
                .iter()
                .fold(0, |time, byte| time << 8 | u64::from(*byte)),
        };
        let mut id = [0; 20];
        id.copy_from_slice(&head[24..44]);
        let count = u32::from_be_bytes([head[48], head[49], head[50], head[51]]) as usize;
        let nodes = rest
            .as_chunks::<NODE_LEN>()
            .0
            .iter()
            .take(count.min(NODES_MAX))
            .filter_map(read_node)
            .collect();
        Ok(Self {
            id: NodeId(id),
            saved_at,
            nodes,
        })
    }
}

fn read_node(bytes: &[u8; NODE_LEN]) -> Option<Node> {
    let address = bytes[8..8 + ADDRESS_LEN].get(..usize::from(bytes[0]))?;
    let address = compact::read(address).filter(|address| compact::is_possible(*address))?;
    let id = bytes[32..52].try_into().ok()?;
    Some(Node {
        id: NodeId(id),
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(addresses: &[&str]) -> DhtFile {
        let node = |text: &&str| Node {
            id: NodeId([7; 20]),
            address: text.parse().unwrap(),
        };
        DhtFile {
            id: NodeId([9; 20]),
            saved_at: 1_795_217_449,
            nodes: addresses.iter().map(node).collect(),
        }
    }

    #[test]
    fn fields_stand_where_aria2_has_them() {
        let bytes = file(&["1.2.3.4:6881"]).encode();
        assert_eq!(bytes.len(), 112);
        assert_eq!(bytes[..8], [0xa1, 0xa2, 2, 0, 0, 0, 0, 3]);
        assert_eq!(bytes[24..44], [9; 20]);
        assert_eq!(bytes[48..52], [0, 0, 0, 1]);
        assert_eq!(
            bytes[56..71],
            [6, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0x1a, 0xe1, 0]
        );
        assert_eq!(bytes[88..108], [7; 20]);
    }

    #[test]
    fn files_read_back_and_damaged_ones_do_not() {
        for file in [
            file(&["1.2.3.4:1", "5.6.7.8:2"]),
            file(&["[2001:db8::1]:3"]),
            file(&[]),
        ] {
            assert_eq!(DhtFile::decode(&file.encode()), Ok(file));
        }
        let bytes = file(&["1.2.3.4:1", "5.6.7.8:2"]).encode();
        assert_eq!(DhtFile::decode(&bytes[..120]).unwrap().nodes.len(), 1);
        assert_eq!(DhtFile::decode(&bytes[..50]), Err(DhtFileError::Truncated));
        assert_eq!(DhtFile::decode(&[0; 60]), Err(DhtFileError::NotOurs));
        let mut odd = bytes.clone();
        odd[56] = 200;
        assert_eq!(DhtFile::decode(&odd).unwrap().nodes.len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = DhtFile::decode(&[&MAGIC[..], &bytes].concat());
        }
    }
}
