//! What of a download that is more than mirrors goes into the store, and back.

use std::sync::Arc;

use tracing::warn;

use super::brief::{Brief, Line, PayloadKind};
use super::download::Download;
use super::intake::{metalink, torrent};
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::format::magnet::Magnet;
use crate::store::{self, Origin, OriginKind};
use crate::transfer::{Job, WebSeed};

/// A cheap copy of what [`Origin`] is made from.
pub(super) struct SavedOrigin {
    kind: OriginKind,
    line: Option<Line>,
    extra: Vec<String>,
    seeds: Option<Vec<WebSeed>>,
    payload: store::Payload,
}

impl SavedOrigin {
    pub fn of(brief: &Brief) -> Option<Self> {
        let (kind, payload) = match (&brief.job, &brief.payload) {
            (Job::Magnet(_), _) => (OriginKind::Magnet, store::Payload::default()),
            (_, Some(payload)) => {
                let kind = match payload.kind {
                    PayloadKind::Torrent => OriginKind::Torrent,
                    PayloadKind::Metalink => OriginKind::Metalink,
                };
                (kind, Arc::clone(&payload.bytes))
            }
            _ => return None,
        };
        Some(Self {
            kind,
            line: brief.line.clone(),
            extra: brief.extra.clone(),
            seeds: brief.edited.then(|| brief.web_seeds.clone()),
            payload,
        })
    }

    pub fn into_parts(self) -> (Origin, store::Payload) {
        let seeds = |seeds: Vec<WebSeed>| {
            let seeds = seeds.into_iter();
            seeds
                .map(|seed| (seed.file, seed.uri.to_string()))
                .collect()
        };
        let (line, line_gid) = match self.line {
            Some(line) => (Some(line.text.to_string()), line.gid.map(Gid::value)),
            None => (None, None),
        };
        let origin = Origin {
            line,
            line_gid,
            extra: self.extra,
            seeds: self.seeds.map(seeds),
            ..Origin::new(self.kind)
        };
        (origin, self.payload)
    }
}

/// Gives a restored download back what it was made from. Its own copy of the torrent counts, and
/// if that is lost the file the user gave. Blocks.
///
/// # Errors
/// Neither can be used: the download cannot go on.
pub(super) fn restore(
    download: &mut Download,
    origin: Origin,
    payload: &store::Payload,
) -> Result<(), Failure> {
    let line = origin.line.as_deref().map(|text| Line {
        text: Arc::from(text),
        gid: origin.line_gid.and_then(Gid::new),
    });
    let mut brief = match origin.kind {
        OriginKind::Magnet => Box::new(Brief {
            job: Job::Magnet(Arc::new(Magnet::parse(
                origin.line.as_deref().unwrap_or_default(),
            )?)),
            line,
            ..Brief::default()
        }),
        OriginKind::Torrent => {
            let copy = payload.lock().take();
            let file = match (copy, &origin.line) {
                (Some(copy), _) => copy,
                (None, Some(path)) => std::fs::read(path)
                    .map_err(|error| Failure::from_io(&error, ErrorCode::FileIo, path))?
                    .into(),
                (None, None) => {
                    return Err(Failure::fatal(ErrorCode::FileIo, "its torrent is lost"));
                }
            };
            let (uris, brief) = torrent::of_kept(file, &origin.extra, line)?;
            if download.uris.is_empty() {
                download.uris = uris;
            }
            brief
        }
        OriginKind::Metalink => {
            let copy = payload.lock().take();
            let lost = || Failure::fatal(ErrorCode::FileIo, "its Metalink is lost");
            let (uris, brief) = metalink::of_kept(&copy.ok_or_else(lost)?)?;
            // Mirrors of a file that is one of several now would be taken for those of them all.
            let several = brief
                .content()
                .is_some_and(|content| content.files.len() > 1);
            if several || download.uris.is_empty() {
                download.uris = uris;
            }
            Box::new(Brief { line, ..brief })
        }
    };
    if let Some(seeds) = origin.seeds {
        let seeds = seeds.into_iter();
        brief.web_seeds = seeds
            .map(|(file, uri)| WebSeed {
                file,
                uri: Arc::from(uri),
            })
            .collect();
        brief.edited = true;
    }
    download.brief = Some(brief);
    Ok(())
}

/// As [`restore`]; a download that cannot go on says why.
pub(super) fn restore_or_fail(
    download: &mut Download,
    origin: Origin,
    payload: &store::Payload,
) -> Option<Failure> {
    let failure = restore(download, origin, payload).err()?;
    warn!(gid = %download.gid, %failure, "a download of an earlier session is lost");
    Some(failure)
}
