//! Pure: what a torrent or a Metalink tells of a download before any byte of it is fetched.

use std::sync::Arc;

use super::digest::{Checksum, DigestKind};
use crate::base::units::PieceIdx;
use crate::format::metainfo::Metainfo;

/// The files of a download and what proves them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// Name of the only file or of the directory; safe below the download directory.
    pub name: String,
    /// Whether `name` is a directory.
    pub multi: bool,
    /// At least one, in the order of the torrent, padding included.
    pub files: Vec<ContentFile>,
    /// Bytes of all files; `None` where a Metalink does not say.
    pub total: Option<u64>,
    pub pieces: Option<PieceHashes>,
    /// Of the whole file (Metalink).
    pub checksum: Option<Checksum>,
    /// Where peers may be asked as well.
    pub torrent: Option<Arc<Metainfo>>,
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentFile {
    /// Below the download directory, `/` between segments; safe to join.
    pub path: String,
    /// Bytes; 0 while unknown.
    pub len: u64,
    /// Filler that is never stored (BEP 47).
    pub padding: bool,
}

/// The digests of all pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceHashes {
    pub kind: DigestKind,
    /// Bytes of every piece but the last one; never 0.
    pub piece_len: u64,
    /// One after the other, each of [`DigestKind::digest_len`] bytes.
    pub digests: Box<[u8]>,
}

impl PieceHashes {
    /// The digest of a piece, if there is such a piece.
    pub fn of(&self, piece: PieceIdx) -> Option<&[u8]> {
        let len = self.kind.digest_len();
        let start = (piece.0 as usize).checked_mul(len)?;
        self.digests.get(start..start.checked_add(len)?)
    }

    pub fn count(&self) -> usize {
        self.digests.len() / self.kind.digest_len()
    }
}

impl Content {
    /// The content of a torrent, with its peers.
    pub fn of_torrent(metainfo: Arc<Metainfo>) -> Self {
        let info = &metainfo.info;
        let files = info.files.iter().map(|file| ContentFile {
            path: file.path.clone(),
            len: file.len,
            padding: file.padding,
        });
        Self {
            name: info.name.clone(),
            multi: info.multi,
            files: files.collect(),
            total: Some(info.total),
            pieces: Some(PieceHashes {
                kind: DigestKind::Sha1,
                piece_len: u64::from(info.piece_len),
                digests: info.piece_hashes.as_flattened().into(),
            }),
            checksum: None,
            torrent: Some(metainfo),
        }
    }
}
