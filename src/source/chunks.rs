//! Pure: bytes on their way to the disk, in the chunks the socket gave, uncopied.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

/// Gathered bytes and where they belong. Invariant: `position` is the file offset of the first of
/// them.
pub struct Chunks {
    position: u64,
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl Chunks {
    /// None yet; the first will be byte `position` of the file.
    pub fn new(position: u64) -> Self {
        Self {
            position,
            chunks: VecDeque::new(),
            len: 0,
        }
    }

    /// File offset of the first byte.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// File offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.position + self.len as u64
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a chunk at the end.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// The first bytes, at most `len_max`.
    pub fn front(&self, len_max: usize) -> Vec<&[u8]> {
        let mut room = len_max;
        let mut parts = Vec::with_capacity(self.chunks.len());
        for chunk in &self.chunks {
            let len = chunk.len().min(room);
            if len == 0 {
                break;
            }
            parts.push(&chunk[..len]);
            room -= len;
        }
        parts
    }

    /// Forgets the first `len` bytes: they are in the file.
    pub fn consume(&mut self, len: u64) {
        self.position += len;
        let mut rest = usize::try_from(len).unwrap_or(usize::MAX);
        self.len -= rest.min(self.len);
        while let Some(chunk) = self.chunks.front_mut() {
            let taken = chunk.len().min(rest);
            chunk.advance(taken);
            rest -= taken;
            if !chunk.is_empty() {
                break;
            }
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_their_place_however_they_are_taken() {
        let mut chunks = Chunks::new(100);
        for chunk in ["abc", "", "defg"] {
            chunks.push(Bytes::from_static(chunk.as_bytes()));
        }
        assert_eq!(chunks.front(5), [&b"abc"[..], b"de"]);
        chunks.consume(5);
        assert_eq!(
            (chunks.position(), chunks.end(), chunks.len()),
            (105, 107, 2)
        );
        assert_eq!(chunks.front(usize::MAX), [b"fg"]);
        chunks.consume(2);
        assert!(chunks.is_empty() && chunks.front(9).is_empty());
        assert_eq!(chunks.position(), 107);
    }
}
