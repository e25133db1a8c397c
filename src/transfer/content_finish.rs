//! The last steps of a download of several files, or of one that a torrent names. Blocking.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::base::error::{ErrorCode, Failure};
use crate::option::settings::TransferSettings;
use crate::storage::relocate::{Taken, relocate};
use crate::storage::{Content, Files, Layout, progress};

use super::hash_check;
use super::live::Verified;

/// What the last steps need to know of known content.
pub struct ContentEnd {
    pub content: Arc<Content>,
    /// What the control file is beside.
    pub root: PathBuf,
    /// `bt-remove-unselected-file`
    pub remove_unselected: bool,
}

/// Where the files are now.
pub struct Moved {
    /// The directory, or the only file.
    pub root: PathBuf,
    pub layout: Layout,
}

impl ContentEnd {
    /// Whether all that is wanted is there still, and unhurt.
    ///
    /// # Errors
    /// 17 with the reason; 32: the number of pieces is another than that of their hashes.
    pub fn verify(
        &self,
        files: &Files,
        told: &dyn Fn(Verified),
        stop: &AtomicBool,
    ) -> Result<(), Failure> {
        self.verify_count(files.total())?;
        files.cut_trailing()?;
        files.verify_in_place()?;
        hash_check::check_holes(files, &self.content, told, stop)
    }

    /// Where the length was not told beforehand, the hashes of the pieces tell roughly.
    fn verify_count(&self, total: Option<u64>) -> Result<(), Failure> {
        let (Some(pieces), Some(total)) = (&self.content.pieces, total) else {
            return Ok(());
        };
        let (listed, here) = (pieces.count() as u64, total.div_ceil(pieces.piece_len));
        if listed == here {
            return Ok(());
        }
        let text = format!("the file has {here} pieces, hashes are known of {listed}");
        Err(Failure::fatal(ErrorCode::Checksum, text))
    }

    /// Whether the control file stays: with it the files that were left out can be fetched later.
    pub fn keeps_control_file(&self, files: &Files) -> bool {
        let mut all = files.layout().files().iter();
        all.any(|file| !file.selected && !file.padding)
    }

    /// Deletes the files that were left out, where the option says so, and the directories that
    /// are empty without them. What cannot be deleted is told in the log.
    pub fn remove_unselected(&self, files: &Files) {
        if !self.remove_unselected {
            return;
        }
        let mut dirs = BTreeSet::new();
        let left_out = files.layout().files().iter();
        for file in left_out.filter(|file| !file.selected && !file.padding) {
            match std::fs::remove_file(&file.path) {
                Ok(()) => dirs.extend(file.path.parent()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "{} stays", file.path.display()),
            }
        }
        // The deepest first.
        for dir in dirs.into_iter().rev() {
            let mut dir = Some(dir).filter(|dir| dir.starts_with(&self.root));
            while let Some(here) = dir.filter(|here| std::fs::remove_dir(here).is_ok()) {
                dir = here.parent().filter(|above| above.starts_with(&self.root));
            }
        }
    }

    /// Moves the files to `complete-dir`: a directory as a whole, with whatever else is in it;
    /// files that `index-out` put elsewhere one by one; the control file, where it stays, too.
    /// `None` where the option is not set.
    ///
    /// # Errors
    /// As [`relocate`].
    pub fn relocate(
        &self,
        files: &Files,
        settings: &TransferSettings,
    ) -> Result<Option<Moved>, Failure> {
        let Some(complete_dir) = &settings.complete_dir else {
            return Ok(None);
        };
        let taken = taken(settings);
        let target = |path: &Path| {
            let below = path.strip_prefix(&settings.dir).ok();
            let name = below.or_else(|| path.file_name().map(Path::new));
            name.map_or_else(|| complete_dir.clone(), |name| complete_dir.join(name))
        };
        // Data first: a rename must not reach the disk before the bytes do.
        files.sync()?;
        let control = progress::control_path(&self.root);
        let root = match self.root.symlink_metadata() {
            Ok(_) => relocate(&self.root, &target(&self.root), taken)?,
            // All of it is elsewhere.
            Err(_) => target(&self.root),
        };
        let mut moved = Vec::with_capacity(files.layout().files().len());
        for file in files.layout().files() {
            let path = match file.path.strip_prefix(&self.root) {
                Ok(below) if below.as_os_str().is_empty() => root.clone(),
                Ok(below) => root.join(below),
                Err(_) if file.padding || file.path.symlink_metadata().is_err() => {
                    target(&file.path)
                }
                Err(_) => relocate(&file.path, &target(&file.path), taken)?,
            };
            moved.push(path);
        }
        if control.symlink_metadata().is_ok() {
            relocate(&control, &progress::control_path(&root), Taken::Replace)?;
        }
        Ok(Some(Moved {
            root,
            layout: files.layout().with_paths(moved),
        }))
    }
}

/// What to do where a name in `complete-dir` is taken.
pub fn taken(settings: &TransferSettings) -> Taken {
    match (settings.allow_overwrite, settings.auto_file_renaming) {
        (true, _) => Taken::Replace,
        (false, true) => Taken::Rename,
        (false, false) => Taken::Fail,
    }
}

#[cfg(test)]
mod tests;
