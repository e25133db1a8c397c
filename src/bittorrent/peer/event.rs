//! Pure: what a connection tells of itself, and why it ends.

use std::fmt;

use bytes::Bytes;

use crate::base::units::PieceIdx;
use crate::bittorrent::extension::ExtendedHandshake;
use crate::bittorrent::wire::Block;

/// What happened on a connection that others need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerEvent {
    /// The peer has these pieces in addition.
    Has(Vec<PieceIdx>),
    /// The peer choked us or let us go; requests may follow.
    Choked(bool),
    Interested(bool),
    /// A block we asked for.
    Block {
        block: Block,
        data: Bytes,
    },
    /// A block we asked for will not come: somebody else may get it.
    Released(Block),
    /// The peer has owed blocks for [`SNUB_AFTER`].
    Snubbed,
    /// The peer asks for blocks; see [`Peer::poll_asked`].
    Asks,
    /// UDP port of the peer's DHT node.
    DhtPort(u16),
    /// This piece may be asked for while choked.
    AllowedFast(PieceIdx),
    /// The peer suggests to fetch this piece (it has it at hand).
    Suggests(PieceIdx),
    /// What the peer said of itself; see [`Peer::extensions`] for all of it.
    Extensions(ExtendedHandshake),
    /// Payload of a ut_metadata message.
    Metadata(Bytes),
    /// Payload of a ut_pex message.
    Pex(Bytes),
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerError {
    /// A bitfield of another length, or with bits behind the last piece.
    BadBitfield,
    /// A piece, or a block of one, that does not exist.
    BadIndex,
    /// A message of the fast extension that was not agreed on.
    NotAgreed,
    /// Messages without end before the torrent is known.
    TooMuch,
    /// Neither side has anything the other wants.
    Useless,
    /// Silent for too long.
    Idle,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadBitfield => "peer sent an impossible bitfield",
            Self::BadIndex => "peer means a piece that does not exist",
            Self::NotAgreed => "peer sent a message of an extension that was not agreed on",
            Self::TooMuch => "peer sent too much before the torrent was known",
            Self::Useless => "neither side has anything for the other",
            Self::Idle => "peer was silent for too long",
        })
    }
}

impl std::error::Error for PeerError {}
