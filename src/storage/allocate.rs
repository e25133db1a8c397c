//! Space for files before their bytes come (`file-allocation`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::disk::OpenFiles;
use super::open::is_regular;
use super::{FileAllocation, failed};
use crate::base::error::{ErrorCode, Failure};

/// Between two looks at the stop flag; file systems allocate this at once.
const STEP: u64 = 1 << 30;
/// Zeros written at once where the file system cannot allocate.
const ZEROS: usize = 256 * 1024;

/// Makes space for every selected file. `done` is told the bytes of the download that have
/// their space. A raised `stop` ends it early and leaves the files as they are then.
///
/// # Errors
/// 9 the disk is full, 16 the file cannot be allocated this way.
pub(super) fn allocate(
    files: &OpenFiles,
    done: &dyn Fn(u64),
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let settings = files.settings();
    let total = files.layout().total().unwrap_or(0);
    if settings.allocation == FileAllocation::None || total < settings.allocation_len_min.max(1) {
        return Ok(());
    }
    let mut before = 0;
    for index in files.wanted() {
        let len = files.layout().files()[index].len;
        let file = files.file(index)?;
        if is_regular(&file) {
            files.mark_dirty(index);
            let progress = |in_file: u64| done(before + in_file);
            allocate_file(&file, len, settings.allocation, &progress, stop)
                .map_err(|error| explain(&error, settings.allocation, files.path(index)))?;
        }
        if stop.load(Ordering::Acquire) {
            return Ok(());
        }
        before += len;
        done(before);
    }
    Ok(())
}

fn explain(error: &io::Error, how: FileAllocation, path: &std::path::Path) -> Failure {
    if how == FileAllocation::Falloc && is_unsupported(error) {
        let text = format!(
            "the file system of {} cannot allocate (file-allocation=falloc); choose another method",
            path.display()
        );
        return Failure::fatal(ErrorCode::CreateFailed, text);
    }
    failed(error, ErrorCode::CreateFailed, "allocate", path)
}

fn allocate_file(
    file: &File,
    len: u64,
    how: FileAllocation,
    done: &dyn Fn(u64),
    stop: &AtomicBool,
) -> io::Result<()> {
    let len_now = file.metadata()?.len();
    match how {
        FileAllocation::None => Ok(()),
        FileAllocation::Trunc => {
            if len_now < len {
                file.set_len(len)?;
            }
            Ok(())
        }
        FileAllocation::Falloc => from_file_system(file, len, done, stop),
        FileAllocation::Prealloc => match from_file_system(file, len, done, stop) {
            Err(error) if is_unsupported(&error) => write_zeros(file, len_now, len, done, stop),
            result => result,
        },
    }
}

fn from_file_system(
    file: &File,
    len: u64,
    done: &dyn Fn(u64),
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut at = 0;
    while at < len && !stop.load(Ordering::Acquire) {
        let step = STEP.min(len - at);
        match fallocate(file, FallocateFlags::empty(), at, step) {
            Ok(()) => {
                at += step;
                done(at);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes zeros from the file's end on; bytes that are there are kept.
fn write_zeros(
    file: &File,
    from: u64,
    len: u64,
    done: &dyn Fn(u64),
    stop: &AtomicBool,
) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut at = from;
    while at < len && !stop.load(Ordering::Acquire) {
        let step = (len - at).min(ZEROS as u64);
        file.write_all_at(&zeros[..step as usize], at)?;
        at += step;
        done(at);
    }
    Ok(())
}

fn is_unsupported(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL))
}

#[cfg(test)]
mod tests;
