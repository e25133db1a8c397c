//! The files of a torrent or a Metalink before the first byte comes: what of them is there, whose
//! it is, what of it is right. Blocking; called off the async threads.
//!
//! Other than a single file by URL, a torrent never gets another name: files that stand there are
//! the user's unless the control file, an option or an earlier run says otherwise.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::failpoint;
use crate::base::gid::Gid;
use crate::base::range_set::RangeSet;
use crate::base::units::{PieceIdx, Span};
use crate::format::control_file::ControlFile;
use crate::option::bt_settings::BtSettings;
use crate::option::settings::{DiskSettings, TransferSettings};
use crate::storage::path::first_free;
use crate::storage::{Content, Files, Layout, OpenMode, make_parent, progress};

use super::claims::PathClaims;
use super::hash_check;
use super::live::Verified;
use super::piece_map::{PIECES_MAX, piece_count, whole_blocks};

/// What is to be prepared, and by which rules.
pub struct ContentOrder<'a> {
    pub gid: Gid,
    pub settings: &'a TransferSettings,
    pub disk: &'a DiskSettings,
    pub bt: &'a BtSettings,
    pub content: &'a Content,
    pub layout: &'a Layout,
    /// What the control file is beside: [`root_of`](crate::storage::root_of).
    pub root: &'a Path,
    /// This download has written here before, in this process or an earlier one.
    pub mine: bool,
    /// It comes from the session of an earlier process, which may have finished it and been killed
    /// before it could say so.
    pub restored: bool,
    /// The machine has not been started anew since that process.
    pub same_boot: bool,
}

/// Who is told what goes on.
pub struct ContentTold<'a> {
    /// Pieces are being hashed from now on, or wait for those of another download.
    pub checking: &'a dyn Fn(),
    /// Space is being made from now on.
    pub allocating: &'a dyn Fn(),
    /// How far a check is.
    pub verified: &'a dyn Fn(Verified),
    /// Bytes allocated so far.
    pub allocated: &'a dyn Fn(u64),
}

/// Files that are ready to be written to.
pub struct ContentFiles {
    pub files: Files,
    /// May differ from what was ordered where a single file got another name.
    pub root: PathBuf,
    pub piece_len: u64,
    /// What is there. Where pieces have hashes, whole pieces of it are verified.
    pub written: RangeSet,
    /// Bytes given to peers by earlier runs.
    pub uploaded: u64,
    /// All pieces were hashed just now, and nothing that is wanted is missing.
    pub found_whole: bool,
}

/// What becomes of the files that stand there.
enum Start {
    /// There are none, or what is there does not count.
    Empty,
    /// As the control file says.
    Resume(ControlFile),
    /// All of it is hashed; bytes uploaded so far.
    Check(u64),
    /// All of it is hashed; files that are not ours or not finished are an error.
    Recognize,
    /// It is taken for right.
    Believe,
}

impl ContentOrder<'_> {
    /// Claims the files, makes them and their directories, and finds out what of them is there.
    ///
    /// # Errors
    /// 13 a file exists and is not known to be ours, 11 another download writes here, 28 nothing
    /// is selected or the pieces are too small, 1 the control file belongs to something else or,
    /// with `hash-check-only`, pieces are missing, 10 the control file has another piece length,
    /// 7 stopped while pieces were hashed; and those of [`Files::open`] and [`Files::allocate`].
    pub fn prepare(
        &self,
        claims: &PathClaims,
        told: &ContentTold<'_>,
        stop: &AtomicBool,
    ) -> Result<ContentFiles, Failure> {
        if !self.layout.files().iter().any(|file| file.selected) {
            let text = format!(
                "select-file names none of the {} files",
                self.layout.files().len()
            );
            return Err(Failure::fatal(ErrorCode::Option, text));
        }
        let piece_len = self.piece_len();
        if piece_count(self.total(), piece_len) > PIECES_MAX {
            let text = format!("the files are too big for pieces of {piece_len} bytes");
            return Err(Failure::fatal(ErrorCode::Option, text));
        }
        let mut layout = self.layout.clone();
        let mut root = self.root.to_owned();
        let start = loop {
            match self.look(&layout, &root, claims)? {
                Some(start) => break start,
                None => {
                    claims.release(self.gid);
                    root = self.other_name(claims)?;
                    layout = Layout::single(root.clone(), layout.total());
                }
            }
        };
        self.begin(layout, root, start, told, stop)
    }

    /// Claims the paths and decides about what is there; `None`: it needs another name.
    fn look(
        &self,
        layout: &Layout,
        root: &Path,
        claims: &PathClaims,
    ) -> Result<Option<Start>, Failure> {
        let files = layout.files().iter().filter(|file| !file.padding);
        let paths = files.map(|file| file.path.as_path());
        let busy = |path: &&Path| !claims.claim(path, self.gid);
        if let Some(path) = paths.clone().chain([root]).find(busy) {
            if self.may_rename() {
                return Ok(None);
            }
            let text = format!("{} is being written by another download", path.display());
            return Err(Failure::fatal(ErrorCode::DuplicateDownload, text));
        }
        let standing = paths.clone().find(|path| path.symlink_metadata().is_ok());
        let from_scratch = self.settings.remove_control_file && self.settings.allow_overwrite;
        if from_scratch {
            progress::remove(root)?;
        }
        let hashed = self.content.pieces.is_some();
        let control = progress::load(root)?;
        let Some(standing) = standing else {
            if control.is_some() {
                tracing::info!(gid = %self.gid, "the control file of {} is of no use: its files are gone", root.display());
                progress::remove(root)?;
            }
            return Ok(Some(Start::Empty));
        };
        if let Some(control) = control {
            self.refuse_foreign(root, &control)?;
            return Ok(Some(match self.settings.check_integrity && hashed {
                true => Start::Check(control.uploaded),
                false => Start::Resume(control),
            }));
        }
        if standing.is_dir() {
            let text = format!("{} is a directory", standing.display());
            return Err(Failure::fatal(ErrorCode::FileExists, text));
        }
        let continues = !self.is_torrent() && self.settings.resume_without_control_file;
        let start = if from_scratch {
            Start::Empty
        } else if hashed && (self.settings.check_integrity || self.mine || continues) {
            Start::Check(0)
        } else if (self.is_torrent() && self.bt.seed_unverified) || continues || self.was_finished()
        {
            Start::Believe
        } else if self.settings.allow_overwrite || self.mine {
            Start::Empty
        } else if hashed && self.restored && self.has_all(layout, &believed(layout)) {
            Start::Recognize
        } else if self.may_rename() {
            return Ok(None);
        } else {
            let text = format!("{} exists already", standing.display());
            return Err(Failure::fatal(ErrorCode::FileExists, text));
        };
        Ok(Some(start))
    }

    fn refuse_foreign(&self, root: &Path, control: &ControlFile) -> Result<(), Failure> {
        let shown = progress::control_path(root);
        let shown = shown.display();
        if control.info_hash.is_some() && control.info_hash != self.info_hash() {
            let text = format!("{shown} belongs to another torrent");
            return Err(Failure::fatal(ErrorCode::Unknown, text));
        }
        if control.total != self.total() {
            let text = format!(
                "{shown} is about {} bytes, the download has {}",
                control.total,
                self.total()
            );
            return Err(Failure::fatal(ErrorCode::Unknown, text));
        }
        if u64::from(control.piece_len) != self.piece_len()
            && !self.settings.allow_piece_length_change
        {
            let text = format!(
                "{shown} has pieces of {} bytes, the download has pieces of {}",
                control.piece_len,
                self.piece_len()
            );
            return Err(Failure::fatal(ErrorCode::PieceLengthChanged, text));
        }
        Ok(())
    }

    fn begin(
        &self,
        layout: Layout,
        root: PathBuf,
        start: Start,
        told: &ContentTold<'_>,
        stop: &AtomicBool,
    ) -> Result<ContentFiles, Failure> {
        let mut uploaded = 0;
        let mut checked = false;
        // Lengths before the files are opened: those that are missing are made then.
        let believed = match &start {
            Start::Believe => believed(&layout),
            _ => RangeSet::new(),
        };
        let empty = matches!(start, Start::Empty);
        if empty {
            // From now on a file without a control file is finished or not ours.
            self.save(&root, &RangeSet::new(), 0)?;
        }
        failpoint::hit("data.open");
        let files = Files::open(layout, self.disk, self.mode(&root, empty))?;
        failpoint::hit("data.opened");
        let hash = |pieces: &Bitfield| {
            (told.checking)();
            hash_check::check(&files, self.content, pieces, told.verified, stop)
        };
        let written = match start {
            Start::Empty => RangeSet::new(),
            Start::Believe => believed,
            Start::Check(before) => {
                uploaded = before;
                checked = true;
                self.spans_of(&hash(&self.all_pieces())?)
            }
            Start::Recognize => {
                checked = true;
                let written = self.spans_of(&hash(&self.all_pieces())?);
                if !self.has_all(files.layout(), &written) {
                    let text = format!("{} exists already", root.display());
                    return Err(Failure::fatal(ErrorCode::FileExists, text));
                }
                written
            }
            Start::Resume(control) => {
                uploaded = control.uploaded;
                self.still_there(&files, &control, &hash)?
            }
        };
        let whole = self.has_all(files.layout(), &written);
        if !empty {
            self.save(&root, &written, uploaded)?;
        }
        if !whole && self.settings.hash_check_only && self.settings.check_integrity {
            let text = format!("{} is not complete", root.display());
            return Err(Failure::fatal(ErrorCode::Unknown, text));
        }
        if !whole {
            (told.allocating)();
            files.allocate(told.allocated, stop)?;
        }
        Ok(ContentFiles {
            files,
            root,
            piece_len: self.piece_len(),
            written,
            uploaded,
            found_whole: checked && whole,
        })
    }

    /// What the control file claims, less what is not there any more. Pieces whose last block was
    /// written and whose hash was not computed, and those with holes, are hashed.
    fn still_there(
        &self,
        files: &Files,
        control: &ControlFile,
        hash: &dyn Fn(&Bitfield) -> Result<Bitfield, Failure>,
    ) -> Result<RangeSet, Failure> {
        let mut written = control.to_ranges();
        let holes = files.holes(&written)?;
        if self.content.pieces.is_none() {
            for hole in holes.iter() {
                written.remove(hole);
            }
            return Ok(written);
        }
        let same_pieces = u64::from(control.piece_len) == self.piece_len();
        let mut doubtful = self.all_pieces();
        for index in 0..doubtful.len() {
            let span = self.piece_span(index);
            let sure = same_pieces && control.have.get(index);
            let in_doubt = holes.within(span).next().is_some() || !sure;
            doubtful.set(index, in_doubt && written.covers(span));
        }
        for hole in holes.iter() {
            tracing::warn!(gid = %self.gid, ?hole, "bytes the control file claims are not in the files");
            written.remove(hole);
        }
        if doubtful.none() {
            return Ok(written);
        }
        let good = hash(&doubtful)?;
        for index in doubtful.ones() {
            match good.get(index) {
                true => written.insert(self.piece_span(index)),
                false => written.remove(self.piece_span(index)),
            };
        }
        Ok(written)
    }

    fn save(&self, root: &Path, written: &RangeSet, uploaded: u64) -> Result<(), Failure> {
        let piece_len = u32::try_from(self.piece_len()).ok();
        let control =
            piece_len.and_then(|len| ControlFile::from_ranges(written, self.total(), len));
        let Some(control) = control else {
            return Ok(());
        };
        make_parent(root)?;
        let control = ControlFile {
            info_hash: self.info_hash(),
            uploaded,
            ..control
        };
        progress::save(root, &control)
    }

    /// Files that are there are kept as they are, even where nothing of them counts: whoever adds
    /// a torrent again by mistake loses nothing before its pieces come.
    fn mode(&self, root: &Path, empty: bool) -> OpenMode {
        let single = self.layout.files().len() == 1;
        match single && (root.symlink_metadata().is_err() || (empty && !self.is_torrent())) {
            true => OpenMode::Fresh,
            false => OpenMode::Existing,
        }
    }

    /// Whether everything that is wanted is there.
    fn has_all(&self, layout: &Layout, written: &RangeSet) -> bool {
        let files = layout.files().iter().enumerate();
        files
            .filter(|(_, file)| file.selected && !file.padding)
            .all(|(index, _)| written.covers(layout.span_of(index)))
    }

    /// An earlier process finished it: the control file stands beside the data from before their
    /// first byte until the end. After a loss of power that proves nothing.
    fn was_finished(&self) -> bool {
        self.mine && self.same_boot && self.has_all(self.layout, &believed(self.layout))
    }

    fn may_rename(&self) -> bool {
        !self.is_torrent() && self.layout.files().len() == 1 && self.settings.auto_file_renaming
    }

    fn other_name(&self, claims: &PathClaims) -> Result<PathBuf, Failure> {
        first_free(self.root, |path| {
            let free = claims.claim(path, self.gid);
            if free {
                claims.release_path(path, self.gid);
            }
            let resumes = progress::control_path(path).exists();
            !free || (path.symlink_metadata().is_ok() && !resumes)
        })
    }

    fn all_pieces(&self) -> Bitfield {
        let mut all = Bitfield::new(piece_count(self.total(), self.piece_len()));
        (0..all.len()).for_each(|index| all.set(index, true));
        all
    }

    fn spans_of(&self, pieces: &Bitfield) -> RangeSet {
        pieces.ones().map(|index| self.piece_span(index)).collect()
    }

    fn piece_span(&self, index: u32) -> Span {
        hash_check::piece_span(PieceIdx(index), self.piece_len(), self.total())
    }

    fn piece_len(&self) -> u64 {
        let pieces = self.content.pieces.as_ref();
        pieces.map_or(self.settings.piece_len, |pieces| pieces.piece_len)
    }

    fn total(&self) -> u64 {
        self.content.total.unwrap_or(0)
    }

    fn is_torrent(&self) -> bool {
        self.content.torrent.is_some()
    }

    fn info_hash(&self) -> Option<[u8; 20]> {
        let torrent = self.content.torrent.as_ref()?;
        Some(torrent.info.hash.0)
    }
}

/// The files that have their full length; of a single shorter one, its whole blocks.
fn believed(layout: &Layout) -> RangeSet {
    let single = layout.files().len() == 1;
    let files = layout.files().iter().enumerate();
    let spans = files.filter_map(|(index, file)| {
        let span = layout.span_of(index);
        if file.padding {
            return Some(span);
        }
        let found = std::fs::metadata(&file.path).ok()?;
        match found.len() {
            _ if !found.is_file() => None,
            len if len == file.len => Some(span),
            len if single && len < file.len => Some(Span::new(0, whole_blocks(len))),
            _ => None,
        }
    });
    spans.filter(|span| !span.is_empty()).collect()
}

#[cfg(test)]
mod tests;
