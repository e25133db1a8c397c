//! Which files RPC clients may name. Blocking: looks at directories and links on the disk.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::base::error::{ErrorCode, Failure};
use crate::option::spec::Kind;
use crate::option::value::parse_index_path;
use crate::option::{OptionId, OptionSet, Tag, keys};

/// The directory of `rpc-dir-jail`. What another local user moves about between the look and the
/// use is out of its reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jail {
    /// Absolute and without links.
    root: PathBuf,
}

impl Jail {
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// It is no directory that can be used.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let opened = std::fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
        match opened {
            Ok(root) => Ok(Self { root }),
            Err(error) => Err(Failure::fatal(
                ErrorCode::Unknown,
                format!("--rpc-dir-jail={}: {error}", dir.display()),
            )),
        }
    }

    /// Whether the path leads to a place inside, whatever links are on the way.
    pub fn holds(&self, path: &Path) -> bool {
        real_path(path).is_ok_and(|real| real.starts_with(&self.root))
    }
}

/// Whether a name stays below the directory it is joined to, links aside: neither absolute nor with
/// `..` in it.
pub fn stays_below(name: &str) -> bool {
    Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Whether one of these options makes it necessary to look at the disk.
pub fn names_files(changes: &[(OptionId, String)]) -> bool {
    changes
        .iter()
        .any(|(id, _)| matches!(id.spec().kind, Kind::Path | Kind::IndexPath))
}

/// Whether a value may be what a client wants, by itself.
pub fn is_decent(id: OptionId, text: &str) -> bool {
    if id == keys::OUT.id {
        return stays_below(text);
    }
    if id == keys::INDEX_OUT.id {
        let lines = text.lines().filter(|line| !line.is_empty());
        return lines
            .filter_map(parse_index_path)
            .all(|(_, path)| stays_below(path));
    }
    true
}

/// The first of `changes` that would lead out of the jail; `options` have them applied.
pub fn first_outside(
    jail: &Jail,
    options: &OptionSet,
    changes: &[(OptionId, String)],
) -> Option<OptionId> {
    let mut ids = changes.iter().map(|(id, _)| *id);
    ids.find(|id| !is_inside(jail, options, *id))
}

fn is_inside(jail: &Jail, options: &OptionSet, id: OptionId) -> bool {
    let dir = options.get(keys::DIR);
    let dir = Path::new(dir.as_deref().unwrap_or("."));
    let value = options.text(id).unwrap_or_default();
    if value.is_empty() {
        return true;
    }
    match id.spec().kind {
        _ if id == keys::OUT.id => holds_below(jail, dir, &value),
        Kind::IndexPath => value
            .lines()
            .filter_map(parse_index_path)
            .all(|(_, path)| holds_below(jail, dir, path)),
        // Standard output.
        Kind::Path if id == keys::LOG.id && value == "-" => true,
        // Programs are let in by an option of their own.
        Kind::Path if !id.spec().tags.contains(&Tag::Hook) => jail.holds(Path::new(&value)),
        _ => true,
    }
}

/// A directory outside the jail was chosen by the owner; names stay below it all the same.
fn holds_below(jail: &Jail, dir: &Path, name: &str) -> bool {
    let path = dir.join(name);
    match jail.holds(dir) {
        true => jail.holds(&path),
        false => match (real_path(dir), real_path(&path)) {
            (Ok(dir), Ok(path)) => path.starts_with(dir),
            _ => false,
        },
    }
}

/// Where a path leads: absolute, links followed. What is not there yet is taken by its name.
///
/// # Errors
/// A link leads nowhere, `..` comes after what is not there, or the disk says no.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut exists = true;
    for part in std::path::absolute(path)?.components() {
        match part {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir if exists => {
                real.pop();
            }
            Component::ParentDir => return Err(io::ErrorKind::NotFound.into()),
            Component::Normal(name) => {
                real.push(name);
                exists = exists && step_into(&mut real)?;
            }
        }
    }
    Ok(real)
}

/// Follows the path if it is a link; false if nothing is there.
fn step_into(path: &mut PathBuf) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(found) => {
            if found.is_symlink() {
                *path = path.canonicalize()?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::find;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_that_climb_or_start_anew_are_not_decent() {
        for (option, text, decent) in [
            ("out", "a/b.iso", true),
            ("out", "./a", true),
            ("out", "..a/b..", true),
            ("out", "", true),
            ("out", "../a", false),
            ("out", "a/../b", false),
            ("out", "a/..", false),
            ("out", "/etc/passwd", false),
            ("index-out", "1=a\n2=b/c", true),
            ("index-out", "1=a\n2=/b", false),
            ("index-out", "1=../a", false),
            ("dir", "/anywhere/..", true),
        ] {
            let id = find(option).unwrap();
            assert_eq!(is_decent(id, text), decent, "{option}={text}");
        }
    }

    #[test]
    fn links_are_followed_and_gaps_are_not_climbed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let jail_dir = root.join("jail");
        let jail = Jail::open(&jail_dir).unwrap();
        std::fs::create_dir_all(root.join("out")).unwrap();
        std::fs::create_dir_all(jail_dir.join("a/b")).unwrap();
        symlink(root.join("out"), jail_dir.join("leads-out")).unwrap();
        symlink("a/b", jail_dir.join("leads-in")).unwrap();
        symlink("nowhere", jail_dir.join("dangling")).unwrap();
        symlink("loop", jail_dir.join("loop")).unwrap();
        symlink(&jail_dir, root.join("back")).unwrap();
        for (path, held) in [
            ("jail", true),
            ("jail/", true),
            ("jail/new/deep", true),
            ("jail/a/..", true),
            ("jail/a/../..", false),
            ("jail/new/../x", false),
            ("jail/../out", false),
            ("jail/leads-out", false),
            ("jail/leads-out/x", false),
            ("jail/leads-out/../jail/x", true),
            ("jail/leads-in/x", true),
            ("jail/leads-in/../../x", true),
            ("jail/leads-in/../../../x", false),
            ("jail/dangling", false),
            ("jail/loop/x", false),
            ("back/x", true),
            ("jailed", false),
            ("out", false),
        ] {
            assert_eq!(jail.holds(&root.join(path)), held, "{path}");
        }
        assert!(!jail.holds(Path::new("/")) && !jail.holds(Path::new("relative")));
    }

    #[test]
    fn options_are_judged_together() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let jail = Jail::open(&root.join("jail")).unwrap();
        std::fs::create_dir_all(root.join("mine")).unwrap();
        symlink(&root, root.join("jail/up")).unwrap();
        symlink(&root, root.join("mine/up")).unwrap();
        let place = |name: &str| root.join(name).to_string_lossy().into_owned();
        let (inside, outside) = (place("jail/d"), place("elsewhere"));
        for (pairs, stray) in [
            (vec![("dir", &*inside), ("out", "x/y")], None),
            (vec![("dir", &outside)], Some("dir")),
            (vec![("out", "x")], None),
            (vec![("out", "up/x")], Some("out")),
            (vec![("dir", &*place("jail")), ("out", "up/x")], Some("out")),
            (vec![("index-out", "1=x\n2=up/y")], Some("index-out")),
            (vec![("complete-dir", &outside)], Some("complete-dir")),
            (vec![("log", &*outside)], Some("log")),
            (vec![("log", "-")], None),
            (vec![("log", "")], None),
            (vec![("save-session", &*inside)], None),
            (vec![("save-cookies", &*outside)], Some("save-cookies")),
            (vec![("split", "3")], None),
        ] {
            let changes: Vec<_> = pairs
                .iter()
                .map(|(name, text)| (find(name).unwrap(), (*text).to_owned()))
                .collect();
            let mut options = OptionSet::new();
            options
                .set_text(keys::DIR.id, &place("mine"))
                .and_then(|()| {
                    let mut changes = changes.iter();
                    changes.try_for_each(|(id, text)| options.replace_text(*id, text))
                })
                .unwrap();
            let found = first_outside(&jail, &options, &changes).map(OptionId::name);
            assert_eq!(found, stray, "{pairs:?}");
        }
    }
}
