//! Finds the peers of one torrent: asks its trackers, the DHT and the local network, as the options
//! and the torrent allow, and passes on whom they name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tracing::debug;

use super::announcer::{Told, Trackers};
use super::dht::node::{Dht, Searched};
use super::handshake::PeerId;
use super::lpd_node::{Lpd, LpdMember};
use super::swarm::Origin;
use super::tracker::udp_socket::UdpTrackers;
use crate::base::gid::Gid;
use crate::format::info_hash::InfoHash;
use crate::net::Net;
use crate::option::bt_settings::{BtSettings, TrackerSettings};

/// `left` as long as nobody knows the length (a magnet link without its metadata).
pub const LEFT_UNKNOWN: u64 = u64::MAX;

/// Nodes forget who does not announce himself again after half an hour.
const DHT_INTERVAL: Duration = Duration::from_secs(900);
/// While peers are few; doubled each time, up to eight times as long.
const DHT_EAGER: Duration = Duration::from_secs(60);
/// Half of the time after which a search is repeated that reached nobody; doubled each time.
const DHT_LOST: Duration = Duration::from_secs(2);

/// What trackers are told of a torrent; written by the transfer.
#[derive(Debug)]
pub struct SwarmFigures {
    /// Payload bytes of this session.
    pub uploaded: AtomicU64,
    pub downloaded: AtomicU64,
    /// Payload bytes still missing, or [`LEFT_UNKNOWN`].
    pub left: AtomicU64,
}

impl Default for SwarmFigures {
    fn default() -> Self {
        Self {
            uploaded: AtomicU64::new(0),
            downloaded: AtomicU64::new(0),
            left: AtomicU64::new(LEFT_UNKNOWN),
        }
    }
}

/// Where and for what peers are sought.
pub struct DiscoverySpec {
    pub gid: Gid,
    pub info_hash: InfoHash,
    pub ours: PeerId,
    /// TCP port we listen at; `None`: nobody can dial us.
    pub port: Option<u16>,
    /// As the torrent or magnet link has them; `bt-tracker` and `bt-exclude-tracker` are applied
    /// here.
    pub tiers: Vec<Vec<String>>,
    /// Only trackers may be asked (BEP 27).
    pub private: bool,
    /// DHT nodes the torrent names.
    pub nodes: Vec<(String, u16)>,
    pub settings: BtSettings,
    pub figures: Arc<SwarmFigures>,
    pub net: Arc<Net>,
    pub udp_trackers: Arc<UdpTrackers>,
    /// Of the process; `None` where it is off.
    pub dht: Option<Arc<Dht>>,
    pub lpd: Option<Arc<Lpd>>,
}

/// What came of it.
#[derive(Debug)]
pub enum Found {
    /// Possibly known ones, possibly ourselves.
    Peers(Vec<SocketAddr>, Origin),
    Counts(SwarmCounts),
}

/// What a tracker said of the swarm last; `None` where it did not say.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SwarmCounts {
    pub seeders: Option<u32>,
    pub leechers: Option<u32>,
}

enum Order {
    Complete,
    WantMore(bool),
    Trackers(Box<TrackerSettings>),
    Stop,
}

/// The search; dropped without [`Self::stop`] it ends at once and trackers are told nothing.
pub struct Discovery {
    orders: UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Discovery {
    /// Begins at once. Needs a tokio runtime.
    pub fn start(spec: DiscoverySpec, found: UnboundedSender<Found>) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(spec, inbox, found));
        Self { orders, task }
    }

    /// The torrent is complete now, and was not when the search began: trackers are told.
    pub fn complete(&self) {
        let _ = self.orders.send(Order::Complete);
    }

    /// Whether there are too few peers: then all are asked more often.
    pub fn want_more(&self, more: bool) {
        let _ = self.orders.send(Order::WantMore(more));
    }

    /// The user changed the options of trackers.
    pub fn change_trackers(&self, settings: TrackerSettings) {
        let _ = self.orders.send(Order::Trackers(Box::new(settings)));
    }

    /// Tells the trackers that we leave, all at once; returns when they know, or after `deadline`.
    pub async fn stop(mut self, deadline: Duration) {
        let _ = self.orders.send(Order::Stop);
        let _ = tokio::time::timeout(deadline, &mut self.task).await;
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The running search.
struct Search {
    spec: DiscoverySpec,
    found: UnboundedSender<Found>,
    trackers: Trackers,
    dht: DhtSearch,
    /// Keeps our place in the local network.
    _member: Option<LpdMember>,
    want_more: bool,
}

/// Everything a search waits for, apart from orders.
enum Input {
    Told(Told),
    DhtPeers(Vec<SocketAddr>),
    DhtDone(Searched),
    Local(SocketAddr),
}

async fn run(
    spec: DiscoverySpec,
    mut orders: UnboundedReceiver<Order>,
    found: UnboundedSender<Found>,
) {
    let (inputs, mut inbox) = mpsc::unbounded_channel();
    let mut search = Search::new(spec, found, inputs);
    loop {
        let wake = search.advance(Instant::now());
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Complete) => search.trackers.complete(),
                Some(Order::WantMore(more)) => search.want_more(more),
                Some(Order::Trackers(settings)) => search.trackers.change(*settings),
                Some(Order::Stop) => return search.trackers.leave().await,
                None => return,
            },
            Some(input) = inbox.recv() => search.handle(input),
            () = sleep => {}
        }
    }
}

impl Search {
    fn new(
        spec: DiscoverySpec,
        found: UnboundedSender<Found>,
        inputs: UnboundedSender<Input>,
    ) -> Self {
        let open = !spec.private;
        let lpd = spec
            .lpd
            .as_ref()
            .filter(|_| open && spec.settings.local_discovery);
        let member = lpd.map(|lpd| {
            let inputs = inputs.clone();
            lpd.join(spec.info_hash, spec.port, move |peer| {
                let _ = inputs.send(Input::Local(peer));
            })
        });
        let dht = spec.dht.clone().filter(|_| open);
        let told = {
            let inputs = inputs.clone();
            move |told| drop(inputs.send(Input::Told(told)))
        };
        Self {
            trackers: Trackers::new(&spec, Arc::new(told)),
            dht: DhtSearch::new(dht, &spec, inputs),
            spec,
            found,
            _member: member,
            want_more: false,
        }
    }

    /// Asks whom it is time to ask. Returns when to be called again, if nothing happens before.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        if self.want_more {
            self.trackers.want_more();
        }
        self.dht.advance(now, self.want_more);
        let due = [self.trackers.advance(now), self.dht.next_at()];
        due.into_iter().flatten().min()
    }

    fn want_more(&mut self, more: bool) {
        self.want_more = more;
    }

    fn handle(&mut self, input: Input) {
        let gid = self.spec.gid;
        match input {
            Input::Told(told) => {
                if let Some(answer) = self.trackers.handle(told) {
                    let (seeders, leechers) = (answer.seeders, answer.leechers);
                    if seeders.is_some() || leechers.is_some() {
                        let _ = self
                            .found
                            .send(Found::Counts(SwarmCounts { seeders, leechers }));
                    }
                    self.pass_on(answer.peers, Origin::Tracker);
                }
            }
            Input::DhtPeers(peers) => self.pass_on(peers, Origin::Dht),
            Input::DhtDone(searched) => {
                debug!(%gid, "DHT: {searched:?}");
                self.dht.handle_done(Instant::now(), searched);
            }
            Input::Local(peer) => self.pass_on(vec![peer], Origin::LocalDiscovery),
        }
    }

    fn pass_on(&self, peers: Vec<SocketAddr>, origin: Origin) {
        let gid = self.spec.gid;
        if !peers.is_empty() {
            debug!(%gid, "{} peers from {origin:?}", peers.len());
            let _ = self.found.send(Found::Peers(peers, origin));
        }
    }
}

/// When the DHT is searched.
struct DhtSearch {
    dht: Option<Arc<Dht>>,
    info_hash: InfoHash,
    port: Option<u16>,
    /// Those the torrent names, until they have been asked.
    nodes: Vec<(String, u16)>,
    inputs: UnboundedSender<Input>,
    /// `None` while a search runs.
    next_at: Option<Instant>,
    done_at: Option<Instant>,
    /// Searches in a row that did not reach the DHT.
    lost: u32,
    /// Searches in a row made because more peers were wanted.
    eager: u32,
}

impl DhtSearch {
    fn new(dht: Option<Arc<Dht>>, spec: &DiscoverySpec, inputs: UnboundedSender<Input>) -> Self {
        Self {
            next_at: dht.as_ref().map(|_| Instant::now()),
            dht,
            info_hash: spec.info_hash,
            port: spec.port,
            nodes: spec.nodes.clone(),
            inputs,
            done_at: None,
            lost: 0,
            eager: 0,
        }
    }

    fn next_at(&self) -> Option<Instant> {
        self.next_at
    }

    fn advance(&mut self, now: Instant, want_more: bool) {
        if let (Some(next_at), Some(done_at)) = (self.next_at, self.done_at)
            && want_more
        {
            let wait = DHT_EAGER.saturating_mul(1 << self.eager.min(3));
            self.next_at = Some(next_at.min(done_at + wait));
        }
        let (Some(dht), Some(next_at)) = (&self.dht, self.next_at) else {
            return;
        };
        if now < next_at {
            return;
        }
        self.next_at = None;
        self.eager = if want_more { self.eager + 1 } else { 0 };
        let (dht, inputs) = (dht.clone(), self.inputs.clone());
        let (info_hash, port) = (self.info_hash, self.port);
        let nodes = std::mem::take(&mut self.nodes);
        tokio::spawn(async move {
            let (peers, mut named) = mpsc::unbounded_channel();
            let mut searched = std::pin::pin!(dht.search(info_hash, port, nodes, peers));
            let searched = loop {
                tokio::select! {
                    searched = &mut searched => break searched,
                    Some(peers) = named.recv() => drop(inputs.send(Input::DhtPeers(peers))),
                }
            };
            while let Ok(peers) = named.try_recv() {
                let _ = inputs.send(Input::DhtPeers(peers));
            }
            let _ = inputs.send(Input::DhtDone(searched));
        });
    }

    fn handle_done(&mut self, now: Instant, searched: Searched) {
        self.done_at = Some(now);
        let wait = if searched.nodes == 0 {
            self.lost += 1;
            DHT_LOST.saturating_mul(1 << self.lost.min(5))
        } else {
            self.lost = 0;
            DHT_INTERVAL
        };
        self.next_at = Some(now + wait);
    }
}
