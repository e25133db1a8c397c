//! Pure: what the store has not been told yet.

use std::collections::HashSet;

use super::Registry;
use crate::base::gid::Gid;
use crate::engine::download::Download;

/// What the store has to be told.
#[derive(Default)]
pub(in crate::engine) struct Changes {
    pub changed: Vec<Gid>,
    pub gone: Vec<Gid>,
    /// No longer shown; for the history.
    pub fallen: Vec<Download>,
    /// For the history and the session file.
    pub fallen_failures: Vec<Gid>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.gone.is_empty()
            && self.fallen.is_empty()
            && self.fallen_failures.is_empty()
    }
}

impl Registry {
    /// Changes a download and notes that the store has to hear of it.
    pub(in crate::engine) fn edit<R>(
        &mut self,
        gid: Gid,
        edit: impl FnOnce(&mut Download) -> R,
    ) -> Option<R> {
        let slot = *self.by_gid.get(&gid)?;
        let result = edit(self.slots[slot as usize].as_mut()?);
        self.touch(slot);
        Some(result)
    }

    /// Everything counts as changed; gives the GIDs of all that is kept.
    pub(in crate::engine) fn touch_all(&mut self) -> HashSet<Gid> {
        for slot in 0..self.slots.len() as u32 {
            self.touch(slot);
        }
        let dropped: Vec<Gid> = self.dropped_failures.keys().copied().collect();
        self.changed.extend(&dropped);
        self.by_gid.keys().copied().chain(dropped).collect()
    }

    /// What has changed since the last call.
    pub(in crate::engine) fn take_changes(&mut self) -> Changes {
        let changes = Changes {
            changed: std::mem::take(&mut self.changed),
            gone: std::mem::take(&mut self.gone),
            fallen: std::mem::take(&mut self.fallen),
            fallen_failures: std::mem::take(&mut self.fallen_failures),
        };
        for gid in &changes.changed {
            if let Some(slot) = self.by_gid.get(gid)
                && let Some(download) = &mut self.slots[*slot as usize]
            {
                download.changed = false;
            }
        }
        changes
    }

    pub(super) fn touch(&mut self, slot: u32) {
        if let Some(download) = &mut self.slots[slot as usize]
            && !download.changed
        {
            download.changed = true;
            self.changed.push(download.gid);
        }
    }
}
