//! Pure: the files of a download as RPC and console show them.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::brief::Brief;
use crate::base::bitfield::Bitfield;
use crate::option::OptionSet;
use crate::option::keys::{INDEX_OUT, SELECT_FILE};
use crate::storage::{Content, Layout};
use crate::transfer::{UriEntry, WebSeed};

/// One file of a download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileView {
    /// Counted from 1.
    pub index: usize,
    /// Empty while unknown.
    pub path: String,
    /// In bytes; 0 while unknown.
    pub length: u64,
    /// Bytes of finished pieces.
    pub completed: u64,
    pub selected: bool,
    pub uris: Vec<UriEntry>,
}

/// Which files are wanted, and under which names.
pub(super) struct Choice {
    dir: Arc<str>,
    /// From 1; empty: all.
    ranges: Vec<RangeInclusive<u32>>,
    /// Other paths below `dir`, by number from 1.
    names: HashMap<u32, String>,
}

impl Choice {
    pub fn of(options: &OptionSet, dir: Arc<str>, content: &Content) -> Self {
        let names = options.get(INDEX_OUT);
        let names = names.iter().filter_map(|line| {
            let (index, path) = line.split_once('=')?;
            Some((index.trim().parse().ok()?, path.to_owned()))
        });
        let ranges = match content.files.len() {
            // The only file is always wanted.
            1 => Vec::new(),
            _ => content.wanted(options.get(SELECT_FILE)),
        };
        Self {
            dir,
            ranges,
            names: names.collect(),
        }
    }

    /// `index` counts from 0.
    pub fn wants(&self, index: usize) -> bool {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        self.ranges.is_empty() || self.ranges.iter().any(|range| range.contains(&number))
    }

    /// Where file `index` (from 0) goes, as far as the options tell.
    pub fn path(&self, content: &Content, index: usize) -> String {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let below = match self.names.get(&number) {
            Some(name) => name,
            None => &content.files[index].path,
        };
        format!("{}/{below}", self.dir)
    }

    /// The first file that is wanted, from 0.
    pub fn first(&self, content: &Content) -> usize {
        let mut indexes = 0..content.files.len();
        let real = |index: &usize| self.wants(*index) && !content.files[*index].padding;
        indexes.find(real).unwrap_or(0)
    }

    /// How many files are wanted.
    pub fn count(&self, content: &Content) -> usize {
        (0..content.files.len())
            .filter(|index| self.wants(*index))
            .count()
    }

    /// Files that a transfer writes to: the wanted ones, and those that share a piece with them.
    pub fn touched(&self, content: &Content) -> Vec<usize> {
        let piece_len = content.pieces.as_ref().map_or(1, |pieces| pieces.piece_len);
        // Pieces of wanted files, as spans of piece numbers in their order.
        let spans: Vec<(u64, u64)> = spans(content, piece_len).collect();
        let wanted: Vec<(u64, u64)> = spans
            .iter()
            .enumerate()
            .filter(|(index, _)| self.wants(*index))
            .map(|(_, span)| *span)
            .collect();
        let shares = |span: &(u64, u64)| {
            let at = wanted.partition_point(|other| other.1 <= span.0);
            wanted.get(at).is_some_and(|other| other.0 < span.1)
        };
        let real = |index: &usize| !content.files[*index].padding;
        let mut touched: Vec<usize> = (0..spans.len())
            .filter(|index| self.wants(*index) || shares(&spans[*index]))
            .collect();
        touched.retain(real);
        touched
    }
}

/// The pieces of each file: the first, and the one after the last.
fn spans(content: &Content, piece_len: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
    let mut start = 0u64;
    content.files.iter().map(move |file| {
        let end = start.saturating_add(file.len);
        let span = (start / piece_len, end.div_ceil(piece_len));
        start = end;
        span
    })
}

/// Bytes of each file that lie in finished pieces.
pub(super) fn completed(content: &Content, pieces: &Bitfield, piece_len: u64) -> Vec<u64> {
    let mut start = 0u64;
    let of_file = |len: u64| {
        let (begin, end) = (start, start.saturating_add(len));
        start = end;
        let first = u32::try_from(begin / piece_len).unwrap_or(u32::MAX);
        let past = u32::try_from(end.div_ceil(piece_len)).unwrap_or(u32::MAX);
        let have = (first..past.min(pieces.len())).filter(|piece| pieces.get(*piece));
        have.map(|piece| {
            let at = u64::from(piece) * piece_len;
            (at + piece_len).min(end) - at.max(begin)
        })
        .sum()
    };
    content
        .files
        .iter()
        .map(|file| file.len)
        .map(of_file)
        .collect()
}

/// What is shown of each file's mirrors.
pub(super) struct Mirrors<'a> {
    /// In the order of the files.
    seeds: &'a [WebSeed],
    used: HashSet<Arc<str>>,
}

impl<'a> Mirrors<'a> {
    pub fn of(brief: &'a Brief, used: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            seeds: &brief.web_seeds,
            used: used.into_iter().collect(),
        }
    }

    /// Those of file `index`, from 0; used ones first.
    pub fn of_file(&self, index: usize) -> Vec<UriEntry> {
        let start = self.seeds.partition_point(|seed| seed.file < index);
        let rest = &self.seeds[start..];
        let of_file = &rest[..rest.partition_point(|seed| seed.file == index)];
        let mut entries: Vec<UriEntry> = of_file
            .iter()
            .map(|seed| UriEntry {
                uri: Arc::clone(&seed.uri),
                used: self.used.contains(&seed.uri),
            })
            .collect();
        entries.sort_by_key(|entry| !entry.used);
        entries
    }
}

/// The path and whether it is wanted, of file `index`: as the transfer has settled it, or else as
/// the options tell.
pub(super) fn place(
    content: &Content,
    choice: &Choice,
    layout: Option<&Layout>,
    index: usize,
) -> (String, bool) {
    let settled = layout.and_then(|layout| layout.files().get(index));
    match settled {
        Some(file) => (
            file.path.to_string_lossy().into_owned(),
            choice.wants(index),
        ),
        None => (choice.path(content, index), choice.wants(index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::digest::DigestKind;
    use crate::storage::{ContentFile, PieceHashes};

    /// Pieces of 10 bytes.
    fn content(lens: &[u64]) -> Content {
        let file = |(index, len): (usize, &u64)| ContentFile {
            path: format!("t/{index}"),
            len: *len,
            padding: false,
        };
        let total: u64 = lens.iter().sum();
        Content {
            name: "t".to_owned(),
            multi: true,
            files: lens.iter().enumerate().map(file).collect(),
            total: Some(total),
            pieces: Some(PieceHashes {
                kind: DigestKind::Sha1,
                piece_len: 10,
                digests: vec![0; 20 * total.div_ceil(10) as usize].into(),
            }),
            proofs: Vec::new(),
            doubts: Vec::new(),
            chosen: Vec::new(),
            torrent: None,
        }
    }

    fn choice(select: &str, names: &[&str], content: &Content) -> Choice {
        let mut options = OptionSet::new();
        if !select.is_empty() {
            options.set_text(SELECT_FILE.id, select).unwrap();
        }
        for name in names {
            options.set_text(INDEX_OUT.id, name).unwrap();
        }
        Choice::of(&options, Arc::from("/d"), content)
    }

    #[test]
    fn finished_bytes_are_counted_file_by_file() {
        let content = content(&[5, 0, 12, 8, 3]);
        let mut pieces = Bitfield::new(3);
        pieces.set(1, true);
        assert_eq!(completed(&content, &pieces, 10), [0, 0, 7, 3, 0]);
        pieces.set(2, true);
        assert_eq!(completed(&content, &pieces, 10), [0, 0, 7, 8, 3]);
        pieces.set(0, true);
        assert_eq!(completed(&content, &pieces, 10), [5, 0, 12, 8, 3]);
    }

    #[test]
    fn options_choose_files_and_names() {
        let content = content(&[10, 10, 15, 5]);
        let chosen = choice("2,4", &["4=x/y"], &content);
        assert_eq!((chosen.first(&content), chosen.count(&content)), (1, 2));
        assert_eq!(chosen.path(&content, 1), "/d/t/1");
        assert_eq!(chosen.path(&content, 3), "/d/x/y");
        // The last piece is shared by files 3 and 4.
        assert_eq!(chosen.touched(&content), [1, 2, 3]);
        let all = choice("", &[], &content);
        assert_eq!(all.touched(&content), [0, 1, 2, 3]);
    }

    #[test]
    fn mirrors_stand_with_their_file() {
        let seed = |file, uri: &str| WebSeed {
            file,
            uri: Arc::from(uri),
        };
        let brief = Brief {
            web_seeds: vec![seed(0, "a"), seed(2, "b"), seed(2, "c")],
            ..Brief::default()
        };
        let mirrors = Mirrors::of(&brief, [Arc::from("c")]);
        let shown = |index| -> Vec<(String, bool)> {
            let entries = mirrors.of_file(index);
            entries
                .iter()
                .map(|entry| (entry.uri.to_string(), entry.used))
                .collect()
        };
        assert_eq!(shown(0), [("a".to_owned(), false)]);
        assert_eq!(shown(1), []);
        assert_eq!(shown(2), [("c".to_owned(), true), ("b".to_owned(), false)]);
    }
}
