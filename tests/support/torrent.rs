//! Torrent files for tests.

#![allow(dead_code)] // every test binary uses another part

use std::fmt::Write as _;

use base64::Engine as _;
use sha1::{Digest, Sha1};

pub const PIECE_LEN: usize = 16384;

/// A torrent, and what is in it.
pub struct Torrent {
    pub bytes: Vec<u8>,
    pub info_hash: String,
    /// All files, one after the other.
    pub data: Vec<u8>,
}

impl Torrent {
    /// Of several files; `head` is bencode that stands before `info`.
    pub fn multi(name: &str, files: &[(&str, usize)], head: &str) -> Torrent {
        let mut list = String::from("5:filesl");
        for (path, len) in files {
            let _ = write!(list, "d6:lengthi{len}e4:pathl");
            for part in path.split('/') {
                let _ = write!(list, "{}:{part}", part.len());
            }
            list.push_str("ee");
        }
        list.push('e');
        Self::of(name, &list, files.iter().map(|(_, len)| len).sum(), head)
    }

    /// Of one file.
    pub fn single(name: &str, len: usize, head: &str) -> Torrent {
        Self::of(name, &format!("6:lengthi{len}e"), len, head)
    }

    fn of(name: &str, files: &str, len: usize, head: &str) -> Torrent {
        let data: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
        let pieces: Vec<u8> = data.chunks(PIECE_LEN).flat_map(Sha1::digest).collect();
        let mut info = format!(
            "d{files}4:name{}:{name}12:piece lengthi{PIECE_LEN}e6:pieces{}:",
            name.len(),
            pieces.len()
        )
        .into_bytes();
        info.extend(pieces);
        info.push(b'e');
        let mut bytes = format!("d{head}4:info").into_bytes();
        bytes.extend(&info);
        bytes.push(b'e');
        Torrent {
            bytes,
            info_hash: hex(&Sha1::digest(&info)),
            data,
        }
    }

    pub fn base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.bytes)
    }

    /// The name under which an upload of it is kept.
    pub fn upload_name(&self) -> String {
        format!("{}.torrent", hex(&Sha1::digest(&self.bytes)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
