//! Pure: the text of `--version`. Its first line and the lines `Enabled Features:` and
//! `Hash Algorithms:` are read by Motrix, yt-dlp and apt-fast, so they are as aria2c prints them.

use crate::base::product::{ARIA2_VERSION, FEATURES, NAME, VERSION};
use crate::option::value::DIGEST_TYPES;

/// Everything that `--version` prints.
pub fn text() -> String {
    let hashes: Vec<&str> = DIGEST_TYPES.iter().map(|(name, _)| *name).collect();
    format!(
        "aria2 version {ARIA2_VERSION}\n\
         {NAME} {VERSION}: a download server that speaks aria2's interfaces. MIT licence, no warranty.\n\
         \n\
         ** Configuration **\n\
         Enabled Features: {}\n\
         Hash Algorithms: {}\n",
        FEATURES.join(", "),
        hashes.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_find_what_they_look_for() {
        let text = text();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("aria2 version 1.37.0"));
        assert!(lines.next().is_some_and(|line| line.starts_with(concat!("arioso ", env!("CARGO_PKG_VERSION")))));
        let sftp = if cfg!(feature = "sftp") { ", SFTP" } else { "" };
        let features = format!(
            "Enabled Features: Async DNS, BitTorrent, Firefox3 Cookie, GZip, HTTPS, \
             Message Digest, Metalink, XML-RPC{sftp}"
        );
        assert!(text.lines().any(|line| line == features));
        let hashes = "Hash Algorithms: sha-1, sha-224, sha-256, sha-384, sha-512, md5, adler32";
        assert!(text.lines().any(|line| line == hashes));
    }
}
