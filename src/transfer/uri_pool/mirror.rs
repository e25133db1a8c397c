//! Pure: one place where a download, or one file of it, can be had.

use std::sync::Arc;

use crate::base::units::Span;

/// One URI as `getUris` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UriEntry {
    pub uri: Arc<str>,
    pub used: bool,
}

/// Where a download, or one file of it, can be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    pub uri: Arc<str>,
    /// The part of the download it has: one file of several; `None`: all of it.
    pub part: Option<Span>,
    /// It gives pieces of the torrent and knows no file (BEP 17).
    pub by_piece: bool,
}

impl Mirror {
    /// A resource that is the download, or a part of it.
    pub fn new(uri: Arc<str>, part: Option<Span>) -> Self {
        Self {
            uri,
            part,
            by_piece: false,
        }
    }
}

/// What the user wants changed of the mirrors of a file.
pub struct UriChange<'a> {
    /// Where the file is in a download of several.
    pub part: Option<Span>,
    /// One instance of each is taken out.
    pub remove: &'a [Arc<str>],
    pub add: &'a [Arc<str>],
    /// Place of the first one in the file's list (from 0); `None`: last.
    pub at: Option<usize>,
}

/// The host of a URI, lower case, without user and port: what `max-connection-per-server` counts.
pub fn host_of(uri: &str) -> String {
    let after = uri.split_once("://").map_or(uri, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or(after);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    host.to_ascii_lowercase()
}
