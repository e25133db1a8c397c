//! Drives a [`Peer`]: one task a connection, one `poll` for orders, blocks read for the peer, the
//! stream both ways and one timer. After whatever woke it, [`Driver::settle`] turns what the `Peer`
//! says into reports and bytes to be written, so that many small messages leave in one write.

mod events;
mod orders;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite as _;
use tokio::time::Sleep;
use tracing::debug;

use super::ending::{End, broken, ended, unwanted};
use super::feed::{Fed, Feed};
use super::input::Input;
use super::output::{Output, SLICE_COUNT};
use super::reporter::Reporter;
use crate::base::bitfield::Bitfield;
use crate::bittorrent::assembler::Assembler;
use crate::bittorrent::bt_net::BtNet;
use crate::bittorrent::dialer::{Greeted, hello};
use crate::bittorrent::extension::{ExtendedHandshake, REQUEST_COUNT_MAX, UT_METADATA, UT_PEX};
use crate::bittorrent::line::Stream;
use crate::bittorrent::link::{PeerLink, PeerOrder, PeerReport};
use crate::bittorrent::peer::{Peer, PeerEvent, PeerSettings};
use crate::bittorrent::share::TorrentShare;
use crate::bittorrent::swarm::Parting;
use crate::bittorrent::wire::{Block, Message};

/// A peer that does not read what it asked for is not read from either.
const OUTPUT_LEN_MAX: usize = 4 << 20;
/// The transfer hears what a peer says of itself, blocks excepted, once in so long in the long run:
/// one that never stops talking is read slower, and does not fill the queue of reports.
const SAYING_TIME: Duration = Duration::from_micros(100);
/// So much of it at once is nothing unusual.
const SAYING_AHEAD: Duration = Duration::from_millis(500);

type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What ends a wait.
enum Woken {
    /// Bytes that came; 0: the peer hung up.
    Read(usize),
    Wrote(usize),
    Order(Option<PeerOrder>),
    Fed(Vec<Fed>),
    Tick,
    Failed(std::io::Error),
}

pub struct Driver {
    address: SocketAddr,
    torrent: Arc<TorrentShare>,
    assembler: Option<Arc<Assembler>>,
    net: Arc<BtNet>,
    link: PeerLink,
    reporter: Reporter,
    stream: Box<dyn Stream>,
    input: Input,
    output: Output,
    peer: Peer,
    /// Our pieces.
    have: Bitfield,
    /// We want nothing any more.
    done: bool,
    /// Ordered, but the window is full.
    waiting: VecDeque<Block>,
    /// What the transfer believes it may still order.
    window_told: usize,
    snub_told: bool,
    allowed_told: bool,
    /// The peer has told of its DHT node.
    node_told: bool,
    /// Bytes of metadata that are on their way into the output.
    metadata_len: usize,
    /// Payload that came since the limits were last paid.
    unpaid: usize,
    /// Things the peer has said since it was last looked at, and until when they are enough.
    said: u32,
    said_until: Instant,
    /// Nothing is read before this is over.
    hold: Option<Pending>,
    feed: Feed,
    timer: Pin<Box<Sleep>>,
}

impl Driver {
    pub fn new(
        greeted: Greeted,
        address: SocketAddr,
        torrent: Arc<TorrentShare>,
        have: Bitfield,
        link: PeerLink,
        net: Arc<BtNet>,
    ) -> Self {
        let now = Instant::now();
        let done = torrent.shape.is_some() && have.all();
        let settings = PeerSettings {
            idle_max: torrent.settings.load().idle_max,
            extensions: extensions(&torrent, &net, address.ip(), done),
            dht_port: match torrent.in_dht() {
                true => net.dht().and_then(|dht| dht.port_v4()),
                false => None,
            },
        };
        let ours = hello(&torrent, &net);
        let peer = Peer::new(now, torrent.shape, settings, &ours, greeted.remote);
        let line = greeted.line;
        let buffers = torrent
            .assembler
            .as_ref()
            .map(|assembler| assembler.buffers().clone());
        Self {
            address,
            assembler: torrent.assembler.clone(),
            torrent,
            net,
            feed: Feed::new(link.limit.clone()),
            reporter: Reporter::new(now, link.id, link.reports.clone()),
            link,
            stream: line.stream,
            input: Input::new(line.input, line.decrypt, buffers),
            output: Output::new(line.encrypt),
            timer: Box::pin(tokio::time::sleep_until(peer.poll_timeout().into())),
            peer,
            have,
            done,
            waiting: VecDeque::new(),
            window_told: 0,
            snub_told: false,
            allowed_told: false,
            node_told: false,
            metadata_len: 0,
            said: 0,
            said_until: now,
            unpaid: 0,
            hold: None,
        }
    }

    pub async fn run(mut self, early: VecDeque<PeerOrder>) {
        let (parting, failure) = match self.converse(early).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.peer.close();
        while let Some(event) = self.peer.poll_event() {
            // Whatever else it was, it is too late.
            if let PeerEvent::Released(block) = event {
                self.reporter.released([block]);
            }
        }
        self.reporter.released(self.waiting.drain(..));
        debug!("{}: {failure}", self.address);
        self.reporter.tell(PeerReport::Closed(parting, failure));
    }

    async fn converse(&mut self, early: VecDeque<PeerOrder>) -> Result<Infallible, End> {
        let mut later = VecDeque::new();
        for order in early {
            match order {
                // What came while we dialled goes into the bitfield.
                PeerOrder::Have(pieces) => self.add_have(&pieces),
                other => later.push_back(other),
            }
        }
        self.peer.send_have(&self.have);
        for order in later {
            self.obey(Instant::now(), order);
        }
        self.decode()?;
        loop {
            self.settle()?;
            let woken = poll_fn(|cx| self.poll(cx)).await;
            let now = Instant::now();
            match woken {
                Woken::Read(0) => return Err(ended(Parting::Lost, "The peer hung up.")),
                Woken::Read(_) => self.decode()?,
                Woken::Wrote(count) => self.output.advance(count),
                Woken::Order(None) => return Err(unwanted()),
                Woken::Order(Some(order)) => {
                    self.obey(now, order);
                    while let Ok(order) = self.link.orders.try_recv() {
                        self.obey(now, order);
                    }
                }
                Woken::Fed(fed) => fed.into_iter().for_each(|fed| self.send(now, fed)),
                Woken::Tick => {
                    self.peer.handle_timeout(now).map_err(broken)?;
                    let next = self.peer.poll_timeout().into();
                    self.timer.as_mut().reset(next);
                }
                Woken::Failed(error) => {
                    return Err(ended(
                        Parting::Lost,
                        format!("The connection broke: {error}."),
                    ));
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        if let Poll::Ready(order) = self.link.orders.poll_recv(cx) {
            return Poll::Ready(Woken::Order(order));
        }
        if let Poll::Ready(fed) = self.feed.poll(cx) {
            return Poll::Ready(Woken::Fed(fed));
        }
        if self.output.len() > 0
            && let Poll::Ready(result) = self.poll_write(cx)
        {
            return Poll::Ready(match result {
                Ok(0) => Woken::Failed(std::io::ErrorKind::WriteZero.into()),
                Ok(count) => Woken::Wrote(count),
                Err(error) => Woken::Failed(error),
            });
        }
        if let Some(hold) = &mut self.hold
            && hold.as_mut().poll(cx).is_ready()
        {
            self.hold = None;
        }
        if self.hold.is_none() && self.output.len() <= OUTPUT_LEN_MAX {
            // A slow limit wants small sips.
            let len_max = self.link.limit.pace_down();
            if let Poll::Ready(result) = self.input.poll_read(cx, &mut *self.stream, len_max) {
                return Poll::Ready(match result {
                    Ok(count) => Woken::Read(count),
                    Err(error) => Woken::Failed(error),
                });
            }
        }
        self.timer.as_mut().poll(cx).map(|()| Woken::Tick)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let mut slices = [IoSlice::new(&[]); SLICE_COUNT];
        let count = self.output.fill(&mut slices);
        if stream.is_write_vectored() {
            stream.poll_write_vectored(cx, &slices[..count])
        } else {
            stream.poll_write(cx, &slices[0])
        }
    }

    /// Takes all whole messages off the input.
    fn decode(&mut self) -> Result<(), End> {
        let now = Instant::now();
        loop {
            let message = self.input.decode().map_err(|error| {
                ended(
                    Parting::Hopeless,
                    format!("The peer is not understood: {error}."),
                )
            })?;
            let Some(message) = message else {
                break;
            };
            if let Message::Piece { data, .. } = &message {
                self.unpaid += data.len();
            }
            self.peer.handle_message(now, message).map_err(broken)?;
            self.heed(now)?;
        }
        if self.unpaid > 0 {
            self.pay(now);
        }
        self.slow_down(now);
        Ok(())
    }

    /// Who says more than anybody has to say is not listened to for a while.
    fn slow_down(&mut self, now: Instant) {
        let said = SAYING_TIME * std::mem::take(&mut self.said);
        self.said_until = self.said_until.max(now) + said;
        let Some(wait) = (self.said_until - now).checked_sub(SAYING_AHEAD) else {
            return;
        };
        let before = self.hold.take();
        self.hold = Some(Box::pin(async move {
            if let Some(before) = before {
                before.await;
            }
            tokio::time::sleep_until((now + wait).into()).await;
        }));
    }

    /// Pays for what came, before more is read.
    fn pay(&mut self, now: Instant) {
        let bytes = std::mem::take(&mut self.unpaid);
        self.link.down.record(now, bytes as u64);
        let limit = self.link.limit.clone();
        let assembler = self.assembler.clone();
        self.hold = Some(Box::pin(async move {
            limit.pay_down(bytes).await;
            if let Some(assembler) = assembler {
                assembler.ready().await;
            }
        }));
    }

    /// Passes on what has happened, and brings what is to be said into the output.
    fn settle(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.heed(now)?;
        self.request_waiting(now);
        self.tell_window(now);
        if let Some(assembler) = &self.assembler {
            let ahead = self.output.len();
            self.feed.start(&mut self.peer, assembler, ahead);
        }
        while let Some(message) = self.peer.poll_message(now) {
            self.output.push(&message);
        }
        self.metadata_len = 0;
        self.reporter.settle(now);
        if self.peer.is_useless(self.done) {
            return Err(ended(
                Parting::Useless,
                "Neither side has anything for the other.",
            ));
        }
        let mut next = self.peer.poll_timeout();
        if let Some(due) = self.reporter.poll_timeout() {
            next = next.min(due);
        }
        if next < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(next.into());
        }
        Ok(())
    }
}

/// What we say of ourselves.
fn extensions(
    torrent: &TorrentShare,
    net: &BtNet,
    remote: IpAddr,
    done: bool,
) -> ExtendedHandshake {
    let exchange = !torrent.private && torrent.settings.load().exchange;
    let agent = &net.settings().peer_agent;
    ExtendedHandshake {
        ut_pex: exchange.then_some(UT_PEX),
        ut_metadata: Some(UT_METADATA),
        metadata_size: torrent
            .info
            .as_ref()
            .and_then(|info| u32::try_from(info.len()).ok()),
        port: net.listen_port().filter(|_| !torrent.hidden()),
        agent: (!agent.is_empty()).then(|| agent.clone()),
        request_count_max: Some(REQUEST_COUNT_MAX),
        upload_only: done.then_some(true),
        your_ip: Some(remote),
        encryption: None,
    }
}
