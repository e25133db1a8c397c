//! Pure: where a download has left something on the disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::file_view::Choice;
use crate::storage::Content;
use crate::transfer::Live;

/// Outlives the download.
pub struct Footprint {
    pub(super) dir: PathBuf,
    pub(super) live: Option<Arc<Live>>,
    /// Of an earlier process.
    pub(super) kept: Option<PathBuf>,
    /// Of what is more than mirrors of one file.
    pub(super) content: Option<(Choice, Arc<Content>)>,
}

impl Footprint {
    /// The directory its files are below.
    pub fn dir(&self) -> PathBuf {
        self.dir.clone()
    }

    /// The files it has opened for writing: not what it would write to if it were started.
    pub fn files(&self) -> Vec<PathBuf> {
        let live = self.live.as_ref().filter(|live| live.piece_len() > 0);
        let Some((choice, content)) = &self.content else {
            let path = live.and_then(|live| live.detail().path.clone());
            return Vec::from_iter(path.or_else(|| self.kept.clone()));
        };
        if live.is_none() && self.kept.is_none() {
            return Vec::new();
        }
        let layout = live.and_then(|live| live.detail().layout.clone());
        let path = |index: usize| {
            let settled = layout.as_ref().and_then(|layout| layout.files().get(index));
            settled.map_or_else(
                || PathBuf::from(choice.path(content, index)),
                |file| file.path.clone(),
            )
        };
        choice.touched(content).into_iter().map(path).collect()
    }

    /// The directory that a torrent of several files made, whose control file stands beside it.
    pub fn root(&self) -> Option<PathBuf> {
        let (_, content) = self.content.as_ref()?;
        content.multi.then(|| self.dir.join(&content.name))
    }
}
