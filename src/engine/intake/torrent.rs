//! Pure: torrents and magnet links as downloads.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{DownloadSpec, Given, usable_uri};
use crate::base::error::{ErrorCode, Failure};
use crate::engine::brief::{Brief, Line, Payload, PayloadKind};
use crate::engine::request::{RequestError, Upload};
use crate::format::magnet::Magnet;
use crate::format::metainfo::Metainfo;
use crate::option::OptionSet;
use crate::option::keys::{OUT, SELECT_FILE};
use crate::storage::Content;
use crate::transfer::{Job, WebSeed};

/// More mirrors than this of all files together are not kept: a torrent may name a thousand for
/// each of many thousand files.
const WEB_SEEDS_MAX: usize = 1 << 16;

/// The name of a torrent that has none and came without a file name.
const NAMELESS: &str = "torrent";

/// The download of a torrent file.
///
/// # Errors
/// It is no torrent, or one that is refused.
pub(in crate::engine) fn of_upload(
    upload: &Upload,
    given: Given<'_>,
) -> Result<DownloadSpec, RequestError> {
    let metainfo =
        Metainfo::parse(&upload.file, &fallback_name(upload.path.as_deref())).map_err(refusal)?;
    let line = upload.path.as_deref().map(|path| Line {
        text: Arc::from(path),
        gid: None,
    });
    let payload = Payload::new(PayloadKind::Torrent, upload.file.clone());
    let (uris, brief) = of_metainfo(Arc::new(metainfo), &upload.uris, line, payload);
    given.into_spec(uris, Some(brief))
}

/// The download a magnet link leads to once its metadata is known. It takes over the options of
/// the link's own.
pub(in crate::engine) fn of_metadata(
    metainfo: Arc<Metainfo>,
    magnet: &Magnet,
    line: Option<Line>,
    options: OptionSet,
    paused: bool,
) -> DownloadSpec {
    let file = Metainfo::encode(&metainfo.info.raw, &metainfo.tiers);
    let payload = Payload::new(PayloadKind::Torrent, file.into());
    let (uris, brief) = of_metainfo(metainfo, &magnet.web_seeds, line, payload);
    DownloadSpec {
        gid: None,
        uris,
        brief: Some(brief),
        options,
        paused,
        for_next: false,
    }
}

/// The download of a torrent that was fetched by its URI; it takes over the options.
pub(in crate::engine) fn of_fetched(
    metainfo: Arc<Metainfo>,
    bytes: Bytes,
    line: Option<Line>,
    mut options: OptionSet,
    paused: bool,
) -> DownloadSpec {
    // The name was that of the torrent file.
    options.unset(OUT.id);
    let payload = Payload::new(PayloadKind::Torrent, bytes);
    let (uris, brief) = of_metainfo(metainfo, &[], line, payload);
    DownloadSpec {
        gid: None,
        uris,
        brief: Some(brief),
        options,
        paused,
        for_next: false,
    }
}

/// The mirrors of the only file of a torrent, and everything else of it.
type Parts = (Box<[Arc<str>]>, Box<Brief>);

/// The download of a torrent file that an earlier process kept: the mirrors of its only file, and
/// everything else. `extra` are web seeds that are not in it.
///
/// # Errors
/// It is no torrent (any more).
pub(in crate::engine) fn of_kept(
    file: Bytes,
    extra: &[String],
    line: Option<Line>,
) -> Result<Parts, Failure> {
    let path = line.as_ref().map(|line| &*line.text);
    let metainfo = Metainfo::parse(&file, &fallback_name(path))?;
    let payload = Payload::new(PayloadKind::Torrent, file);
    Ok(of_metainfo(Arc::new(metainfo), extra, line, payload))
}

/// What to call a torrent without a name, after the path of its file.
fn fallback_name(path: Option<&str>) -> String {
    match path.and_then(|path| path.rsplit('/').next()) {
        Some(name) => format!("{name}.file"),
        None => NAMELESS.to_owned(),
    }
}

/// The mirrors of a torrent's only file, and everything else of it.
fn of_metainfo(
    metainfo: Arc<Metainfo>,
    more_uris: &[String],
    line: Option<Line>,
    payload: Payload,
) -> Parts {
    let content = Content::of_torrent(Arc::clone(&metainfo));
    let seeds = web_seeds(&content, metainfo.web_seeds.iter().chain(more_uris));
    let (uris, web_seeds) = match content.multi {
        true => (Box::default(), seeds),
        false => {
            let uris = seeds.into_iter().map(|seed| seed.uri);
            (uris.collect(), Vec::new())
        }
    };
    let brief = Brief {
        job: Job::Known(Arc::new(content)),
        web_seeds,
        line,
        payload: Some(payload),
        extra: more_uris.to_vec(),
        ..Brief::default()
    };
    (uris, Box::new(brief))
}

/// The web seeds of a torrent as mirrors of its files, under the names they have in it.
pub(super) fn web_seeds<'a>(
    content: &Content,
    bases: impl Iterator<Item = &'a String>,
) -> Vec<WebSeed> {
    let bases: Vec<Arc<str>> = bases.filter_map(|uri| usable_uri(uri)).collect();
    if content.multi {
        return seeds_of_all(content, &bases);
    }
    let uris = bases.into_iter().map(|base| match base.ends_with('/') {
        true => Arc::from(format!("{base}{}", escaped(&content.name))),
        false => base,
    });
    uris.map(|uri| WebSeed { file: 0, uri }).collect()
}

/// Every file below every base (BEP 19); filler is never fetched.
fn seeds_of_all(content: &Content, bases: &[Arc<str>]) -> Vec<WebSeed> {
    let files = content.files.iter().enumerate();
    files
        .filter(|(_, file)| !file.padding)
        .flat_map(|(index, file)| {
            bases.iter().map(move |base| WebSeed {
                file: index,
                uri: format!("{}/{}", base.trim_end_matches('/'), escaped(&file.path)).into(),
            })
        })
        .take(WEB_SEEDS_MAX)
        .collect()
}

/// What of a path stands in a URI as it is (RFC 3986 section 2.3), and the separator.
const NOT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

fn escaped(path: &str) -> String {
    utf8_percent_encode(path, NOT_IN_PATHS).to_string()
}

/// The download that fetches the metadata of a magnet link.
///
/// # Errors
/// The link names no torrent.
pub(in crate::engine) fn of_magnet(
    text: &str,
    mut given: Given<'_>,
) -> Result<DownloadSpec, RequestError> {
    let magnet = Magnet::parse(text).map_err(|_| RequestError::NoUsableUri)?;
    // A name for a file does not fit what may become many.
    given.options.unset(OUT.id);
    if !given.options.is_set(SELECT_FILE.id) && !magnet.selected.is_empty() {
        given
            .options
            .set_text(SELECT_FILE.id, &numbers(&magnet.selected))?;
    }
    let brief = Brief {
        job: Job::Magnet(Arc::new(magnet)),
        line: Some(Line {
            text: Arc::from(text),
            gid: None,
        }),
        ..Brief::default()
    };
    given.into_spec(Box::default(), Some(Box::new(brief)))
}

/// Indexes from 0 as `select-file` writes them, from 1.
fn numbers(indexes: &[RangeInclusive<u32>]) -> String {
    let one = |range: &RangeInclusive<u32>| {
        let (first, last) = (
            range.start().saturating_add(1),
            range.end().saturating_add(1),
        );
        match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        }
    };
    indexes.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Why a torrent is refused, in aria2's words where clients may know them.
fn refusal(failure: Failure) -> RequestError {
    RequestError::BadFile(match failure.code {
        ErrorCode::BencodeParse => "Bencode decoding failed".to_owned(),
        _ => failure.message,
    })
}
