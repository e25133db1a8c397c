//! The swarm's side of a download: peers come and go, [`Crowd`] says which blocks to ask of whom,
//! [`Choker`] whom to feed. The transfer task drives it beside its mirrors.

mod connections;
mod feeding;
mod peer;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{debug, info};

use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::units::{PieceIdx, SourceId};
use crate::bittorrent::assembler::Assembler;
use crate::bittorrent::discovery::{Found, SwarmFigures};
use crate::bittorrent::link::{PeerOrder, PeerReport};
use crate::bittorrent::swarm::Parting;
use crate::bittorrent::wire::Block;
use crate::limit::LimitBranch;
use crate::option::bt_settings::BtSettings;

use self::feeding::Feeding;
use super::crowd::Crowd;
use super::live::Live;
use super::plan::{Outcome, Plan};
use super::saver::Swarm;
use super::seeding::{Seeding, Standstill};
use super::stats::ServerStats;
use super::uri_pool::HostSpeeds;

pub use self::connections::{Change, Connections, Input};
pub use self::start::{Address, Basis, connect};

/// How often everything is looked at that nobody reports.
const TICK: Duration = Duration::from_secs(1);
/// Trackers may take so long to hear that we leave.
pub const FAREWELL_TIME: Duration = Duration::from_secs(3);

/// The swarm of one download whose files are open.
pub struct Torrent {
    connections: Connections,
    crowd: Crowd,
    feeding: Feeding,
    pub assembler: Arc<Assembler>,
    settings: BtSettings,
    limit: LimitBranch,
    live: Arc<Live>,
    figures: Arc<SwarmFigures>,
    /// Bytes given before this run.
    uploaded_before: u64,
    uploaded: u64,
    /// Bytes of pieces that are not whole yet, as far as they came in this run.
    partial: BTreeMap<PieceIdx, u64>,
    standstill: Standstill,
    seeding: Option<Seeding>,
    peers_wanted: usize,
    wants_more: Option<bool>,
    tick_at: Instant,
    ended: Option<Outcome>,
}

impl Torrent {
    /// Begins with nobody connected.
    pub fn new(
        now: Instant,
        connections: Connections,
        crowd: Crowd,
        assembler: Arc<Assembler>,
        basis: Basis,
    ) -> Self {
        let Basis {
            settings,
            limit,
            live,
            figures,
            uploaded_before,
        } = basis;
        live.set_uploaded(uploaded_before);
        Self {
            feeding: Feeding::new(now),
            standstill: Standstill::new(now, settings.stop_timeout),
            connections,
            crowd,
            assembler,
            settings,
            limit,
            live,
            figures,
            uploaded_before,
            uploaded: 0,
            partial: BTreeMap::new(),
            seeding: None,
            peers_wanted: 0,
            wants_more: None,
            tick_at: now,
            ended: None,
        }
    }

    /// Waits for what comes next. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Input {
        self.connections.next().await
    }

    /// Bytes given to peers, before this run as well.
    pub fn uploaded(&self) -> u64 {
        self.uploaded_before + self.uploaded
    }

    /// Bytes in memory of pieces that are not whole.
    pub fn partial(&self) -> u64 {
        self.partial.values().sum()
    }

    /// Why the download is over, if the swarm has a reason.
    pub fn ended(&mut self) -> Option<Outcome> {
        self.ended.take()
    }

    pub fn handle_input(
        &mut self,
        now: Instant,
        input: Input,
        plan: &mut Plan,
        speeds: &dyn HostSpeeds,
    ) {
        match input {
            Input::Reports(reports) => {
                for (id, report) in reports {
                    self.handle_report(now, id, report, plan, speeds);
                }
            }
            Input::Found(Found::Peers(addresses, origin)) => {
                self.connections.learn(now, &addresses, origin);
            }
            Input::Found(Found::Counts(counts)) => self.live.detail().swarm = counts,
            Input::Inbound(inbound) => self.connections.accept(now, inbound, plan.map().have()),
        }
    }

    fn handle_report(
        &mut self,
        now: Instant,
        id: SourceId,
        report: PeerReport,
        plan: &mut Plan,
        speeds: &dyn HostSpeeds,
    ) {
        match report {
            // These outlive the connection.
            PeerReport::Piece {
                piece,
                good,
                guilty,
            } => {
                self.partial.remove(&piece);
                plan.handle_swarm_piece(now, piece, good, speeds);
                self.crowd.handle_piece(now, piece, good);
                for address in guilty {
                    self.connections.ban(now, address);
                }
            }
            PeerReport::Sent(bytes) => {
                self.uploaded += bytes;
                self.live.set_uploaded(self.uploaded());
            }
            PeerReport::Took(blocks) => {
                self.count_received(&blocks);
                self.note(now, id, PeerReport::Took(blocks));
            }
            PeerReport::Disk(failure) => self.ended = Some(Outcome::Failed(failure)),
            PeerReport::Closed(parting, failure) => {
                self.connections.closed(now, id, parting, &failure);
            }
            PeerReport::Greeted(greeting) => _ = self.connections.greet(now, id, *greeting),
            report => self.note(now, id, report),
        }
        self.take_changes(now);
    }

    /// What trackers are told of: nothing that mirrors brought.
    fn count_received(&self, blocks: &[Block]) {
        let bytes = blocks.iter().map(|block| u64::from(block.len)).sum();
        let total = &self.figures.downloaded;
        total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What a peer that is still here says.
    fn note(&mut self, now: Instant, id: SourceId, report: PeerReport) {
        let Some(peer) = self.connections.get_mut(id) else {
            return;
        };
        match report {
            PeerReport::Has(pieces) => {
                peer.note_has(&pieces);
                self.crowd.handle_has(id, &pieces);
                self.note_seeder(id);
            }
            PeerReport::HasAll => {
                peer.note_has_all();
                self.crowd.handle_has_all(id);
                self.note_seeder(id);
            }
            PeerReport::Choked(choked) => {
                let figures = peer.figures();
                figures.peer_choking.store(choked, Ordering::Relaxed);
                self.crowd.handle_choked(id, choked);
            }
            PeerReport::Interested(interested) => {
                peer.interested = interested;
                self.feeding.again();
            }
            PeerReport::AllowedFast(piece) => self.crowd.handle_allowed_fast(id, piece),
            PeerReport::Suggests(piece) => self.crowd.handle_suggests(id, piece),
            PeerReport::Window(blocks) => self.crowd.handle_window(id, blocks),
            PeerReport::Took(blocks) => {
                for block in &blocks {
                    if !self.assembler.has(block.piece) {
                        *self.partial.entry(block.piece).or_default() += u64::from(block.len);
                    }
                }
                self.crowd.handle_took(now, id, &blocks);
            }
            PeerReport::Released(blocks) => self.crowd.handle_released(now, id, &blocks),
            PeerReport::Snubbed(snubbed) => {
                peer.snubbing = snubbed;
                self.crowd.handle_snubbed(id, snubbed);
            }
            PeerReport::Extensions(said) => self.connections.note_extensions(now, id, *said),
            PeerReport::Pex(payload) if self.exchanges() => {
                self.connections.note_exchange(now, id, &payload);
            }
            _ => {}
        }
    }

    fn note_seeder(&mut self, id: SourceId) {
        let Some(peer) = self.connections.get(id) else {
            return;
        };
        if peer.is_seeder() {
            peer.figures().seeder.store(true, Ordering::Relaxed);
        }
    }

    /// Tells the crowd who came and went.
    fn take_changes(&mut self, now: Instant) {
        for change in self.connections.take_changes() {
            match change {
                Change::Joined(id) => self.crowd.join(now, id),
                Change::Left(id) => {
                    self.crowd.leave(now, id);
                    self.feeding.again();
                }
            }
        }
    }

    /// Pieces came to be had or not: tells everybody who has to know.
    pub fn handle_changed(&mut self, changed: &[PieceIdx], have: &Bitfield) {
        let mut news = Vec::new();
        for piece in changed {
            let had = have.get(piece.0);
            self.crowd.handle_had(*piece, had);
            if had {
                if !self.assembler.has(*piece) {
                    self.assembler.mark_have(*piece);
                }
                self.partial.remove(piece);
                news.push(*piece);
            }
        }
        if news.is_empty() {
            return;
        }
        for peer in self.connections.all() {
            peer.order(PeerOrder::Have(news.clone()));
        }
    }

    /// Does everything that follows from what came in. Gives the pieces that nobody works on any
    /// more: the assembler is to give them back.
    pub fn advance(
        &mut self,
        now: Instant,
        plan: &mut Plan,
        speeds: &dyn HostSpeeds,
    ) -> Vec<PieceIdx> {
        if now >= self.tick_at {
            self.tick(now, plan);
        }
        self.connections.dial(now, plan.map().have());
        let mirrors_idle = plan.mirrors_idle();
        let orders = self.crowd.poll_orders(now, plan.map_mut(), mirrors_idle);
        plan.make_way(now);
        for (piece, on_disk) in orders.open {
            self.assembler.open(piece, &on_disk);
        }
        let interest_changed = !orders.interest.is_empty();
        for (id, wanted) in orders.interest {
            if let Some(peer) = self.connections.get_mut(id) {
                peer.set_wanted(wanted);
            }
        }
        for (id, blocks) in orders.cancels {
            self.connections.order(id, PeerOrder::Cancel(blocks));
        }
        for (id, blocks) in orders.requests {
            self.connections.order(id, PeerOrder::Request(blocks));
        }
        for piece in &orders.give_back {
            self.partial.remove(piece);
        }
        self.feeding.advance(
            now,
            self.seeding.is_some(),
            &self.limit,
            &mut self.connections,
        );
        if interest_changed {
            self.count_wanted(now, plan, speeds);
        }
        orders.give_back
    }

    fn count_wanted(&mut self, now: Instant, plan: &mut Plan, speeds: &dyn HostSpeeds) {
        let wanted = self.connections.greeted();
        let wanted = wanted.filter(|(_, peer)| peer.wanted).count();
        if wanted != self.peers_wanted {
            self.peers_wanted = wanted;
            plan.handle_peers(now, wanted, speeds);
        }
    }

    fn tick(&mut self, now: Instant, plan: &Plan) {
        self.tick_at = now + TICK;
        self.connections.part_blocked(now);
        self.connections.rotate(now);
        self.take_changes(now);
        let received = self.limit.down_meter().total();
        let figures = &self.figures;
        figures.uploaded.store(self.uploaded, Ordering::Relaxed);
        let map = plan.map();
        let left = map.wanted_len().unwrap_or(0);
        let left = left.saturating_sub(map.wanted_written());
        figures.left.store(left, Ordering::Relaxed);
        match &self.seeding {
            Some(seeding) if seeding.is_over(now, self.uploaded()) => {
                info!(gid = %self.connections.share.gid, "seeding is over");
                self.ended = Some(Outcome::Complete);
            }
            Some(_) => self.part_seeders(now),
            None if plan.is_fetching() && self.standstill.is_over(now, received) => {
                // aria2 gives no text for it.
                let failure = Failure::fatal(ErrorCode::Unfinished, "");
                self.ended = Some(Outcome::Failed(failure));
            }
            None => {}
        }
        self.invite(now);
        if self.exchanges() {
            self.connections.exchange(now);
        }
    }

    /// Adapts how many peers there may be, and has more sought where there are too few.
    fn invite(&mut self, now: Instant) {
        let speed = self.limit.down_meter().speed(now);
        let slow = self.seeding.is_none() && speed < self.settings.request_peer_speed_limit.0;
        let max = match self.settings.peer_count_max {
            0 => 0,
            max if slow => max + max.div_ceil(2),
            max => max,
        };
        self.connections.swarm.set_peer_count_max(max);
        let more = slow && self.connections.swarm.room() > 0;
        if self.wants_more != Some(more) {
            self.wants_more = Some(more);
            if let Some(discovery) = &self.connections.discovery {
                discovery.want_more(more);
            }
        }
    }

    fn exchanges(&self) -> bool {
        self.settings.exchange && !self.connections.share.private
    }

    /// Everything wanted is here: from now on we only give. Bytes: the length of it.
    pub fn begin_seeding(&mut self, now: Instant, len: u64, fetched: bool) {
        if self.seeding.is_some() {
            return;
        }
        self.seeding = Some(Seeding::new(now, &self.settings, len));
        self.live.set_seeding(true);
        self.figures.left.store(0, Ordering::Relaxed);
        if let (true, Some(discovery)) = (fetched, &self.connections.discovery) {
            discovery.complete();
        }
        self.part_seeders(now);
        self.feeding.again();
        self.tick_at = now;
    }

    /// Those who have everything too are of no use any more.
    fn part_seeders(&mut self, now: Instant) {
        let seeders: Vec<SourceId> = self
            .connections
            .greeted()
            .filter(|(_, peer)| peer.is_seeder())
            .map(|(id, _)| id)
            .collect();
        for id in seeders {
            debug!(gid = %self.connections.share.gid, "both sides have everything");
            self.connections.part(now, id, Parting::Useless);
        }
        self.take_changes(now);
    }

    /// Options that apply at once.
    pub fn change(&mut self, settings: BtSettings) {
        if let Some(discovery) = &self.connections.discovery {
            discovery.change_trackers(settings.tracker.clone());
        }
        self.feeding.again();
        self.connections
            .share
            .settings
            .store(Arc::new(settings.clone()));
        self.settings = settings;
        self.tick_at = Instant::now();
    }

    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let timers = [
            Some(self.tick_at),
            self.crowd.poll_timeout(now),
            self.feeding.poll_timeout(),
            self.connections.poll_timeout(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Brings what RPC shows of peers up to date.
    /// Gives how many are connected.
    pub fn publish(&mut self) -> u32 {
        self.live.set_seeders(self.crowd.seeders() as u32);
        if let Some(entries) = self.connections.entries() {
            self.live.detail().peers = entries;
        }
        self.live.detail().peers.len() as u32
    }

    /// What the control file is to say of it.
    pub fn state(&self) -> Swarm {
        Swarm {
            info_hash: self.connections.share.info_hash.0,
            uploaded: self.uploaded(),
            partial: self.partial(),
            assembler: self.assembler.clone(),
        }
    }

    /// Ends everything that talks; with `wait` trackers are told and blocks on their way are kept.
    pub async fn close(&mut self, wait: bool, plan: &mut Plan, speeds: &ServerStats) {
        let now = Instant::now();
        let reports = self.connections.pending();
        let mut given = self.uploaded;
        for (_, report) in &reports {
            match report {
                PeerReport::Took(blocks) => self.count_received(blocks),
                PeerReport::Sent(bytes) => given += bytes,
                _ => {}
            }
        }
        self.figures.uploaded.store(given, Ordering::Relaxed);
        self.connections.close(wait.then_some(FAREWELL_TIME)).await;
        for (_, report) in reports.into_iter().chain(self.connections.pending()) {
            match report {
                PeerReport::Piece { piece, good, .. } => {
                    plan.handle_swarm_piece(now, piece, good, speeds);
                }
                PeerReport::Sent(bytes) => self.uploaded += bytes,
                _ => {}
            }
        }
        self.live.set_uploaded(self.uploaded());
        self.live.set_seeders(0);
        self.live.detail().peers.clear();
    }
}
