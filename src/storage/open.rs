//! How a file of a download is opened, and what it means when it cannot be.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::failed;
use super::layout::LayoutFile;
use crate::base::error::{ErrorCode, Failure};

/// What becomes of files that are there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// There must be none: code 13 if there is.
    New,
    /// They are truncated.
    Fresh,
    /// They are kept. A single file must exist; of several, missing ones are created.
    Existing,
    /// They are only read (seeding, checking).
    ReadOnly,
}

/// Whether it is a file with a length, and no device or pipe.
pub fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|data| data.is_file())
}

/// Opens one file of a download: `single` when it is the only one, `again` when it was open
/// before.
///
/// # Errors
/// 13, 15, 16, 18 and 9, as [`super::Files::open`].
pub fn open_file(
    target: &LayoutFile,
    mode: OpenMode,
    single: bool,
    again: bool,
) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.read(true);
    let code = match mode {
        OpenMode::ReadOnly => ErrorCode::OpenFailed,
        OpenMode::Existing if single => {
            options.write(true);
            ErrorCode::OpenFailed
        }
        // A file that vanished between two openings must not come back as an empty one.
        _ if again => {
            options.write(true);
            ErrorCode::OpenFailed
        }
        OpenMode::Existing => {
            options.write(true).create(true);
            ErrorCode::CreateFailed
        }
        OpenMode::Fresh => {
            options.write(true).create(true).truncate(true);
            ErrorCode::CreateFailed
        }
        OpenMode::New => {
            options.write(true).create_new(true);
            ErrorCode::CreateFailed
        }
    };
    let path = &target.path;
    if code == ErrorCode::CreateFailed {
        make_parent(path)?;
    }
    options.open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let text = format!("{} exists already", path.display());
            return Failure::fatal(ErrorCode::FileExists, text);
        }
        let verb = if code == ErrorCode::OpenFailed {
            "open"
        } else {
            "create"
        };
        failed(&error, code, verb, path)
    })
}

/// Makes the directory of a file, and those above it.
///
/// # Errors
/// 18, or 9 when the disk is full.
pub fn make_parent(path: &Path) -> Result<(), Failure> {
    let dir = dir_of(path);
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(|error| {
        failed(
            &error,
            ErrorCode::DirCreateFailed,
            "make the directory",
            dir,
        )
    })
}

/// The directory that holds the entry of this path.
pub fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Has the entries of a directory reach the disk.
///
/// # Errors
/// 17.
pub fn sync_dir(dir: &Path) -> Result<(), Failure> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| failed(&error, ErrorCode::FileIo, "sync", dir))
}
