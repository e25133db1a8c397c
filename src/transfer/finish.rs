//! The last steps of a download: flush, check, date, forget the control file. Blocking.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::base::units::{PieceIdx, Span};
use crate::option::settings::TransferSettings;
use crate::storage::digest::Checksum;
use crate::storage::relocate::relocate;
use crate::storage::verify::{self, Watch};
use crate::storage::{FileProof, Files, PieceHashes, origin_note};
use crate::store::{FinishLog, Finished};

use super::content_finish::{ContentEnd, Moved, taken};
use super::hash_check;
use super::keeper::ControlKeeper;
use super::live::Verified;

/// What the last steps need.
pub struct Finish {
    pub files: Arc<Files>,
    pub keeper: Arc<ControlKeeper>,
    pub special: bool,
    pub settings: Arc<TransferSettings>,
    /// `Last-Modified` of the resource, seconds since 1970.
    pub modified: Option<i64>,
    pub total: Option<u64>,
    /// What the server itself says the digest is (option `http-want-digest`).
    pub digest: Option<Checksum>,
    /// Of a torrent or a Metalink.
    pub content: Option<ContentEnd>,
    /// It is given to peers from now on: control file and files stay where they are until
    /// [`Finish::leave`].
    pub seeds: bool,
    /// Where it is noted that all is there before the control file goes.
    pub note: Option<FinishNote>,
}

/// What came of the last steps.
pub enum Finale {
    /// All is done; where a file was moved to.
    Done(Option<Moved>),
    /// These pieces of files are not what they should be, and have to be fetched again.
    Spoilt(Vec<Span>),
}

/// A place in the [`FinishLog`].
#[derive(Clone)]
pub struct FinishNote {
    pub gid: Gid,
    pub log: Arc<FinishLog>,
}

impl Finish {
    /// Runs the steps; `verified` hears how far a check is.
    ///
    /// # Errors
    /// 17 the file is not what was written, 32 the checksum differs; the control file stays then.
    /// And as [`relocate`].
    pub fn run(
        &self,
        verified: &dyn Fn(Verified),
        give_up: &AtomicBool,
    ) -> Result<Finale, Failure> {
        if self.special {
            self.files.flush()?;
            return Ok(Finale::Done(None));
        }
        if let Some(total) = self.total {
            self.files.set_total(total)?;
        }
        if let Some(content) = &self.content {
            content.verify(&self.files, verified, give_up)?;
        } else {
            self.files.verify_in_place()?;
            // A file that was there before us may be sparse by right.
            if !self.settings.resume_without_control_file {
                self.files.verify_dense()?;
            }
        }
        let spoilt = self.check(&Watch {
            done: &|bytes| verified(Verified::Bytes(bytes)),
            stop: give_up,
        })?;
        if !spoilt.is_empty() {
            return Ok(Finale::Spoilt(spoilt));
        }
        origin_note::remove(self.path());
        if self.settings.remote_time
            && !self.is_torrent()
            && self.files.layout().files().len() == 1
            && let Some(modified) = self.modified
        {
            self.files.set_modified(modified)?;
        }
        // Whoever wants to keep the control file keeps the file beside it.
        if self.settings.keep_control_file || self.seeds {
            return Ok(Finale::Done(None));
        }
        self.leave().map(Finale::Done)
    }

    /// The last of the steps: nobody needs the files any more.
    ///
    /// # Errors
    /// As [`relocate`].
    pub fn leave(&self) -> Result<Option<Moved>, Failure> {
        if self.special || self.settings.keep_control_file {
            return Ok(None);
        }
        if let Some(content) = &self.content {
            content.remove_unselected(&self.files);
            if !self.keeps_control_file() {
                self.note(None);
                self.keeper.forget()?;
            }
            let moved = content.relocate(&self.files, &self.settings)?;
            if let Some(moved) = &moved {
                self.note(Some(&moved.root));
            }
            return Ok(moved);
        }
        self.note(None);
        self.keeper.forget()?;
        let Some(path) = self.move_to_complete_dir()? else {
            return Ok(None);
        };
        self.note(Some(&path));
        Ok(Some(Moved {
            layout: self.files.layout().with_paths(vec![path.clone()]),
            root: path,
        }))
    }

    /// Says that all is there. Before the move `moved_to` is `None`: a name in `complete-dir` that
    /// is free is noted as the one it gets.
    fn note(&self, moved_to: Option<&Path>) {
        let Some(FinishNote { gid, log }) = &self.note else {
            return;
        };
        let path = self.keeper.path().to_owned();
        let expected = || {
            let free = |target: &PathBuf| target.symlink_metadata().is_err();
            complete_path(&path, &self.settings).filter(free)
        };
        let finished = Finished {
            moved_to: moved_to.map(Path::to_owned).or_else(expected),
            total: self.files.layout().total().unwrap_or(0),
            piece_len: self.settings.piece_len,
            path,
        };
        log.note(*gid, finished);
    }

    /// Whether the control file stays, which is to be up to date then.
    pub fn keeps_control_file(&self) -> bool {
        let content = self.content.as_ref();
        self.settings.keep_control_file
            || content.is_some_and(|content| content.keeps_control_file(&self.files))
    }

    fn is_torrent(&self) -> bool {
        let content = self.content.as_ref();
        content.is_some_and(|content| content.content.torrent.is_some())
    }

    fn move_to_complete_dir(&self) -> Result<Option<PathBuf>, Failure> {
        let from = self.path();
        let Some(to) = complete_path(from, &self.settings) else {
            return Ok(None);
        };
        // Data first: a rename must not reach the disk before the bytes do.
        self.files.sync()?;
        relocate(from, &to, taken(&self.settings)).map(Some)
    }

    fn path(&self) -> &Path {
        &self.files.layout().files()[0].path
    }

    /// Gives the pieces that can be fetched again.
    fn check(&self, watch: &Watch<'_>) -> Result<Vec<Span>, Failure> {
        let mut spoilt = Vec::new();
        if self.settings.checksum.is_some() {
            return check_sum(&self.files, &self.settings, watch).map(|()| spoilt);
        }
        let content = self.content.as_ref();
        let proofs = content.map_or(&[][..], |content| &content.content.proofs);
        let layout = self.files.layout();
        for proof in proofs {
            if layout.files().get(proof.file).is_some_and(|it| it.selected) {
                spoilt.extend(self.check_file(proof, watch)?);
            }
        }
        match &self.digest {
            Some(expected) if proofs.is_empty() => {
                let whole = verify::whole(&self.files)?;
                compare(&self.files, (0, whole), expected, watch)?;
            }
            _ => {}
        }
        Ok(spoilt)
    }

    /// The hash of the whole file counts, or else those of its pieces. Where it differs they tell
    /// what has to be fetched again, unless a torrent has proven every byte.
    fn check_file(&self, proof: &FileProof, watch: &Watch<'_>) -> Result<Vec<Span>, Failure> {
        let span = self.files.layout().span_of(proof.file);
        let whole = proof
            .checksum
            .as_ref()
            .map(|expected| compare(&self.files, (proof.file, span), expected, watch));
        let differs = |failure: &Failure| failure.code == ErrorCode::Checksum;
        match &whole {
            Some(Ok(())) => return Ok(Vec::new()),
            Some(Err(failure)) if !differs(failure) => return Err(failure.clone()),
            _ => {}
        }
        let mut spoilt = Vec::new();
        let pieces = proof.pieces.as_ref();
        for (piece, expected) in pieces
            .filter(|_| self.settings.realtime_chunk_checksum)
            .into_iter()
            .flat_map(|pieces| pieces_of(pieces, span))
        {
            match compare(&self.files, (proof.file, piece), &expected, watch) {
                Err(failure) if differs(&failure) && !self.is_torrent() => spoilt.push(piece),
                result => result?,
            }
        }
        match whole {
            Some(Err(failure)) if spoilt.is_empty() => Err(failure),
            _ => Ok(spoilt),
        }
    }
}

/// Where the pieces of a file lie that is at `span`, and what they should be.
fn pieces_of(pieces: &PieceHashes, span: Span) -> impl Iterator<Item = (Span, Checksum)> {
    let digests = pieces.digests.chunks(pieces.kind.digest_len());
    (0..)
        .map(PieceIdx)
        .zip(digests)
        .map(move |(piece, digest)| {
            let here = hash_check::piece_span(piece, pieces.piece_len, span.len());
            let expected = Checksum {
                kind: pieces.kind,
                digest: digest.to_vec(),
            };
            (
                Span::new(span.start + here.start, span.start + here.end),
                expected,
            )
        })
}

/// Where a finished file goes that is at `path` (option `complete-dir`); `None`: nowhere.
pub fn complete_path(path: &Path, settings: &TransferSettings) -> Option<PathBuf> {
    let dir = settings.complete_dir.as_ref()?;
    let below = path.strip_prefix(&settings.dir).ok();
    let name = below.or_else(|| path.file_name().map(Path::new))?;
    Some(dir.join(name))
}

/// Compares the file with the digest of the option `checksum`, if there is one.
///
/// # Errors
/// 32 it differs, 7 stopped meanwhile, 17 it cannot be read.
pub fn check_sum(
    files: &Files,
    settings: &TransferSettings,
    watch: &Watch<'_>,
) -> Result<(), Failure> {
    let Some(text) = &settings.checksum else {
        return Ok(());
    };
    let expected: Checksum = text
        .parse()
        .map_err(|error| Failure::fatal(ErrorCode::Option, format!("{error}")))?;
    compare(files, (0, verify::whole(files)?), &expected, watch)
}

/// Compares bytes that lie in a file (by its index from 0) with their digest.
fn compare(
    files: &Files,
    (file, span): (usize, Span),
    expected: &Checksum,
    watch: &Watch<'_>,
) -> Result<(), Failure> {
    let Some(digest) = verify::hash_span(files, span, expected.kind, watch)? else {
        return Err(Failure::fatal(
            ErrorCode::Unfinished,
            "stopped while the file was checked",
        ));
    };
    if expected.matches(&digest) {
        return Ok(());
    }
    let path = &files.layout().files()[file].path;
    tracing::warn!(%expected, ?span, "the checksum of {} differs", path.display());
    // aria2 reports this code with an empty message, and clients print the code's own text.
    Err(Failure::fatal(ErrorCode::Checksum, ""))
}
