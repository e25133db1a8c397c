//! Finished files and directories move to another directory (`complete-dir`): at once, or by a
//! whole copy that takes the name only when it is on the disk. Blocking.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::failed;
use super::open::{dir_of, make_parent, sync_dir};
use super::path::first_free;
use crate::base::error::{ErrorCode, Failure};

/// What to do where the name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    Replace,
    /// `name.N.ext`
    Rename,
    Fail,
}

/// Moves `from`, a file or a directory, to `to`; gives the path it has now. A directory that
/// replaces another one is merged into it, file by file.
///
/// # Errors
/// 13 the name is taken, 14 the move failed (the file stays where it was), 18 the directory
/// cannot be made, 9 the other disk is full.
pub fn relocate(from: &Path, to: &Path, taken: Taken) -> Result<PathBuf, Failure> {
    make_parent(to)?;
    if is_same_place(from, to) {
        return Ok(from.to_owned());
    }
    let mut target = to.to_owned();
    loop {
        match rename(from, &target, taken == Taken::Replace) {
            Ok(()) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match taken {
                Taken::Rename => target = first_free(to, |path| path.symlink_metadata().is_ok())?,
                _ => {
                    let text = format!("{} exists already", to.display());
                    return Err(Failure::fatal(ErrorCode::FileExists, text));
                }
            },
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                merge(from, &target)?;
                return Ok(target);
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let part = copy(from, &target)?;
                let moved = relocate(&part, to, taken);
                match moved {
                    Ok(_) => remove(from),
                    Err(_) => remove(&part),
                }
                return moved;
            }
            Err(error) => return Err(failed(&error, ErrorCode::RenameFailed, "move", from)),
        }
    }
}

/// Whether both are one entry of one directory, whatever ways lead there.
fn is_same_place(one: &Path, other: &Path) -> bool {
    let dir = |path: &Path| dir_of(path).canonicalize().ok();
    one.file_name() == other.file_name() && dir(one).is_some() && dir(one) == dir(other)
}

/// Renames and makes the new name last; without `replace` never over another file.
fn rename(from: &Path, to: &Path, replace: bool) -> io::Result<()> {
    let flags = match replace {
        true => RenameFlags::empty(),
        false => RenameFlags::NOREPLACE,
    };
    match renameat_with(CWD, from, CWD, to, flags) {
        // Old file systems know no flags: a look before has to do.
        Err(Errno::INVAL) if !replace => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)?;
        }
        other => other?,
    }
    // The file is complete under both names; a name lost with the power is no damage.
    let _ = sync_dir(dir_of(to));
    Ok(())
}

/// Moves what is in the directory `from` into `to`, replacing files.
fn merge(from: &Path, to: &Path) -> Result<(), Failure> {
    let listed =
        entries(from).map_err(|error| failed(&error, ErrorCode::RenameFailed, "read", from));
    for name in listed? {
        relocate(&from.join(&name), &to.join(&name), Taken::Replace)?;
    }
    remove(from);
    Ok(())
}

fn entries(dir: &Path) -> io::Result<Vec<OsString>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
    names.collect()
}

/// A whole, synced copy beside `to`, under a name of its own.
fn copy(from: &Path, to: &Path) -> Result<PathBuf, Failure> {
    let mut name: OsString = to.as_os_str().to_owned();
    name.push(".arioso-part");
    let part = PathBuf::from(name);
    let copied = copy_all(from, &part);
    if let Err(error) = copied {
        remove(&part);
        return Err(failed(&error, ErrorCode::RenameFailed, "copy", from));
    }
    Ok(part)
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(from)?.is_dir() {
        match fs::create_dir(to) {
            // Left by a crash.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        for name in entries(from)? {
            copy_all(&from.join(&name), &to.join(&name))?;
        }
        return fs::File::open(to)?.sync_all();
    }
    fs::copy(from, to)?;
    let file = fs::File::options().append(true).open(to)?;
    file.set_modified(fs::metadata(from)?.modified()?)?;
    file.sync_all()
}

fn remove(path: &Path) {
    let removed = match path.symlink_metadata() {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "{} cannot be removed", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_and_minds_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (taken, wanted, code) in [
            (Taken::Rename, "done/x/f.bin", None),
            (Taken::Rename, "done/x/f.1.bin", None),
            (Taken::Replace, "done/x/f.bin", None),
            (Taken::Fail, "", Some(ErrorCode::FileExists)),
        ] {
            fs::write(path("f.bin"), b"data").unwrap();
            let moved = relocate(&path("f.bin"), &path("done/x/f.bin"), taken);
            match code {
                Some(code) => assert_eq!(moved.unwrap_err().code, code),
                None => assert_eq!(moved.unwrap(), path(wanted)),
            }
            assert_eq!(path("f.bin").exists(), code.is_some());
        }
    }

    #[test]
    fn what_is_there_already_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("dl")).unwrap();
        std::os::unix::fs::symlink(path("dl"), path("done")).unwrap();
        fs::create_dir(path("dl/top")).unwrap();
        fs::write(path("dl/f"), b"data").unwrap();
        for taken in [Taken::Replace, Taken::Rename, Taken::Fail] {
            for name in ["f", "top"] {
                for to in ["dl", "done", "done/../done"] {
                    let moved = relocate(&path("dl").join(name), &path(to).join(name), taken);
                    assert_eq!(moved.unwrap(), path("dl").join(name));
                }
            }
        }
        assert_eq!(fs::read_dir(path("dl")).unwrap().count(), 2);
    }

    #[test]
    fn directories_move_as_a_whole_and_are_merged_where_they_replace() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (taken, wanted) in [
            (Taken::Fail, "done/top"),
            (Taken::Rename, "done/top.1"),
            (Taken::Replace, "done/top"),
        ] {
            fs::create_dir_all(path("top/sub")).unwrap();
            fs::write(path("top/sub/f"), format!("{taken:?}")).unwrap();
            let moved = relocate(&path("top"), &path("done/top"), taken).unwrap();
            assert_eq!(moved, path(wanted));
            let content = fs::read_to_string(moved.join("sub/f")).unwrap();
            assert_eq!(content, format!("{taken:?}"));
            assert!(!path("top").exists());
            fs::write(path("done/top/other"), b"stays").unwrap();
        }
        assert!(path("done/top/other").exists());
    }

    #[test]
    fn another_file_system_gets_a_copy_of_a_directory() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let (from, to) = (dir.path().join("top"), other.path().join("d/top"));
        fs::create_dir_all(from.join("sub/empty")).unwrap();
        fs::write(from.join("sub/f"), b"data").unwrap();
        assert_eq!(relocate(&from, &to, Taken::Fail).unwrap(), to);
        assert_eq!(fs::read(to.join("sub/f")).unwrap(), b"data");
        assert!(to.join("sub/empty").is_dir() && !from.exists());
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn another_file_system_gets_a_copy() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let (from, to) = (dir.path().join("f"), other.path().join("d/f"));
        fs::write(&from, b"data").unwrap();
        assert_eq!(relocate(&from, &to, Taken::Fail).unwrap(), to);
        assert_eq!(fs::read(&to).unwrap(), b"data");
        assert!(!from.exists());
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    }
}
