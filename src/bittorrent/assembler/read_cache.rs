//! Reads for uploads. A peer asks for the blocks of a piece one after the other, so what lies
//! around a block is read with it and kept for a while.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::error::Failure;
use crate::base::units::Span;
use crate::bittorrent::buffers::Buffers;
use crate::storage::Files;

/// Read at once, where the piece is so long.
const WINDOW: u64 = 128 * 1024;
/// Windows kept of one torrent: as many peers as are usually fed at the same time, and some.
const KEPT: usize = 16;
/// Windows for which memory is kept: beside those some are on their way to peers.
const BUFFERS: u64 = 64;

/// The windows read last, the latest in front.
pub struct ReadCache {
    windows: Mutex<VecDeque<(Span, Bytes)>>,
    buffers: Buffers,
}

impl Default for ReadCache {
    fn default() -> Self {
        Self {
            windows: Mutex::default(),
            buffers: Buffers::new(WINDOW as usize, BUFFERS * WINDOW),
        }
    }
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
            let mut bytes = vec![0; span.len() as usize];
            files.read_at(span.start, &mut bytes)?;
            return Ok(bytes.into());
        }
        let data = self.read_window(files, window)?;
        let skip = (span.start - window.start) as usize;
        let found = data.slice(skip..skip + span.len() as usize);
        let mut windows = self.windows.lock();
        windows.push_front((window, data));
        windows.truncate(KEPT);
        Ok(found)
    }

    fn read_window(&self, files: &Files, window: Span) -> Result<Bytes, Failure> {
        let mut buffer = self.buffers.take();
        buffer.resize(window.len() as usize, 0);
        let read = files.read_at(window.start, &mut buffer);
        let data = buffer.split().freeze();
        self.buffers.give_back(buffer);
        read.map(|()| data)
    }
}
