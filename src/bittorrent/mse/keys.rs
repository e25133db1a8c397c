//! Pure: the arithmetic of MSE: Diffie-Hellman over its 768-bit prime, and RC4 without the first
//! 1,024 bytes.

use std::fmt;
use std::sync::LazyLock;

use num_bigint::BigUint;
use sha1::{Digest, Sha1};

/// Bytes of a public key and of the shared secret.
pub const KEY_LEN: usize = 96;
const PRIME_HEX: &[u8] = b"FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
4FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563";
const RC4_DISCARD: usize = 1024;

static PRIME: LazyLock<BigUint> =
    LazyLock::new(|| BigUint::parse_bytes(PRIME_HEX, 16).unwrap_or_default());

/// Our half of the key exchange.
pub struct Exchange {
    private: BigUint,
}

impl Exchange {
    pub fn new(private: [u8; 20]) -> Self {
        Self {
            private: BigUint::from_bytes_be(&private),
        }
    }

    pub fn public(&self) -> [u8; KEY_LEN] {
        padded(&BigUint::from(2u8).modpow(&self.private, &PRIME))
    }

    /// `None` for a public key that would make the secret known to everybody.
    pub fn secret(&self, public: &[u8; KEY_LEN]) -> Option<[u8; KEY_LEN]> {
        let public = BigUint::from_bytes_be(public);
        let one = BigUint::from(1u8);
        if public <= one || public >= &*PRIME - one {
            return None;
        }
        Some(padded(&public.modpow(&self.private, &PRIME)))
    }
}

/// The private key is not shown.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange")
    }
}

fn padded(number: &BigUint) -> [u8; KEY_LEN] {
    let bytes = number.to_bytes_be();
    let mut key = [0; KEY_LEN];
    // A residue of a 768-bit prime has at most 96 bytes.
    let start = KEY_LEN - bytes.len();
    key[start..].copy_from_slice(&bytes);
    key
}

/// SHA-1 over the parts, one after the other.
pub fn hash(parts: &[&[u8]]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    for part in parts {
        sha1.update(part);
    }
    sha1.finalize().into()
}

/// The RC4 stream cipher; its own inverse.
#[derive(Clone)]
pub struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    /// Keyed and past the bytes that MSE throws away.
    pub(in crate::bittorrent) fn keyed(key: &[u8]) -> Self {
        let mut rc4 = Self::bare(key);
        rc4.apply(&mut [0; RC4_DISCARD]);
        rc4
    }

    fn bare(key: &[u8]) -> Self {
        let mut state: [u8; 256] = std::array::from_fn(|index| index as u8);
        let mut j = 0u8;
        for i in 0..256 {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    pub fn apply(&mut self, data: &mut [u8]) {
        let (mut i, mut j) = (self.i, self.j);
        for byte in data {
            i = i.wrapping_add(1);
            let a = self.state[usize::from(i)];
            j = j.wrapping_add(a);
            let b = self.state[usize::from(j)];
            self.state[usize::from(i)] = b;
            self.state[usize::from(j)] = a;
            *byte ^= self.state[usize::from(a.wrapping_add(b))];
        }
        (self.i, self.j) = (i, j);
    }
}

/// The key stream is not shown.
impl fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rc4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rc4_is_the_one_of_rfc_6229() {
        let mut stream = [0; 16];
        Rc4::bare(&[1, 2, 3, 4, 5]).apply(&mut stream);
        assert_eq!(
            stream,
            [
                0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27, 0xcc, 0xc3, 0x52, 0x4a, 0x0a, 0x11,
                0x18, 0xa8
            ]
        );
        let mut later = [0; 16];
        Rc4::keyed(&[1, 2, 3, 4, 5]).apply(&mut later);
        // RFC 6229, key of 40 bits, offset 1024.
        assert_eq!(
            later,
            [
                0x30, 0xab, 0xbc, 0xc7, 0xc2, 0x0b, 0x01, 0x60, 0x9f, 0x23, 0xee, 0x2d, 0x5f, 0x6b,
                0xb7, 0xdf
            ]
        );
    }

    #[test]
    fn both_sides_come_to_one_secret_and_trivial_keys_are_refused() {
        let (a, b) = (Exchange::new([7; 20]), Exchange::new([200; 20]));
        assert_eq!(a.secret(&b.public()), b.secret(&a.public()));
        assert!(a.secret(&b.public()).is_some());
        let mut one = [0; KEY_LEN];
        assert_eq!(a.secret(&one), None);
        one[KEY_LEN - 1] = 1;
        assert_eq!(a.secret(&one), None);
        assert_eq!(a.secret(&[0xff; KEY_LEN]), None);
    }
}
