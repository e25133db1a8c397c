//! The world of a torrent: peers and mirrors fill one map. Peers are slow, stall, choke, leave and
//! lie; mirrors have the whole or one file of several, crawl, break off and serve wrong bytes.
//! Reports come late and in another order than things happened, as between tasks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use arioso::base::bitfield::Bitfield;
use arioso::base::error::{ErrorCode, Failure, Retry};
use arioso::base::range_set::RangeSet;
use arioso::base::rng::Rng;
use arioso::base::units::{BLOCK_LEN, PieceIdx, SourceId, Span};
use arioso::bittorrent::peer::Shape;
use arioso::bittorrent::wire::Block;
use arioso::source::{Facts, Identity, Report};
use arioso::transfer::crowd::{Crowd, CrowdSettings};
use arioso::transfer::plan::{Action, DiskDone, Known, Outcome, Plan, Prepared};
use arioso::transfer::uri_pool::Mirror;

use crate::world::{NOISE_LEN, content, plain_settings};

const CHUNK: u64 = 64 * 1024;
const WINDOW: usize = 24;

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

#[derive(Clone, Debug)]
pub struct WebSeed {
    pub rate: u64,
    pub part: Option<Span>,
    pub wrong: bool,
    /// Chance that the connection breaks, a chunk.
    pub loss: f64,
}

enum Said {
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

enum Happening {
    /// The peer's next block has come over.
    Send(usize),
    Resume(usize),
    GiveUp(usize),
    Said(usize, Said),
    Hash(usize, PieceIdx),
    Chunk(SourceId, u32),
    Disk(DiskDone),
}

struct Entry(Reverse<(Instant, u64)>, Happening);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

struct Line {
    queue: VecDeque<Block>,
    sending: bool,
    choking: bool,
    stalled: bool,
    gone: bool,
    has: Bitfield,
    told_at: Instant,
}

struct Connection {
    seed: usize,
    lease: Option<Span>,
    base: u64,
    opened: bool,
    turn: u32,
}

/// A block's bytes and the peer they came from.
type Part = (Vec<u8>, usize);

pub struct Torrent {
    rng: Rng,
    pub origin: Vec<u8>,
    disk: Vec<u8>,
    shape: Shape,
    pub wanted: Option<RangeSet>,
    pub peers: Vec<Peer>,
    pub seeds: Vec<WebSeed>,
    pub open_bytes_max: u64,
    lines: Vec<Line>,
    parts: HashMap<PieceIdx, Vec<Option<Part>>>,
    connections: BTreeMap<SourceId, Connection>,
    now: Instant,
    began: Instant,
    events: BinaryHeap<Entry>,
    counter: u64,
    /// Bytes that came, of any use or none.
    pub fetched: u64,
    pub bad_pieces: u64,
    /// Of mirrors that were warned of.
    pub named: BTreeSet<String>,
    pub from_mirrors: u64,
    steps: u64,
    log: String,
}

impl Torrent {
    pub fn plain(seed: u64, len: u64, piece_len: u32) -> Self {
        let mut rng = Rng::seeded(seed ^ 0x7055);
        let origin = content(rng.below(NOISE_LEN), len);
        let now = Instant::now();
        Self {
            rng,
            disk: vec![0; origin.len()],
            shape: Shape {
                piece_len,
                total: len,
            },
            origin,
            wanted: None,
            peers: Vec::new(),
            seeds: Vec::new(),
            open_bytes_max: 64 << 20,
            lines: Vec::new(),
            parts: HashMap::new(),
            connections: BTreeMap::new(),
            now,
            began: now,
            events: BinaryHeap::new(),
            counter: 0,
            fetched: 0,
            bad_pieces: 0,
            named: BTreeSet::new(),
            from_mirrors: 0,
            steps: 0,
            log: String::new(),
        }
    }

    /// Any mix of peers and mirrors; one honest seed stays.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let piece_len = 1 << (15 + rng.below(5));
        let len_max = if rng.chance(0.2) { 200_000 } else { 3_000_000 };
        let len = 1 + rng.below(len_max);
        let mut world = Self::plain(seed, len, piece_len);
        world.peers.push(Peer::seed(20_000 + rng.below(500_000)));
        for _ in 0..rng.below(9) {
            let rate_max = [20_000, 2_000_000][rng.below(2) as usize];
            world.peers.push(Peer {
                rate: 5_000 + rng.below(rate_max),
                share: [1.0, 0.1, 0.5, 0.9][rng.below(4) as usize],
                lies: [0.0, 0.0, 0.0, 0.05, 1.0][rng.below(5) as usize],
                stall: [0.0, 0.0, 0.01][rng.below(3) as usize],
                chokes: [0.0, 0.02][rng.below(2) as usize],
                leaves: [0.0, 0.0, 0.01][rng.below(3) as usize],
                late: Duration::from_secs([0, 0, 2][rng.below(3) as usize]),
            });
        }
        let cut = rng.below(len + 1);
        for _ in 0..rng.below(4) {
            let part = match rng.below(3) {
                0 => None,
                1 => Some(Span::new(0, cut)),
                _ => Some(Span::new(cut, len)),
            };
            let rate_max = [30_000, 2_000_000][rng.below(2) as usize];
            world.seeds.push(WebSeed {
                rate: 3_000 + rng.below(rate_max),
                part: part.filter(|part| !part.is_empty()),
                wrong: rng.chance(0.3),
                loss: [0.0, 0.03][rng.below(2) as usize],
            });
        }
        if rng.chance(0.3) {
            let start = rng.below(len);
            let end = start + 1 + rng.below(len - start);
            world.wanted = Some(RangeSet::from_iter([Span::new(start, end.min(len))]));
        }
        if rng.chance(0.2) {
            world.open_bytes_max = u64::from(piece_len) * 4;
        }
        world
    }

    pub fn describe(&self) -> String {
        format!(
            "{:?} {:#?}\n{:#?}\n{}",
            self.shape, self.peers, self.seeds, self.log
        )
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Bytes that came beyond what was needed.
    pub fn wasted(&self) -> u64 {
        let piece_len = u64::from(self.shape.piece_len);
        let whole = RangeSet::from_iter([Span::new(0, self.shape.total)]);
        let wanted = self.wanted.as_ref().unwrap_or(&whole);
        let pieces: RangeSet = wanted
            .iter()
            .map(|span| {
                let start = span.start / piece_len * piece_len;
                let end = span.end.next_multiple_of(piece_len).min(self.shape.total);
                Span::new(start, end)
            })
            .collect();
        self.fetched.saturating_sub(pieces.total())
    }

    /// Bytes that may come twice: bad pieces, what is on its way when it is taken back or asked of
    /// a second peer at the end, and what a broken connection spoils.
    pub fn waste_allowed(&self) -> u64 {
        let piece_len = u64::from(self.shape.piece_len);
        let at_the_end = self.peers.len() as u64 * WINDOW as u64 * BLOCK_LEN;
        self.bad_pieces * 2 * piece_len + at_the_end + self.shape.total / 10
    }

    /// All that is wanted is right on the disk.
    pub fn disk_is_right(&self) -> bool {
        let whole = RangeSet::from_iter([Span::new(0, self.shape.total)]);
        let wanted = self.wanted.as_ref().unwrap_or(&whole);
        wanted.iter().all(|span| {
            let range = span.start as usize..span.end as usize;
            self.disk[range.clone()] == self.origin[range]
        })
    }

    /// Runs until the plan wants to finish; `None`: never, or too late.
    pub fn run(&mut self, limit: Duration) -> Option<Outcome> {
        let (mut plan, mut crowd) = self.start();
        loop {
            while let Some(action) = plan.poll_action() {
                if let Some(outcome) = self.act(&mut plan, action) {
                    self.steps = crowd.steps();
                    return Some(outcome);
                }
            }
            for piece in plan.map_mut().take_changed() {
                let had = plan.map().have().get(piece.0);
                crowd.handle_had(piece, had);
            }
            plan.handle_peers(self.now, crowd.useful_peers(), &());
            if plan.is_seeding() {
                plan.handle_seeding_over();
                continue;
            }
            if plan.is_fetching() {
                self.carry_out(&mut plan, &mut crowd);
            }
            if self.shape.piece_count() < 300 && plan.map().check() != Ok(()) {
                panic!("{:?}", plan.map().check());
            }
            let due = [plan.poll_timeout(self.now), crowd.poll_timeout(self.now)];
            let due = due.into_iter().flatten().min();
            let next = self.events.peek().map(|entry| entry.0.0.0);
            if self.elapsed() > limit {
                let _ = writeln!(
                    self.log,
                    "out of time: {}",
                    plan.map().draw(u64::from(self.shape.piece_len))
                );
                return None;
            }
            match (next, due) {
                (None, None) => return None,
                (Some(at), due) if due.is_none_or(|due| at <= due) => {
                    self.now = self.now.max(at);
                    if let Some(entry) = self.events.pop() {
                        self.happen(&mut plan, &mut crowd, entry.1);
                    }
                }
                (_, due) => {
                    // Time passes, however little: nothing may wait for the same moment for ever.
                    let due = due.unwrap_or(self.now);
                    self.now = due.max(self.now + Duration::from_millis(1));
                    plan.handle_timeout(self.now, &());
                }
            }
        }
    }

    fn start(&mut self) -> (Plan, Crowd) {
        let mirrors: Vec<Mirror> = self
            .seeds
            .iter()
            .enumerate()
            .map(|(index, seed)| Mirror::new(format!("http://m{index}/f").into(), seed.part))
            .collect();
        let known = Known {
            total: self.shape.total,
            piece_len: u64::from(self.shape.piece_len),
            wanted: self.wanted.clone(),
            padding: RangeSet::new(),
        };
        let settings = arioso::transfer::plan::PlanSettings {
            hashed: true,
            swarm: !self.peers.is_empty(),
            ..plain_settings()
        };
        let rng = Rng::seeded(self.rng.next_u64());
        let plan = Plan::known(self.now, &mirrors, known, settings, rng);
        let count = self.shape.piece_count();
        let mut wanted = Bitfield::new(count);
        for index in 0..count {
            let start = u64::from(index) * u64::from(self.shape.piece_len);
            let end = start + u64::from(self.shape.len_of(PieceIdx(index)));
            let mut inside = match &self.wanted {
                Some(wanted) => wanted.within(Span::new(start, end)).collect(),
                None => vec![Span::new(start, end)],
            };
            wanted.set(index, inside.pop().is_some());
        }
        let settings = CrowdSettings {
            open_bytes_max: self.open_bytes_max,
        };
        let rng = Rng::seeded(self.rng.next_u64());
        let crowd = Crowd::new(self.shape, settings, &Bitfield::new(count), &wanted, rng);
        for (index, peer) in self.peers.clone().into_iter().enumerate() {
            let mut has = Bitfield::new(count);
            let mut pieces = Vec::new();
            for piece in 0..count {
                if self.rng.chance(peer.share) || peer.share == 1.0 {
                    has.set(piece, true);
                    pieces.push(PieceIdx(piece));
                }
            }
            self.lines.push(Line {
                queue: VecDeque::new(),
                sending: false,
                choking: false,
                stalled: false,
                gone: false,
                has,
                told_at: self.now,
            });
            self.lines[index].told_at = self.now + peer.late;
            self.say(index, Said::Joined(pieces));
            self.say(index, Said::Choked(false));
            self.say(index, Said::Window(4));
        }
        (plan, crowd)
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.counter += 1;
        let at = self.now + wait;
        self.events
            .push(Entry(Reverse((at, self.counter)), happening));
    }

    /// Reports of one peer come late, but in order.
    fn say(&mut self, peer: usize, said: Said) {
        let late = Duration::from_millis(self.rng.below(20));
        let at = (self.now + late).max(self.lines[peer].told_at);
        self.lines[peer].told_at = at;
        self.after(at - self.now, Happening::Said(peer, said));
    }

    fn carry_out(&mut self, plan: &mut Plan, crowd: &mut Crowd) {
        let idle = plan.mirrors_idle();
        let orders = crowd.poll_orders(self.now, plan.map_mut(), idle);
        plan.make_way(self.now);
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
            plan.handle_given_back(self.now, piece, &on_disk, &());
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

    fn release_all(&mut self, peer: usize) {
        let blocks: Vec<Block> = self.lines[peer].queue.drain(..).collect();
        if !blocks.is_empty() {
            self.say(peer, Said::Released(blocks));
        }
    }

    fn happen(&mut self, plan: &mut Plan, crowd: &mut Crowd, happening: Happening) {
        match happening {
            Happening::Send(peer) => self.send(peer),
            Happening::Resume(peer) => {
                let line = &mut self.lines[peer];
                (line.choking, line.stalled) = (false, false);
                self.say(peer, Said::Snubbed(false));
                self.say(peer, Said::Choked(false));
                self.say(peer, Said::Window(4));
            }
            Happening::GiveUp(peer) => {
                self.say(peer, Said::Snubbed(true));
                self.release_all(peer);
                self.after(Duration::from_secs(20), Happening::Resume(peer));
            }
            Happening::Said(peer, said) => self.hear(plan, crowd, peer, said),
            Happening::Hash(peer, piece) => self.hash(peer, piece),
            Happening::Chunk(source, turn) => self.chunk(plan, source, turn),
            Happening::Disk(done) => plan.handle_disk(self.now, done, &()),
        }
    }

    fn hear(&mut self, plan: &mut Plan, crowd: &mut Crowd, peer: usize, said: Said) {
        let (now, id) = (self.now, SourceId(peer as u32));
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
    fn send(&mut self, peer: usize) {
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
            data[0] ^= 0x55;
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

    fn hash(&mut self, peer: usize, piece: PieceIdx) {
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

    fn act(&mut self, plan: &mut Plan, action: Action) -> Option<Outcome> {
        let soon = Duration::from_millis(2);
        match action {
            Action::Prepare { facts, .. } => {
                let prepared = Prepared {
                    total: facts.identity.len,
                    piece_len: u64::from(self.shape.piece_len),
                    written: RangeSet::new(),
                };
                self.after(soon, Happening::Disk(DiskDone::Prepared(Ok(prepared))));
            }
            Action::Open {
                source, uri, base, ..
            } => {
                let index = uri.trim_start_matches("http://m").trim_end_matches("/f");
                let connection = Connection {
                    seed: index.parse().expect("a mirror"),
                    lease: None,
                    base,
                    opened: false,
                    turn: 0,
                };
                self.connections.insert(source, connection);
            }
            Action::Fetch(source, span) => {
                if let Some(connection) = self.connections.get_mut(&source) {
                    let part = self.seeds[connection.seed].part;
                    let reach = part.unwrap_or(Span::new(0, self.shape.total));
                    assert_eq!(span.intersect(reach), span, "a lease outside the file");
                    connection.lease = Some(span);
                    connection.turn += 1;
                    let turn = connection.turn;
                    self.after(Duration::from_millis(30), Happening::Chunk(source, turn));
                }
            }
            Action::Shrink(source, end) => {
                let connection = self.connections.get_mut(&source);
                if let Some(lease) = connection.and_then(|c| c.lease.as_mut()) {
                    lease.end = lease.end.min(end);
                }
            }
            Action::Drop(source) => {
                self.connections.remove(&source);
            }
            Action::Hash(piece) => {
                let span = plan.map().piece_span(piece);
                let range = span.start as usize..span.end as usize;
                let good = self.disk[range.clone()] == self.origin[range];
                self.bad_pieces += u64::from(!good);
                self.after(soon, Happening::Disk(DiskDone::Hashed(piece, Ok(good))));
            }
            Action::BadPiece { uri, .. } => {
                self.named.insert(uri.to_string());
            }
            Action::Save => self.after(soon, Happening::Disk(DiskDone::Saved(Ok(())))),
            Action::Complete => self.after(soon, Happening::Disk(DiskDone::Completed(Ok(())))),
            Action::End(outcome) => return Some(outcome),
            Action::Peek => panic!("what is known need not be peeked at"),
        }
        None
    }

    fn chunk(&mut self, plan: &mut Plan, source: SourceId, turn: u32) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let (Some(lease), true) = (connection.lease, connection.turn == turn) else {
            return;
        };
        let seed = self.seeds[connection.seed].clone();
        let base = connection.base;
        if self.rng.chance(seed.loss) {
            self.connections.remove(&source);
            let failure = Failure::new(ErrorCode::Network, Retry::After(Duration::ZERO), "broken");
            return plan.handle_report(now, source, Report::Closed(Err(failure)), &());
        }
        if !std::mem::replace(&mut connection.opened, true) {
            let facts = Facts {
                identity: Identity {
                    len: Some(seed.part.map_or(self.shape.total, Span::len)),
                    ..Identity::default()
                },
                ranges: true,
                ..Facts::default()
            };
            plan.handle_report(now, source, Report::Opened(Box::new(facts)), &());
        }
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let end = (lease.start + CHUNK).min(lease.end);
        let range = lease.start as usize..end.max(lease.start) as usize;
        self.disk[range.clone()].copy_from_slice(&self.origin[range.clone()]);
        if seed.wrong {
            self.disk[range.clone()]
                .iter_mut()
                .for_each(|byte| *byte ^= 0x55);
        }
        self.fetched += range.len() as u64;
        self.from_mirrors += range.len() as u64;
        connection.lease = (end < lease.end).then_some(Span::new(end, lease.end));
        let idle = connection.lease.is_none();
        if !range.is_empty() {
            let seconds = range.len() as f64 / seed.rate as f64;
            let wrote = Span::new(lease.start - base, end - base);
            plan.handle_report(now, source, Report::Wrote(wrote), &());
            self.after(
                Duration::from_secs_f64(seconds),
                Happening::Chunk(source, turn),
            );
        }
        if idle && self.connections.contains_key(&source) {
            plan.handle_report(now, source, Report::Idle, &());
        }
    }
}
