//! Pure: the files of a Metalink as downloads.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::{DownloadSpec, Given, torrent, usable_uri};
use crate::base::error::{ErrorCode, Failure};
use crate::engine::brief::{Brief, Described, Line, Payload, PayloadKind};
use crate::engine::request::{RequestError, Upload};
use crate::format::metainfo::Metainfo;
use crate::format::metalink::{MetaUrl, Metalink, MetalinkFile, PRIORITY_LAST, Resource};
use crate::option::OptionSet;
use crate::option::keys::{
    FOLLOW_TORRENT, INDEX_OUT, METALINK_BASE_URI, METALINK_LANGUAGE, METALINK_LOCATION,
    METALINK_OS, METALINK_PREFERRED_PROTOCOL, METALINK_VERSION, OUT, SELECT_FILE, SPLIT,
};
use crate::option::value::MetalinkProtocol;
use crate::storage::{Content, Mismatch};
use crate::transfer::{Job, WebSeed};

/// The name of a torrent that has none; the Metalink has another one for its file.
const NAMELESS: &str = "torrent";

/// The downloads of a Metalink, each file's torrent before the file itself; none where no file
/// fits the options.
///
/// # Errors
/// It is no Metalink, or one that is refused.
pub(in crate::engine) fn of_upload(
    upload: &Upload,
    given: Given<'_>,
) -> Result<Vec<DownloadSpec>, RequestError> {
    let base = given.options.get(METALINK_BASE_URI);
    let metalink = Metalink::parse(&upload.file, base.as_deref())
        .map_err(|error| RequestError::BadFile(error.to_string()))?;
    let line = upload.path.as_deref().map(|path| Line {
        text: Arc::from(path),
        gid: None,
    });
    // A GID for what may become several downloads is not heeded, as in aria2.
    Ok(of_document(&metalink, &given.options, given.paused, line))
}

/// The downloads of a document that has been read; they take over `options`.
pub(in crate::engine) fn of_document(
    metalink: &Metalink,
    options: &OptionSet,
    paused: bool,
    line: Option<Line>,
) -> Vec<DownloadSpec> {
    let taste = Taste::of(options);
    let mut base = options.clone();
    forget_choices(&mut base);
    let files = taste.choose(metalink).into_iter();
    let mut specs = Vec::new();
    for files in groups(files.map(|file| taste.reduced(file))) {
        let options = with_fewer_connections(&base, &files);
        let (uris, mut brief) = parts_of(files, None);
        brief.line.clone_from(&line);
        let torrent = brief.awaited_torrent().cloned();
        specs.extend(torrent.map(|uri| torrent_spec(uri, &base, paused)));
        specs.push(DownloadSpec {
            gid: None,
            uris,
            brief: Some(Box::new(brief)),
            options,
            paused,
            for_next: false,
        });
    }
    specs
}

/// Which files there are and what they are called is said by the document.
pub(in crate::engine) fn forget_choices(options: &mut OptionSet) {
    for id in [OUT.id, INDEX_OUT.id, SELECT_FILE.id] {
        options.unset(id);
    }
}

/// Files that are one download: those that name the same torrent, and what they are in it. They
/// stand where the first of them does.
fn groups(files: impl Iterator<Item = MetalinkFile>) -> Vec<Vec<MetalinkFile>> {
    let mut groups: Vec<Vec<MetalinkFile>> = Vec::new();
    let mut of_torrent: HashMap<String, usize> = HashMap::new();
    for file in files {
        let torrent = file.torrents.first();
        let named = torrent.filter(|torrent| torrent.name.is_some() && file.size.is_some());
        let Some(uri) = named.map(|torrent| torrent.uri.clone()) else {
            groups.push(vec![file]);
            continue;
        };
        let at = *of_torrent.entry(uri).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(file),
            None => groups.push(vec![file]),
        }
    }
    groups
}

/// The mirrors of the only file, the best first, and what else is known.
pub(in crate::engine) type Kept = (Box<[Arc<str>]>, Brief);

/// What the payload of an earlier process says: its files are one download.
///
/// # Errors
/// It does not say anything we understand.
pub(in crate::engine) fn of_kept(document: &[u8]) -> Result<Kept, Failure> {
    let mut files = Metalink::parse(document, None)?.files;
    if files.is_empty() {
        let text = "its Metalink has no such file";
        return Err(Failure::fatal(ErrorCode::MetalinkParse, text));
    }
    for file in &mut files {
        file.resources.sort_by_key(|mirror| mirror.priority);
    }
    Ok(parts_of(files, None))
}

/// A torrent, read and as it came.
pub(in crate::engine) type Fetched = (Arc<Metainfo>, Bytes);

/// What becomes of a download whose torrent has come; mirrors as they are by now.
///
/// # Errors
/// It awaits none, or that torrent is about something else.
pub(in crate::engine) fn joined(
    uris: &[Arc<str>],
    brief: &Brief,
    (metainfo, file): Fetched,
) -> Result<Kept, Mismatch> {
    let files = files_by_now(uris, brief);
    // Asked first: a torrent that does not fit is not to change anything.
    Content::of_metalink(&files).with_torrent(Arc::clone(&metainfo), &names(&files))?;
    let (uris, joined) = parts_of(files, Some((metainfo, file)));
    let line = brief.line.clone();
    Ok((uris, Brief { line, ..joined }))
}

/// What becomes of a download whose torrent will not come, or is of no use.
pub(in crate::engine) fn without_torrent(uris: &[Arc<str>], brief: &Brief) -> Kept {
    let mut files = files_by_now(uris, brief);
    files.iter_mut().for_each(|file| file.torrents.clear());
    let (uris, left) = parts_of(files, None);
    let line = brief.line.clone();
    (uris, Brief { line, ..left })
}

fn files_by_now(uris: &[Arc<str>], brief: &Brief) -> Vec<MetalinkFile> {
    let described = brief.described.as_ref();
    let mut files = described.map_or_else(Vec::new, |described| described.files.clone());
    match &mut files[..] {
        [only] => only.resources = resources(uris.iter()),
        several => {
            for (index, file) in several.iter_mut().enumerate() {
                let seeds = brief.web_seeds.iter().filter(|seed| seed.file == index);
                file.resources = resources(seeds.map(|seed| &seed.uri));
            }
        }
    }
    files
}

/// One download of these files; several are one torrent's. The torrent is the one that was fetched,
/// or one that the Metalink holds.
fn parts_of(mut files: Vec<MetalinkFile>, fetched: Option<Fetched>) -> Kept {
    let held = || {
        let bytes = files.iter().find_map(MetalinkFile::inline_torrent)?;
        let metainfo = Metainfo::parse(&bytes, NAMELESS).ok()?;
        Some((Arc::new(metainfo), Bytes::from(bytes)))
    };
    let torrent = fetched.or_else(held);
    files.iter_mut().for_each(MetalinkFile::forget_inline);
    let content = Content::of_metalink(&files);
    let joined = torrent.and_then(|(metainfo, bytes)| {
        let (content, places) = content.with_torrent(metainfo, &names(&files)).ok()?;
        Some((content, places, Some(bytes)))
    });
    let (content, places, bytes) =
        joined.unwrap_or_else(|| (content, (0..files.len()).collect(), None));
    let mut seeds: Vec<WebSeed> = Vec::new();
    for (entry, file) in files.iter().zip(places) {
        let uris = entry
            .resources
            .iter()
            .filter_map(|mirror| usable_uri(&mirror.uri));
        seeds.extend(uris.map(|uri| WebSeed { file, uri }));
    }
    if let Some(metainfo) = &content.torrent {
        let own = Content::of_torrent(Arc::clone(metainfo));
        let own = torrent::web_seeds(&own, metainfo.web_seeds.iter()).into_iter();
        let known: HashSet<WebSeed> = seeds.iter().cloned().collect();
        seeds.extend(own.filter(|seed| !known.contains(seed)));
    }
    let mut brief = Brief {
        // Not the document at hand, which would be kept as often as it has downloads.
        payload: Some(Payload::new(
            PayloadKind::Metalink,
            Metalink::document(&files, bytes.as_deref()).into(),
        )),
        ..Brief::default()
    };
    let mut uris = Box::default();
    if content.files.len() == 1 {
        uris = seeds.into_iter().map(|seed| seed.uri).collect();
    } else {
        seeds.sort_by_key(|seed| seed.file);
        brief.web_seeds = seeds;
    }
    let awaited = match content.torrent {
        None => files.iter().find_map(fetchable),
        Some(_) => None,
    };
    brief.described = Some(Arc::new(Described { files, awaited }));
    brief.job = Job::Known(Arc::new(content));
    (uris, brief)
}

fn fetchable(file: &MetalinkFile) -> Option<Arc<str>> {
    file.torrents.iter().find_map(|it| usable_uri(&it.uri))
}

/// What each file is called in the torrent.
fn names(files: &[MetalinkFile]) -> Vec<Option<&str>> {
    let torrents = files.iter().map(|file| file.torrents.first());
    torrents.map(|torrent| torrent?.name.as_deref()).collect()
}

/// Mirrors, the best first.
fn resources<'a>(uris: impl Iterator<Item = &'a Arc<str>>) -> Vec<Resource> {
    let numbered = (1..=PRIORITY_LAST).zip(uris);
    let one = |(priority, uri): (u32, &Arc<str>)| Resource {
        priority,
        uri: uri.to_string(),
        location: None,
        protocol: uri.split(':').next().unwrap_or_default().to_owned(),
    };
    numbered.map(one).collect()
}

/// The download that fetches the torrent of the next one; it is not kept on the disk.
pub(in crate::engine) fn torrent_spec(
    uri: Arc<str>,
    options: &OptionSet,
    paused: bool,
) -> DownloadSpec {
    let mut options = options.clone();
    // The value is one of the option's words.
    let _ = options.set_text(FOLLOW_TORRENT.id, "mem");
    DownloadSpec {
        gid: None,
        uris: Box::new([uri]),
        brief: None,
        options,
        paused,
        for_next: true,
    }
}

/// A document of version 3 may ask for fewer connections.
fn with_fewer_connections(options: &OptionSet, files: &[MetalinkFile]) -> OptionSet {
    let mut options = options.clone();
    if let [only] = files
        && let Some(max) = only.connections_max
        && i64::from(max) < options.get(SPLIT)
    {
        // A number from 1 on, as the option takes it.
        let _ = options.set_text(SPLIT.id, &max.to_string());
    }
    options
}

/// Which files of a Metalink the user wants, and from where.
struct Taste {
    language: Option<Arc<str>>,
    system: Option<Arc<str>>,
    version: Option<Arc<str>>,
    /// From 1, among the files that fit otherwise; empty: all.
    selected: Vec<std::ops::RangeInclusive<u32>>,
    locations: Vec<String>,
    protocol: MetalinkProtocol,
}

impl Taste {
    fn of(options: &OptionSet) -> Self {
        let word = |text: Option<Arc<str>>| text.filter(|text| !text.is_empty());
        Self {
            language: word(options.get(METALINK_LANGUAGE)),
            system: word(options.get(METALINK_OS)),
            version: word(options.get(METALINK_VERSION)),
            selected: options.get(SELECT_FILE),
            locations: options
                .get(METALINK_LOCATION)
                .iter()
                .map(|it| it.trim().to_owned())
                .collect(),
            protocol: options.get(METALINK_PREFERRED_PROTOCOL),
        }
    }

    /// The files wanted.
    fn choose<'a>(&self, metalink: &'a Metalink) -> Vec<&'a MetalinkFile> {
        let files = metalink.files.iter().filter(|file| self.fits(file));
        let wanted = |number: u32| {
            self.selected.is_empty() || self.selected.iter().any(|range| range.contains(&number))
        };
        (1_u32..)
            .zip(files)
            .filter(|(number, _)| wanted(*number))
            .map(|(_, file)| file)
            .collect()
    }

    fn fits(&self, file: &MetalinkFile) -> bool {
        let among = |wanted: &Option<Arc<str>>, offered: &[String]| {
            let equals = |text: &Arc<str>| offered.iter().any(|other| **other == **text);
            wanted.as_ref().is_none_or(equals)
        };
        let version = file.version.as_deref();
        among(&self.language, &file.languages)
            && among(&self.system, &file.systems)
            && self
                .version
                .as_deref()
                .is_none_or(|wanted| version == Some(wanted))
    }

    /// What counts of a file from now on: mirrors and torrents that can be used, the best first.
    fn reduced(&self, file: &MetalinkFile) -> MetalinkFile {
        let usable = |torrent: &MetaUrl| match torrent.is_inline() {
            true => Some(torrent.clone()),
            false => Some(MetaUrl {
                uri: usable_uri(&torrent.uri)?.to_string(),
                ..torrent.clone()
            }),
        };
        MetalinkFile {
            resources: resources(self.mirrors(file).iter()),
            torrents: file.torrents.iter().filter_map(usable).collect(),
            name: file.name.clone(),
            size: file.size,
            hashes: file.hashes.clone(),
            pieces: file.pieces.clone(),
            connections_max: file.connections_max,
            ..MetalinkFile::default()
        }
    }

    /// What can be asked for the file, the best first: a wanted location and the wanted protocol
    /// count alike and before any priority, as in aria2.
    fn mirrors(&self, file: &MetalinkFile) -> Box<[Arc<str>]> {
        let mut mirrors: Vec<(&Resource, Arc<str>)> = file
            .resources
            .iter()
            .filter_map(|mirror| Some((mirror, usable_uri(&mirror.uri)?)))
            .collect();
        mirrors.sort_by_key(|(mirror, _)| (Reverse(self.points(mirror)), mirror.priority));
        mirrors.into_iter().map(|(_, uri)| uri).collect()
    }

    fn points(&self, mirror: &Resource) -> u8 {
        let near = mirror.location.as_ref().is_some_and(|location| {
            let same = |wanted: &String| wanted.eq_ignore_ascii_case(location);
            self.locations.iter().any(same)
        });
        let liked = match self.protocol {
            MetalinkProtocol::None => false,
            MetalinkProtocol::Http => mirror.protocol == "http",
            MetalinkProtocol::Https => mirror.protocol == "https",
            MetalinkProtocol::Ftp => mirror.protocol == "ftp",
        };
        u8::from(near) + u8::from(liked)
    }
}

#[cfg(test)]
mod tests;
