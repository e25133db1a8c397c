//! Pure: downloads that wait for something else than a slot: for the torrent of a Metalink's file,
//! or for what may come back, as space on the disk.

use super::Registry;
use crate::base::error::Failure;
use crate::base::gid::Gid;
use crate::engine::download::Download;
use crate::engine::intake::metalink;
use crate::engine::state::{DownloadState, ListKind};

impl Registry {
    /// Has a download wait until another one, which belongs to it, has stopped.
    pub(in crate::engine) fn let_wait(&mut self, gid: Gid, part: Gid) {
        self.edit(part, |download| {
            download.rare.get_or_insert_default().belongs_to = Some(gid);
        });
        self.set_awaited(gid, Some(part));
    }

    /// After a restart: files of Metalinks that wait for their torrents do so again.
    pub(in crate::engine) fn wait_again(&mut self) {
        let parts: Vec<(Gid, Gid)> = self
            .by_gid
            .keys()
            .filter_map(|gid| Some((self.get(*gid)?.belongs_to()?, *gid)))
            .collect();
        for (whole, part) in parts {
            let state_of = |gid| self.get(gid).map(|download| &download.state);
            let is_queued = |gid| state_of(gid).is_some_and(|it| it.list() == ListKind::Queue);
            if is_queued(whole) && is_queued(part) {
                self.set_awaited(whole, Some(part));
            }
        }
    }

    /// What a download waits for, if somebody has to have that go on.
    pub(in crate::engine) fn paused_part(&self, gid: Gid) -> Option<Gid> {
        let part = self.get(gid)?.rare.as_ref()?.awaits?;
        let is_paused = self.get(part)?.state == DownloadState::Paused;
        is_paused.then_some(part)
    }

    /// What it waited for has come, or never will.
    pub(super) fn end_wait(&mut self, gid: Gid) {
        self.edit(gid, |download| {
            let brief = download.brief();
            let brief = brief.filter(|brief| brief.awaited_torrent().is_some());
            let left = brief.map(|brief| metalink::without_torrent(&download.uris, brief));
            left.into_iter().for_each(|left| download.become_of(left));
        });
        self.set_awaited(gid, None);
    }

    fn set_awaited(&mut self, gid: Gid, part: Option<Gid>) {
        let changed = self.edit(gid, |download| {
            download.rare.get_or_insert_default().awaits = part;
            (download.may_start(), download.state.list())
        });
        if let Some((ready, ListKind::Queue)) = changed
            && let Some(slot) = self.by_gid.get(&gid)
        {
            self.queue.set_ready(*slot, ready);
        }
    }

    /// Notes why a download that was just paused goes on by itself.
    pub(in crate::engine) fn hold(&mut self, gid: Gid, why: Failure) {
        self.edit(gid, |download| download.set_held(Some(why)));
        self.held.insert(gid);
    }

    /// A held download becomes one that a user paused; false if it was not held.
    pub(in crate::engine) fn pause_held(&mut self, gid: Gid) -> bool {
        let was_held = self.held.remove(&gid);
        if was_held {
            self.edit(gid, |download| download.set_held(None));
        }
        was_held
    }

    /// Downloads that wait for something that may come back.
    pub(in crate::engine) fn held(&self) -> impl Iterator<Item = &Download> {
        self.held.iter().filter_map(|gid| self.get(*gid))
    }
}
