//! Open files of multi-file downloads, few at a time.
//!
//! A slot is one file of a download. Reading an open one takes no lock; opening one may close
//! another that was not used lately, of any download (`bt-max-open-files` counts them all).

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, MutexGuard};

use crate::base::error::Failure;

/// The open files of this process.
static POOL: LazyLock<FilePool> = LazyLock::new(FilePool::default);

/// One file: open or not, written to since the last sync or not.
#[derive(Default)]
pub struct Slot {
    file: ArcSwapOption<File>,
    /// Held while the file is opened: only the first opening may make or truncate it.
    opening: Mutex<()>,
    used: AtomicBool,
    dirty: AtomicBool,
    /// Device and inode of the file when it was first opened.
    identity: OnceLock<(u64, u64)>,
    /// The greatest length seen.
    len_seen: AtomicU64,
}

impl Slot {
    /// The open file. Marks it as lately used.
    pub fn open_file(&self) -> Option<arc_swap::Guard<Option<Arc<File>>>> {
        let file = self.file.load();
        if file.is_none() {
            return None;
        }
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Some(file)
    }

    /// Lets one thread at a time open the file.
    pub fn opening(&self) -> MutexGuard<'_, ()> {
        self.opening.lock()
    }

    pub fn set_file(&self, file: Arc<File>) {
        self.file.store(Some(file));
    }

    /// Remembers which file it is; the first opening counts.
    pub fn note_opened(&self, file: &File) {
        if self.identity.get().is_none()
            && let Ok(data) = file.metadata()
        {
            self.note_standing(&data);
        }
    }

    /// Remembers which file stands there, as if it had been opened.
    pub fn note_standing(&self, data: &Metadata) {
        let _ = self.identity.set((data.dev(), data.ino()));
    }

    pub fn was_opened(&self) -> bool {
        self.identity.get().is_some()
    }

    /// Whether this is not the file that was opened.
    pub fn is_other_file(&self, data: &Metadata) -> bool {
        self.identity
            .get()
            .is_some_and(|identity| *identity != (data.dev(), data.ino()))
    }

    /// Remembers a length; returns the greatest one seen before.
    pub fn note_len(&self, len: u64) -> u64 {
        self.len_seen.fetch_max(len, Ordering::AcqRel)
    }

    /// The file was cut to this length on purpose.
    pub fn forget_len(&self, len: u64) {
        self.len_seen.fetch_min(len, Ordering::AcqRel);
    }

    pub fn mark_dirty(&self) {
        if !self.dirty.load(Ordering::Relaxed) {
            self.dirty.store(true, Ordering::Release);
        }
    }

    /// Whether it was dirty; it is not any more.
    pub fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }
}

/// Keeps the number of open slots under a cap, the least lately used first to go (second-chance
/// order: a slot that was used since it was last looked at is spared once).
#[derive(Default)]
pub struct FilePool {
    open: Mutex<VecDeque<Weak<Slot>>>,
}

impl FilePool {
    pub fn shared() -> &'static FilePool {
        &POOL
    }

    /// Opens the slot's file unless another thread just did.
    ///
    /// # Errors
    /// What `open` reports.
    pub fn fill(
        &self,
        slot: &Arc<Slot>,
        cap: usize,
        open: impl FnOnce() -> Result<File, Failure>,
    ) -> Result<Arc<File>, Failure> {
        // Opened outside the lock: a stalled disk must not stop the others.
        let file = Arc::new(open()?);
        let mut list = self.open.lock();
        if let Some(other) = slot.file.load_full() {
            return Ok(other);
        }
        make_room(&mut list, cap.max(1));
        slot.used.store(true, Ordering::Relaxed);
        slot.file.store(Some(Arc::clone(&file)));
        list.push_back(Arc::downgrade(slot));
        Ok(file)
    }
}

/// Closes slots until one more fits under the cap.
fn make_room(list: &mut VecDeque<Weak<Slot>>, cap: usize) {
    let mut spared = 0;
    while list.len() >= cap {
        let Some(entry) = list.pop_front() else {
            return;
        };
        let Some(slot) = entry.upgrade() else {
            continue;
        };
        if spared < cap && slot.used.swap(false, Ordering::Relaxed) {
            spared += 1;
            list.push_back(entry);
        } else {
            slot.file.store(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::ErrorCode;

    fn any_file() -> Result<File, Failure> {
        File::open("/dev/null").map_err(|error| Failure::from_io(&error, ErrorCode::OpenFailed, ""))
    }

    fn open_of(slots: &[Arc<Slot>]) -> Vec<usize> {
        (0..slots.len())
            .filter(|index| slots[*index].file.load().is_some())
            .collect()
    }

    #[test]
    fn the_one_not_used_lately_goes_first() {
        let pool = FilePool::default();
        let slots: Vec<Arc<Slot>> = (0..5).map(|_| Arc::default()).collect();
        for slot in &slots[..3] {
            pool.fill(slot, 3, any_file).unwrap();
            slot.used.store(false, Ordering::Relaxed);
        }
        assert!(slots[0].open_file().is_some());
        pool.fill(&slots[3], 3, any_file).unwrap();
        assert_eq!(open_of(&slots), [0, 2, 3]);
        pool.fill(&slots[4], 3, any_file).unwrap();
        assert_eq!(open_of(&slots), [0, 3, 4]);
    }

    #[test]
    fn all_in_use_and_a_dropped_download_still_leave_room() {
        let pool = FilePool::default();
        let slots: Vec<Arc<Slot>> = (0..4).map(|_| Arc::default()).collect();
        let gone: Arc<Slot> = Arc::default();
        pool.fill(&gone, 2, any_file).unwrap();
        drop(gone);
        for slot in &slots {
            pool.fill(slot, 2, any_file).unwrap();
        }
        assert_eq!(open_of(&slots), [2, 3]);
    }

    #[test]
    fn a_second_opener_gets_the_first_ones_file() {
        let pool = FilePool::default();
        let slot: Arc<Slot> = Arc::default();
        let first = pool.fill(&slot, 2, any_file).unwrap();
        let second = pool.fill(&slot, 2, any_file).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(pool.open.lock().len(), 1);
    }

    #[test]
    fn dirt_is_taken_once() {
        let slot = Slot::default();
        assert!(!slot.take_dirty());
        slot.mark_dirty();
        assert!(slot.take_dirty());
        assert!(!slot.take_dirty());
    }
}
