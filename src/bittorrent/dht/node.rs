//! Our nodes of the DHT, one for IPv4 and one for IPv6: their sockets, timers and files around the
//! pure [`Member`](super::member::Member).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::driver::{Driver, Side};
use super::entry::Entry;
pub use super::member::Searched;
use crate::format::info_hash::InfoHash;
use crate::net::udp::{self, Datagrams, Family};
use crate::option::bt_settings::BtNetSettings;
use crate::option::settings::ConnectionSettings;

/// What the handle asks of the task.
pub(super) enum Order {
    Ping(SocketAddr),
    Search(Search),
    Save(oneshot::Sender<()>),
}

pub(super) struct Search {
    pub info_hash: InfoHash,
    /// Announce us with this port.
    pub port: Option<u16>,
    /// Nodes the torrent names, by name or address and port.
    pub hosts: Vec<(String, u16)>,
    pub found: UnboundedSender<Vec<SocketAddr>>,
    pub done: oneshot::Sender<Searched>,
}

/// What the nodes are made of, apart from their sockets.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub answer_time_max: Duration,
    pub external: Option<IpAddr>,
    pub connection: ConnectionSettings,
}

/// The handle; when the last one is dropped the nodes save what they know and end.
pub struct Dht {
    orders: UnboundedSender<Order>,
    node_count: Arc<AtomicUsize>,
    port_v4: Option<u16>,
    port_v6: Option<u16>,
}

impl Dht {
    /// Binds the sockets that the settings ask for and begins to look for nodes. `None` when the
    /// DHT is off, or no socket can be had (which is logged). `shared` has a part in a socket that
    /// is open already, where its port suits. Needs a tokio runtime.
    pub fn start(
        settings: &BtNetSettings,
        connection: &ConnectionSettings,
        shared: impl Fn(Family) -> Option<Datagrams>,
    ) -> Option<Arc<Self>> {
        let v4 = settings.dht.then(|| {
            let entry = Entry::of(settings.dht_entry_point.as_deref());
            let path = settings.dht_file_path.clone();
            open(Family::V4, settings, connection, &shared, entry, path)
        });
        let v6 = (settings.dht6 && !settings.disable_ipv6).then(|| {
            let entry = Entry::of(settings.dht_entry_point6.as_deref());
            let path = settings.dht_file_path6.clone();
            open(Family::V6, settings, connection, &shared, entry, path)
        });
        let (v4, v6) = (v4.flatten(), v6.flatten());
        let port = |side: &Option<Side>| side.as_ref().and_then(Side::port);
        let (port_v4, port_v6) = (port(&v4), port(&v6));
        let sides: Vec<Side> = [v4, v6].into_iter().flatten().collect();
        if sides.is_empty() {
            return None;
        }
        let external = settings.external_ip.as_deref();
        let spec = NodeSpec {
            answer_time_max: settings.dht_message_timeout,
            external: external.and_then(|ip| ip.parse().ok()),
            connection: connection.clone(),
        };
        let node_count = Arc::<AtomicUsize>::default();
        let (orders, inbox) = mpsc::unbounded_channel();
        tokio::spawn(Driver::run(spec, sides, inbox, node_count.clone()));
        Some(Arc::new(Self {
            orders,
            node_count,
            port_v4,
            port_v6,
        }))
    }

    /// UDP ports of our nodes; the one of IPv4 is told to peers (message `port`).
    pub fn port_v4(&self) -> Option<u16> {
        self.port_v4
    }

    pub fn port_v6(&self) -> Option<u16> {
        self.port_v6
    }

    /// A peer says that it has a node there.
    pub fn add_node(&self, address: SocketAddr) {
        let _ = self.orders.send(Order::Ping(address));
    }

    /// One search for peers, through both families; peers are sent as they are named. With a port
    /// we are announced to the nodes closest to the torrent, as listening at it. Returns when it is
    /// over, which can take a minute. Nodes that the torrent names (`hosts`) are asked as well.
    pub async fn search(
        &self,
        info_hash: InfoHash,
        port: Option<u16>,
        hosts: Vec<(String, u16)>,
        found: UnboundedSender<Vec<SocketAddr>>,
    ) -> Searched {
        let (done, over) = oneshot::channel();
        let search = Search {
            info_hash,
            port,
            hosts,
            found,
            done,
        };
        let _ = self.orders.send(Order::Search(search));
        over.await.unwrap_or_default()
    }

    /// Nodes known at the moment, of both families.
    pub fn node_count(&self) -> usize {
        self.node_count.load(Ordering::Relaxed)
    }

    /// Writes the files of nodes.
    pub async fn save(&self) {
        let (done, over) = oneshot::channel();
        let _ = self.orders.send(Order::Save(done));
        let _ = over.await;
    }
}

fn open(
    family: Family,
    settings: &BtNetSettings,
    connection: &ConnectionSettings,
    shared: &impl Fn(Family) -> Option<Datagrams>,
    entry: Entry,
    path: Option<PathBuf>,
) -> Option<Side> {
    let own = match family {
        Family::V4 => None,
        Family::V6 => settings.dht_listen_addr6.as_deref(),
    };
    let own = own.and_then(|ip| ip.parse().ok());
    let shared = shared(family).filter(|_| own.is_none());
    let socket = match shared {
        Some(shared) => Ok(shared),
        None => udp::bind(family, own, &settings.dht_ports, connection).map(Datagrams::Own),
    };
    match socket {
        Ok(socket) => {
            let side = Side::new(family, socket, entry, path);
            info!("DHT ({family:?}) at UDP port {:?}", side.port());
            Some(side)
        }
        Err(error) => {
            warn!("no DHT ({family:?}), its port cannot be opened: {error}");
            None
        }
    }
}

/// A datagram, from a socket that may not exist.
pub(super) async fn receive(
    socket: Option<&Datagrams>,
    buffer: &mut [u8],
) -> std::io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;
    use std::path::Path;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// `entry`: the port of another node; 1 where there is none.
    fn settings(entry: u16, entry6: u16) -> BtNetSettings {
        let mut settings = BtNetSettings::from(&OptionSet::new());
        settings.dht_ports = Vec::new();
        settings.dht_entry_point = Some(format!("127.0.0.1:{entry}"));
        settings.dht_entry_point6 = Some(format!("[::1]:{entry6}"));
        settings.dht_message_timeout = Duration::from_secs(1);
        settings
    }

    fn connection(interface: &str) -> ConnectionSettings {
        let mut connection = ConnectionSettings::from(&OptionSet::new());
        connection.interfaces = vec![interface.to_owned()];
        connection
    }

    async fn until(what: &str, mut is: impl FnMut() -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !is() {
            assert!(tokio::time::Instant::now() < end, "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Announces on one, and searches on the other until it is found.
    async fn announce_and_find(one: &Dht, other: &Dht, hash: InfoHash, expected: &[SocketAddr]) {
        let (ignored, _) = mpsc::unbounded_channel();
        let (found, mut peers) = mpsc::unbounded_channel();
        let mut missing = expected.to_vec();
        for _ in 0..10 {
            one.search(hash, Some(7_777), Vec::new(), ignored.clone())
                .await;
            let searched = other.search(hash, None, Vec::new(), found.clone()).await;
            assert_eq!(searched.announced, 0);
            while let Ok(peers) = peers.try_recv() {
                missing.retain(|peer| !peers.contains(peer));
            }
            if missing.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("not found: {missing:?}");
    }

    #[tokio::test]
    async fn twenty_nodes_find_what_one_of_them_announces() {
        let loopback = connection("127.0.0.1");
        let first = Dht::start(&settings(1, 1), &loopback, |_| None).unwrap();
        let entry = first.port_v4().unwrap();
        let start = |_| Dht::start(&settings(entry, 1), &loopback, |_| None).unwrap();
        let nodes: Vec<_> = (1..20).map(start).collect();
        for node in &nodes {
            until("eight nodes known", || node.node_count() >= 8).await;
        }
        let hash = InfoHash([0xab; 20]);
        let peer = "127.0.0.1:7777".parse().unwrap();
        announce_and_find(&nodes[3], &nodes[17], hash, &[peer]).await;
    }

    #[tokio::test]
    async fn both_families_are_searched_and_nodes_are_kept_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let both = |entry, entry6, dir: Option<&Path>| {
            let mut settings = settings(entry, entry6);
            settings.dht6 = true;
            settings.dht_file_path = dir.map(|dir| dir.join("dht.dat"));
            settings.dht_file_path6 = dir.map(|dir| dir.join("dht6.dat"));
            Dht::start(&settings, &connection("lo"), |_| None).unwrap()
        };
        let one = both(1, 1, None);
        let (Some(port), Some(port6)) = (one.port_v4(), one.port_v6()) else {
            println!("no IPv6 here: not tested");
            return;
        };
        let other = both(port, port6, Some(dir.path()));
        until("both families", || other.node_count() >= 2).await;
        let expected = ["127.0.0.1:7777", "[::1]:7777"].map(|peer| peer.parse().unwrap());
        announce_and_find(&one, &other, InfoHash([1; 20]), &expected).await;
        other.save().await;
        drop(other);
        let again = both(1, 1, Some(dir.path()));
        announce_and_find(&one, &again, InfoHash([2; 20]), &expected).await;
    }

    #[tokio::test]
    async fn a_node_that_a_peer_or_torrent_names_is_asked() {
        let loopback = connection("127.0.0.1");
        let start = || Dht::start(&settings(1, 1), &loopback, |_| None).unwrap();
        let (one, other, third) = (start(), start(), start());
        let address = SocketAddr::from(([127, 0, 0, 1], other.port_v4().unwrap()));
        one.add_node(address);
        let named = vec![("localhost".to_owned(), address.port())];
        let (found, _) = mpsc::unbounded_channel();
        third.search(InfoHash([3; 20]), None, named, found).await;
        until("known", || one.node_count() > 0 && third.node_count() > 0).await;
        let mut off = settings(1, 1);
        off.dht = false;
        assert!(Dht::start(&off, &loopback, |_| None).is_none());
    }
}
