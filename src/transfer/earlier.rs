//! What an earlier run of a download left: where it wrote, and what is known of that.

use std::path::{Path, PathBuf};

use crate::base::range_set::RangeSet;
use crate::storage::Layout;

use super::content_destination::ContentPlace;
use super::handle::TransferSpec;
use super::live::Restored;

/// The earlier run of one download, if there was one.
pub struct Earlier {
    /// What it wrote to, and exactly which bytes.
    pub prior: Option<(PathBuf, RangeSet)>,
    /// It was in another process.
    pub restored: Option<Restored>,
}

impl Earlier {
    /// Takes it out of the figures of the download.
    pub fn take(spec: &TransferSpec) -> Self {
        let mut detail = spec.live.detail();
        let path = detail.path.clone();
        Self {
            prior: path.map(|path| (path, detail.written.take().unwrap_or_default())),
            restored: detail.restored.take(),
        }
    }

    /// A download that another one leads to may be new to the session only because the process was
    /// killed before the session knew it: then it may have been finished at this path.
    pub fn look_for_orphan(&mut self, spec: &TransferSpec, path: &Path) {
        if !spec.follows || self.prior.is_some() {
            return;
        }
        let log = spec.finish_log.as_ref();
        let Some(finished) = log.and_then(|log| log.orphan(path)) else {
            return;
        };
        self.prior = Some((finished.path, RangeSet::new()));
        self.restored = Some(Restored {
            total: finished.total,
            same_boot: true,
            moved_to: finished.moved_to,
        });
    }

    /// Where its files are if it lived to move them: they are to stay there.
    pub fn follow_move(&mut self) -> Option<&Path> {
        let moved_to = self.restored.as_mut()?.moved_to.take()?;
        let (path, _) = self.prior.as_mut()?;
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        if is_there(path) || !is_there(&moved_to) {
            return None;
        }
        *path = moved_to;
        Some(path)
    }
}

/// The same content below another root.
pub fn below(place: ContentPlace, root: &Path) -> ContentPlace {
    let moved = |path: &Path| match path.strip_prefix(&place.root) {
        Ok(below) if below.as_os_str().is_empty() => root.to_owned(),
        Ok(below) => root.join(below),
        // `index-out` has put it elsewhere.
        Err(_) => path.to_owned(),
    };
    let paths = place.layout.files().iter().map(|file| moved(&file.path));
    let layout: Layout = place.layout.with_paths(paths.collect());
    ContentPlace {
        root: root.to_owned(),
        layout,
        ..place
    }
}
