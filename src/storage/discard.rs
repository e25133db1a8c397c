//! Deletes the files of a download, and nothing else.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::progress::control_path;
use crate::base::error::{ErrorCode, Failure};

/// The data files of a download, looked at and found to be its own. Blocking.
#[derive(Debug)]
pub struct Discard {
    files: Vec<PathBuf>,
    /// The directory of a download of several files.
    root: Option<PathBuf>,
}

impl Discard {
    /// Looks at the files a download has written below `dir`. What is gone already is no trouble.
    ///
    /// # Errors
    /// One of them is not below `dir`, is reached by a link or `..` out of it, or is no plain file.
    pub fn plan(dir: &Path, files: Vec<PathBuf>) -> Result<Self, Failure> {
        let discard = Self { files, root: None };
        for file in &discard.files {
            check(dir, file)?;
        }
        Ok(discard)
    }

    /// The same of files in a directory of their own: its control file goes as well, and what is
    /// empty then of the directories.
    pub fn with_root(self, root: Option<PathBuf>) -> Self {
        Self { root, ..self }
    }

    /// Deletes them and their control files; looks at each again first.
    ///
    /// # Errors
    /// As for [`Self::plan`], or the system refuses; the rest is deleted all the same.
    pub fn run(self, dir: &Path) -> Result<(), Failure> {
        let mut result = Ok(());
        let mut go = |path: &Path| {
            let deleted = check(dir, path).and_then(|()| delete(path));
            if result.is_ok() {
                result = deleted;
            }
        };
        for file in &self.files {
            go(file);
            go(&control_path(file));
        }
        if let Some(root) = &self.root {
            go(&control_path(root));
            remove_empty(root, &self.files);
        }
        result
    }
}

/// Removes the directories of these files that are empty now, `root` included and none above it.
fn remove_empty(root: &Path, files: &[PathBuf]) {
    let below_root = |dir: &&Path| dir.starts_with(root);
    let mut dirs: Vec<&Path> = files
        .iter()
        .flat_map(|file| file.ancestors().skip(1).take_while(below_root))
        .collect();
    // The deepest first.
    dirs.sort_unstable_by_key(|dir| (std::cmp::Reverse(dir.components().count()), *dir));
    dirs.dedup();
    for dir in dirs {
        // The system refuses what is not empty, and a link is no directory for it.
        let _ = std::fs::remove_dir(dir);
    }
}

fn check(dir: &Path, file: &Path) -> Result<(), Failure> {
    let climbs = file.components().any(|part| part == Component::ParentDir);
    if climbs || !file.starts_with(dir) {
        return Err(refused(file, "it is not below the download's directory"));
    }
    let places = dir.canonicalize().and_then(|dir| {
        let parent = file.parent().unwrap_or(Path::new("/")).canonicalize()?;
        Ok((dir, parent))
    });
    match places {
        Ok((dir, parent)) if !parent.starts_with(&dir) => {
            return Err(refused(
                file,
                "a link leads out of the download's directory",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(file, &error.to_string())),
    }
    match file.symlink_metadata() {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(refused(file, "it is no plain file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(file, &error.to_string())),
    }
}

fn delete(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(refused(path, &error.to_string()))
        }
        _ => Ok(()),
    }
}

fn refused(path: &Path, why: &str) -> Failure {
    let text = format!("{} is not deleted: {why}.", path.display());
    Failure::fatal(ErrorCode::Unknown, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn directories_go_when_they_are_empty() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path();
        for sub in ["t/a/b", "t/c", "u"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        for name in ["t/a/b/1", "t/2", "t/c/3", "t/c/foreign", "t.aria2", "u/4"] {
            fs::write(dir.join(name), name).unwrap();
        }
        let files = ["t/a/b/1", "t/2", "t/c/3"].map(|name| dir.join(name));
        let discard = Discard::plan(dir, files.to_vec()).unwrap();
        discard.with_root(Some(dir.join("t"))).run(dir).unwrap();
        let left: Vec<bool> = ["t/a", "t/2", "t.aria2", "t/c/3", "t/c/foreign", "u/4"]
            .map(|name| dir.join(name).exists())
            .to_vec();
        assert_eq!(left, [false, false, false, false, true, true]);
    }

    #[test]
    fn only_plain_files_below_the_directory_go() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        let dir = root.join("dl");
        fs::create_dir_all(dir.join("sub")).unwrap();
        for name in ["precious", "dl/a", "dl/a.aria2", "dl/sub/b", "dl/other"] {
            fs::write(root.join(name), name).unwrap();
        }
        symlink(root.join("precious"), dir.join("link")).unwrap();
        symlink(root, dir.join("up")).unwrap();
        for (path, allowed) in [
            ("a", true),
            ("sub/b", true),
            ("gone", true),
            ("gone/too", true),
            ("link", false),
            ("up/precious", false),
            ("sub", false),
            ("../precious", false),
            ("sub/../a", false),
        ] {
            let planned = Discard::plan(&dir, vec![dir.join(path)]);
            assert_eq!(planned.is_ok(), allowed, "{path}: {planned:?}");
        }
        assert!(Discard::plan(&dir, vec![root.join("precious")]).is_err());

        let files = vec![dir.join("a"), dir.join("sub/b"), dir.join("gone")];
        let discard = Discard::plan(&dir, files).unwrap();
        discard.run(&dir).unwrap();
        for (name, kept) in [
            ("precious", true),
            ("dl/a", false),
            ("dl/a.aria2", false),
            ("dl/sub/b", false),
            ("dl/other", true),
        ] {
            assert_eq!(root.join(name).exists(), kept, "{name}");
        }
    }

    #[test]
    fn what_changes_after_the_first_look_is_not_deleted() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("dl");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a"), "a").unwrap();
        fs::write(place.path().join("precious"), "p").unwrap();
        let discard = Discard::plan(&dir, vec![dir.join("a")]).unwrap();
        fs::remove_file(dir.join("a")).unwrap();
        symlink(place.path().join("precious"), dir.join("a")).unwrap();
        assert!(discard.run(&dir).is_err());
        assert!(place.path().join("precious").exists());
    }
}
