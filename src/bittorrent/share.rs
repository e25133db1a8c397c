//! What all connections of one torrent have in common.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::assembler::Assembler;
use super::dialer;
use super::handshake::PeerId;
use super::mse::CryptoPolicy;
use super::peer::Shape;
use crate::base::gid::Gid;
use crate::format::info_hash::InfoHash;
use crate::option::bt_settings::BtSettings;
use crate::option::settings::{ConnectionSettings, ProxySettings};

/// A torrent as its peers' connections see it.
pub struct TorrentShare {
    pub gid: Gid,
    pub info_hash: InfoHash,
    pub ours: PeerId,
    /// `None` for a magnet link without its metadata.
    pub shape: Option<Shape>,
    /// Its peers come from its trackers alone (BEP 27).
    pub private: bool,
    /// There where `shape` is.
    pub assembler: Option<Arc<Assembler>>,
    /// The info dictionary, from which peers' requests for metadata are answered.
    pub info: Option<Bytes>,
    pub settings: ArcSwap<BtSettings>,
    pub connection: ConnectionSettings,
    pub proxy: ProxySettings,
}

impl TorrentShare {
    /// Nothing of it shows our address: it has a proxy that everything goes through.
    pub fn hidden(&self) -> bool {
        dialer::hides(&self.proxy)
    }

    /// Whether the DHT may have to do with it.
    pub fn in_dht(&self) -> bool {
        !self.private && !self.hidden()
    }

    pub fn crypto(&self) -> CryptoPolicy {
        let settings = self.settings.load();
        CryptoPolicy::of(&settings)
    }
}
