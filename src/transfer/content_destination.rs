//! Where a download is written whose files are known before it begins. Blocking.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::base::error::Failure;
use crate::option::bt_settings::BtSettings;
use crate::storage::{Content, Layout};

use super::claims::PathClaims;
use super::content_prepare::{ContentOrder, ContentTold};
use super::destination::{Destination, Opened, Told};
use super::handle::Phase;
use super::plan::Prepared;

/// Files that a torrent or a Metalink names.
pub struct ContentPlace {
    pub content: Arc<Content>,
    pub layout: Layout,
    /// Beside which the control file is: [`root_of`](crate::storage::root_of).
    pub root: PathBuf,
    pub bt: BtSettings,
}

impl ContentPlace {
    /// Length of the pieces; `default` where they have no hashes.
    pub fn piece_len(&self, default: u64) -> u64 {
        let pieces = self.content.pieces.as_ref();
        pieces.map_or(default, |pieces| pieces.piece_len)
    }
}

impl Destination {
    /// As [`Destination::prepare`], for content that is known.
    ///
    /// # Errors
    /// As [`ContentOrder::prepare`].
    pub(super) fn prepare_content(
        &self,
        place: &ContentPlace,
        claims: &PathClaims,
        told: &Told<'_>,
        stop: &AtomicBool,
    ) -> Result<Opened, Failure> {
        let prior = self.prior.as_ref().map(|(path, _)| path.as_path());
        let is_mine = |prior: &Path| {
            let mut files = place.layout.files().iter();
            prior == place.root || files.any(|file| file.path == prior)
        };
        let mine = prior.is_some_and(is_mine);
        let order = ContentOrder {
            gid: self.gid,
            settings: &self.settings,
            disk: &self.disk,
            bt: &place.bt,
            content: &place.content,
            layout: &place.layout,
            root: &place.root,
            mine,
            restored: self.restored.is_some(),
            same_boot: self
                .restored
                .as_ref()
                .is_some_and(|restored| restored.same_boot),
        };
        let steps = ContentTold {
            checking: &|| (told.phase)(Phase::Checking),
            allocating: &|| (told.phase)(Phase::Allocating),
            verified: told.verified,
            allocated: told.allocated,
        };
        let ready = order.prepare(claims, &steps, stop)?;
        Ok(Opened {
            files: Arc::new(ready.files),
            path: ready.root,
            prepared: Prepared {
                total: place.content.total,
                piece_len: ready.piece_len,
                written: ready.written,
            },
            special: false,
            uploaded: ready.uploaded,
            checked: ready.found_whole,
        })
    }
}
