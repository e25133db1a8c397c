//! Whether the files are still the ones that were opened, and hold what was written.
//!
//! aria2c calls a download complete although its file was removed or truncated meanwhile. Here
//! a look at the directory entry finds removal, replacement and a lost end; a look for holes
//! finds what a truncation took before later writes made the file long again.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::disk::{Files, OpenFiles};
use super::failed;
use super::open::is_regular;
use crate::base::error::{ErrorCode, Failure};
use crate::base::range_set::RangeSet;
use crate::base::units::Span;

/// `f_type` of ext2 to ext4, XFS, Btrfs, F2FS and tmpfs (statfs(2)).
const KEEP_ZEROS: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

impl Files {
    /// Whether every selected file still stands at its path, is the one that was opened, and
    /// has its full length. Cheap: one `stat` a file. For the end of a download, after
    /// [`Files::cut_trailing`].
    ///
    /// # Errors
    /// 17 with the reason.
    pub fn verify_in_place(&self) -> Result<(), Failure> {
        self.flush()?;
        for index in self.shared.wanted() {
            self.shared.verify_file(index, true)?;
        }
        Ok(())
    }

    /// Like [`Files::verify_in_place`] for the open files while the download runs: they stand
    /// where they stood and are not shorter than at the last call.
    ///
    /// # Errors
    /// 17 with the reason.
    pub fn verify_running(&self) -> Result<(), Failure> {
        for index in self.shared.wanted() {
            if self.shared.slots[index].open_file().is_some() {
                self.shared.verify_file(index, false)?;
            }
        }
        Ok(())
    }

    /// What of the written bytes the file system has no blocks for. They were taken away by
    /// somebody, or were zeros on a file system that keeps none: fetch them again once, and
    /// believe them then.
    ///
    /// # Errors
    /// 17.
    pub fn holes(&self, written: &RangeSet) -> Result<RangeSet, Failure> {
        let files = self.layout().files().iter().enumerate();
        let stored = files.filter(|(_, file)| !file.padding);
        self.holes_in(stored.map(|(index, _)| index), written)
    }

    fn holes_in(
        &self,
        indexes: impl Iterator<Item = usize>,
        written: &RangeSet,
    ) -> Result<RangeSet, Failure> {
        self.flush()?;
        let mut holes = RangeSet::new();
        for index in indexes {
            let here = self.layout().span_of(index);
            let mut spans = written.within(here).peekable();
            if spans.peek().is_none() {
                continue;
            }
            let target = &self.layout().files()[index];
            if !target.selected && !target.path.exists() {
                // Opening it would make it.
                spans.for_each(|span| {
                    holes.insert(span);
                });
                continue;
            }
            let file = self.shared.file(index)?;
            if !is_regular(&file) {
                continue;
            }
            for span in spans {
                self.shared.add_holes(&file, index, span, &mut holes)?;
            }
        }
        Ok(holes)
    }

    /// Whether the files hold no holes, where the file system keeps written zeros as blocks.
    /// For the end of a download all of whose bytes were written by a downloader: a file that
    /// was copied sparsely has holes by right.
    ///
    /// # Errors
    /// 17 with the first hole.
    pub fn verify_dense(&self) -> Result<(), Failure> {
        let whole = RangeSet::from_iter([Span::new(0, self.total().unwrap_or(0))]);
        let holes = self.holes_in(self.shared.wanted(), &whole)?;
        let Some(hole) = holes.iter().next() else {
            return Ok(());
        };
        let Some(part) = self.layout().locate(hole).next() else {
            return Ok(());
        };
        if !keeps_zeros(&*self.shared.file(part.file)?) {
            return Ok(());
        }
        let text = format!(
            "{} lost bytes from {} on while it was being downloaded",
            self.shared.path(part.file).display(),
            part.at
        );
        Err(Failure::fatal(ErrorCode::FileIo, text))
    }

    /// Cuts off what selected files have past their end, as when an older and longer file was
    /// resumed.
    ///
    /// # Errors
    /// 16.
    pub fn cut_trailing(&self) -> Result<(), Failure> {
        self.flush()?;
        for index in self.shared.wanted() {
            let Some(len) = self.shared.final_len(index) else {
                continue;
            };
            let path = self.shared.path(index);
            if std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() > len) {
                let cut = self.shared.file(index)?.set_len(len);
                cut.map_err(|error| failed(&error, ErrorCode::CreateFailed, "cut", path))?;
                self.shared.slots[index].forget_len(len);
            }
        }
        Ok(())
    }
}

/// Whether the file system is known to give every written block a place, zeros too. ZFS and
/// some network file systems do not.
fn keeps_zeros(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|system| KEEP_ZEROS.contains(&(system.f_type as u64)))
}

impl OpenFiles {
    fn verify_file(&self, index: usize, ended: bool) -> Result<(), Failure> {
        let path = self.path(index);
        let gone = |what: &str| {
            let text = format!("{} {what} while it was being downloaded", path.display());
            Err(Failure::fatal(ErrorCode::FileIo, text))
        };
        let standing = match std::fs::metadata(path) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return gone("was removed"),
            Err(error) => return Err(failed(&error, ErrorCode::FileIo, "look at", path)),
        };
        let slot = &self.slots[index];
        if slot.is_other_file(&standing) {
            return gone("was replaced");
        }
        if !standing.is_file() {
            return Ok(());
        }
        if slot.note_len(standing.len()) > standing.len() {
            return gone("was truncated");
        }
        match self.final_len(index) {
            Some(len) if ended && standing.len() != len => gone(&format!(
                "changed its length to {} instead of {len} bytes",
                standing.len()
            )),
            _ => Ok(()),
        }
    }

    /// Adds the holes of file `index` inside `span` of the download.
    fn add_holes(
        &self,
        file: &File,
        index: usize,
        span: Span,
        holes: &mut RangeSet,
    ) -> Result<(), Failure> {
        let start = self.layout().span_of(index).start;
        let explain = |error: Errno| {
            failed(
                &error.into(),
                ErrorCode::FileIo,
                "look into",
                self.path(index),
            )
        };
        let mut at = span.start;
        while at < span.end {
            let data = match seek(file, SeekFrom::Data(at - start)) {
                Ok(data) => start + data,
                // Nothing but a hole up to the file's end, or past it.
                Err(Errno::NXIO) => u64::MAX,
                // The file system does not tell.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(()),
                Err(error) => return Err(explain(error)),
            };
            holes.insert(Span::new(at, data.min(span.end)));
            if data >= span.end {
                return Ok(());
            }
            at = start + seek(file, SeekFrom::Hole(data - start)).map_err(explain)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
