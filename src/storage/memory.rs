//! Pure: how many bytes are in memory on their way to disks, all downloads together
//! (`disk-cache`): blocks of pieces that are being put together, and what waits for slow disks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

static SHARED: LazyLock<Memory> = LazyLock::new(Memory::default);

/// Counts that many share.
#[derive(Clone, Default)]
pub struct Memory(Arc<Counts>);

#[derive(Default)]
struct Counts {
    blocks: AtomicU64,
    queued: AtomicU64,
}

/// One holder's part of the blocks; it is gone when this is.
pub struct Held {
    memory: Memory,
    bytes: u64,
}

impl Memory {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// Bytes of blocks.
    pub fn blocks(&self) -> u64 {
        self.0.blocks.load(Ordering::Relaxed)
    }

    /// Bytes that wait for slow disks.
    pub fn queued(&self) -> u64 {
        self.0.queued.load(Ordering::Acquire)
    }

    /// How many bytes of blocks may be held. What waits for slow disks comes first, up to half.
    pub fn blocks_max(&self, cache_len_max: u64) -> u64 {
        let left = cache_len_max.saturating_sub(self.queued());
        left.max(cache_len_max / 2)
    }

    /// Whether more may be queued for slow disks. Blocks come first, up to half.
    pub fn may_queue(&self, cache_len_max: u64) -> bool {
        let queued = self.queued();
        queued < cache_len_max / 2 || queued + self.blocks() < cache_len_max
    }

    pub fn queue(&self, bytes: u64) {
        self.0.queued.fetch_add(bytes, Ordering::AcqRel);
    }

    pub fn dequeue(&self, bytes: u64) {
        self.0.queued.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// No blocks yet.
    pub fn held(&self) -> Held {
        Held {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

impl Held {
    /// Another one, of the same count, with nothing.
    pub fn sibling(&self) -> Self {
        self.memory.held()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.memory.0.blocks.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn remove(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.memory.0.blocks.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_queues_share_the_cache_and_neither_starves_the_other() {
        let memory = Memory::default();
        assert_eq!((memory.blocks_max(100), memory.may_queue(100)), (100, true));
        let mut held = memory.held();
        held.add(70);
        memory.queue(40);
        assert_eq!((memory.blocks_max(100), memory.may_queue(100)), (60, true));
        memory.queue(40);
        assert_eq!((memory.blocks_max(100), memory.may_queue(100)), (50, false));
        drop(held);
        assert!(memory.may_queue(100));
        memory.dequeue(80);
        assert_eq!((memory.blocks(), memory.queued()), (0, 0));
    }
}
