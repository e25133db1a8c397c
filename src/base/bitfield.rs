//! Pure: a set of piece numbers, laid out as BitTorrent and aria2 write it.

use std::fmt::Write as _;

/// `len` bits, most significant bit of the first byte first; spare bits are zero (BEP 3).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// `len` zero bits.
    pub fn new(len: u32) -> Self {
        Self {
            bytes: vec![0; (len as usize).div_ceil(8)],
            len,
            ones: 0,
        }
    }

    /// `None` when the number of bytes is wrong or a spare bit is set.
    pub fn from_bytes(bytes: Vec<u8>, len: u32) -> Option<Self> {
        if bytes.len() != (len as usize).div_ceil(8) {
            return None;
        }
        if !len.is_multiple_of(8) && bytes.last().is_some_and(|last| last << (len % 8) != 0) {
            return None;
        }
        let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
        Some(Self { bytes, len, ones })
    }

    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether bit `index` is set; bits past the end are not.
    pub fn get(&self, index: u32) -> bool {
        index < self.len && self.bytes[index as usize / 8] & (0x80 >> (index % 8)) != 0
    }

    /// Sets or clears a bit; bits past the end are ignored.
    pub fn set(&mut self, index: u32, on: bool) {
        if index >= self.len || self.get(index) == on {
            return;
        }
        self.bytes[index as usize / 8] ^= 0x80 >> (index % 8);
        if on { self.ones += 1 } else { self.ones -= 1 }
    }

    pub fn count_ones(&self) -> u32 {
        self.ones
    }

    pub fn all(&self) -> bool {
        self.ones == self.len
    }

    pub fn none(&self) -> bool {
        self.ones == 0
    }

    /// Indexes of the set bits, ascending.
    pub fn ones(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|index| self.get(*index))
    }

    /// Lower-case hex, as RPC shows it.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(self.bytes.len() * 2);
        for byte in &self.bytes {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_piece_is_the_highest_bit() {
        let mut bits = Bitfield::new(10);
        bits.set(0, true);
        bits.set(9, true);
        bits.set(9, true);
        bits.set(10, true);
        assert_eq!(bits.hex(), "8040");
        assert_eq!(bits.ones().collect::<Vec<_>>(), [0, 9]);
        bits.set(0, false);
        assert_eq!(bits.count_ones(), 1);
    }

    #[test]
    fn refuses_spare_bits_and_wrong_length() {
        assert!(Bitfield::from_bytes(vec![0x80, 0x40], 10).is_some());
        assert!(Bitfield::from_bytes(vec![0x80, 0x20], 10).is_none());
        assert!(Bitfield::from_bytes(vec![0x80], 10).is_none());
        assert!(Bitfield::from_bytes(vec![0xff], 8).unwrap().all());
    }
}
