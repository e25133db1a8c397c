//! Pure: what a torrent or a Metalink tells of a download before any byte of it is fetched.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::digest::{Checksum, ChecksumError, DigestKind};
use crate::base::units::PieceIdx;
use crate::format::metainfo::Metainfo;
use crate::format::metalink::{self, MetalinkFile};

/// Letters of a kind nobody knows that are shown.
const KIND_SHOWN: usize = 32;

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
    /// What a Metalink says of single files, in their order.
    pub proofs: Vec<FileProof>,
    /// Of each file that a Metalink has useless hashes of: which, in words.
    pub doubts: Vec<String>,
    /// Numbers from 1 of the files that a Metalink asks for; empty: the user says which (option
    /// `select-file`).
    pub chosen: Vec<RangeInclusive<u32>>,
    /// Where peers may be asked as well.
    pub torrent: Option<Arc<Metainfo>>,
}

/// What a finished file is held against, besides the pieces of the download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileProof {
    /// Index into the files of the content, from 0.
    pub file: usize,
    pub checksum: Option<Checksum>,
    /// Of its own pieces, which begin with the file.
    pub pieces: Option<PieceHashes>,
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

    /// Those of a Metalink; or why they are of no use.
    fn of_metalink(pieces: &metalink::Pieces, total: Option<u64>) -> Result<Self, String> {
        let kind = known_kind(&pieces.kind)?;
        if pieces.digest_len != kind.digest_len() {
            return Err(format!("a {kind} digest of a piece is malformed"));
        }
        let count = (pieces.digests.len() / pieces.digest_len) as u64;
        let expected = total.map_or(count, |total| total.div_ceil(pieces.piece_len));
        if expected != count {
            return Err(format!("{expected} pieces and {count} {kind} digests"));
        }
        Ok(Self {
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
            proofs: Vec::new(),
            doubts: Vec::new(),
            chosen: Vec::new(),
            torrent: Some(metainfo),
        }
    }

    /// The content of one file of a Metalink, or of several that are one download: these all say
    /// their length. Of several digests the strongest counts, as in aria2.
    pub fn of_metalink(entries: &[MetalinkFile]) -> Self {
        let mut lens = entries.iter().map(|entry| entry.size);
        let mut pieces = None;
        let mut doubts = Vec::new();
        let mut proofs = Vec::with_capacity(entries.len());
        for (file, entry) in entries.iter().enumerate() {
            let (proof, doubt) = proof_of(file, entry);
            proofs.push(proof);
            doubts.extend(doubt);
        }
        if let [only] = &mut proofs[..] {
            // The pieces of the file are those of the download.
            pieces = only.pieces.take();
        }
        proofs.retain(|proof| proof.checksum.is_some() || proof.pieces.is_some());
        let all: Vec<usize> = (0..entries.len()).collect();
        Self {
            name: entries
                .first()
                .map(|entry| entry.name.clone())
                .unwrap_or_default(),
            multi: entries.len() > 1,
            files: entries
                .iter()
                .map(|entry| ContentFile {
                    path: entry.name.clone(),
                    len: entry.size.unwrap_or(0),
                    padding: false,
                })
                .collect(),
            total: lens.try_fold(0, |sum: u64, len| Some(sum.saturating_add(len?))),
            pieces,
            proofs,
            doubts,
            chosen: ranges(&all),
            torrent: None,
        }
    }

    /// The digest of the only file.
    pub fn checksum(&self) -> Option<&Checksum> {
        match (&self.files[..], &self.proofs[..]) {
            ([_], [proof]) => proof.checksum.as_ref(),
            _ => None,
        }
    }

    /// The files that are wanted, by their numbers from 1; empty: all. `selected` is what the option
    /// `select-file` says; of a Metalink it has chosen the files already.
    pub fn wanted(&self, selected: Vec<RangeInclusive<u32>>) -> Vec<RangeInclusive<u32>> {
        match self.chosen.is_empty() {
            true => selected,
            false => self.chosen.clone(),
        }
    }

    /// These files of a Metalink as files of a torrent, with its peers and piece hashes; what the
    /// torrent holds besides is left out. `names` are their paths in the torrent, in their order;
    /// `None` for the only file of one. Gives the index each has in the torrent, too.
    ///
    /// # Errors
    /// Why that torrent cannot be used: what it would bring would not be these files.
    pub fn with_torrent(
        &self,
        metainfo: Arc<Metainfo>,
        names: &[Option<&str>],
    ) -> Result<(Self, Vec<usize>), Mismatch> {
        let mut joined = Self::of_torrent(metainfo);
        let mut free: HashMap<&str, usize> = HashMap::with_capacity(joined.files.len());
        let real = joined.files.iter().enumerate();
        let real = real.filter(|(_, file)| !file.padding);
        free.extend(real.map(|(place, file)| (file.path.as_str(), place)));
        let mut places = Vec::with_capacity(names.len());
        for (file, name) in self.files.iter().zip(names) {
            let path = match name {
                Some(name) => *name,
                None => joined.only_path(self, file)?,
            };
            let place = free.remove(path);
            let place = place.ok_or_else(|| Mismatch::NoFile(path.to_owned()))?;
            let found = joined.files[place].len;
            if let Some(stated) = self.total.map(|_| file.len).filter(|len| *len != found) {
                let path = path.to_owned();
                return Err(Mismatch::Length {
                    path,
                    found,
                    stated,
                });
            }
            places.push(place);
        }
        for (file, place) in self.files.iter().zip(&places) {
            joined.files[*place].path.clone_from(&file.path);
        }
        joined.refuse_twins()?;
        if let [_] = &joined.files[..] {
            joined.name.clone_from(&self.name);
        } else {
            joined.chosen = ranges(&places);
        }
        joined.proofs = self.proofs_at(&places);
        Ok((joined, places))
    }

    /// What is known of the files, at their places in a torrent.
    fn proofs_at(&self, places: &[usize]) -> Vec<FileProof> {
        let mut proofs: Vec<FileProof> = self
            .proofs
            .iter()
            .filter_map(|proof| {
                let file = *places.get(proof.file)?;
                Some(FileProof {
                    file,
                    ..proof.clone()
                })
            })
            .collect();
        if let (Some(pieces), [file]) = (&self.pieces, places) {
            let checksum = self.checksum().cloned();
            let pieces = Some(pieces.clone());
            proofs = vec![FileProof {
                file: *file,
                checksum,
                pieces,
            }];
        }
        proofs.sort_by_key(|proof| proof.file);
        proofs
    }

    /// The path of the only file, which `file` of `other` is as far as can be told.
    fn only_path(&self, other: &Self, file: &ContentFile) -> Result<&str, Mismatch> {
        let [only] = &self.files[..] else {
            return Err(Mismatch::Several);
        };
        let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
        // Without a length the name has to tell.
        match other.total.is_some() || last(&only.path) == last(&file.path) {
            true if !self.multi => Ok(&only.path),
            _ => Err(Mismatch::NoFile(file.path.clone())),
        }
    }

    /// A file under the name of another one, or of the directory another one is in.
    fn refuse_twins(&self) -> Result<(), Mismatch> {
        let real = || self.files.iter().filter(|file| !file.padding);
        let mut taken = HashSet::with_capacity(self.files.len());
        let twin = real().find(|file| !taken.insert(file.path.as_str()));
        let is_dir = |file: &&ContentFile| {
            let ends = file
                .path
                .match_indices('/')
                .map(|(end, _)| &file.path[..end]);
            ends.into_iter().any(|dir| taken.contains(dir))
        };
        match twin.or_else(|| real().find(is_dir)) {
            None => Ok(()),
            Some(twin) => Err(Mismatch::Twice(twin.path.clone())),
        }
    }
}

/// Indexes from 0 as numbers from 1, in order.
fn ranges(places: &[usize]) -> Vec<RangeInclusive<u32>> {
    let mut numbers: Vec<u32> = places
        .iter()
        .filter_map(|place| u32::try_from(place + 1).ok())
        .collect();
    numbers.sort_unstable();
    let neighbours = numbers.chunk_by(|one, next| one + 1 == *next);
    neighbours
        .filter_map(|run| Some(*run.first()?..=*run.last()?))
        .collect()
}

/// What a Metalink says of the bytes of a file, and of what of that is of no use.
fn proof_of(file: usize, entry: &MetalinkFile) -> (FileProof, Option<String>) {
    let mut useless = Vec::new();
    let checksums = entry.hashes.iter().map(|hash| {
        let kind = known_kind(&hash.kind)?;
        Checksum::from_hex(kind, &hash.hex).map_err(|error| error.to_string())
    });
    let checksum = strongest(checksums, |it| it.kind, &mut useless);
    let pieces = entry.pieces.iter();
    let pieces = pieces.map(|pieces| PieceHashes::of_metalink(pieces, entry.size));
    let pieces = strongest(pieces, |it| it.kind, &mut useless);
    let doubt = useless.first().map(|why| {
        let of = entry.hashes.len() + entry.pieces.len();
        let rest = match (&checksum, &pieces) {
            (None, None) => "nothing is left to check it by",
            _ => "others are left",
        };
        let (count, name) = (useless.len(), &entry.name);
        format!("{count} of {of} hashes of {name} in its Metalink are of no use ({why}); {rest}")
    });
    let proof = FileProof {
        file,
        checksum,
        pieces,
    };
    (proof, doubt)
}

fn known_kind(name: &str) -> Result<DigestKind, String> {
    let unknown = || {
        let start: String = name.chars().take(KIND_SHOWN).collect();
        ChecksumError::Kind(start).to_string()
    };
    DigestKind::from_name(name).ok_or_else(unknown)
}

/// The strongest of several digests, of equals the first, as in aria2. Why others are of no use is
/// added to `useless`.
fn strongest<T>(
    digests: impl Iterator<Item = Result<T, String>>,
    kind: impl Fn(&T) -> DigestKind,
    useless: &mut Vec<String>,
) -> Option<T> {
    let mut best: Option<T> = None;
    for digest in digests {
        match digest {
            Err(why) => useless.push(why),
            Ok(digest)
                if best
                    .as_ref()
                    .is_some_and(|best| kind(best) >= kind(&digest)) => {}
            Ok(digest) => best = Some(digest),
        }
    }
    best
}

/// Why a torrent is not about the files of a Metalink that names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// It has no such file, or the Metalink names it twice.
    NoFile(String),
    /// It has several files, and the Metalink does not say which of them is meant.
    Several,
    /// Bytes that a file has there, and that it has by the Metalink.
    Length {
        path: String,
        found: u64,
        stated: u64,
    },
    /// Two files would be this one.
    Twice(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(name) => write!(f, "it has no file {name}"),
            Self::Several => f.write_str("it has several files, none of which is named"),
            Self::Length {
                path,
                found,
                stated,
            } => {
                write!(f, "{path} has {found} bytes in it, not {stated}")
            }
            Self::Twice(path) => write!(f, "two files would be {path}"),
        }
    }
}
