//! Torrents and Metalinks of the session, each a file of its own beside the store: a `.torrent`
//! that its user deletes loses nothing, and a damaged store leaves them alone.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::warn;

use super::file;
use super::record::{Origin, OriginKind, Record};
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::format::magnet::is_magnet;

/// The bytes of a torrent or Metalink on their way to the disk; empty once they are there.
pub type Payload = Arc<Mutex<Option<Bytes>>>;

/// Their directory.
pub(super) struct Payloads {
    dir: PathBuf,
    known: HashSet<Gid>,
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
        let payloads = Self { dir, known };
        payloads.sweep();
        payloads
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the payload of a record, if it is not there yet.
    pub fn keep(&mut self, record: &Record) -> Result<(), Failure> {
        let Some(path) = payload_path(&self.dir, record) else {
            self.drop(record.gid);
            return Ok(());
        };
        let Some(bytes) = record.payload.lock().clone() else {
            return Ok(());
        };
        fs::create_dir_all(&self.dir)
            .and_then(|()| file::replace(&path, |out| out.write_all(&bytes)))
            .map_err(|error| Failure::from_io(&error, ErrorCode::FileIo, path.display()))?;
        self.known.insert(record.gid);
        *record.payload.lock() = None;
        Ok(())
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
