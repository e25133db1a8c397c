//! Driver of a magnet link: peers are sought and asked for the info dictionary the link names.
//! It writes no files; what the dictionary describes is another download.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tracing::{debug, warn};

use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::base::units::SourceId;
use crate::bittorrent::discovery::{Found, SwarmFigures};
use crate::bittorrent::link::{PeerOrder, PeerReport};
use crate::bittorrent::metadata::{MetadataFetch, MetadataMessage, MetadataProgress, PART_LEN};
use crate::bittorrent::swarm::{Origin, Parting};
use crate::format::magnet::Magnet;
use crate::format::metainfo::Metainfo;
use crate::limit::LimitBranch;
use crate::net::dial;
use crate::option::OptionSet;
use crate::option::bt_settings::BtSettings;
use crate::option::settings::{ConnectionSettings, TransferSettings};

use super::handle::{Control, Ended, Phase, TransferReport, TransferSpec, World};
use super::live::Live;
use super::piece_map::piece_count;
use super::seeding::Standstill;
use super::torrent::{Address, Change, Connections, FAREWELL_TIME, Input, connect};

const TICK: Duration = Duration::from_secs(1);
/// How long the name of a peer may take to be looked up.
const LOOKUP_TIME: Duration = Duration::from_secs(20);

pub(super) struct MetadataTask {
    gid: Gid,
    magnet: Arc<Magnet>,
    world: Arc<World>,
    live: Arc<Live>,
    limit: LimitBranch,
    options: OptionSet,
    to_engine: UnboundedSender<(Gid, TransferReport)>,
    controls: UnboundedReceiver<Control>,
    fetch: MetadataFetch,
    /// Bytes of the dictionary that came, also those thrown away.
    received: u64,
    standstill: Standstill,
    to_me: UnboundedSender<Vec<SocketAddr>>,
    named: UnboundedReceiver<Vec<SocketAddr>>,
}

/// How it ends.
enum Done {
    Found(Box<Metainfo>),
    Failed(Failure),
    Stopped { force: bool },
}

impl MetadataTask {
    pub(super) fn new(
        spec: TransferSpec,
        world: Arc<World>,
        magnet: Arc<Magnet>,
        controls: UnboundedReceiver<Control>,
    ) -> Self {
        let settings = BtSettings::from(&spec.options);
        let (to_me, named) = tokio::sync::mpsc::unbounded_channel();
        {
            let mut detail = spec.live.detail();
            detail.down = Some(spec.limit.down_meter().clone());
            detail.up = Some(spec.limit.up_meter().clone());
        }
        Self {
            gid: spec.gid,
            fetch: MetadataFetch::new(magnet.info_hash),
            magnet,
            world,
            live: spec.live,
            limit: spec.limit,
            options: spec.options,
            to_engine: spec.reports,
            controls,
            received: 0,
            standstill: Standstill::new(Instant::now(), settings.stop_timeout),
            to_me,
            named,
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        self.tell(TransferReport::Phase(Phase::Fetching));
        self.live.set_piece_len(u64::from(PART_LEN));
        let mut connections = connect(
            self.gid,
            Address::of_magnet(&self.magnet),
            (&self.world.bt, &self.world.net),
            &self.options,
            None,
            (self.limit.clone(), Arc::new(SwarmFigures::default())),
        )
        .await;
        self.look_up_peers();
        let done = self.fetch(&mut connections).await;
        let ended = match done {
            Done::Found(metainfo) => {
                // Trackers are told nothing: the download that follows is the same peer in the
                // same swarm.
                connections.hand_over(metainfo.info.private).await;
                self.publish_whole(metainfo.info.raw.len() as u64);
                self.tell(TransferReport::Metadata(Arc::new(*metainfo)));
                Ended::Complete
            }
            Done::Failed(failure) => {
                connections.close(Some(FAREWELL_TIME)).await;
                Ended::Failed(failure)
            }
            Done::Stopped { force } => {
                let time = (!force).then_some(FAREWELL_TIME);
                connections.close(time).await;
                Ended::Stopped
            }
        };
        self.live.set_connections(0);
        self.live.set_seeders(0);
        let mut detail = self.live.detail();
        detail.peers.clear();
        detail.down = None;
        detail.up = None;
        ended
    }

    async fn fetch(&mut self, connections: &mut Connections) -> Done {
        let nothing = Bitfield::new(0);
        let mut clock = tokio::time::interval(TICK);
        loop {
            let now = Instant::now();
            for change in connections.take_changes() {
                if let Change::Left(id) = change {
                    self.fetch.remove_peer(now, id);
                }
            }
            connections.dial(now, &nothing);
            self.ask(now, connections);
            self.publish(connections);
            tokio::select! {
                biased;
                control = self.controls.recv() => match control {
                    None => return Done::Stopped { force: false },
                    Some(Control::Stop { force } | Control::Leave { force }) => return Done::Stopped { force },
                    Some(Control::Options(options)) => self.change(connections, &options),
                    Some(Control::Uris { .. } | Control::Save) => {}
                },
                Some(named) = self.named.recv() => {
                    connections.learn(Instant::now(), &named, Origin::User);
                }
                input = connections.next() => {
                    if let Some(done) = self.handle(connections, input) {
                        return done;
                    }
                }
                _ = clock.tick() => {
                    let now = Instant::now();
                    connections.part_blocked(now);
                    connections.rotate(now);
                    if self.standstill.is_over(now, self.received) {
                        return Done::Failed(Failure::fatal(ErrorCode::Unfinished, ""));
                    }
                }
            }
        }
    }

    fn tell(&self, report: TransferReport) {
        let _ = self.to_engine.send((self.gid, report));
    }

    /// Looks up the peers that the link itself names.
    fn look_up_peers(&self) {
        for (host, port) in self.magnet.peers.clone() {
            let settings = ConnectionSettings::from(&self.options);
            let to_me = self.to_me.clone();
            tokio::spawn(async move {
                let found = dial::resolve(&host, port, &settings);
                match tokio::time::timeout(LOOKUP_TIME, found).await {
                    Ok(Ok(addresses)) => _ = to_me.send(addresses),
                    Ok(Err(failure)) => debug!("peer {host} of a magnet link: {failure}"),
                    Err(_) => debug!("peer {host} of a magnet link: its name is not found in time"),
                }
            });
        }
    }

    fn change(&mut self, connections: &mut Connections, options: &OptionSet) {
        let changed = TransferSettings::from(options);
        self.limit.set(changed.down_limit, changed.up_limit);
        let settings = BtSettings::from(options);
        connections
            .swarm
            .set_peer_count_max(settings.peer_count_max);
        if let Some(discovery) = &connections.discovery {
            discovery.change_trackers(settings.tracker.clone());
        }
        connections.share.settings.store(Arc::new(settings));
    }

    fn handle(&mut self, connections: &mut Connections, input: Input) -> Option<Done> {
        let now = Instant::now();
        match input {
            Input::Found(Found::Peers(addresses, origin)) => {
                connections.learn(now, &addresses, origin);
            }
            Input::Found(Found::Counts(counts)) => self.live.detail().swarm = counts,
            Input::Inbound(inbound) => connections.accept(now, inbound, &Bitfield::new(0)),
            Input::Reports(reports) => {
                for (id, report) in reports {
                    let done = self.handle_report(now, connections, id, report);
                    if done.is_some() {
                        return done;
                    }
                }
            }
        }
        None
    }

    fn handle_report(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        id: SourceId,
        report: PeerReport,
    ) -> Option<Done> {
        match report {
            PeerReport::Greeted(greeting) => _ = connections.greet(now, id, *greeting),
            PeerReport::Extensions(said) => {
                connections.note_extensions(now, id, *said);
                let said = &connections.get(id)?.extensions;
                if let (Some(_), Some(size)) = (said.ut_metadata, said.metadata_size) {
                    self.fetch.add_peer(id, size);
                }
            }
            PeerReport::Metadata(payload) => {
                return self.handle_message(now, connections, id, &payload);
            }
            PeerReport::Pex(payload) => connections.note_exchange(now, id, &payload),
            PeerReport::Closed(parting, failure) => {
                connections.closed(now, id, parting, &failure);
            }
            _ => {}
        }
        None
    }

    fn handle_message(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        id: SourceId,
        payload: &Bytes,
    ) -> Option<Done> {
        let message = MetadataMessage::decode(payload)?;
        self.received += payload.len() as u64;
        match self.fetch.handle_message(now, id, message) {
            MetadataProgress::More => None,
            MetadataProgress::Complete(info) => Some(self.found(&info)),
            MetadataProgress::Corrupt(sender) => {
                warn!(gid = %self.gid, "metadata of a peer does not match the magnet link");
                connections.part(now, sender, Parting::Hopeless);
                None
            }
            MetadataProgress::Mixed(count) => {
                warn!(gid = %self.gid, "metadata of {count} peers does not match the magnet link");
                None
            }
        }
    }

    fn found(&self, info: &[u8]) -> Done {
        let trackers = self.magnet.trackers.iter();
        let tiers = trackers.map(|tracker| vec![tracker.clone()]).collect();
        match Metainfo::from_info(info, tiers) {
            // The web seeds of the link are taken over by the download that follows.
            Ok(metainfo) => Done::Found(Box::new(metainfo)),
            Err(failure) => Done::Failed(failure),
        }
    }

    fn ask(&mut self, now: Instant, connections: &Connections) {
        for (id, peer) in connections.greeted() {
            for request in self.fetch.requests_for(now, id) {
                peer.order(PeerOrder::Metadata(request.encode()));
            }
        }
    }

    /// Shows the metadata as a file that is there. Bytes.
    fn publish_whole(&self, len: u64) {
        self.live.set_total(len);
        self.live.set_completed(len);
        let mut whole = Bitfield::new(piece_count(len, u64::from(PART_LEN)));
        (0..whole.len()).for_each(|part| whole.set(part, true));
        self.live.detail().bitfield = whole;
    }

    fn publish(&self, connections: &mut Connections) {
        let (total, here) = self.fetch.progress();
        self.live.set_total(u64::from(total));
        self.live.set_completed(u64::from(here));
        self.live
            .set_connections(connections.greeted().count() as u32);
        if let Some(entries) = connections.entries() {
            self.live.detail().peers = entries;
        }
    }
}
