//! What an unfinished file is a part of, noted on the file itself: an extended attribute, as the
//! control file's format has no place for it. File systems without attributes lose the note, and
//! with it only the comparison at the next start.

use std::path::Path;

const NAME: &str = "user.arioso.origin";
/// `ETag`s and dates are far shorter.
const LEN_MAX: usize = 4096;

/// Notes `text` on the file.
pub fn save(path: &Path, text: &str) {
    if text.len() > LEN_MAX {
        return;
    }
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(error) = rustix::fs::setxattr(path, NAME, text.as_bytes(), flags) {
        tracing::debug!(%error, "no note of its origin on {}", path.display());
    }
}

/// The note of an earlier [`save`].
pub fn load(path: &Path) -> Option<String> {
    let mut buf = vec![0; LEN_MAX];
    let len = rustix::fs::getxattr(path, NAME, &mut buf[..]).ok()?;
    buf.truncate(len);
    String::from_utf8(buf).ok()
}

/// Takes the note off a finished file.
pub fn remove(path: &Path) {
    // It may never have had one.
    let _ = rustix::fs::removexattr(path, NAME);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_kept_where_the_file_system_can_and_missed_nowhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // procfs has no attributes.
        for (path, text) in [
            (file.path(), "note".to_owned()),
            (file.path(), "x".repeat(LEN_MAX + 1)),
            (Path::new("/proc/self/status"), "note".to_owned()),
            (Path::new("/no/such/file"), "note".to_owned()),
        ] {
            save(path, &text);
            assert!(load(path).is_none_or(|kept| kept == text && path == file.path()));
            remove(path);
            assert_eq!(load(path), None);
        }
    }
}
