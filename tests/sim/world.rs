//! The world a plan lives in: virtual time, mirrors with faults, a disk in memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arioso::base::error::{ErrorCode, Failure, Retry};
use arioso::base::range_set::RangeSet;
use arioso::base::rng::Rng;
use arioso::base::units::{PieceIdx, SourceId, Span};
use arioso::option::value::{PieceSelector, UriSelector};
use arioso::source::{Facts, Identity, Opening, Report};
use arioso::transfer::piece_map::whole_blocks;
use arioso::transfer::plan::{Action, DiskDone, Outcome, Peeked, Plan, PlanSettings, Prepared};
use arioso::transfer::retry::RetryPolicy;

const CHUNK: u64 = 64 * 1024;
const PIECE_LEN: u64 = 1024 * 1024;
/// What a wrong byte is xored with.
const WRONG: u8 = 0x55;

/// A prime: no piece or block begins twice at the same place of the noise.
pub const NOISE_LEN: u64 = 1_048_583;

/// Bytes that repeat at no distance a fault could shift them by; made once, since making them is
/// what a debug build is slow at.
pub fn content(from: u64, len: u64) -> Vec<u8> {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut rng = Rng::seeded(0x5eed);
        (0..NOISE_LEN).map(|_| rng.next_u64() as u8).collect()
    });
    let (mut content, mut from) = (Vec::with_capacity(len as usize), from as usize);
    while (content.len() as u64) < len {
        let rest = len as usize - content.len();
        let end = NOISE.len().min(from + rest);
        content.extend_from_slice(&NOISE[from..end]);
        from = 0;
    }
    content
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    NotFound,
    /// Another length: the source refuses it.
    OtherFile,
    /// Right length, wrong content.
    WrongBytes,
}

#[derive(Clone, Debug)]
pub struct Mirror {
    /// Bytes a second of each connection.
    pub rate: u64,
    pub latency: Duration,
    pub ranges: bool,
    pub tells_length: bool,
    /// Chance that a connection breaks, a chunk.
    pub loss: f64,
    /// Chance that a connection goes silent until its timeout, a chunk.
    pub stall: f64,
    /// Chance that a request is answered 503.
    pub busy: f64,
    /// The n-th connection gets a thousandth of the rate.
    pub slow_connection: Option<u32>,
    pub fault: Option<Fault>,
    pub dialled: u32,
}

impl Mirror {
    pub fn good(rate: u64) -> Self {
        Self {
            rate,
            latency: Duration::from_millis(20),
            ranges: true,
            tells_length: true,
            loss: 0.0,
            stall: 0.0,
            busy: 0.0,
            slow_connection: None,
            fault: None,
            dialled: 0,
        }
    }

    pub fn with(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }
}

struct Connection {
    mirror: usize,
    rate: u64,
    opening: Opening,
    opened: bool,
    /// Position of the open body and where the response ends.
    body: Option<Span>,
    lease: Option<Span>,
    /// Bumped when the connection turns to something else: older events are void.
    turn: u32,
}

enum Happening {
    Respond(SourceId, u32),
    Chunk(SourceId, u32),
    Break(SourceId, u32),
    Disk(DiskDone),
    Pause,
    Crash,
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

/// The options of a download that nothing special is asked of.
pub fn plain_settings() -> PlanSettings {
    PlanSettings {
        split: 4,
        per_host_max: 2,
        span_min: PIECE_LEN,
        selector: PieceSelector::Default,
        uri_selector: UriSelector::InOrder,
        reuse_uri: true,
        one_protocol: false,
        retry: RetryPolicy {
            tries_max: None,
            wait: Duration::ZERO,
            not_found_max: 0,
        },
        always_resume: true,
        resume_failures_max: 0,
        dry_run: false,
        use_head: false,
        save_gap_max: Some(Duration::from_secs(60)),
        hashed: false,
        swarm: false,
        piece_len: 1 << 20,
    }
}

pub struct World {
    rng: Rng,
    origin: Vec<u8>,
    disk: Vec<u8>,
    mirrors: Vec<Mirror>,
    settings: PlanSettings,
    hashed: bool,
    pauses: u32,
    crashes: u32,
    disk_faults: f64,
    now: Instant,
    began: Instant,
    events: BinaryHeap<Entry>,
    counter: u64,
    connections: BTreeMap<SourceId, Connection>,
    connections_most: usize,
    bytes_sent: u64,
    bytes_to_disk: u64,
    /// What the control file says; survives a crash.
    control: Option<RangeSet>,
    log: String,
}

impl World {
    /// One honest file, no faults.
    pub fn plain(seed: u64, len: u64) -> Self {
        let mut rng = Rng::seeded(seed ^ 0x5eed);
        let origin = content(rng.below(NOISE_LEN), len);
        let now = Instant::now();
        Self {
            rng,
            disk: vec![0; origin.len()],
            origin,
            mirrors: Vec::new(),
            settings: plain_settings(),
            hashed: false,
            pauses: 0,
            crashes: 0,
            disk_faults: 0.0,
            now,
            began: now,
            events: BinaryHeap::new(),
            counter: 0,
            connections: BTreeMap::new(),
            connections_most: 0,
            bytes_sent: 0,
            bytes_to_disk: 0,
            control: None,
            log: String::new(),
        }
    }

    /// Any mix of faults, and at least one mirror that has the right bytes and ranges.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let len_max = if rng.chance(0.2) { 100_000 } else { 12_000_000 };
        let len = 1 + rng.below(len_max);
        let mut world = Self::plain(seed, len);
        let mirrors = 1 + rng.below(4);
        for index in 0..mirrors {
            let mut mirror = Mirror::good(20_000 + rng.below(3_000_000));
            mirror.latency = Duration::from_millis(1 + rng.below(400));
            mirror.loss = rng.below(6) as f64 * 0.01;
            mirror.stall = rng.below(3) as f64 * 0.005;
            mirror.busy = rng.below(4) as f64 * 0.1;
            if rng.chance(0.3) {
                mirror.slow_connection = Some(rng.below(4) as u32);
            }
            if index > 0 {
                mirror.ranges = rng.chance(0.8);
                mirror.fault = match rng.below(8) {
                    0 => Some(Fault::NotFound),
                    1 => Some(Fault::OtherFile),
                    2 => Some(Fault::WrongBytes),
                    _ => None,
                };
            }
            world.mirrors.push(mirror);
        }
        // Without hashes nobody can tell wrong bytes of the right length.
        world.hashed = rng.chance(0.4)
            || world
                .mirrors
                .iter()
                .any(|mirror| mirror.fault == Some(Fault::WrongBytes));
        world.settings.hashed = world.hashed;
        world.settings.split = 1 + rng.below(16) as usize;
        world.settings.per_host_max = 1 + rng.below(8) as usize;
        world.settings.span_min = [64 * 1024, PIECE_LEN, 20 * PIECE_LEN][rng.below(3) as usize];
        world.settings.selector = [
            PieceSelector::Default,
            PieceSelector::InOrder,
            PieceSelector::Random,
            PieceSelector::Geom,
        ][rng.below(4) as usize];
        world.settings.uri_selector = [
            UriSelector::InOrder,
            UriSelector::Feedback,
            UriSelector::Adaptive,
        ][rng.below(3) as usize];
        world.settings.use_head = rng.chance(0.1);
        world.pauses = rng.below(3) as u32;
        world.crashes = rng.below(3) as u32;
        world.disk_faults = if rng.chance(0.2) { 0.002 } else { 0.0 };
        world
    }

    pub fn with_mirrors(self, mirrors: Vec<Mirror>) -> Self {
        Self { mirrors, ..self }
    }

    pub fn with_split(mut self, split: usize, per_host_max: usize) -> Self {
        self.settings.split = split;
        self.settings.per_host_max = per_host_max;
        self
    }

    pub fn with_selector(mut self, selector: PieceSelector) -> Self {
        self.settings.selector = selector;
        self
    }

    pub fn with_hashes(mut self) -> Self {
        self.hashed = true;
        self.settings.hashed = true;
        self
    }

    pub fn with_pauses(self, pauses: u32) -> Self {
        Self { pauses, ..self }
    }

    pub fn describe(&self) -> String {
        format!(
            "{} bytes, {:?}\n{:#?}\n{}",
            self.origin.len(),
            self.settings,
            self.mirrors,
            self.log
        )
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    pub fn connections_most(&self) -> usize {
        self.connections_most
    }

    /// Bytes the mirrors sent in bodies that were read.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    pub fn bytes_sent_to_disk(&self) -> u64 {
        self.bytes_to_disk
    }

    pub fn disk_is_right(&self) -> bool {
        self.disk == self.origin
    }

    /// Runs the download to its end through every pause, crash and disk failure.
    pub fn run(&mut self, limit: Duration) -> End {
        let mut written = RangeSet::new();
        let mut starts = 0;
        loop {
            starts += 1;
            match self.run_once(written, limit) {
                Ended::Plan(Outcome::Stopped, exact) => written = exact,
                Ended::Plan(Outcome::Failed(failure), exact)
                    if failure.code == ErrorCode::FileIo && starts < 50 =>
                {
                    written = exact;
                }
                Ended::Plan(outcome, _) => return End(Some(outcome)),
                Ended::Crashed => written = self.control.clone().unwrap_or_default(),
                Ended::Stuck => return End(None),
            }
        }
    }

    fn run_once(&mut self, written: RangeSet, limit: Duration) -> Ended {
        self.events.clear();
        self.connections.clear();
        let uris: Vec<Arc<str>> = (0..self.mirrors.len())
            .map(|index| Arc::from(format!("http://m{index}/f")))
            .collect();
        let rng = Rng::seeded(self.rng.next_u64());
        let mut plan = Plan::new(self.now, &uris, self.settings.clone(), rng);
        if self.pauses > 0 {
            self.pauses -= 1;
            let wait = Duration::from_millis(self.rng.below(6_000));
            self.after(wait, Happening::Pause);
        } else if self.crashes > 0 {
            self.crashes -= 1;
            let wait = Duration::from_millis(self.rng.below(12_000));
            self.after(wait, Happening::Crash);
        }
        let mut prior = Some(written);
        loop {
            while let Some(action) = plan.poll_action() {
                if let Some(outcome) = self.act(&mut plan, action, &mut prior) {
                    let exact = plan.map().trusted();
                    self.save(&plan);
                    return Ended::Plan(
                        outcome,
                        if prior.is_some() {
                            prior.take().unwrap_or_default()
                        } else {
                            exact
                        },
                    );
                }
            }
            let due = plan.poll_timeout(self.now);
            let next = self.events.peek().map(|entry| entry.0.0.0);
            if self.elapsed() > limit {
                let _ = writeln!(self.log, "out of time; {}", plan.map().draw(PIECE_LEN));
                return Ended::Stuck;
            }
            match (next, due) {
                (None, None) => return Ended::Stuck,
                (Some(at), due) if due.is_none_or(|due| at <= due) => {
                    self.now = self.now.max(at);
                    let Some(entry) = self.events.pop() else {
                        return Ended::Stuck;
                    };
                    if matches!(entry.1, Happening::Crash) {
                        return Ended::Crashed;
                    }
                    self.happen(&mut plan, entry.1);
                }
                (_, Some(due)) => {
                    self.now = self.now.max(due);
                    plan.handle_timeout(self.now, &());
                }
                (Some(_), None) => unreachable!("an event without a deadline is taken above"),
            }
        }
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.counter += 1;
        self.events
            .push(Entry(Reverse((self.now + wait, self.counter)), happening));
    }

    fn act(
        &mut self,
        plan: &mut Plan,
        action: Action,
        prior: &mut Option<RangeSet>,
    ) -> Option<Outcome> {
        match action {
            Action::Peek => {
                let total = self.origin.len() as u64;
                let resume_at =
                    prior
                        .as_ref()
                        .filter(|written| !written.is_empty())
                        .map_or(0, |written| {
                            written
                                .gaps(Span::new(0, total))
                                .next()
                                .map_or(total, |gap| gap.start)
                        });
                self.after(
                    Duration::from_millis(1),
                    Happening::Disk(DiskDone::Peeked(Peeked {
                        resume_at,
                        finished: None,
                        identity: None,
                    })),
                );
            }
            Action::Open {
                source,
                uri,
                opening,
                ..
            } => self.open(source, &uri, opening),
            Action::Fetch(source, span) => self.fetch(source, span),
            Action::Shrink(source, end) => {
                if let Some(lease) = self
                    .connections
                    .get_mut(&source)
                    .and_then(|c| c.lease.as_mut())
                {
                    lease.end = lease.end.min(end);
                }
            }
            Action::BadPiece { .. } => {}
            Action::Drop(source) => {
                self.connections.remove(&source);
            }
            Action::Prepare { facts, discard } => {
                let mut written = prior.take().unwrap_or_default();
                if discard || facts.identity.len.is_none() {
                    written = RangeSet::new();
                }
                let prepared = Prepared {
                    total: facts.identity.len,
                    piece_len: PIECE_LEN,
                    written,
                };
                self.after(
                    Duration::from_millis(2),
                    Happening::Disk(DiskDone::Prepared(Ok(prepared))),
                );
            }
            Action::Hash(piece) => {
                let good = self.piece_is_right(plan, piece);
                self.after(
                    Duration::from_millis(3),
                    Happening::Disk(DiskDone::Hashed(piece, Ok(good))),
                );
            }
            Action::Save => {
                self.save(plan);
                self.after(
                    Duration::from_millis(1),
                    Happening::Disk(DiskDone::Saved(Ok(()))),
                );
            }
            Action::Complete => {
                self.after(
                    Duration::from_millis(1),
                    Happening::Disk(DiskDone::Completed(Ok(()))),
                );
            }
            Action::End(outcome) => return Some(outcome),
        }
        None
    }

    /// A control file knows whole pieces and blocks only.
    fn save(&mut self, plan: &Plan) {
        let Some(total) = plan.map().total() else {
            return;
        };
        let trusted = plan.map().trusted();
        let blocks = trusted
            .iter()
            .map(|span| {
                let start = span.start.next_multiple_of(16 * 1024);
                Span::new(
                    start,
                    if span.end == total {
                        total
                    } else {
                        whole_blocks(span.end)
                    },
                )
            })
            .collect();
        self.control = Some(blocks);
    }

    fn piece_is_right(&self, plan: &Plan, piece: PieceIdx) -> bool {
        let span = plan.map().piece_span(piece);
        let range = span.start as usize..span.end as usize;
        self.disk[range.clone()] == self.origin[range]
    }

    fn open(&mut self, source: SourceId, uri: &str, opening: Opening) {
        let index: usize = uri
            .trim_start_matches("http://m")
            .trim_end_matches("/f")
            .parse()
            .expect("a mirror");
        let mirror = &mut self.mirrors[index];
        let slow = mirror.slow_connection == Some(mirror.dialled);
        mirror.dialled += 1;
        let rate = if slow {
            mirror.rate / 1000
        } else {
            mirror.rate
        };
        let latency = mirror.latency;
        let connection = Connection {
            mirror: index,
            rate: rate.max(100),
            opening,
            opened: false,
            body: None,
            lease: None,
            turn: 0,
        };
        self.connections.insert(source, connection);
        self.connections_most = self.connections_most.max(self.connections.len());
        if opening != Opening::Lease {
            self.after(latency, Happening::Respond(source, 0));
        }
    }

    fn fetch(&mut self, source: SourceId, span: Span) {
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        connection.lease = Some(span);
        connection.turn += 1;
        let turn = connection.turn;
        let latency = self.mirrors[connection.mirror].latency;
        if connection.body.is_some_and(|body| body.start == span.start) {
            self.after(Duration::ZERO, Happening::Chunk(source, turn));
        } else {
            connection.body = None;
            self.after(latency, Happening::Respond(source, turn));
        }
    }

    fn happen(&mut self, plan: &mut Plan, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Disk(done) => plan.handle_disk(now, done, &()),
            Happening::Pause => plan.handle_stop(),
            Happening::Crash => {}
            Happening::Respond(source, turn) => {
                if self.is_current(source, turn) {
                    self.respond(plan, source);
                }
            }
            Happening::Chunk(source, turn) => {
                if self.is_current(source, turn) {
                    self.chunk(plan, source);
                }
            }
            Happening::Break(source, turn) => {
                if self.is_current(source, turn) {
                    self.close(
                        plan,
                        source,
                        ErrorCode::Timeout,
                        Retry::After(Duration::ZERO),
                        "silent",
                    );
                }
            }
        }
    }

    fn is_current(&self, source: SourceId, turn: u32) -> bool {
        self.connections
            .get(&source)
            .is_some_and(|connection| connection.turn == turn)
    }

    fn close(
        &mut self,
        plan: &mut Plan,
        source: SourceId,
        code: ErrorCode,
        retry: Retry,
        text: &str,
    ) {
        self.connections.remove(&source);
        let _ = writeln!(self.log, "{:?} {source:?} closed: {text}", self.elapsed());
        plan.handle_report(
            self.now,
            source,
            Report::Closed(Err(Failure::new(code, retry, text))),
            &(),
        );
    }

    fn respond(&mut self, plan: &mut Plan, source: SourceId) {
        let Some(connection) = self.connections.get(&source) else {
            return;
        };
        let mirror = self.mirrors[connection.mirror].clone();
        if self.rng.chance(mirror.busy) {
            let code = ErrorCode::HttpServiceUnavailable;
            return self.close(plan, source, code, Retry::After(Duration::ZERO), "503");
        }
        if mirror.fault == Some(Fault::NotFound) {
            return self.close(
                plan,
                source,
                ErrorCode::ResourceNotFound,
                Retry::OtherMirror,
                "404",
            );
        }
        // A first mirror that has another file can't be told from an honest one.
        if mirror.fault == Some(Fault::OtherFile) {
            return self.close(
                plan,
                source,
                ErrorCode::HttpProtocol,
                Retry::OtherMirror,
                "another file",
            );
        }
        let total = self.origin.len() as u64;
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let wanted = match (connection.lease, connection.opening) {
            (Some(lease), _) => lease,
            (None, Opening::From(at)) => Span::new(at, total),
            (None, _) => Span::new(0, total),
        };
        let body = if mirror.ranges {
            Span::new(wanted.start, wanted.end.min(total))
        } else {
            Span::new(0, total)
        };
        let probe = connection.opening == Opening::Probe;
        connection.body = (!probe).then_some(body);
        if !connection.opened {
            connection.opened = true;
            let facts = Facts {
                identity: Identity {
                    len: mirror.tells_length.then_some(total),
                    ..Identity::default()
                },
                body_from: (!probe).then_some(body.start),
                ranges: mirror.ranges,
                final_uri: "http://m/f".to_owned(),
                ..Facts::default()
            };
            plan.handle_report(self.now, source, Report::Opened(Box::new(facts)), &());
        }
        if probe {
            self.connections.remove(&source);
            return plan.handle_report(self.now, source, Report::Closed(Ok(())), &());
        }
        let Some(connection) = self.connections.get(&source) else {
            return;
        };
        let Some(lease) = connection.lease else {
            return;
        };
        let (turn, proven) = (
            connection.turn,
            connection
                .body
                .is_some_and(|body| body.start == lease.start),
        );
        if proven {
            self.after(Duration::ZERO, Happening::Chunk(source, turn));
        } else {
            self.close(
                plan,
                source,
                ErrorCode::CannotResume,
                Retry::OtherMirror,
                "200 instead of 206",
            );
        }
    }

    fn chunk(&mut self, plan: &mut Plan, source: SourceId) {
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let mirror = &self.mirrors[connection.mirror];
        let (Some(lease), Some(body)) = (connection.lease, connection.body) else {
            return;
        };
        if self.rng.chance(mirror.loss) {
            return self.close(
                plan,
                source,
                ErrorCode::Network,
                Retry::After(Duration::ZERO),
                "broken",
            );
        }
        if self.rng.chance(mirror.stall) {
            let turn = connection.turn;
            return self.after(Duration::from_secs(60), Happening::Break(source, turn));
        }
        let wrong = mirror.fault == Some(Fault::WrongBytes);
        let at = lease.start;
        let end = (at + CHUNK).min(lease.end).min(body.end);
        if self.rng.chance(self.disk_faults) {
            return self.close(plan, source, ErrorCode::FileIo, Retry::Never, "disk");
        }
        let range = at as usize..end as usize;
        self.disk[range.clone()].copy_from_slice(&self.origin[range.clone()]);
        if wrong {
            self.disk[range].iter_mut().for_each(|byte| *byte ^= WRONG);
        }
        self.bytes_sent += end - at;
        self.bytes_to_disk += end - at;
        let (rate, turn) = (connection.rate, connection.turn);
        connection.lease = Some(Span::new(end, lease.end));
        connection.body = Some(Span::new(end, body.end));
        if end > at {
            plan.handle_report(self.now, source, Report::Wrote(Span::new(at, end)), &());
        }
        let Some(connection) = self.connections.get_mut(&source) else {
            return;
        };
        let lease_end = connection.lease.map_or(0, |lease| lease.end);
        if end == body.end && lease_end == u64::MAX {
            self.connections.remove(&source);
            plan.handle_report(self.now, source, Report::Ended(end), &());
        } else if end >= lease_end {
            connection.lease = None;
            connection.body = None;
            connection.turn += 1;
            plan.handle_report(self.now, source, Report::Idle, &());
        } else {
            let wait = Duration::from_secs_f64((end - at).max(1) as f64 / rate as f64);
            self.after(wait, Happening::Chunk(source, turn));
        }
    }
}

enum Ended {
    Plan(Outcome, RangeSet),
    Crashed,
    Stuck,
}

/// How a world ended; `None`: never.
#[derive(Debug)]
pub struct End(Option<Outcome>);

impl End {
    pub fn is_complete(&self) -> bool {
        self.0 == Some(Outcome::Complete)
    }

    pub fn failure(&self) -> Option<&Failure> {
        match &self.0 {
            Some(Outcome::Failed(failure)) => Some(failure),
            _ => None,
        }
    }
}
