//! Pure: where the files of a torrent or a Metalink lie below the download directory.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::layout::{Layout, LayoutFile};
use super::path::safe_relative;
use crate::base::error::{ErrorCode, Failure};
use crate::option::bt_settings::BtSettings;
use crate::option::value::parse_index_path;

impl Layout {
    /// The files of `content` below `dir`. `index-out` gives a file another path below `dir`;
    /// `select-file` says which ones are wanted, unless the content itself does. `out` has no
    /// say: the names of a torrent are its own.
    ///
    /// # Errors
    /// 28 a path of `index-out` leads out of the directory, or two files get the same path.
    pub fn of_content(
        content: &Content,
        dir: &Path,
        settings: &BtSettings,
    ) -> Result<Self, Failure> {
        let renamed = renamed(&settings.index_out)?;
        let wanted = content.wanted(settings.selected.clone());
        let files: Vec<LayoutFile> = content
            .files
            .iter()
            .enumerate()
            .map(|(index, file)| LayoutFile {
                path: dir.join(match renamed.get(&index) {
                    Some(path) => path.clone(),
                    None => PathBuf::from(&file.path),
                }),
                len: file.len,
                selected: is_selected(index, &wanted),
                padding: file.padding,
            })
            .collect();
        if !renamed.is_empty() {
            refuse_twins(&files)?;
        }
        match (files.as_slice(), content.total) {
            ([only], None) => Ok(Layout::single(only.path.clone(), None)),
            _ => Ok(Layout::multi(files)),
        }
    }
}

/// What the control file is beside: of several files the directory of the torrent's name, whatever
/// `index-out` says; of a single one the file itself.
pub fn root_of(content: &Content, layout: &Layout, dir: &Path) -> PathBuf {
    match layout.files() {
        [only] if !content.multi => only.path.clone(),
        _ => dir.join(&content.name),
    }
}

fn is_selected(index: usize, wanted: &[RangeInclusive<u32>]) -> bool {
    let Ok(number) = u32::try_from(index + 1) else {
        return false;
    };
    wanted.is_empty() || wanted.iter().any(|range| range.contains(&number))
}

/// Paths of `index-out` by index from 0; of several for one file the last one counts.
fn renamed(lines: &[std::sync::Arc<str>]) -> Result<HashMap<usize, PathBuf>, Failure> {
    let mut renamed = HashMap::new();
    for line in lines {
        let Some((number, path)) = parse_index_path(line) else {
            return Err(refused(line, "it is not INDEX=PATH"));
        };
        let Some(path) = safe_relative(path.split('/')) else {
            return Err(refused(line, "the path leads out of the directory"));
        };
        if let Some(index) = (number as usize).checked_sub(1) {
            renamed.insert(index, path);
        }
    }
    Ok(renamed)
}

fn refuse_twins(files: &[LayoutFile]) -> Result<(), Failure> {
    let mut seen = std::collections::HashSet::with_capacity(files.len());
    match files.iter().find(|file| !seen.insert(&file.path)) {
        None => Ok(()),
        Some(twin) => {
            let text = format!("index-out: two files would be {}", twin.path.display());
            Err(Failure::fatal(ErrorCode::Option, text))
        }
    }
}

fn refused(line: &str, why: &str) -> Failure {
    Failure::fatal(
        ErrorCode::Option,
        format!("index-out {line} is refused: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;
    use crate::storage::ContentFile;

    fn content() -> Content {
        let file = |path: &str, len, padding| ContentFile {
            path: path.into(),
            len,
            padding,
        };
        Content {
            name: "top".into(),
            multi: true,
            files: vec![
                file("top/a", 10, false),
                file("top/.pad/6", 6, true),
                file("top/b/c", 20, false),
            ],
            total: Some(36),
            pieces: None,
            proofs: Vec::new(),
            doubts: Vec::new(),
            chosen: Vec::new(),
            torrent: None,
        }
    }

    fn layout(lines: &[&str], selected: &[u32]) -> Result<Layout, Failure> {
        let mut settings = BtSettings::from(&OptionSet::new());
        settings.index_out = lines.iter().map(|line| (*line).into()).collect();
        settings.selected = selected.iter().map(|number| *number..=*number).collect();
        Layout::of_content(&content(), Path::new("/dl"), &settings)
    }

    #[test]
    fn files_lie_below_dir_and_may_be_renamed() {
        let plain = layout(&[], &[]).unwrap();
        assert_eq!(plain.total(), Some(36));
        assert_eq!(plain.files()[2].path, Path::new("/dl/top/b/c"));
        assert!(plain.files().iter().all(|file| file.selected));
        assert!(plain.files()[1].padding);
        let renamed = layout(&["3=x/y", "1=old", "1=new", "9=nobody"], &[3]).unwrap();
        assert_eq!(renamed.files()[2].path, Path::new("/dl/x/y"));
        assert_eq!(renamed.files()[0].path, Path::new("/dl/new"));
        let selected: Vec<bool> = renamed.files().iter().map(|file| file.selected).collect();
        assert_eq!(selected, [false, false, true]);
        let root = root_of(&content(), &renamed, Path::new("/dl"));
        assert_eq!(root, Path::new("/dl/top"));
    }

    #[test]
    fn paths_that_lead_out_or_meet_are_refused() {
        for lines in [&["1=../x"][..], &["1=a", "3=a"], &["1=top/b/c"], &["1=/"]] {
            assert_eq!(layout(lines, &[]).unwrap_err().code, ErrorCode::Option);
        }
    }
}
