//! The control file beside the data: loaded, replaced atomically, removed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Files, failed};
use crate::base::error::{ErrorCode, Failure};
use crate::base::failpoint;
use crate::format::control_file::ControlFile;

/// aria2's suffix.
const SUFFIX: &str = ".aria2";
/// A control file of 100 TiB in 1 MiB pieces is 13 MiB; nothing real is longer than this.
const LEN_MAX: u64 = 256 << 20;

/// What the kernel writes in one piece as far as a killed process is concerned.
const BLOCK: u64 = 4096;

/// What a saved control file survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The death of this process at any instant.
    Process,
    /// The loss of power too: costs a few disk syncs.
    Power,
}

/// Where the control file of this data file (or torrent directory) stands.
pub fn control_path(data: &Path) -> PathBuf {
    let mut name: OsString = data.as_os_str().to_owned();
    name.push(SUFFIX);
    PathBuf::from(name)
}

/// Reads the control file; `None` when there is none. Clears away what a crash left of one
/// that was being written.
///
/// # Errors
/// 15 or 17 when it cannot be read, 1 when it is damaged.
pub fn load(data: &Path) -> Result<Option<ControlFile>, Failure> {
    let path = control_path(data);
    let _ = std::fs::remove_file(temporary_path(data));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error, ErrorCode::OpenFailed, "open", &path)),
    };
    let mut bytes = Vec::new();
    file.take(LEN_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error, ErrorCode::FileIo, "read", &path))?;
    ControlFile::decode(&bytes)
        .map(Some)
        .map_err(|error| Failure::fatal(ErrorCode::Unknown, format!("{}: {error}", path.display())))
}

/// Replaces the control file atomically. What it claims must be written by then: see
/// [`checkpoint`].
///
/// # Errors
/// 9 the disk is full, 16 it cannot be made, 17 it cannot be written, 14 it cannot be renamed.
pub fn save(data: &Path, control: &ControlFile) -> Result<(), Failure> {
    replace(data, &control.encode(), Durability::Process)
}

/// Has the bytes of `files` reach the system (or the disk), then saves what `control` claims
/// of them. Take `control` from the written ranges before the call, never after.
///
/// Queued writes that failed are left out of what is saved, and their failure is returned all
/// the same. Nothing is saved when a file was removed, replaced or cut by somebody.
///
/// # Errors
/// As [`Files::sync`], [`Files::verify_running`] and [`save`].
pub fn checkpoint(
    files: &Files,
    data: &Path,
    control: &ControlFile,
    durability: Durability,
) -> Result<(), Failure> {
    let reached = reach(files, durability);
    claim(files, data, control, durability, reached)
}

/// The first half of [`checkpoint`]: has the bytes written so far reach the system or the disk.
///
/// # Errors
/// As [`Files::sync`].
pub fn reach(files: &Files, durability: Durability) -> Result<(), Failure> {
    match durability {
        Durability::Process => files.flush(),
        Durability::Power => files.sync().and_then(|()| files.sync_dirs()),
    }
}

/// The second half of [`checkpoint`]: saves what `control` claims of the bytes that have
/// `reached` the system or the disk.
///
/// # Errors
/// As [`checkpoint`].
pub fn claim(
    files: &Files,
    data: &Path,
    control: &ControlFile,
    durability: Durability,
    reached: Result<(), Failure>,
) -> Result<(), Failure> {
    failpoint::hit("control.synced");
    files.verify_running()?;
    let lost = files.lost();
    if lost.is_empty() {
        reached?;
        return replace(data, &control.encode(), durability);
    }
    let control = control.without(&lost);
    replace(data, &control.encode(), durability).and(reached)
}

/// Removes the control file, and what a crash left of one that was being written; one that is
/// not there is fine.
///
/// # Errors
/// 17.
pub fn remove(data: &Path) -> Result<(), Failure> {
    let path = control_path(data);
    let _ = std::fs::remove_file(temporary_path(data));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(&error, ErrorCode::FileIo, "remove", &path))
        }
        _ => Ok(()),
    }
}

fn replace(data: &Path, bytes: &[u8], durability: Durability) -> Result<(), Failure> {
    let path = control_path(data);
    let temporary = temporary_path(data);
    failpoint::hit("control.write");
    let result = write_new(&temporary, bytes, durability).and_then(|()| {
        failpoint::hit("control.rename");
        std::fs::rename(&temporary, &path)
            .map_err(|error| failed(&error, ErrorCode::RenameFailed, "replace", &path))
    });
    failpoint::hit("control.renamed");
    if let Err(failure) = &result {
        let _ = std::fs::remove_file(&temporary);
        if failure.code == ErrorCode::DiskFull && overwrite(&path, bytes) {
            return Ok(());
        }
    }
    // The directory is not synced: should the old control file come back, it claims less and is
    // as true.
    result
}

/// On a full disk there is no room for a second file: one of the same block or less is written
/// over in one write, so that what was fetched to the brim is not forgotten.
fn overwrite(path: &Path, bytes: &[u8]) -> bool {
    let written = || -> io::Result<bool> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        let len = file.metadata()?.len();
        if bytes.len() as u64 > len.next_multiple_of(BLOCK) || bytes.len() as u64 > BLOCK {
            return Ok(false);
        }
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        Ok(true)
    };
    written().unwrap_or(false)
}

fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), Failure> {
    let mut file = create_new(path)
        .map_err(|error| failed(&error, ErrorCode::CreateFailed, "create", path))?;
    file.write_all(bytes)
        .and_then(|()| match durability {
            Durability::Process => Ok(()),
            Durability::Power => file.sync_data(),
        })
        .map_err(|error| failed(&error, ErrorCode::FileIo, "write to", path))
}

/// A new file in place of what may be left there; never one that a link leads to.
fn create_new(path: &Path) -> io::Result<File> {
    let create = || OpenOptions::new().write(true).create_new(true).open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            create()
        }
        result => result,
    }
}

/// A hidden name in the same directory that is the same after a crash, and short, so that
/// data whose own name is as long as allowed has one too.
fn temporary_path(data: &Path) -> PathBuf {
    let name = data.file_name().map_or(&b""[..], OsStrExt::as_bytes);
    // FNV-1a: spread is enough, and it is the same in every version.
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    data.with_file_name(format!(".{hash:016x}.aria2__temp"))
}

#[cfg(test)]
mod tests;
