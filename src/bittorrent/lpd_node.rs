//! Local peer discovery (BEP 14): our voice and our ear in the multicast groups, shared by all
//! torrents.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::format::info_hash::InfoHash;
use crate::option::bt_settings::BtNetSettings;

/// The handle; opens its sockets with the first torrent that joins.
pub struct Lpd {}

/// A torrent takes part until this is dropped.
pub struct LpdMember {}

impl Lpd {
    /// Cheap; needs a tokio runtime.
    pub fn start(_settings: &BtNetSettings) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Announces the torrent now and every five minutes, and sends on who announces it.
    pub fn join(
        self: &Arc<Self>,
        _info_hash: InfoHash,
        _port: Option<u16>,
        _found: UnboundedSender<SocketAddr>,
    ) -> LpdMember {
        LpdMember {}
    }
}
