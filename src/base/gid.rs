//! Pure: the identifier of a download.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A download's identifier: 64 bits, never zero, written as 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gid(NonZeroU64);

impl Gid {
    /// `None` for zero, which aria2 reserves.
    pub fn new(value: u64) -> Option<Gid> {
        NonZeroU64::new(value).map(Gid)
    }

    pub fn value(self) -> u64 {
        self.0.get()
    }

    /// Whether this GID begins with the digits of `prefix`.
    pub fn starts_with(self, prefix: GidPrefix) -> bool {
        prefix.first() <= self.value() && self.value() <= prefix.last()
    }
}

/// The text is not a full GID of 16 hex digits other than zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadGid;

impl FromStr for Gid {
    type Err = BadGid;

    /// Takes exactly 16 hex digits of either case (aria2 manual, option `gid`).
    fn from_str(text: &str) -> Result<Self, BadGid> {
        let prefix = GidPrefix::from_str(text)?;
        if prefix.digits != 16 {
            return Err(BadGid);
        }
        Gid::new(prefix.value).ok_or(BadGid)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The first 1 to 16 hex digits of a GID, as RPC methods take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GidPrefix {
    value: u64,
    digits: u32,
}

impl GidPrefix {
    /// The smallest number that begins with these digits.
    pub fn first(self) -> u64 {
        if self.digits == 16 {
            self.value
        } else {
            self.value << (64 - 4 * self.digits)
        }
    }

    /// The largest number that begins with these digits.
    pub fn last(self) -> u64 {
        let rest = 64 - 4 * self.digits;
        self.first()
            | if rest == 0 {
                0
            } else {
                u64::MAX >> (64 - rest)
            }
    }
}

impl FromStr for GidPrefix {
    type Err = BadGid;

    fn from_str(text: &str) -> Result<Self, BadGid> {
        if !(1..=16).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadGid);
        }
        let value = u64::from_str_radix(text, 16).map_err(|_| BadGid)?;
        Ok(Self {
            value,
            digits: text.len() as u32,
        })
    }
}

impl From<Gid> for GidPrefix {
    fn from(gid: Gid) -> Self {
        Self {
            value: gid.value(),
            digits: 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_back() {
        let gid: Gid = "00AB000000000001".parse().unwrap();
        assert_eq!(gid.to_string(), "00ab000000000001");
        assert!("0000000000000000".parse::<Gid>().is_err());
        assert!("ab".parse::<Gid>().is_err());
        assert!("+123456789012345".parse::<Gid>().is_err());
    }

    #[test]
    fn prefix_covers_what_begins_with_it() {
        let gid: Gid = "aaaa000000000002".parse().unwrap();
        for (prefix, covers) in [
            ("a", true),
            ("AAAA", true),
            ("aaab", false),
            ("aaaa000000000002", true),
        ] {
            assert_eq!(gid.starts_with(prefix.parse().unwrap()), covers, "{prefix}");
        }
        let all: GidPrefix = "f".parse().unwrap();
        assert_eq!(all.last(), u64::MAX);
    }
}
