//! What the store is told, and when.

use super::{Core, session};
use crate::base::gid::Gid;
use crate::store::Group;

impl Core {
    /// What one turn of the engine changed is kept together.
    pub(super) fn save_changed(&mut self) {
        let mut registry = self.registry.lock();
        let changes = registry.take_changes();
        if changes.is_empty() {
            return;
        }
        self.unsaved = true;
        let Some(store) = &self.store else {
            return;
        };
        let mut group = Group::default();
        for gid in changes.gone {
            if !registry.is_kept(gid) {
                group.remove(gid);
            }
        }
        for download in changes.fallen {
            // Without a history it is gone.
            if self.settings.history_len() == 0 {
                group.remove(download.gid());
                continue;
            }
            let saved = session::Saved::of(&download);
            group.archive(download.gid(), Box::new(move || saved.into_record()), false);
        }
        for gid in changes.changed {
            if self.syncer.is_busy_with(gid) {
                // Told when its files are on the disk.
                continue;
            }
            if let Some(download) = registry.kept(gid) {
                let saved = session::Saved::of(download);
                group.put(gid, Box::new(move || saved.into_record()));
            }
        }
        for gid in changes.fallen_failures {
            if let Some(download) = registry.kept(gid) {
                let saved = session::Saved::of(download);
                group.archive(gid, Box::new(move || saved.into_record()), true);
            }
        }
        store.change(group);
    }

    /// The store says complete only when the files would survive a loss of power.
    pub(super) fn sync_files(&mut self, gid: Gid) {
        if self.store.is_none() {
            return;
        }
        let registry = self.registry.lock();
        if let Some(download) = registry.get(gid)
            && download.status() == "complete"
        {
            let files = download.files().into_iter().map(|file| file.path.into());
            self.syncer.sync(gid, files.collect());
        }
    }

    pub(super) fn on_synced(&mut self, gid: Gid) {
        self.registry.lock().edit(gid, |_| ());
    }
}
