//! Pure: messages between peers (BEP 3), of the fast extension (BEP 6), of the DHT (BEP 5) and the
//! frames of the extension protocol (BEP 10), with a limit on the length of each.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::base::units::{PieceIdx, Span};

/// Longest block that is asked for or sent; more than that peers refuse.
pub const BLOCK_LEN: u32 = crate::base::units::BLOCK_LEN as u32;
/// Longest block that is taken from a peer's request: some ask for 128 KiB at once.
pub const REQUEST_LEN_MAX: u32 = 128 * 1024;
/// Longest extension message: a ut_metadata piece with its header, or a generous ut_pex.
pub const EXTENDED_LEN_MAX: usize = 256 * 1024;
/// Longest bitfield: 64 million pieces.
pub const BITFIELD_LEN_MAX: usize = 8 << 20;
/// Bytes of a `piece` message in front of its block, without the length prefix.
pub const PIECE_HEADER_LEN: usize = 9;

/// A block as messages name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Block {
    pub piece: PieceIdx,
    /// Offset in the piece.
    pub begin: u32,
    /// Bytes; not 0 where a message was decoded.
    pub len: u32,
}

impl Block {
    pub const fn new(piece: u32, begin: u32, len: u32) -> Self {
        Self {
            piece: PieceIdx(piece),
            begin,
            len,
        }
    }

    /// Where the block lies on the line of bytes of the download.
    pub const fn span(self, piece_len: u32) -> Span {
        let start = self.piece.0 as u64 * piece_len as u64 + self.begin as u64;
        Span::new(start, start + self.len as u64)
    }
}

/// A message of the peer wire protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(PieceIdx),
    /// One bit a piece, first piece highest; its length is checked by who knows the piece count.
    Bitfield(Bytes),
    Request(Block),
    /// Begin of the block in its piece, and its bytes.
    Piece {
        piece: PieceIdx,
        begin: u32,
        data: Bytes,
    },
    Cancel(Block),
    /// UDP port of the sender's DHT node.
    Port(u16),
    SuggestPiece(PieceIdx),
    HaveAll,
    HaveNone,
    Reject(Block),
    AllowedFast(PieceIdx),
    /// Number of the extension (0 is its handshake) and payload.
    Extended {
        id: u8,
        payload: Bytes,
    },
    /// A message nobody here knows; to be ignored.
    Unknown(u8),
}

/// Why a peer is not understood; the connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// A message longer than its kind may be.
    TooLong { id: u8, len: u32 },
    /// A message shorter or longer than its kind is.
    BadLength { id: u8, len: u32 },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { id, len } => write!(f, "message {id} of {len} bytes is too long"),
            Self::BadLength { id, len } => write!(f, "message {id} cannot have {len} bytes"),
        }
    }
}

impl std::error::Error for WireError {}

mod id {
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const NOT_INTERESTED: u8 = 3;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const PORT: u8 = 9;
    pub const SUGGEST_PIECE: u8 = 13;
    pub const HAVE_ALL: u8 = 14;
    pub const HAVE_NONE: u8 = 15;
    pub const REJECT: u8 = 16;
    pub const ALLOWED_FAST: u8 = 17;
    pub const EXTENDED: u8 = 20;
}

/// Takes the next whole message off the buffer; `None` when more bytes are needed. The length is
/// judged as soon as it is there, so that nobody makes us buffer for a message we would refuse.
///
/// # Errors
/// When the message cannot be; the buffer is then of no further use.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Message>, WireError> {
    let Some((len, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*len);
    if len == 0 {
        buffer.advance(4);
        return Ok(Some(Message::KeepAlive));
    }
    let Some(&id) = rest.first() else {
        return Ok(None);
    };
    check_len(id, len)?;
    if rest.len() < len as usize {
        return Ok(None);
    }
    buffer.advance(5);
    let body = buffer.split_to(len as usize - 1).freeze();
    Ok(Some(read(id, body)))
}

/// How many bytes the message at the head of the buffer takes in all, length prefix included;
/// `None` while that is not known. For drivers that read large messages without growing twice.
pub fn whole_len(buffer: &[u8]) -> Option<usize> {
    let len = u32::from_be_bytes(*buffer.first_chunk()?);
    Some(4 + len as usize)
}

fn check_len(id: u8, len: u32) -> Result<(), WireError> {
    let body = len as usize - 1;
    let (min, max) = match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED => (0, 0),
        id::HAVE_ALL | id::HAVE_NONE => (0, 0),
        id::HAVE | id::SUGGEST_PIECE | id::ALLOWED_FAST => (4, 4),
        id::REQUEST | id::CANCEL | id::REJECT => (12, 12),
        id::PORT => (2, 2),
        id::BITFIELD => (0, BITFIELD_LEN_MAX),
        id::PIECE => (8, 8 + REQUEST_LEN_MAX as usize),
        id::EXTENDED => (1, EXTENDED_LEN_MAX),
        _ => (0, EXTENDED_LEN_MAX),
    };
    if body > max && max > 12 {
        return Err(WireError::TooLong { id, len });
    }
    if body < min || body > max {
        return Err(WireError::BadLength { id, len });
    }
    Ok(())
}

/// The message of a body whose length was checked.
fn read(id: u8, mut body: Bytes) -> Message {
    let piece = |mut body: Bytes| PieceIdx(body.get_u32());
    let block = |mut body: Bytes| Block::new(body.get_u32(), body.get_u32(), body.get_u32());
    match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(piece(body)),
        id::BITFIELD => Message::Bitfield(body),
        id::REQUEST => Message::Request(block(body)),
        id::PIECE => Message::Piece {
            piece: PieceIdx(body.get_u32()),
            begin: body.get_u32(),
            data: body,
        },
        id::CANCEL => Message::Cancel(block(body)),
        id::PORT => Message::Port(body.get_u16()),
        id::SUGGEST_PIECE => Message::SuggestPiece(piece(body)),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(block(body)),
        id::ALLOWED_FAST => Message::AllowedFast(piece(body)),
        id::EXTENDED => Message::Extended {
            id: body.get_u8(),
            payload: body,
        },
        other => Message::Unknown(other),
    }
}

impl Message {
    /// Appends the message. Nothing is written for [`Message::Unknown`].
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::KeepAlive => out.put_u32(0),
            Self::Choke => bare(out, id::CHOKE),
            Self::Unchoke => bare(out, id::UNCHOKE),
            Self::Interested => bare(out, id::INTERESTED),
            Self::NotInterested => bare(out, id::NOT_INTERESTED),
            Self::HaveAll => bare(out, id::HAVE_ALL),
            Self::HaveNone => bare(out, id::HAVE_NONE),
            Self::Have(piece) => of_piece(out, id::HAVE, *piece),
            Self::SuggestPiece(piece) => of_piece(out, id::SUGGEST_PIECE, *piece),
            Self::AllowedFast(piece) => of_piece(out, id::ALLOWED_FAST, *piece),
            Self::Request(block) => of_block(out, id::REQUEST, *block),
            Self::Cancel(block) => of_block(out, id::CANCEL, *block),
            Self::Reject(block) => of_block(out, id::REJECT, *block),
            Self::Port(port) => {
                head(out, id::PORT, 2);
                out.put_u16(*port);
            }
            Self::Bitfield(bits) => {
                head(out, id::BITFIELD, bits.len());
                out.put_slice(bits);
            }
            Self::Piece { piece, begin, data } => {
                out.put_slice(&piece_head(*piece, *begin, data.len()));
                out.put_slice(data);
            }
            Self::Extended { id, payload } => {
                head(out, id::EXTENDED, 1 + payload.len());
                out.put_u8(*id);
                out.put_slice(payload);
            }
            Self::Unknown(_) => {}
        }
    }
}

/// What stands before the block of a `piece` message, for drivers that write header and block
/// without copying them together.
pub fn piece_head(piece: PieceIdx, begin: u32, data_len: usize) -> [u8; 13] {
    let mut head = [0; 13];
    head[..4].copy_from_slice(&((PIECE_HEADER_LEN + data_len) as u32).to_be_bytes());
    head[4] = id::PIECE;
    head[5..9].copy_from_slice(&piece.0.to_be_bytes());
    head[9..].copy_from_slice(&begin.to_be_bytes());
    head
}

fn head(out: &mut BytesMut, id: u8, body_len: usize) {
    out.put_u32(body_len as u32 + 1);
    out.put_u8(id);
}

fn bare(out: &mut BytesMut, id: u8) {
    head(out, id, 0);
}

fn of_piece(out: &mut BytesMut, id: u8, piece: PieceIdx) {
    head(out, id, 4);
    out.put_u32(piece.0);
}

fn of_block(out: &mut BytesMut, id: u8, block: Block) {
    head(out, id, 12);
    out.put_u32(block.piece.0);
    out.put_u32(block.begin);
    out.put_u32(block.len);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], message: Message) {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        assert_eq!(&out[..], bytes, "{message:?}");
        assert_eq!(whole_len(bytes), Some(bytes.len()));
        for cut in 0..bytes.len() {
            let mut part = BytesMut::from(&bytes[..cut]);
            assert_eq!(decode(&mut part), Ok(None), "{message:?} cut at {cut}");
        }
        out.extend_from_slice(b"next");
        assert_eq!(decode(&mut out), Ok(Some(message)));
        assert_eq!(&out[..], b"next");
    }

    #[test]
    fn messages_are_the_bytes_of_the_beps() {
        let block = Block::new(1, 0x4000, 0x4000);
        let of_block = |id: u8| {
            [
                &[0, 0, 0, 13, id, 0, 0, 0, 1][..],
                &[0, 0, 0x40, 0, 0, 0, 0x40, 0],
            ]
            .concat()
        };
        check(&[0, 0, 0, 0], Message::KeepAlive);
        check(&[0, 0, 0, 1, 0], Message::Choke);
        check(&[0, 0, 0, 1, 1], Message::Unchoke);
        check(&[0, 0, 0, 1, 2], Message::Interested);
        check(&[0, 0, 0, 1, 3], Message::NotInterested);
        check(&[0, 0, 0, 5, 4, 0, 0, 1, 2], Message::Have(PieceIdx(258)));
        check(
            &[0, 0, 0, 3, 5, 0xff, 0x80],
            Message::Bitfield(Bytes::from_static(&[0xff, 0x80])),
        );
        check(&of_block(6), Message::Request(block));
        check(&of_block(8), Message::Cancel(block));
        check(&of_block(16), Message::Reject(block));
        let data = Bytes::from_static(b"data");
        check(
            b"\0\0\0\x0d\x07\0\0\0\x01\0\0\x40\0data",
            Message::Piece {
                piece: PieceIdx(1),
                begin: 0x4000,
                data: data.clone(),
            },
        );
        check(&[0, 0, 0, 3, 9, 0x1a, 0xe1], Message::Port(6881));
        check(
            &[0, 0, 0, 5, 13, 0, 0, 0, 9],
            Message::SuggestPiece(PieceIdx(9)),
        );
        check(&[0, 0, 0, 1, 14], Message::HaveAll);
        check(&[0, 0, 0, 1, 15], Message::HaveNone);
        check(
            &[0, 0, 0, 5, 17, 0, 0, 0, 9],
            Message::AllowedFast(PieceIdx(9)),
        );
        check(
            b"\0\0\0\x06\x14\x03data",
            Message::Extended {
                id: 3,
                payload: data,
            },
        );
    }

    #[test]
    fn impossible_lengths_are_refused_at_once() {
        for (bytes, error) in [
            (
                &b"\xff\xff\xff\xff\x07"[..],
                WireError::TooLong {
                    id: 7,
                    len: u32::MAX,
                },
            ),
            (
                b"\0\x02\0\x0a\x07",
                WireError::TooLong {
                    id: 7,
                    len: 0x2000a,
                },
            ),
            (b"\0\0\0\x02\0", WireError::BadLength { id: 0, len: 2 }),
            (b"\0\0\0\x04\x04", WireError::BadLength { id: 4, len: 4 }),
            (b"\0\0\0\x08\x07", WireError::BadLength { id: 7, len: 8 }),
            (b"\0\0\0\x01\x14", WireError::BadLength { id: 20, len: 1 }),
            // "GET / HTTP": whoever speaks something else is told from its first bytes.
            (
                b"GET / HTTP",
                WireError::TooLong {
                    id: b' ',
                    len: 0x4745_5420,
                },
            ),
        ] {
            let error_of = decode(&mut BytesMut::from(bytes)).unwrap_err();
            match (error_of, error) {
                (WireError::TooLong { len, .. }, WireError::TooLong { len: expected, .. })
                | (WireError::BadLength { len, .. }, WireError::BadLength { len: expected, .. }) => {
                    assert_eq!(len, expected);
                }
                other => panic!("{other:?}"),
            }
        }
        let mut unknown = BytesMut::from(&b"\0\0\0\x03\x15ab"[..]);
        assert_eq!(decode(&mut unknown), Ok(Some(Message::Unknown(0x15))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![0u8..22, any::<u8>()], 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut buffer) {}
        }
    }
}
