//! Peers: what they are asked for, send, refuse and lie about.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use arioso::base::bitfield::Bitfield;
use arioso::base::range_set::RangeSet;
use arioso::base::units::{BLOCK_LEN, PieceIdx, SourceId, Span};
use arioso::bittorrent::wire::Block;
use arioso::transfer::crowd::Crowd;
use arioso::transfer::plan::Plan;

use super::{Happening, Torrent};
use crate::ground::WRONG;

/// Blocks a peer may owe.
pub(super) const WINDOW: usize = 24;

#[derive(Clone, Debug)]
pub struct Peer {
    /// Bytes a second.
    pub rate: u64,
    /// Share of the pieces it has at the start; it gets others now and then.
    pub share: f64,
    /// Chance that a block is wrong.
    pub lies: f64,
    /// Chance that it goes silent, a block.
    pub stall: f64,
    /// Chance that it chokes us, a block.
    pub chokes: f64,
    /// Chance that it leaves for good, a block.
    pub leaves: f64,
    /// It is found so long after the beginning.
    pub late: Duration,
}

impl Peer {
    pub fn seed(rate: u64) -> Self {
        Self {
            rate,
            share: 1.0,
            lies: 0.0,
            stall: 0.0,
            chokes: 0.0,
            leaves: 0.0,
            late: Duration::ZERO,
        }
    }

    pub fn late(self, late: Duration) -> Self {
        Self { late, ..self }
    }
}

/// What a peer's connection reports.
pub(super) enum Said {
    /// It is connected and has these pieces.
    Joined(Vec<PieceIdx>),
    Has(PieceIdx),
    Choked(bool),
    Window(usize),
    Took(Block),
    Released(Vec<Block>),
    Piece(PieceIdx, bool),
    Snubbed(bool),
    Gone,
}

/// One connection to a peer.
pub(super) struct Line {
    pub(super) queue: VecDeque<Block>,
    pub(super) sending: bool,
    pub(super) choking: bool,
    pub(super) stalled: bool,
    pub(super) gone: bool,
    pub(super) has: Bitfield,
    pub(super) told_at: Instant,
}

/// A block's bytes and the peer they came from.
pub(super) type Part = (Vec<u8>, usize);

impl Torrent {
    /// Reports of one peer come late, but in order.
    pub(super) fn say(&mut self, peer: usize, said: Said) {
        let late = Duration::from_millis(self.rng.below(20));
        let at = (self.clock.now() + late).max(self.lines[peer].told_at);
        self.lines[peer].told_at = at;
        self.after(at - self.clock.now(), Happening::Said(peer, said));
    }

    pub(super) fn carry_out(&mut self, plan: &mut Plan, crowd: &mut Crowd) {
        let idle = plan.mirrors_idle();
        let orders = crowd.poll_orders(self.clock.now(), plan.map_mut(), idle);
        plan.make_way(self.clock.now());
        for (piece, on_disk) in orders.open {
            let span = plan.map().piece_span(piece);
            let blocks = span.len().div_ceil(BLOCK_LEN);
            let parts = (0..blocks).map(|index| {
                let start = span.start + index * BLOCK_LEN;
                let end = (start + BLOCK_LEN).min(span.end);
                on_disk
                    .covers(Span::new(start, end))
                    .then(|| (self.disk[start as usize..end as usize].to_vec(), usize::MAX))
            });
            let parts = parts.collect();
            assert!(self.parts.insert(piece, parts).is_none(), "opened twice");
        }
        for (id, blocks) in orders.cancels {
            let peer = id.0 as usize;
            let mut released = Vec::new();
            for block in blocks {
                let queue = &mut self.lines[peer].queue;
                // What is on its way already comes.
                if let Some(at) = queue.iter().skip(1).position(|queued| *queued == block) {
                    queue.remove(at + 1);
                    released.push(block);
                }
            }
            if !released.is_empty() {
                self.say(peer, Said::Released(released));
            }
        }
        for (id, blocks) in orders.requests {
            let peer = id.0 as usize;
            let line = &mut self.lines[peer];
            if line.gone || line.choking || line.stalled {
                self.say(peer, Said::Released(blocks));
                continue;
            }
            for block in blocks {
                assert!(line.has.get(block.piece.0), "asked for what it has not");
                assert!(!line.queue.contains(&block), "asked twice of one peer");
                line.queue.push_back(block);
            }
            self.send_next(peer);
        }
        for piece in orders.give_back {
            let span = plan.map().piece_span(piece);
            let mut on_disk = RangeSet::new();
            for (index, part) in self
                .parts
                .remove(&piece)
                .unwrap_or_default()
                .iter()
                .enumerate()
            {
                if let Some((data, _)) = part {
                    let at = span.start + index as u64 * BLOCK_LEN;
                    let end = at + data.len() as u64;
                    self.disk[at as usize..end as usize].copy_from_slice(data);
                    on_disk.insert(Span::new(at, end));
                }
            }
            plan.handle_given_back(self.clock.now(), piece, &on_disk, &());
        }
    }

    fn send_next(&mut self, peer: usize) {
        let line = &mut self.lines[peer];
        let Some(block) = line.queue.front().filter(|_| !line.sending) else {
            return;
        };
        line.sending = true;
        let seconds = f64::from(block.len) / self.peers[peer].rate as f64;
        self.after(Duration::from_secs_f64(seconds), Happening::Send(peer));
    }

    pub(super) fn release_all(&mut self, peer: usize) {
        let blocks: Vec<Block> = self.lines[peer].queue.drain(..).collect();
        if !blocks.is_empty() {
            self.say(peer, Said::Released(blocks));
        }
    }

    pub(super) fn hear(&mut self, plan: &mut Plan, crowd: &mut Crowd, peer: usize, said: Said) {
        let (now, id) = (self.clock.now(), SourceId(peer as u32));
        match said {
            Said::Joined(pieces) => {
                crowd.join(now, id);
                crowd.handle_has(id, &pieces);
            }
            Said::Has(piece) => crowd.handle_has(id, &[piece]),
            Said::Choked(choked) => crowd.handle_choked(id, choked),
            Said::Window(count) => crowd.handle_window(id, count),
            Said::Took(block) => crowd.handle_took(now, id, &[block]),
            Said::Released(blocks) => crowd.handle_released(now, id, &blocks),
            Said::Snubbed(snubbed) => crowd.handle_snubbed(id, snubbed),
            Said::Gone => crowd.leave(now, id),
            Said::Piece(piece, good) => {
                crowd.handle_piece(now, piece, good);
                plan.handle_swarm_piece(now, piece, good, &());
            }
        }
    }

    /// A block has come over the wire.
    pub(super) fn send(&mut self, peer: usize) {
        let behaviour = self.peers[peer].clone();
        self.lines[peer].sending = false;
        if self.lines[peer].gone {
            return;
        }
        let Some(block) = self.lines[peer].queue.pop_front() else {
            return;
        };
        let span = block.span(self.shape.piece_len);
        self.fetched += span.len();
        let mut data = self.origin[span.start as usize..span.end as usize].to_vec();
        if self.rng.chance(behaviour.lies) {
            data[0] ^= WRONG;
        }
        self.put(peer, block, data);
        self.say(peer, Said::Took(block));
        if self.rng.chance(behaviour.leaves) {
            self.lines[peer].gone = true;
            self.lines[peer].queue.clear();
            return self.say(peer, Said::Gone);
        }
        if self.rng.chance(behaviour.stall) {
            self.lines[peer].stalled = true;
            return self.after(Duration::from_secs(15), Happening::GiveUp(peer));
        }
        if self.rng.chance(behaviour.chokes) {
            self.lines[peer].choking = true;
            self.say(peer, Said::Choked(true));
            self.release_all(peer);
            return self.after(Duration::from_secs(10), Happening::Resume(peer));
        }
        let lacks = (0..self.shape.piece_count()).find(|p| !self.lines[peer].has.get(*p));
        if let Some(piece) = lacks.filter(|_| self.rng.chance(0.1)) {
            self.lines[peer].has.set(piece, true);
            self.say(peer, Said::Has(PieceIdx(piece)));
        }
        let room = WINDOW.saturating_sub(self.lines[peer].queue.len());
        self.say(peer, Said::Window(room));
        self.send_next(peer);
    }

    fn put(&mut self, peer: usize, block: Block, data: Vec<u8>) {
        let Some(parts) = self.parts.get_mut(&block.piece) else {
            return;
        };
        let slot = &mut parts[(block.begin as u64 / BLOCK_LEN) as usize];
        if slot.is_some() {
            return;
        }
        *slot = Some((data, peer));
        if parts.iter().all(Option::is_some) {
            self.after(Duration::from_millis(3), Happening::Hash(peer, block.piece));
        }
    }

    pub(super) fn hash(&mut self, peer: usize, piece: PieceIdx) {
        let Some(parts) = self.parts.get_mut(&piece) else {
            return;
        };
        let data: Vec<u8> = parts
            .iter()
            .flatten()
            .flat_map(|(data, _)| data.clone())
            .collect();
        let senders: BTreeSet<usize> = parts.iter().flatten().map(|(_, by)| *by).collect();
        let start = piece.0 as usize * self.shape.piece_len as usize;
        let good = self.origin[start..start + data.len()] == data[..];
        if good {
            self.disk[start..start + data.len()].copy_from_slice(&data);
            self.parts.remove(&piece);
        } else {
            parts.iter_mut().for_each(|part| *part = None);
            self.bad_pieces += 1;
        }
        self.say(peer, Said::Piece(piece, good));
        if let (false, 1, Some(guilty)) = (good, senders.len(), senders.first())
            && *guilty != usize::MAX
        {
            self.lines[*guilty].gone = true;
            self.lines[*guilty].queue.clear();
            self.say(*guilty, Said::Gone);
        }
    }
}
