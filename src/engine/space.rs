//! Downloads that wait for what may come back: space on the disk, file descriptors.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::Download;
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::gid::Gid;
use crate::option::keys::FILE_ALLOCATION;
use crate::storage::FileAllocation;

/// Between two looks, in ticks of the engine's clock.
pub const LOOK_TICKS: u32 = 2;
/// For control files and directories.
const MARGIN: u64 = 256 * 1024;
/// With so much space a download goes on, even if not all of it will fit.
const ENOUGH: u64 = 64 << 20;

/// Whether a download that ended so is held and goes on by itself.
pub fn may_come_back(failure: &Failure, retry_on_disk_full: bool) -> bool {
    let passes = matches!(failure.retry, Retry::After(_));
    match failure.code {
        ErrorCode::DiskFull => retry_on_disk_full,
        // Only want of file descriptors passes among the failures of files.
        ErrorCode::OpenFailed
        | ErrorCode::CreateFailed
        | ErrorCode::FileIo
        | ErrorCode::DirCreateFailed => passes,
        _ => false,
    }
}

/// Looks now and then, off the engine's thread: a disk may stall.
pub(super) struct Space {
    looking: bool,
    found: UnboundedReceiver<Vec<Gid>>,
    found_in: UnboundedSender<Vec<Gid>>,
}

impl Default for Space {
    fn default() -> Self {
        let (found_in, found) = mpsc::unbounded_channel();
        Self {
            looking: false,
            found,
            found_in,
        }
    }
}

struct Wish {
    gid: Gid,
    path: PathBuf,
    dir: PathBuf,
    /// 0: unknown.
    total: u64,
    /// The whole file has to fit.
    whole: bool,
    /// `false`: it waits for something else, which is simply tried again.
    space: bool,
}

impl Space {
    /// Begins to look whether these can go on, unless the last look is not over.
    pub fn look<'a>(&mut self, held: impl Iterator<Item = &'a Download>) {
        if self.looking {
            return;
        }
        let wishes: Vec<Wish> = held.map(Wish::of).collect();
        if wishes.is_empty() {
            return;
        }
        self.looking = true;
        let found = self.found_in.clone();
        tokio::task::spawn_blocking(move || {
            let ready = wishes.iter().filter(|wish| wish.fits());
            // An error means that the engine has ended.
            let _ = found.send(ready.map(|wish| wish.gid).collect());
        });
    }

    /// Those that can go on.
    pub async fn found(&mut self) -> Vec<Gid> {
        match self.found.recv().await {
            Some(gids) => {
                self.looking = false;
                gids
            }
            None => std::future::pending().await,
        }
    }
}

impl Wish {
    fn of(download: &Download) -> Self {
        let allocation = download.options().get(FILE_ALLOCATION);
        let why = download.held().map(|held| held.code);
        Self {
            gid: download.gid(),
            path: download.path().into(),
            dir: download.dir().as_ref().into(),
            total: download.total_len(),
            whole: matches!(
                allocation,
                FileAllocation::Prealloc | FileAllocation::Falloc
            ),
            space: why == Some(ErrorCode::DiskFull),
        }
    }

    fn fits(&self) -> bool {
        if !self.space {
            return true;
        }
        let there = std::fs::metadata(&self.path).map_or(0, |data| data.blocks() * 512);
        let rest = match self.total {
            0 => ENOUGH / 4,
            total => total.saturating_sub(there),
        };
        let need = if self.whole { rest } else { rest.min(ENOUGH) };
        free_space(&self.dir).is_none_or(|free| free >= need + MARGIN)
    }
}

/// Bytes an ordinary user may still write; `None`: the system does not tell.
fn free_space(dir: &Path) -> Option<u64> {
    // The directory itself may be what could not be made.
    let place = dir.ancestors().find(|dir| dir.is_dir())?;
    let system = rustix::fs::statvfs(place).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}
