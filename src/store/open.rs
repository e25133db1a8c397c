//! Opens a state directory: one process at a time, damage set aside, records of old versions
//! brought up to date.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sled::{Batch, Db, Tree};
use tracing::{error, info, warn};

use super::flusher::{Aftermath, Flusher};
use super::history::History;
use super::payloads::Payloads;
use super::record::{Place, Record};
use super::spare::Spare;
use super::spill::Spill;
use super::tally::Tally;
use super::writer::{Writer, failed};
use super::{Restored, file};
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::format::input_file;

/// Version of the trees and keys; records have their own.
const SCHEMA: u32 = 1;
const CACHE_LEN: u64 = 8 << 20;
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// A store smaller than this, or than so many times its content, is not worth compacting.
const COMPACT_LEN_MIN: u64 = 16 << 20;
const COMPACT_TIMES: u64 = 8;

/// Blocks up to two seconds while another process has the directory.
pub(super) fn open(dir: &Path) -> Result<(Writer, Restored), Failure> {
    // URIs and options may hold passwords.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| io_failure(&error, ErrorCode::DirCreateFailed, dir))?;
    open_locked(dir, lock(dir)?)
}

/// As [`open`], of a directory that is locked already.
pub(super) fn open_locked(dir: &Path, lock: File) -> Result<(Writer, Restored), Failure> {
    let db_dir = dir.join("store");
    let text_file = dir.join("session.txt");
    let text = read_text(&text_file);
    finish_swap(&db_dir)?;
    let trees = match open_guarded(&db_dir, Tally::state_of(&text)) {
        Ok(opened) => opened,
        Err(Trouble::Refused(failure)) => return Err(failure),
        Err(Trouble::Damaged { why, salvaged }) => rebuild(&db_dir, &text, &why, salvaged)?,
    };
    let Trees {
        db,
        downloads,
        gone,
        history,
        tally,
        mut content,
    } = trees;
    content.same_boot = note_boot(&db).map_err(failed)?;
    let mut spill = Spill::new(dir.join("spilled.log"));
    match content.same_boot {
        true => content.add(spill.read(tally.state)),
        // Nobody asked the disk to have all of it.
        false => spill.outdate(u64::MAX),
    }
    let payloads = Payloads::open(dir, &mut content.records);
    let writer = Writer {
        db_file: db_dir.join("db"),
        gone_count: content.forgotten.len(),
        db,
        downloads,
        tally,
        gone,
        payloads,
        after: Aftermath::default(),
        flusher: Flusher::default(),
        history: History::new(history, dir),
        spare: Spare::new(text_file),
        spill,
        lock: Some(lock),
    };
    Ok((writer, content))
}

struct Trees {
    db: Db,
    downloads: Tree,
    gone: Tree,
    history: Tree,
    tally: Tally,
    content: Restored,
}

enum Trouble {
    /// The store may be good; it is not for us.
    Refused(Failure),
    Damaged {
        why: String,
        salvaged: Salvage,
    },
}

/// What could still be read.
#[derive(Default)]
struct Salvage {
    records: Vec<Record>,
    /// `None`: not known.
    tally: Option<Tally>,
}

impl Trouble {
    fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged {
            why: why.into(),
            salvaged: Salvage::default(),
        }
    }
}

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        match error {
            // No space, no permission: nothing to set aside for.
            sled::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
                Self::Refused(Failure::from_io(&error, ErrorCode::FileIo, "store"))
            }
            other => Self::damaged(other.to_string()),
        }
    }
}

/// Whether this store was last opened since the machine was started, as far as the system tells.
fn note_boot(db: &Db) -> sled::Result<bool> {
    let Ok(boot) = fs::read("/proc/sys/kernel/random/boot_id") else {
        return Ok(false);
    };
    let before = db.open_tree("meta")?.insert("boot", boot.as_slice())?;
    Ok(before.is_some_and(|before| before == boot.as_slice()))
}

/// The lock is a file of its own: sled's is let go of late, and its error is not telling.
fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| io_failure(&error, ErrorCode::OpenFailed, &path))?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_WAIT_MAX => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "The state directory {} is in use by another process. \
                     Give this one a directory of its own with --state-dir.",
                    dir.display()
                );
                return Err(Failure::fatal(ErrorCode::Unknown, message));
            }
            Err(TryLockError::Error(error)) => {
                return Err(io_failure(&error, ErrorCode::OpenFailed, &path));
            }
        }
    }
}

/// sled panics on some kinds of damage, and finds others only when everything is read.
fn open_guarded(db_dir: &Path, state_min: u64) -> Result<Trees, Trouble> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let trees = open_trees(db_dir)?;
        if trees.tally.state < state_min {
            return Err(trees.outdated(state_min));
        }
        compact(db_dir, trees)
    }));
    opened.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(Trouble::damaged(
            text.unwrap_or_else(|| "the store cannot be read".to_owned()),
        ))
    })
}

fn open_trees(db_dir: &Path) -> Result<Trees, Trouble> {
    // No flush by sled's clock: the writer flushes after each batch.
    let is_new = !db_dir.join("db").exists();
    let db = sled::Config::new()
        .path(db_dir)
        .cache_capacity(CACHE_LEN)
        .flush_every_ms(None)
        .open()?;
    check_schema(&db, is_new)?;
    let downloads = db.open_tree("downloads")?;
    let gone = db.open_tree("gone")?;
    let history = db.open_tree("history")?;
    let (tally, content) = scan(&downloads, &gone)?;
    Ok(Trees {
        db,
        downloads,
        gone,
        history,
        tally,
        content,
    })
}

fn check_schema(db: &Db, is_new: bool) -> Result<(), Trouble> {
    let meta = db.open_tree("meta")?;
    let Some(value) = meta.get("schema")? else {
        // sled may open a damaged file as an empty one.
        if !is_new {
            return Err(Trouble::damaged("its schema is gone"));
        }
        db.open_tree("downloads")?
            .insert(Tally::KEY, &Tally::default().encode())?;
        meta.insert("schema", &SCHEMA.to_be_bytes())?;
        db.flush()?;
        return Ok(());
    };
    let schema = value.as_ref().try_into().map(u32::from_be_bytes);
    match schema {
        Ok(SCHEMA) => Ok(()),
        Ok(newer) if newer > SCHEMA => Err(Trouble::Refused(Failure::fatal(
            ErrorCode::Unknown,
            format!("The state directory was made by a newer version (schema {newer})."),
        ))),
        _ => Err(Trouble::damaged("its schema is unknown")),
    }
}

fn scan(downloads: &Tree, gone: &Tree) -> Result<(Tally, Restored), Trouble> {
    let mut found = Salvage::default();
    let mut count = 0;
    for entry in downloads {
        let (key, value) = match entry {
            Ok(entry) => entry,
            Err(error) => {
                return Err(Trouble::Damaged {
                    why: error.to_string(),
                    salvaged: found,
                });
            }
        };
        if key == Tally::KEY {
            found.tally = Tally::decode(&value);
            continue;
        }
        count += 1;
        match Record::decode(&key, &value) {
            Ok(record) => found.records.push(record),
            // It costs only itself.
            Err(why) => error!(gid = ?Record::gid_of(&key), why, "entry of the store is lost"),
        }
    }
    let Some(tally) = found.tally.filter(|tally| tally.count == count) else {
        let expected = found.tally.unwrap_or_default().count;
        let why = format!("{count} of {expected} downloads are there");
        return Err(Trouble::Damaged {
            why,
            salvaged: found,
        });
    };
    let mut records = found.records;
    Record::sort(&mut records);
    let mut forgotten = HashSet::new();
    for entry in gone {
        forgotten.extend(Record::gid_of(&entry?.0));
    }
    let content = Restored {
        records,
        forgotten,
        ..Restored::default()
    };
    Ok((tally, content))
}

impl Restored {
    /// Adds what the store was not told. A result that was to leave for the history is still here:
    /// it goes once more.
    fn add(&mut self, spilled: Vec<(Gid, Option<Record>)>) {
        let changed: HashSet<Gid> = spilled.iter().map(|(gid, _)| *gid).collect();
        self.records.retain(|record| !changed.contains(&record.gid));
        for (gid, record) in spilled {
            match record {
                Some(record) => {
                    self.forgotten.remove(&gid);
                    self.records.push(record.clone());
                    self.spilled.put(gid, Box::new(move || record));
                }
                None => {
                    self.forgotten.insert(gid);
                    self.spilled.remove(gid);
                }
            }
        }
        Record::sort(&mut self.records);
    }
}

impl Trees {
    /// The text is newer than the store: something that had been written is lost.
    fn outdated(self, state: u64) -> Trouble {
        let why = format!(
            "it is in state {} although it has been in {state}",
            self.tally.state
        );
        let salvaged = Salvage {
            records: self.content.records,
            tally: Some(self.tally),
        };
        Trouble::Damaged { why, salvaged }
    }
}

/// sled never shrinks: a store much larger than its content is written anew.
fn compact(db_dir: &Path, trees: Trees) -> Result<Trees, Trouble> {
    let size = trees.db.size_on_disk()?;
    if size <= COMPACT_LEN_MIN {
        return Ok(trees);
    }
    let mut content_len = 0;
    for entry in trees.downloads.iter().chain(&trees.history) {
        let (key, value) = entry?;
        content_len += (key.len() + value.len()) as u64;
    }
    if size <= COMPACT_LEN_MIN.max(COMPACT_TIMES * content_len) {
        return Ok(trees);
    }
    let new_dir = file::beside(db_dir, ".new");
    let old_dir = file::beside(db_dir, ".old");
    for leftover in [&new_dir, &old_dir] {
        // Of a process that was killed right here.
        let _ = fs::remove_dir_all(leftover);
    }
    let new = open_trees(&new_dir)?;
    for (from, to) in [
        (&trees.downloads, &new.downloads),
        (&trees.gone, &new.gone),
        (&trees.history, &new.history),
    ] {
        copy_tree(from, to)?;
    }
    new.db.flush()?;
    let synced = File::open(new_dir.join("db")).and_then(|file| file.sync_data());
    drop((new, trees));
    let swapped = synced
        .and_then(|()| fs::rename(db_dir, &old_dir))
        .and_then(|()| fs::rename(&new_dir, db_dir))
        .and_then(|()| file::sync_dir_of(db_dir));
    swapped.map_err(|error| Trouble::from(sled::Error::Io(error)))?;
    let _ = fs::remove_dir_all(&old_dir);
    info!(from = size, content = content_len, "store compacted");
    open_trees(db_dir)
}

/// A process may have been killed between the two renames of [`compact`].
fn finish_swap(db_dir: &Path) -> Result<(), Failure> {
    let old_dir = file::beside(db_dir, ".old");
    if db_dir.exists() || !old_dir.exists() {
        return Ok(());
    }
    fs::rename(&old_dir, db_dir)
        .map_err(|error| io_failure(&error, ErrorCode::RenameFailed, &old_dir))
}

fn copy_tree(from: &Tree, to: &Tree) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    for entry in from {
        let (key, value) = entry?;
        batch.insert(key, value);
    }
    Ok(to.apply_batch(batch)?)
}

/// Sets the damaged store aside, never deletes it, and begins anew with what could be read of it
/// and what `session.txt` says.
fn rebuild(db_dir: &Path, text: &str, why: &str, salvaged: Salvage) -> Result<Trees, Failure> {
    let aside = aside_name(db_dir);
    fs::rename(db_dir, &aside)
        .map_err(|error| io_failure(&error, ErrorCode::RenameFailed, db_dir))?;
    error!(
        why,
        kept = %aside.display(),
        "the session store was damaged; it is kept under another name"
    );
    let mut trees = open_trees(db_dir).map_err(|trouble| match trouble {
        Trouble::Refused(failure) => failure,
        Trouble::Damaged { why, .. } => Failure::fatal(ErrorCode::FileIo, format!("store: {why}")),
    })?;
    let text_state = Tally::state_of(text);
    let state = salvaged
        .tally
        .map_or(0, |tally| tally.state)
        .max(text_state);
    let text_is_newer = salvaged
        .tally
        .is_some_and(|tally| tally.state <= text_state);
    let records = united(salvaged.records, records_of(text), text_is_newer);
    let mut batch = Batch::default();
    for record in &records {
        let value = record
            .encode()
            .map_err(|error| Failure::fatal(ErrorCode::Unknown, error.to_string()))?;
        batch.insert(&Record::key(record.gid), value);
    }
    trees.tally = Tally {
        count: records.len() as u64,
        state,
    };
    batch.insert(Tally::KEY, &trees.tally.encode());
    trees.downloads.apply_batch(batch).map_err(failed)?;
    trees.db.flush().map_err(failed)?;
    info!(
        count = records.len(),
        "session rebuilt from what was readable and session.txt"
    );
    trees.content.records = records;
    Ok(trees)
}

/// The text knows what is unfinished, the store also results and figures.
fn united(salvaged: Vec<Record>, text: Vec<Record>, text_is_newer: bool) -> Vec<Record> {
    let mut stored: HashMap<Gid, Record> = salvaged
        .into_iter()
        .map(|record| (record.gid, record))
        .collect();
    let mut records = Vec::with_capacity(stored.len().max(text.len()));
    for record in text {
        records.push(match stored.remove(&record.gid) {
            Some(old) => Record {
                place: record.place,
                order: record.order,
                uris: match old.origin {
                    // The text names a copy of what the store knows better.
                    Some(_) => old.uris.clone(),
                    None => record.uris,
                },
                options: record.options,
                ..old
            },
            None => record,
        });
    }
    // What a newer text does not name any more is finished or removed.
    let rest = stored.into_values();
    records.extend(rest.filter(|record| !text_is_newer || record.place.list() == 0));
    Record::sort(&mut records);
    records
}

fn read_text(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            warn!(%error, path = %path.display(), "session.txt not read");
            String::new()
        }
    }
}

fn aside_name(db_dir: &Path) -> PathBuf {
    let time = jiff::Timestamp::now()
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let mut name = file::beside(db_dir, &format!(".corrupt-{time}"));
    let mut number = 1;
    while name.exists() {
        number += 1;
        name = file::beside(db_dir, &format!(".corrupt-{time}-{number}"));
    }
    name
}

/// The downloads of a `session.txt`. All of ours have a GID.
fn records_of(text: &str) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for (order, entry) in input_file::parse(text).into_iter().enumerate() {
        let mut gid = None;
        let mut place = Place::Waiting;
        let mut options = Vec::new();
        for (name, value) in entry.options {
            match name.as_str() {
                "gid" => gid = value.parse::<Gid>().ok(),
                "pause" if value == "true" => place = Place::Paused,
                "pause" => {}
                _ => options.push((name, value)),
            }
        }
        let Some(gid) = gid else {
            continue;
        };
        let mut record = Record::new(gid, place, order as i64, entry.uris);
        record.options = options;
        records.push(record);
    }
    records
}

fn io_failure(error: &io::Error, code: ErrorCode, path: &Path) -> Failure {
    Failure::from_io(error, code, path.display())
}
