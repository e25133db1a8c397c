//! Pure: who spoilt a piece. One sender of all of it is guilty at once. Of several, each block is
//! remembered by its hash; when the piece comes out right, those whose block was another are guilty.

use std::collections::HashMap;
use std::net::SocketAddr;

use sha1::{Digest, Sha1};

use crate::base::units::PieceIdx;

/// Pieces remembered at once; older ones are forgotten.
const PIECES_MAX: usize = 256;
/// A peer that had a hand in so many bad pieces, and in no good one since, is guilty unproven.
const STRIKES_MAX: u32 = 5;

/// SHA-1 of a block.
pub type BlockDigest = [u8; 20];

/// A block of a piece and who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    pub begin: u32,
    pub len: u32,
    pub by: SocketAddr,
}

#[derive(Debug)]
struct Evidence {
    sent: Sent,
    digest: BlockDigest,
}

/// Evidence of one torrent.
#[derive(Debug, Default)]
pub struct Blame {
    pieces: HashMap<PieceIdx, Vec<Evidence>>,
    order: Vec<PieceIdx>,
    strikes: HashMap<SocketAddr, u32>,
}

impl Blame {
    pub fn new() -> Self {
        Self::default()
    }

    /// A piece of `len` bytes failed its hash; `digest` tells the SHA-1 of a block of it as it was
    /// put together. Returns whom to ban now; blocks that no peer sent (mirrors) are left out by
    /// the caller.
    pub fn handle_bad(
        &mut self,
        piece: PieceIdx,
        len: u32,
        sent: &[Sent],
        mut digest: impl FnMut(&Sent) -> Option<BlockDigest>,
    ) -> Vec<SocketAddr> {
        let mut senders: Vec<SocketAddr> = sent.iter().map(|block| block.by).collect();
        senders.sort_unstable();
        senders.dedup();
        let whole: u64 = sent.iter().map(|block| u64::from(block.len)).sum();
        if senders.len() == 1 && whole >= u64::from(len) {
            return senders;
        }
        let evidence = sent.iter().filter_map(|block| {
            Some(Evidence {
                sent: *block,
                digest: digest(block)?,
            })
        });
        if !self.pieces.contains_key(&piece) {
            self.order.push(piece);
            if self.order.len() > PIECES_MAX {
                self.pieces.remove(&self.order.remove(0));
            }
        }
        self.pieces.entry(piece).or_default().extend(evidence);
        let mut guilty = Vec::new();
        for sender in senders {
            let strikes = self.strikes.entry(sender).or_default();
            *strikes += 1;
            if *strikes >= STRIKES_MAX {
                self.strikes.remove(&sender);
                guilty.push(sender);
            }
        }
        guilty
    }

    /// A piece passed its hash. `digest` tells the SHA-1 of a block of it, and is asked only about
    /// blocks that somebody is suspected of. Returns whom to ban now.
    pub fn handle_good(
        &mut self,
        piece: PieceIdx,
        sent: &[Sent],
        mut digest: impl FnMut(&Sent) -> Option<BlockDigest>,
    ) -> Vec<SocketAddr> {
        for block in sent {
            self.strikes.remove(&block.by);
        }
        let Some(evidence) = self.pieces.remove(&piece) else {
            return Vec::new();
        };
        self.order.retain(|known| *known != piece);
        let mut guilty: Vec<SocketAddr> = evidence
            .iter()
            .filter(|block| digest(&block.sent) != Some(block.digest))
            .map(|block| block.sent.by)
            .collect();
        guilty.sort_unstable();
        guilty.dedup();
        guilty
    }

    /// Whether the bytes of a good piece would prove something.
    pub fn suspects(&self, piece: PieceIdx) -> bool {
        self.pieces.contains_key(&piece)
    }
}

/// The SHA-1 of a block that is put together from parts.
pub fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> BlockDigest {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 1))
    }

    fn sent(begin: u32, by: u8) -> Sent {
        Sent {
            begin,
            len: 4,
            by: peer(by),
        }
    }

    const PIECE: PieceIdx = PieceIdx(3);

    fn of(data: &[u8]) -> impl FnMut(&Sent) -> Option<BlockDigest> {
        |block| {
            let start = block.begin as usize;
            Some(digest_of([&data[start..start + block.len as usize]]))
        }
    }

    #[test]
    fn who_sent_all_of_a_bad_piece_is_guilty() {
        let mut blame = Blame::new();
        assert_eq!(
            blame.handle_bad(PIECE, 8, &[sent(0, 1), sent(4, 1)], of(b"badbad!!")),
            [peer(1)]
        );
        // The other half came from a mirror: not proven.
        assert!(
            blame
                .handle_bad(PIECE, 8, &[sent(0, 1)], of(b"badbad!!"))
                .is_empty()
        );
    }

    #[test]
    fn a_good_piece_tells_who_of_several_it_was() {
        let mut blame = Blame::new();
        assert!(
            blame
                .handle_bad(PIECE, 8, &[sent(0, 1), sent(4, 2)], of(b"goodbad!"))
                .is_empty()
        );
        assert!(blame.suspects(PIECE));
        assert_eq!(
            blame.handle_good(PIECE, &[sent(0, 3), sent(4, 1)], of(b"goodgood")),
            [peer(2)]
        );
        assert!(!blame.suspects(PIECE));
    }

    #[test]
    fn a_hand_in_every_bad_piece_is_proof_enough() {
        let mut blame = Blame::new();
        for round in 1..=STRIKES_MAX {
            let piece = PieceIdx(round);
            let good = PieceIdx(1000 + round);
            let other = 10 + round as u8;
            let banned = blame.handle_bad(piece, 8, &[sent(0, 1), sent(4, other)], of(b"xxxxyyyy"));
            assert_eq!(banned.contains(&peer(1)), round == STRIKES_MAX);
            assert!(
                blame
                    .handle_good(good, &[sent(0, other)], of(b"goodgood"))
                    .is_empty()
            );
        }
    }
}
