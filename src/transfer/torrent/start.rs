//! How the swarm of a torrent or of a magnet link begins.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::base::gid::Gid;
use crate::bittorrent::assembler::Assembler;
use crate::bittorrent::bt_net::BtNet;
use crate::bittorrent::discovery::{Discovery, DiscoverySpec, SwarmFigures};
use crate::bittorrent::share::TorrentShare;
use crate::format::info_hash::InfoHash;
use crate::format::magnet::Magnet;
use crate::format::metainfo::Metainfo;
use crate::limit::LimitBranch;
use crate::net::Net;
use crate::option::OptionSet;
use crate::option::bt_settings::BtSettings;
use crate::option::settings::{ConnectionSettings, ProxySettings};
use crate::transfer::live::Live;

use super::connections::Connections;

/// What a torrent has to do with the rest of its download.
pub struct Basis {
    pub settings: BtSettings,
    pub limit: LimitBranch,
    pub live: Arc<Live>,
    /// What trackers are told.
    pub figures: Arc<SwarmFigures>,
    /// Bytes given before this run.
    pub uploaded_before: u64,
}

/// What names a swarm and says where to find it.
pub struct Address {
    pub info_hash: InfoHash,
    pub tiers: Vec<Vec<String>>,
    /// DHT nodes: host and port.
    pub nodes: Vec<(String, u16)>,
    pub private: bool,
    /// The info dictionary, to be given to peers that lack it.
    info: Option<Bytes>,
}

impl Address {
    pub fn of_torrent(torrent: &Metainfo) -> Self {
        Self {
            info_hash: torrent.info.hash,
            tiers: torrent.tiers.clone(),
            nodes: torrent.nodes.clone(),
            private: torrent.info.private,
            info: Some(torrent.info.raw.clone().into()),
        }
    }

    pub fn of_magnet(magnet: &Magnet) -> Self {
        Self {
            info_hash: magnet.info_hash,
            tiers: magnet
                .trackers
                .iter()
                .map(|uri| vec![uri.clone()])
                .collect(),
            nodes: Vec::new(),
            private: false,
            info: None,
        }
    }
}

/// Opens the swarm: from now on peers are sought and may come. `assembler` is there where the
/// metadata is.
pub async fn connect(
    gid: Gid,
    address: Address,
    (bt, net): (&Arc<BtNet>, &Arc<Net>),
    options: &OptionSet,
    assembler: Option<Arc<Assembler>>,
    (limit, figures): (LimitBranch, Arc<SwarmFigures>),
) -> Connections {
    bt.start().await;
    let settings = BtSettings::from(options);
    let proxy = ProxySettings::from(options);
    let ours = bt.peer_id_for(&proxy);
    let share = TorrentShare {
        gid,
        info_hash: address.info_hash,
        ours,
        shape: assembler.as_ref().map(|assembler| assembler.shape()),
        private: address.private,
        assembler,
        info: address.info,
        settings: arc_swap::ArcSwap::from_pointee(settings.clone()),
        connection: ConnectionSettings::from(options),
        proxy,
    };
    let open = !share.hidden();
    let spec = DiscoverySpec {
        gid,
        info_hash: address.info_hash,
        ours,
        port: bt.listen_port().filter(|_| open),
        tiers: address.tiers,
        private: address.private,
        nodes: address.nodes,
        figures,
        net: net.clone(),
        udp_trackers: bt.udp_trackers().clone(),
        dht: bt.dht().filter(|_| open).cloned(),
        lpd: bt.lpd().filter(|_| open).cloned(),
        settings: settings.clone(),
    };
    let (named, found) = mpsc::unbounded_channel();
    let discovery = Discovery::start(spec, named);
    Connections::new(
        bt.clone(),
        Arc::new(share),
        limit,
        settings.peer_count_max,
        (discovery, found),
    )
}
