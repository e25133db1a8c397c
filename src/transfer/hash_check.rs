//! Pieces on the disk are hashed: on all cores, one download at a time. Blocking.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::range_set::RangeSet;
use crate::base::units::{PieceIdx, Span};
use crate::storage::verify::{self, Watch};
use crate::storage::{Content, Files};

use super::live::Verified;

/// Held by the download whose pieces are being hashed: two at once would only make the disk seek.
static TURN: Mutex<()> = Mutex::new(());
/// Between two looks at the stop flag of a check that waits for its turn.
const LOOK: Duration = Duration::from_millis(50);

/// Which of these pieces are right; none where the content has no piece hashes. `told` hears
/// whether another download comes first, and then how many bytes have been hashed.
///
/// # Errors
/// 7 stopped meanwhile, 17 the files cannot be read.
pub fn check(
    files: &Files,
    content: &Content,
    pieces: &Bitfield,
    told: &dyn Fn(Verified),
    stop: &AtomicBool,
) -> Result<Bitfield, Failure> {
    let Some(hashes) = &content.pieces else {
        return Ok(Bitfield::new(pieces.len()));
    };
    let _turn = take_turn(told, stop)?;
    let done = |bytes| told(Verified::Bytes(bytes));
    done(0);
    let watch = Watch { done: &done, stop };
    verify::check_pieces(files, hashes, pieces, &watch)?.ok_or_else(stopped)
}

fn take_turn(
    told: &dyn Fn(Verified),
    stop: &AtomicBool,
) -> Result<MutexGuard<'static, ()>, Failure> {
    if let Some(turn) = TURN.try_lock() {
        return Ok(turn);
    }
    told(Verified::Waits);
    loop {
        if stop.load(Ordering::Acquire) {
            return Err(stopped());
        }
        if let Some(turn) = TURN.try_lock_for(LOOK) {
            return Ok(turn);
        }
    }
}

/// Hashes again the pieces in which the file system has no blocks for bytes that were written:
/// somebody cut the files, or the bytes are zeros in a file that was copied sparsely.
///
/// # Errors
/// 17 bytes are gone; and as [`check`].
pub fn check_holes(
    files: &Files,
    content: &Content,
    told: &dyn Fn(Verified),
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let (Some(hashes), Some(total)) = (&content.pieces, content.total) else {
        return files.verify_dense();
    };
    let holes = files.holes(&RangeSet::from_iter([Span::new(0, total)]))?;
    let count = u32::try_from(hashes.count()).unwrap_or(u32::MAX);
    let mut pieces = Bitfield::new(count);
    for hole in holes.iter() {
        let last = (hole.end - 1) / hashes.piece_len;
        for index in hole.start / hashes.piece_len..=last {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let span = piece_span(PieceIdx(index), hashes.piece_len, total);
            // What else lies in the piece need not be there.
            if is_selected(files, span.intersect(hole)) {
                pieces.set(index, true);
            }
        }
    }
    if pieces.none() {
        return Ok(());
    }
    let good = check(files, content, &pieces, told, stop)?;
    match pieces.ones().find(|index| !good.get(*index)) {
        None => Ok(()),
        Some(bad) => {
            let span = piece_span(PieceIdx(bad), hashes.piece_len, total);
            let text = format!("bytes {span:?} were lost while they were being downloaded");
            Err(Failure::fatal(ErrorCode::FileIo, text))
        }
    }
}

/// Where a piece lies on the line of bytes.
pub fn piece_span(piece: PieceIdx, piece_len: u64, total: u64) -> Span {
    let start = u64::from(piece.0) * piece_len;
    Span::new(start.min(total), (start + piece_len).min(total))
}

fn is_selected(files: &Files, span: Span) -> bool {
    let mut parts = files.layout().locate(span);
    parts.any(|part| {
        let file = &files.layout().files()[part.file];
        file.selected && !file.padding
    })
}

fn stopped() -> Failure {
    Failure::fatal(
        ErrorCode::Unfinished,
        "stopped while the files were checked",
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn who_is_not_the_only_one_is_told_that_it_waits() {
        let told = RefCell::new(Vec::new());
        let hear = |verified| told.borrow_mut().push(verified);
        let go_on = AtomicBool::new(false);
        drop(take_turn(&|_| (), &go_on).unwrap());
        let first = TURN.lock();
        let stop = AtomicBool::new(true);
        assert_eq!(
            take_turn(&hear, &stop).err().map(|failure| failure.code),
            Some(ErrorCode::Unfinished)
        );
        drop(first);
        assert_eq!(*told.borrow(), [Verified::Waits]);
    }
}
