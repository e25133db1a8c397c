//! Our nodes of the DHT, one for IPv4 and one for IPv6: sockets, timers and files around the pure
//! parts.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::format::info_hash::InfoHash;
use crate::net::Net;
use crate::option::bt_settings::BtNetSettings;
use crate::option::settings::ConnectionSettings;

/// The handle; when the last one is dropped the nodes end, without saving.
pub struct Dht {
    port_v4: Option<u16>,
    port_v6: Option<u16>,
}

impl Dht {
    /// Binds the sockets that the settings ask for and begins to look for nodes. `None` when the
    /// DHT is off, or no socket can be had (which is logged). Needs a tokio runtime.
    pub fn start(
        _settings: &BtNetSettings,
        _connection: &ConnectionSettings,
        _net: Arc<Net>,
    ) -> Option<Arc<Self>> {
        None
    }

    /// UDP ports of our nodes; the one of IPv4 is told to peers (message `port`).
    pub fn port_v4(&self) -> Option<u16> {
        self.port_v4
    }

    pub fn port_v6(&self) -> Option<u16> {
        self.port_v6
    }

    /// A peer says that it has a node there.
    pub fn add_node(&self, _address: SocketAddr) {}

    /// A torrent names a node.
    pub fn add_host(&self, _host: String, _port: u16) {}

    /// One search for peers, through both families; peers are sent as they are named. With a port
    /// we are announced to the nodes closest to the torrent, as listening at it. Returns when it is
    /// over.
    pub async fn search(
        &self,
        _info_hash: InfoHash,
        _port: Option<u16>,
        _found: UnboundedSender<Vec<SocketAddr>>,
    ) {
    }

    /// Nodes known at the moment.
    pub fn node_count(&self) -> usize {
        0
    }

    /// Writes the files of nodes.
    pub async fn save(&self) {}
}
