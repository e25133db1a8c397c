//! Pure: both sides of the encrypted handshake against each other.

use super::*;
use crate::base::rng::Rng;
use proptest::prelude::*;

const HASH: InfoHash = InfoHash([9; 20]);

fn policy(level_min: CryptoLevel) -> CryptoPolicy {
    CryptoPolicy::new(false, level_min, false)
}

/// Runs a handshake with `chunk` bytes delivered at a time; what each side ends with.
fn run(
    seed: u64,
    chunk: usize,
    dialling: CryptoPolicy,
    dialled: CryptoPolicy,
    served: InfoHash,
) -> Result<(Established, Established), MseError> {
    let mut rng = Rng::seeded(seed);
    let initial = b"handshake".to_vec();
    let mut a = Initiator::new(HASH, dialling, [3; 20], initial, &mut rng);
    let mut b = Responder::new([5; 20], &mut rng);
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    let (mut in_a, mut in_b) = (BytesMut::new(), BytesMut::new());
    let (mut end_a, mut end_b) = (None, None);
    for _ in 0..5_000 {
        to_b.extend(a.poll_output());
        to_a.extend(b.poll_output());
        let cut = chunk.min(to_b.len());
        in_b.extend(to_b.drain(..cut));
        let cut = chunk.min(to_a.len());
        in_a.extend(to_a.drain(..cut));
        if end_b.is_none() {
            end_b = b.handle_input(&mut in_b, |key| {
                (*key == torrent_key(served)).then_some((served, dialled))
            })?;
        }
        if end_a.is_none() {
            end_a = a.handle_input(&mut in_a)?;
        }
        if let (Some(a), Some(b)) = (&end_a, &end_b) {
            return Ok((a.clone(), b.clone()));
        }
    }
    Err(MseError::NoSync)
}

fn talks(mut encrypt: Cipher, mut decrypt: Cipher) {
    let mut data = b"hello there".to_vec();
    encrypt.apply(&mut data);
    assert_eq!(data == b"hello there", encrypt.is_plain());
    decrypt.apply(&mut data);
    assert_eq!(data, b"hello there");
}

#[test]
fn levels_meet_at_the_weakest_both_allow() {
    use CryptoLevel::{Arc4, Plain};
    for (seed, (ours, theirs, plain)) in [
        (Plain, Plain, true),
        (Plain, Arc4, false),
        (Arc4, Plain, false),
        (Arc4, Arc4, false),
    ]
    .into_iter()
    .enumerate()
    {
        for chunk in [1, 7, 10_000] {
            let (a, b) = run(seed as u64, chunk, policy(ours), policy(theirs), HASH).unwrap();
            assert_eq!(b.initial, b"handshake");
            assert_eq!((a.info_hash, b.info_hash), (HASH, HASH));
            assert_eq!(a.encrypt.is_plain(), plain);
            talks(a.encrypt, b.decrypt);
            talks(b.encrypt, a.decrypt);
        }
    }
}

#[test]
fn bytes_that_follow_at_once_are_decrypted() {
    let mut rng = Rng::seeded(1);
    let arc4 = policy(CryptoLevel::Arc4);
    let mut a = Initiator::new(HASH, arc4, [3; 20], Vec::new(), &mut rng);
    let mut b = Responder::new([5; 20], &mut rng);
    let mut in_b = BytesMut::from(&a.poll_output()[..]);
    assert!(
        b.handle_input(&mut in_b, |_| Some((HASH, arc4)))
            .unwrap()
            .is_none()
    );
    let mut in_a = BytesMut::from(&b.poll_output()[..]);
    assert!(a.handle_input(&mut in_a).unwrap().is_none());
    in_b.extend(a.poll_output());
    let mut end_b = b
        .handle_input(&mut in_b, |_| Some((HASH, arc4)))
        .unwrap()
        .unwrap();
    in_a.extend(b.poll_output());
    let mut payload = b"unchoke".to_vec();
    end_b.encrypt.apply(&mut payload);
    in_a.extend(payload);
    a.handle_input(&mut in_a).unwrap().unwrap();
    assert_eq!(&in_a[..], b"unchoke");
}

#[test]
fn strangers_and_nonsense_are_refused() {
    let plain = policy(CryptoLevel::Plain);
    let stranger = run(1, 10_000, plain, plain, InfoHash([1; 20]));
    assert_eq!(stranger.unwrap_err(), MseError::UnknownTorrent);
    let mut responder = Responder::new([5; 20], &mut Rng::seeded(1));
    let mut nonsense = BytesMut::from(&[0x41; 96 + 532][..]);
    let refused = responder.handle_input(&mut nonsense, |_| Some((HASH, plain)));
    assert_eq!(refused.unwrap_err(), MseError::NoSync);
}

#[test]
fn only_offers_plain_is_refused_where_rc4_is_forced() {
    let forced = CryptoPolicy::new(false, CryptoLevel::Plain, true);
    assert!(forced.required);
    assert_eq!(forced.select(METHOD_PLAIN), None);
    assert_eq!(forced.select(3), Some(METHOD_RC4));
    assert_eq!(policy(CryptoLevel::Plain).select(3), Some(METHOD_PLAIN));
    assert_eq!(policy(CryptoLevel::Plain).select(0xfffc), None);
}

#[test]
fn a_plain_handshake_is_told_from_an_encrypted_one() {
    assert_eq!(is_plain(b""), None);
    assert_eq!(is_plain(b"\x13BitTorr"), None);
    assert_eq!(is_plain(b"\x13BitTorrent protocol........"), Some(true));
    assert_eq!(is_plain(b"\x13Bitcoin"), Some(false));
    assert_eq!(is_plain(b"x"), Some(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..900), seed: u64) {
        let plain = policy(CryptoLevel::Plain);
        let mut rng = Rng::seeded(seed);
        let _ = Initiator::new(HASH, plain, [3; 20], Vec::new(), &mut rng)
            .handle_input(&mut BytesMut::from(&bytes[..]));
        let _ = Responder::new([3; 20], &mut rng)
            .handle_input(&mut BytesMut::from(&bytes[..]), |_| Some((HASH, plain)));
    }
}
