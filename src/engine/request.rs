//! Pure: what is asked of the engine, and why it refuses.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::brief::Brief;
use crate::base::gid::Gid;
use crate::format::expand::ExpandError;
use crate::option::{OptionError, OptionId};

/// What to add, and with which options.
#[derive(Clone, Debug)]
pub struct AddRequest {
    pub source: Source,
    /// Texts as a user types them, in the order given; what may not be set for one download is
    /// ignored.
    pub options: Vec<(OptionId, String)>,
}

/// Where a download comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Mirrors of one file.
    Uris(Vec<String>),
    /// A torrent file, and what it brings beside it.
    Torrent(Upload),
    /// A Metalink, which may stand for several downloads.
    Metalink(Upload),
    /// What an earlier download was to bring.
    Again(Again),
}

/// What is known of a download that is to be made once more: see [`Brief::again`].
#[derive(Clone, Debug)]
pub struct Again {
    /// Mirrors of the only file.
    pub(super) uris: Box<[Arc<str>]>,
    pub(super) brief: Box<Brief>,
}

/// The content of a torrent or Metalink.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    pub file: Bytes,
    /// Web seeds besides those of the torrent.
    pub uris: Vec<String>,
    /// Where the file lies, for session files; `None` if it does not.
    pub path: Option<String>,
    /// Leave a copy in the download directory (`rpc-save-upload-metadata`).
    pub keep_copy: bool,
}

impl AddRequest {
    /// Mirrors of one file, with the options of the process.
    pub fn uris<S: Into<String>>(uris: impl IntoIterator<Item = S>) -> Self {
        Self {
            source: Source::Uris(uris.into_iter().map(Into::into).collect()),
            options: Vec::new(),
        }
    }

    /// A torrent file.
    pub fn torrent(file: impl Into<Bytes>) -> Self {
        let file = file.into();
        Self {
            source: Source::Torrent(Upload {
                file,
                ..Upload::default()
            }),
            options: Vec::new(),
        }
    }

    /// The files of a Metalink.
    pub fn metalink(file: impl Into<Bytes>) -> Self {
        Self {
            source: Source::Metalink(Upload {
                file: file.into(),
                ..Upload::default()
            }),
            options: Vec::new(),
        }
    }

    /// The same with one option more.
    pub fn with(mut self, option: impl Into<OptionId>, value: impl Into<String>) -> Self {
        self.options.push((option.into(), value.into()));
        self
    }
}

/// Why a request was refused. [`fmt::Display`] gives aria2's text, which clients compare
/// (rpc.md section 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// Not 1 to 16 hex digits; as given.
    InvalidGid(String),
    /// No download begins with these digits; as given.
    UnknownGid(String),
    /// Several downloads begin with these digits; as given.
    AmbiguousGid(String),
    CannotPause(Gid),
    CannotUnpause(Gid),
    /// Removing what has stopped already.
    NotRemovable(Gid),
    CannotChangeOption(Gid),
    NotInQueue(Gid),
    /// `changeUri` on a stopped download.
    CannotChangeUri(Gid),
    FileIndexOutOfRange,
    /// `removeDownloadResult` on a download that has not stopped.
    NotStopped(Gid),
    NotActive(Gid),
    NoPeers(Gid),
    NoUris(Gid),
    /// A value does not fit its option.
    BadOption(Box<OptionError>),
    /// A parameterised URI makes no sense or stands for too many.
    BadExpansion(ExpandError),
    /// Nothing was given at all.
    NoUriGiven,
    /// The file that was given is no torrent or Metalink we could use; why.
    BadFile(String),
    /// Nothing usable was given, or a GID that cannot be had.
    NoUsableUri,
    /// `save-session` is not set.
    NoSessionFile,
    /// The session could not be written to this path.
    SessionNotSaved(String),
    /// The engine has ended.
    ShutDown,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidGid(text) => write!(f, "Invalid GID {text}"),
            Self::UnknownGid(text) => write!(f, "GID {text} is not found"),
            Self::AmbiguousGid(text) => write!(f, "GID {text} is not unique"),
            Self::CannotPause(gid) => write!(f, "GID#{gid} cannot be paused now"),
            Self::CannotUnpause(gid) => write!(f, "GID#{gid} cannot be unpaused now"),
            Self::NotRemovable(gid) => write!(f, "Active Download not found for GID#{gid}"),
            Self::CannotChangeOption(gid) => write!(f, "Cannot change option for GID#{gid}"),
            Self::NotInQueue(gid) => write!(f, "GID#{gid} not found in the waiting queue."),
            Self::CannotChangeUri(gid) => write!(f, "Cannot remove URIs from GID#{gid}"),
            Self::FileIndexOutOfRange => f.write_str("fileIndex is out of range"),
            Self::NotStopped(gid) => {
                write!(f, "Could not remove download result of GID#{gid}")
            }
            Self::NotActive(gid) => write!(f, "No active download for GID#{gid}"),
            Self::NoPeers(gid) => write!(f, "No peer data is available for GID#{gid}"),
            Self::NoUris(gid) => write!(f, "No URI data is available for GID#{gid}"),
            Self::BadOption(error) => f.write_str(&error.rpc_text()),
            Self::BadExpansion(error) => write!(f, "Bad URI: {error}."),
            Self::BadFile(why) => f.write_str(why),
            Self::NoUriGiven => f.write_str("URI is not provided."),
            Self::NoUsableUri => f.write_str("No URI to download."),
            Self::NoSessionFile => f.write_str("Filename is not given."),
            Self::SessionNotSaved(path) => {
                write!(f, "Failed to serialize session to '{path}'.")
            }
            Self::ShutDown => f.write_str("The engine has ended."),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<ExpandError> for RequestError {
    fn from(error: ExpandError) -> Self {
        Self::BadExpansion(error)
    }
}

impl From<OptionError> for RequestError {
    fn from(error: OptionError) -> Self {
        Self::BadOption(Box::new(error))
    }
}
