//! Torrents and Metalinks of the session, each a file of its own beside the store: a `.torrent`
//! that its user deletes loses nothing, and a damaged store leaves them alone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::warn;

use super::file::beside;
use super::record::{Origin, OriginKind, Record};
use crate::base::error::{ErrorCode, Failure};
use crate::base::failpoint;
use crate::base::gid::Gid;
use crate::format::magnet::is_magnet;

/// The bytes of a torrent or Metalink on their way to the disk; empty once they are there.
pub type Payload = Arc<Mutex<Option<Bytes>>>;

/// Their directory.
pub(super) struct Payloads {
    dir: PathBuf,
    known: HashSet<Gid>,
    /// Written, and not yet asked of the disk to survive a loss of power.
    unsynced: Vec<PathBuf>,
    syncing: Option<JoinHandle<()>>,
}

/// The directory of the payloads in a state directory.
pub fn payload_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("torrents")
}

/// The file of a download's payload; `None` for what has none.
pub(super) fn payload_path(dir: &Path, record: &Record) -> Option<PathBuf> {
    let extension = record.origin.as_ref()?.kind.extension()?;
    Some(dir.join(format!("{}.{extension}", record.gid)))
}

impl Payloads {
    /// Gives the records what belongs to them, and deletes what belongs to none.
    pub fn open(state_dir: &Path, records: &mut [Record]) -> Self {
        let dir = payload_dir(state_dir);
        let mut known = HashSet::new();
        for record in records {
            adopt(&dir, record);
            let Some(path) = payload_path(&dir, record) else {
                continue;
            };
            match fs::read(&path) {
                Ok(bytes) => {
                    *record.payload.lock() = Some(bytes.into());
                    known.insert(record.gid);
                }
                Err(error) => warn!(gid = %record.gid, "{}: {error}", path.display()),
            }
        }
        let payloads = Self {
            dir,
            known,
            unsynced: Vec::new(),
            syncing: None,
        };
        payloads.sweep();
        payloads
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the payload of a record, if it is not there yet (a restored download brings its own
    /// once more). It survives the end of this process; [`Payloads::sync`] has it survive more.
    /// Another one is replaced in one step, or a kill would leave a part.
    pub fn keep(&mut self, record: &Record) -> Result<(), Failure> {
        let Some(path) = payload_path(&self.dir, record) else {
            self.drop(record.gid);
            return Ok(());
        };
        let Some(bytes) = record.payload.lock().clone() else {
            return Ok(());
        };
        if self.known.contains(&record.gid) && fs::read(&path).is_ok_and(|there| there == bytes) {
            *record.payload.lock() = None;
            return Ok(());
        }
        let part = beside(&path, ".part");
        failpoint::hit("payload.write");
        fs::create_dir_all(&self.dir)
            .and_then(|()| fs::write(&part, &bytes))
            .and_then(|()| fs::rename(&part, &path))
            .map_err(|error| Failure::from_io(&error, ErrorCode::FileIo, path.display()))?;
        failpoint::hit("payload.written");
        self.known.insert(record.gid);
        self.unsynced.push(path);
        *record.payload.lock() = None;
        Ok(())
    }

    /// Has the disk remember what was written, on a thread of its own: a hundred torrents added at
    /// once must not hold up the session. With `wait` until all of it is done.
    pub fn sync(&mut self, wait: bool) {
        if self
            .syncing
            .as_ref()
            .is_some_and(|run| wait || run.is_finished())
            && let Some(run) = self.syncing.take()
        {
            let _ = run.join();
        }
        if self.unsynced.is_empty() || self.syncing.is_some() {
            return;
        }
        let (paths, dir) = (std::mem::take(&mut self.unsynced), self.dir.clone());
        let sync = move || {
            for path in paths.iter().chain([&dir]) {
                match File::open(path).and_then(|file| file.sync_all()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        warn!("{} is not on the disk for sure: {error}", path.display());
                    }
                    _ => {}
                }
            }
        };
        if wait {
            return sync();
        }
        // Without a thread the next sync is tried in vain as well, and the system writes by itself.
        self.syncing = thread::Builder::new()
            .name("payloads".to_owned())
            .spawn(sync)
            .ok();
    }

    /// Deletes the payload of a download that is gone.
    pub fn drop(&mut self, gid: Gid) {
        if !self.known.remove(&gid) {
            return;
        }
        for extension in OriginKind::EXTENSIONS {
            let path = self.dir.join(format!("{gid}.{extension}"));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!("{} is not deleted: {error}", path.display());
                }
                _ => {}
            }
        }
    }

    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let gid = stem.and_then(|stem| stem.parse::<Gid>().ok());
            if gid.is_none_or(|gid| !self.known.contains(&gid)) {
                // It stays if it cannot be deleted; nobody is worse off.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// A session text names the payload or the link where the store would have had the origin.
fn adopt(dir: &Path, record: &mut Record) {
    let [uri] = &record.uris[..] else {
        return;
    };
    if record.origin.is_none() && is_magnet(uri) {
        record.origin = Some(Origin {
            line: record.uris.pop(),
            ..Origin::new(OriginKind::Magnet)
        });
        return;
    }
    let path = Path::new(uri);
    if record.origin.is_some() || path.parent() != Some(dir) {
        return;
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    if let Some(kind) = extension.and_then(OriginKind::of_extension) {
        record.uris.clear();
        record.origin = Some(Origin::new(kind));
    }
}
