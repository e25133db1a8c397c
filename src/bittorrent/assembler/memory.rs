//! Pure: how many bytes of blocks are in memory, all torrents together (`disk-cache`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

static SHARED: LazyLock<Memory> = LazyLock::new(Memory::default);

/// A count that many share.
#[derive(Clone, Default)]
pub struct Memory(Arc<AtomicU64>);

/// One holder's part of the count; it is gone when this is.
pub struct Held {
    memory: Memory,
    bytes: u64,
}

impl Memory {
    /// The one of this process.
    pub fn shared() -> Self {
        SHARED.clone()
    }

    pub fn used(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Nothing yet.
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
        self.memory.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn remove(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.memory.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}
