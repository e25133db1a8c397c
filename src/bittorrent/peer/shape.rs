//! Pure: how many pieces a torrent has, and how long they are.

use crate::base::units::PieceIdx;
use crate::bittorrent::wire::Block;

/// The pieces of a torrent, as far as a connection needs to know them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub piece_len: u32,
    pub total: u64,
}

impl Shape {
    pub fn piece_count(self) -> u32 {
        // A torrent whose hashes fit into memory has fewer pieces than u32::MAX.
        u32::try_from(self.total.div_ceil(u64::from(self.piece_len.max(1)))).unwrap_or(u32::MAX)
    }

    /// Bytes of a piece; 0 past the end.
    pub fn len_of(self, piece: PieceIdx) -> u32 {
        let start = u64::from(piece.0) * u64::from(self.piece_len);
        let rest = self.total.saturating_sub(start);
        rest.min(u64::from(self.piece_len)) as u32
    }

    /// Whether the block lies inside its piece.
    pub fn holds(self, block: Block) -> bool {
        let end = u64::from(block.begin) + u64::from(block.len);
        block.len > 0 && end <= u64::from(self.len_of(block.piece))
    }
}
