//! Pure: which control files are preceded by a sync of the data they claim.
//!
//! Synced data make a control file true after a loss of power too. Where the disk takes longer for
//! that than its share, a sync would hold up the control file that a crash of the process alone
//! needs, and slow the download down: then only every tenth is preceded by one, and none while
//! bytes come faster than disks write. What the others claim too much after a loss of power is
//! found when the file is opened again, as holes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::storage::progress::Durability;

/// A sync may take this long.
pub const SYNC_MAX: Duration = Duration::from_millis(150);
/// Control files without a sync after one that took longer.
const REST: u32 = 9;
/// More bytes than these since the last control file are not synced.
const BYTES_MAX: u64 = 48 << 20;

/// Kept for each download.
#[derive(Default)]
pub struct SyncPace {
    rest: AtomicU32,
    /// Bytes there were at the last control file.
    written: AtomicU64,
}

impl SyncPace {
    /// For the next control file, at which so many bytes are `written`.
    pub fn durability(&self, written: u64) -> Durability {
        let before = self.written.swap(written, Ordering::Relaxed);
        let few = written.saturating_sub(before) <= BYTES_MAX;
        match self.rest.load(Ordering::Relaxed) {
            0 if few => Durability::Power,
            _ => Durability::Process,
        }
    }

    /// One has been saved.
    pub fn note(&self, durability: Durability, took: Duration) {
        match durability {
            Durability::Power if took >= SYNC_MAX => self.rest.store(REST, Ordering::Relaxed),
            Durability::Power => {}
            Durability::Process => {
                // The saves of a download come one after the other.
                let rest = self.rest.load(Ordering::Relaxed);
                self.rest.store(rest.saturating_sub(1), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_synced_less_often() {
        let pace = SyncPace::default();
        pace.note(Durability::Power, SYNC_MAX / 2);
        assert_eq!(pace.durability(1), Durability::Power);
        pace.note(Durability::Power, SYNC_MAX * 2);
        for _ in 0..REST {
            assert_eq!(pace.durability(1), Durability::Process);
            pace.note(Durability::Process, Duration::ZERO);
        }
        assert_eq!(pace.durability(1), Durability::Power);
    }

    #[test]
    fn a_torrent_of_bytes_is_not_synced() {
        let pace = SyncPace::default();
        assert_eq!(pace.durability(BYTES_MAX + 1), Durability::Process);
        assert_eq!(pace.durability(BYTES_MAX + 2), Durability::Power);
    }
}
