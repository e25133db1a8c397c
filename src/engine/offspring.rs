//! Downloads that other downloads lead to: the torrent of a magnet link.

use std::sync::Arc;

use tracing::{info, warn};

use super::brief::Line;
use super::intake::{DownloadSpec, torrent};
use super::{Core, reception};
use crate::base::gid::Gid;
use crate::format::metainfo::Metainfo;
use crate::option::keys::{BT_METADATA_ONLY, BT_SAVE_METADATA, PAUSE_METADATA};
use crate::transfer::Job;

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
            let paused = options.get(PAUSE_METADATA);
            torrent::of_metadata(metainfo, magnet, line, options.clone(), paused)
        };
        self.bring_forth(parent, vec![spec]);
    }

    /// Puts downloads at the front of the queue that this one has led to.
    pub(super) fn bring_forth(&mut self, parent: Gid, specs: Vec<DownloadSpec>) -> Vec<Gid> {
        let gids = match self.add(specs, Some(0)) {
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
}
