//! Pure: the 20 bytes that name a torrent (BEP 3), in the forms magnet links write them.

use std::fmt;

use sha1::{Digest, Sha1};

/// SHA-1 of a torrent's info dictionary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// The hash of an info dictionary, taken over the bytes as they were sent.
    pub fn of(info: &[u8]) -> Self {
        Self(Sha1::digest(info).into())
    }

    /// 40 hex digits or 32 letters of base32 (BEP 9), in either case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            40 => from_hex(text),
            32 => from_base32(text),
            _ => None,
        }
        .map(Self)
    }
}

fn from_hex(text: &str) -> Option<[u8; 20]> {
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |letter: u8| char::from(letter).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(hash)
}

/// RFC 4648 section 6: eight letters are five bytes.
fn from_base32(text: &str) -> Option<[u8; 20]> {
    let mut hash = [0; 20];
    for (bytes, letters) in hash
        .chunks_exact_mut(5)
        .zip(text.as_bytes().chunks_exact(8))
    {
        let mut group = 0u64;
        for letter in letters {
            let value = match letter.to_ascii_uppercase() {
                upper @ b'A'..=b'Z' => upper - b'A',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            group = group << 5 | u64::from(value);
        }
        bytes.copy_from_slice(&group.to_be_bytes()[3..]);
    }
    Some(hash)
}

/// Lower-case hex.
impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base32_name_the_same_torrent() {
        let hex = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
        let hash = InfoHash::parse(hex).unwrap();
        assert_eq!(hash.to_string(), hex);
        assert_eq!(InfoHash::parse(&hex.to_uppercase()), Some(hash));
        // Python: base64.b32encode(bytes.fromhex(hex))
        for text in [
            "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK",
            "yex6dqdlxisuvhoj6um3gnnkpqjwpkek",
        ] {
            assert_eq!(InfoHash::parse(text), Some(hash));
        }
        for wrong in [
            "",
            "c12fe1",
            &"g".repeat(40),
            &"1".repeat(32),
            &"é".repeat(20),
            &"é".repeat(16),
        ] {
            assert_eq!(InfoHash::parse(wrong), None, "{wrong}");
        }
    }
}
