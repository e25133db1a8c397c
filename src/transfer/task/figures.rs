//! What RPC reads of a transfer, brought up to date.

use super::Task;

impl Task {
    /// Pieces that came to be had, or not: shown, and told to everybody who has to know.
    pub(super) fn note_changed(&mut self) {
        if self.settings.dry_run {
            return;
        }
        let map = self.plan.map_mut();
        let changed = map.take_changed();
        let have = map.have();
        // Until the file is open the pieces of the run before stand.
        if have.is_empty() && self.target.is_none() {
            return;
        }
        if !changed.is_empty() || self.live.detail().bitfield.len() != have.len() {
            let mut detail = self.live.detail();
            if detail.bitfield.len() == have.len() {
                for piece in &changed {
                    detail.bitfield.set(piece.0, have.get(piece.0));
                }
            } else {
                detail.bitfield = have.clone();
            }
        }
        if let Some(torrent) = self.torrent.as_mut().filter(|_| !changed.is_empty()) {
            torrent.handle_changed(&changed, have);
        }
    }

    /// Brings what RPC reads up to date.
    pub(super) fn publish(&mut self) {
        if self.settings.dry_run {
            return;
        }
        let map = self.plan.map();
        let partial = self.torrent.as_ref().map_or(0, |torrent| torrent.partial());
        let written = map.wanted_written();
        // Until the file is open the figure of the run before stands.
        let known = self.target.is_some() || map.is_complete();
        let mut completed = written;
        if let Some(total) = map.wanted_len() {
            self.live.set_total(total);
            completed = (written + partial).min(total);
        }
        if known {
            self.live.set_completed(completed);
        }
        let peers = self.torrent.as_mut().map_or(0, |torrent| torrent.publish());
        self.live.set_connections(self.mirrors.len() as u32 + peers);
        if std::mem::take(&mut self.mirrors.changed) {
            self.publish_sources();
        }
    }

    fn publish_sources(&self) {
        let uris = self.plan.pool().entries();
        let servers = self.mirrors.entries();
        let mut detail = self.live.detail();
        detail.uris = uris;
        detail.servers = servers;
    }
}
