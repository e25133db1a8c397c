//! Pure: message digests behind one type, and checksums as options and Metalinks write them.

use std::fmt;
use std::str::FromStr;

use adler2::Adler32;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// A kind of digest, the weakest first: of several checksums the greatest kind counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DigestKind {
    /// RFC 1950; finds accidents only.
    Adler32,
    /// RFC 1321.
    Md5,
    /// FIPS 180-4, as all that follow.
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl DigestKind {
    /// Every kind, the weakest first.
    pub const ALL: &'static [DigestKind] = &[
        DigestKind::Adler32,
        DigestKind::Md5,
        DigestKind::Sha1,
        DigestKind::Sha224,
        DigestKind::Sha256,
        DigestKind::Sha384,
        DigestKind::Sha512,
    ];

    /// The name that options and Metalinks use (RFC 5854, IANA hash function text names).
    pub fn name(self) -> &'static str {
        match self {
            Self::Adler32 => "adler32",
            Self::Md5 => "md5",
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// The kind of this name in any case; `sha1` and `sha256` without the dash too, as
    /// Metalink 3 writes them.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| {
            let own = kind.name().bytes();
            name.eq_ignore_ascii_case(kind.name())
                || own
                    .filter(|byte| *byte != b'-')
                    .eq(name.bytes().map(|byte| byte.to_ascii_lowercase()))
        })
    }

    /// Bytes of the digest.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Adler32 => 4,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for DigestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest that bytes should have.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Checksum {
    pub kind: DigestKind,
    /// `kind.digest_len()` bytes.
    pub digest: Vec<u8>,
}

/// Why a text is no checksum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChecksumError {
    /// There is no `=` in it.
    Form,
    /// The kind is not known.
    Kind(String),
    /// The digest has this many hex digits where the kind has another number.
    Length(DigestKind, usize),
    /// The digest holds something that is no hex digit.
    Digit(char),
}

impl fmt::Display for ChecksumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("a checksum is written TYPE=DIGEST"),
            Self::Kind(name) => write!(f, "checksum type {name:?} is not known"),
            Self::Length(kind, digits) => write!(
                f,
                "a {kind} digest has {} hex digits, not {digits}",
                kind.digest_len() * 2
            ),
            Self::Digit(letter) => write!(f, "{letter:?} is no hex digit"),
        }
    }
}

impl std::error::Error for ChecksumError {}

impl Checksum {
    /// A kind and its digest in hex, upper or lower case.
    ///
    /// # Errors
    /// Wrong length or digits.
    pub fn from_hex(kind: DigestKind, hex: &str) -> Result<Self, ChecksumError> {
        if let Some(letter) = hex.chars().find(|letter| !letter.is_ascii_hexdigit()) {
            return Err(ChecksumError::Digit(letter));
        }
        if hex.len() != kind.digest_len() * 2 {
            return Err(ChecksumError::Length(kind, hex.len()));
        }
        let digits = hex.chars().filter_map(|letter| letter.to_digit(16));
        let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
        Ok(Self {
            kind,
            digest: digits
                .chunks(2)
                .map(|pair| pair[0] << 4 | pair[1])
                .collect(),
        })
    }

    pub fn matches(&self, digest: &[u8]) -> bool {
        self.digest == digest
    }
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    /// `sha-256=HEX`, as the option `checksum` has it.
    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        let (name, hex) = text.split_once('=').ok_or(ChecksumError::Form)?;
        let kind =
            DigestKind::from_name(name).ok_or_else(|| ChecksumError::Kind(name.to_owned()))?;
        Self::from_hex(kind, hex)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.kind)?;
        self.digest
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Digests bytes as they come.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Adler32(Adler32),
    Md5(Md5),
    Sha1(Sha1),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub fn new(kind: DigestKind) -> Self {
        Self(match kind {
            DigestKind::Adler32 => State::Adler32(Adler32::new()),
            DigestKind::Md5 => State::Md5(Md5::new()),
            DigestKind::Sha1 => State::Sha1(Sha1::new()),
            DigestKind::Sha224 => State::Sha224(Sha224::new()),
            DigestKind::Sha256 => State::Sha256(Sha256::new()),
            DigestKind::Sha384 => State::Sha384(Sha384::new()),
            DigestKind::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Adler32(state) => state.write_slice(bytes),
            State::Md5(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha224(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of everything so far.
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            State::Adler32(state) => state.checksum().to_be_bytes().to_vec(),
            State::Md5(state) => state.finalize().to_vec(),
            State::Sha1(state) => state.finalize().to_vec(),
            State::Sha224(state) => state.finalize().to_vec(),
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha384(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests of "abc" (RFC 1321, FIPS 180 examples).
    const ABC: &[&str] = &[
        "adler32=024d0127",
        "md5=900150983cd24fb0d6963f7d28e17f72",
        "sha-1=a9993e364706816aba3e25717850c26c9cd0d89d",
        "sha-224=23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        "sha-256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha-384=cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        "sha-512=ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ];

    #[test]
    fn digests_are_the_standards_ones() {
        for (kind, text) in DigestKind::ALL.iter().zip(ABC) {
            let checksum: Checksum = text.parse().unwrap();
            assert_eq!(checksum.kind, *kind);
            assert_eq!(checksum.to_string(), *text);
            let mut hasher = Hasher::new(*kind);
            hasher.update(b"a");
            hasher.update(b"");
            hasher.update(b"bc");
            assert!(checksum.matches(&hasher.finish()), "{kind}");
        }
    }

    #[test]
    fn names_are_those_of_the_options() {
        use crate::option::value::DIGEST_TYPES;
        assert_eq!(DIGEST_TYPES.len(), DigestKind::ALL.len());
        for (name, _) in DIGEST_TYPES {
            assert_eq!(
                DigestKind::from_name(name).map(DigestKind::name),
                Some(*name)
            );
        }
        assert_eq!(DigestKind::from_name("SHA256"), Some(DigestKind::Sha256));
        assert_eq!(DigestKind::from_name("Sha-1"), Some(DigestKind::Sha1));
        assert_eq!(DigestKind::from_name("md-5"), None);
    }

    #[test]
    fn bad_checksums_say_why() {
        let cases = [
            ("abc", "a checksum is written TYPE=DIGEST"),
            ("crc=00", "checksum type \"crc\" is not known"),
            ("md5=00", "a md5 digest has 32 hex digits, not 2"),
            ("md5=0g", "'g' is no hex digit"),
            ("adler32=ä", "'ä' is no hex digit"),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<Checksum>().unwrap_err().to_string(), message);
        }
        assert_eq!(
            "SHA-1=A9993E364706816ABA3E25717850C26C9CD0D89D".parse(),
            ABC[2].parse::<Checksum>()
        );
    }
}
