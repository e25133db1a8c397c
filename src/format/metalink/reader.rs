//! Pure: from XML to the files of a Metalink, element by element.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

use super::names::{absolute, bytes_of_hex, priority_of_preference, safe_name, scheme_of};
use super::{
    FileHash, MetaUrl, Metalink, MetalinkError, MetalinkFile, PRIORITY_LAST, Pieces, Resource,
};

/// RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Elements nested deeper than this are refused.
const DEPTH_MAX: usize = 100;
/// Further files are refused: each becomes a download.
const FILES_MAX: usize = 1 << 16;
/// Further mirrors, hashes, languages of a file are skipped.
const ENTRIES_MAX: usize = 10_000;
/// Bytes; longer text is refused.
const TEXT_LEN_MAX: usize = 1 << 16;
/// Bytes of a torrent's URI, which may be the torrent itself.
const TORRENT_LEN_MAX: usize = 96 << 20;
const TOO_LONG: MetalinkError = MetalinkError::Beyond("a text in it is too long");
/// Further violations are not told.
const VIOLATIONS_MAX: usize = 100;

const V4: Namespace<'_> = Namespace("urn:ietf:params:xml:ns:metalink");
const V3: Namespace<'_> = Namespace("http://www.metalinker.org/");

/// The document as text: UTF-8, or the encoding its declaration names.
pub fn decode(document: &[u8]) -> Result<String, MetalinkError> {
    if document.starts_with(&GZIP) {
        return Err(MetalinkError::Beyond("it is compressed by gzip"));
    }
    let head = String::from_utf8_lossy(&document[..document.len().min(200)]);
    let declared = head
        .split_once("?>")
        .filter(|(declaration, _)| declaration.trim_start().starts_with("<?xml"))
        .and_then(|(declaration, _)| declaration.split_once("encoding"))
        .and_then(|(_, rest)| rest.split(['"', '\'']).nth(1))
        .and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes()))
        .unwrap_or(encoding_rs::UTF_8);
    let (text, _, bad) = declared.decode(document);
    if bad || text.chars().any(is_forbidden) {
        return Err(MetalinkError::NotXml);
    }
    Ok(text.into_owned())
}

/// Characters XML 1.0 section 2.2 leaves out.
fn is_forbidden(character: char) -> bool {
    matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// Reads a document.
pub fn read(text: &str, base: Option<&str>) -> Result<Metalink, MetalinkError> {
    let mut xml = NsReader::from_str(text);
    let mut reader = Reader::new(base);
    let mut seen_root = false;
    loop {
        let (namespace, event) = xml
            .read_resolved_event()
            .map_err(|_| MetalinkError::NotXml)?;
        match event {
            Event::Start(_) | Event::Empty(_) if reader.open.is_empty() && seen_root => {
                return Err(MetalinkError::NotXml);
            }
            Event::Start(tag) => {
                seen_root = true;
                reader.enter(version_of(&namespace), &tag)?;
            }
            Event::Empty(tag) => {
                seen_root = true;
                reader.enter(version_of(&namespace), &tag)?;
                reader.leave();
            }
            Event::End(_) => reader.leave(),
            Event::Text(text) => reader.add(&text.xml10_content())?,
            Event::CData(text) => reader.add(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = resolve(&reference)?;
                reader.add(character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof if reader.open.is_empty() && seen_root => return reader.finish(),
            Event::Eof => return Err(MetalinkError::NotXml),
        }
    }
}

/// Entities a DTD would define are refused.
fn resolve(reference: &BytesRef) -> Result<char, MetalinkError> {
    let not_xml = MetalinkError::NotXml;
    let written = reference.resolve_char_ref().map_err(|_| not_xml.clone())?;
    if let Some(character) = written {
        return Some(character).filter(|c| !is_forbidden(*c)).ok_or(not_xml);
    }
    match reference.xml10_content().as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(MetalinkError::Beyond("it uses entities of its own")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    Three,
    Four,
}

fn version_of(namespace: &ResolveResult<'_>) -> Option<Version> {
    match namespace {
        ResolveResult::Bound(bound) if *bound == V4 => Some(Version::Four),
        ResolveResult::Bound(bound) if *bound == V3 => Some(Version::Three),
        _ => None,
    }
}

/// The elements that mean something to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Element {
    Metalink,
    /// Around all files (version 3).
    Files,
    File,
    Size,
    Language,
    Os,
    FileVersion,
    /// Around hashes (version 3).
    Verification,
    Hash,
    Pieces,
    PieceHash,
    /// Around mirrors (version 3).
    Resources,
    Url,
    MetaUrl,
    /// And everything in it.
    Other,
}

impl Element {
    fn holds_text(self) -> bool {
        use Element as E;
        matches!(
            self,
            E::Size
                | E::Language
                | E::Os
                | E::FileVersion
                | E::Hash
                | E::PieceHash
                | E::Url
                | E::MetaUrl
        )
    }
}

fn element(parent: Option<Element>, version: Version, name: &str) -> Element {
    use Element as E;
    match (parent, version, name) {
        (None, _, "metalink") => E::Metalink,
        (Some(E::Metalink), Version::Three, "files") => E::Files,
        (Some(E::Metalink), Version::Four, "file") | (Some(E::Files), _, "file") => E::File,
        (Some(E::File), _, "size") => E::Size,
        (Some(E::File), _, "language") => E::Language,
        (Some(E::File), _, "os") => E::Os,
        (Some(E::File), _, "version") => E::FileVersion,
        (Some(E::File), Version::Three, "verification") => E::Verification,
        (Some(E::File), Version::Three, "resources") => E::Resources,
        (Some(E::File), Version::Four, "hash") | (Some(E::Verification), _, "hash") => E::Hash,
        (Some(E::File), Version::Four, "pieces") | (Some(E::Verification), _, "pieces") => {
            E::Pieces
        }
        (Some(E::Pieces), _, "hash") => E::PieceHash,
        (Some(E::File), Version::Four, "url") | (Some(E::Resources), _, "url") => E::Url,
        (Some(E::File), Version::Four, "metaurl") => E::MetaUrl,
        _ => E::Other,
    }
}

/// Attributes with a name of their own; those of other namespaces do not count.
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn read(tag: &BytesStart<'_>) -> Result<Self, MetalinkError> {
        let mut list = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| MetalinkError::NotXml)?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| MetalinkError::NotXml)?;
            if value.len() > TEXT_LEN_MAX {
                return Err(TOO_LONG);
            }
            if value.chars().any(is_forbidden) {
                return Err(MetalinkError::NotXml);
            }
            list.push((attribute.key.as_ref().to_owned(), value.into_owned()));
        }
        Ok(Self(list))
    }

    /// An empty value counts as none.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// Hashes of pieces as far as they have been read.
struct OpenPieces {
    kind: String,
    piece_len: u64,
    digests: Vec<u8>,
    digest_len: usize,
    /// Something about them is wrong: they are no use.
    spoilt: bool,
}

struct Reader<'a> {
    base: Option<&'a str>,
    version: Version,
    open: Vec<Element>,
    files: Vec<MetalinkFile>,
    violations: Vec<String>,
    /// The file being read; `None` where it has no usable name.
    file: Option<MetalinkFile>,
    pieces: Option<OpenPieces>,
    /// Of the innermost element that has text.
    attributes: Attributes,
    text: String,
}

impl<'a> Reader<'a> {
    fn new(base: Option<&'a str>) -> Self {
        Self {
            base,
            version: Version::Four,
            open: Vec::new(),
            files: Vec::new(),
            violations: Vec::new(),
            file: None,
            pieces: None,
            attributes: Attributes(Vec::new()),
            text: String::new(),
        }
    }

    fn enter(
        &mut self,
        version: Option<Version>,
        tag: &BytesStart<'_>,
    ) -> Result<(), MetalinkError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(MetalinkError::Beyond("its elements are nested too deep"));
        }
        let attributes = Attributes::read(tag)?;
        let parent = self.open.last().copied();
        let element = match version {
            Some(version) if parent.is_none() || version == self.version => {
                element(parent, version, tag.local_name().as_ref())
            }
            _ => Element::Other,
        };
        self.open.push(element);
        match element {
            Element::Metalink => self.version = version.unwrap_or(Version::Four),
            Element::File => self.begin_file(&attributes)?,
            Element::Resources => self.limit_connections(&attributes),
            Element::Pieces => self.begin_pieces(&attributes),
            _ => {}
        }
        if element.holds_text() {
            self.text.clear();
            self.attributes = attributes;
        }
        Ok(())
    }

    fn add(&mut self, text: &str) -> Result<(), MetalinkError> {
        match self.open.last() {
            None if !text.trim().is_empty() => return Err(MetalinkError::NotXml),
            Some(element) if element.holds_text() => self.text.push_str(text),
            _ => {}
        }
        let len_max = match self.open.last() {
            Some(Element::MetaUrl) => TORRENT_LEN_MAX,
            _ => TEXT_LEN_MAX,
        };
        match self.text.len() > len_max {
            true => Err(TOO_LONG),
            false => Ok(()),
        }
    }

    fn leave(&mut self) {
        let Some(element) = self.open.pop() else {
            return;
        };
        match element {
            Element::File => self.files.extend(self.file.take()),
            Element::Pieces => self.end_pieces(),
            _ if element.holds_text() => {
                let text = std::mem::take(&mut self.text);
                self.take_text(element, &text);
            }
            _ => {}
        }
    }

    fn finish(self) -> Result<Metalink, MetalinkError> {
        if !self.violations.is_empty() {
            return Err(MetalinkError::Violations(self.violations));
        }
        let mut files = self.files;
        for file in &mut files {
            file.torrents.sort_by_key(|torrent| torrent.priority);
        }
        Ok(Metalink { files })
    }

    /// Version 4 documents are refused for what breaks the standard, those of version 3 never.
    fn violation(&mut self, text: impl Into<String>) {
        if self.version == Version::Four && self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text.into());
        }
    }

    fn begin_file(&mut self, attributes: &Attributes) -> Result<(), MetalinkError> {
        if self.files.len() >= FILES_MAX {
            return Err(MetalinkError::Beyond("it names too many files"));
        }
        let Some(name) = attributes.get("name") else {
            self.violation("Missing file@name");
            return Ok(());
        };
        let Some(name) = safe_name(name) else {
            self.violation("Bad file@name");
            return Ok(());
        };
        self.file = Some(MetalinkFile {
            name,
            ..MetalinkFile::default()
        });
        Ok(())
    }

    fn limit_connections(&mut self, attributes: &Attributes) {
        let max = attributes.get("maxconnections");
        let max = max.and_then(|text| text.trim().parse().ok());
        if let Some(file) = &mut self.file {
            file.connections_max = max.filter(|max| *max > 0);
        }
    }

    fn begin_pieces(&mut self, attributes: &Attributes) {
        let kind = attributes.get("type").unwrap_or_default().to_owned();
        let len = attributes
            .get("length")
            .map(|text| text.trim().parse::<u64>());
        if kind.is_empty() {
            self.violation("Missing pieces@type");
        }
        match len {
            None => self.violation("Missing pieces@length"),
            Some(Err(_)) => self.violation("Bad pieces@length"),
            Some(Ok(_)) => {}
        }
        let piece_len = len.and_then(Result::ok).unwrap_or(0);
        self.pieces = Some(OpenPieces {
            spoilt: kind.is_empty() || piece_len == 0,
            kind,
            piece_len,
            digests: Vec::new(),
            digest_len: 0,
        });
    }

    fn end_pieces(&mut self) {
        let pieces = self.pieces.take();
        if let (Some(file), Some(mut pieces)) = (&mut self.file, pieces)
            && file.pieces.len() < ENTRIES_MAX
            && !pieces.kind.is_empty()
        {
            if pieces.spoilt {
                pieces.digests.clear();
                pieces.digest_len = 0;
            }
            file.pieces.push(Pieces {
                kind: pieces.kind,
                piece_len: pieces.piece_len.max(1),
                digest_len: pieces.digest_len,
                digests: pieces.digests,
            });
        }
    }

    fn take_text(&mut self, element: Element, text: &str) {
        match element {
            Element::Size => self.take_size(text),
            Element::Hash => self.take_hash(text),
            Element::PieceHash => self.take_piece(text),
            Element::Url => self.take_url(text),
            Element::MetaUrl => self.take_torrent(text),
            _ => self.take_word(element, text.trim()),
        }
    }

    fn take_size(&mut self, text: &str) {
        // What a file offset can be.
        let size = text
            .trim()
            .parse()
            .ok()
            .filter(|size| *size <= i64::MAX as u64);
        match (size, &mut self.file) {
            (None, _) => self.violation("Bad size"),
            (size, Some(file)) => file.size = size,
            (_, None) => {}
        }
    }

    fn take_hash(&mut self, text: &str) {
        let Some(kind) = self.attributes.get("type").map(str::to_owned) else {
            return self.violation("Missing hash@type");
        };
        if let Some(file) = &mut self.file
            && file.hashes.len() < ENTRIES_MAX
        {
            let hex = text.trim().to_owned();
            file.hashes.push(FileHash { kind, hex });
        }
    }

    fn take_piece(&mut self, text: &str) {
        let number = self.attributes.get("piece").map(|text| text.trim().parse());
        let Some(pieces) = &mut self.pieces else {
            return;
        };
        let Some(digest) = bytes_of_hex(text) else {
            pieces.spoilt = true;
            return;
        };
        if pieces.digests.is_empty() {
            pieces.digest_len = digest.len();
        }
        let next = pieces.digests.len() / pieces.digest_len.max(1);
        // Version 3 numbers its pieces, which come in order.
        let in_order = number.is_none_or(|number| number == Ok(next));
        if !in_order || digest.len() != pieces.digest_len {
            pieces.spoilt = true;
            return;
        }
        pieces.digests.extend(digest);
    }

    fn take_url(&mut self, text: &str) {
        let uri = absolute(text, self.base);
        let scheme = scheme_of(&uri).unwrap_or_default().to_ascii_lowercase();
        let (priority, protocol) = match self.version {
            Version::Four => (self.priority("url"), scheme),
            Version::Three => {
                // A mirror without type is of no use, as in aria2.
                let Some(kind) = self.attributes.get("type") else {
                    return;
                };
                let preference = self.attributes.get("preference");
                let priority = priority_of_preference(preference).unwrap_or(PRIORITY_LAST);
                (priority, kind.to_ascii_lowercase())
            }
        };
        let location = self.attributes.get("location").map(str::to_owned);
        let Some(file) = &mut self.file else {
            return;
        };
        if uri.is_empty() {
            return;
        }
        if self.version == Version::Three && protocol == "bittorrent" {
            if file.torrents.len() < ENTRIES_MAX {
                let name = None;
                file.torrents.push(MetaUrl {
                    uri,
                    priority,
                    name,
                });
            }
        } else if file.resources.len() < ENTRIES_MAX {
            file.resources.push(Resource {
                uri,
                priority,
                location,
                protocol,
            });
        }
    }

    fn take_torrent(&mut self, text: &str) {
        let priority = self.priority("metaurl");
        let is_torrent = match self.attributes.get("mediatype") {
            None => {
                self.violation("Missing metaurl@mediatype");
                false
            }
            Some(kind) => kind.eq_ignore_ascii_case("torrent"),
        };
        let name = self.attributes.get("name").map(safe_name);
        if name == Some(None) {
            return self.violation("Bad metaurl@name");
        }
        let uri = absolute(text, self.base);
        if let Some(file) = &mut self.file
            && is_torrent
            && !uri.is_empty()
            && file.torrents.len() < ENTRIES_MAX
        {
            file.torrents.push(MetaUrl {
                uri,
                priority,
                name: name.flatten(),
            });
        }
    }

    /// The attribute `priority` of the element at hand.
    fn priority(&mut self, element: &str) -> u32 {
        let Some(text) = self.attributes.get("priority") else {
            return PRIORITY_LAST;
        };
        let priority = text.trim().parse::<i64>();
        match priority.map(u32::try_from) {
            Ok(Ok(priority)) if (1..=PRIORITY_LAST).contains(&priority) => return priority,
            Ok(_) => self.violation(format!("{element}@priority is out of range")),
            Err(_) => self.violation(format!("Bad {element}@priority")),
        }
        PRIORITY_LAST
    }

    fn take_word(&mut self, element: Element, text: &str) {
        let Some(file) = &mut self.file else {
            return;
        };
        match element {
            Element::Language if file.languages.len() < ENTRIES_MAX => {
                file.languages.push(text.to_owned());
            }
            Element::Os if file.systems.len() < ENTRIES_MAX => file.systems.push(text.to_owned()),
            Element::FileVersion => file.version = Some(text.to_owned()),
            _ => {}
        }
    }
}
