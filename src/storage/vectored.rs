//! Positioned writes of several slices at once.

use std::fs::File;
use std::io::{self, IoSlice};

/// The kernel takes no more slices in one call.
const SLICES_MAX: usize = 1024;
/// Bytes written in one call. For longer writes ext4 takes larger pages, for which the kernel has to
/// move memory about: 256 MiB in calls of 1 MiB cost 0.6 s of system time in a virtual machine, in
/// calls of 64 KiB 0.1 s.
const LEN_MAX: usize = 64 * 1024;

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
    while let Some(first) = data.first() {
        let written = if first.len() > LEN_MAX {
            rustix::io::pwrite(file, &first[..LEN_MAX], at)
        } else {
            rustix::io::pwritev(file, &data[..count_within(data)], at)
        };
        match written {
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

/// How many of the slices one call takes: all that fit, and one at least.
fn count_within(data: &[IoSlice<'_>]) -> usize {
    let mut len = 0;
    let fits = |slice: &&IoSlice<'_>| {
        len += slice.len();
        len <= LEN_MAX
    };
    data.iter().take(SLICES_MAX).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_all_lengths_arrive_whole_and_in_order() {
        let lens = [
            0, 1, 70_000, 65_536, 16_384, 16_384, 16_384, 16_385, 3, 0, 200_000,
        ];
        let bytes: Vec<u8> = (0..401_077).map(|at| (at % 251) as u8).collect();
        let mut at = 0;
        let mut slices: Vec<IoSlice<'_>> = lens
            .iter()
            .map(|len| {
                at += len;
                IoSlice::new(&bytes[at - len..at])
            })
            .collect();
        assert_eq!(
            count_within(&slices[4..]),
            3,
            "64 KiB and a byte are one too many"
        );
        let file = tempfile::tempfile().unwrap();
        write_whole(&file, 5, &mut slices).unwrap();
        let mut written = vec![0; at];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut written, 5).unwrap();
        assert_eq!(written, bytes[..at]);
        assert_eq!(file.metadata().unwrap().len(), 5 + at as u64);
    }
}
