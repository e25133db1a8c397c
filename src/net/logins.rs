//! `.netrc` files, read once each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{debug, warn};

use crate::format::netrc::Netrc;

/// Files others may read are not used: whoever could read them could have written them, too.
const MODE_BITS_FORBIDDEN: u32 = 0o077;

/// The `.netrc` files of the process, by path.
#[derive(Default)]
pub struct Logins {
    files: Mutex<Vec<(PathBuf, Arc<Netrc>)>>,
}

impl Logins {
    /// The file's entries; none if it is missing, unreadable or open to others.
    pub fn of(&self, path: &Path) -> Arc<Netrc> {
        let mut files = self.files.lock();
        if let Some((_, netrc)) = files.iter().find(|(known, _)| known == path) {
            return netrc.clone();
        }
        let netrc = Arc::new(read(path));
        files.push((path.to_owned(), netrc.clone()));
        netrc
    }
}

fn read(path: &Path) -> Netrc {
    let shown = path.display();
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) => {
            debug!(%error, "no netrc file {shown}");
            return Netrc::default();
        }
    };
    if mode & MODE_BITS_FORBIDDEN != 0 {
        warn!("{shown} is ignored: its mode is not 600");
        return Netrc::default();
    }
    match fs::read(path) {
        Ok(bytes) => Netrc::parse(&String::from_utf8_lossy(&bytes)),
        Err(error) => {
            warn!(%error, "{shown} cannot be read");
            Netrc::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_open_to_others_is_not_used() {
        for (mode, used) in [(0o600, true), (0o400, true), (0o644, false), (0o660, false)] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(b"machine h login u password p").unwrap();
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(file.path(), permissions).unwrap();
            let logins = Logins::default();
            assert_eq!(logins.of(file.path()).find("h").is_some(), used, "{mode:o}");
        }
        let logins = Logins::default();
        assert!(logins.of(Path::new("/no/such")).find("h").is_none());
    }
}
