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

/// A block of a piece and who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    pub begin: u32,
    pub len: u32,
    pub by: SocketAddr,
}

#[derive(Debug)]
struct Evidence {
    begin: u32,
    len: u32,
    by: SocketAddr,
    digest: [u8; 20],
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

    /// A piece failed its hash. `data` is the piece as it was put together. Returns whom to ban now;
    /// blocks that no peer sent (mirrors) are left out by the caller.
    pub fn handle_bad(&mut self, piece: PieceIdx, data: &[u8], sent: &[Sent]) -> Vec<SocketAddr> {
        let mut senders: Vec<SocketAddr> = sent.iter().map(|block| block.by).collect();
        senders.sort_unstable();
        senders.dedup();
        let whole: u64 = sent.iter().map(|block| u64::from(block.len)).sum();
        if senders.len() == 1 && whole >= data.len() as u64 {
            return senders;
        }
        let evidence = sent.iter().filter_map(|block| {
            Some(Evidence {
                begin: block.begin,
                len: block.len,
                by: block.by,
                digest: digest_of(data, block.begin, block.len)?,
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

    /// A piece passed its hash. Returns whom to ban now.
    pub fn handle_good(&mut self, piece: PieceIdx, data: &[u8], sent: &[Sent]) -> Vec<SocketAddr> {
        for block in sent {
            self.strikes.remove(&block.by);
        }
        let Some(evidence) = self.pieces.remove(&piece) else {
            return Vec::new();
        };
        self.order.retain(|known| *known != piece);
        let mut guilty: Vec<SocketAddr> = evidence
            .iter()
            .filter(|block| digest_of(data, block.begin, block.len) != Some(block.digest))
            .map(|block| block.by)
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

fn digest_of(data: &[u8], begin: u32, len: u32) -> Option<[u8; 20]> {
    let begin = begin as usize;
    let block = data.get(begin..begin.checked_add(len as usize)?)?;
    Some(Sha1::digest(block).into())
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

    #[test]
    fn who_sent_all_of_a_bad_piece_is_guilty() {
        let mut blame = Blame::new();
        assert_eq!(
            blame.handle_bad(PIECE, b"badbad!!", &[sent(0, 1), sent(4, 1)]),
            [peer(1)]
        );
        // The other half came from a mirror: not proven.
        assert!(
            blame
                .handle_bad(PIECE, b"badbad!!", &[sent(0, 1)])
                .is_empty()
        );
    }

    #[test]
    fn a_good_piece_tells_who_of_several_it_was() {
        let mut blame = Blame::new();
        assert!(
            blame
                .handle_bad(PIECE, b"goodbad!", &[sent(0, 1), sent(4, 2)])
                .is_empty()
        );
        assert!(blame.suspects(PIECE));
        assert_eq!(
            blame.handle_good(PIECE, b"goodgood", &[sent(0, 3), sent(4, 1)]),
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
            let banned = blame.handle_bad(piece, b"xxxxyyyy", &[sent(0, 1), sent(4, other)]);
            assert_eq!(banned.contains(&peer(1)), round == STRIKES_MAX);
            assert!(
                blame
                    .handle_good(good, b"goodgood", &[sent(0, other)])
                    .is_empty()
            );
        }
    }
}
