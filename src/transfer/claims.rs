//! Which path belongs to which running download: two never write the same file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::base::gid::Gid;

/// The paths being written in this process.
#[derive(Default)]
pub struct PathClaims {
    owners: Mutex<HashMap<PathBuf, Gid>>,
    /// Finished files with a control file beside them (`force-save`), and whose they are.
    kept: Mutex<HashMap<PathBuf, Gid>>,
}

impl PathClaims {
    /// Whether `gid` may write this path: nobody else does.
    pub fn claim(&self, path: &Path, gid: Gid) -> bool {
        let mut owners = self.owners.lock();
        *owners.entry(path.to_owned()).or_insert(gid) == gid
    }

    /// Gives back everything a download claimed.
    pub fn release(&self, gid: Gid) {
        self.owners.lock().retain(|_, owner| *owner != gid);
    }

    /// The file is finished and its control file stays: nobody else has anything to resume there.
    pub fn keep(&self, path: &Path, gid: Gid) {
        self.kept.lock().insert(path.to_owned(), gid);
    }

    /// Whether another download has finished this file and kept its control file.
    pub fn is_kept_from(&self, path: &Path, gid: Gid) -> bool {
        self.kept
            .lock()
            .get(path)
            .is_some_and(|owner| *owner != gid)
    }

    /// Gives back one path.
    pub fn release_path(&self, path: &Path, gid: Gid) {
        let mut owners = self.owners.lock();
        if owners.get(path) == Some(&gid) {
            owners.remove(path);
        }
    }
}
