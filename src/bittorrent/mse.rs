//! Pure: message stream encryption (MSE/PE, the specification of Azureus and uTorrent): a Diffie-
//! Hellman exchange that looks random, then either RC4 throughout or plain text. Both sides as state
//! machines over bytes.
//!
//! It hides the protocol from those who shape it; it keeps no secret from somebody who knows the
//! info hash and listens.

mod keys;

use std::fmt;

use bytes::{Buf, BytesMut};

pub use self::keys::Rc4;
use self::keys::{Exchange, KEY_LEN, hash};
use super::handshake::PROTOCOL;
use crate::base::rng::Rng;
use crate::format::info_hash::InfoHash;
use crate::option::bt_settings::BtSettings;
use crate::option::value::CryptoLevel;

/// Longest padding of any kind.
const PAD_LEN_MAX: usize = 512;
/// Verification constant: eight zero bytes, encrypted.
const VC: [u8; 8] = [0; 8];

/// Encryption methods, as bits of `crypto_provide` and `crypto_select`.
const METHOD_PLAIN: u32 = 1;
const METHOD_RC4: u32 = 2;

/// What `bt-require-crypto`, `bt-min-crypto-level` and `bt-force-encryption` add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CryptoPolicy {
    /// A connection without the encrypted handshake is refused.
    pub required: bool,
    /// After the handshake: RC4 throughout, or plain text where both allow it.
    pub level_min: CryptoLevel,
}

impl CryptoPolicy {
    pub fn new(require: bool, level_min: CryptoLevel, force: bool) -> Self {
        Self {
            required: require || force,
            level_min: if force { CryptoLevel::Arc4 } else { level_min },
        }
    }

    pub fn of(settings: &BtSettings) -> Self {
        Self::new(
            settings.require_crypto,
            settings.crypto_level_min,
            settings.force_encryption,
        )
    }

    fn methods(self) -> u32 {
        match self.level_min {
            CryptoLevel::Plain => METHOD_PLAIN | METHOD_RC4,
            CryptoLevel::Arc4 => METHOD_RC4,
        }
    }

    /// The weakest method both allow, as the manual says of `bt-min-crypto-level`.
    fn select(self, offered: u32) -> Option<u32> {
        let common = self.methods() & offered;
        [METHOD_PLAIN, METHOD_RC4]
            .into_iter()
            .find(|method| common & method != 0)
    }
}

/// Why an encrypted handshake came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MseError {
    /// The other side's public key is none.
    BadKey,
    /// What should follow the padding did not come.
    NoSync,
    /// No torrent here has the hash the other side means.
    UnknownTorrent,
    /// The other side's cipher differs from ours.
    BadVerification,
    /// Padding longer than allowed.
    BadPadding,
    /// No method suits both.
    NoMethod,
}

impl fmt::Display for MseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadKey => "public key of the peer is not valid",
            Self::NoSync => "peer does not go on with the encrypted handshake",
            Self::UnknownTorrent => "peer asks for a torrent that is not here",
            Self::BadVerification => "encrypted handshake does not verify",
            Self::BadPadding => "padding of the encrypted handshake is too long",
            Self::NoMethod => "no encryption method suits both sides",
        })
    }
}

impl std::error::Error for MseError {}

/// One direction of an established connection.
#[derive(Clone, Debug)]
pub enum Cipher {
    Plain,
    Rc4(Box<Rc4>),
}

impl Cipher {
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// Encrypts or decrypts the next bytes of the stream in place.
    pub fn apply(&mut self, data: &mut [u8]) {
        if let Self::Rc4(rc4) = self {
            rc4.apply(data);
        }
    }
}

/// What both sides agreed on. Bytes still in the input buffer are decrypted already.
#[derive(Clone, Debug)]
pub struct Established {
    pub info_hash: InfoHash,
    pub encrypt: Cipher,
    pub decrypt: Cipher,
    /// Bytes the initiator sent along, decrypted; they come before those in the input buffer.
    pub initial: Vec<u8>,
}

/// Whether an accepted connection begins with the plain handshake; `None` while too few bytes are
/// there to tell.
pub fn is_plain(input: &[u8]) -> Option<bool> {
    let len = input.len().min(PROTOCOL.len());
    if input[..len] != PROTOCOL[..len] {
        return Some(false);
    }
    (len == PROTOCOL.len()).then_some(true)
}

/// Drops bytes before `mark`, which has to come within `PAD_LEN_MAX`; true when it is at the head.
fn sync(input: &mut BytesMut, mark: &[u8]) -> Result<bool, MseError> {
    let found = input
        .windows(mark.len())
        .take(PAD_LEN_MAX + 1)
        .position(|window| window == mark);
    match found {
        Some(at) => {
            input.advance(at + mark.len());
            Ok(true)
        }
        None if input.len() >= PAD_LEN_MAX + mark.len() => Err(MseError::NoSync),
        None => Ok(false),
    }
}

/// Takes `N` bytes off and decrypts them, once they are there.
fn take<const N: usize>(input: &mut BytesMut, decrypt: &mut Rc4) -> Option<[u8; N]> {
    let mut bytes = *input.first_chunk::<N>()?;
    input.advance(N);
    decrypt.apply(&mut bytes);
    Some(bytes)
}

/// As [`take`], for a length known only now.
fn take_vec(input: &mut BytesMut, len: usize, decrypt: &mut Rc4) -> Option<Vec<u8>> {
    if input.len() < len {
        return None;
    }
    let mut bytes = input.split_to(len).to_vec();
    decrypt.apply(&mut bytes);
    Some(bytes)
}

fn padding(rng: &mut Rng) -> Vec<u8> {
    let len = rng.below(PAD_LEN_MAX as u64 + 1) as usize;
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

fn pad_len(bytes: [u8; 2]) -> Result<usize, MseError> {
    let len = usize::from(u16::from_be_bytes(bytes));
    (len <= PAD_LEN_MAX)
        .then_some(len)
        .ok_or(MseError::BadPadding)
}

/// The side that dialled.
#[derive(Debug)]
pub struct Initiator {
    info_hash: InfoHash,
    policy: CryptoPolicy,
    exchange: Exchange,
    initial: Vec<u8>,
    pad: Vec<u8>,
    output: Vec<u8>,
    ciphers: Option<(Rc4, Rc4)>,
    step: InitiatorStep,
}

#[derive(Clone, Copy, Debug)]
enum InitiatorStep {
    Key,
    Sync([u8; 8]),
    Select,
    Pad { method: u32, len: usize },
}

impl Initiator {
    /// `private` comes from the operating system, the padding from `rng`. `initial` (our handshake)
    /// goes out with the second flight, which saves a round trip.
    pub fn new(
        info_hash: InfoHash,
        policy: CryptoPolicy,
        private: [u8; 20],
        initial: Vec<u8>,
        rng: &mut Rng,
    ) -> Self {
        let exchange = Exchange::new(private);
        let output = [&exchange.public()[..], &padding(rng)].concat();
        Self {
            info_hash,
            policy,
            exchange,
            initial,
            pad: padding(rng),
            output,
            ciphers: None,
            step: InitiatorStep::Key,
        }
    }

    /// Bytes to send now; empty when there are none.
    pub fn poll_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether bytes are to be sent before more can come.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes what it can off the input. `None`: more bytes are needed (and output may be due).
    ///
    /// # Errors
    /// When the other side does not speak MSE or wants what the policy forbids.
    pub fn handle_input(&mut self, input: &mut BytesMut) -> Result<Option<Established>, MseError> {
        loop {
            match self.step {
                InitiatorStep::Key => {
                    let Some(key) = input.first_chunk::<KEY_LEN>() else {
                        return Ok(None);
                    };
                    let secret = self.exchange.secret(key).ok_or(MseError::BadKey)?;
                    input.advance(KEY_LEN);
                    self.send_offer(&secret);
                }
                InitiatorStep::Sync(mark) => {
                    if !sync(input, &mark)? {
                        return Ok(None);
                    }
                    self.step = InitiatorStep::Select;
                }
                InitiatorStep::Select => {
                    let Some((_, decrypt)) = &mut self.ciphers else {
                        return Err(MseError::NoSync);
                    };
                    let Some([m0, m1, m2, m3, p0, p1]) = take::<6>(input, decrypt) else {
                        return Ok(None);
                    };
                    let method = u32::from_be_bytes([m0, m1, m2, m3]);
                    if !matches!(method, METHOD_PLAIN | METHOD_RC4)
                        || method & self.policy.methods() == 0
                    {
                        return Err(MseError::NoMethod);
                    }
                    let len = pad_len([p0, p1])?;
                    self.step = InitiatorStep::Pad { method, len };
                }
                InitiatorStep::Pad { method, len } => {
                    let Some((_, decrypt)) = &mut self.ciphers else {
                        return Err(MseError::NoSync);
                    };
                    if take_vec(input, len, decrypt).is_none() {
                        return Ok(None);
                    }
                    let ciphers = self.ciphers.take().ok_or(MseError::NoSync)?;
                    let initial = Vec::new();
                    return Ok(Some(established(
                        self.info_hash,
                        method,
                        ciphers,
                        initial,
                        input,
                    )));
                }
            }
        }
    }

    fn send_offer(&mut self, secret: &[u8; KEY_LEN]) {
        let skey = &self.info_hash.0;
        let mut encrypt = Rc4::keyed(&hash(&[b"keyA", secret, skey]));
        let mut decrypt = Rc4::keyed(&hash(&[b"keyB", secret, skey]));
        let mut body = VC.to_vec();
        body.extend_from_slice(&self.policy.methods().to_be_bytes());
        body.extend_from_slice(&(self.pad.len() as u16).to_be_bytes());
        body.extend_from_slice(&self.pad);
        // A handshake is 68 bytes: it fits.
        body.extend_from_slice(&(self.initial.len() as u16).to_be_bytes());
        body.extend_from_slice(&self.initial);
        encrypt.apply(&mut body);
        self.output.extend_from_slice(&hash(&[b"req1", secret]));
        self.output
            .extend_from_slice(&torrent_mark(secret, &torrent_key(self.info_hash)));
        self.output.extend_from_slice(&body);
        let mut mark = VC;
        decrypt.apply(&mut mark);
        self.ciphers = Some((encrypt, decrypt));
        self.step = InitiatorStep::Sync(mark);
    }
}

/// The side that was dialled.
#[derive(Debug)]
pub struct Responder {
    exchange: Exchange,
    pads: [Vec<u8>; 2],
    output: Vec<u8>,
    secret: [u8; KEY_LEN],
    found: Option<Meant>,
    step: ResponderStep,
}

/// The torrent the other side means, how it is to be talked of, and both directions' ciphers.
#[derive(Debug)]
struct Meant {
    info_hash: InfoHash,
    policy: CryptoPolicy,
    encrypt: Rc4,
    decrypt: Rc4,
}

#[derive(Clone, Copy, Debug)]
enum ResponderStep {
    Key,
    Sync,
    Torrent,
    Offer,
    Pad { offered: u32, len: usize },
    Initial { offered: u32, len: usize },
}

/// What a listener keeps for each torrent: an encrypted handshake names its torrent by this.
pub fn torrent_key(info_hash: InfoHash) -> [u8; 20] {
    hash(&[b"req2", &info_hash.0])
}

fn torrent_mark(secret: &[u8; KEY_LEN], torrent_key: &[u8; 20]) -> [u8; 20] {
    let mut mark = hash(&[b"req3", secret]);
    for (byte, key) in mark.iter_mut().zip(torrent_key) {
        *byte ^= key;
    }
    mark
}

impl Responder {
    /// `private` comes from the operating system, the padding from `rng`.
    pub fn new(private: [u8; 20], rng: &mut Rng) -> Self {
        Self {
            exchange: Exchange::new(private),
            pads: [padding(rng), padding(rng)],
            output: Vec::new(),
            secret: [0; KEY_LEN],
            found: None,
            step: ResponderStep::Key,
        }
    }

    /// Bytes to send now; empty when there are none.
    pub fn poll_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes what it can off the input. `None`: more bytes are needed (and output may be due).
    /// `find` tells the torrent with this [`torrent_key`], and how it is to be talked of.
    ///
    /// # Errors
    /// When the other side does not speak MSE, means no torrent of ours, or offers nothing the policy
    /// allows.
    pub fn handle_input(
        &mut self,
        input: &mut BytesMut,
        find: impl Fn(&[u8; 20]) -> Option<(InfoHash, CryptoPolicy)>,
    ) -> Result<Option<Established>, MseError> {
        loop {
            match self.step {
                ResponderStep::Key => {
                    let Some(key) = input.first_chunk::<KEY_LEN>() else {
                        return Ok(None);
                    };
                    self.secret = self.exchange.secret(key).ok_or(MseError::BadKey)?;
                    input.advance(KEY_LEN);
                    self.output.extend_from_slice(&self.exchange.public());
                    self.output.append(&mut self.pads[0]);
                    self.step = ResponderStep::Sync;
                }
                ResponderStep::Sync => {
                    if !sync(input, &hash(&[b"req1", &self.secret]))? {
                        return Ok(None);
                    }
                    self.step = ResponderStep::Torrent;
                }
                ResponderStep::Torrent => {
                    let Some(&mark) = input.first_chunk::<20>() else {
                        return Ok(None);
                    };
                    input.advance(20);
                    // XOR with the same value again leaves the torrent's key.
                    let key = torrent_mark(&self.secret, &mark);
                    let (info_hash, policy) = find(&key).ok_or(MseError::UnknownTorrent)?;
                    self.found = Some(Meant {
                        info_hash,
                        policy,
                        encrypt: Rc4::keyed(&hash(&[b"keyB", &self.secret, &info_hash.0])),
                        decrypt: Rc4::keyed(&hash(&[b"keyA", &self.secret, &info_hash.0])),
                    });
                    self.step = ResponderStep::Offer;
                }
                _ => return self.handle_offer(input),
            }
        }
    }

    fn handle_offer(&mut self, input: &mut BytesMut) -> Result<Option<Established>, MseError> {
        loop {
            let Some(Meant { decrypt, .. }) = &mut self.found else {
                return Err(MseError::NoSync);
            };
            match self.step {
                ResponderStep::Pad { offered, len } => {
                    // The two bytes behind the padding are the length of what is sent along.
                    let Some(bytes) = take_vec(input, len + 2, decrypt) else {
                        return Ok(None);
                    };
                    let len = usize::from(u16::from_be_bytes([bytes[len], bytes[len + 1]]));
                    self.step = ResponderStep::Initial { offered, len };
                }
                ResponderStep::Initial { offered, len } => {
                    let Some(initial) = take_vec(input, len, decrypt) else {
                        return Ok(None);
                    };
                    return self.accept(offered, initial, input).map(Some);
                }
                _ => {
                    let Some(head) = take::<14>(input, decrypt) else {
                        return Ok(None);
                    };
                    if head[..8] != VC {
                        return Err(MseError::BadVerification);
                    }
                    self.step = ResponderStep::Pad {
                        offered: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
                        len: pad_len([head[12], head[13]])?,
                    };
                }
            }
        }
    }

    fn accept(
        &mut self,
        offered: u32,
        initial: Vec<u8>,
        input: &mut BytesMut,
    ) -> Result<Established, MseError> {
        let Meant {
            info_hash,
            policy,
            mut encrypt,
            decrypt,
        } = self.found.take().ok_or(MseError::NoSync)?;
        let method = policy.select(offered).ok_or(MseError::NoMethod)?;
        let mut body = VC.to_vec();
        body.extend_from_slice(&method.to_be_bytes());
        body.extend_from_slice(&(self.pads[1].len() as u16).to_be_bytes());
        body.append(&mut self.pads[1]);
        encrypt.apply(&mut body);
        self.output.append(&mut body);
        Ok(established(
            info_hash,
            method,
            (encrypt, decrypt),
            initial,
            input,
        ))
    }
}

fn established(
    info_hash: InfoHash,
    method: u32,
    (encrypt, mut decrypt): (Rc4, Rc4),
    initial: Vec<u8>,
    input: &mut BytesMut,
) -> Established {
    let (encrypt, decrypt) = if method == METHOD_RC4 {
        decrypt.apply(input);
        (
            Cipher::Rc4(Box::new(encrypt)),
            Cipher::Rc4(Box::new(decrypt)),
        )
    } else {
        (Cipher::Plain, Cipher::Plain)
    };
    Established {
        info_hash,
        encrypt,
        decrypt,
        initial,
    }
}

#[cfg(test)]
#[path = "mse_tests.rs"]
mod tests;
