//! The last steps of a download: flush, check, date, forget the control file. Blocking.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::base::error::{ErrorCode, Failure};
use crate::option::settings::TransferSettings;
use crate::storage::digest::Checksum;
use crate::storage::relocate::{Taken, relocate};
use crate::storage::verify::{self, Watch};
use crate::storage::{Files, origin_note};

use super::keeper::ControlKeeper;

/// What the last steps need.
pub struct Finish {
    pub files: Arc<Files>,
    pub keeper: Arc<ControlKeeper>,
    pub special: bool,
    pub settings: Arc<TransferSettings>,
    /// `Last-Modified` of the resource, seconds since 1970.
    pub modified: Option<i64>,
    pub total: Option<u64>,
    /// What the server itself says the digest is (option `http-want-digest`).
    pub digest: Option<Checksum>,
    /// It is given to peers from now on: the control file goes and may come back, and the files
    /// stay where they are until [`Finish::leave`].
    pub seeds: bool,
}

impl Finish {
    /// Runs the steps; `verified` is told how many bytes have been hashed. Gives the new path of
    /// a file that was moved.
    ///
    /// # Errors
    /// 17 the file is not what was written, 32 the checksum differs; the control file stays then.
    /// And as [`relocate`].
    pub fn run(
        &self,
        verified: &dyn Fn(u64),
        give_up: &AtomicBool,
    ) -> Result<Option<PathBuf>, Failure> {
        if self.special {
            self.files.flush()?;
            return Ok(None);
        }
        if let Some(total) = self.total {
            self.files.set_total(total)?;
        }
        self.files.verify_in_place()?;
        // A file that was there before us may be sparse by right.
        if !self.settings.resume_without_control_file {
            self.files.verify_dense()?;
        }
        self.check(verified, give_up)?;
        origin_note::remove(self.path());
        if self.settings.remote_time
            && let Some(modified) = self.modified
        {
            self.files.set_modified(modified)?;
        }
        // Whoever wants to keep the control file keeps the file beside it.
        if self.settings.keep_control_file {
            return Ok(None);
        }
        if self.seeds {
            self.keeper.remove()?;
            return Ok(None);
        }
        self.leave()
    }

    /// The last of the steps: nobody needs the files any more.
    ///
    /// # Errors
    /// As [`relocate`].
    pub fn leave(&self) -> Result<Option<PathBuf>, Failure> {
        if self.special || self.settings.keep_control_file {
            return Ok(None);
        }
        self.keeper.forget()?;
        self.move_to_complete_dir()
    }

    fn move_to_complete_dir(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(dir) = &self.settings.complete_dir else {
            return Ok(None);
        };
        let from = self.path();
        let below = from.strip_prefix(&self.settings.dir).ok();
        let name = below.or_else(|| from.file_name().map(Path::new));
        let Some(to) = name.map(|name| dir.join(name)) else {
            return Ok(None);
        };
        let taken = match (
            self.settings.allow_overwrite,
            self.settings.auto_file_renaming,
        ) {
            (true, _) => Taken::Replace,
            (false, true) => Taken::Rename,
            (false, false) => Taken::Fail,
        };
        // Data first: a rename must not reach the disk before the bytes do.
        self.files.sync()?;
        relocate(from, &to, taken).map(Some)
    }

    fn path(&self) -> &Path {
        &self.files.layout().files()[0].path
    }

    fn check(&self, verified: &dyn Fn(u64), give_up: &AtomicBool) -> Result<(), Failure> {
        let watch = Watch {
            done: verified,
            stop: give_up,
        };
        match &self.digest {
            Some(expected) if self.settings.checksum.is_none() => {
                compare(&self.files, expected, &watch)
            }
            _ => check_sum(&self.files, &self.settings, &watch),
        }
    }
}

/// Compares the file with the digest of the option `checksum`, if there is one.
///
/// # Errors
/// 32 it differs, 7 stopped meanwhile, 17 it cannot be read.
pub fn check_sum(
    files: &Files,
    settings: &TransferSettings,
    watch: &Watch<'_>,
) -> Result<(), Failure> {
    let Some(text) = &settings.checksum else {
        return Ok(());
    };
    let expected: Checksum = text
        .parse()
        .map_err(|error| Failure::fatal(ErrorCode::Option, format!("{error}")))?;
    compare(files, &expected, watch)
}

fn compare(files: &Files, expected: &Checksum, watch: &Watch<'_>) -> Result<(), Failure> {
    let Some(digest) = verify::hash_whole(files, expected.kind, watch)? else {
        return Err(Failure::fatal(
            ErrorCode::Unfinished,
            "stopped while the file was checked",
        ));
    };
    if expected.matches(&digest) {
        return Ok(());
    }
    let path = &files.layout().files()[0].path;
    tracing::warn!(%expected, "the checksum of {} differs", path.display());
    // aria2 reports this code with an empty message, and clients print the code's own text.
    Err(Failure::fatal(ErrorCode::Checksum, ""))
}
