//! Pure: what a download that is more than mirrors of one file brings along.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::request::{Again, Source};
use crate::base::gid::Gid;
use crate::format::info_hash::InfoHash;
use crate::format::metainfo::Metainfo;
use crate::format::metalink::{Metalink, MetalinkFile};
use crate::storage::Content;
use crate::store;
use crate::transfer::{Job, WebSeed};

const METADATA_PIECE_LEN: u64 = 16 * 1024;

/// What is to be fetched, and how a later process learns of it.
#[derive(Clone, Debug, Default)]
pub struct Brief {
    pub job: Job,
    /// Mirrors of the files of a download of several; those of a single file are its URIs.
    pub web_seeds: Vec<WebSeed>,
    /// What a session file says; `None`: it cannot say anything.
    pub line: Option<Line>,
    /// The file it was made from, which the store keeps.
    pub payload: Option<Payload>,
    /// Web seeds that are not in the torrent, as they were given.
    pub extra: Vec<String>,
    /// Somebody has changed the mirrors.
    pub edited: bool,
    /// Of files of a Metalink.
    pub described: Option<Arc<Described>>,
}

/// What a Metalink says of the files of one download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// With mirrors that could be used at first, the best first, and the torrent.
    pub files: Vec<MetalinkFile>,
    /// Where the torrent is, while nobody knows what is in it.
    pub awaited: Option<Arc<str>>,
}

/// A line of a session file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Path of a torrent or Metalink, or the URI that led to it.
    pub text: Arc<str>,
    /// The GID it has there, if not the download's own: that of the parent.
    pub gid: Option<Gid>,
}

/// An uploaded or fetched torrent or Metalink.
#[derive(Clone, Debug)]
pub struct Payload {
    pub kind: PayloadKind,
    /// Gone once the store has them.
    pub bytes: store::Payload,
}

impl Payload {
    pub fn new(kind: PayloadKind, bytes: Bytes) -> Self {
        Self {
            kind,
            bytes: Arc::new(Mutex::new(Some(bytes))),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadKind {
    Torrent,
    Metalink,
}

impl Brief {
    /// The same once more, as something to add; `uris` are what it has of mirrors by now.
    pub fn again(&self, uris: &[Arc<str>]) -> Option<Source> {
        if let Job::Magnet(_) = &self.job {
            let line = self.line.as_ref()?;
            return Some(Source::Uris(vec![line.text.to_string()]));
        }
        let torrent = self.metainfo().map(|metainfo| metainfo.to_file());
        let payload = match &self.described {
            Some(described) => Payload::new(
                PayloadKind::Metalink,
                Metalink::document(&described.files, torrent.as_deref()).into(),
            ),
            None => Payload::new(PayloadKind::Torrent, torrent?.into()),
        };
        let line = self.line.as_ref().map(|line| Line {
            text: Arc::clone(&line.text),
            gid: None,
        });
        Some(Source::Again(Again {
            uris: uris.into(),
            brief: Box::new(Self {
                line,
                payload: Some(payload),
                ..self.clone()
            }),
        }))
    }

    /// Where the torrent is that this download waits for.
    pub fn awaited_torrent(&self) -> Option<&Arc<str>> {
        self.described.as_ref()?.awaited.as_ref()
    }

    /// The content, if it is known.
    pub fn content(&self) -> Option<&Arc<Content>> {
        match &self.job {
            Job::Known(content) => Some(content),
            Job::Uris | Job::Magnet(_) => None,
        }
    }

    /// The torrent, if it is one and known.
    pub fn metainfo(&self) -> Option<&Arc<Metainfo>> {
        self.content()?.torrent.as_ref()
    }

    /// Bytes; that of metadata is fixed (BEP 9).
    pub fn piece_len(&self) -> Option<u64> {
        match &self.job {
            Job::Uris => None,
            Job::Magnet(_) => Some(METADATA_PIECE_LEN),
            Job::Known(content) => Some(content.pieces.as_ref()?.piece_len),
        }
    }

    /// The torrent's name, known or not.
    pub fn info_hash(&self) -> Option<InfoHash> {
        match &self.job {
            Job::Uris => None,
            Job::Magnet(magnet) => Some(magnet.info_hash),
            Job::Known(content) => Some(content.torrent.as_ref()?.info.hash),
        }
    }
}
