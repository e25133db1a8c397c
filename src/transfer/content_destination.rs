//! Where a download is written whose files are known before it begins. Blocking.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::base::error::{ErrorCode, Failure};
use crate::base::range_set::RangeSet;
use crate::format::control_file::ControlFile;
use crate::option::bt_settings::BtSettings;
use crate::storage::{Content, Files, Layout, OpenMode, make_parent, progress};

use super::claims::PathClaims;
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

    fn info_hash(&self) -> Option<[u8; 20]> {
        let torrent = self.content.torrent.as_ref()?;
        Some(torrent.info.hash.0)
    }
}

impl Destination {
    /// As [`Destination::prepare`], for content that is known.
    ///
    /// # Errors
    /// As there.
    pub(super) fn prepare_content(
        &self,
        place: &ContentPlace,
        claims: &PathClaims,
        told: &Told<'_>,
        stop: &AtomicBool,
    ) -> Result<Opened, Failure> {
        if !claims.claim(&place.root, self.gid) {
            let text = format!(
                "{} is being written by another download",
                place.root.display()
            );
            return Err(Failure::fatal(ErrorCode::FileExists, text));
        }
        let total = place.content.total.unwrap_or(0);
        let piece_len = place.piece_len(self.settings.piece_len);
        let control = progress::load(&place.root)?;
        let known = control
            .filter(|control| control.total == total && u64::from(control.piece_len) == piece_len);
        let mut written = known
            .as_ref()
            .map_or_else(RangeSet::new, ControlFile::to_ranges);
        let uploaded = known.as_ref().map_or(0, |control| control.uploaded);
        let mode = match known {
            Some(_) => OpenMode::Existing,
            None => OpenMode::Fresh,
        };
        let control = u32::try_from(piece_len)
            .ok()
            .and_then(|len| ControlFile::from_ranges(&written, total, len));
        if let Some(mut control) = control {
            control.info_hash = place.info_hash();
            control.uploaded = uploaded;
            make_parent(&place.root)?;
            progress::save(&place.root, &control)?;
        }
        let files = Files::open(place.layout.clone(), &self.disk, mode)?;
        (told.phase)(Phase::Allocating);
        files.allocate(told.allocated, stop)?;
        for hole in files.holes(&written)?.iter() {
            written.remove(hole);
        }
        Ok(Opened {
            files: Arc::new(files),
            path: place.root.clone(),
            prepared: Prepared {
                total: Some(total),
                piece_len,
                written,
            },
            special: false,
            uploaded,
            checked: false,
        })
    }
}
