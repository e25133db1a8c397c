//! The peers of one torrent: who is dialled, let in, connected and gone. It decides nothing about
//! blocks and is the same for a torrent and for a magnet link.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::base::bitfield::Bitfield;
use crate::base::error::Failure;
use crate::base::rng::Rng;
use crate::base::units::SourceId;
use crate::bittorrent::bt_net::{BtNet, Membership};
use crate::bittorrent::discovery::{Discovery, Found};
use crate::bittorrent::extension::ExtendedHandshake;
use crate::bittorrent::link::{Greeting, PeerLink, PeerOrder, PeerReport, Way};
use crate::bittorrent::listen::Inbound;
use crate::bittorrent::peer_source;
use crate::bittorrent::pex::PexMessage;
use crate::bittorrent::rotation::{Rotation, Seen};
use crate::bittorrent::share::TorrentShare;
use crate::bittorrent::swarm::{Origin, Parting, Swarm, Turned};
use crate::limit::LimitBranch;
use crate::transfer::live::{PeerEntry, PeerFigures};

use super::peer::Peer;

/// Reports handled between two looks at everything else.
const REPORTS_AT_ONCE: usize = 256;
/// Peers have numbers from here on, so that they never meet those of mirrors.
const FIRST_ID: u32 = 1 << 31;
/// How long connections may take to end by themselves.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// What came in.
pub enum Input {
    Reports(Vec<(SourceId, PeerReport)>),
    Found(Found),
    Inbound(Box<Inbound>),
}

/// What became of a connection, for whoever gives it work.
#[derive(Debug)]
pub enum Change {
    Joined(SourceId),
    Left(SourceId),
}

/// All connections of one torrent.
pub struct Connections {
    net: Arc<BtNet>,
    pub share: Arc<TorrentShare>,
    limit: LimitBranch,
    pub swarm: Swarm,
    rng: Rng,
    /// `None`: nobody may dial us for it.
    membership: Option<Membership>,
    pub discovery: Option<Discovery>,
    found: UnboundedReceiver<Found>,
    to_me: UnboundedSender<(SourceId, PeerReport)>,
    reports: UnboundedReceiver<(SourceId, PeerReport)>,
    peers: BTreeMap<SourceId, Peer>,
    /// Connections that were told to end.
    ending: Vec<JoinHandle<()>>,
    next_id: u32,
    changes: Vec<Change>,
    rotation: Rotation,
    /// Peers that were not let in for want of room, since others last had to make some.
    turned: usize,
    /// The state of the blocklist by which those that are here were let in.
    filtered: u64,
    /// The list of greeted peers is another than when it was last asked for.
    changed: bool,
}

impl Connections {
    pub fn new(
        net: Arc<BtNet>,
        share: Arc<TorrentShare>,
        limit: LimitBranch,
        peer_count_max: usize,
        discovery: (Discovery, UnboundedReceiver<Found>),
    ) -> Self {
        let (to_me, reports) = mpsc::unbounded_channel();
        let (discovery, found) = discovery;
        let kept = net.take_over(share.info_hash);
        let mut connections = Self {
            membership: (!share.hidden()).then(|| net.join(share.info_hash, share.crypto())),
            swarm: Swarm::new(share.ours, peer_count_max),
            net,
            share,
            limit,
            rng: Rng::from_entropy(),
            discovery: Some(discovery),
            found,
            to_me,
            reports,
            peers: BTreeMap::new(),
            ending: Vec::new(),
            next_id: FIRST_ID,
            changes: Vec::new(),
            rotation: Rotation::default(),
            turned: 0,
            filtered: 0,
            changed: true,
        };
        connections.learn(Instant::now(), &kept, Origin::User);
        connections
    }

    /// Waits for what comes next. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Input {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = self.reports.recv_many(&mut batch, REPORTS_AT_ONCE) => Input::Reports(batch),
            Some(found) = self.found.recv() => Input::Found(found),
            inbound = next_inbound(&mut self.membership) => Input::Inbound(inbound),
        }
    }

    /// Reports that have come already.
    pub fn pending(&mut self) -> Vec<(SourceId, PeerReport)> {
        std::iter::from_fn(|| self.reports.try_recv().ok()).collect()
    }

    /// Connections that were made or lost since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Peers whose handshake is done, by number.
    pub fn greeted(&self) -> impl Iterator<Item = (SourceId, &Peer)> {
        let greeted = |peer: &&Peer| peer.entry.is_some();
        self.peers
            .iter()
            .map(|(id, peer)| (*id, peer))
            .filter(move |(_, peer)| greeted(peer))
    }

    /// All connections, also those that have not said hello.
    pub fn all(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    pub fn get(&self, id: SourceId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub fn get_mut(&mut self, id: SourceId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    pub fn greeted_mut(&mut self) -> impl Iterator<Item = (SourceId, &mut Peer)> {
        self.peers
            .iter_mut()
            .map(|(id, peer)| (*id, peer))
            .filter(|(_, peer)| peer.entry.is_some())
    }

    /// Sends an order to a peer; one that just ended has said so already.
    pub fn order(&self, id: SourceId, order: PeerOrder) {
        if let Some(peer) = self.peers.get(&id) {
            peer.order(order);
        }
    }

    /// The peers as RPC shows them, if the list is another than before.
    pub fn entries(&mut self) -> Option<Vec<Arc<PeerEntry>>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let entries = self.peers.values().filter_map(|peer| peer.entry.clone());
        Some(entries.collect())
    }

    /// Takes in addresses that somebody named.
    pub fn learn(&mut self, now: Instant, addresses: &[SocketAddr], origin: Origin) {
        for address in addresses {
            if !self.net.is_blocked(address.ip()) {
                self.swarm.add(now, *address, origin);
            }
        }
    }

    /// Dials as many as there is room for.
    pub fn dial(&mut self, now: Instant, have: &Bitfield) {
        while let Some(dial) = self.swarm.poll_dial(now, &mut self.rng) {
            let way = Way::Dial {
                address: dial.address,
                plain: dial.try_plain,
            };
            self.spawn(now, way, dial.address, false, have);
        }
    }

    /// Somebody dialled us.
    pub fn accept(&mut self, now: Instant, inbound: Box<Inbound>, have: &Bitfield) {
        let address = inbound.address;
        match self.swarm.accept(now, address) {
            Ok(()) => self.spawn(now, Way::Accepted(inbound), address, true, have),
            Err(why) => {
                self.turned += usize::from(why == Turned::Full);
                debug!(gid = %self.share.gid, %address, ?why, "a peer is not let in");
            }
        }
    }

    fn spawn(
        &mut self,
        now: Instant,
        way: Way,
        address: SocketAddr,
        incoming: bool,
        have: &Bitfield,
    ) {
        let id = SourceId(self.next_id);
        self.next_id += 1;
        let figures = Arc::new(PeerFigures::default());
        let (orders, inbox) = mpsc::unbounded_channel();
        let link = PeerLink {
            id,
            orders: inbox,
            reports: self.to_me.clone(),
            limit: self.limit.leaf(),
            down: figures.down.clone(),
            up: figures.up.clone(),
        };
        let (share, net) = (self.share.clone(), self.net.clone());
        let handle = peer_source::spawn(way, share, have.clone(), link, net);
        let peer = Peer::new(now, address, incoming, orders, handle, figures);
        self.peers.insert(id, peer);
    }

    /// The handshakes are done; false when the connection is not kept.
    pub fn greet(&mut self, now: Instant, id: SourceId, greeting: Greeting) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let remote = greeting.remote.peer_id;
        let itself = remote == self.share.ours;
        if !self.swarm.greet(peer.address, remote) {
            if itself {
                self.part(now, id, Parting::Hopeless);
            } else if let Some(address) = self.forget(id) {
                self.swarm.part_twin(now, address, remote);
            }
            return false;
        }
        let address = peer.address;
        debug!(gid = %self.share.gid, %address, encrypted = greeting.encrypted, utp = greeting.utp, "peer connected");
        peer.greet(now, greeting, self.share.shape);
        self.changes.push(Change::Joined(id));
        self.changed = true;
        true
    }

    /// A connection ended by itself.
    pub fn closed(&mut self, now: Instant, id: SourceId, parting: Parting, failure: &Failure) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        debug!(gid = %self.share.gid, address = %peer.address, ?parting, "peer is gone: {failure}");
        self.part(now, id, parting);
    }

    /// Ends a connection.
    pub fn part(&mut self, now: Instant, id: SourceId, parting: Parting) {
        if let Some(address) = self.forget(id) {
            self.swarm.part(now, address, parting);
        }
    }

    /// Hangs up.
    fn forget(&mut self, id: SourceId) -> Option<SocketAddr> {
        let peer = self.peers.remove(&id)?;
        if peer.entry.is_some() {
            self.changes.push(Change::Left(id));
            self.changed = true;
        }
        let (address, handle) = peer.end();
        self.ending.retain(|ending| !ending.is_finished());
        self.ending.push(handle);
        Some(address)
    }

    /// Whoever is at this address has sent what is provably wrong: never again.
    pub fn ban(&mut self, now: Instant, address: SocketAddr) {
        let ip = address.ip().to_canonical();
        // Peers on this machine (behind a tunnel, say) share its address.
        let one = ip.is_loopback();
        warn!(gid = %self.share.gid, "peer {address} is banned: it sent bytes that failed their hash check");
        if !one {
            self.swarm.ban(ip);
        }
        let guilty: Vec<SourceId> = self
            .peers
            .iter()
            .filter(|(_, peer)| match one {
                true => peer.address == address,
                false => peer.address.ip().to_canonical() == ip,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in guilty {
            self.part(now, id, Parting::Hopeless);
        }
    }

    /// Hangs up on those that a blocklist has come to name.
    pub fn part_blocked(&mut self, now: Instant) {
        let changes = self.net.filter().changes();
        if std::mem::replace(&mut self.filtered, changes) == changes {
            return;
        }
        let peers = self.peers.iter();
        let blocked = peers.filter(|(_, peer)| self.net.is_blocked(peer.address.ip()));
        for id in blocked.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.part(now, id, Parting::Hopeless);
        }
    }

    /// Peers of no use make room, where there is none and others wait.
    pub fn rotate(&mut self, now: Instant) {
        let greeted = self.greeted_mut().map(|(id, peer)| peer.see(now, id));
        let seen: Vec<Seen> = greeted.collect();
        if self.swarm.room() > 0 {
            self.turned = 0;
            return;
        }
        let waiting = self.swarm.waiting(now) + self.turned;
        for id in self.rotation.poll(now, waiting, &seen) {
            debug!(gid = %self.share.gid, "a peer of no use makes room for another");
            self.part(now, id, Parting::Lost);
        }
    }

    /// A peer said more of itself.
    pub fn note_extensions(&mut self, now: Instant, id: SourceId, said: ExtendedHandshake) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        // The first one counts: more would only fill our list.
        if let (Some(port), None, true) = (said.port, peer.extensions.port, peer.incoming) {
            let address = peer.address;
            self.swarm.learn_port(now, address, port);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.extensions.update(said);
        }
    }

    /// A peer named others.
    pub fn note_exchange(&mut self, now: Instant, id: SourceId, payload: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if !peer.exchange.accept(now) {
            return;
        }
        if let Some(message) = PexMessage::decode(payload) {
            let added: Vec<SocketAddr> = message.added.iter().map(|(peer, _)| *peer).collect();
            self.learn(now, &added, Origin::Exchange);
        }
    }

    /// Tells peers that understand it who else is here, as often as they may be told.
    pub fn exchange(&mut self, now: Instant) {
        let speaks = |(_, peer): &(SourceId, &Peer)| peer.extensions.ut_pex.is_some();
        let listeners: Vec<SourceId> = self.greeted().filter(speaks).map(|(id, _)| id).collect();
        for id in listeners {
            let others = self.reachable(id);
            if let Some(peer) = self.peers.get_mut(&id)
                && let Some(message) = peer.exchange.poll_message(now, &others)
            {
                peer.order(PeerOrder::Pex(message.encode()));
            }
        }
    }

    /// When somebody is to be dialled, if there is room.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.swarm.room() > 0)
            .then(|| self.swarm.poll_timeout())
            .flatten()
    }

    /// Peers with a port of their own, as others may be told of them, all but this one.
    fn reachable(&self, but: SourceId) -> Vec<(SocketAddr, u8)> {
        self.greeted()
            .filter(|(id, _)| *id != but)
            .filter_map(|(_, peer)| peer.for_exchange())
            .collect()
    }

    /// Keeps the peers for the torrent that follows, hangs up and waits until that is done: whoever
    /// dials the same peers next is no twin to them. Of a private one only those whom the user or a
    /// tracker named (BEP 27). Trackers are told nothing.
    pub async fn hand_over(&mut self, private: bool) {
        let peers = self.greeted().filter_map(|(_, peer)| peer.for_exchange());
        let peers = peers.map(|(address, _)| address);
        let may_follow = |address: &SocketAddr| {
            let origin = self.swarm.origin(*address);
            !private || matches!(origin, Some(Origin::User | Origin::Tracker))
        };
        let peers = peers.filter(may_follow).collect();
        self.net.hand_over(self.share.info_hash, peers);
        self.discovery = None;
        self.close(Some(Duration::ZERO)).await;
    }

    /// Ends all connections and, with `within`, tells the trackers so; waits no longer than that.
    pub async fn close(&mut self, within: Option<Duration>) {
        for (_, peer) in std::mem::take(&mut self.peers) {
            self.ending.push(peer.end().1);
        }
        self.changed = true;
        let discovery = self.discovery.take();
        let Some(within) = within else {
            return;
        };
        let ending = std::mem::take(&mut self.ending);
        let ends = async move {
            for end in ending {
                let _ = end.await;
            }
        };
        let trackers = async move {
            if let Some(discovery) = discovery {
                discovery.stop(within).await;
            }
        };
        let (_, ()) = tokio::join!(tokio::time::timeout(CLOSE_TIME, ends), trackers);
    }
}

async fn next_inbound(membership: &mut Option<Membership>) -> Box<Inbound> {
    match membership {
        Some(membership) => membership.next().await,
        None => std::future::pending().await,
    }
}
