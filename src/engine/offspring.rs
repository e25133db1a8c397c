//! Downloads that other downloads lead to: the torrent of a magnet link, the files of a torrent or
//! Metalink that was fetched by its URI.

use std::sync::Arc;

use tracing::{info, warn};

use super::brief::Line;
use super::intake::metalink::Fetched;
use super::intake::{DownloadSpec, metalink, torrent};
use super::state::{DownloadState, Then};
use super::{Core, Download, reception};
use crate::base::gid::Gid;
use crate::format::metainfo::Metainfo;
use crate::option::keys::{BT_METADATA_ONLY, BT_SAVE_METADATA, PAUSE_METADATA};
use crate::transfer::{Document, Job};

impl Core {
    /// The metadata of a magnet link has come; the transfer that fetched it ends next.
    pub(super) fn on_metadata(&mut self, gid: Gid, metainfo: Arc<Metainfo>) {
        let options = {
            let registry = self.registry.lock();
            registry.get(gid).map(|download| download.options().clone())
        };
        if let Some(options) = options.filter(|options| options.get(BT_SAVE_METADATA)) {
            let metainfo = Arc::clone(&metainfo);
            tokio::task::spawn_blocking(move || reception::save_metadata(&metainfo, &options));
        }
        if let Some(run) = self.running.get_mut(&gid) {
            run.metadata = Some(metainfo);
        }
    }

    /// Whether somebody has removed it, just before its transfer came to its end.
    pub(super) fn is_being_removed(&self, gid: Gid) -> bool {
        let registry = self.registry.lock();
        let state = registry.get(gid).map(Download::state);
        state == Some(&DownloadState::Stopping(Then::Remove))
    }

    /// A magnet link has served its purpose: its torrent is next in the queue.
    pub(super) fn follow_magnet(&mut self, parent: Gid, metainfo: Arc<Metainfo>) {
        let spec = {
            let registry = self.registry.lock();
            let Some(download) = registry.get(parent) else {
                return;
            };
            let options = download.options();
            if options.get(BT_METADATA_ONLY) {
                return;
            }
            let Some(Job::Magnet(magnet)) = download.brief().map(|brief| &brief.job) else {
                return;
            };
            let line = download.brief().and_then(|brief| brief.line.clone());
            let line = line.map(|line| Line {
                gid: Some(line.gid.unwrap_or(parent)),
                ..line
            });
            let paused = begins_paused(download);
            torrent::of_metadata(metainfo, magnet, line, options.clone(), paused)
        };
        self.bring_forth(parent, vec![spec]);
    }

    /// A torrent or Metalink has been fetched: its files are next in the queue, or, if it was
    /// fetched for another download, that one gets its peers.
    pub(super) fn follow_document(&mut self, parent: Gid, document: Document) {
        let (whole, uri, options, paused) = {
            let registry = self.registry.lock();
            let Some(download) = registry.get(parent) else {
                return;
            };
            let (uri, paused) = (download.uris().first().cloned(), begins_paused(download));
            (
                download.belongs_to(),
                uri,
                download.options().clone(),
                paused,
            )
        };
        if let Some(whole) = whole {
            return match document {
                Document::Torrent(metainfo, bytes) => self.join(whole, (metainfo, bytes)),
                Document::Metalink(_) => {}
            };
        }
        let line = uri.map(|text| Line {
            text,
            gid: Some(parent),
        });
        let specs = match document {
            Document::Torrent(metainfo, bytes) => {
                vec![torrent::of_fetched(metainfo, bytes, line, options, paused)]
            }
            Document::Metalink(read) => metalink::of_document(&read, &options, paused, line),
        };
        self.bring_forth(parent, specs);
    }

    /// The torrent of files of a Metalink has come, before they are begun.
    fn join(&mut self, gid: Gid, torrent: Fetched) {
        let mut registry = self.registry.lock();
        let Some(download) = registry.get(gid) else {
            return;
        };
        let Some(brief) = download
            .brief()
            .filter(|brief| brief.awaited_torrent().is_some())
        else {
            return;
        };
        match metalink::joined(&download.uris, brief, torrent) {
            Ok(joined) => {
                registry.edit(gid, |download| download.become_of(joined));
            }
            Err(why) => warn!(%gid, "the torrent for GID#{gid} is not used: {why}"),
        }
    }

    /// Files of Metalinks whose torrents have not come, and which nobody fetches: a session file
    /// does not name those downloads.
    pub(super) fn seek_torrents(&mut self) {
        let lonely: Vec<_> = {
            let registry = self.registry.lock();
            let lonely = registry.waiting().filter_map(|download| {
                let awaits = download.rare.as_ref().and_then(|rare| rare.awaits);
                let uri = download
                    .brief()?
                    .awaited_torrent()
                    .filter(|_| awaits.is_none())?;
                let paused = *download.state() == DownloadState::Paused;
                let options = download.options();
                let spec = metalink::torrent_spec(Arc::clone(uri), options, paused);
                Some((download.gid(), spec))
            });
            lonely.collect()
        };
        for (gid, spec) in lonely {
            if let Ok([part]) = self.add(vec![spec], Some(0)).as_deref() {
                self.registry.lock().let_wait(gid, *part);
            }
        }
    }

    /// Puts downloads at the front of the queue that this one has led to. Those it led to before
    /// the process was killed, and could not tell of its own end any more, are they.
    pub(super) fn bring_forth(&mut self, parent: Gid, specs: Vec<DownloadSpec>) -> Vec<Gid> {
        let there = self.offspring_of(parent);
        let gids = match there.is_empty() {
            true => self.add(specs, Some(0)),
            false => Ok(there),
        };
        let gids = match gids {
            Ok(gids) => gids,
            Err(error) => {
                warn!(gid = %parent, %error, "what Download GID#{parent} leads to is not added");
                return Vec::new();
            }
        };
        let mut registry = self.registry.lock();
        for gid in &gids {
            info!(%gid, "Download GID#{gid} follows GID#{parent}");
            registry.edit(*gid, |child| {
                child.rare.get_or_insert_default().following = Some(parent);
            });
        }
        registry.edit(parent, |download| {
            let rare = download.rare.get_or_insert_default();
            rare.followed_by.extend(&gids);
        });
        gids
    }

    fn offspring_of(&self, parent: Gid) -> Vec<Gid> {
        let registry = self.registry.lock();
        let all = registry.active().chain(registry.waiting());
        let ours = all
            .chain(registry.stopped())
            .filter(|download| download.following() == Some(parent));
        ours.map(|download| download.gid).collect()
    }
}

/// Whether what a download leads to is paused: as its options say, or because its user has paused
/// it just before its transfer came to its end.
fn begins_paused(parent: &Download) -> bool {
    parent.options().get(PAUSE_METADATA) || *parent.state() == DownloadState::Stopping(Then::Pause)
}
