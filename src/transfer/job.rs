//! What a transfer is to bring.

use std::sync::Arc;

use crate::format::magnet::Magnet;
use crate::storage::Content;

/// How much is known of a download before it begins.
#[derive(Clone, Debug, Default)]
pub enum Job {
    /// Nothing but where mirrors are.
    #[default]
    Uris,
    /// Files, lengths and digests, from a torrent or a Metalink.
    Known(Arc<Content>),
    /// The name of a torrent, whose metadata is to be fetched from peers.
    Magnet(Arc<Magnet>),
}

/// A mirror of one file of several (BEP 19); those of a single file are plain URIs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WebSeed {
    /// Index into the files of the content, from 0.
    pub file: usize,
    pub uri: Arc<str>,
}
