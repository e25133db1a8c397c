//! Pure: the files of a Metalink as downloads.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;

use super::{DownloadSpec, Given, usable_uri};
use crate::base::error::{ErrorCode, Failure};
use crate::engine::brief::{Brief, Line, Payload, PayloadKind};
use crate::engine::request::{RequestError, Upload};
use crate::format::metalink::{Metalink, MetalinkFile, Resource};
use crate::option::OptionSet;
use crate::option::keys::{
    FOLLOW_TORRENT, INDEX_OUT, METALINK_BASE_URI, METALINK_LANGUAGE, METALINK_LOCATION,
    METALINK_OS, METALINK_PREFERRED_PROTOCOL, METALINK_VERSION, OUT, SELECT_FILE, SPLIT,
};
use crate::option::value::MetalinkProtocol;
use crate::storage::Content;
use crate::transfer::Job;

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
    for id in [OUT.id, INDEX_OUT.id, SELECT_FILE.id] {
        base.unset(id);
    }
    let mut specs = Vec::new();
    for file in taste.choose(metalink) {
        let mirrors = taste.mirrors(file);
        let torrent = file.torrents.iter().find_map(|it| usable_uri(&it.uri));
        specs.extend(torrent.map(|uri| torrent_spec(uri, &base, paused)));
        let brief = Brief {
            job: Job::Known(Arc::new(Content::of_metalink(file))),
            line: line.clone(),
            // Not the document at hand, which would be kept as often as it has files.
            payload: Some(Payload::new(
                PayloadKind::Metalink,
                file.to_document(&mirrors).into(),
                0,
            )),
            ..Brief::default()
        };
        specs.push(DownloadSpec {
            gid: None,
            uris: mirrors,
            brief: Some(Box::new(brief)),
            options: with_fewer_connections(&base, file),
            paused,
            for_next: false,
        });
    }
    specs
}

/// The mirrors of one file, the best first, and what else is known of it.
type Kept = (Box<[Arc<str>]>, Brief);

/// What the payload of an earlier process says of one file.
///
/// # Errors
/// It does not say anything we understand.
pub(in crate::engine) fn of_kept(document: Bytes, entry: usize) -> Result<Kept, Failure> {
    let metalink = Metalink::parse(&document, None)?;
    let lost = || Failure::fatal(ErrorCode::MetalinkParse, "its Metalink has no such file");
    let file = metalink.files.get(entry).ok_or_else(lost)?;
    let mut mirrors: Vec<&Resource> = file.resources.iter().collect();
    mirrors.sort_by_key(|mirror| mirror.priority);
    let uris = mirrors.iter().filter_map(|mirror| usable_uri(&mirror.uri));
    let brief = Brief {
        job: Job::Known(Arc::new(Content::of_metalink(file))),
        payload: Some(Payload::new(PayloadKind::Metalink, document, entry)),
        ..Brief::default()
    };
    Ok((uris.collect(), brief))
}

/// The download that fetches the torrent of the next one; it is not kept on the disk.
fn torrent_spec(uri: Arc<str>, options: &OptionSet, paused: bool) -> DownloadSpec {
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
fn with_fewer_connections(options: &OptionSet, file: &MetalinkFile) -> OptionSet {
    let mut options = options.clone();
    if let Some(max) = file.connections_max
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
mod tests {
    use super::*;
    use crate::option::find;

    const DOCUMENT: &str = "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
        <file name=\"a\"><language>en</language><os>Linux</os><version>1</version>\
        <url priority=\"1\" location=\"de\">http://h0/x</url>\
        <url priority=\"2\" location=\"us\">https://h1/x</url>\
        <url priority=\"3\" location=\"jp\">ftp://h2/x</url>\
        <url priority=\"100\" location=\"de\">ftp://h3/x</url>\
        <url>rsync://h4/x</url></file>\
        <file name=\"b\"><language>de</language><language>fr</language>\
        <metaurl mediatype=\"torrent\">http://t/b.torrent</metaurl>\
        <url>http://h/b</url></file></metalink>";

    fn specs(options: &[(&str, &str)]) -> Vec<DownloadSpec> {
        let changes: Vec<_> = options
            .iter()
            .filter_map(|(name, text)| Some((find(name)?, (*text).to_owned())))
            .collect();
        let base = Arc::new(OptionSet::new());
        let upload = Upload {
            file: DOCUMENT.into(),
            ..Upload::default()
        };
        of_upload(&upload, Given::read(&changes, &base).unwrap()).unwrap()
    }

    fn names(options: &[(&str, &str)]) -> Vec<String> {
        let name = |spec: DownloadSpec| match spec.brief {
            Some(brief) => brief.content().unwrap().name.clone(),
            None => spec.uris[0].to_string(),
        };
        specs(options).into_iter().map(name).collect()
    }

    #[test]
    fn files_are_chosen_by_what_they_are_for() {
        let b = ["http://t/b.torrent", "b"];
        assert_eq!(names(&[]), ["a", b[0], b[1]]);
        assert_eq!(names(&[("metalink-language", "en")]), ["a"]);
        assert_eq!(names(&[("metalink-language", "fr")]), b);
        assert_eq!(names(&[("metalink-language", "EN")]), [""; 0]);
        assert_eq!(names(&[("metalink-os", "Linux")]), ["a"]);
        assert_eq!(names(&[("metalink-version", "2")]), [""; 0]);
        assert_eq!(names(&[("select-file", "2")]), b);
        // Numbers count what fits otherwise.
        assert_eq!(
            names(&[("select-file", "1"), ("metalink-language", "fr")]),
            b
        );
        assert!(specs(&[])[1].for_next);
    }

    #[test]
    fn mirrors_are_ordered_as_aria2_orders_them() {
        let hosts = |options: &[(&str, &str)]| -> String {
            let uris = specs(options)[0].uris.clone();
            uris.iter()
                .filter_map(|uri| uri.split('h').next_back()?.chars().next())
                .collect()
        };
        assert_eq!(hosts(&[]), "0123");
        assert_eq!(hosts(&[("metalink-location", "jp")]), "2013");
        assert_eq!(hosts(&[("metalink-location", "jp,us")]), "1203");
        assert_eq!(hosts(&[("metalink-preferred-protocol", "ftp")]), "2301");
        let both = [
            ("metalink-location", "de"),
            ("metalink-preferred-protocol", "ftp"),
        ];
        assert_eq!(hosts(&both), "3021");
    }
}
