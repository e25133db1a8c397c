//! Pure: the first 68 bytes of a peer connection (BEP 3), with the bits for the DHT (BEP 5), the
//! fast extension (BEP 6) and the extension protocol (BEP 10).

use crate::format::info_hash::InfoHash;

/// What every connection begins with, its own length first.
pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
pub const HANDSHAKE_LEN: usize = 68;
/// The info hash is known once so much is there; an accepted connection finds its torrent by it.
pub const INFO_HASH_END: usize = 48;

/// Names one client in one session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// `prefix` (`peer-id-prefix`, cut at 20 bytes) followed by `random` bytes.
    pub fn new(prefix: &str, random: [u8; 20]) -> Self {
        let mut id = random;
        for (byte, letter) in id.iter_mut().zip(prefix.bytes()) {
            *byte = letter;
        }
        Self(id)
    }
}

/// One side's handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    pub info_hash: InfoHash,
    pub peer_id: PeerId,
    /// Speaks the fast extension (BEP 6).
    pub fast: bool,
    /// Speaks the extension protocol (BEP 10).
    pub extended: bool,
    /// Has a DHT node and tells its port (BEP 5).
    pub dht: bool,
}

impl Handshake {
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[25] = u8::from(self.extended) << 4;
        out[27] = u8::from(self.fast) << 2 | u8::from(self.dht);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id.0);
        out
    }

    /// `None` when it is another protocol.
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Option<Self> {
        let (reserved, rest) = bytes.strip_prefix(PROTOCOL)?.split_at(8);
        let (info_hash, peer_id) = rest.split_at(20);
        Some(Self {
            info_hash: InfoHash(info_hash.try_into().ok()?),
            peer_id: PeerId(peer_id.try_into().ok()?),
            fast: reserved[7] & 0x04 != 0,
            extended: reserved[5] & 0x10 != 0,
            dht: reserved[7] & 0x01 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_where_the_beps_put_them() {
        let handshake = Handshake {
            info_hash: InfoHash([7; 20]),
            peer_id: PeerId::new("A2-1-37-0-", [b'x'; 20]),
            fast: true,
            extended: true,
            dht: true,
        };
        let bytes = handshake.encode();
        assert_eq!(&bytes[20..28], &[0, 0, 0, 0, 0, 0x10, 0, 0x05]);
        assert_eq!(&bytes[48..], b"A2-1-37-0-xxxxxxxxxx");
        assert_eq!(Handshake::decode(&bytes), Some(handshake));
        let plain = Handshake {
            fast: false,
            extended: false,
            dht: false,
            ..handshake
        };
        assert_eq!(Handshake::decode(&plain.encode()), Some(plain));
        let mut other = bytes;
        other[0] = 18;
        assert_eq!(Handshake::decode(&other), None);
        assert_eq!(PeerId::new(&"p".repeat(40), [0; 20]), PeerId([b'p'; 20]));
    }
}
