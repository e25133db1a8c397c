//! The world of a torrent: peers and mirrors fill one map. Peers are slow, stall, choke, leave and
//! lie; mirrors have the whole or one file of several, crawl, break off and serve wrong bytes.
//! Reports come late and in another order than things happened, as between tasks.

mod peers;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use arioso::base::bitfield::Bitfield;
use arioso::base::error::{ErrorCode, Failure, Retry};
use arioso::base::range_set::RangeSet;
use arioso::base::rng::Rng;
use arioso::base::units::{BLOCK_LEN, PieceIdx, SourceId, Span};
use arioso::bittorrent::peer::Shape;
use arioso::source::{Facts, Identity, Report};
use arioso::transfer::crowd::{Crowd, CrowdSettings};
use arioso::transfer::plan::{Action, DiskDone, Known, Outcome, Plan, PlanSettings, Prepared};
use arioso::transfer::uri_pool::Mirror;

pub use self::peers::Peer;
use self::peers::{Line, Part, Said, WINDOW};
use crate::clock::{Clock, Next};
use crate::ground::{CHUNK, NOISE_LEN, WRONG, content, mirror_of, plain_settings, uri_of};

#[derive(Clone, Debug)]
pub struct WebSeed {
    pub rate: u64,
    pub part: Option<Span>,
    pub wrong: bool,
    /// Chance that the connection breaks, a chunk.
    pub loss: f64,
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

struct Connection {
    seed: usize,
    lease: Option<Span>,
    base: u64,
    opened: bool,
    turn: u32,
}

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
    clock: Clock<Happening>,
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
            clock: Clock::new(),
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
        self.clock.elapsed()
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
            plan.handle_peers(self.clock.now(), crowd.useful_peers(), &());
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
            if self.elapsed() > limit {
                let _ = writeln!(
                    self.log,
                    "out of time: {}",
                    plan.map().draw(u64::from(self.shape.piece_len))
                );
                return None;
            }
            let now = self.clock.now();
            let due = [plan.poll_timeout(now), crowd.poll_timeout(now)];
            match self.clock.advance(due.into_iter().flatten().min()) {
                Next::Nothing => return None,
                Next::Due => plan.handle_timeout(self.clock.now(), &()),
                Next::Happens(happening) => self.happen(&mut plan, &mut crowd, happening),
            }
        }
    }

    fn start(&mut self) -> (Plan, Crowd) {
        let mirrors: Vec<Mirror> = self
            .seeds
            .iter()
            .enumerate()
            .map(|(index, seed)| Mirror::new(uri_of(index), seed.part))
            .collect();
        let known = Known {
            total: self.shape.total,
            piece_len: u64::from(self.shape.piece_len),
            wanted: self.wanted.clone(),
            padding: RangeSet::new(),
            edges_may_lack: false,
        };
        let settings = PlanSettings {
            hashed: true,
            swarm: !self.peers.is_empty(),
            ..plain_settings()
        };
        let rng = Rng::seeded(self.rng.next_u64());
        let plan = Plan::known(self.clock.now(), &mirrors, known, settings, rng);
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
                told_at: self.clock.now(),
            });
            self.lines[index].told_at = self.clock.now() + peer.late;
            self.say(index, Said::Joined(pieces));
            self.say(index, Said::Choked(false));
            self.say(index, Said::Window(4));
        }
        (plan, crowd)
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.clock.after(wait, happening);
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
            Happening::Disk(done) => plan.handle_disk(self.clock.now(), done, &()),
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
                let connection = Connection {
                    seed: mirror_of(&uri),
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
        let now = self.clock.now();
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
                .for_each(|byte| *byte ^= WRONG);
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
