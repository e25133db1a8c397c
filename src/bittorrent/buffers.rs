//! Memory that blocks lie in on their way, used again and again: new memory is cleared by the system
//! page by page before anything is put there.

use std::collections::VecDeque;

use bytes::BytesMut;
use parking_lot::Mutex;

/// Of those that were given back, looked at for one that is free.
const LOOKS_MAX: usize = 4;

/// Buffers of one length. One that was given back is free once all that was cut out of it is gone.
pub struct Buffers {
    len: usize,
    given_back: Mutex<VecDeque<BytesMut>>,
    kept_max: usize,
}

impl Buffers {
    /// Buffers of `len` bytes; of those given back no more than `bytes_max` are kept, free or not.
    pub fn new(len: usize, bytes_max: u64) -> Self {
        Self {
            len,
            given_back: Mutex::default(),
            kept_max: usize::try_from(bytes_max / len as u64).unwrap_or(usize::MAX),
        }
    }

    /// Bytes of a buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// An empty buffer.
    pub fn take(&self) -> BytesMut {
        let mut given_back = self.given_back.lock();
        for _ in 0..LOOKS_MAX {
            let Some(mut buffer) = given_back.pop_front() else {
                break;
            };
            if buffer.try_reclaim(self.len) {
                return buffer;
            }
            given_back.push_back(buffer);
        }
        drop(given_back);
        BytesMut::with_capacity(self.len)
    }

    /// Gives back what [`Self::take`] gave; blocks cut out of it may still be in use.
    pub fn give_back(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut given_back = self.given_back.lock();
        given_back.push_back(buffer);
        while given_back.len() > self.kept_max {
            given_back.pop_front();
        }
    }

    /// Keeps nothing of what was given back.
    pub fn clear(&self) {
        self.given_back.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_its_blocks_are_gone() {
        let buffers = Buffers::new(1000, 2000);
        let mut first = buffers.take();
        first.extend_from_slice(b"blockrest");
        let place = first.as_ptr();
        let block = first.split_to(5).freeze();
        buffers.give_back(first);
        let second = buffers.take();
        assert_ne!(second.as_ptr(), place, "a block of it is in use");
        assert_eq!(&block[..], b"block");
        drop(block);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 1000);
    }

    #[test]
    fn no_more_than_allowed_is_kept() {
        let buffers = Buffers::new(1000, 2999);
        let taken: Vec<_> = (0..3).map(|_| buffers.take()).collect();
        taken
            .into_iter()
            .for_each(|buffer| buffers.give_back(buffer));
        assert_eq!(buffers.given_back.lock().len(), 2);
        let none = Buffers::new(1000, 0);
        none.give_back(none.take());
        assert!(none.given_back.lock().is_empty());
    }
}
