//! A swarm in memory, by seed: every message goes through the codec, every client runs the
//! real connection, choker and blame. One of them may send rubbish.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::blame::{Blame, Sent, digest_of};
use super::choker::{ChokePeer, Choker, ROUND};
use super::extension::ExtendedHandshake;
use super::handshake::{Handshake, PeerId};
use super::peer::{Peer, PeerEvent, PeerSettings, Shape};
use super::wire::{self, BLOCK_LEN, Block, Message};
use crate::base::bitfield::Bitfield;
use crate::base::rng::Rng;
use crate::base::units::{PieceIdx, SourceId};
use crate::format::info_hash::InfoHash;

const SHAPE: Shape = Shape {
    piece_len: 4 * BLOCK_LEN,
    total: 40 * 4 * BLOCK_LEN as u64 - 1234,
};
const TICK: Duration = Duration::from_millis(100);
/// Blocks a client sends in a tick.
const UPLINK: usize = 8;

fn truth(block: Block) -> Bytes {
    let start = block.span(SHAPE.piece_len).start;
    (start..start + u64::from(block.len))
        .map(|at| (at * 7 / 3) as u8)
        .collect()
}

fn truth_of_piece(piece: PieceIdx) -> Bytes {
    truth(Block::new(piece.0, 0, SHAPE.len_of(piece)))
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, index as u8], 1))
}

struct Client {
    have: Bitfield,
    peers: BTreeMap<usize, Peer>,
    /// Who is to send a block.
    leased: HashMap<Block, usize>,
    /// Blocks that are here of pieces that are not.
    parts: HashMap<Block, (usize, Bytes)>,
    choker: Choker,
    blame: Blame,
    poisons: bool,
    banned: Vec<usize>,
    uploaded: usize,
}

impl Client {
    fn blocks(piece: PieceIdx) -> impl Iterator<Item = Block> {
        let len = SHAPE.len_of(piece);
        (0..len.div_ceil(BLOCK_LEN)).map(move |index| {
            let begin = index * BLOCK_LEN;
            Block::new(piece.0, begin, BLOCK_LEN.min(len - begin))
        })
    }

    /// Rarest first, blocks of begun pieces before others.
    fn ask(&mut self, now: Instant, from: usize, rng: &mut Rng) {
        let copies = |index| {
            self.peers
                .values()
                .filter(|peer| peer.pieces().get(index))
                .count()
        };
        let mut wanted: Vec<(usize, u64, u32)> = (0..SHAPE.piece_count())
            .filter(|index| !self.have.get(*index) && self.peers[&from].pieces().get(*index))
            .map(|index| (copies(index), rng.next_u64(), index))
            .collect();
        wanted.sort_unstable();
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.set_interested(!wanted.is_empty());
        let mut window = peer.window(now);
        for (_, _, index) in wanted {
            for block in Self::blocks(PieceIdx(index)) {
                if window == 0 {
                    return;
                }
                let free = !self.leased.contains_key(&block) && !self.parts.contains_key(&block);
                if free && peer.request(now, block) {
                    self.leased.insert(block, from);
                    window -= 1;
                }
            }
        }
    }

    fn handle_event(&mut self, from: usize, event: PeerEvent) {
        match event {
            PeerEvent::Released(block) => assert_eq!(self.leased.remove(&block), Some(from)),
            PeerEvent::Block { block, data } => {
                assert_eq!(self.leased.remove(&block), Some(from));
                self.parts.insert(block, (from, data));
                self.check(block.piece);
            }
            _ => {}
        }
    }

    fn check(&mut self, piece: PieceIdx) {
        let blocks: Vec<Block> = Self::blocks(piece).collect();
        if !blocks.iter().all(|block| self.parts.contains_key(block)) {
            return;
        }
        let mut data = Vec::new();
        let mut sent = Vec::new();
        for block in blocks {
            let Some((by, bytes)) = self.parts.remove(&block) else {
                continue;
            };
            data.extend_from_slice(&bytes);
            sent.push(Sent {
                begin: block.begin,
                len: block.len,
                by: address(by),
            });
        }
        let digest = |block: &Sent| {
            let start = block.begin as usize;
            let bytes = data.get(start..start + block.len as usize)?;
            Some(digest_of([bytes]))
        };
        let guilty = if data == truth_of_piece(piece) {
            self.have.set(piece.0, true);
            self.peers
                .values_mut()
                .for_each(|peer| peer.send_have_piece(piece));
            self.blame.handle_good(piece, &sent, digest)
        } else {
            self.blame
                .handle_bad(piece, data.len() as u32, &sent, digest)
        };
        for guilty in guilty {
            self.banned
                .extend((0..20).filter(|index| address(*index) == guilty));
        }
    }

    fn feed(&mut self, now: Instant, rng: &mut Rng) {
        for _ in 0..UPLINK {
            let asking: Vec<usize> = self.peers.keys().copied().collect();
            let at = rng.below(asking.len().max(1) as u64) as usize;
            let Some(peer) = asking.get(at).and_then(|id| self.peers.get_mut(id)) else {
                return;
            };
            let Some(block) = peer.poll_asked() else {
                continue;
            };
            if !self.have.get(block.piece.0) {
                peer.refuse(block);
                continue;
            }
            let mut data = truth(block);
            if self.poisons && rng.chance(0.5) {
                data = vec![0xbd; data.len()].into();
            }
            self.uploaded += 1;
            peer.send_block(now, block, data);
        }
    }

    fn choke(&mut self, now: Instant, rng: &mut Rng) {
        let peers: Vec<ChokePeer> = self
            .peers
            .iter()
            .map(|(index, peer)| ChokePeer {
                id: SourceId(*index as u32),
                interested: peer.is_interested(),
                down_speed: peer.down().speed(now),
                up_speed: peer.up().speed(now),
                snubbing: peer.is_snubbing(),
                connected_at: peer.began_at(),
            })
            .collect();
        let fed = self.choker.decide(now, self.have.all(), 3, &peers, rng);
        for (index, peer) in &mut self.peers {
            peer.set_choked(!fed.contains(&SourceId(*index as u32)));
        }
    }
}

struct World {
    clients: Vec<Client>,
    rng: Rng,
    now: Instant,
    bytes: u64,
}

impl World {
    fn new(seed: u64, count: usize, poisoner: bool) -> Self {
        let mut rng = Rng::seeded(seed);
        let now = Instant::now();
        let fast: Vec<bool> = (0..count).map(|_| rng.chance(0.7)).collect();
        let handshake = |index: usize| Handshake {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([index as u8; 20]),
            fast: fast[index],
            extended: true,
            dht: false,
        };
        let clients = (0..count)
            .map(|index| {
                let mut have = Bitfield::new(SHAPE.piece_count());
                let poisons = poisoner && index == 1;
                if index == 0 || poisons {
                    (0..have.len()).for_each(|piece| have.set(piece, true));
                }
                let peers = (0..count)
                    .filter(|other| *other != index)
                    .map(|other| {
                        let settings = PeerSettings {
                            idle_max: Duration::from_secs(180),
                            extensions: ExtendedHandshake::default(),
                            dht_port: None,
                        };
                        let (ours, theirs) = (handshake(index), handshake(other));
                        let mut peer = Peer::new(now, Some(SHAPE), settings, &ours, theirs);
                        peer.send_have(&have);
                        (other, peer)
                    })
                    .collect();
                Client {
                    have,
                    peers,
                    leased: HashMap::new(),
                    parts: HashMap::new(),
                    choker: Choker::new(),
                    blame: Blame::new(),
                    poisons,
                    banned: Vec::new(),
                    uploaded: 0,
                }
            })
            .collect();
        Self {
            clients,
            rng,
            now,
            bytes: 0,
        }
    }

    /// Carries everything one client has to say to another.
    fn carry(&mut self, from: usize, to: usize) {
        let mut wire = BytesMut::new();
        if let Some(peer) = self.clients[from].peers.get_mut(&to) {
            while let Some(message) = peer.poll_message(self.now) {
                message.encode(&mut wire);
            }
        }
        self.bytes += wire.len() as u64;
        while let Some(message) = wire::decode(&mut wire).expect("our own messages") {
            let Some(peer) = self.clients[to].peers.get_mut(&from) else {
                return;
            };
            peer.handle_message(self.now, message)
                .expect("our own messages");
            self.drain(to, from);
        }
    }

    fn drain(&mut self, at: usize, from: usize) {
        while let Some(event) = self.clients[at]
            .peers
            .get_mut(&from)
            .and_then(Peer::poll_event)
        {
            self.clients[at].handle_event(from, event);
        }
    }

    fn hang_up(&mut self, a: usize, b: usize) {
        for (at, from) in [(a, b), (b, a)] {
            if let Some(peer) = self.clients[at].peers.get_mut(&from) {
                peer.close();
            }
            self.drain(at, from);
            self.clients[at].peers.remove(&from);
        }
    }

    fn tick(&mut self, round: bool) {
        let count = self.clients.len();
        for index in 0..count {
            let others: Vec<usize> = self.clients[index].peers.keys().copied().collect();
            for other in others {
                self.clients[index].ask(self.now, other, &mut self.rng);
                if let Some(peer) = self.clients[index].peers.get_mut(&other) {
                    peer.handle_timeout(self.now)
                        .expect("nobody is silent for long");
                }
                self.drain(index, other);
            }
            if round {
                self.clients[index].choke(self.now, &mut self.rng);
            }
            self.clients[index].feed(self.now, &mut self.rng);
            for other in 0..count {
                self.carry(index, other);
            }
            for banned in std::mem::take(&mut self.clients[index].banned) {
                assert!(self.clients[banned].poisons, "{banned} is innocent");
                self.hang_up(index, banned);
            }
        }
        self.now += TICK;
    }

    fn run(&mut self, seed: u64) -> u32 {
        let per_round = (ROUND.as_millis() / TICK.as_millis()) as u32;
        for tick in 0..20_000 {
            if self.clients.iter().all(|client| client.have.all()) {
                return tick;
            }
            self.tick(tick % per_round == 0);
        }
        panic!("SEED={seed}: not finished");
    }
}

#[test]
fn everybody_gets_everything_and_shares_the_work() {
    for seed in 0..6 {
        let mut world = World::new(seed, 6, false);
        world.run(seed);
        let blocks = SHAPE.total.div_ceil(u64::from(BLOCK_LEN)) as usize;
        let by_seed = world.clients[0].uploaded;
        assert!(
            by_seed < 4 * blocks,
            "SEED={seed}: the seed sent {by_seed} of {}",
            5 * blocks
        );
        let sent: usize = world.clients.iter().map(|client| client.uploaded).sum();
        // A choke may cross a block on its way, nothing else is sent twice.
        assert!(
            sent < 5 * blocks + blocks,
            "SEED={seed}: {sent} blocks sent"
        );
        assert!(world.clients.iter().all(|client| client.leased.is_empty()));
    }
}

#[test]
fn whoever_sends_rubbish_is_found_and_nobody_else() {
    for seed in 0..6 {
        let mut world = World::new(seed, 5, true);
        world.run(seed);
        let caught = world.clients[1].peers.len();
        assert!(caught < 4, "SEED={seed}: nobody found the poisoner");
    }
}

#[test]
fn a_keep_alive_is_four_zero_bytes() {
    let mut wire = BytesMut::new();
    Message::KeepAlive.encode(&mut wire);
    assert_eq!(&wire[..], [0; 4]);
}
