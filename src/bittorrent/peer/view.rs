//! Pure: what can be seen of a connection.

use std::time::Instant;

use super::Peer;
use crate::base::bitfield::Bitfield;
use crate::base::units::PieceIdx;
use crate::bittorrent::extension::ExtendedHandshake;
use crate::bittorrent::handshake::Handshake;
use crate::limit::Meter;

impl Peer {
    pub fn handshake(&self) -> &Handshake {
        &self.remote
    }

    /// All the peer has said of itself.
    pub fn extensions(&self) -> &ExtendedHandshake {
        &self.extensions
    }

    /// The peer's pieces; empty while their number is not known.
    pub fn pieces(&self) -> &Bitfield {
        &self.has
    }

    pub fn is_seeder(&self) -> bool {
        !self.has.is_empty() && self.has.all()
    }

    pub fn speaks_fast(&self) -> bool {
        self.fast
    }

    /// Pieces that may be asked for while choked.
    pub fn allowed_fast(&self) -> &[PieceIdx] {
        &self.allowed_fast
    }

    pub fn is_choking_us(&self) -> bool {
        self.they_choke
    }

    pub fn is_choked(&self) -> bool {
        self.upload.is_choked()
    }

    pub fn is_interested(&self) -> bool {
        self.they_interested
    }

    pub fn are_we_interested(&self) -> bool {
        self.we_interested
    }

    pub fn is_snubbing(&self) -> bool {
        self.pipeline.is_snubbed()
    }

    /// Blocks asked for that have not come.
    pub fn open_count(&self) -> usize {
        self.pipeline.len()
    }

    /// Counts payload that came; its total and speed.
    pub fn down(&self) -> &Meter {
        &self.down
    }

    /// Counts payload that went out.
    pub fn up(&self) -> &Meter {
        &self.up
    }

    /// Payload that came for nothing, in bytes.
    pub fn wasted(&self) -> u64 {
        self.wasted
    }

    pub fn began_at(&self) -> Instant {
        self.began_at
    }
}
