//! Results that are no longer shown: kept in a tree of their own, which nobody reads until somebody
//! asks, and their torrents in a directory of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sled::Tree;
use tracing::warn;

use super::payloads::payload_path;
use super::record::{OriginKind, Record};
use super::writer::failed;
use crate::base::error::Failure;
use crate::base::gid::Gid;

/// When the result ended, its place in its list and its GID: their order is that of the results.
pub type HistoryKey = [u8; 24];

/// A look at the results that are no longer shown, the latest first.
pub struct Search {
    /// Which to find. Called on the store's thread.
    pub admits: Box<dyn Fn(&Record) -> bool + Send>,
    /// Only older ones than this; `None`: all.
    pub before: Option<HistoryKey>,
    /// So many of the found ones are passed over.
    pub skip: usize,
    /// So many are wanted at most. 0: they are only counted.
    pub take: usize,
    /// Called on the store's thread.
    pub done: Box<dyn FnOnce(Found) + Send>,
}

/// What a [`Search`] has found.
#[derive(Default)]
pub struct Found {
    pub records: Vec<Record>,
    /// Found up to where the search ended, those that were passed over included.
    pub count: usize,
    /// Where to go on, if there may be more.
    pub next: Option<HistoryKey>,
}

pub(super) struct History {
    tree: Tree,
    dir: PathBuf,
    /// Counted when that is first needed.
    len: Option<usize>,
    max: usize,
}

pub(super) fn key_of(record: &Record) -> HistoryKey {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&record.at.to_be_bytes());
    // With its sign turned a number's bytes stand in its order.
    let order = (record.order as u64) ^ (1 << 63);
    key[8..16].copy_from_slice(&order.to_be_bytes());
    key[16..].copy_from_slice(&Record::key(record.gid));
    key
}

impl History {
    pub fn new(tree: Tree, state_dir: &Path) -> Self {
        Self {
            tree,
            dir: state_dir.join("history"),
            len: None,
            max: usize::MAX,
        }
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn set_max(&mut self, max: usize) -> Result<(), Failure> {
        self.max = max;
        self.trim()
    }

    /// A copy of a result's torrent or Metalink, before the result itself is moved here.
    pub fn keep_payload(&self, payloads: &Path, record: &Record) {
        let (Some(from), Some(to)) = (
            payload_path(payloads, record),
            payload_path(&self.dir, record),
        ) else {
            return;
        };
        let kept = fs::create_dir_all(&self.dir)
            .and_then(|()| remove_file(&to))
            .and_then(|()| fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ())));
        if let Err(error) = kept {
            warn!(gid = %record.gid, %error, "the history has no copy of its torrent");
        }
    }

    /// The tree has got more entries.
    pub fn grown(&mut self) -> Result<(), Failure> {
        self.len = None;
        self.trim()
    }

    fn len(&mut self) -> usize {
        *self.len.get_or_insert_with(|| self.tree.len())
    }

    /// The oldest go.
    fn trim(&mut self) -> Result<(), Failure> {
        for _ in self.max..self.len() {
            if let Some((key, _)) = self.tree.pop_min().map_err(failed)? {
                self.drop_payload(&key);
            }
        }
        self.len = Some(self.len().min(self.max));
        Ok(())
    }

    /// Removes the results of these GIDs, if there are any.
    pub fn remove(&mut self, is_gone: impl Fn(Gid) -> bool) -> Result<(), Failure> {
        if self.len() == 0 {
            return Ok(());
        }
        for key in self.tree.iter().keys() {
            let key = key.map_err(failed)?;
            if gid_of(&key).is_some_and(&is_gone) {
                self.tree.remove(&key).map_err(failed)?;
                self.drop_payload(&key);
                self.len = None;
            }
        }
        Ok(())
    }

    pub fn clear(&mut self) -> Result<(), Failure> {
        self.tree.clear().map_err(failed)?;
        self.len = Some(0);
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!("{} is not deleted: {error}", self.dir.display());
            }
            _ => {}
        }
        Ok(())
    }

    pub fn search(&self, search: &Search) -> Result<Found, Failure> {
        let mut found = Found::default();
        let range = match &search.before {
            Some(key) => self.tree.range(..key.as_slice()),
            None => self.tree.iter(),
        };
        for entry in range.rev() {
            let (key, value) = entry.map_err(failed)?;
            // What cannot be read costs only itself.
            let record = key.get(16..).map(|gid| Record::decode(gid, &value));
            let Some(Ok(record)) = record.filter(|record| match record {
                Ok(record) => (search.admits)(record),
                Err(_) => false,
            }) else {
                continue;
            };
            found.count += 1;
            if search.take == 0 || found.count <= search.skip {
                continue;
            }
            if let Some(path) = payload_path(&self.dir, &record) {
                *record.payload.lock() = fs::read(path).ok().map(Into::into);
            }
            found.records.push(record);
            if found.records.len() == search.take {
                found.next = key.as_ref().try_into().ok();
                break;
            }
        }
        Ok(found)
    }

    fn drop_payload(&self, key: &[u8]) {
        let Some(gid) = gid_of(key) else {
            return;
        };
        for extension in OriginKind::EXTENSIONS {
            // It stays if it cannot be deleted; nobody is worse off.
            let _ = remove_file(&self.dir.join(format!("{gid}.{extension}")));
        }
    }
}

fn gid_of(key: &[u8]) -> Option<Gid> {
    Record::gid_of(key.get(16..)?)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
