//! Pure: ids bound to the address of their node (BEP 42), so that nobody can choose where in the
//! table he sits, and what our own address is, as far as others tell us.

use std::collections::HashMap;
use std::net::IpAddr;

use super::NodeId;
use crate::base::rng::Rng;

/// Nodes that have to agree on our address.
const VOTES_MIN: usize = 8;
/// Votes that are kept.
const VOTERS_MAX: usize = 64;

/// An id for a node at this address: its first 21 bits and its last byte follow from it.
pub fn id_for(ip: IpAddr, rng: &mut Rng) -> NodeId {
    let mut id: [u8; 20] = std::array::from_fn(|_| rng.next_u64() as u8);
    let crc = crc_of(ip, id[19]);
    id[0] = (crc >> 24) as u8;
    id[1] = (crc >> 16) as u8;
    id[2] = (crc >> 8) as u8 & 0xf8 | id[2] & 7;
    NodeId(id)
}

/// Whether a node at this address may have this id; addresses of local networks allow any.
pub fn is_valid(id: NodeId, ip: IpAddr) -> bool {
    let crc = crc_of(ip, id.0[19]);
    let [a, b, c, _] = crc.to_be_bytes();
    !is_public(ip) || (id.0[0] == a && id.0[1] == b && (id.0[2] ^ c) & 0xf8 == 0)
}

fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let local = ip.is_private() || ip.is_loopback() || ip.is_link_local();
            !local && !ip.is_unspecified() && !ip.is_multicast()
        }
        IpAddr::V6(ip) => {
            let local = ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local();
            !local && !ip.is_unspecified() && !ip.is_multicast()
        }
    }
}

fn crc_of(ip: IpAddr, seed: u8) -> u32 {
    const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
    const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
    let mask = |octets: &[u8], mask: &[u8]| -> Vec<u8> {
        let masked = octets.iter().zip(mask).map(|(octet, mask)| octet & mask);
        masked.collect()
    };
    let mut masked = match ip.to_canonical() {
        IpAddr::V4(ip) => mask(&ip.octets(), &MASK_V4),
        IpAddr::V6(ip) => mask(&ip.octets(), &MASK_V6),
    };
    masked[0] |= (seed & 7) << 5;
    crc32c(&masked)
}

/// CRC-32C (Castagnoli), bit by bit: at most eight bytes, and seldom.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let bit = crc & 1;
            crc >>= 1;
            if bit == 1 {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

/// What other nodes say our address is.
#[derive(Debug, Default)]
pub struct Votes {
    by_voter: HashMap<IpAddr, IpAddr>,
}

impl Votes {
    /// `voter` sees us at `ip`. Returns the address that most agree on, once enough have spoken.
    pub fn add(&mut self, voter: IpAddr, ip: IpAddr) -> Option<IpAddr> {
        if !is_public(ip)
            || (self.by_voter.len() >= VOTERS_MAX && !self.by_voter.contains_key(&voter))
        {
            return None;
        }
        self.by_voter.insert(voter, ip);
        let agree = self.by_voter.values().filter(|vote| **vote == ip).count();
        if agree < VOTES_MIN || agree * 3 < self.by_voter.len() * 2 {
            return None;
        }
        self.by_voter.clear();
        Some(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_bep_42() {
        for (ip, seed, prefix) in [
            ("124.31.75.21", 1, [0x5f, 0xbf, 0xb8]),
            ("21.75.31.124", 86, [0x5a, 0x3c, 0xe8]),
            ("65.23.51.170", 22, [0xa5, 0xd4, 0x30]),
            ("84.124.73.14", 65, [0x1b, 0x03, 0x20]),
            ("43.213.53.83", 90, [0xe5, 0x6f, 0x68]),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut id = [0; 20];
            id[..3].copy_from_slice(&prefix);
            id[19] = seed;
            assert!(is_valid(NodeId(id), ip), "{ip}");
            id[2] ^= 7;
            assert!(is_valid(NodeId(id), ip), "{ip}");
            id[2] ^= 8;
            assert!(!is_valid(NodeId(id), ip), "{ip}");
        }
        let mut rng = Rng::seeded(1);
        for ip in ["1.2.3.4", "2001:db8::5", "10.0.0.1"] {
            let ip = ip.parse().unwrap();
            assert!(is_valid(id_for(ip, &mut rng), ip));
        }
        assert!(is_valid(NodeId([7; 20]), "192.168.0.1".parse().unwrap()));
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn an_address_counts_when_most_agree() {
        let mut votes = Votes::default();
        let (ip, lie): (IpAddr, IpAddr) = ([1, 2, 3, 4].into(), [6, 6, 6, 6].into());
        let voter = |last: u8| IpAddr::from([9, 9, 9, last]);
        for last in 0..7 {
            assert_eq!(votes.add(voter(last), ip), None);
            assert_eq!(votes.add(voter(last), ip), None, "one voice each");
        }
        assert_eq!(votes.add(voter(100), lie), None);
        assert_eq!(votes.add(voter(101), [10, 0, 0, 1].into()), None);
        assert_eq!(votes.add(voter(8), ip), Some(ip));
    }
}
