//! Drives one connection with a peer: a [`Peer`](super::peer::Peer) over a stream, speaking
//! [`link`](super::link) with its transfer.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::bt_net::BtNet;
use super::link::{PeerLink, PeerReport, Way};
use super::share::TorrentShare;
use super::swarm::Parting;
use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure, Retry};

/// Runs the connection until it ends or its orders are closed; the last report is `Closed`.
/// `have`: our pieces at this moment; those of later come as orders. Needs a tokio runtime.
pub fn spawn(
    way: Way,
    torrent: Arc<TorrentShare>,
    have: Bitfield,
    link: PeerLink,
    net: Arc<BtNet>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let _ = (way, torrent, have, net);
        let failure = Failure::new(ErrorCode::Network, Retry::OtherMirror, "not yet");
        let _ = link
            .reports
            .send((link.id, PeerReport::Closed(Parting::Failed, failure)));
    })
}
