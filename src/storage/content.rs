//! Pure: what a torrent or a Metalink tells of a download before any byte of it is fetched.

use std::sync::Arc;

use super::digest::{Checksum, DigestKind};
use crate::base::units::PieceIdx;
use crate::format::metainfo::Metainfo;
use crate::format::metalink::{self, MetalinkFile};

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

    /// Those of a Metalink; `None` if their kind is not known or they are not one for each piece.
    fn of_metalink(pieces: &metalink::Pieces, total: Option<u64>) -> Option<Self> {
        let kind = DigestKind::from_name(&pieces.kind)?;
        let count = pieces.digests.len() / pieces.digest_len.max(1);
        let expected = total.map(|total| total.div_ceil(pieces.piece_len));
        let fits = pieces.digest_len == kind.digest_len()
            && expected.is_none_or(|expected| expected == count as u64);
        fits.then(|| Self {
            kind,
            piece_len: pieces.piece_len,
            digests: pieces.digests.as_slice().into(),
        })
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

    /// The content of one file of a Metalink; of several digests the strongest counts, as in
    /// aria2.
    pub fn of_metalink(file: &MetalinkFile) -> Self {
        let checksum = |hash: &metalink::FileHash| {
            let kind = DigestKind::from_name(&hash.kind)?;
            Checksum::from_hex(kind, &hash.hex).ok()
        };
        let pieces = |pieces| PieceHashes::of_metalink(pieces, file.size);
        Self {
            name: file.name.clone(),
            multi: false,
            files: vec![ContentFile {
                path: file.name.clone(),
                len: file.size.unwrap_or(0),
                padding: false,
            }],
            total: file.size,
            pieces: file
                .pieces
                .iter()
                .filter_map(pieces)
                .max_by_key(|it| it.kind),
            checksum: file
                .hashes
                .iter()
                .filter_map(checksum)
                .max_by_key(|it| it.kind),
            torrent: None,
        }
    }

    /// This file, with the peers and piece hashes of a torrent that has the same file alone;
    /// `None` if that torrent is about something else.
    pub fn with_torrent(&self, metainfo: Arc<Metainfo>) -> Option<Self> {
        let info = &metainfo.info;
        let [only] = info.files.as_slice() else {
            return None;
        };
        let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let same_len = self.total.is_none_or(|total| total == only.len);
        let same_name = name(&only.path) == name(&self.name);
        if info.multi || !same_len || !(same_name || self.total.is_some()) {
            return None;
        }
        let mut files = self.files.clone();
        files.first_mut()?.len = only.len;
        Some(Self {
            files,
            checksum: self.checksum.clone(),
            name: self.name.clone(),
            ..Self::of_torrent(metainfo)
        })
    }
}
