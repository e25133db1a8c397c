//! What all torrents of the process share: the ports where peers reach us, the DHT, local discovery
//! and the peers nobody wants.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
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
use super::port_map::PortMapper;
use super::tracker::udp_socket::UdpTrackers;
use super::utp::Utp;
use crate::base::rng::random_bytes;
use crate::format::info_hash::InfoHash;
use crate::net::Net;
use crate::option::OptionSet;
use crate::option::bt_settings::BtNetSettings;
use crate::option::settings::{ConnectionSettings, ProxySettings};

/// One of a process.
pub struct BtNet {
    net: Arc<Net>,
    settings: BtNetSettings,
    connection: ConnectionSettings,
    /// Everything goes through a proxy that nobody can reach us by.
    hidden: bool,
    peer_id: PeerId,
    routes: Arc<Routes>,
    blocklist: ArcSwap<Blocklist>,
    udp_trackers: Arc<UdpTrackers>,
    started: OnceCell<Started>,
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
            blocklist: ArcSwap::default(),
            udp_trackers: UdpTrackers::new(settings.dht_ports.clone()),
            started: OnceCell::new(),
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
        self.load_blocklist(self.settings.blocklist.as_deref())
            .await;
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
        let listener = Listener::open(self);
        // uTP needs the port of the listener, the DHT takes any of its list.
        let utp = match (self.settings.utp, listener.port()) {
            (true, Some(port)) => Utp::open(self, port).await,
            _ => None,
        };
        let dht = Dht::start(&self.settings, &self.connection);
        let udp = dht.iter().filter_map(|dht| dht.port_v4());
        let udp = udp.chain(utp.as_ref().and(listener.port())).collect();
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

    /// The TCP port where peers reach us; `None` before [`Self::start`] and where none can be had.
    pub fn listen_port(&self) -> Option<u16> {
        self.started.get()?.listener.port()
    }

    pub fn peer_id(&self) -> PeerId {
        self.peer_id
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

    /// Whether the blocklist names the address.
    pub fn is_blocked(&self, ip: IpAddr) -> bool {
        self.blocklist.load().contains(ip.to_canonical())
    }

    /// Replaces the blocklist by that of the file; an unreadable file leaves it as it is.
    pub async fn load_blocklist(&self, path: Option<&Path>) {
        let Some(path) = path else {
            self.blocklist.store(Arc::default());
            return;
        };
        let shown = path.display().to_string();
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            std::fs::read(path).map(|bytes| Blocklist::parse(&bytes))
        });
        match read.await {
            Ok(Ok((list, strange))) => {
                info!(
                    "{} ranges of addresses from the blocklist {shown}, {strange} lines not understood",
                    list.len()
                );
                self.blocklist.store(Arc::new(list));
            }
            Ok(Err(error)) => warn!("The blocklist {shown} cannot be read: {error}"),
            Err(_) => warn!("The blocklist {shown} cannot be read"),
        }
    }
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
