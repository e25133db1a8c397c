//! Pure: the mirrors of a download, and how `changeUri` changes them.

use std::sync::Arc;

use super::Download;
use crate::engine::intake::metalink;
use crate::transfer::{UriEntry, WebSeed};

impl Download {
    /// The URIs the user gave, without marks of use.
    pub fn uris(&self) -> &[Arc<str>] {
        &self.uris
    }

    /// The URIs as `getUris` shows them, used ones first.
    pub fn uri_entries(&self) -> Vec<UriEntry> {
        if let Some(live) = &self.live {
            let detail = live.detail();
            if !detail.uris.is_empty() {
                return detail.uris.clone();
            }
        }
        let unused = |uri: &Arc<str>| UriEntry {
            uri: Arc::clone(uri),
            used: false,
        };
        self.uris.iter().map(unused).collect()
    }

    /// The URIs that sources are working on.
    pub(super) fn used_uris(&self) -> Vec<Arc<str>> {
        let Some(live) = &self.live else {
            return Vec::new();
        };
        let detail = live.detail();
        let used = detail.uris.iter().filter(|entry| entry.used);
        used.map(|entry| Arc::clone(&entry.uri)).collect()
    }

    /// Other mirrors, and other knowledge of what they have.
    pub(in crate::engine) fn become_of(&mut self, (uris, brief): metalink::Kept) {
        self.uris = uris;
        self.brief = Some(Box::new(brief));
    }

    /// As [`Self::change_uris`], of file `file` (from 0) of several.
    pub(in crate::engine) fn change_seeds(
        &mut self,
        file: usize,
        remove: &[Arc<str>],
        add: &[Arc<str>],
        at: Option<usize>,
    ) -> (u64, u64) {
        let Some(brief) = &mut self.brief else {
            return (0, 0);
        };
        brief.edited = true;
        let start = brief.web_seeds.partition_point(|seed| seed.file < file);
        let end = brief.web_seeds.partition_point(|seed| seed.file <= file);
        let old = brief.web_seeds[start..end].iter();
        let mut uris: Vec<Arc<str>> = old.map(|seed| Arc::clone(&seed.uri)).collect();
        let counts = change_list(&mut uris, remove, add, at);
        let seeds = uris.into_iter().map(|uri| WebSeed { file, uri });
        brief.web_seeds.splice(start..end, seeds);
        counts
    }

    /// Takes one instance of each of `remove` out and puts `add` in at place `at` (the end, if
    /// `None`). Gives the numbers of URIs removed and added.
    pub(in crate::engine) fn change_uris(
        &mut self,
        remove: &[Arc<str>],
        add: &[Arc<str>],
        at: Option<usize>,
    ) -> (u64, u64) {
        let mut uris = std::mem::take(&mut self.uris).into_vec();
        let counts = change_list(&mut uris, remove, add, at);
        self.uris = uris.into();
        if !self.is_active()
            && let Some(live) = &self.live
        {
            // The next start makes the marks anew; until then what was used is forgotten.
            live.detail().uris.clear();
        }
        counts
    }
}

/// Gives the numbers of URIs removed and added.
fn change_list(
    uris: &mut Vec<Arc<str>>,
    remove: &[Arc<str>],
    add: &[Arc<str>],
    at: Option<usize>,
) -> (u64, u64) {
    let mut removed = 0;
    for gone in remove {
        if let Some(place) = uris.iter().position(|uri| uri == gone) {
            uris.remove(place);
            removed += 1;
        }
    }
    let at = at.unwrap_or(usize::MAX).min(uris.len());
    uris.splice(at..at, add.iter().cloned());
    (removed, add.len() as u64)
}
