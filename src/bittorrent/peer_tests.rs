//! Tests of one connection, message by message.

use super::*;
use crate::bittorrent::handshake::PeerId;
use crate::bittorrent::wire::BLOCK_LEN;
use crate::format::info_hash::InfoHash;
use proptest::prelude::*;

const SHAPE: Shape = Shape {
    piece_len: 2 * BLOCK_LEN,
    total: 9 * BLOCK_LEN as u64 + 100,
};

fn handshake(fast: bool) -> Handshake {
    Handshake {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        fast,
        extended: true,
        dht: true,
    }
}

fn settings() -> PeerSettings {
    PeerSettings {
        idle_max: Duration::from_secs(180),
        extensions: ExtendedHandshake {
            ut_pex: Some(extension::UT_PEX),
            ut_metadata: Some(extension::UT_METADATA),
            ..Default::default()
        },
        dht_port: Some(6881),
    }
}

fn peer(now: Instant, fast: bool) -> Peer {
    let mut peer = Peer::new(
        now,
        Some(SHAPE),
        settings(),
        &handshake(true),
        handshake(fast),
    );
    peer.send_have(&Bitfield::new(SHAPE.piece_count()));
    let _ = sent(&mut peer, now);
    peer
}

fn sent(peer: &mut Peer, now: Instant) -> Vec<Message> {
    std::iter::from_fn(|| peer.poll_message(now)).collect()
}

fn events(peer: &mut Peer) -> Vec<PeerEvent> {
    std::iter::from_fn(|| peer.poll_event()).collect()
}

/// A peer that has everything and lets us ask.
fn open_seed(now: Instant, fast: bool) -> Peer {
    let mut peer = peer(now, fast);
    let all = Bitfield::from_bytes(vec![0b1111_1000], 5).unwrap();
    let bits = Bytes::copy_from_slice(all.as_bytes());
    peer.handle_message(now, Message::Bitfield(bits)).unwrap();
    peer.set_interested(true);
    peer.handle_message(now, Message::Unchoke).unwrap();
    events(&mut peer);
    sent(&mut peer, now);
    peer
}

#[test]
fn it_introduces_itself() {
    let now = Instant::now();
    let mut bits = Bitfield::new(5);
    for (fast, ones, expected) in [
        (true, 0, Some(Message::HaveNone)),
        (true, 5, Some(Message::HaveAll)),
        (
            true,
            1,
            Some(Message::Bitfield(Bytes::from_static(&[0x80]))),
        ),
        (
            false,
            5,
            Some(Message::Bitfield(Bytes::from_static(&[0xf8]))),
        ),
        (false, 0, None),
    ] {
        (0..5).for_each(|index| bits.set(index, index < ones));
        let mut peer = Peer::new(
            now,
            Some(SHAPE),
            settings(),
            &handshake(true),
            handshake(fast),
        );
        peer.send_have(&bits);
        let mut messages = sent(&mut peer, now);
        assert_eq!(messages.pop(), Some(Message::Port(6881)));
        assert!(matches!(
            messages.pop(),
            Some(Message::Extended { id: 0, .. })
        ));
        assert_eq!(messages.pop(), expected);
    }
}

#[test]
fn blocks_are_asked_for_only_when_allowed() {
    let now = Instant::now();
    let mut peer = peer(now, false);
    let block = Block::new(0, 0, BLOCK_LEN);
    assert!(!peer.request(now, block), "it has nothing");
    peer.handle_message(now, Message::Have(PieceIdx(0)))
        .unwrap();
    assert!(!peer.request(now, block), "it chokes us");
    peer.handle_message(now, Message::Unchoke).unwrap();
    assert_eq!(peer.window(now), 0, "we are not interested");
    peer.set_interested(true);
    assert_eq!(peer.window(now), 5);
    assert!(!peer.request(now, Block::new(1, 0, BLOCK_LEN)));
    assert!(!peer.request(now, Block::new(0, BLOCK_LEN, BLOCK_LEN + 1)));
    assert!(peer.request(now, block) && !peer.request(now, block));
    let data = Bytes::from(vec![7; BLOCK_LEN as usize]);
    let piece = Message::Piece {
        piece: PieceIdx(0),
        begin: 0,
        data: data.clone(),
    };
    events(&mut peer);
    peer.handle_message(now, piece.clone()).unwrap();
    assert_eq!(events(&mut peer), [PeerEvent::Block { block, data }]);
    peer.handle_message(now, piece).unwrap();
    assert_eq!(
        (events(&mut peer).len(), peer.wasted()),
        (0, u64::from(BLOCK_LEN))
    );
}

#[test]
fn a_choke_releases_what_is_open_unless_rejects_follow() {
    let now = Instant::now();
    let block = Block::new(0, 0, BLOCK_LEN);
    let mut old = open_seed(now, false);
    old.request(now, block);
    old.handle_message(now, Message::Choke).unwrap();
    assert_eq!(
        events(&mut old),
        [PeerEvent::Choked(true), PeerEvent::Released(block)]
    );
    let mut fast = open_seed(now, true);
    fast.request(now, block);
    fast.handle_message(now, Message::Choke).unwrap();
    assert_eq!(events(&mut fast), [PeerEvent::Choked(true)]);
    fast.handle_message(now, Message::Reject(block)).unwrap();
    fast.handle_message(now, Message::Reject(block)).unwrap();
    assert_eq!(events(&mut fast), [PeerEvent::Released(block)]);
    fast.handle_message(now, Message::AllowedFast(PieceIdx(0)))
        .unwrap();
    assert!(fast.request(now, block), "allowed fast");
    assert!(!fast.request(now, Block::new(1, 0, BLOCK_LEN)));
}

#[test]
fn cancelling_and_closing_release_once() {
    let now = Instant::now();
    let (a, b) = (Block::new(0, 0, BLOCK_LEN), Block::new(1, 0, BLOCK_LEN));
    let mut peer = open_seed(now, false);
    peer.request(now, a);
    peer.request(now, b);
    peer.cancel(a);
    peer.cancel(a);
    assert_eq!(events(&mut peer), [PeerEvent::Released(a)]);
    peer.close();
    peer.close();
    assert_eq!(events(&mut peer), [PeerEvent::Released(b)]);
}

#[test]
fn who_owes_blocks_is_snubbing_until_one_comes() {
    let now = Instant::now();
    let block = Block::new(0, 0, BLOCK_LEN);
    let mut peer = open_seed(now, true);
    peer.request(now, block);
    let late = now + SNUB_AFTER;
    assert_eq!(peer.poll_timeout(), late);
    peer.handle_timeout(late).unwrap();
    assert_eq!(
        events(&mut peer),
        [PeerEvent::Snubbed, PeerEvent::Released(block)]
    );
    assert_eq!((peer.is_snubbing(), peer.window(late)), (true, 1));
    let data = Bytes::from(vec![7; BLOCK_LEN as usize]);
    let piece = Message::Piece {
        piece: PieceIdx(0),
        begin: 0,
        data: data.clone(),
    };
    peer.handle_message(late, piece).unwrap();
    assert_eq!(events(&mut peer), [PeerEvent::Block { block, data }]);
    assert!(!peer.is_snubbing());
}

#[test]
fn uploads_follow_the_choke() {
    let now = Instant::now();
    let block = Block::new(0, 0, BLOCK_LEN);
    for fast in [false, true] {
        let mut peer = peer(now, fast);
        peer.handle_message(now, Message::Request(block)).unwrap();
        assert_eq!(
            sent(&mut peer, now),
            if fast {
                vec![Message::Reject(block)]
            } else {
                vec![]
            }
        );
        peer.handle_message(now, Message::Interested).unwrap();
        peer.set_choked(false);
        peer.set_choked(false);
        peer.handle_message(now, Message::Request(block)).unwrap();
        assert_eq!(peer.poll_asked(), Some(block));
        peer.send_block(now, block, Bytes::from_static(b"data"));
        let messages = sent(&mut peer, now);
        assert!(matches!(
            messages[..],
            [Message::Unchoke, Message::Piece { .. }]
        ));
        assert_eq!(peer.up().total(), 4);
        peer.handle_message(now, Message::Request(block)).unwrap();
        peer.set_choked(true);
        assert_eq!(peer.poll_asked(), None);
        let mut expected = vec![Message::Choke];
        expected.extend(fast.then_some(Message::Reject(block)));
        assert_eq!(sent(&mut peer, now), expected);
        assert_eq!(
            peer.handle_message(now, Message::Request(Block::new(9, 0, 1))),
            Err(PeerError::BadIndex)
        );
    }
}

#[test]
fn what_a_peer_says_before_the_torrent_is_known_is_kept() {
    let now = Instant::now();
    let mut peer = Peer::new(now, None, settings(), &handshake(true), handshake(true));
    peer.handle_message(now, Message::Bitfield(Bytes::from_static(&[0x80])))
        .unwrap();
    peer.handle_message(now, Message::Have(PieceIdx(4)))
        .unwrap();
    let hello = ExtendedHandshake {
        ut_metadata: Some(7),
        metadata_size: Some(5),
        ..Default::default()
    };
    let payload = Bytes::from(hello.encode());
    peer.handle_message(now, Message::Extended { id: 0, payload })
        .unwrap();
    assert_eq!(events(&mut peer), [PeerEvent::Extensions(hello)]);
    sent(&mut peer, now);
    peer.send_metadata(b"ask".to_vec());
    let payload = Bytes::from_static(b"ask");
    assert_eq!(sent(&mut peer, now), [Message::Extended { id: 7, payload }]);
    peer.set_shape(now, SHAPE).unwrap();
    let has = [0, 4].map(|index| PeerEvent::Has(vec![PieceIdx(index)]));
    assert_eq!(events(&mut peer), has);
    let mut liar = Peer::new(now, None, settings(), &handshake(true), handshake(true));
    liar.handle_message(now, Message::Have(PieceIdx(5)))
        .unwrap();
    assert_eq!(liar.set_shape(now, SHAPE), Err(PeerError::BadIndex));
}

#[test]
fn silence_is_broken_and_ends() {
    let now = Instant::now();
    let mut peer = peer(now, true);
    let later = peer.poll_timeout();
    assert_eq!(later, now + KEEP_ALIVE);
    peer.handle_timeout(later).unwrap();
    assert_eq!(sent(&mut peer, later), [Message::KeepAlive]);
    assert_eq!(peer.poll_timeout(), now + Duration::from_secs(180));
    assert_eq!(
        peer.handle_timeout(now + Duration::from_secs(180)),
        Err(PeerError::Idle)
    );
}

proptest! {
    #[test]
    fn whatever_a_peer_says_is_survived(
        fast: bool,
        known: bool,
        said in prop::collection::vec((0u8..18, 0u32..7, 0u32..40_000, 0u32..20_000), 0..60),
    ) {
        let now = Instant::now();
        let shape = known.then_some(SHAPE);
        let mut peer = Peer::new(now, shape, settings(), &handshake(true), handshake(fast));
        peer.set_interested(true);
        let mut open = std::collections::HashSet::new();
        for (kind, index, begin, len) in said {
            let block = Block::new(index, begin / BLOCK_LEN * BLOCK_LEN, BLOCK_LEN);
            if peer.request(now, block) {
                prop_assert!(open.insert(block));
            }
            let mut frame = bytes::BytesMut::new();
            let data = Bytes::from(vec![0; len as usize]);
            match kind {
                0 => Message::Choke,
                1 => Message::Unchoke,
                2 => Message::Interested,
                3 => Message::NotInterested,
                4 => Message::Have(PieceIdx(index)),
                5 => Message::Bitfield(data.slice(..data.len().min(1))),
                6 => Message::Request(Block::new(index, begin, len)),
                7 => Message::Piece { piece: PieceIdx(index), begin: block.begin, data: vec![0; BLOCK_LEN as usize].into() },
                8 => Message::Cancel(Block::new(index, begin, len)),
                9 => Message::HaveAll,
                10 => Message::Reject(block),
                11 => Message::AllowedFast(PieceIdx(index)),
                12 => Message::Extended { id: index as u8, payload: data },
                13 => { peer.set_choked(index % 2 == 0); Message::KeepAlive }
                14 => { peer.poll_asked(); Message::KeepAlive }
                15 => { peer.cancel(block); Message::KeepAlive }
                _ => { let _ = peer.handle_timeout(now + SNUB_AFTER * (kind == 17) as u32); Message::KeepAlive }
            }.encode(&mut frame);
            let Ok(Some(message)) = crate::bittorrent::wire::decode(&mut frame) else { continue };
            let ended = peer.handle_message(now, message).is_err();
            while let Some(event) = peer.poll_event() {
                match event {
                    PeerEvent::Released(block) => prop_assert!(open.remove(&block)),
                    // One that was given up on may still come.
                    PeerEvent::Block { block, .. } => { open.remove(&block); }
                    _ => {}
                }
            }
            if ended {
                prop_assert!(open.is_empty());
                break;
            }
            prop_assert_eq!(peer.open_count(), open.len());
        }
    }
}
