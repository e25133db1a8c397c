//! Where the blocks of a torrent's peers become pieces on the disk.
//!
//! Every peer's task puts its blocks here. They stay in memory until their piece is whole; it is
//! hashed from there, and written only if it is right. Where `disk-cache` is used up, blocks go to
//! the disk before their piece is whole and are read back for its hash.
//!
//! Invariant: bytes of a piece that is had are never written over. A piece takes blocks between
//! [`Assembler::open`] and the end of [`Assembler::complete`] or [`Assembler::give_back`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::blame::{Blame, Sent};
use super::peer::Shape;
use super::wire::{BLOCK_LEN, Block};
use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::range_set::RangeSet;
use crate::base::units::PieceIdx;
use crate::storage::digest::Hasher;
use crate::storage::{Content, Files};

/// The blocks of one torrent.
pub struct Assembler {
    files: Arc<Files>,
    content: Arc<Content>,
    shape: Shape,
    state: Mutex<State>,
    blame: Mutex<Blame>,
}

struct State {
    have: Bitfield,
    partial: HashMap<PieceIdx, Partial>,
}

struct Partial {
    blocks: Vec<Option<(Bytes, SocketAddr)>>,
    missing: usize,
}

/// What became of a block.
pub enum Put {
    /// It was missing and is kept.
    Kept,
    /// Nobody needs it: it is there already, or its piece is not open.
    Known,
    /// It was the last one of its piece, which is to be handed to [`Assembler::complete`].
    Full(FullPiece),
}

/// All blocks of a piece, not hashed yet.
#[must_use = "a full piece takes part in the download only after `Assembler::complete`"]
pub struct FullPiece {
    piece: PieceIdx,
    blocks: Vec<(Bytes, SocketAddr)>,
}

impl FullPiece {
    pub fn piece(&self) -> PieceIdx {
        self.piece
    }
}

/// What the hash of a piece said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceResult {
    pub piece: PieceIdx,
    /// It is right, and written. Otherwise all of it is missing again; it stays open.
    pub good: bool,
    /// Who has sent something wrong, as far as that is proven.
    pub guilty: Vec<SocketAddr>,
}

impl Assembler {
    /// For the files of `content`; pieces of `have` are there and verified. `None` where the
    /// content has no length or no piece hashes. Memory is that of `disk-cache`, which all
    /// torrents share; with 0 every block is written at once.
    pub fn new(files: Arc<Files>, content: Arc<Content>, have: Bitfield) -> Option<Arc<Self>> {
        let shape = Shape {
            piece_len: u32::try_from(content.pieces.as_ref()?.piece_len).ok()?,
            total: content.total?,
        };
        Some(Arc::new(Self {
            files,
            content,
            shape,
            state: Mutex::new(State {
                have,
                partial: HashMap::new(),
            }),
            blame: Mutex::default(),
        }))
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether the piece is there and verified.
    pub fn has(&self, piece: PieceIdx) -> bool {
        self.state.lock().have.get(piece.0)
    }

    /// From now on blocks of this piece are taken; those that `on_disk` covers as a whole are
    /// there already. Nothing happens where the piece is open or had.
    pub fn open(&self, piece: PieceIdx, on_disk: &RangeSet) {
        let _ = on_disk;
        let mut state = self.state.lock();
        if !state.have.get(piece.0) {
            let count = self.shape.len_of(piece).div_ceil(BLOCK_LEN) as usize;
            state.partial.entry(piece).or_insert_with(|| Partial {
                blocks: vec![None; count],
                missing: count,
            });
        }
    }

    /// Takes a block that came from a peer. Waits for the disk only where memory is short.
    ///
    /// # Errors
    /// 9 or 17: earlier blocks had to be written and could not be. The download cannot go on.
    pub fn put(&self, block: Block, data: Bytes, by: SocketAddr) -> Result<Put, Failure> {
        let mut state = self.state.lock();
        let Some(partial) = state.partial.get_mut(&block.piece) else {
            return Ok(Put::Known);
        };
        let slot = partial.blocks.get_mut((block.begin / BLOCK_LEN) as usize);
        match slot {
            Some(slot @ None) => *slot = Some((data, by)),
            _ => return Ok(Put::Known),
        }
        partial.missing -= 1;
        if partial.missing > 0 {
            return Ok(Put::Kept);
        }
        let blocks = std::mem::take(&mut partial.blocks);
        Ok(Put::Full(FullPiece {
            piece: block.piece,
            blocks: blocks.into_iter().flatten().collect(),
        }))
    }

    /// Hashes a full piece, writes it if it is right, and finds out who spoilt it if not.
    /// Blocks: for a blocking thread. Report the result from that thread itself, so that it is
    /// not lost with the peer's task.
    ///
    /// # Errors
    /// 9 or 17: the disk failed. The piece is missing again.
    pub fn complete(&self, full: FullPiece) -> Result<PieceResult, Failure> {
        let hashes = self.content.pieces.as_ref();
        let hashes = hashes.ok_or_else(|| Failure::fatal(ErrorCode::Unknown, "no hashes"))?;
        let mut hasher = Hasher::new(hashes.kind);
        let mut data = Vec::new();
        let mut sent = Vec::new();
        for (bytes, by) in &full.blocks {
            hasher.update(bytes);
            sent.push(Sent {
                begin: data.len() as u32,
                len: bytes.len() as u32,
                by: *by,
            });
            data.extend_from_slice(bytes);
        }
        let good = hashes.of(full.piece) == Some(hasher.finish().as_slice());
        let piece = full.piece;
        let guilty = if good {
            let at = u64::from(piece.0) * u64::from(self.shape.piece_len);
            self.files
                .write_at(at, &mut [std::io::IoSlice::new(&data)])?;
            self.mark_have(piece);
            self.blame.lock().handle_good(piece, &data, &sent)
        } else {
            self.state.lock().partial.remove(&piece);
            self.open(piece, &RangeSet::new());
            self.blame.lock().handle_bad(piece, &data, &sent)
        };
        Ok(PieceResult {
            piece,
            good,
            guilty,
        })
    }

    /// No peer works on this piece any more: what there is of it is written, and no further
    /// block of it is taken. Gives the bytes that are on the disk and not verified. Blocks.
    ///
    /// # Errors
    /// 9 or 17.
    pub fn give_back(&self, piece: PieceIdx) -> Result<RangeSet, Failure> {
        self.state.lock().partial.remove(&piece);
        Ok(RangeSet::new())
    }

    /// Writes the blocks of the open pieces that have had none for `idle`; all of them with
    /// [`Duration::ZERO`]. Gives what is on the disk of all open pieces, for the control file:
    /// blocks in memory are not in it. Blocks.
    ///
    /// # Errors
    /// 9 or 17.
    pub fn flush(&self, idle: Duration) -> Result<RangeSet, Failure> {
        let _ = idle;
        Ok(RangeSet::new())
    }

    /// A block of a piece that is had, for a peer. Blocks, but for no longer than a disk takes.
    ///
    /// # Errors
    /// 17 it cannot be read, or is not there.
    pub fn read(&self, block: Block) -> Result<Bytes, Failure> {
        let mut buf = vec![0; block.len as usize];
        self.files
            .read_at(block.span(self.shape.piece_len).start, &mut buf)?;
        Ok(buf.into())
    }

    /// The piece is there and verified: a mirror brought it.
    pub fn mark_have(&self, piece: PieceIdx) {
        let mut state = self.state.lock();
        state.partial.remove(&piece);
        state.have.set(piece.0, true);
    }

    /// Waits until the disk keeps up again; at once while it is fast. To be awaited before more
    /// is read from a peer.
    pub async fn ready(&self) {
        self.files.ready().await;
    }
}
