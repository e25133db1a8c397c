//! Pure: the files of a download: names, lengths, how much of each is there.

use std::path::PathBuf;
use std::sync::Arc;

use super::Download;
use crate::engine::brief::Brief;
use crate::engine::file_view::{self, Choice, FileView, Mirrors};
use crate::engine::footprint::Footprint;
use crate::engine::state::{DownloadState, Outcome};
use crate::format::magnet::Magnet;
use crate::option::keys::OUT;
use crate::storage::{Content, Layout};
use crate::transfer::{Job, Live};

impl Download {
    pub fn files(&self) -> Vec<FileView> {
        match self.brief() {
            Some(brief) if brief.content().is_some() => self.files_of(brief),
            _ => vec![self.only_file()],
        }
    }

    fn only_file(&self) -> FileView {
        let length = self.total_len();
        FileView {
            index: 1,
            path: self.path(),
            length,
            completed: self.finished_pieces_len(length),
            selected: true,
            uris: self.uri_entries(),
        }
    }

    fn files_of(&self, brief: &Brief) -> Vec<FileView> {
        let Some(content) = brief.content() else {
            return Vec::new();
        };
        let choice = Choice::of(&self.options, self.dir(), content);
        let layout = self.layout();
        let used = self.used_uris();
        let mirrors = Mirrors::of(brief, used);
        let completed = self.completed_by_file(content);
        let is_complete = self.state == DownloadState::Stopped(Outcome::Complete);
        let views = content.files.iter().enumerate().map(|(index, file)| {
            let (path, selected) = file_view::place(content, &choice, layout.as_deref(), index);
            FileView {
                index: index + 1,
                path,
                length: match content.total {
                    Some(_) => file.len,
                    None => self.total_len(),
                },
                completed: match is_complete && selected && content.total.is_some() {
                    // Its last piece may reach into a file nobody asked for.
                    true => file.len,
                    false => completed.get(index).copied().unwrap_or(0),
                },
                selected,
                uris: match content.files.len() {
                    1 => self.uri_entries(),
                    _ => mirrors.of_file(index),
                },
            }
        });
        views.collect()
    }

    fn completed_by_file(&self, content: &Content) -> Vec<u64> {
        if let Some(live) = &self.live {
            let detail = live.detail();
            if !detail.bitfield.is_empty() {
                return file_view::completed(content, &detail.bitfield, self.piece_len());
            }
        }
        let total = self.total_len();
        match &content.files[..] {
            [_] => vec![self.finished_pieces_len(total)],
            files if total > 0 && self.completed_len() == total => {
                files.iter().map(|file| file.len).collect()
            }
            files => vec![0; files.len()],
        }
    }

    fn layout(&self) -> Option<Arc<Layout>> {
        self.live.as_ref()?.detail().layout.clone()
    }

    fn magnet(&self) -> Option<&Magnet> {
        match &self.brief()?.job {
            Job::Magnet(magnet) => Some(magnet),
            Job::Uris | Job::Known(_) => None,
        }
    }

    /// Path of the first file that is wanted; empty while unknown.
    pub fn path(&self) -> String {
        if let Some(magnet) = self.magnet() {
            return match &magnet.name {
                Some(name) => format!("[METADATA]{name}"),
                None => format!("[METADATA]{}", magnet.info_hash),
            };
        }
        if let Some(content) = self.brief().and_then(Brief::content) {
            let choice = Choice::of(&self.options, self.dir(), content);
            let layout = self.layout();
            let first = choice.first(content);
            return file_view::place(content, &choice, layout.as_deref(), first).0;
        }
        let started = self
            .live
            .as_ref()
            .and_then(|live| live.detail().path.clone());
        if let Some(path) = started {
            return path.to_string_lossy().into_owned();
        }
        if let Some(path) = self.rare.as_ref().and_then(|rare| rare.kept.path.clone()) {
            return path;
        }
        match self.options.get(OUT) {
            Some(out) => format!("{}/{out}", self.dir()),
            None => String::new(),
        }
    }

    /// How many files are wanted.
    pub fn file_count(&self) -> usize {
        self.brief().and_then(Brief::content).map_or(1, |content| {
            Choice::of(&self.options, self.dir(), content).count(content)
        })
    }

    /// What it has written, now and later on.
    pub fn footprint(&self) -> Footprint {
        let kept = self.rare.as_ref().map(|rare| &rare.kept);
        // Without it the path is only what the options suggest.
        let kept = kept.filter(|kept| kept.piece_len > 0);
        Footprint {
            dir: PathBuf::from(&*self.dir()),
            live: self.live.clone(),
            kept: kept.and_then(|kept| kept.path.as_ref().map(PathBuf::from)),
            content: self.brief().and_then(Brief::content).map(|content| {
                let choice = Choice::of(&self.options, self.dir(), content);
                (choice, Arc::clone(content))
            }),
        }
    }

    /// Whether it has opened a file.
    pub fn has_written(&self) -> bool {
        self.figure(Live::piece_len, |kept| kept.piece_len) > 0
    }

    fn finished_pieces_len(&self, length: u64) -> u64 {
        let Some(live) = &self.live else {
            let completed = self.completed_len();
            return if completed == length {
                length
            } else {
                completed / self.piece_len() * self.piece_len()
            };
        };
        let piece_len = self.piece_len();
        let detail = live.detail();
        let pieces = &detail.bitfield;
        if pieces.is_empty() {
            return self.completed_len();
        }
        let full = u64::from(pieces.count_ones()) * piece_len;
        // The last piece may be shorter than the others.
        let missing = match pieces.get(pieces.len() - 1) {
            true => (u64::from(pieces.len()) * piece_len).saturating_sub(length),
            false => 0,
        };
        full.saturating_sub(missing)
    }
}
