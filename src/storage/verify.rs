//! Hashing what is on the disk. These functions block: call them on a blocking thread.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::digest::{DigestKind, Hasher};
use super::{Files, PieceHashes};
use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::units::{PieceIdx, Span};

/// Read at once; small enough to stay in the processor's cache while it is hashed.
const CHUNK: usize = 256 * 1024;
/// Between two looks at threads that hash the last pieces.
const HELPERS_LOOK: Duration = Duration::from_millis(2);

/// What to tell while hashing, and whether to stop.
pub struct Watch<'a> {
    /// Called with the bytes hashed so far.
    pub done: &'a dyn Fn(u64),
    pub stop: &'a AtomicBool,
}

/// All bytes of the download.
///
/// # Errors
/// 17 its length is not known.
pub fn whole(files: &Files) -> Result<Span, Failure> {
    match files.total() {
        Some(total) => Ok(Span::new(0, total)),
        None => {
            let text = "the length of the download is not known";
            Err(Failure::fatal(ErrorCode::FileIo, text))
        }
    }
}

/// The digest of some bytes of the download; `None` when stopped.
///
/// # Errors
/// 17 reading failed or bytes are missing; and as [`Files::open`].
pub fn hash_span(
    files: &Files,
    span: Span,
    kind: DigestKind,
    watch: &Watch<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut hasher = Hasher::new(kind);
    let mut buf = buffer(span.len());
    let mut at = span.start;
    while at < span.end {
        if watch.stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        let part = &mut buf[..chunk_len(span.end - at)];
        files.read_at(at, part)?;
        hasher.update(part);
        at += part.len() as u64;
        (watch.done)(at - span.start);
    }
    Ok(Some(hasher.finish()))
}

/// Which of the pieces in `check` are there and right; `None` when stopped. Pieces of which
/// bytes are missing are wrong, which is no error. Works on as many threads as there are cores;
/// `watch` is told on this one.
///
/// # Errors
/// 17 reading failed, or the length of the download is not known.
pub fn check_pieces(
    files: &Files,
    hashes: &PieceHashes,
    check: &Bitfield,
    watch: &Watch<'_>,
) -> Result<Option<Bitfield>, Failure> {
    let total = whole(files)?.end;
    let pieces: Vec<u32> = check.ones().collect();
    let crew = Crew {
        files,
        hashes,
        total,
        pieces: &pieces,
        next: AtomicUsize::new(0),
        done: AtomicU64::new(0),
        give_up: AtomicBool::new(false),
        stop: watch.stop,
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (mine, others) = std::thread::scope(|scope| {
        let helpers = (1..cores.min(pieces.len())).map(|_| {
            let thread = std::thread::Builder::new().name("arioso-hash".into());
            thread.spawn_scoped(scope, || crew.work(&|_| ()))
        });
        // Without threads it takes longer, that is all.
        let helpers: Vec<_> = helpers.filter_map(Result::ok).collect();
        let mine = crew.work(watch.done);
        while helpers.iter().any(|helper| !helper.is_finished()) {
            std::thread::sleep(HELPERS_LOOK);
            (watch.done)(crew.done.load(Ordering::Acquire));
        }
        let others: Vec<_> = helpers.into_iter().map(|helper| helper.join()).collect();
        // The others may have done it all before this thread began.
        (watch.done)(crew.done.load(Ordering::Acquire));
        (mine, others)
    });
    let mut good = Bitfield::new(check.len());
    let others = others.into_iter().map(|joined| match joined {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    });
    for result in std::iter::once(mine).chain(others) {
        for piece in result? {
            good.set(piece, true);
        }
    }
    if watch.stop.load(Ordering::Acquire) {
        return Ok(None);
    }
    Ok(Some(good))
}

/// Threads that take one piece after the other.
struct Crew<'a> {
    files: &'a Files,
    hashes: &'a PieceHashes,
    total: u64,
    pieces: &'a [u32],
    /// Index into `pieces`.
    next: AtomicUsize,
    /// Bytes hashed.
    done: AtomicU64,
    /// One of the threads has failed.
    give_up: AtomicBool,
    stop: &'a AtomicBool,
}

impl Crew<'_> {
    /// What one thread does; gives the pieces it found right.
    fn work(&self, tell: &dyn Fn(u64)) -> Result<Vec<u32>, Failure> {
        let mut good = Vec::new();
        let mut buf = buffer(self.hashes.piece_len.min(self.total));
        while !self.give_up.load(Ordering::Acquire)
            && let Some(&piece) = self.pieces.get(self.next.fetch_add(1, Ordering::AcqRel))
        {
            let start = u64::from(piece) * self.hashes.piece_len;
            let span = Span::new(start, (start + self.hashes.piece_len).min(self.total));
            match hash_piece(self.files, span, self.hashes.kind, &mut buf, self.stop) {
                Ok(Piece::Stopped) => break,
                Ok(Piece::Missing) => {}
                Ok(Piece::Digest(digest)) => {
                    if self.hashes.of(PieceIdx(piece)) == Some(digest.as_slice()) {
                        good.push(piece);
                    }
                }
                Err(failure) => {
                    self.give_up.store(true, Ordering::Release);
                    return Err(failure);
                }
            }
            tell(self.done.fetch_add(span.len(), Ordering::AcqRel) + span.len());
        }
        Ok(good)
    }
}

enum Piece {
    Digest(Vec<u8>),
    Missing,
    Stopped,
}

fn hash_piece(
    files: &Files,
    span: Span,
    kind: DigestKind,
    buf: &mut [u8],
    stop: &AtomicBool,
) -> Result<Piece, Failure> {
    let mut hasher = Hasher::new(kind);
    let mut at = span.start;
    while at < span.end {
        if stop.load(Ordering::Acquire) {
            return Ok(Piece::Stopped);
        }
        let part = &mut buf[..chunk_len(span.end - at)];
        if files.read_some(at, part)? < part.len() {
            return Ok(Piece::Missing);
        }
        hasher.update(part);
        at += part.len() as u64;
    }
    Ok(Piece::Digest(hasher.finish()))
}

fn buffer(len_max: u64) -> Vec<u8> {
    vec![0; chunk_len(len_max)]
}

fn chunk_len(rest: u64) -> usize {
    rest.min(CHUNK as u64) as usize
}

#[cfg(test)]
mod tests;
