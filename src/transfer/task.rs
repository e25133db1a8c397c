//! Driver of one download: the only `select!`. It carries out what the plan decides and tells
//! the plan what came of it.

mod disk;
mod end;
mod figures;
mod reports;
mod swarm;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::base::error::Failure;
use crate::base::gid::Gid;
use crate::base::secret::SafeUrl;
use crate::base::units::Span;
use crate::limit::LimitBranch;
use crate::option::OptionSet;
use crate::option::bt_settings::BtSettings;
use crate::option::settings::{FtpSettings, HttpSettings, TransferSettings};
use crate::source::http::{HttpShared, PieceSeed};
use crate::source::{Shared, Target};
use crate::storage::Content;
use crate::storage::digest::Checksum;

use self::disk::DiskEvent;
use super::destination::Destination;
use super::document::FollowSettings;
use super::finish::FinishNote;
use super::handle::{Control, Ended, Phase, TransferReport, TransferSpec, World};
use super::hashing::PieceHashing;
use super::live::Live;
use super::mirrors::Mirrors;
use super::plan::{Action, Outcome, Plan};
use super::saver::{OpenFile, Saver};
use super::setup::Setup;
use super::torrent::{Input, Torrent};
use super::uri_pool::UriChange;

/// Reports handled between two looks at everything else.
const REPORTS_AT_ONCE: usize = 256;

pub(super) struct Task {
    gid: Gid,
    world: Arc<World>,
    live: Arc<Live>,
    limit: LimitBranch,
    options: OptionSet,
    to_engine: UnboundedSender<(Gid, TransferReport)>,
    controls: UnboundedReceiver<Control>,
    settings: Arc<TransferSettings>,
    destination: Arc<Destination>,
    /// The files, where they were known from the beginning.
    content: Option<Arc<Content>>,
    plan: Plan,
    mirrors: Mirrors,
    disk_to_me: UnboundedSender<DiskEvent>,
    disk: UnboundedReceiver<DiskEvent>,
    target: Option<OpenFile>,
    hashing: PieceHashing,
    /// Peers are wanted and not sought yet.
    wants_swarm: bool,
    torrent: Option<Box<Torrent>>,
    /// Bytes given before this run.
    uploaded_before: u64,
    /// All was there when the files were opened, and was hashed.
    found_whole: Option<Checked>,
    seeding: bool,
    /// `Last-Modified` of what is being fetched.
    modified: Option<i64>,
    /// `Content-Type` and URI, after redirects, of what is being fetched.
    origin: (Option<String>, String),
    follow: FollowSettings,
    /// What the server says the digest is.
    digest: Option<Checksum>,
    /// Where it is noted that the file is finished.
    note: Option<FinishNote>,
    /// Tells a long disk job that nobody waits for it any more.
    give_up: Arc<AtomicBool>,
    /// The file is being made ready, or finished.
    making: Option<JoinHandle<()>>,
    /// This run has done nothing about the file yet.
    untouched: bool,
    forced: bool,
    saver: Saver,
}

/// How it is known that all was there at the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checked {
    ByHash,
    ByControlFile,
}

impl Task {
    /// # Errors
    /// As [`Setup::new`].
    pub(super) fn new(
        spec: TransferSpec,
        world: Arc<World>,
        controls: UnboundedReceiver<Control>,
    ) -> Result<Self, Failure> {
        let (disk_to_me, disk) = mpsc::unbounded_channel();
        let Setup {
            settings,
            destination,
            content,
            plan,
        } = Setup::new(&spec)?;
        let http = HttpShared {
            gid: spec.gid,
            settings: HttpSettings::from(&spec.options),
            net: world.net.clone(),
            modified_since: destination.local_time(),
        };
        let follow = FollowSettings::new(&spec.options, &spec.job, spec.is_torrent_file);
        let gid = spec.gid;
        Ok(Self {
            gid,
            world,
            live: spec.live,
            mirrors: Mirrors::new(
                Shared::new(http, FtpSettings::from(&spec.options)),
                spec.limit.clone(),
            ),
            limit: spec.limit,
            options: spec.options,
            to_engine: spec.reports,
            controls,
            settings,
            destination,
            digest: None,
            origin: Default::default(),
            follow,
            hashing: PieceHashing::default(),
            content,
            plan,
            disk_to_me,
            disk,
            target: None,
            wants_swarm: false,
            torrent: None,
            uploaded_before: 0,
            found_whole: None,
            seeding: false,
            modified: None,
            note: spec.finish_log.map(|log| FinishNote { gid, log }),
            give_up: Arc::default(),
            making: None,
            untouched: true,
            forced: false,
            saver: Saver::default(),
        })
    }

    pub(super) async fn run(mut self) -> Ended {
        self.tell(Phase::Opening);
        // What was whole when an earlier transfer ended stays so to whoever looks at it meanwhile.
        self.live.set_seeding(false);
        let mut batch = Vec::with_capacity(REPORTS_AT_ONCE);
        let outcome = loop {
            if std::mem::take(&mut self.wants_swarm) {
                self.join_swarm().await;
            }
            if let Some(outcome) = self.act() {
                break outcome;
            }
            self.publish();
            let due = self.poll_timeout(Instant::now());
            tokio::select! {
                biased;
                control = self.controls.recv() => self.handle_control(control),
                Some(event) = self.disk.recv() => self.handle_disk(event),
                _ = self.mirrors.reports.recv_many(&mut batch, REPORTS_AT_ONCE) => {
                    for (source, report) in batch.drain(..) {
                        self.handle_report(source, report);
                    }
                }
                input = next_input(&mut self.torrent) => self.handle_input(input),
                () = sleep_until(due) => self.plan.handle_timeout(Instant::now(), &self.world.stats),
            }
        };
        self.finish(outcome).await
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let torrent = self.torrent.as_ref();
        let torrent = torrent.and_then(|torrent| torrent.poll_timeout(now));
        [self.plan.poll_timeout(now), torrent]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn tell(&self, phase: Phase) {
        let _ = self
            .to_engine
            .send((self.gid, TransferReport::Phase(phase)));
    }

    fn handle_control(&mut self, control: Option<Control>) {
        match control {
            // The engine is gone: keep what is there and end.
            None => self.plan.handle_stop(),
            Some(Control::Stop { force }) => {
                self.forced = force;
                self.plan.handle_stop();
            }
            Some(Control::Leave { force }) => {
                self.forced = force;
                if self.seeding {
                    self.plan.handle_seeding_over();
                } else {
                    self.plan.handle_stop();
                }
            }
            Some(Control::Uris {
                file,
                remove,
                add,
                at,
            }) => {
                let change = UriChange {
                    part: self.part_of(file),
                    remove: &remove,
                    add: &add,
                    at,
                };
                self.plan
                    .handle_uris(Instant::now(), &change, &self.world.stats);
                self.mirrors.changed = true;
            }
            Some(Control::Options(options)) => {
                let changed = TransferSettings::from(&options);
                self.limit.set(changed.down_limit, changed.up_limit);
                if let Some(torrent) = &mut self.torrent {
                    torrent.change(BtSettings::from(&options));
                }
                self.settings = Arc::new(changed);
                self.options = options;
            }
            Some(Control::Save) => self.save(),
        }
    }

    /// Where file `file` (from 0) of several is; `None`: it is the only one.
    fn part_of(&self, file: usize) -> Option<Span> {
        let place = self.destination.content.as_ref()?;
        let count = place.layout.files().len();
        (count > 1 && file < count).then(|| place.layout.span_of(file))
    }

    fn handle_input(&mut self, input: Input) {
        if let Some(torrent) = &mut self.torrent {
            torrent.handle_input(Instant::now(), input, &mut self.plan, &self.world.stats);
        }
    }

    pub(super) fn is_torrent(&self) -> bool {
        let content = self.content.as_ref();
        content.is_some_and(|content| content.torrent.is_some())
    }

    /// Carries out everything the plan and the swarm want now.
    fn act(&mut self) -> Option<Outcome> {
        self.note_changed();
        if let Some(outcome) = self.drive_swarm() {
            return Some(outcome);
        }
        while let Some(action) = self.plan.poll_action() {
            match action {
                Action::Peek => self.peek(),
                Action::Open {
                    source,
                    uri,
                    opening,
                    expect,
                    base,
                    by_piece,
                } => {
                    let target = Target {
                        uri,
                        opening,
                        expect,
                        base,
                        pieces: self.pieces().filter(|_| by_piece),
                    };
                    self.mirrors.open(source, target);
                }
                Action::Fetch(source, span) => {
                    if let Some(target) = &self.target {
                        self.mirrors.fetch(source, span, &target.files);
                    }
                }
                Action::Shrink(source, end) => self.mirrors.shrink(source, end),
                Action::Drop(source) => self.mirrors.drop_source(source, &self.world.stats),
                Action::Prepare { facts, discard } => self.prepare(facts, discard),
                Action::Hash(piece) => self.hash(piece),
                Action::BadPiece { piece, uri, banned } => {
                    let uri = SafeUrl(&uri);
                    let then = if banned {
                        "it is not used any more"
                    } else {
                        "it gets another chance"
                    };
                    warn!(gid = %self.gid, "the piece at {piece:?} from {uri} failed its hash check; {then}");
                }
                Action::Save => self.save(),
                Action::Complete => self.complete(),
                Action::End(outcome) => return Some(outcome),
            }
        }
        if self.plan.is_seeding() && !std::mem::replace(&mut self.seeding, true) {
            self.begin_seeding();
            // Where nothing is to be given, that was the end already.
            return self.act();
        }
        None
    }

    fn drive_swarm(&mut self) -> Option<Outcome> {
        let torrent = self.torrent.as_mut()?;
        if let Some(outcome) = torrent.ended() {
            return Some(outcome);
        }
        let given_back = torrent.advance(Instant::now(), &mut self.plan, &self.world.stats);
        let (assembler, ended) = (torrent.assembler.clone(), torrent.ended());
        for piece in given_back {
            let assembler = assembler.clone();
            self.on_disk_thread(move || DiskEvent::GivenBack(piece, assembler.give_back(piece)));
        }
        ended
    }

    /// The torrent as mirrors know it that give its pieces.
    fn pieces(&self) -> Option<PieceSeed> {
        let content = self.content.as_ref()?;
        Some(PieceSeed {
            info_hash: content.torrent.as_ref()?.info.hash,
            piece_len: content.pieces.as_ref()?.piece_len,
        })
    }
}

async fn next_input(torrent: &mut Option<Box<Torrent>>) -> Input {
    match torrent {
        Some(torrent) => torrent.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
