//! Names of files: joined, made safe, made unique.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::base::error::{ErrorCode, Failure};

/// `name.N.ext` is tried up to this N (aria2 manual, `--auto-file-renaming`).
const RENAME_MAX: u32 = 9999;

/// `dir` and `name` (which may hold sub-directories) as aria2 joins them: one that begins with `/`
/// is put below the directory like any other.
pub fn join(dir: &str, name: &str) -> PathBuf {
    let mut path = String::with_capacity(dir.len() + 1 + name.len());
    path.push_str(if dir.is_empty() { "." } else { dir });
    if !path.ends_with('/') && !name.starts_with('/') {
        path.push('/');
    }
    path.push_str(name);
    PathBuf::from(path)
}

/// `name.N.ext`: N goes before the last extension; a name whose only dot leads has none.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let name_start = bytes
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |at| at + 1);
    let dot = bytes[name_start..]
        .iter()
        .rposition(|byte| *byte == b'.')
        .filter(|at| *at > 0)
        .map_or(bytes.len(), |at| name_start + at);
    let mut renamed = bytes[..dot].to_vec();
    renamed.extend_from_slice(format!(".{number}").as_bytes());
    renamed.extend_from_slice(&bytes[dot..]);
    PathBuf::from(OsString::from_vec(renamed))
}

/// The first of `name.1.ext`, `name.2.ext` ... that `is_taken` does not refuse.
///
/// # Errors
/// 13 when all 9999 are taken.
pub fn first_free(path: &Path, is_taken: impl Fn(&Path) -> bool) -> Result<PathBuf, Failure> {
    (1..=RENAME_MAX)
        .map(|number| numbered(path, number))
        .find(|candidate| !is_taken(candidate))
        .ok_or_else(|| {
            let text = format!(
                "{} and its {RENAME_MAX} other names are taken",
                path.display()
            );
            Failure::fatal(ErrorCode::FileExists, text)
        })
}

/// Whether a download may not take this path: something stands there, and there is no control
/// file beside it to resume from.
pub fn is_occupied(path: &Path) -> bool {
    path.symlink_metadata().is_ok() && !super::progress::control_path(path).exists()
}

/// One path segment out of text from the network: `/` and control characters become percent
/// escapes. `None` where nothing or only `.` or `..` is left.
pub fn safe_segment(text: &str) -> Option<String> {
    use std::fmt::Write as _;
    if matches!(text, "" | "." | "..") {
        return None;
    }
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter == '/' || letter.is_control() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(safe, "%{byte:02X}");
            }
        } else {
            safe.push(letter);
        }
    }
    Some(safe)
}

/// A relative path out of a torrent, a Metalink or `index-out`: every segment safe, none that
/// leads upwards. Empty segments are skipped.
///
/// # Errors
/// `None` when a segment is `..` or nothing is left.
pub fn safe_relative<'a>(segments: impl IntoIterator<Item = &'a str>) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for segment in segments {
        match segment {
            "" | "." => {}
            ".." => return None,
            other => path.push(safe_segment(other)?),
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_as_aria2_does() {
        let cases = [
            ("/dl", "a", "/dl/a"),
            ("/dl/", "a/b", "/dl/a/b"),
            ("/dl", "/abs/a", "/dl/abs/a"),
            ("", "a", "./a"),
            ("/", "a", "/a"),
            ("/dl", "../a", "/dl/../a"),
        ];
        for (dir, name, path) in cases {
            assert_eq!(join(dir, name), Path::new(path));
        }
    }

    #[test]
    fn numbers_go_before_the_last_extension() {
        let cases = [
            ("ren.tar.gz", "ren.tar.1.gz"),
            ("renx", "renx.1"),
            (".hid", ".hid.1"),
            ("..", "..1."),
            ("d.ir/renx", "d.ir/renx.1"),
            ("d.ir/.hid", "d.ir/.hid.1"),
            ("/d/.hid.txt", "/d/.hid.1.txt"),
            ("a.", "a.1."),
        ];
        for (name, renamed) in cases {
            assert_eq!(numbered(Path::new(name), 1), Path::new(renamed));
        }
    }

    #[test]
    fn takes_the_first_free_number() {
        let taken = |path: &Path| path != Path::new("a.12.b");
        assert_eq!(first_free(Path::new("a.b"), taken), Ok("a.12.b".into()));
        let failure = first_free(Path::new("a.b"), |_| true).unwrap_err();
        assert_eq!(failure.code, ErrorCode::FileExists);
    }

    #[test]
    fn a_path_with_a_control_file_is_resumed_not_avoided() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        assert!(!is_occupied(&path));
        std::fs::write(&path, b"").unwrap();
        assert!(is_occupied(&path));
        std::fs::write(dir.path().join("a.1.bin"), b"").unwrap();
        std::fs::write(dir.path().join("a.1.bin.aria2"), b"").unwrap();
        assert_eq!(
            first_free(&path, is_occupied),
            Ok(dir.path().join("a.1.bin"))
        );
    }

    #[test]
    fn segments_are_made_safe() {
        assert_eq!(
            safe_segment("a/b\u{0}\n\u{85}").as_deref(),
            Some("a%2Fb%00%0A%C2%85")
        );
        assert_eq!(safe_segment("a\\b:*?\"é").as_deref(), Some("a\\b:*?\"é"));
        for nothing in ["", ".", ".."] {
            assert_eq!(safe_segment(nothing), None);
        }
        assert_eq!(safe_relative(["a", "", ".", "b/c"]), Some("a/b%2Fc".into()));
        assert_eq!(safe_relative(["a", ".."]), None);
        assert_eq!(safe_relative([""]), None);
    }
}
