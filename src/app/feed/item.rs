//! Whether a word of the command line or the input file is a URI, a link or a local file.

use std::io;

use tracing::error;

use crate::app::local::{self, Kind};
use crate::base::secret::SafeUrl;
use crate::engine::AddRequest;
use crate::format::magnet::is_magnet;
use crate::format::uri::{self, Uri};

/// What becomes one call of the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Item {
    /// Mirrors of one file, or a magnet link.
    Uris(Vec<String>),
    /// A file on this machine, and web seeds beside it.
    Local(String, Kind, Vec<String>),
}

impl Item {
    /// What a complaint names.
    pub fn name(&self) -> &str {
        match self {
            Self::Uris(uris) => uris.first().map_or("", |uri| uri),
            Self::Local(path, ..) => path,
        }
    }

    /// Blocks for a local file.
    pub fn into_request(self) -> io::Result<AddRequest> {
        match self {
            Self::Uris(uris) => Ok(AddRequest::uris(uris)),
            Self::Local(path, kind, seeds) => Ok(AddRequest {
                source: local::read(&path, kind, seeds)?,
                options: Vec::new(),
            }),
        }
    }
}

/// Mirrors stay together and come first; links and local files are downloads of their own, as for
/// aria2. Blocks.
pub(super) fn items(uris: Vec<String>) -> Vec<Item> {
    let (mirrors, others): (Vec<_>, Vec<_>) = uris
        .into_iter()
        .partition(|uri| is_uri(uri) && !is_magnet(uri));
    let mut items = Vec::with_capacity(1 + others.len());
    if !mirrors.is_empty() {
        items.push(Item::Uris(mirrors));
    }
    for other in others {
        if is_magnet(&other) {
            items.push(Item::Uris(vec![other]));
        } else if let Some(kind) = local::kind_of(&other) {
            items.push(Item::Local(other, kind, Vec::new()));
        } else {
            error!("{}", not_a_uri(&other));
        }
    }
    items
}

/// Whether a download can be made of it, be it one that fails.
pub(super) fn is_uri(text: &str) -> bool {
    Uri::parse(&uri::normalise(text)).is_some() || is_magnet(text)
}

pub(super) fn not_a_uri(text: &str) -> String {
    format!(
        "Unrecognized URI or unsupported protocol: {}",
        SafeUrl(text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_local_files_are_downloads_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let torrent = dir.path().join("a").display().to_string();
        std::fs::write(&torrent, "d4:info").unwrap();
        let link = "magnet:?xt=urn:btih:0123456789012345678901234567890123456789";
        let uris = [link, "http://h/a", &torrent, "nonsense", "http://h/b"];
        let uris = uris.map(str::to_owned).to_vec();
        let told = [
            Item::Uris(vec!["http://h/a".into(), "http://h/b".into()]),
            Item::Uris(vec![link.into()]),
            Item::Local(torrent, Kind::Torrent, Vec::new()),
        ];
        assert_eq!(items(uris), told);
    }
}
