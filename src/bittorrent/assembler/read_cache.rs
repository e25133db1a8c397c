//! Reads for uploads. A peer asks for the blocks of a piece one after the other, so what lies
//! around a block is read with it and kept for a while.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::error::Failure;
use crate::base::units::Span;
use crate::storage::Files;

/// Read at once, where the piece is so long.
const WINDOW: u64 = 128 * 1024;
/// Windows kept of one torrent: as many peers as are usually fed at the same time, and some.
const KEPT: usize = 16;

/// The windows read last, the latest in front.
#[derive(Default)]
pub struct ReadCache {
    windows: Mutex<VecDeque<(Span, Bytes)>>,
}

impl ReadCache {
    /// These bytes, if they have been read lately.
    pub fn get(&self, span: Span) -> Option<Bytes> {
        let mut windows = self.windows.lock();
        let holds = |(window, _): &(Span, Bytes)| window.intersect(span) == span;
        let index = windows.iter().position(holds)?;
        let (window, data) = windows.remove(index)?;
        let skip = (span.start - window.start) as usize;
        let found = data.slice(skip..skip + span.len() as usize);
        windows.push_front((window, data));
        Some(found)
    }

    /// These bytes, which lie inside `piece`, all of which is known to be right.
    ///
    /// # Errors
    /// 17.
    pub fn read(&self, files: &Files, span: Span, piece: Span) -> Result<Bytes, Failure> {
        if let Some(found) = self.get(span) {
            return Ok(found);
        }
        // Windows begin at fixed places of the piece, so that two peers share them.
        let begin = piece.start + (span.start - piece.start) / WINDOW * WINDOW;
        let window = Span::new(begin, (begin + WINDOW).min(piece.end));
        if window.intersect(span) != span {
            return read(files, span);
        }
        let data = read(files, window)?;
        let skip = (span.start - window.start) as usize;
        let found = data.slice(skip..skip + span.len() as usize);
        let mut windows = self.windows.lock();
        windows.push_front((window, data));
        windows.truncate(KEPT);
        Ok(found)
    }
}

fn read(files: &Files, span: Span) -> Result<Bytes, Failure> {
    let mut buf = vec![0; span.len() as usize];
    files.read_at(span.start, &mut buf)?;
    Ok(buf.into())
}
