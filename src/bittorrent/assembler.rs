//! Where the blocks of a torrent's peers become pieces on the disk.
//!
//! Every peer's task puts its blocks here. They stay in memory until their piece is whole; it is
//! hashed from there, and written only if it is right. Where `disk-cache` is used up, blocks go to
//! the disk before their piece is whole and are read back for its hash.
//!
//! Invariant: bytes of a piece that is had are never written over. A piece takes blocks between
//! [`Assembler::open`] and the end of [`Assembler::complete`] or [`Assembler::give_back`]; writes
//! of blocks before their piece is whole happen one at a time (`spilling`), and are over before
//! the whole piece is written.

mod partial;
mod read_cache;

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::blame::{Blame, BlockDigest, Sent, digest_of};
use super::buffers::Buffers;
use super::peer::Shape;
use super::wire::Block;
use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::failpoint;
use crate::base::range_set::RangeSet;
use crate::base::units::{PieceIdx, Span};
use crate::storage::digest::Hasher;
use crate::storage::memory::Memory;
use crate::storage::{Content, Files};

use partial::{Part, Partial, Run, Taken};
use read_cache::ReadCache;

/// Written at once where memory is short.
const SPILL: u64 = 4 << 20;
/// Blocks of a piece that gets no more for so long need not be in memory.
const IDLE: Duration = Duration::from_secs(5);
/// What blocks are received into, in bytes.
const BUFFER_LEN: usize = 256 * 1024;
/// Blocks written at once: by how long a write takes a disk is judged, however much it writes.
const WRITE_COUNT: usize = 4;
/// Read at once for the hash of a piece that was spilled.
const CHUNK: usize = 256 * 1024;

/// The blocks of one torrent.
pub struct Assembler {
    files: Arc<Files>,
    content: Arc<Content>,
    shape: Shape,
    state: Arc<Mutex<State>>,
    /// Held while blocks of pieces that are not whole are being written.
    spilling: Mutex<()>,
    blame: Mutex<Blame>,
    memory: Memory,
    memory_max: u64,
    uploads: ReadCache,
    buffers: Arc<Buffers>,
}

struct State {
    have: Bitfield,
    open: HashMap<PieceIdx, Partial>,
    /// Pieces being hashed, and what of them is on the disk.
    full: HashMap<PieceIdx, RangeSet>,
}

/// What became of a block.
pub enum Put {
    /// It was missing and is kept.
    Kept,
    /// Nobody needs it: it is there already.
    Known,
    /// Nobody works on its piece: it is thrown away.
    Closed,
    /// It was the last one of its piece, which is to be handed to [`Assembler::complete`].
    Full(FullPiece),
}

/// All blocks of a piece, not hashed yet. Dropped, all of the piece is missing again.
#[must_use = "a full piece takes part in the download only after `Assembler::complete`"]
pub struct FullPiece {
    piece: PieceIdx,
    blocks: Partial,
    state: Arc<Mutex<State>>,
}

impl FullPiece {
    pub fn piece(&self) -> PieceIdx {
        self.piece
    }
}

impl Drop for FullPiece {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        // A piece that was had meanwhile, or whose hash was right, is no longer in here.
        if state.full.remove(&self.piece).is_some() {
            let empty = self.blocks.emptied(Instant::now());
            state.open.insert(self.piece, empty);
        }
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
        Self::with_memory(files, content, have, Memory::shared().clone()).map(Arc::new)
    }

    fn with_memory(
        files: Arc<Files>,
        content: Arc<Content>,
        have: Bitfield,
        memory: Memory,
    ) -> Option<Self> {
        let shape = Shape {
            piece_len: u32::try_from(content.pieces.as_ref()?.piece_len).ok()?,
            total: content.total?,
        };
        let state = State {
            have,
            open: HashMap::new(),
            full: HashMap::new(),
        };
        let memory_max = files.settings().cache_len_max;
        Some(Self {
            memory_max,
            buffers: Arc::new(Buffers::new(BUFFER_LEN, memory_max)),
            files,
            content,
            shape,
            state: Arc::new(Mutex::new(state)),
            spilling: Mutex::new(()),
            blame: Mutex::default(),
            memory,
            uploads: ReadCache::default(),
        })
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// What blocks are to be received into.
    pub fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Whether the piece is there and verified.
    pub fn has(&self, piece: PieceIdx) -> bool {
        self.state.lock().have.get(piece.0)
    }

    /// From now on blocks of this piece are taken; those that `on_disk` covers as a whole are
    /// there already. Nothing happens where the piece is open or had, or there is no such piece.
    pub fn open(&self, piece: PieceIdx, on_disk: &RangeSet) {
        let len = self.shape.len_of(piece);
        let mut state = self.state.lock();
        if len == 0 || state.have.get(piece.0) || state.full.contains_key(&piece) {
            return;
        }
        let (start, held) = (self.span_of(piece).start, self.memory.held());
        state
            .open
            .entry(piece)
            .or_insert_with(|| Partial::new(start, len, on_disk, held, Instant::now()));
    }

    /// Takes a block that came from a peer. Waits for the disk only where memory is short.
    ///
    /// # Errors
    /// 9 or 17: earlier blocks had to be written and could not be. The download cannot go on.
    pub fn put(&self, block: Block, data: Bytes, by: SocketAddr) -> Result<Put, Failure> {
        let now = Instant::now();
        {
            let mut state = self.state.lock();
            let Some(partial) = state.open.get_mut(&block.piece) else {
                let whole = state.have.get(block.piece.0) || state.full.contains_key(&block.piece);
                return Ok(match whole {
                    true => Put::Known,
                    false => Put::Closed,
                });
            };
            match partial.put(block, data, by, now) {
                Taken::Known => return Ok(Put::Known),
                Taken::Kept => {}
                Taken::Full => {
                    if let Some(blocks) = state.open.remove(&block.piece) {
                        state.full.insert(block.piece, blocks.on_disk());
                        return Ok(Put::Full(FullPiece {
                            piece: block.piece,
                            blocks,
                            state: self.state.clone(),
                        }));
                    }
                }
            }
        }
        if self.memory.blocks() > self.blocks_max() {
            self.spill()?;
        }
        Ok(Put::Kept)
    }

    /// Hashes a full piece, writes it if it is right, and finds out who spoilt it if not.
    /// Blocks: for a blocking thread. Report the result from that thread itself, so that it is
    /// not lost with the peer's task.
    ///
    /// # Errors
    /// 9 or 17: the disk failed. The piece is missing again.
    pub fn complete(&self, full: FullPiece) -> Result<PieceResult, Failure> {
        let (piece, blocks) = (full.piece, &full.blocks);
        // Blocks of this piece may be on their way to the disk still.
        drop(self.spilling.lock());
        let good = self.is_right(piece, blocks)?;
        if good {
            failpoint::hit("piece.write");
            for run in blocks.dirty_runs(u64::MAX) {
                self.write(&run)?;
            }
            failpoint::hit("piece.written");
            let mut state = self.state.lock();
            state.full.remove(&piece);
            self.note_have(&mut state, piece);
        }
        let (sent, digest) = (blocks.sent(), |block: &Sent| self.digest_of(blocks, block));
        let mut blame = self.blame.lock();
        let guilty = match good {
            true => blame.handle_good(piece, &sent, digest),
            false => blame.handle_bad(piece, blocks.len(), &sent, digest),
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
        let _spilling = self.spilling.lock();
        let Some(mut blocks) = self.state.lock().open.remove(&piece) else {
            return Ok(RangeSet::new());
        };
        for run in blocks.dirty_runs(u64::MAX) {
            self.write(&run)?;
            blocks.mark_on_disk(run.span);
        }
        Ok(blocks.on_disk())
    }

    /// Writes the blocks of the open pieces that have had none for `idle`; all of them with
    /// [`Duration::ZERO`]. Gives what is on the disk of all open pieces, for the control file:
    /// blocks in memory are not in it. Blocks.
    ///
    /// # Errors
    /// 9 or 17.
    pub fn flush(&self, idle: Duration) -> Result<RangeSet, Failure> {
        let _spilling = self.spilling.lock();
        let now = Instant::now();
        let runs: Vec<(PieceIdx, Run)> = {
            let state = self.state.lock();
            let idle = |partial: &Partial| {
                partial.dirty() > 0 && now.saturating_duration_since(partial.touched()) >= idle
            };
            let pieces = state.open.iter().filter(|(_, partial)| idle(partial));
            pieces
                .flat_map(|(piece, partial)| {
                    let runs = partial.dirty_runs(u64::MAX).into_iter();
                    runs.map(|run| (*piece, run))
                })
                .collect()
        };
        for (piece, run) in runs {
            failpoint::hit("block.flush");
            self.write(&run)?;
            if let Some(partial) = self.state.lock().open.get_mut(&piece) {
                partial.mark_on_disk(run.span);
            }
        }
        let mut state = self.state.lock();
        for partial in state.open.values_mut() {
            // Others need the memory more.
            if now.saturating_duration_since(partial.touched()) >= IDLE {
                partial.drop_copies();
            }
        }
        let mut on_disk = RangeSet::new();
        let open = state.open.values().map(Partial::on_disk);
        for set in open.chain(state.full.values().cloned()) {
            set.iter().for_each(|span| {
                on_disk.insert(span);
            });
        }
        Ok(on_disk)
    }

    /// A block that needs no look at the disk, because it or its neighbour was read lately.
    pub fn read_cached(&self, block: Block) -> Option<Bytes> {
        self.uploads.get(block.span(self.shape.piece_len))
    }

    /// A block of a piece that is had, for a peer. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// 17 it cannot be read, or is not there.
    pub fn read(&self, block: Block) -> Result<Bytes, Failure> {
        if !self.shape.holds(block) || !self.has(block.piece) {
            let text = format!("piece {} is not there", block.piece.0);
            return Err(Failure::fatal(ErrorCode::FileIo, text));
        }
        let span = block.span(self.shape.piece_len);
        self.uploads
            .read(&self.files, span, self.span_of(block.piece))
    }

    /// The piece is there and verified: a mirror brought it.
    pub fn mark_have(&self, piece: PieceIdx) {
        let mut state = self.state.lock();
        state.open.remove(&piece);
        state.full.remove(&piece);
        self.note_have(&mut state, piece);
    }

    fn note_have(&self, state: &mut State, piece: PieceIdx) {
        state.have.set(piece.0, true);
        if state.have.all() {
            self.buffers.clear();
        }
    }

    /// Waits until the disk keeps up again; at once while it is fast. To be awaited before more
    /// is read from a peer.
    pub async fn ready(&self) {
        self.files.ready().await;
    }

    /// Frees memory: copies of what is on the disk first, then blocks of the piece that has the
    /// most of them. Frees some more than it must, so that not every block has to wait for it.
    fn spill(&self) -> Result<(), Failure> {
        // Who reads from a peer must not wait for a disk that another one waits for already:
        // [`Assembler::ready`] holds him back before he reads more.
        let Some(_spilling) = self.spilling.try_lock() else {
            return Ok(());
        };
        while self.memory.blocks() > self.blocks_max() / 8 * 7 {
            let (piece, runs) = {
                let mut state = self.state.lock();
                let most = state.open.iter_mut().max_by_key(|(_, open)| open.held());
                let Some((piece, partial)) = most.filter(|(_, open)| open.held() > 0) else {
                    return Ok(());
                };
                partial.drop_copies();
                (*piece, partial.dirty_runs(SPILL))
            };
            if self.memory.blocks() <= self.blocks_max() {
                return Ok(());
            }
            for run in runs {
                failpoint::hit("block.write");
                self.write(&run)?;
                if let Some(partial) = self.state.lock().open.get_mut(&piece) {
                    partial.mark_on_disk(run.span);
                    partial.drop_copies();
                }
            }
        }
        Ok(())
    }

    fn blocks_max(&self) -> u64 {
        self.memory.blocks_max(self.memory_max)
    }

    fn is_right(&self, piece: PieceIdx, blocks: &Partial) -> Result<bool, Failure> {
        let hashes = self.content.pieces.as_ref();
        let Some((hashes, digest)) = hashes.and_then(|all| Some((all, all.of(piece)?))) else {
            return Ok(false);
        };
        let mut hasher = Hasher::new(hashes.kind);
        self.feed(blocks.parts(), &mut |bytes| hasher.update(bytes))?;
        Ok(hasher.finish() == digest)
    }

    /// Hands the bytes of the parts on, reading what is on the disk.
    fn feed<'a>(
        &self,
        parts: impl Iterator<Item = Part<'a>>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let mut buf = Vec::new();
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            let mut span = match part {
                Part::Memory(bytes) => {
                    take(bytes);
                    continue;
                }
                Part::Disk(span) => span,
            };
            while span.len() < CHUNK as u64
                && let Some(Part::Disk(next)) = parts.peek()
            {
                span.end = next.end;
                parts.next();
            }
            buf.resize(span.len() as usize, 0);
            self.files.read_at(span.start, &mut buf)?;
            take(&buf);
        }
        Ok(())
    }

    fn digest_of(&self, blocks: &Partial, block: &Sent) -> Option<BlockDigest> {
        let mut digest = None;
        let part = blocks.part_at(block.begin)?;
        self.feed([part].into_iter(), &mut |bytes| {
            digest = Some(digest_of([bytes]))
        })
        .ok()?;
        digest
    }

    fn write(&self, run: &Run) -> Result<(), Failure> {
        let mut at = run.span.start;
        for blocks in run.blocks.chunks(WRITE_COUNT) {
            let mut slices: Vec<IoSlice<'_>> =
                blocks.iter().map(|block| IoSlice::new(block)).collect();
            self.files.write_at(at, &mut slices)?;
            at += blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    fn span_of(&self, piece: PieceIdx) -> Span {
        let start = u64::from(piece.0) * u64::from(self.shape.piece_len);
        Span::new(start, start + u64::from(self.shape.len_of(piece)))
    }
}

#[cfg(test)]
mod tests;
