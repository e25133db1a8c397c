//! What changed while the disk of the session did not answer.
//!
//! A flush of sled ends when the disk has it, and sled takes nothing meanwhile. What is said in that
//! time is written here, without waiting for the disk: it survives the end of this process. As soon
//! as the flush is over the changes take their ordinary way.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::file::beside;
use super::record::Record;
use crate::base::gid::Gid;

/// The file in the state directory.
pub(super) struct Spill {
    path: PathBuf,
    /// The state of the store that the file adds to, if there is a file.
    state: Option<u64>,
}

/// Changes as the file has them: the state of the store in the first line, then a GID and its
/// record in each; a download that is gone has no record.
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub fn new(state: u64) -> Self {
        Self(format!("{state}\n").into_bytes())
    }

    /// Adds a change. A record that cannot be encoded is left out.
    pub fn push(&mut self, gid: Gid, record: Option<&Record>) {
        let Ok(record) = record.map(Record::encode).transpose() else {
            return;
        };
        self.0.extend(gid.to_string().as_bytes());
        if let Some(record) = record {
            self.0.push(b' ');
            self.0.extend(record);
        }
        self.0.push(b'\n');
    }
}

impl Spill {
    pub fn new(path: PathBuf) -> Self {
        // Of which state an earlier process' file is, does not matter: the first flush is newer.
        let state = path.exists().then_some(0);
        Self { path, state }
    }

    /// Replaces the file. Does not wait for the disk, unless it takes no writes either.
    ///
    /// # Errors
    /// Of the file system.
    pub fn write(&mut self, state: u64, lines: &Lines) -> io::Result<()> {
        let temporary = beside(&self.path, ".tmp");
        fs::write(&temporary, &lines.0)?;
        fs::rename(&temporary, &self.path)?;
        self.state = Some(state);
        Ok(())
    }

    /// The store is kept in this state: a file of an older one has nothing to add.
    pub fn outdate(&mut self, state: u64) {
        if self.state.is_some_and(|of| of < state) {
            let _ = fs::remove_file(&self.path);
            self.state = None;
        }
    }

    /// What an earlier process could not hand to the store, which is in this state now.
    pub fn read(&self, state: u64) -> Vec<(Gid, Option<Record>)> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let mut lines = text.lines();
        let of = lines.next().and_then(|line| line.parse::<u64>().ok());
        if of.is_none_or(|of| of < state) {
            return Vec::new();
        }
        lines.filter_map(change).collect()
    }
}

fn change(line: &str) -> Option<(Gid, Option<Record>)> {
    let (gid, record) = match line.split_once(' ') {
        Some((gid, record)) => (gid, Some(record)),
        None => (line, None),
    };
    let gid: Gid = gid.parse().ok()?;
    let decode = |text: &str| Record::decode(&Record::key(gid), text.as_bytes());
    Some((gid, record.map(decode).transpose().ok()?))
}
