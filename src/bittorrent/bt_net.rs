//! What all torrents of the process share: the ports where peers reach us, the DHT, local discovery
//! and the peers nobody wants.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tracing::{info, warn};

use super::blocklist::Blocklist;
use super::dht::node::Dht;
use super::dialer;
use super::handshake::PeerId;
use super::listen::{Inbound, Listener, RouteId, Routes};
use super::lpd_node::Lpd;
use super::mse::CryptoPolicy;
use super::peer_filter::PeerFilter;
use super::port_map::PortMapper;
use super::tracker::udp_socket::UdpTrackers;
use super::utp::Utp;
use crate::base::rng::random_bytes;
use crate::format::info_hash::InfoHash;
use crate::net::Net;
use crate::option::OptionSet;
use crate::option::bt_settings::BtNetSettings;
use crate::option::settings::{ConnectionSettings, ProxySettings};

/// Torrents for which peers are kept.
const HANDED_OVER_MAX: usize = 256;

/// One of a process.
pub struct BtNet {
    net: Arc<Net>,
    settings: BtNetSettings,
    connection: ConnectionSettings,
    /// Everything goes through a proxy that nobody can reach us by.
    hidden: bool,
    peer_id: PeerId,
    routes: Arc<Routes>,
    filter: Arc<PeerFilter>,
    blocklist_file: tokio::sync::Mutex<Option<BlocklistFile>>,
    udp_trackers: Arc<UdpTrackers>,
    started: OnceCell<Started>,
    /// Peers of a magnet link, for the torrent that follows it.
    handed_over: Mutex<HashMap<InfoHash, Vec<SocketAddr>>>,
}

struct Started {
    listener: Listener,
    utp: Option<Utp>,
    dht: Option<Arc<Dht>>,
    lpd: Option<Arc<Lpd>>,
    mapper: Mutex<Option<PortMapper>>,
}

impl BtNet {
    /// Opens nothing yet.
    pub fn new(net: Arc<Net>, options: &OptionSet) -> Arc<Self> {
        Self::with(net, options, BtNetSettings::from(options))
    }

    /// With settings that options cannot express: no range of ports means any port.
    pub fn with(net: Arc<Net>, options: &OptionSet, settings: BtNetSettings) -> Arc<Self> {
        Arc::new(Self {
            net,
            connection: ConnectionSettings::from(options),
            hidden: dialer::hides(&ProxySettings::from(options)),
            peer_id: PeerId::new(&settings.peer_id_prefix, random_bytes()),
            routes: Arc::default(),
            filter: Arc::default(),
            blocklist_file: tokio::sync::Mutex::default(),
            udp_trackers: UdpTrackers::new(settings.dht_ports.clone()),
            started: OnceCell::new(),
            handed_over: Mutex::default(),
            settings,
        })
    }

    /// Opens the ports and begins to look for DHT nodes; for every torrent to call, the first one
    /// does it. What cannot be had is warned of and done without. Needs a tokio runtime that
    /// outlives the torrents.
    pub async fn start(self: &Arc<Self>) {
        self.started.get_or_init(|| self.open()).await;
    }

    async fn open(self: &Arc<Self>) -> Started {
        self.set_blocklist(self.settings.blocklist.as_deref()).await;
        if self.hidden {
            info!(
                "Peers are dialled through a SOCKS proxy only: no port is opened, and DHT, uTP and local discovery are off."
            );
            return Started {
                listener: Listener::none(),
                utp: None,
                dht: None,
                lpd: None,
                mapper: Mutex::default(),
            };
        }
        let listener = Listener::open(self).await;
        // uTP needs the port of the listener; the DHT has a part in it where its list has it.
        let utp = match (self.settings.utp, listener.port()) {
            (true, Some(port)) => Utp::open(self, port).await,
            _ => None,
        };
        let shared = |family| {
            let port = u32::from(listener.port()?);
            let suits = self
                .settings
                .dht_ports
                .iter()
                .any(|range| range.contains(&port));
            utp.as_ref().filter(|_| suits)?.share(family)
        };
        let dht = Dht::start(&self.settings, &self.connection, shared);
        let udp = dht.iter().filter_map(|dht| dht.port_v4());
        let mut udp: Vec<u16> = udp.chain(utp.as_ref().and(listener.port())).collect();
        udp.dedup();
        let mapper = self.settings.port_mapping;
        let mapper = mapper.then(|| PortMapper::start(listener.port(), udp));
        Started {
            listener,
            utp,
            dht,
            lpd: Some(Lpd::start(&self.settings)),
            mapper: Mutex::new(mapper),
        }
    }

    /// Takes back what was asked of the router and saves what is known of the DHT; for the end of
    /// the process.
    pub async fn stop(&self) {
        let Some(started) = self.started.get() else {
            return;
        };
        if let Some(dht) = &started.dht {
            dht.save().await;
        }
        let mapper = started.mapper.lock().take();
        if let Some(mapper) = mapper {
            mapper.stop().await;
        }
    }

    /// From now on peers that mean this torrent come here, until the membership is dropped.
    pub fn join(self: &Arc<Self>, info_hash: InfoHash, policy: CryptoPolicy) -> Membership {
        let (sender, inbound) = mpsc::unbounded_channel();
        let id = self.routes.add(info_hash, policy, sender);
        Membership {
            inbound,
            info_hash,
            id,
            routes: self.routes.clone(),
        }
    }

    /// Keeps peers for whoever joins this torrent next.
    pub fn hand_over(&self, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        let mut kept = self.handed_over.lock();
        // Where nobody follows (`bt-metadata-only`) they are for nobody.
        if kept.len() >= HANDED_OVER_MAX {
            kept.clear();
        }
        kept.insert(info_hash, peers);
    }

    /// The peers that were kept for this torrent.
    pub fn take_over(&self, info_hash: InfoHash) -> Vec<SocketAddr> {
        let kept = self.handed_over.lock().remove(&info_hash);
        kept.unwrap_or_default()
    }

    /// The TCP port where peers reach us; `None` before [`Self::start`] and where none can be had.
    pub fn listen_port(&self) -> Option<u16> {
        self.started.get()?.listener.port()
    }

    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// By what peers and trackers of one torrent know us. One that is hidden behind a proxy has a
    /// name of its own, so that nobody sees who else it belongs to.
    pub fn peer_id_for(&self, proxy: &ProxySettings) -> PeerId {
        match dialer::hides(proxy) && !self.hidden {
            true => PeerId::new(&self.settings.peer_id_prefix, random_bytes()),
            false => self.peer_id,
        }
    }

    pub fn settings(&self) -> &BtNetSettings {
        &self.settings
    }

    pub fn connection(&self) -> &ConnectionSettings {
        &self.connection
    }

    pub fn net(&self) -> &Arc<Net> {
        &self.net
    }

    pub fn dht(&self) -> Option<&Arc<Dht>> {
        self.started.get()?.dht.as_ref()
    }

    pub fn lpd(&self) -> Option<&Arc<Lpd>> {
        self.started.get()?.lpd.as_ref()
    }

    pub fn udp_trackers(&self) -> &Arc<UdpTrackers> {
        &self.udp_trackers
    }

    pub(super) fn utp(&self) -> Option<&Utp> {
        self.started.get()?.utp.as_ref()
    }

    /// As if nobody could reach us by TCP.
    #[cfg(test)]
    pub(super) fn close_tcp(&self) {
        if let Some(started) = self.started.get() {
            started.listener.close();
        }
    }

    pub(super) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Peers that nobody wants.
    pub fn filter(&self) -> &Arc<PeerFilter> {
        &self.filter
    }

    /// Whether a blocklist names the address.
    pub fn is_blocked(&self, ip: IpAddr) -> bool {
        self.filter.is_blocked(ip)
    }

    /// Replaces the blocklist by that of the file, unless both are the same as before; an unreadable
    /// file leaves it as it is.
    pub async fn set_blocklist(&self, path: Option<&Path>) {
        let mut known = self.blocklist_file.lock().await;
        let Some(path) = path else {
            if known.take().is_some() {
                self.filter.set_file(Blocklist::default());
            }
            return;
        };
        let shown = path.display().to_string();
        let (path, before) = (path.to_owned(), known.clone());
        let read = tokio::task::spawn_blocking(move || read_blocklist(path, before));
        match read.await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((file, list, strange)))) => {
                info!(
                    "{} ranges of addresses from the blocklist {shown}, {strange} lines not understood",
                    list.len()
                );
                self.filter.set_file(list);
                *known = Some(file);
            }
            Ok(Err(error)) => warn!("The blocklist {shown} cannot be read: {error}"),
            Err(_) => warn!("The blocklist {shown} cannot be read"),
        }
    }
}

/// A blocklist's file as it was read.
type BlocklistFile = (PathBuf, Option<SystemTime>);

fn read_blocklist(
    path: PathBuf,
    before: Option<BlocklistFile>,
) -> std::io::Result<Option<(BlocklistFile, Blocklist, usize)>> {
    let modified = std::fs::metadata(&path)?.modified().ok();
    let file = (path, modified);
    if before.as_ref() == Some(&file) {
        return Ok(None);
    }
    let (list, strange) = Blocklist::parse(&std::fs::read(&file.0)?);
    Ok(Some((file, list, strange)))
}

/// A torrent's place among those that can be reached.
pub struct Membership {
    inbound: UnboundedReceiver<Box<Inbound>>,
    info_hash: InfoHash,
    id: RouteId,
    routes: Arc<Routes>,
}

impl Membership {
    /// The next peer that has dialled us for this torrent. Cancel safe. Dropping it hangs up.
    pub async fn next(&mut self) -> Box<Inbound> {
        match self.inbound.recv().await {
            Some(inbound) => inbound,
            // Another transfer has taken the torrent over.
            None => std::future::pending().await,
        }
    }

    pub fn try_next(&mut self) -> Option<Box<Inbound>> {
        self.inbound.try_recv().ok()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.routes.remove(self.info_hash, self.id);
    }
}

/// What remote addresses look like everywhere here: IPv4 is never written as IPv6.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::keys;
    use std::time::Duration;
    use tokio::net::UdpSocket;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// As aria2c 1.36 was seen to do: who names an interface is not reached by another.
    #[tokio::test]
    async fn peers_come_by_the_interface_that_is_named() {
        for (interface, reached) in [("127.0.0.1", [true, false]), ("", [true, true])] {
            let mut set = OptionSet::new();
            set.set_text(keys::INTERFACE.id, interface).unwrap();
            let settings = BtNetSettings {
                listen_ports: Vec::new(),
                dht: false,
                utp: false,
                ..BtNetSettings::from(&set)
            };
            let net = BtNet::with(Net::new(), &set, settings);
            net.start().await;
            let port = net.listen_port().unwrap();
            let mut seen = Vec::new();
            for ip in ["127.0.0.1", "127.0.0.2"] {
                seen.push(tokio::net::TcpStream::connect((ip, port)).await.is_ok());
            }
            assert_eq!(seen, reached, "{interface}");
        }
    }

    #[tokio::test]
    async fn dht_and_utp_share_a_port_and_lists_block() {
        let set = OptionSet::new();
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        std::fs::write(&list, "10.1.0.0/16\n").unwrap();
        let settings = BtNetSettings {
            listen_ports: Vec::new(),
            dht_ports: vec![1..=65_535],
            dht_entry_point: Some("127.0.0.1:1".to_owned()),
            dht_file_path: Some(dir.path().join("dht.dat")),
            blocklist: Some(list.clone()),
            ..BtNetSettings::from(&set)
        };
        let net = BtNet::with(Net::new(), &set, settings);
        net.start().await;
        let port = net.listen_port().unwrap();
        assert_eq!(net.dht().unwrap().port_v4(), Some(port));
        assert!(net.utp().is_some());
        let asking = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        let mut answer = [0; 500];
        let answered = async {
            loop {
                asking.send_to(ping, ("127.0.0.1", port)).await.unwrap();
                let answering = asking.recv_from(&mut answer);
                let again = Duration::from_secs(1);
                // The node has questions of its own.
                if let Ok(Ok((len, _))) = tokio::time::timeout(again, answering).await
                    && answer[..len].ends_with(b"1:y1:re")
                {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap();

        let ip = |last| IpAddr::from([10, last, 0, 1]);
        assert!(net.is_blocked(ip(1)) && !net.is_blocked(ip(2)));
        let other = dir.path().join("other");
        std::fs::write(&other, "10.2.0.0/16\n").unwrap();
        net.set_blocklist(Some(&other)).await;
        assert!(!net.is_blocked(ip(1)) && net.is_blocked(ip(2)));
        net.set_blocklist(Some(&dir.path().join("none"))).await;
        assert!(
            net.is_blocked(ip(2)),
            "a file that is missing changes nothing"
        );
        net.set_blocklist(None).await;
        assert!(!net.is_blocked(ip(2)));
        net.stop().await;
    }
}
