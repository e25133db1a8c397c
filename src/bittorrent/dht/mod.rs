//! The distributed hash table (BEP 5, over IPv6 BEP 32): messages, the table of known nodes,
//! lookups, tokens and the file that keeps nodes between sessions, all pure. One of each for IPv4
//! and IPv6; [`node`] has their sockets.

mod driver;
mod entry;
pub mod file;
pub mod guard;
mod keep;
pub mod lookup;
pub mod member;
pub mod message;
pub mod node;
pub mod origin;
pub mod store;
pub mod table;
pub mod token;

#[cfg(test)]
mod simulation;

use std::fmt;
use std::net::SocketAddr;

use crate::base::rng::Rng;

/// Names a node; lies in the same space as info hashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 20]);

impl NodeId {
    /// How far apart two ids are: smaller is closer (XOR metric).
    pub fn distance(self, other: NodeId) -> [u8; 20] {
        std::array::from_fn(|index| self.0[index] ^ other.0[index])
    }

    /// Number of leading bits two ids share, 160 for the same id.
    pub fn common_bits(self, other: NodeId) -> u32 {
        let mut bits = 0;
        for byte in self.distance(other) {
            bits += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        bits
    }

    /// An id drawn so that it shares exactly `bits` leading bits with this one, to refresh a bucket.
    pub fn near(self, bits: u32, rng: &mut Rng) -> NodeId {
        let mut id = self;
        for at in bits.min(159)..160 {
            let mask = 0x80 >> (at % 8);
            let byte = &mut id.0[at as usize / 8];
            if at == bits || rng.chance(0.5) {
                *byte ^= mask;
            }
        }
        id
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A node: who and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    pub id: NodeId,
    pub address: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ids_share_exactly_so_many_bits() {
        let mut rng = Rng::seeded(1);
        let id = NodeId([0x5a; 20]);
        for bits in [0, 1, 7, 8, 100, 159] {
            assert_eq!(id.common_bits(id.near(bits, &mut rng)), bits);
        }
        assert_eq!(id.common_bits(id), 160);
        assert_eq!(id.distance(id), [0; 20]);
    }
}
