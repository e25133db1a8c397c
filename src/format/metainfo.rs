//! Pure: torrent files (BEP 3), with tracker tiers (12), web seeds (17, 19), private torrents (27),
//! file attributes (47), DHT nodes (5) and the v1 side of hybrid torrents (52).
//!
//! A torrent comes from strangers: what could not be stored, would lead out of the directory, or
//! only exists to exhaust memory is refused here, before anything is allocated for it.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::bencode::{self, Dict, List, Value};
pub use super::info_hash::InfoHash;
use crate::base::error::{ErrorCode, Failure};

/// Longest piece that is accepted; the largest seen in the wild are 256 MiB.
pub const PIECE_LEN_MAX: u32 = 1 << 30;
/// Most files of a torrent; the largest seen in the wild have a tenth of it.
pub const FILE_COUNT_MAX: usize = 200_000;
/// Longest path of a file, in bytes; Linux takes no longer ones.
const PATH_LEN_MAX: usize = 4096;
/// Lists that only help are cut, not refused.
const HINTS_MAX: usize = 1_000;

/// A torrent, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metainfo {
    pub info: Info,
    /// Tiers in the order they are to be tried (BEP 12); `announce` alone is one tier.
    pub tiers: Vec<Vec<String>>,
    /// `url-list` (BEP 19).
    pub web_seeds: Vec<String>,
    /// `httpseeds` (BEP 17).
    pub http_seeds: Vec<String>,
    /// DHT nodes: host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    pub comment: Option<String>,
    pub created_by: Option<String>,
}

/// The part of a torrent that its info hash covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    pub hash: InfoHash,
    /// The dictionary as it was sent; peers ask for it (BEP 9).
    pub raw: Vec<u8>,
    /// Name of the only file or of the directory; safe, may hold `/` between segments.
    pub name: String,
    /// Whether `name` is a directory.
    pub multi: bool,
    /// At least one; in the order of the torrent, padding included.
    pub files: Vec<FileEntry>,
    pub piece_len: u32,
    /// SHA-1 of each piece.
    pub piece_hashes: Vec<[u8; 20]>,
    /// Sum of all lengths, padding included; at most `i64::MAX`.
    pub total: u64,
    /// Peers may come from its trackers only (BEP 27).
    pub private: bool,
    /// Has a v2 side as well (BEP 52), which is not used.
    pub hybrid: bool,
}

/// One file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Below the download directory, `/` between segments; for several files it begins with the
    /// torrent's name. Safe to join: no empty, `.` or `..` segment, no control characters.
    pub path: String,
    pub len: u64,
    /// Filler that is never stored: zeros (BEP 47).
    pub padding: bool,
}

impl Metainfo {
    /// Reads a torrent file. `fallback_name` stands in for a missing name; aria2 takes the name of
    /// the torrent file with `.file` behind it.
    ///
    /// # Errors
    /// Code 25 for what is not bencode, 26 for a torrent that lacks something or is refused.
    pub fn parse(bytes: &[u8], fallback_name: &str) -> Result<Self, Failure> {
        let root = parse_dict(bytes)?;
        let info = root
            .dict("info")
            .ok_or_else(|| corrupt("torrent has no info dictionary"))?;
        Ok(Self {
            info: Info::read(info, fallback_name)?,
            tiers: read_tiers(root),
            web_seeds: read_uris(root.get("url-list")),
            http_seeds: read_uris(root.get("httpseeds")),
            nodes: read_nodes(root),
            creation_date: root.int("creation date"),
            comment: preferred(root, "comment.utf-8", "comment").map(shown),
            created_by: root.bytes("created by").map(shown),
        })
    }

    /// A torrent whose info dictionary came from peers (BEP 9). Trackers are those of the magnet
    /// link.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_info(info: &[u8], tiers: Vec<Vec<String>>) -> Result<Self, Failure> {
        let dict = parse_dict(info)?;
        if dict.raw().len() != info.len() {
            return Err(corrupt("bytes follow the info dictionary"));
        }
        let fallback = InfoHash::of(info).to_string();
        Ok(Self {
            info: Info::read(dict, &fallback)?,
            tiers,
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            nodes: Vec::new(),
            creation_date: None,
            comment: None,
            created_by: None,
        })
    }

    /// The bytes of a torrent file with this info dictionary and these trackers, as
    /// `bt-save-metadata` stores them.
    pub fn encode(info: &[u8], tiers: &[Vec<String>]) -> Vec<u8> {
        write(info, tiers, [&[], &[]], &[])
    }

    /// A torrent file of the same, less what it says about itself.
    pub fn to_file(&self) -> Vec<u8> {
        let seeds = [&self.http_seeds[..], &self.web_seeds];
        write(&self.info.raw, &self.tiers, seeds, &self.nodes)
    }
}

/// `seeds`: those of BEP 17, and of BEP 19.
fn write(
    info: &[u8],
    tiers: &[Vec<String>],
    [http_seeds, web_seeds]: [&[String]; 2],
    nodes: &[(String, u16)],
) -> Vec<u8> {
    let mut writer = bencode::Writer::new();
    writer.dict(|root| {
        if let Some(first) = tiers.iter().flatten().next() {
            root.bytes("announce").bytes(first);
            root.bytes("announce-list").list(|list| {
                for tier in tiers.iter().filter(|tier| !tier.is_empty()) {
                    list.list(|uris| {
                        for uri in tier {
                            uris.bytes(uri);
                        }
                    });
                }
            });
        }
        let uris = |root: &mut bencode::Writer, key: &str, uris: &[String]| {
            if !uris.is_empty() {
                root.bytes(key).list(|list| {
                    for uri in uris {
                        list.bytes(uri);
                    }
                });
            }
        };
        uris(root, "httpseeds", http_seeds);
        root.bytes("info").raw(info);
        if !nodes.is_empty() {
            root.bytes("nodes").list(|list| {
                for (host, port) in nodes {
                    list.list(|node| _ = node.bytes(host).int(i64::from(*port)));
                }
            });
        }
        uris(root, "url-list", web_seeds);
    });
    writer.finish()
}

impl Info {
    fn read(info: Dict<'_>, fallback_name: &str) -> Result<Self, Failure> {
        let piece_len = match info.int("piece length") {
            None => return Err(corrupt("torrent has no piece length")),
            Some(len) => u32::try_from(len)
                .ok()
                .filter(|len| (1..=PIECE_LEN_MAX).contains(len))
                .ok_or_else(|| corrupt(format!("piece length {len} is out of range")))?,
        };
        let Some(pieces) = info.bytes("pieces") else {
            return Err(corrupt(if info.int("meta version").is_some() {
                "torrent is of version 2 only, which is not supported"
            } else {
                "torrent has no piece hashes"
            }));
        };
        let name = preferred(info, "name.utf-8", "name").filter(|name| !name.is_empty());
        let name = match name {
            Some(name) => safe_path([name])?,
            None => safe_path([fallback_name.as_bytes()])?,
        };
        let list = info.list("files");
        let files = match list {
            Some(files) => read_files(files, &name)?,
            None => vec![FileEntry {
                path: name.clone(),
                len: read_len(info)?,
                padding: false,
            }],
        };
        let total = sum_of(&files)?;
        let count = total.div_ceil(u64::from(piece_len));
        let (hashes, spare) = pieces.as_chunks();
        if hashes.len() as u64 != count || !spare.is_empty() || files.is_empty() {
            return Err(corrupt(format!(
                "torrent of {total} bytes in pieces of {piece_len} has {} bytes of piece hashes",
                pieces.len()
            )));
        }
        Ok(Self {
            hash: InfoHash::of(info.raw()),
            raw: info.raw().to_vec(),
            name,
            multi: list.is_some(),
            files,
            piece_len,
            piece_hashes: hashes.to_vec(),
            total,
            private: info.int("private") == Some(1),
            hybrid: info.int("meta version") == Some(2),
        })
    }

    pub fn piece_count(&self) -> u32 {
        // Each takes 20 bytes of the input and the count is `total / piece_len`: it fits.
        self.piece_hashes.len() as u32
    }

    /// Bytes of a piece: the last one may be shorter; 0 past the end.
    pub fn len_of_piece(&self, index: u32) -> u32 {
        let start = u64::from(index) * u64::from(self.piece_len);
        let rest = self.total.saturating_sub(start);
        rest.min(u64::from(self.piece_len)) as u32
    }
}

fn corrupt(message: impl Into<String>) -> Failure {
    Failure::fatal(ErrorCode::TorrentCorrupt, message)
}

fn parse_dict(bytes: &[u8]) -> Result<Dict<'_>, Failure> {
    bencode::parse(bytes)
        .map_err(|error| Failure::fatal(ErrorCode::BencodeParse, error.to_string()))?
        .dict()
        .ok_or_else(|| corrupt("torrent is not a dictionary"))
}

/// The UTF-8 twin of a text where there is one that keeps its promise.
fn preferred<'a>(dict: Dict<'a>, utf8: &str, plain: &str) -> Option<&'a [u8]> {
    match dict.text(utf8) {
        Some(text) => Some(text.as_bytes()),
        None => dict.bytes(plain),
    }
}

/// Text to show: as it is, or with everything outside ASCII escaped when it is not UTF-8.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => escaped(bytes),
    }
}

/// aria2 percent-encodes what is not UTF-8 byte by byte.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for &byte in bytes {
        if byte.is_ascii_graphic() || byte == b' ' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Joins components as they stand in a torrent into a path that is safe below a directory. A `/`
/// inside a component separates as it does for aria2; empty and `.` segments vanish; control
/// characters are escaped.
fn safe_path<'a>(components: impl IntoIterator<Item = &'a [u8]>) -> Result<String, Failure> {
    let mut path = String::new();
    for component in components {
        let text = shown(component);
        for segment in text.split('/') {
            match segment {
                "" | "." => continue,
                ".." => return Err(corrupt("path of a file leads out of its directory")),
                _ => {}
            }
            if !path.is_empty() {
                path.push('/');
            }
            push_safe(&mut path, segment);
            if path.len() > PATH_LEN_MAX {
                return Err(corrupt("path of a file is too long"));
            }
        }
    }
    if path.is_empty() {
        return Err(corrupt("path of a file is empty"));
    }
    Ok(path)
}

fn push_safe(path: &mut String, segment: &str) {
    for letter in segment.chars() {
        if letter.is_control() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(path, "%{byte:02X}");
            }
        } else {
            path.push(letter);
        }
    }
}

fn read_len(dict: Dict<'_>) -> Result<u64, Failure> {
    match dict.int("length") {
        None => Err(corrupt("torrent has a file without length")),
        Some(len) => {
            u64::try_from(len).map_err(|_| corrupt(format!("length {len} of a file is negative")))
        }
    }
}

fn read_files(list: List<'_>, name: &str) -> Result<Vec<FileEntry>, Failure> {
    let mut files = Vec::new();
    for entry in list.iter() {
        if files.len() >= FILE_COUNT_MAX {
            return Err(corrupt(format!(
                "torrent has more than {FILE_COUNT_MAX} files"
            )));
        }
        let entry = entry
            .dict()
            .ok_or_else(|| corrupt("file of a torrent is not a dictionary"))?;
        files.push(read_file(entry, name)?);
    }
    refuse_clashes(&files)?;
    Ok(files)
}

fn read_file(entry: Dict<'_>, name: &str) -> Result<FileEntry, Failure> {
    let all_utf8 = |list: &List<'_>| {
        let mut items = list.iter().peekable();
        items.peek().is_some() && items.all(|item| item.text().is_some())
    };
    let components = entry
        .list("path.utf-8")
        .filter(all_utf8)
        .or_else(|| entry.list("path"))
        .ok_or_else(|| corrupt("torrent has a file without path"))?;
    let below = safe_path(components.iter().filter_map(Value::bytes))?;
    let padding = entry.bytes("attr").is_some_and(|attr| attr.contains(&b'p'));
    Ok(FileEntry {
        path: format!("{name}/{below}"),
        len: read_len(entry)?,
        padding,
    })
}

/// Two files of one path, or a file where another needs a directory, cannot both be stored.
fn refuse_clashes(files: &[FileEntry]) -> Result<(), Failure> {
    fn by_segments(a: &&str, b: &&str) -> Ordering {
        a.split('/').cmp(b.split('/'))
    }
    let mut paths: Vec<&str> = files
        .iter()
        .filter(|file| !file.padding)
        .map(|file| file.path.as_str())
        .collect();
    // Sorted by segments, a path stands right before everything below it.
    paths.sort_unstable_by(by_segments);
    for pair in paths.windows(2) {
        let below = pair[1].strip_prefix(pair[0]);
        if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(corrupt(format!(
                "two files of the torrent claim {}",
                pair[0]
            )));
        }
    }
    Ok(())
}

fn sum_of(files: &[FileEntry]) -> Result<u64, Failure> {
    files
        .iter()
        .try_fold(0u64, |total, file| total.checked_add(file.len))
        .filter(|total| *total <= i64::MAX as u64)
        .ok_or_else(|| corrupt("total length of the torrent is out of range"))
}

/// `announce` counts only without a usable `announce-list` (BEP 12).
fn read_tiers(root: Dict<'_>) -> Vec<Vec<String>> {
    let uris = |tier: Value<'_>| read_uris(Some(tier));
    let tiers: Vec<Vec<String>> = root
        .list("announce-list")
        .into_iter()
        .flat_map(List::iter)
        .take(HINTS_MAX)
        .map(uris)
        .filter(|tier| !tier.is_empty())
        .collect();
    if !tiers.is_empty() {
        return tiers;
    }
    let only = read_uris(root.get("announce"));
    if only.is_empty() {
        Vec::new()
    } else {
        vec![only]
    }
}

/// One URI or a list of them; blanks around them, empty ones and repeated ones vanish.
fn read_uris(value: Option<Value<'_>>) -> Vec<String> {
    let mut uris: Vec<String> = Vec::new();
    let mut add = |value: Value<'_>| {
        let text = value.text().unwrap_or_default().trim();
        if !text.is_empty() && uris.len() < HINTS_MAX && !uris.iter().any(|uri| uri == text) {
            uris.push(text.to_owned());
        }
    };
    match value {
        Some(Value::List(list)) => list.iter().take(HINTS_MAX).for_each(add),
        Some(value) => add(value),
        None => {}
    }
    uris
}

fn read_nodes(root: Dict<'_>) -> Vec<(String, u16)> {
    root.list("nodes")
        .into_iter()
        .flat_map(List::iter)
        .filter_map(|node| {
            let mut parts = node.list()?.iter();
            let host = parts.next()?.text()?.trim();
            let port = u16::try_from(parts.next()?.int()?).ok()?;
            (!host.is_empty() && port > 0).then(|| (host.to_owned(), port))
        })
        .take(HINTS_MAX)
        .collect()
}

#[cfg(test)]
#[path = "metainfo_tests.rs"]
mod tests;
