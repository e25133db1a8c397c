//! Pure: Metalink documents of version 4 (RFC 5854) and 3, read as aria2 reads them.
//!
//! The document is read once, front to back. Depth, counts and lengths are bounded, and an entity
//! that XML itself does not define makes the document unreadable, so that nothing can grow.

mod names;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;

use base64::Engine as _;

use crate::base::error::{ErrorCode, Failure};

/// A mirror without priority comes after all others (RFC 5854 section 4.2.16.4).
pub const PRIORITY_LAST: u32 = 999_999;

/// A URI that begins so is the torrent itself.
const INLINE: &str = "data:application/x-bittorrent;base64,";

/// A document.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metalink {
    /// In the order of the document.
    pub files: Vec<MetalinkFile>,
}

/// One file, and where it can be had.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetalinkFile {
    /// Safe below the download directory: relative, `/` between segments, none of them empty,
    /// `.` or `..`, no control characters.
    pub name: String,
    /// Bytes.
    pub size: Option<u64>,
    /// Of the whole file.
    pub hashes: Vec<FileHash>,
    pub pieces: Vec<Pieces>,
    /// As they stand in the document, schemes nobody knows included.
    pub resources: Vec<Resource>,
    /// Torrents that hold the file, the best first.
    pub torrents: Vec<MetaUrl>,
    /// Empty: for everybody.
    pub languages: Vec<String>,
    /// Empty: for every system.
    pub systems: Vec<String>,
    pub version: Option<String>,
    /// More connections than this are not wanted (version 3).
    pub connections_max: Option<u32>,
}

/// A digest of a whole file; its kind may be one that nobody knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileHash {
    /// As written, such as `sha-256`; `sha256` in version 3.
    pub kind: String,
    pub hex: String,
}

/// The digests of all pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pieces {
    /// As in [`FileHash`].
    pub kind: String,
    /// Bytes of every piece but the last one; not 0.
    pub piece_len: u64,
    /// Bytes of every digest; 0 where they were malformed, and are left out.
    pub digest_len: usize,
    /// One after the other.
    pub digests: Vec<u8>,
}

/// A torrent that holds a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaUrl {
    /// As in [`Resource`].
    pub uri: String,
    /// As in [`Resource`].
    pub priority: u32,
    /// Path of the file in the torrent, which begins with the torrent's name where that has several
    /// files; safe as [`MetalinkFile::name`] is. `None`: the torrent is of this file alone.
    pub name: Option<String>,
}

/// A place where a file can be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// Absolute, unless there was nothing it could be relative to.
    pub uri: String,
    /// From 1, the best, to [`PRIORITY_LAST`].
    pub priority: u32,
    /// ISO 3166-1 code of two letters.
    pub location: Option<String>,
    /// `http`, `https`, `ftp`...: lower case.
    pub protocol: String,
}

/// Why a document is refused. [`fmt::Display`] gives aria2's text, which clients see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetalinkError {
    /// It is no well-formed XML.
    NotXml,
    /// It is more than we read; a clause that says why.
    Beyond(&'static str),
    /// What it breaks of RFC 5854.
    Violations(Vec<String>),
}

impl Metalink {
    /// Reads a document; relative URIs in it are relative to `base`.
    ///
    /// # Errors
    /// See [`MetalinkError`]. A document without any file of ours is none.
    pub fn parse(document: &[u8], base: Option<&str>) -> Result<Self, MetalinkError> {
        let text = reader::decode(document)?;
        reader::read(&text, base)
    }

    /// A document that says of the files where they are had (mirrors and torrents) and what proves
    /// them, but not whom they are for. `torrent` is put into it, besides those that are named.
    pub fn document(files: &[MetalinkFile], torrent: Option<&[u8]>) -> String {
        writer::write(files, torrent)
    }
}

impl MetalinkFile {
    /// The torrent itself, where the document holds it.
    pub fn inline_torrent(&self) -> Option<Vec<u8>> {
        self.torrents.iter().find_map(MetaUrl::inline)
    }

    /// Lets the bytes of such a torrent go, and all torrents but the best. What the file is called in it
    /// stays known.
    pub fn forget_inline(&mut self) {
        if self.torrents.iter().any(|torrent| !torrent.is_inline()) {
            self.torrents.retain(|torrent| !torrent.is_inline());
        }
        self.torrents.truncate(1);
        let held = self
            .torrents
            .iter_mut()
            .filter(|torrent| torrent.is_inline());
        held.for_each(|torrent| torrent.uri = INLINE.to_owned());
    }
}

impl MetaUrl {
    /// Whether it needs not be fetched.
    pub fn is_inline(&self) -> bool {
        self.uri.starts_with(INLINE)
    }

    /// Its bytes, where the URI holds them (RFC 2397).
    fn inline(&self) -> Option<Vec<u8>> {
        let text = self
            .uri
            .strip_prefix(INLINE)
            .filter(|text| !text.is_empty())?;
        base64::engine::general_purpose::STANDARD.decode(text).ok()
    }
}

impl fmt::Display for MetalinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotXml => f.write_str("Could not parse Metalink XML document."),
            Self::Beyond(why) => write!(f, "Could not parse Metalink XML document: {why}."),
            Self::Violations(list) => {
                f.write_str("Specification violation: ")?;
                list.iter().try_for_each(|text| write!(f, "{text}, "))
            }
        }
    }
}

impl std::error::Error for MetalinkError {}

impl From<MetalinkError> for Failure {
    fn from(error: MetalinkError) -> Self {
        Self::fatal(ErrorCode::MetalinkParse, error.to_string())
    }
}
