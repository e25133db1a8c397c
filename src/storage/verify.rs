//! Hashing what is on the disk. These functions block: call them on a blocking thread.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Files;
use super::digest::{DigestKind, Hasher};
use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::units::Span;

/// Read at once; small enough to stay in the processor's cache while it is hashed.
const CHUNK: usize = 256 * 1024;

/// What to tell while hashing, and whether to stop.
pub struct Watch<'a> {
    /// Called with the bytes hashed so far.
    pub done: &'a dyn Fn(u64),
    pub stop: &'a AtomicBool,
}

/// The digest of the whole download; `None` when stopped.
///
/// # Errors
/// 17 reading failed or bytes are missing; and as [`Files::open`].
pub fn hash_whole(
    files: &Files,
    kind: DigestKind,
    watch: &Watch<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    let total = files.total().ok_or_else(|| {
        Failure::fatal(ErrorCode::FileIo, "the length of the download is not known")
    })?;
    hash_span(files, Span::new(0, total), kind, watch)
}

/// The digest of some bytes of the download; `None` when stopped.
///
/// # Errors
/// As [`hash_whole`].
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

/// Digests of equal pieces of a download, as torrents and Metalinks list them.
pub struct PieceHashes<'a> {
    pub kind: DigestKind,
    /// Bytes of every piece but the last one; not 0.
    pub piece_len: u32,
    /// One digest after the other, in the order of the pieces.
    pub digests: &'a [u8],
}

impl PieceHashes<'_> {
    /// The digest of piece `index`; `None` past the end.
    pub fn digest(&self, index: u32) -> Option<&[u8]> {
        let len = self.kind.digest_len();
        let start = (index as usize).checked_mul(len)?;
        self.digests.get(start..start.checked_add(len)?)
    }

    fn span(&self, index: u32, total: u64) -> Span {
        let start = u64::from(index) * u64::from(self.piece_len);
        Span::new(start, (start + u64::from(self.piece_len)).min(total))
    }
}

/// Which of the pieces in `check` are there and right; `None` when stopped. Pieces of which
/// bytes are missing are wrong, which is no error.
///
/// # Errors
/// 17 reading failed, or the length of the download is not known.
pub fn check_pieces(
    files: &Files,
    hashes: &PieceHashes<'_>,
    check: &Bitfield,
    watch: &Watch<'_>,
) -> Result<Option<Bitfield>, Failure> {
    let total = files.total().ok_or_else(|| {
        Failure::fatal(ErrorCode::FileIo, "the length of the download is not known")
    })?;
    let mut good = Bitfield::new(check.len());
    let mut buf = buffer(u64::from(hashes.piece_len).min(total));
    let mut done = 0;
    for index in check.ones() {
        let span = hashes.span(index, total);
        match hash_piece(files, span, hashes.kind, &mut buf, watch.stop)? {
            Piece::Stopped => return Ok(None),
            Piece::Missing => {}
            Piece::Digest(digest) => {
                good.set(index, hashes.digest(index) == Some(digest.as_slice()));
            }
        }
        done += span.len();
        (watch.done)(done);
    }
    Ok(Some(good))
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
