//! Pure: how files are laid on the disk.

use super::{bytes, count};
use crate::option::value::FileAllocation;
use crate::option::{OptionSet, keys};

/// How files are laid on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskSettings {
    pub allocation: FileAllocation,
    /// Smaller files are not allocated.
    pub allocation_len_min: u64,
    /// Bytes of write cache of the whole process; 0 means none.
    pub cache_len_max: u64,
    pub open_files_max: usize,
}

impl From<&OptionSet> for DiskSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            allocation: set.get(keys::FILE_ALLOCATION),
            allocation_len_min: bytes(set.get(keys::NO_FILE_ALLOCATION_LIMIT)),
            cache_len_max: bytes(set.get(keys::DISK_CACHE)),
            open_files_max: count(set.get(keys::BT_MAX_OPEN_FILES)),
        }
    }
}
