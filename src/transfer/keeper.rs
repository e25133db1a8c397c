//! The one door to a download's control file.
//!
//! Saves run on disk threads and may overtake one another, and the last of them may still be on
//! its way when the download completes. Here an older state never replaces a newer one, and
//! nothing is written any more once the file has been forgotten. Blocking.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use parking_lot::Mutex;

use crate::base::error::Failure;
use crate::base::failpoint;
use crate::format::control_file::ControlFile;
use crate::storage::Files;
use crate::storage::progress::{self, Durability};

use super::sync_pace::SYNC_MAX;

/// Saves and forgets the control file of one download.
pub struct ControlKeeper {
    files: Arc<Files>,
    /// Of the data, beside which the control file is.
    path: PathBuf,
    issued: AtomicU64,
    syncing: Arc<AtomicBool>,
    /// The newest state on disk, `u64::MAX` once forgotten; held while the disk is written.
    newest: Mutex<u64>,
}

/// The place of a state among all that were taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Turn(u64);

impl ControlKeeper {
    pub fn new(files: Arc<Files>, path: PathBuf) -> Self {
        Self {
            files,
            path,
            issued: AtomicU64::new(0),
            syncing: Arc::default(),
            newest: Mutex::new(0),
        }
    }

    /// Of the data, beside which the control file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Take it together with the state that is to be saved.
    pub fn turn(&self) -> Turn {
        Turn(self.issued.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Replaces the control file, unless it is newer or forgotten.
    ///
    /// # Errors
    /// As [`progress::checkpoint`].
    pub fn save(
        &self,
        turn: Turn,
        control: &ControlFile,
        durability: Durability,
    ) -> Result<(), Failure> {
        // Before the lock: the end of the download must not wait for a slow sync.
        let (durability, reached) = self.reach(durability);
        let mut newest = self.newest.lock();
        if *newest > turn.0 {
            return Ok(());
        }
        progress::claim(&self.files, &self.path, control, durability, reached)?;
        *newest = turn.0;
        Ok(())
    }

    /// Has the data reach what the control file is to survive. A disk too busy to sync them soon
    /// must not hold up the file that a crash of this process alone needs: the sync goes on by
    /// itself then, and the file makes do with less.
    fn reach(&self, durability: Durability) -> (Durability, Result<(), Failure>) {
        if durability == Durability::Power
            && let Some(synced) = self.sync_soon()
        {
            return (durability, synced);
        }
        let weaker = Durability::Process;
        (weaker, progress::reach(&self.files, weaker))
    }

    /// Syncs the data; `None` if that takes too long, or an earlier sync still does.
    fn sync_soon(&self) -> Option<Result<(), Failure>> {
        if self.syncing.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (files, syncing) = (self.files.clone(), self.syncing.clone());
        let (done, synced) = mpsc::sync_channel(1);
        let sync = move || {
            let result = progress::reach(&files, Durability::Power);
            syncing.store(false, Ordering::Release);
            // Nobody waits for a sync that took too long.
            let _ = done.send(result);
        };
        if thread::Builder::new()
            .name("arioso-sync".to_owned())
            .spawn(sync)
            .is_err()
        {
            self.syncing.store(false, Ordering::Release);
            return None;
        }
        synced.recv_timeout(SYNC_MAX).ok()
    }

    /// Removes the control file for good.
    ///
    /// # Errors
    /// As [`progress::remove`].
    pub fn forget(&self) -> Result<(), Failure> {
        let mut newest = self.newest.lock();
        failpoint::hit("control.forget");
        progress::remove(&self.path)?;
        failpoint::hit("control.forgotten");
        *newest = u64::MAX;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::range_set::RangeSet;
    use crate::base::units::Span;
    use crate::option::OptionSet;
    use crate::storage::{DiskSettings, Layout, OpenMode};

    const LEN: u64 = 1 << 20;

    fn keeper(dir: &tempfile::TempDir) -> ControlKeeper {
        let path = dir.path().join("data");
        let layout = Layout::single(path.clone(), Some(LEN));
        let settings = DiskSettings::from(&OptionSet::new());
        let files = Files::open(layout, &settings, OpenMode::Fresh).unwrap();
        files.set_total(LEN).unwrap();
        ControlKeeper::new(Arc::new(files), path)
    }

    fn state(written: u64) -> ControlFile {
        let mut ranges = RangeSet::new();
        ranges.insert(Span::new(0, written));
        ControlFile::from_ranges(&ranges, LEN, 1 << 18).unwrap()
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = keeper(&dir);
        let (older, newer) = (keeper.turn(), keeper.turn());
        keeper
            .save(newer, &state(1 << 19), Durability::Process)
            .unwrap();
        keeper
            .save(older, &state(1 << 18), Durability::Process)
            .unwrap();
        let kept = progress::load(&keeper.path).unwrap().unwrap();
        assert_eq!(kept.to_ranges().total(), 1 << 19);
    }

    #[test]
    fn a_late_save_does_not_bring_a_forgotten_file_back() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = keeper(&dir);
        let late = keeper.turn();
        keeper.forget().unwrap();
        keeper
            .save(late, &state(1 << 18), Durability::Process)
            .unwrap();
        assert!(progress::load(&keeper.path).unwrap().is_none());
    }

    #[test]
    fn a_sync_that_takes_its_time_does_not_hold_up_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = keeper(&dir);
        keeper.syncing.store(true, Ordering::Release);
        let turn = keeper.turn();
        keeper
            .save(turn, &state(1 << 18), Durability::Power)
            .unwrap();
        let kept = progress::load(&keeper.path).unwrap().unwrap();
        assert_eq!(kept.to_ranges().total(), 1 << 18);
    }
}
