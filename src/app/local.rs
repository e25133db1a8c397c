//! Files on this machine that stand where a URI could: torrents and Metalinks.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::engine::{Source, Upload};

/// More than this is no torrent; the largest seen in the wild have a tenth of it.
const LEN_MAX: u64 = 256 << 20;
/// The path that is standard input.
const STDIN: &str = "-";
/// So much of a file tells what it is.
const HEAD_LEN: u64 = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Torrent,
    Metalink,
}

/// What the file of this path is, by its first bytes; `None`: neither, or there is no such file.
pub fn kind_of(path: &str) -> Option<Kind> {
    let mut head = Vec::new();
    // A pipe or a device would be waited for, or be used up.
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let read = File::open(path).and_then(|file| file.take(HEAD_LEN).read_to_end(&mut head));
    if !is_file || read.is_err() {
        return None;
    }
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if head.first() == Some(&b'd') && head.get(1).is_some_and(u8::is_ascii_digit) {
        Some(Kind::Torrent)
    } else if text.starts_with("<?xml") || text.starts_with("<metalink") {
        Some(Kind::Metalink)
    } else {
        None
    }
}

/// The file as something to add. Blocks.
///
/// # Errors
/// It cannot be read or is far too long.
pub fn read(path: &str, kind: Kind, uris: Vec<String>) -> io::Result<Source> {
    let upload = Upload {
        file: bytes(path)?.into(),
        uris,
        path: (path != STDIN).then(|| absolute(path).to_string_lossy().into_owned()),
        keep_copy: false,
    };
    Ok(match kind {
        Kind::Torrent => Source::Torrent(upload),
        Kind::Metalink => Source::Metalink(upload),
    })
}

/// The content of a file. Blocks.
///
/// # Errors
/// It cannot be read or is far too long.
pub fn bytes(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let input: Box<dyn Read> = match path {
        STDIN => Box::new(io::stdin()),
        _ => Box::new(File::open(path)?),
    };
    input.take(LEN_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LEN_MAX {
        true => Err(io::Error::other("it is too long for a torrent or Metalink")),
        false => Ok(bytes),
    }
}

/// A later process may be started elsewhere.
fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| Path::new(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_kind() {
        let dir = tempfile::tempdir().unwrap();
        for (content, kind) in [
            ("d4:infod", Some(Kind::Torrent)),
            ("<?xml version=\"1.0\"?>", Some(Kind::Metalink)),
            ("\u{feff} \n<metalink xmlns=", Some(Kind::Metalink)),
            ("downloads", None),
            ("", None),
        ] {
            let path = dir.path().join("file");
            std::fs::write(&path, content).unwrap();
            assert_eq!(kind_of(path.to_str().unwrap()), kind, "{content}");
        }
        assert_eq!(kind_of(dir.path().to_str().unwrap()), None);
        assert_eq!(kind_of("/nonexistent/file"), None);
    }
}
