//! The world a plan lives in: virtual time, mirrors with faults, a disk in memory.

mod lines;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use arioso::base::error::{ErrorCode, Failure, Retry};
use arioso::base::range_set::RangeSet;
use arioso::base::rng::Rng;
use arioso::base::units::{PieceIdx, SourceId, Span};
use arioso::option::value::{PieceSelector, UriSelector};
use arioso::transfer::piece_map::whole_blocks;
use arioso::transfer::plan::{Action, DiskDone, Outcome, Peeked, Plan, PlanSettings, Prepared};

use self::lines::Connection;
use crate::clock::{Clock, Next};
use crate::ground::{NOISE_LEN, content, plain_settings, uri_of};
use crate::mirror::{Fault, Mirror};

const PIECE_LEN: u64 = 1024 * 1024;

enum Happening {
    Respond(SourceId, u32),
    Chunk(SourceId, u32),
    Break(SourceId, u32),
    Disk(DiskDone),
    Pause,
    Crash,
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
    clock: Clock<Happening>,
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
            clock: Clock::new(),
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
        self.clock.elapsed()
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
        self.clock.forget();
        self.connections.clear();
        let uris: Vec<_> = (0..self.mirrors.len()).map(uri_of).collect();
        let rng = Rng::seeded(self.rng.next_u64());
        let mut plan = Plan::new(self.clock.now(), &uris, self.settings.clone(), rng);
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
            if self.elapsed() > limit {
                let _ = writeln!(self.log, "out of time; {}", plan.map().draw(PIECE_LEN));
                return Ended::Stuck;
            }
            let due = plan.poll_timeout(self.clock.now());
            match self.clock.advance(due) {
                Next::Nothing => return Ended::Stuck,
                Next::Due => plan.handle_timeout(self.clock.now(), &()),
                Next::Happens(Happening::Crash) => return Ended::Crashed,
                Next::Happens(happening) => self.happen(&mut plan, happening),
            }
        }
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.clock.after(wait, happening);
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
                        ..Peeked::default()
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

    fn happen(&mut self, plan: &mut Plan, happening: Happening) {
        let now = self.clock.now();
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
