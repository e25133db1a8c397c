//! Positioned reads and writes of one download's files.
//!
//! A write is done by the thread that has the bytes, 64 KiB a call, without an allocation.
//! While the device is slow the bytes go to its queue instead (see `device`). A queued write
//! that fails is remembered: the next call and `sync` report it, and `lost` names the bytes, which the caller must no longer count as written.

use std::collections::BTreeSet;
use std::fs::{File, FileTimes};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::Guard;
use parking_lot::Mutex;

use super::device::Device;
use super::file_pool::{FilePool, Slot};
use super::inline_gate::{self, Entry, Inside};
use super::layout::{Layout, Part};
use super::open::{self, OpenMode, is_regular, open_file};
use super::vectored::{cut, write_whole};
use super::{DiskSettings, failed, sleep};
use crate::base::error::{ErrorCode, Failure};
use crate::base::units::Span;

/// The open files of one download. Every method may be called from any thread; all of them
/// block except [`Files::ready`].
pub struct Files {
    pub(super) shared: Arc<OpenFiles>,
}

/// What the download's tasks and the writer thread of its device share.
pub struct OpenFiles {
    layout: Layout,
    pub(super) slots: Vec<Arc<Slot>>,
    mode: OpenMode,
    settings: DiskSettings,
    device: Arc<Device>,
    /// How many threads may write inline at the same time.
    inline_places: usize,
    /// Held while writing inline.
    turn: Mutex<()>,
    /// Length once `set_total` told it; `u64::MAX` before.
    ended_at: AtomicU64,
    /// Queued writes that have not been tried yet.
    pub pending: AtomicUsize,
    dirs_synced: AtomicBool,
    has_trouble: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    failure: Option<Failure>,
    lost: Vec<Span>,
}

impl Files {
    /// Opens the files, making directories and files as `mode` says. Unselected files and
    /// padding are not made until bytes are written to them.
    ///
    /// # Errors
    /// 13 the file exists, 15 it cannot be opened, 16 it cannot be made, 18 its directory
    /// cannot be made, 9 the disk is full.
    pub fn open(layout: Layout, settings: &DiskSettings, mode: OpenMode) -> Result<Self, Failure> {
        let slots: Vec<Arc<Slot>> = layout.files().iter().map(|_| Arc::default()).collect();
        let mut shared = OpenFiles {
            slots,
            mode,
            settings: settings.clone(),
            device: Device::shared(0),
            inline_places: inline_gate::places_here(),
            turn: Mutex::default(),
            ended_at: AtomicU64::new(layout.total().unwrap_or(u64::MAX)),
            pending: AtomicUsize::new(0),
            dirs_synced: AtomicBool::new(false),
            has_trouble: AtomicBool::new(false),
            trouble: Mutex::default(),
            layout,
        };
        shared.open_all()?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The files on a device of their own, for tests that make it slow.
    #[cfg(test)]
    pub(super) fn on_device(mut self, device: &Arc<Device>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.device = Arc::clone(device);
        }
        self
    }

    pub fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    pub fn settings(&self) -> &DiskSettings {
        &self.shared.settings
    }

    /// Length of the download in bytes, if known by now.
    pub fn total(&self) -> Option<u64> {
        match self.shared.ended_at.load(Ordering::Acquire) {
            u64::MAX => None,
            total => Some(total),
        }
    }

    /// Writes all of `data` at byte `at` of the download. Bytes past its end are dropped.
    /// While the device is slow the bytes are copied and queued: wait for [`Files::ready`]
    /// after each write, or this blocks once the queue is far over its limit.
    ///
    /// # Errors
    /// 9 the disk is full, 17 the write failed, now or earlier in the queue; and as `open`.
    pub fn write_at(&self, at: u64, data: &mut [IoSlice<'_>]) -> Result<(), Failure> {
        let shared = &self.shared;
        if shared.has_trouble.load(Ordering::Acquire) {
            shared.report_trouble()?;
        }
        if shared.device.is_slow() {
            return self.write_queued(at, data);
        }
        let now = Instant::now();
        match inline_gate::enter(shared.device.number, now, shared.inline_places) {
            Entry::Inline(inside) => shared.write_in_turn(at, data, Some(&inside)),
            Entry::LastWorker(inside) => {
                inline_gate::off_worker(|| shared.write_in_turn(at, data, inside.as_ref()))
            }
            Entry::Stuck => {
                shared.device.note_stall(now);
                self.write_queued(at, data)
            }
        }
    }

    fn write_queued(&self, at: u64, data: &mut [IoSlice<'_>]) -> Result<(), Failure> {
        let cache_len_max = self.shared.settings.cache_len_max;
        if self
            .shared
            .device
            .push(&self.shared, at, data, cache_len_max)
        {
            return Ok(());
        }
        inline_gate::off_worker(|| self.shared.write_now(at, data))
    }

    /// Waits until `write_at` has room again; at once while the device is fast.
    pub async fn ready(&self) {
        if self.shared.device.is_slow() {
            let cache_len_max = self.shared.settings.cache_len_max;
            self.shared.device.ready(cache_len_max).await;
        }
    }

    /// Fills `buf` from byte `at`, after the queued writes. Padding and files that do not
    /// exist yet read as zeros.
    ///
    /// # Errors
    /// 17 the read failed or the file ends too early; and as `open`.
    pub fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<(), Failure> {
        let come = self.read_some(at, buf)?;
        if come == buf.len() {
            return Ok(());
        }
        Err(self.shared.ends_early(at.saturating_add(come as u64)))
    }

    /// Like [`Files::read_at`], but stops where bytes are missing; returns how many came.
    ///
    /// # Errors
    /// 17 the read failed; and as `open`.
    pub fn read_some(&self, at: u64, buf: &mut [u8]) -> Result<usize, Failure> {
        self.flush()?;
        let span = Span::new(at, at.saturating_add(buf.len() as u64));
        let mut come = 0;
        for part in self.shared.layout.locate(span) {
            let here = &mut buf[come..come + part.len as usize];
            let read = self.shared.read_part(part, here)?;
            come += read;
            if read < here.len() {
                break;
            }
        }
        Ok(come)
    }

    /// Waits until every queued write has been tried. Costs nothing while there is none.
    ///
    /// # Errors
    /// That of a queued write that failed.
    pub fn flush(&self) -> Result<(), Failure> {
        self.shared.device.flush(&self.shared);
        self.shared.report_trouble()
    }

    /// Flushes, then has the system put what was written on the disk (fdatasync).
    ///
    /// # Errors
    /// 17, or 9 where the file system finds out only now that it is full.
    pub fn sync(&self) -> Result<(), Failure> {
        self.flush()?;
        for index in 0..self.shared.slots.len() {
            if self.shared.slots[index].take_dirty()
                && let Err(failure) = self.shared.sync_file(index)
            {
                self.shared.slots[index].mark_dirty();
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Has the directories of the files remember them, once (fsync).
    ///
    /// # Errors
    /// 17.
    pub(super) fn sync_dirs(&self) -> Result<(), Failure> {
        if self.shared.dirs_synced.load(Ordering::Acquire) {
            return Ok(());
        }
        let paths = self.shared.wanted().map(|index| self.shared.path(index));
        let dirs: BTreeSet<&Path> = paths.map(open::dir_of).collect();
        dirs.into_iter().try_for_each(open::sync_dir)?;
        self.shared.dirs_synced.store(true, Ordering::Release);
        Ok(())
    }

    /// A download of unknown length came to its end: the file is cut there. It is never made
    /// longer, so that [`Files::verify_in_place`] finds bytes that are gone.
    ///
    /// # Errors
    /// 17, or 16 where the file cannot be cut.
    pub fn set_total(&self, total: u64) -> Result<(), Failure> {
        self.shared.ended_at.store(total, Ordering::Release);
        self.cut_trailing()
    }

    /// Sets the modification time of every selected file (`remote-time`), in seconds since 1970.
    ///
    /// # Errors
    /// 17.
    pub fn set_modified(&self, unix_seconds: i64) -> Result<(), Failure> {
        self.flush()?;
        let age = Duration::from_secs(unix_seconds.unsigned_abs());
        let time = if unix_seconds >= 0 {
            SystemTime::UNIX_EPOCH.checked_add(age)
        } else {
            SystemTime::UNIX_EPOCH.checked_sub(age)
        };
        let Some(time) = time else { return Ok(()) };
        for index in self.shared.wanted() {
            let file = self.shared.file(index)?;
            if is_regular(&file) {
                file.set_times(FileTimes::new().set_modified(time))
                    .map_err(|error| {
                        let path = self.shared.path(index);
                        failed(&error, ErrorCode::FileIo, "set the time of", path)
                    })?;
            }
        }
        Ok(())
    }

    /// The spans whose queued writes failed. They were accepted, but are not in the file: the
    /// caller must no longer count them as written.
    pub fn lost(&self) -> Vec<Span> {
        self.shared.trouble.lock().lost.clone()
    }

    /// Like [`Files::lost`], and forgets them and their failure: writing goes on.
    pub fn take_lost(&self) -> Vec<Span> {
        let mut trouble = self.shared.trouble.lock();
        self.shared.has_trouble.store(false, Ordering::Release);
        trouble.failure = None;
        std::mem::take(&mut trouble.lost)
    }

    /// Makes space for the files as the options say: see [`super::allocate`].
    ///
    /// # Errors
    /// 9 the disk is full, 16 it cannot be done.
    pub fn allocate(&self, done: &dyn Fn(u64), stop: &AtomicBool) -> Result<(), Failure> {
        super::allocate::allocate(&self.shared, done, stop)
    }
}

impl OpenFiles {
    fn open_all(&mut self) -> Result<(), Failure> {
        let mut device = None;
        for index in 0..self.layout.files().len() {
            let file = &self.layout.files()[index];
            if !file.selected || file.padding {
                continue;
            }
            // Of many files those that stand there are opened when they are needed.
            if self.layout.files().len() > 1
                && matches!(self.mode, OpenMode::Existing | OpenMode::ReadOnly)
                && let Ok(standing) = std::fs::metadata(&file.path)
                && standing.is_file()
            {
                self.slots[index].note_standing(&standing);
                device.get_or_insert(standing.dev());
                continue;
            }
            let opened = self.open_slot(index)?;
            if device.is_none() {
                device = opened.metadata().ok().map(|data| data.dev());
            }
        }
        self.device = Device::shared(device.unwrap_or(0));
        Ok(())
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn settings(&self) -> &DiskSettings {
        &self.settings
    }

    pub fn path(&self, index: usize) -> &Path {
        &self.layout.files()[index].path
    }

    /// Indexes of the files the user wants.
    pub fn wanted(&self) -> impl Iterator<Item = usize> + '_ {
        let files = self.layout.files().iter().enumerate();
        files
            .filter(|(_, file)| file.selected && !file.padding)
            .map(|(index, _)| index)
    }

    /// The length file `index` has in the end, if known.
    pub fn final_len(&self, index: usize) -> Option<u64> {
        if self.layout.total().is_some() {
            return Some(self.layout.files()[index].len);
        }
        match self.ended_at.load(Ordering::Acquire) {
            u64::MAX => None,
            total => Some(total),
        }
    }

    pub fn mark_dirty(&self, index: usize) {
        self.slots[index].mark_dirty();
    }

    /// The open file, opened again if the pool had closed it.
    pub fn file(&self, index: usize) -> Result<Arc<File>, Failure> {
        match self.open_guard(index)? {
            Opened::Guard(guard) => match &*guard {
                Some(file) => Ok(Arc::clone(file)),
                None => self.open_slot(index),
            },
            Opened::New(file) => Ok(file),
        }
    }

    fn open_guard(&self, index: usize) -> Result<Opened, Failure> {
        match self.slots[index].open_file() {
            Some(guard) => Ok(Opened::Guard(guard)),
            None => Ok(Opened::New(self.open_slot(index)?)),
        }
    }

    fn open_slot(&self, index: usize) -> Result<Arc<File>, Failure> {
        let target = &self.layout.files()[index];
        let single = self.layout.files().len() == 1;
        let _opening = self.slots[index].opening();
        // The pool may close and reopen a file: only its first opening may truncate it.
        let again = self.slots[index].was_opened();
        let open = || open_file(target, self.mode, single, again);
        let file = if single {
            let file = Arc::new(open()?);
            self.slots[index].set_file(Arc::clone(&file));
            file
        } else {
            FilePool::shared().fill(&self.slots[index], self.settings.open_files_max, open)?
        };
        self.slots[index].note_opened(&file);
        Ok(file)
    }

    /// Writes on this thread, once it is its turn. The system, too, takes one write into a file at
    /// a time, but it does not tell waiting for another thread from waiting for the disk.
    fn write_in_turn(
        &self,
        at: u64,
        data: &mut [IoSlice<'_>],
        inside: Option<&Inside>,
    ) -> Result<(), Failure> {
        let _turn = self.turn.lock();
        let (began, slept) = (Instant::now(), sleep::times_slept());
        if let Some(inside) = inside {
            inside.begin(self.device.number, began);
        }
        let result = self.write_now(at, data);
        self.device.note_write(began, slept);
        result
    }

    /// Writes on this thread.
    pub fn write_now(&self, at: u64, data: &mut [IoSlice<'_>]) -> Result<(), Failure> {
        #[cfg(test)]
        self.device.pretend_slow();
        let len: u64 = data.iter().map(|part| part.len() as u64).sum();
        let span = Span::new(at, at.saturating_add(len));
        let mut skipped = 0;
        for part in self.layout.locate(span) {
            if part.len == len {
                return self.write_part(part, data);
            }
            let mut slices = cut(data, skipped, part.len);
            skipped += part.len;
            self.write_part(part, &mut slices)?;
        }
        Ok(())
    }

    fn write_part(&self, part: Part, data: &mut [IoSlice<'_>]) -> Result<(), Failure> {
        if self.layout.files()[part.file].padding {
            return Ok(());
        }
        self.slots[part.file].mark_dirty();
        let result = match self.open_guard(part.file)? {
            Opened::Guard(guard) => match &*guard {
                Some(file) => write_whole(file, part.at, data),
                None => write_whole(&*self.open_slot(part.file)?, part.at, data),
            },
            Opened::New(file) => write_whole(&file, part.at, data),
        };
        result.map_err(|error| failed(&error, ErrorCode::FileIo, "write to", self.path(part.file)))
    }

    /// Reads until the buffer is full or the file ends; returns how many bytes came.
    fn read_part(&self, part: Part, buf: &mut [u8]) -> Result<usize, Failure> {
        let target = &self.layout.files()[part.file];
        if target.padding || (!target.selected && !target.path.exists()) {
            buf.fill(0);
            return Ok(buf.len());
        }
        let file = self.file(part.file)?;
        let mut come = 0;
        while come < buf.len() {
            match file.read_at(&mut buf[come..], part.at + come as u64) {
                Ok(0) => break,
                Ok(read) => come += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error, ErrorCode::FileIo, "read", &target.path)),
            }
        }
        Ok(come)
    }

    fn ends_early(&self, at: u64) -> Failure {
        let text = match self
            .layout
            .locate(Span::new(at, at.saturating_add(1)))
            .next()
        {
            Some(part) => format!(
                "cannot read {}: it ends at or before byte {}",
                self.path(part.file).display(),
                part.at
            ),
            None => format!("cannot read byte {at}: it is past the end of the download"),
        };
        Failure::fatal(ErrorCode::FileIo, text)
    }

    fn sync_file(&self, index: usize) -> Result<(), Failure> {
        let file = self.file(index)?;
        if !is_regular(&file) {
            return Ok(());
        }
        file.sync_data()
            .map_err(|error| failed(&error, ErrorCode::FileIo, "sync", self.path(index)))
    }

    /// A queued write of these bytes failed.
    pub fn record_lost(&self, start: u64, end: u64, failure: Failure) {
        let mut trouble = self.trouble.lock();
        trouble.lost.push(Span::new(start, end));
        trouble.failure.get_or_insert(failure);
        self.has_trouble.store(true, Ordering::Release);
    }

    fn report_trouble(&self) -> Result<(), Failure> {
        if !self.has_trouble.load(Ordering::Acquire) {
            return Ok(());
        }
        match &self.trouble.lock().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }
}

enum Opened {
    Guard(Guard<Option<Arc<File>>>),
    New(Arc<File>),
}

#[cfg(test)]
mod tests;
