//! Positioned writes of several slices at once.

use std::fs::File;
use std::io::{self, IoSlice};

/// The kernel takes no more slices in one call.
const SLICES_MAX: usize = 1024;

/// The bytes `[skip, skip + len)` of the slices.
pub fn cut<'a>(data: &'a [IoSlice<'_>], mut skip: u64, mut len: u64) -> Vec<IoSlice<'a>> {
    let mut slices = Vec::with_capacity(data.len());
    for part in data {
        let start = skip.min(part.len() as u64) as usize;
        skip -= start as u64;
        let taken = (part.len() - start).min(usize::try_from(len).unwrap_or(usize::MAX));
        len -= taken as u64;
        if taken > 0 {
            slices.push(IoSlice::new(&part[start..start + taken]));
        }
    }
    slices
}

/// Writes all slices from byte `at` on, whatever the kernel takes at once.
///
/// # Errors
/// What the kernel reports, but for interruptions.
pub fn write_whole(file: &File, mut at: u64, mut data: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut data, 0);
    while !data.is_empty() {
        let batch = &data[..data.len().min(SLICES_MAX)];
        match rustix::io::pwritev(file, batch, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut data, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
