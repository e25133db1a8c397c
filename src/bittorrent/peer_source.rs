//! One connection with a peer: a [`Peer`](super::peer::Peer) over a stream, speaking
//! [`link`](super::link) with its transfer.

mod driver;
mod ending;
mod feed;
mod input;
mod output;
mod reporter;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;

use self::driver::Driver;
use self::ending::{End, unwanted};
use super::bt_net::{BtNet, canonical};
use super::dialer::{self, Greeted};
use super::link::{Greeting, PeerLink, PeerOrder, PeerReport, Way};
use super::share::TorrentShare;
use crate::base::bitfield::Bitfield;

/// Runs the connection until it ends or its orders are closed; the last report is `Closed`.
/// `have`: our pieces at this moment; those of later come as orders. Needs a tokio runtime.
pub fn spawn(
    way: Way,
    torrent: Arc<TorrentShare>,
    have: Bitfield,
    link: PeerLink,
    net: Arc<BtNet>,
) -> JoinHandle<()> {
    tokio::spawn(run(way, torrent, have, link, net))
}

async fn run(
    way: Way,
    torrent: Arc<TorrentShare>,
    have: Bitfield,
    mut link: PeerLink,
    net: Arc<BtNet>,
) {
    let (address, incoming) = match &way {
        Way::Dial { address, .. } => (canonical(*address), false),
        Way::Accepted(inbound) => (inbound.address, true),
    };
    let greeting = async {
        match way {
            Way::Dial { plain, .. } => dialer::dial(address, plain, &torrent, &net).await,
            Way::Accepted(inbound) => dialer::answer(*inbound, &torrent, &net).await,
        }
    };
    // Orders wait in their channel meanwhile; that it closes has to be noticed at once.
    let mut early = VecDeque::new();
    let greeted = tokio::select! {
        greeted = greeting => greeted.map_err(|not| (not.parting, not.failure)),
        end = collect(&mut link, &mut early) => Err(end),
    };
    let (parting, failure) = match greeted {
        Ok(greeted) => {
            let greeting = greeting_of(&greeted, address, incoming);
            let _ = link
                .reports
                .send((link.id, PeerReport::Greeted(Box::new(greeting))));
            let driver = Driver::new(greeted, address, torrent, have, link, net);
            return driver.run(early).await;
        }
        Err(end) => end,
    };
    let _ = link
        .reports
        .send((link.id, PeerReport::Closed(parting, failure)));
}

fn greeting_of(greeted: &Greeted, address: SocketAddr, incoming: bool) -> Greeting {
    Greeting {
        address,
        remote: greeted.remote,
        incoming,
        encrypted: !greeted.line.encrypt.is_plain(),
        utp: greeted.line.utp,
        // We always do.
        fast: greeted.remote.fast,
    }
}

/// Keeps the orders that come before there is a peer; returns when nobody wants the connection.
async fn collect(link: &mut PeerLink, early: &mut VecDeque<PeerOrder>) -> End {
    while let Some(order) = link.orders.recv().await {
        early.push_back(order);
    }
    unwanted()
}

#[cfg(test)]
mod tests;
