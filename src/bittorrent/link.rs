//! What ties a connection with a peer to the transfer that runs the torrent: orders go in, reports
//! come out.
//!
//! The connection owns its socket and its [`Peer`](super::peer::Peer). It puts the blocks that
//! come into the torrent's [`Assembler`](super::assembler::Assembler), which writes and hashes,
//! and reads from there what the peer asks for; the transfer decides which blocks are asked of
//! whom, and who is fed.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::extension::ExtendedHandshake;
use super::handshake::Handshake;
use super::swarm::Parting;
use super::wire::Block;
use crate::base::error::Failure;
use crate::base::units::{PieceIdx, SourceId};
use crate::limit::{LimitLeaf, Meter};

/// The transfer's side of a connection is the other end of these channels.
pub struct PeerLink {
    pub id: SourceId,
    pub orders: UnboundedReceiver<PeerOrder>,
    pub reports: UnboundedSender<(SourceId, PeerReport)>,
    pub limit: LimitLeaf,
    /// Payload of this connection, both ways.
    pub down: Arc<Meter>,
    pub up: Arc<Meter>,
}

/// What a transfer tells a connection. A closed channel means: hang up.
#[derive(Debug)]
pub enum PeerOrder {
    /// Ask for these blocks, in this order. Each is answered by `Took` or `Released`.
    Request(Vec<Block>),
    /// Somebody else was faster.
    Cancel(Vec<Block>),
    /// We have these pieces now.
    Have(Vec<PieceIdx>),
    Interested(bool),
    /// Whether the peer gets nothing from us for now.
    Choke(bool),
    /// A ut_metadata message. Requests of the peer are answered without the transfer.
    Metadata(Vec<u8>),
    /// A ut_pex message.
    Pex(Vec<u8>),
    /// Something changed on our side (upload only, metadata size).
    Extensions(Box<ExtendedHandshake>),
}

/// What a connection tells its transfer. Reports of one connection come in order; the last one is
/// `Closed`, save that a `Piece` (or `Disk`) may follow it: hashing outlives the connection.
#[derive(Debug)]
pub enum PeerReport {
    /// The handshakes are done.
    Greeted(Box<Greeting>),
    /// The peer has these pieces in addition.
    Has(Vec<PieceIdx>),
    /// The peer has everything.
    HasAll,
    /// The peer choked us (true) or let us go.
    Choked(bool),
    Interested(bool),
    /// These pieces may be asked for while choked (BEP 6).
    AllowedFast(PieceIdx),
    Suggests(PieceIdx),
    /// This many blocks more may be asked for now. Sent when it has grown worth telling.
    Window(usize),
    /// These blocks have come and are kept; of those nobody needs any more only the request ends.
    Took(Vec<Block>),
    /// These blocks will not come, or have come when nobody worked on their piece.
    Released(Vec<Block>),
    /// The last block of this piece came from here: the piece was hashed.
    Piece {
        piece: PieceIdx,
        good: bool,
        /// Who has sent something wrong, as far as that is proven: to be banned.
        guilty: Vec<SocketAddr>,
    },
    /// The peer has owed blocks for too long (true), or sends again.
    Snubbed(bool),
    Extensions(Box<ExtendedHandshake>),
    Metadata(bytes::Bytes),
    Pex(bytes::Bytes),
    /// Payload bytes sent to the peer since the last such report.
    Sent(u64),
    /// The disk failed: the download cannot go on.
    Disk(Failure),
    Closed(Parting, Failure),
}

/// Who answered.
#[derive(Clone, Debug)]
pub struct Greeting {
    pub address: SocketAddr,
    pub remote: Handshake,
    /// It dialled us.
    pub incoming: bool,
    /// The stream is encrypted (RC4), not only the handshake.
    pub encrypted: bool,
    pub utp: bool,
    /// Both sides speak the fast extension.
    pub fast: bool,
}

/// How a connection begins.
pub enum Way {
    /// Dial: by TCP, and by uTP where that fails. `plain`: without encryption, which failed before
    /// (where encryption is required it is used all the same). A first failure of the encrypted
    /// handshake is followed by a plain one at once, without a report.
    Dial { address: SocketAddr, plain: bool },
    /// It has dialled us and said which torrent it means.
    Accepted(Box<super::listen::Inbound>),
}
