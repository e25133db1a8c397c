//! Where a download is written: its name, what to do with a file that is there already, what an
//! earlier run left. Blocking; called off the async threads.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use crate::base::error::{ErrorCode, Failure};
use crate::base::failpoint;
use crate::base::gid::Gid;
use crate::base::range_set::RangeSet;
use crate::base::units::Span;
use crate::format::control_file::ControlFile;
use crate::format::uri::Uri;
use crate::option::settings::{DiskSettings, TransferSettings};
use crate::source::{Facts, Identity};
use crate::storage::path;
use crate::storage::relocate::relocate;
use crate::storage::verify::Watch;
use crate::storage::{Files, Layout, OpenMode, make_parent};
use crate::storage::{origin_note, progress};

use super::claims::PathClaims;
use super::content_destination::ContentPlace;
use super::content_finish::taken;
use super::document::{self, FollowSettings};
use super::finish;
use super::handle::Phase;
use super::live::{Restored, Verified};
use super::piece_map::{PIECES_MAX, piece_count, whole_blocks};
use super::plan::{Peeked, Prepared};

/// What is needed to choose and open the file of one download.
pub struct Destination {
    pub gid: Gid,
    pub settings: Arc<TransferSettings>,
    pub disk: DiskSettings,
    /// The first URI, whose last segment is the name until the server says more.
    pub uri: Arc<str>,
    /// What an earlier run of this download wrote to, and exactly which bytes.
    pub prior: Option<(PathBuf, RangeSet)>,
    /// What those bytes are a part of, as this process found.
    pub identity: Option<Identity>,
    /// The earlier run was in another process.
    pub restored: Option<Restored>,
    /// The files, where they are known.
    pub content: Option<ContentPlace>,
    /// The pieces have hashes, so that their length is given.
    pub hashed: bool,
    pub follow: FollowSettings,
    /// Keeps a file alive that is in memory alone.
    pub memory: OnceLock<OwnedFd>,
}

/// Who is told how far a file is.
pub struct Told<'a> {
    /// Bytes allocated so far.
    pub allocated: &'a dyn Fn(u64),
    /// How far a check is.
    pub verified: &'a dyn Fn(Verified),
    /// What takes time now: `Checking` or `Allocating`.
    pub phase: &'a dyn Fn(Phase),
}

/// The file of a download.
pub struct Opened {
    pub files: Arc<Files>,
    pub path: PathBuf,
    pub prepared: Prepared,
    /// A device or pipe: no length, no control file, no date.
    pub special: bool,
    /// Bytes given to peers by earlier runs, as the control file says.
    pub uploaded: u64,
    /// All pieces were hashed.
    pub checked: bool,
}

/// What stands at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Nothing,
    File(u64),
    Directory,
    Special,
}

impl Destination {
    /// What can be resumed under the name the options or the first URI suggest.
    pub fn peek(&self) -> Peeked {
        let path = match &self.prior {
            Some((prior, _)) if self.settings.out.is_none() => prior.clone(),
            _ => self.path_for(None, &self.uri),
        };
        let written = match &self.prior {
            Some((prior, written)) if *prior == path || self.settings.out.is_none() => {
                Some(written.clone())
            }
            _ => None,
        };
        let written = written
            .filter(|set| !set.is_empty())
            .or_else(|| self.on_disk(&path));
        let gap = written
            .as_ref()
            .and_then(|written| written.gaps(Span::new(0, u64::MAX)).next());
        let noted = written.is_some().then(|| {
            let text = origin_note::load(&path);
            let noted = text.map(|text| Identity::from_text(&text));
            noted.or_else(|| self.identity.clone())
        });
        let (finished, moved) = self.finished().unzip();
        Peeked {
            resume_at: gap.map_or(0, |gap| gap.start),
            identity: noted.flatten(),
            finished,
            moved: moved.flatten(),
        }
    }

    /// Length of the file if an earlier process finished it and died before the session said so:
    /// it has its length and no control file, which stands beside the data from before its first
    /// byte until the end. After a loss of power that proves nothing. With it where it is now, if
    /// it was still to be moved.
    fn finished(&self) -> Option<(u64, Option<PathBuf>)> {
        let restored = self.restored.as_ref();
        let total = restored.filter(|restored| restored.same_boot)?.total;
        let (path, _) = self.prior.as_ref()?;
        if total == 0 || has_control_file(path) || found(path) != Found::File(total) {
            return None;
        }
        let layout = Layout::single(path.clone(), Some(total));
        let files = Files::open(layout, &self.disk, OpenMode::ReadOnly).ok()?;
        files.verify_dense().ok()?;
        let watch = Watch {
            done: &|_| (),
            stop: &AtomicBool::new(false),
        };
        finish::check_sum(&files, &self.settings, &watch).ok()?;
        progress::remove(path).ok()?;
        let moved = finish::complete_path(path, &self.settings)
            .map(|to| relocate(path, &to, taken(&self.settings)))
            .transpose();
        Some((total, moved.ok()?))
    }

    /// Bytes that an earlier process left at this path.
    fn on_disk(&self, path: &Path) -> Option<RangeSet> {
        let Found::File(len) = found(path) else {
            return None;
        };
        if self.settings.remove_control_file {
            return None;
        }
        match progress::load(path) {
            Ok(Some(control)) => self.still_there(path, &control),
            Ok(None) if self.settings.resume_without_control_file => {
                Some(RangeSet::from_iter([Span::new(0, len)]))
            }
            Ok(None) | Err(_) => None,
        }
    }

    /// What the control file claims, less holes; `None` where nothing is missing, so that the
    /// first request does not ask for bytes past the end.
    fn still_there(&self, path: &Path, control: &ControlFile) -> Option<RangeSet> {
        let mut written = control.to_ranges();
        let layout = Layout::single(path, Some(control.total));
        let files = Files::open(layout, &self.disk, OpenMode::ReadOnly).ok()?;
        for hole in files.holes(&written).ok()?.iter() {
            written.remove(hole);
        }
        (written.total() < control.total).then_some(written)
    }

    /// When the local file was changed, where only a newer one is wanted (`conditional-get`);
    /// seconds since 1970.
    pub fn local_time(&self) -> Option<i64> {
        if !self.settings.conditional_get {
            return None;
        }
        let path = self.path_for(None, &self.uri);
        if has_control_file(&path) {
            return None;
        }
        let modified = std::fs::metadata(path).ok()?.modified().ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok()
    }

    fn path_for(&self, suggested: Option<&str>, uri: &str) -> PathBuf {
        if let Some(place) = &self.content {
            return place.root.clone();
        }
        let dir = self.settings.dir.to_string_lossy();
        let name = match (&self.settings.out, suggested) {
            (Some(out), _) => out.clone(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => name_of(uri),
        };
        path::join(&dir, &name)
    }

    /// Chooses the path, claims it and opens the file; reads what an earlier run left.
    ///
    /// # Errors
    /// 13 the file exists and may be neither replaced nor renamed; 10 another piece length; 1 the
    /// control file belongs to a file of another length; and those of [`Files::open`] and
    /// [`Files::allocate`].
    pub fn prepare(
        &self,
        facts: &Facts,
        discard: bool,
        claims: &PathClaims,
        told: &Told<'_>,
        stop: &AtomicBool,
    ) -> Result<Opened, Failure> {
        // A Metalink that does not tell its length is prepared as any file is.
        let known = |place: &&ContentPlace| place.content.total.is_some();
        if let Some(place) = self.content.as_ref().filter(known) {
            return self.prepare_content(place, claims, told, stop);
        }
        (told.phase)(Phase::Allocating);
        let wanted = self.wanted_path(facts);
        let total = facts.identity.len;
        let content_type = facts.content_type.as_deref();
        if self.follow.in_memory(&wanted, content_type, total) {
            return self.open_memory(wanted, total);
        }
        let chosen = self.choose(&wanted, total, discard, claims)?;
        let piece_len = chosen.piece_len;
        if total.is_some_and(|total| piece_count(total, piece_len) > PIECES_MAX) {
            let text = format!("the file is too big for pieces of {piece_len} bytes");
            return Err(Failure::fatal(ErrorCode::Option, text));
        }
        let whole = !chosen.special && total == Some(chosen.written.total());
        if self.only_checks() && !whole {
            let text = format!("{} is not complete", chosen.path.display());
            return Err(Failure::fatal(ErrorCode::Checksum, text));
        }
        let layout = Layout::single(chosen.path.clone(), total.filter(|_| !chosen.special));
        self.announce(&chosen, total)?;
        failpoint::hit("data.open");
        let files = Files::open(layout, &self.disk, chosen.mode)?;
        failpoint::hit("data.opened");
        if !chosen.special && total.is_some() && chosen.written.total() < total.unwrap_or(0) {
            files.allocate(told.allocated, stop)?;
        }
        if !chosen.special && total.is_some() {
            origin_note::save(&chosen.path, &facts.identity.to_text());
        }
        let mut written = chosen.written;
        if has_control_file(&chosen.path) {
            // A crash of the machine or a truncation may have taken what the control file claims.
            for hole in files.holes(&written)?.iter() {
                tracing::warn!(gid = %self.gid, ?hole, "bytes the control file claims are not in the file");
                written.remove(hole);
            }
        }
        if whole && self.settings.check_integrity && !self.is_intact(&files, told, stop)? {
            written = RangeSet::new();
        }
        Ok(Opened {
            files: Arc::new(files),
            path: chosen.path,
            prepared: Prepared {
                total,
                piece_len,
                written,
            },
            special: chosen.special,
            uploaded: 0,
            checked: false,
        })
    }

    /// A document that is followed and not kept (`follow-torrent=mem`): its path is only shown.
    fn open_memory(&self, path: PathBuf, total: Option<u64>) -> Result<Opened, Failure> {
        let made = document::memory_file().map_err(|error| {
            let text = format!("no memory for {}: {error}", path.display());
            Failure::fatal(ErrorCode::CreateFailed, text)
        })?;
        let handle = PathBuf::from(format!("/proc/self/fd/{}", made.as_raw_fd()));
        let files = Files::open(Layout::single(handle, None), &self.disk, OpenMode::Existing)?;
        // A transfer prepares once more when it starts over; the first file is as good.
        let _ = self.memory.set(made);
        Ok(Opened {
            files: Arc::new(files),
            path,
            prepared: Prepared {
                total,
                piece_len: self.settings.piece_len,
                written: RangeSet::new(),
            },
            special: true,
            uploaded: 0,
            checked: false,
        })
    }

    /// Nothing is to be fetched (`hash-check-only`).
    fn only_checks(&self) -> bool {
        self.settings.hash_check_only && self.settings.check_integrity
    }

    /// Whether the finished file has the digest of the option `checksum`; without one it has.
    fn is_intact(
        &self,
        files: &Files,
        told: &Told<'_>,
        stop: &AtomicBool,
    ) -> Result<bool, Failure> {
        let watch = Watch {
            done: &|bytes| (told.verified)(Verified::Bytes(bytes)),
            stop,
        };
        match finish::check_sum(files, &self.settings, &watch) {
            Ok(()) => Ok(true),
            Err(failure) if failure.code == ErrorCode::Checksum && !self.only_checks() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Puts the control file beside the data before there are data: from now on, a file without
    /// one is finished or not ours.
    fn announce(&self, chosen: &Choice, total: Option<u64>) -> Result<(), Failure> {
        if chosen.special || has_control_file(&chosen.path) {
            return Ok(());
        }
        let piece_len = u32::try_from(chosen.piece_len).ok();
        let control = total
            .zip(piece_len)
            .and_then(|(total, len)| ControlFile::from_ranges(&chosen.written, total, len));
        let Some(control) = control else {
            return Ok(());
        };
        make_parent(&chosen.path)?;
        progress::save(&chosen.path, &control)
    }

    /// The path before a look at what is there already.
    pub(super) fn wanted_path(&self, facts: &Facts) -> PathBuf {
        match &self.prior {
            // The name was settled when this download first ran.
            Some((path, _)) if self.settings.out.is_none() => path.clone(),
            _ => self.path_for(facts.name.as_deref(), &facts.final_uri),
        }
    }

    fn choose(
        &self,
        wanted: &Path,
        total: Option<u64>,
        discard: bool,
        claims: &PathClaims,
    ) -> Result<Choice, Failure> {
        let mut path = wanted.to_owned();
        if found(&path) == Found::Special {
            return Ok(self.fresh(path, OpenMode::Existing).special());
        }
        loop {
            if claims.claim(&path, self.gid) {
                match self.consider(&path, total, discard, claims)? {
                    Some(choice) => return Ok(choice),
                    None => claims.release_path(&path, self.gid),
                }
            }
            if !self.settings.auto_file_renaming {
                let text = format!("{} exists already", path.display());
                return Err(Failure::fatal(ErrorCode::FileExists, text));
            }
            let busy = |candidate: &Path| {
                let free = claims.claim(candidate, self.gid);
                if free {
                    claims.release_path(candidate, self.gid);
                }
                let resumes = has_control_file(candidate) && !self.is_kept_from(candidate, claims);
                !free || (found(candidate) != Found::Nothing && !resumes)
            };
            path = path::first_free(wanted, busy)?;
        }
    }

    /// What to do with a path nobody else is writing; `None`: it needs another name.
    fn consider(
        &self,
        path: &Path,
        total: Option<u64>,
        discard: bool,
        claims: &PathClaims,
    ) -> Result<Option<Choice>, Failure> {
        // What stands there without a control file is ours if this process put it there, or if
        // the machine went down when it was just finished.
        let restored = self.restored.as_ref();
        let known = restored.is_none_or(|restored| !restored.same_boot);
        let mine = known && self.prior.as_ref().is_some_and(|(prior, _)| prior == path);
        let found = found(path);
        let Found::File(len) = found else {
            if found == Found::Nothing {
                progress::remove(path)?;
            }
            return Ok(
                (found == Found::Nothing).then(|| self.fresh(path.to_owned(), OpenMode::Fresh))
            );
        };
        let replaces =
            discard || (self.settings.remove_control_file && self.settings.allow_overwrite);
        if replaces {
            progress::remove(path)?;
            return Ok(Some(self.fresh(path.to_owned(), OpenMode::Fresh)));
        }
        if let (Some(control), Some(total)) = (progress::load(path)?, total) {
            let whole = control.to_ranges().total() == control.total;
            if whole && self.is_kept_from(path, claims) {
                return Ok(None);
            }
            return self.resume(path, &control, total).map(Some);
        }
        if (self.settings.resume_without_control_file || self.only_checks())
            && let Some(total) = total
            && len <= total
        {
            let kept = if len == total {
                total
            } else {
                whole_blocks(len)
            };
            let written = RangeSet::from_iter([Span::new(0, kept)]);
            let fresh = self.fresh(path.to_owned(), OpenMode::Existing);
            return Ok(Some(Choice { written, ..fresh }));
        }
        // With its full length it is what another download made of it while this one was paused.
        let finished = self.restored.is_none() && Some(len) == total;
        let may_replace = (mine && !finished) || self.settings.allow_overwrite;
        Ok(may_replace.then(|| self.fresh(path.to_owned(), OpenMode::Fresh)))
    }

    /// Whether the finished file of another download stands here, beside which this one is to get
    /// a name of its own.
    fn is_kept_from(&self, path: &Path, claims: &PathClaims) -> bool {
        let renames =
            self.settings.auto_file_renaming && !self.settings.resume_without_control_file;
        renames && claims.is_kept_from(path, self.gid)
    }

    fn resume(&self, path: &Path, control: &ControlFile, total: u64) -> Result<Choice, Failure> {
        if control.total != total {
            let text = format!(
                "{} was begun with a length of {} bytes, the server now has {total}",
                path.display(),
                control.total
            );
            return Err(Failure::fatal(ErrorCode::Unknown, text));
        }
        let piece_len = match self.hashed {
            true => self.settings.piece_len,
            false => u64::from(control.piece_len),
        };
        if piece_len != self.settings.piece_len && !self.settings.allow_piece_length_change {
            tracing::debug!(gid = %self.gid, piece_len, "the control file's piece length is kept");
        }
        let saved = control.to_ranges();
        let exact = match &self.prior {
            // What this process remembers is finer, but only if the file is still the same story.
            Some((prior, written))
                if prior == path
                    && self.restored.is_none()
                    && saved.iter().all(|span| written.covers(span)) =>
            {
                written.clone()
            }
            _ => saved,
        };
        Ok(Choice {
            path: path.to_owned(),
            mode: OpenMode::Existing,
            written: exact,
            piece_len,
            special: false,
        })
    }

    fn fresh(&self, path: PathBuf, mode: OpenMode) -> Choice {
        Choice {
            path,
            mode,
            written: RangeSet::new(),
            piece_len: self.settings.piece_len,
            special: false,
        }
    }
}

struct Choice {
    path: PathBuf,
    mode: OpenMode,
    written: RangeSet,
    piece_len: u64,
    special: bool,
}

impl Choice {
    fn special(self) -> Self {
        Self {
            special: true,
            ..self
        }
    }
}

fn has_control_file(path: &Path) -> bool {
    progress::control_path(path).exists()
}

fn found(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Err(_) => Found::Nothing,
        Ok(data) if data.is_dir() => Found::Directory,
        Ok(data) if data.is_file() => Found::File(data.len()),
        Ok(_) => Found::Special,
    }
}

/// The name the last segment of a URI gives.
fn name_of(uri: &str) -> String {
    match Uri::parse(uri) {
        Some(uri) => uri.file_name(),
        None => "index.html".to_owned(),
    }
}
