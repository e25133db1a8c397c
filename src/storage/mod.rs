//! Rank 4: bytes on disk.
//!
//! `Files` are the open files of one download: positioned reads and writes on the caller's
//! thread, with a writer thread only for a device that has turned slow. `progress` keeps the
//! control file beside the data, `path` chooses names, `digest` and `verify` hash.

pub mod allocate;
mod device;

pub mod content;
mod content_layout;
pub mod digest;
pub mod discard;
mod disk;
pub mod durable;
mod file_pool;
mod inline_gate;
pub mod layout;
pub mod memory;
mod open;
pub mod origin_note;
mod pace;
pub mod path;
mod presence;
pub mod progress;
pub mod relocate;
mod sleep;
mod vectored;
pub mod verify;

pub use content::{Content, ContentFile, FileProof, Mismatch, PieceHashes};
pub use content_layout::root_of;
pub use disk::Files;
pub use layout::{Layout, LayoutFile};
pub use open::{OpenMode, make_parent};

pub use crate::option::settings::DiskSettings;
pub use crate::option::value::FileAllocation;

use std::io;
use std::path::Path;

use crate::base::error::{ErrorCode, Failure};

/// The failure of an operation on one file: "cannot VERB PATH: reason".
fn failed(error: &io::Error, code: ErrorCode, verb: &str, path: &Path) -> Failure {
    Failure::from_io(
        error,
        code,
        format_args!("cannot {verb} {}", path.display()),
    )
}
