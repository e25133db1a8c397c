//! Torrents and Metalinks that a download brings, and which are downloads themselves
//! (`follow-torrent`, `follow-metalink`).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::format::metainfo::Metainfo;
use crate::format::metalink::Metalink;
use crate::option::OptionSet;
use crate::option::keys::{FOLLOW_METALINK, FOLLOW_TORRENT};
use crate::option::value::Follow;
use crate::storage::Files;

use super::job::Job;

/// Bytes. A longer file is no torrent or Metalink anybody could use.
const LEN_MAX: u64 = 64 << 20;

const TORRENT_TYPES: [&str; 1] = ["application/x-bittorrent"];
/// Of version 4 and of version 3.
const METALINK_TYPES: [&str; 2] = ["application/metalink4+xml", "application/metalink+xml"];

/// A document that was fetched; a torrent with its bytes.
#[derive(Clone, Debug)]
pub enum Document {
    Torrent(Arc<Metainfo>, Bytes),
    Metalink(Metalink),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Torrent,
    Metalink,
}

/// Whether what a download brings is followed.
#[derive(Clone, Copy, Debug)]
pub struct FollowSettings {
    torrents: Follow,
    metalinks: Follow,
    /// It is a torrent, whatever its name.
    is_torrent_file: bool,
}

impl FollowSettings {
    /// Of a torrent or Metalink, no file is followed.
    pub fn new(options: &OptionSet, job: &Job, is_torrent_file: bool) -> Self {
        let (torrents, metalinks) = match job {
            Job::Uris => (options.get(FOLLOW_TORRENT), options.get(FOLLOW_METALINK)),
            Job::Known(_) | Job::Magnet(_) => (Follow::No, Follow::No),
        };
        Self {
            torrents,
            metalinks,
            is_torrent_file,
        }
    }

    /// What the file is, if it is to be followed, by its name or else by its `Content-Type`.
    fn kind(&self, path: &Path, content_type: Option<&str>) -> Option<(Kind, Follow)> {
        let kind = match self.is_torrent_file {
            true => Kind::Torrent,
            false => kind_of_name(path).or_else(|| kind_of_type(content_type?))?,
        };
        let follow = match kind {
            Kind::Torrent => self.torrents,
            Kind::Metalink => self.metalinks,
        };
        (follow != Follow::No).then_some((kind, follow))
    }

    /// Whether the file of `len` bytes is kept in memory alone.
    pub fn in_memory(&self, path: &Path, content_type: Option<&str>, len: Option<u64>) -> bool {
        let wanted = matches!(self.kind(path, content_type), Some((_, Follow::InMemory)));
        wanted && len.is_none_or(|len| len <= LEN_MAX)
    }
}

fn kind_of_name(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    if name.ends_with(".torrent") {
        return Some(Kind::Torrent);
    }
    let is_metalink = name.ends_with(".metalink") || name.ends_with(".meta4");
    is_metalink.then_some(Kind::Metalink)
}

fn kind_of_type(content_type: &str) -> Option<Kind> {
    let bare = content_type.split(';').next().unwrap_or_default().trim();
    let among = |types: &[&str]| types.iter().any(|known| bare.eq_ignore_ascii_case(known));
    match () {
        () if among(&TORRENT_TYPES) => Some(Kind::Torrent),
        () if among(&METALINK_TYPES) => Some(Kind::Metalink),
        () => None,
    }
}

/// A file without a name, gone when it is closed; it cannot grow beyond what a document may have.
///
/// # Errors
/// As memfd_create(2).
pub fn memory_file() -> std::io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("document", flags)?;
    ftruncate(&file, LEN_MAX)?;
    fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file)
}

/// A finished file that may be a document.
pub struct DocumentFile {
    pub gid: Gid,
    pub follow: FollowSettings,
    /// Where it is, or would be if it were not kept in memory.
    pub path: PathBuf,
    pub content_type: Option<String>,
    /// Where it came from, after redirects: what relative URIs in it are relative to.
    pub uri: String,
    /// `None`: an earlier process finished it.
    pub files: Option<Arc<Files>>,
    pub len: u64,
}

impl DocumentFile {
    pub fn is_document(&self) -> bool {
        let content_type = self.content_type.as_deref();
        self.follow.kind(&self.path, content_type).is_some()
    }

    /// Reads and parses it; `None`, with a word in the log, where it is none after all: the
    /// download is complete nevertheless, as in aria2. Blocking.
    pub fn read(&self) -> Option<Document> {
        let content_type = self.content_type.as_deref();
        let (kind, _) = self.follow.kind(&self.path, content_type)?;
        let gid = self.gid;
        let refuse = |why: &dyn std::fmt::Display| {
            warn!(%gid, "{} is not followed: {why}", self.path.display());
        };
        if self.len > LEN_MAX {
            refuse(&format_args!("{} bytes are too many", self.len));
            return None;
        }
        let bytes = self.bytes().map_err(|failure| refuse(&failure)).ok()?;
        let document = match kind {
            Kind::Torrent => {
                let name = self.path.file_name().unwrap_or_default();
                let nameless = format!("{}.file", name.to_string_lossy());
                Metainfo::parse(&bytes, &nameless)
                    .map(|metainfo| Document::Torrent(Arc::new(metainfo), bytes))
                    .map_err(|failure| refuse(&failure))
            }
            Kind::Metalink => Metalink::parse(&bytes, Some(&self.uri))
                .map(Document::Metalink)
                .map_err(|error| refuse(&error)),
        };
        document.ok()
    }

    fn bytes(&self) -> Result<Bytes, Failure> {
        let Some(files) = &self.files else {
            let read = std::fs::read(&self.path).map(Bytes::from);
            return read.map_err(|error| Failure::from_io(&error, ErrorCode::FileIo, "read"));
        };
        let mut bytes = vec![0; self.len as usize];
        files.read_at(0, &mut bytes)?;
        Ok(Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_known_by_name_and_type() {
        let settings = |torrents, metalinks| FollowSettings {
            torrents,
            metalinks,
            is_torrent_file: false,
        };
        let all = settings(Follow::Yes, Follow::InMemory);
        let kind = |name: &str, content_type: &str| {
            let kind = all.kind(Path::new(name), Some(content_type));
            kind.map(|(kind, _)| kind)
        };
        for (name, content_type, expected) in [
            ("/d/a.torrent", "", Some(Kind::Torrent)),
            ("/d/A.TORRENT", "text/plain", Some(Kind::Torrent)),
            ("/d/a.meta4", "", Some(Kind::Metalink)),
            ("/d/a.Metalink", "", Some(Kind::Metalink)),
            ("/d/a.meta4x", "text/plain", None),
            ("/d/a", "application/x-bittorrent", Some(Kind::Torrent)),
            (
                "/d/a",
                "Application/Metalink+XML; charset=x",
                Some(Kind::Metalink),
            ),
            ("/d/a", "application/metalink4+xml", Some(Kind::Metalink)),
            ("/d/a", "application/metalink4", None),
        ] {
            assert_eq!(kind(name, content_type), expected, "{name} {content_type}");
        }
        let path = Path::new("a.meta4");
        assert!(all.in_memory(path, None, Some(LEN_MAX)));
        assert!(!all.in_memory(path, None, Some(LEN_MAX + 1)));
        assert!(!all.in_memory(Path::new("a.torrent"), None, None));
        assert!(settings(Follow::Yes, Follow::No).kind(path, None).is_none());
    }
}
