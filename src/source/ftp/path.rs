//! Pure: which directories and which file a URI's path names (RFC 1738, section 3.2.2).

use percent_encoding::percent_decode_str;

/// Directories to change into one after the other, from where the login leads, and the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FtpPath {
    pub dirs: Vec<Vec<u8>>,
    pub file: Vec<u8>,
}

/// Why a path cannot be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// It ends with a slash.
    NoFile,
    /// It would end the command it stands in.
    LineBreak,
}

impl FtpPath {
    /// Takes the path of a URI apart: each part is decoded by itself, so that `%2F` at its
    /// beginning names the root directory.
    ///
    /// # Errors
    /// No file in it, or a line break or zero byte.
    pub fn parse(path: &str) -> Result<Self, Unusable> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut parts: Vec<Vec<u8>> = path
            .split('/')
            .map(|part| percent_decode_str(part).collect())
            .collect();
        if parts.iter().flatten().any(|byte| b"\r\n\0".contains(byte)) {
            return Err(Unusable::LineBreak);
        }
        let file = parts.pop().filter(|file| !file.is_empty());
        let file = file.ok_or(Unusable::NoFile)?;
        parts.retain(|part| !part.is_empty());
        Ok(Self { dirs: parts, file })
    }

    pub fn is_ascii(&self) -> bool {
        self.file.is_ascii() && self.dirs.iter().all(|dir| dir.is_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded_one_by_one() {
        for (path, expected) in [
            ("/a", "a"),
            ("/d/e/a%20b", "d|e|a b"),
            ("//d///a", "d|a"),
            ("/%2Fetc/motd", "/etc|motd"),
            ("/%2fmotd", "/motd"),
            ("/d/%C3%BC;x?", "d|\u{fc};x?"),
        ] {
            let path = FtpPath::parse(path).unwrap();
            let mut parts = path.dirs;
            parts.push(path.file);
            let shown: Vec<_> = parts
                .iter()
                .map(|part| String::from_utf8_lossy(part))
                .collect();
            assert_eq!(shown.join("|"), expected);
        }
        for (path, why) in [
            ("", Unusable::NoFile),
            ("/", Unusable::NoFile),
            ("/d/", Unusable::NoFile),
            ("/a%0D%0ADELE x", Unusable::LineBreak),
            ("/a%00", Unusable::LineBreak),
        ] {
            assert_eq!(FtpPath::parse(path), Err(why));
        }
    }
}
