//! Finished files are brought to the disk, so that they survive a loss of power.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::open::dir_of;

/// More files of one file system than these are synced all at once, with everything else there.
const SINGLE_MAX: usize = 16;

/// Syncs these files and their names. Gives those that failed; ones that are gone by now do not
/// count. Blocks.
pub fn sync<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<(PathBuf, io::Error)> {
    let mut by_device: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
    for path in paths {
        if let Ok(data) = std::fs::metadata(path)
            && data.is_file()
        {
            by_device.entry(data.dev()).or_default().push(path);
        }
    }
    let mut failed = Vec::new();
    for paths in by_device.into_values() {
        if paths.len() > SINGLE_MAX && sync_file_system(paths[0]).is_ok() {
            continue;
        }
        let dirs: BTreeSet<&Path> = paths.iter().map(|path| dir_of(path)).collect();
        for path in paths {
            note(
                path,
                File::open(path).and_then(|file| file.sync_data()),
                &mut failed,
            );
        }
        for dir in dirs {
            note(
                dir,
                File::open(dir).and_then(|dir| dir.sync_all()),
                &mut failed,
            );
        }
    }
    failed
}

fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

fn note(path: &Path, result: io::Result<()>, failed: &mut Vec<(PathBuf, io::Error)>) {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            failed.push((path.to_owned(), error));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_files_and_missing_ones() {
        let dir = tempfile::tempdir().unwrap();
        let name = |number: usize| dir.path().join(number.to_string());
        let all: Vec<PathBuf> = (0..SINGLE_MAX + 2).map(name).collect();
        for path in &all[1..] {
            std::fs::write(path, b"x").unwrap();
        }
        assert!(sync(all[..3].iter().map(PathBuf::as_path)).is_empty());
        assert!(sync(all.iter().map(PathBuf::as_path)).is_empty());
    }
}
