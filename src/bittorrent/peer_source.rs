//! Drives one connection with a peer: a [`Peer`] over a stream, speaking [`link`](super::link) with
//! its transfer.
//!
//! One task a connection, one `poll`: orders, blocks read for the peer, the stream both ways and
//! one timer. After whatever woke it, [`Driver::settle`] turns what the `Peer` says into reports and
//! bytes to be written, so that many small messages leave in one write.

mod feed;
mod output;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use tracing::debug;

use self::feed::{Fed, Feed};
use self::output::{Output, SLICE_COUNT};
use super::assembler::{Assembler, FullPiece, Put};
use super::bt_net::{BtNet, canonical};
use super::dialer::{self, Greeted, hello};
use super::extension::{ExtendedHandshake, REQUEST_COUNT_MAX, UT_METADATA, UT_PEX};
use super::line::Stream;
use super::link::{Greeting, PeerLink, PeerOrder, PeerReport, Way};
use super::metadata::{self, MetadataMessage};
use super::mse::Cipher;
use super::peer::{Peer, PeerError, PeerEvent, PeerSettings, allowed_fast_set};
use super::share::TorrentShare;
use super::swarm::Parting;
use super::wire::{self, Block};
use crate::base::bitfield::Bitfield;
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::units::PieceIdx;

/// A read is offered no less room than this, and as much as [`READ_LEN_MAX`] while the peer fills it.
const READ_LEN_MIN: usize = 16 * 1024;
const READ_LEN_MAX: usize = 256 * 1024;
/// A peer that does not read what it asked for is not read from either.
const OUTPUT_LEN_MAX: usize = 4 << 20;
/// Pieces a poor peer may have while it is choked (BEP 6).
const ALLOWED_FAST_COUNT: usize = 10;
/// A window that grew by less than a quarter is not worth a report.
const WINDOW_NEWS_PART: usize = 4;

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
async fn collect(link: &mut PeerLink, early: &mut VecDeque<PeerOrder>) -> (Parting, Failure) {
    while let Some(order) = link.orders.recv().await {
        early.push_back(order);
    }
    unwanted()
}

fn unwanted() -> (Parting, Failure) {
    ended(Parting::Lost, "The connection is not wanted any more.")
}

fn ended(parting: Parting, message: impl Into<String>) -> (Parting, Failure) {
    let failure = Failure::new(ErrorCode::Network, Retry::OtherMirror, message);
    (parting, failure)
}

/// Ends that the peer's own words cause.
fn broken(error: PeerError) -> (Parting, Failure) {
    let parting = match error {
        PeerError::Useless => Parting::Useless,
        PeerError::Idle => Parting::Lost,
        _ => Parting::Hopeless,
    };
    ended(parting, format!("The {error}."))
}

type End = (Parting, Failure);
type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What ends a wait.
enum Woken {
    /// Bytes that came; 0: the peer hung up.
    Read(usize),
    Wrote(usize),
    Order(Option<PeerOrder>),
    Fed(Fed),
    /// What came is paid for, and the disk keeps up.
    MayRead,
    Tick,
    Failed(std::io::Error),
}

struct Driver {
    address: SocketAddr,
    torrent: Arc<TorrentShare>,
    assembler: Option<Arc<Assembler>>,
    net: Arc<BtNet>,
    link: PeerLink,
    stream: Box<dyn Stream>,
    decrypt: Cipher,
    input: BytesMut,
    /// Room offered to the next read.
    read_len: usize,
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
    took: Vec<Block>,
    released: Vec<Block>,
    /// Payload that came since the limits were last paid.
    unpaid: usize,
    /// Nothing is read before this is over.
    hold: Option<Pending>,
    feed: Feed,
    timer: Pin<Box<Sleep>>,
}

impl Driver {
    fn new(
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
        Self {
            address,
            assembler: torrent.assembler.clone(),
            torrent,
            net,
            feed: Feed::new(link.limit.clone()),
            link,
            stream: line.stream,
            decrypt: line.decrypt,
            input: line.input,
            read_len: READ_LEN_MIN,
            output: Output::new(line.encrypt),
            timer: Box::pin(tokio::time::sleep_until(peer.poll_timeout().into())),
            peer,
            have,
            done,
            waiting: VecDeque::new(),
            window_told: 0,
            snub_told: false,
            allowed_told: false,
            took: Vec::new(),
            released: Vec::new(),
            unpaid: 0,
            hold: None,
        }
    }

    async fn run(mut self, early: VecDeque<PeerOrder>) {
        let (parting, failure) = match self.converse(early).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.peer.close();
        while let Some(event) = self.peer.poll_event() {
            // Whatever else it was, it is too late.
            if let PeerEvent::Released(block) = event {
                self.released.push(block);
            }
        }
        self.released.extend(self.waiting.drain(..));
        debug!("{}: {failure}", self.address);
        self.report(PeerReport::Closed(parting, failure));
    }

    async fn converse(
        &mut self,
        early: VecDeque<PeerOrder>,
    ) -> Result<std::convert::Infallible, End> {
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
                Woken::Fed(fed) => self.send(now, fed),
                Woken::MayRead => {}
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
        if let Some(hold) = &mut self.hold {
            if hold.as_mut().poll(cx).is_ready() {
                self.hold = None;
                return Poll::Ready(Woken::MayRead);
            }
        } else if self.output.len() <= OUTPUT_LEN_MAX
            && let Poll::Ready(result) = self.poll_read(cx)
        {
            return Poll::Ready(match result {
                Ok(count) => Woken::Read(count),
                Err(error) => Woken::Failed(error),
            });
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

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let spare = self.input.capacity() - self.input.len();
        if spare < READ_LEN_MIN {
            self.input.reserve(self.read_len);
        }
        let before = self.input.len();
        // A slow limit wants small sips.
        let len = self.link.limit.pace_down().min(self.read_len);
        let mut room = (&mut self.input).limit(len);
        let count = ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))?;
        self.decrypt.apply(&mut self.input[before..]);
        if count >= self.read_len / 2 {
            self.read_len = (self.read_len * 2).min(READ_LEN_MAX);
        }
        Poll::Ready(Ok(count))
    }

    /// Takes all whole messages off the input.
    fn decode(&mut self) -> Result<(), End> {
        let now = Instant::now();
        loop {
            let message = wire::decode(&mut self.input);
            let message = message.map_err(|error| {
                ended(
                    Parting::Hopeless,
                    format!("The peer is not understood: {error}."),
                )
            })?;
            let Some(message) = message else {
                break;
            };
            if let wire::Message::Piece { data, .. } = &message {
                self.unpaid += data.len();
            }
            self.peer.handle_message(now, message).map_err(broken)?;
            self.heed(now)?;
        }
        if self.unpaid > 0 {
            self.pay(now);
        }
        Ok(())
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
        self.report_blocks();
        if self.peer.is_useless(self.done) {
            return Err(ended(
                Parting::Useless,
                "Neither side has anything for the other.",
            ));
        }
        let next = self.peer.poll_timeout();
        if next < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(next.into());
        }
        Ok(())
    }

    fn report(&mut self, report: PeerReport) {
        self.report_blocks();
        // Nobody listens any more when the transfer has ended; the orders close as well then.
        let _ = self.link.reports.send((self.link.id, report));
    }

    fn report_blocks(&mut self) {
        let reports = &self.link.reports;
        if !self.took.is_empty() {
            let took = std::mem::take(&mut self.took);
            let _ = reports.send((self.link.id, PeerReport::Took(took)));
        }
        if !self.released.is_empty() {
            let released = std::mem::take(&mut self.released);
            let _ = reports.send((self.link.id, PeerReport::Released(released)));
        }
    }

    /// Turns events into reports.
    fn heed(&mut self, now: Instant) -> Result<(), End> {
        while let Some(event) = self.peer.poll_event() {
            match event {
                PeerEvent::Block { block, data } => self.take(block, data)?,
                PeerEvent::Released(block) => self.released.push(block),
                PeerEvent::Has(_) if self.peer.is_seeder() => self.report(PeerReport::HasAll),
                PeerEvent::Has(pieces) => self.report(PeerReport::Has(pieces)),
                PeerEvent::Choked(choked) => {
                    if choked {
                        self.window_told = 0;
                        self.release_waiting();
                    }
                    self.report(PeerReport::Choked(choked));
                }
                PeerEvent::Interested(interested) => {
                    if interested {
                        self.allow_fast();
                    }
                    self.report(PeerReport::Interested(interested));
                }
                PeerEvent::Snubbed => {
                    self.snub_told = true;
                    self.released.extend(self.waiting.drain(..));
                    self.report(PeerReport::Snubbed(true));
                }
                // Looked at in `settle`.
                PeerEvent::Asks => {}
                PeerEvent::AllowedFast(piece) => self.report(PeerReport::AllowedFast(piece)),
                PeerEvent::Suggests(piece) => self.report(PeerReport::Suggests(piece)),
                PeerEvent::DhtPort(port) => {
                    if let Some(dht) = self.net.dht().filter(|_| self.torrent.in_dht()) {
                        dht.add_node(SocketAddr::new(self.address.ip(), port));
                    }
                    self.report(PeerReport::DhtPort(port));
                }
                PeerEvent::Extensions(said) => {
                    self.report(PeerReport::Extensions(Box::new(said)));
                }
                PeerEvent::Metadata(payload) => self.heed_metadata(payload),
                PeerEvent::Pex(payload) => self.report(PeerReport::Pex(payload)),
            }
        }
        if self.snub_told && !self.peer.is_snubbing() {
            self.snub_told = false;
            self.report(PeerReport::Snubbed(false));
        }
        let _ = now;
        Ok(())
    }

    /// Requests are answered here.
    fn heed_metadata(&mut self, payload: Bytes) {
        match MetadataMessage::decode(&payload) {
            Some(MetadataMessage::Request { part }) => {
                let answer = match &self.torrent.info {
                    Some(info) => metadata::answer(info, part),
                    None => MetadataMessage::Reject { part },
                };
                self.peer.send_metadata(answer.encode());
            }
            Some(_) => self.report(PeerReport::Metadata(payload)),
            None => {}
        }
    }

    /// Puts a block where it belongs.
    fn take(&mut self, block: Block, data: Bytes) -> Result<(), End> {
        self.took.push(block);
        let Some(assembler) = &self.assembler else {
            return Ok(());
        };
        match assembler.put(block, data, self.address) {
            Ok(Put::Kept | Put::Known) => {}
            Ok(Put::Full(full)) => self.complete(full),
            Err(failure) => {
                self.report(PeerReport::Disk(failure.clone()));
                return Err((Parting::Lost, failure));
            }
        }
        Ok(())
    }

    /// Hashing and writing are no work for the thread that reads; the result is reported even if
    /// this connection has ended by then.
    fn complete(&mut self, full: FullPiece) {
        self.report_blocks();
        let Some(assembler) = self.assembler.clone() else {
            return;
        };
        let (id, reports) = (self.link.id, self.link.reports.clone());
        tokio::task::spawn_blocking(move || {
            let report = match assembler.complete(full) {
                Ok(result) => PeerReport::Piece {
                    piece: result.piece,
                    good: result.good,
                    guilty: result.guilty,
                },
                Err(failure) => PeerReport::Disk(failure),
            };
            let _ = reports.send((id, report));
        });
    }

    /// A peer that has next to nothing gets a start (BEP 6).
    fn allow_fast(&mut self) {
        let IpAddr::V4(ip) = self.address.ip() else {
            return;
        };
        let rich = self.peer.pieces().count_ones() as usize >= ALLOWED_FAST_COUNT;
        if self.allowed_told || rich || self.have.none() {
            return;
        }
        self.allowed_told = true;
        let count = self.have.len();
        let set = allowed_fast_set(
            ip.octets(),
            self.torrent.info_hash,
            count,
            ALLOWED_FAST_COUNT,
        );
        let here = |piece: &PieceIdx| self.have.get(piece.0);
        self.peer.allow_fast(set.into_iter().filter(here).collect());
    }

    fn add_have(&mut self, pieces: &[PieceIdx]) {
        for piece in pieces {
            if piece.0 < self.have.len() {
                self.have.set(piece.0, true);
            }
        }
        self.done = self.done || (!self.have.is_empty() && self.have.all());
    }

    fn obey(&mut self, now: Instant, order: PeerOrder) {
        match order {
            PeerOrder::Request(blocks) => {
                self.window_told = self.window_told.saturating_sub(blocks.len());
                self.waiting.extend(blocks);
                self.request_waiting(now);
            }
            PeerOrder::Cancel(blocks) => {
                for block in blocks {
                    match self.waiting.iter().position(|waiting| *waiting == block) {
                        Some(at) => self.released.extend(self.waiting.remove(at)),
                        None => self.peer.cancel(block),
                    }
                }
            }
            PeerOrder::Have(pieces) => {
                self.add_have(&pieces);
                for piece in pieces {
                    self.peer.send_have_piece(piece);
                }
            }
            PeerOrder::Interested(interested) => self.peer.set_interested(interested),
            PeerOrder::Choke(choke) => self.peer.set_choked(choke),
            PeerOrder::Metadata(payload) => self.peer.send_metadata(payload),
            PeerOrder::Pex(payload) => self.peer.send_pex(payload),
            PeerOrder::Extensions(said) => {
                self.done = said.upload_only.unwrap_or(self.done);
                self.peer.send_extensions(&said);
            }
        }
    }

    /// Asks for what is ordered, as far as the window goes.
    fn request_waiting(&mut self, now: Instant) {
        while !self.waiting.is_empty() && self.peer.window(now) > 0 {
            let Some(block) = self.waiting.pop_front() else {
                return;
            };
            // A block that is open already is answered for once.
            if !self.peer.request(now, block) && !self.may_ask(block) {
                self.released.push(block);
            }
        }
        self.release_waiting();
    }

    /// What the peer will not give is not kept waiting.
    fn release_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (keep, drop) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|block| self.may_ask(*block));
        self.waiting = keep;
        let drop: VecDeque<Block> = drop;
        self.released.extend(drop);
    }

    fn may_ask(&self, block: Block) -> bool {
        let fits = self.torrent.shape.is_some_and(|shape| shape.holds(block));
        fits && self.peer.may_request(block.piece)
    }

    fn tell_window(&mut self, now: Instant) {
        let window = self.peer.window(now).saturating_sub(self.waiting.len());
        let whole = window + self.peer.open_count();
        let news = window.abs_diff(self.window_told);
        let hungry = self.window_told == 0 && self.peer.open_count() <= whole / 2;
        if news > 0 && (hungry || news * WINDOW_NEWS_PART >= whole) {
            self.window_told = window;
            self.report(PeerReport::Window(window));
        }
    }

    /// Blocks for the peer are read and paid for.
    fn send(&mut self, now: Instant, fed: Fed) {
        match fed {
            Fed::Block(block, data) => {
                let len = data.len() as u64;
                if self.peer.send_block(now, block, data) {
                    self.link.up.record(now, len);
                    self.report(PeerReport::Sent(len));
                }
            }
            Fed::Failed(block, failure) => {
                self.peer.refuse(block);
                self.report(PeerReport::Disk(failure));
            }
            Fed::More => {}
        }
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

#[cfg(test)]
mod tests;
