//! Makes a connection with a peer, up to the end of BitTorrent's handshake: TCP or uTP, past or
//! through a SOCKS proxy, encrypted or plain.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tracing::debug;

use super::bt_net::BtNet;
use super::handshake::{HANDSHAKE_LEN, Handshake};
use super::line::{Line, Stream};
use super::listen::Inbound;
use super::mse::Initiator;
use super::share::TorrentShare;
use super::swarm::Parting;
use super::utp::Utp;
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::rng::{Rng, random_bytes};
use crate::net::dial;
use crate::option::settings::ProxySettings;

/// Peers that do not answer within this time are mostly not there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);
/// uTP is tried beside TCP when TCP has not answered after so long.
const TCP_HEAD_START: Duration = Duration::from_secs(3);
/// For each of the two handshakes.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(20);

/// Whether peers are reached through a proxy only: `all-proxy` names one that carries anything.
pub fn hides(proxy: &ProxySettings) -> bool {
    let all = proxy.all.as_ref();
    all.is_some_and(|proxy| proxy.reveal().starts_with("socks"))
}

/// A connection on which peer messages are next.
pub struct Greeted {
    pub line: Line,
    pub remote: Handshake,
}

/// Why there is none.
pub struct NotGreeted {
    pub parting: Parting,
    pub failure: Failure,
    /// The connection stood, but the encrypted handshake came to nothing.
    mse: bool,
    /// The connection stood, but the other end hung up without a word.
    mute: bool,
}

impl NotGreeted {
    fn new(parting: Parting, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            parting,
            failure: Failure::new(code, Retry::OtherMirror, message),
            mse: false,
            mute: false,
        }
    }

    fn stream(error: &std::io::Error, line: &Line) -> Self {
        let message = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "The peer hung up in the handshake.".to_owned(),
            _ => format!("The handshake with the peer failed: {error}"),
        };
        Self {
            mute: !line.heard,
            ..Self::new(Parting::Failed, ErrorCode::Network, message)
        }
    }

    fn late() -> Self {
        let message = "The peer's handshake takes too long.";
        Self::new(Parting::Failed, ErrorCode::Timeout, message)
    }

    fn mse(self) -> Self {
        Self { mse: true, ..self }
    }
}

/// Our side of the handshake.
pub fn hello(torrent: &TorrentShare, net: &BtNet) -> Handshake {
    Handshake {
        info_hash: torrent.info_hash,
        peer_id: torrent.ours,
        fast: true,
        extended: true,
        dht: torrent.in_dht() && net.dht().is_some(),
    }
}

/// Dials a peer. `plain`: without encryption, unless that is required.
///
/// # Errors
/// It cannot be reached, is blocked, is ourselves, or has nothing to do with this torrent.
pub async fn dial(
    address: SocketAddr,
    plain: bool,
    torrent: &TorrentShare,
    net: &BtNet,
) -> Result<Greeted, NotGreeted> {
    if net.is_blocked(address.ip()) {
        let message = "The peer is on the blocklist.";
        return Err(NotGreeted::new(
            Parting::Hopeless,
            ErrorCode::Unknown,
            message,
        ));
    }
    // A proxy has an address of its own, and may reach any other.
    if address.is_ipv6() && torrent.connection.disable_ipv6 && !torrent.hidden() {
        let message = "The peer has an IPv6 address, and IPv6 is off.";
        return Err(NotGreeted::new(
            Parting::Hopeless,
            ErrorCode::Unknown,
            message,
        ));
    }
    let line = connect(address, None, torrent, net).await?;
    let over_tcp = !line.utp && !torrent.hidden();
    let failure = match shake_hands(address, line, plain, torrent, net).await {
        Err(failure) if failure.mute && over_tcp && utp(address, net).is_some() => failure,
        done => return done,
    };
    // Clients that have TCP turned off take the connection all the same, and hang up.
    debug!("{address}: {}; it is dialled by uTP", failure.failure);
    match connect(address, Some(Carrier::Utp), torrent, net).await {
        Ok(line) => shake_hands(address, line, plain, torrent, net).await,
        // What TCP said is the more telling.
        Err(_) => Err(failure),
    }
}

/// What carries the stream.
#[derive(Clone, Copy)]
enum Carrier {
    Tcp,
    Utp,
}

/// Our handshake on a new connection: encrypted, and on another one plain where that fails and may
/// be.
async fn shake_hands(
    address: SocketAddr,
    line: Line,
    plain: bool,
    torrent: &TorrentShare,
    net: &BtNet,
) -> Result<Greeted, NotGreeted> {
    let required = torrent.crypto().required;
    let carrier = match line.utp {
        true => Carrier::Utp,
        false => Carrier::Tcp,
    };
    if plain && !required {
        return greet(line, torrent, net, true).await;
    }
    let failure = match encrypted(line, torrent, net).await {
        Err(failure) if failure.mse && !required => failure,
        done => return done,
    };
    debug!(
        "{address}: {}; it is dialled again without encryption",
        failure.failure
    );
    let line = connect(address, Some(carrier), torrent, net).await?;
    greet(line, torrent, net, true).await
}

fn utp(address: SocketAddr, net: &BtNet) -> Option<&Utp> {
    net.utp().filter(|utp| utp.reaches(address))
}

/// Answers a peer that has dialled us.
///
/// # Errors
/// Its handshake does not end, or it is ourselves.
pub async fn answer(
    inbound: Inbound,
    torrent: &TorrentShare,
    net: &BtNet,
) -> Result<Greeted, NotGreeted> {
    greet(inbound.line, torrent, net, true).await
}

/// By TCP, and by uTP where that fails, unless `carrier` names one.
async fn connect(
    address: SocketAddr,
    carrier: Option<Carrier>,
    torrent: &TorrentShare,
    net: &BtNet,
) -> Result<Line, NotGreeted> {
    let time = torrent.connection.connect_timeout.min(CONNECT_TIME_MAX);
    let unreachable =
        |why: Failure| NotGreeted::new(Parting::Failed, ErrorCode::Network, why.message);
    let late = || {
        NotGreeted::new(
            Parting::Failed,
            ErrorCode::Timeout,
            "The peer does not answer.",
        )
    };
    if torrent.hidden() {
        let host = address.ip().to_string();
        let proxy = torrent.proxy.all.as_ref();
        let deadline = Instant::now() + time;
        let stream = dial::tcp(&host, address.port(), &torrent.connection, proxy, deadline);
        let stream = stream.await.map_err(unreachable)?;
        return Ok(over_tcp(stream));
    }
    let tcp = timeout(time, dial::address(address, &torrent.connection));
    let utp = match (carrier, utp(address, net)) {
        (Some(Carrier::Utp), Some(utp)) => {
            let stream = timeout(time, utp.dial(address)).await.map_err(|_| late())?;
            let refused = |why| NotGreeted::new(Parting::Failed, ErrorCode::Network, why);
            return Ok(Line::plain(stream.map_err(refused)?, true));
        }
        (None, Some(utp)) => utp,
        _ => {
            let stream = tcp.await.map_err(|_| late())?.map_err(unreachable)?;
            return Ok(over_tcp(stream));
        }
    };
    tokio::pin!(tcp);
    let mut tcp_failure = None;
    match timeout(TCP_HEAD_START, &mut tcp).await {
        Ok(Ok(Ok(stream))) => return Ok(over_tcp(stream)),
        Ok(Ok(Err(failure))) => tcp_failure = Some(unreachable(failure)),
        Ok(Err(_)) => tcp_failure = Some(late()),
        Err(_) => {}
    }
    let utp = timeout(time, utp.dial(address));
    tokio::pin!(utp);
    let mut utp_failed = false;
    loop {
        tokio::select! {
            result = &mut tcp, if tcp_failure.is_none() => match result {
                Ok(Ok(stream)) => return Ok(over_tcp(stream)),
                Ok(Err(failure)) => tcp_failure = Some(unreachable(failure)),
                Err(_) => tcp_failure = Some(late()),
            },
            result = &mut utp, if !utp_failed => match result {
                Ok(Ok(stream)) => return Ok(Line::plain(stream, true)),
                Ok(Err(why)) => {
                    debug!("{address}: no uTP: {why}");
                    utp_failed = true;
                }
                Err(_) => utp_failed = true,
            },
            // What TCP said is the more telling.
            else => return Err(tcp_failure.unwrap_or_else(late)),
        }
    }
}

fn over_tcp(stream: TcpStream) -> Line {
    let stream: Box<dyn Stream> = Box::new(stream);
    Line::plain(stream, false)
}

/// The encrypted handshake, with ours inside.
async fn encrypted(
    mut line: Line,
    torrent: &TorrentShare,
    net: &BtNet,
) -> Result<Greeted, NotGreeted> {
    let hello = hello(torrent, net).encode().to_vec();
    let rng = &mut Rng::from_entropy();
    let initiator = Initiator::new(
        torrent.info_hash,
        torrent.crypto(),
        random_bytes(),
        hello,
        rng,
    );
    match timeout(HANDSHAKE_TIME_MAX, initiate(&mut line, initiator)).await {
        Ok(Ok(())) => greet(line, torrent, net, false).await,
        Ok(Err(failure)) => Err(failure.mse()),
        Err(_) => Err(NotGreeted::late().mse()),
    }
}

async fn initiate(line: &mut Line, mut initiator: Initiator) -> Result<(), NotGreeted> {
    loop {
        let output = initiator.poll_output();
        if !output.is_empty() {
            // The ciphers of the line are not set yet: this goes out as it is.
            let sent = line.send(&output).await;
            sent.map_err(|error| NotGreeted::stream(&error, line))?;
        }
        let progress = initiator.handle_input(&mut line.input).map_err(|error| {
            let message = format!("The encrypted handshake failed: {error}");
            NotGreeted::new(Parting::Failed, ErrorCode::Network, message)
        })?;
        if let Some(established) = progress {
            line.encrypt = established.encrypt;
            line.decrypt = established.decrypt;
            return Ok(());
        }
        let pending = initiator.has_output();
        if !pending {
            let len = line.input.len() + 1;
            let filled = line.fill(len).await;
            filled.map_err(|error| NotGreeted::stream(&error, line))?;
        }
    }
}

/// BitTorrent's handshake. `say`: ours has not been sent yet.
async fn greet(
    mut line: Line,
    torrent: &TorrentShare,
    net: &BtNet,
    say: bool,
) -> Result<Greeted, NotGreeted> {
    let hello = hello(torrent, net);
    let exchange = async {
        if say {
            line.send(&hello.encode()).await?;
        }
        line.fill(HANDSHAKE_LEN).await
    };
    let deadline = Instant::now() + HANDSHAKE_TIME_MAX;
    match timeout_at(deadline.into(), exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(NotGreeted::stream(&error, &line)),
        Err(_) => return Err(NotGreeted::late()),
    }
    let bytes = line.input.split_to(HANDSHAKE_LEN);
    let remote = bytes.first_chunk().and_then(Handshake::decode);
    let hopeless = |message: &str| NotGreeted::new(Parting::Hopeless, ErrorCode::Network, message);
    let Some(remote) = remote else {
        return Err(hopeless("The peer speaks another protocol."));
    };
    if remote.info_hash != torrent.info_hash {
        return Err(hopeless("The peer answers for another torrent."));
    }
    if remote.peer_id == torrent.ours {
        return Err(hopeless("The peer is ourselves."));
    }
    Ok(Greeted { line, remote })
}
