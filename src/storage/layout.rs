//! Pure: where the bytes of a download lie in its files.
//!
//! A download is one line of bytes. A single file is that line; several files stand one after
//! the other on it, in the order of the torrent or Metalink (BEP 3). Lookups are binary
//! searches, so 10,000 files cost as little as ten.

use std::path::{Path, PathBuf};

use crate::base::units::Span;

/// One file of a download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayoutFile {
    pub path: PathBuf,
    /// Bytes; 0 for a single file of unknown length.
    pub len: u64,
    /// Whether the user wants it (`select-file`).
    pub selected: bool,
    /// Filler between files that is never stored: reads as zeros, writes vanish (BEP 47).
    pub padding: bool,
}

impl LayoutFile {
    /// A selected, real file.
    pub fn new(path: impl Into<PathBuf>, len: u64) -> Self {
        Self {
            path: path.into(),
            len,
            selected: true,
            padding: false,
        }
    }
}

/// The part of a span that lies in one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Index into [`Layout::files`].
    pub file: usize,
    /// Offset of the first byte in that file.
    pub at: u64,
    /// Number of bytes, never 0.
    pub len: u64,
}

/// Files on the line of bytes of one download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    files: Vec<LayoutFile>,
    /// Offset of each file's first byte.
    starts: Vec<u64>,
    /// `None` while the length of a single file is unknown.
    total: Option<u64>,
}

impl Layout {
    /// One file; `None` when its length is not known yet.
    pub fn single(path: impl Into<PathBuf>, len: Option<u64>) -> Self {
        Self {
            files: vec![LayoutFile::new(path, len.unwrap_or(0))],
            starts: vec![0],
            total: len,
        }
    }

    /// Files in their order. Lengths whose sum passes 2^64 are cut off there.
    pub fn multi(files: Vec<LayoutFile>) -> Self {
        let mut end: u64 = 0;
        let starts = files
            .iter()
            .map(|file| {
                let start = end;
                end = end.saturating_add(file.len);
                start
            })
            .collect();
        Self {
            files,
            starts,
            total: Some(end),
        }
    }

    /// The same files at other paths, one for each.
    pub fn with_paths(&self, paths: Vec<PathBuf>) -> Self {
        let mut moved = self.clone();
        for (file, path) in moved.files.iter_mut().zip(paths) {
            file.path = path;
        }
        moved
    }

    /// Length of the download in bytes, if known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    pub fn files(&self) -> &[LayoutFile] {
        &self.files
    }

    /// Path of the first file, which names the download; `None` without files.
    pub fn first_path(&self) -> Option<&Path> {
        self.files.first().map(|file| file.path.as_path())
    }

    /// The bytes of file `index`; to the end of the line while the length is unknown.
    pub fn span_of(&self, index: usize) -> Span {
        let (Some(file), Some(&start)) = (self.files.get(index), self.starts.get(index)) else {
            return Span::new(0, 0);
        };
        match self.total {
            Some(_) => Span::new(start, start.saturating_add(file.len)),
            None => Span::new(0, u64::MAX),
        }
    }

    /// The parts of `span`, file by file; bytes past the end are left out.
    pub fn locate(&self, span: Span) -> impl Iterator<Item = Part> + '_ {
        let end = span.end.min(self.total.unwrap_or(u64::MAX));
        let mut at = span.start;
        // The last file that starts here is the one that holds the byte: files of no length
        // share their start with the next one.
        let mut index = self.starts.partition_point(|start| *start <= at);
        std::iter::from_fn(move || {
            while at < end {
                let file = index.checked_sub(1)?;
                let here = self.span_of(file).intersect(Span::new(at, end));
                index += 1;
                if here.is_empty() {
                    if file + 1 >= self.files.len() {
                        return None;
                    }
                    continue;
                }
                at = here.end;
                return Some(Part {
                    file,
                    at: here.start - self.starts[file],
                    len: here.len(),
                });
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(layout: &Layout, start: u64, end: u64) -> Vec<(usize, u64, u64)> {
        layout
            .locate(Span::new(start, end))
            .map(|part| (part.file, part.at, part.len))
            .collect()
    }

    fn multi(lens: &[u64]) -> Layout {
        Layout::multi(
            lens.iter()
                .map(|len| LayoutFile::new(format!("f{len}"), *len))
                .collect(),
        )
    }

    #[test]
    fn single_file_is_the_line() {
        let known = Layout::single("a", Some(100));
        assert_eq!(parts(&known, 10, 200), [(0, 10, 90)]);
        assert_eq!(parts(&known, 100, 200), []);
        let unknown = Layout::single("a", None);
        assert_eq!(unknown.total(), None);
        assert_eq!(parts(&unknown, 5, 1 << 40), [(0, 5, (1 << 40) - 5)]);
    }

    #[test]
    fn spans_cross_files_and_skip_empty_ones() {
        let layout = multi(&[0, 5, 0, 0, 7, 0]);
        assert_eq!(parts(&layout, 0, 12), [(1, 0, 5), (4, 0, 7)]);
        assert_eq!(parts(&layout, 5, 6), [(4, 0, 1)]);
        assert_eq!(parts(&layout, 4, 6), [(1, 4, 1), (4, 0, 1)]);
        assert_eq!(parts(&layout, 12, 13), []);
        assert_eq!(parts(&multi(&[]), 0, 1), []);
        assert_eq!(parts(&multi(&[0]), 0, 1), []);
    }

    #[test]
    fn lengths_past_the_end_of_numbers_are_cut() {
        let layout = multi(&[u64::MAX, 10]);
        assert_eq!(layout.total(), Some(u64::MAX));
        assert_eq!(
            parts(&layout, u64::MAX - 1, u64::MAX),
            [(0, u64::MAX - 1, 1)]
        );
    }

    proptest! {
        #[test]
        fn every_byte_lies_where_counting_says(lens in prop::collection::vec(0u64..5, 0..20), start in 0u64..60, len in 0u64..60) {
            let layout = multi(&lens);
            let line: Vec<(usize, u64)> = lens.iter().enumerate()
                .flat_map(|(file, len)| (0..*len).map(move |at| (file, at)))
                .collect();
            let told: Vec<(usize, u64)> = layout.locate(Span::new(start, start + len))
                .flat_map(|part| (part.at..part.at + part.len).map(move |at| (part.file, at)))
                .collect();
            let counted: Vec<(usize, u64)> = line.iter().copied()
                .skip(start as usize).take(len as usize).collect();
            prop_assert_eq!(told, counted);
        }
    }
}
