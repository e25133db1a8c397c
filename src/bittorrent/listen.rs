//! Peers that dial us: who they mean is read off their first bytes, plain or encrypted, and they
//! are handed to that torrent.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::bt_net::{BtNet, canonical};
use super::handshake::INFO_HASH_END;
use super::line::{Line, Stream};
use super::mse::{self, CryptoPolicy, Responder};
use crate::base::rng::{Rng, random_bytes};
use crate::format::info_hash::InfoHash;
use crate::net::Interface;

/// A handshake that takes longer comes from nobody of use.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(20);
/// Connections whose torrent is not known yet; more are turned away.
const STRANGER_COUNT_MAX: usize = 200;
/// Waiting to be accepted by us.
const BACKLOG: i32 = 128;
/// After the system gave no connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// A peer that has dialled us and said which torrent it means. Its handshake is still to be read.
pub struct Inbound {
    pub address: SocketAddr,
    pub info_hash: InfoHash,
    pub(super) line: Line,
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbound({})", self.address)
    }
}

/// Tells apart who joined for the same torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteId(u64);

/// Which torrents can be meant.
pub struct Routes {
    state: Mutex<RouteState>,
    /// A permit for each connection whose torrent is not known yet.
    strangers: Arc<Semaphore>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            strangers: Arc::new(Semaphore::new(STRANGER_COUNT_MAX)),
        }
    }
}

#[derive(Default)]
struct RouteState {
    next_id: u64,
    routes: HashMap<InfoHash, Route>,
    /// By what encrypted handshakes name torrents by.
    keys: HashMap<[u8; 20], InfoHash>,
}

struct Route {
    id: RouteId,
    policy: CryptoPolicy,
    sender: UnboundedSender<Box<Inbound>>,
}

impl Routes {
    /// A later one takes an earlier one's place.
    pub fn add(
        &self,
        info_hash: InfoHash,
        policy: CryptoPolicy,
        sender: UnboundedSender<Box<Inbound>>,
    ) -> RouteId {
        let mut state = self.state.lock();
        state.next_id += 1;
        let id = RouteId(state.next_id);
        let route = Route { id, policy, sender };
        state.routes.insert(info_hash, route);
        state.keys.insert(mse::torrent_key(info_hash), info_hash);
        id
    }

    pub fn remove(&self, info_hash: InfoHash, id: RouteId) {
        let mut state = self.state.lock();
        if state
            .routes
            .get(&info_hash)
            .is_some_and(|route| route.id == id)
        {
            state.routes.remove(&info_hash);
            state.keys.remove(&mse::torrent_key(info_hash));
        }
    }

    fn policy(&self, info_hash: InfoHash) -> Option<CryptoPolicy> {
        let state = self.state.lock();
        state.routes.get(&info_hash).map(|route| route.policy)
    }

    fn by_key(&self, key: &[u8; 20]) -> Option<(InfoHash, CryptoPolicy)> {
        let state = self.state.lock();
        let info_hash = *state.keys.get(key)?;
        Some((info_hash, state.routes.get(&info_hash)?.policy))
    }

    fn send(&self, inbound: Box<Inbound>) {
        let state = self.state.lock();
        if let Some(route) = state.routes.get(&inbound.info_hash) {
            // Otherwise the torrent is just leaving.
            let _ = route.sender.send(inbound);
        }
    }
}

/// The listening sockets; dropped they close.
pub struct Listener {
    port: Option<u16>,
    tasks: Vec<AbortHandle>,
}

impl Listener {
    /// Nobody reaches us.
    pub fn none() -> Self {
        Self {
            port: None,
            tasks: Vec::new(),
        }
    }

    /// Takes the first free port of `listen-port`, for IPv4 and IPv6 alike; any one where none is
    /// named; on the interface that connections leave from, as aria2 does. Needs a tokio runtime.
    pub async fn open(net: &Arc<BtNet>) -> Self {
        let settings = net.settings();
        let interface = match net.connection().interfaces.first().cloned() {
            // Looking up a name may wait for a name server.
            Some(name) => {
                let found = tokio::task::spawn_blocking(move || Interface::find(&name)).await;
                match found {
                    Ok(Ok(interface)) => Some(interface),
                    Ok(Err(failure)) => return Self::none_for(&failure.message),
                    Err(_) => return Self::none(),
                }
            }
            None => None,
        };
        let ports = settings.listen_ports.iter().cloned().flatten();
        let any = settings.listen_ports.is_empty().then_some(0);
        let mut failure = None;
        for port in ports.chain(any).filter_map(|port| u16::try_from(port).ok()) {
            match bind(port, settings.disable_ipv6, interface.as_ref()) {
                Ok((port, listeners)) => {
                    info!("Peers reach us at TCP port {port}");
                    let run = |listener| tokio::spawn(accept(listener, net.clone())).abort_handle();
                    return Self {
                        port: Some(port),
                        tasks: listeners.into_iter().map(run).collect(),
                    };
                }
                Err(error) => failure = Some(error),
            }
        }
        let why = failure.map_or_else(|| "there is none".to_owned(), |error| error.to_string());
        Self::none_for(&why)
    }

    fn none_for(why: &str) -> Self {
        warn!(
            "No port of listen-port can be had ({why}): peers cannot reach us, we only dial them."
        );
        Self::none()
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl Listener {
    /// Nobody is let in any more.
    pub fn close(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

/// Both families at one port, which is told. A system without IPv6 is served with IPv4.
fn bind(
    mut port: u16,
    disable_ipv6: bool,
    interface: Option<&Interface>,
) -> std::io::Result<(u16, Vec<TcpListener>)> {
    let mut listeners = Vec::new();
    let v4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let v6 = (!disable_ipv6).then_some(IpAddr::from(Ipv6Addr::UNSPECIFIED));
    for any in [Some(v4), v6].into_iter().flatten() {
        let ip = match interface {
            Some(Interface::Address(own)) if own.is_ipv4() != any.is_ipv4() => continue,
            Some(Interface::Address(own)) => *own,
            _ => any,
        };
        match socket(SocketAddr::new(ip, port), interface) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if listeners.is_empty() => return Err(error),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => debug!("no IPv6 at TCP port {port}: {error}"),
        }
    }
    match listeners.is_empty() {
        true => Err(std::io::ErrorKind::AddrNotAvailable.into()),
        false => Ok((port, listeners)),
    }
}

fn socket(address: SocketAddr, interface: Option<&Interface>) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(Interface::Name(name)) = interface {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, net: Arc<BtNet>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                crate::net::dial::apply_options(&stream, net.connection());
                receive(Box::new(stream), address, false, &net);
            }
            Err(error) => {
                debug!("no connection could be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Finds out in a task of its own which torrent a new connection means.
pub(super) fn receive(stream: Box<dyn Stream>, address: SocketAddr, utp: bool, net: &Arc<BtNet>) {
    let address = canonical(address);
    if net.is_blocked(address.ip()) {
        debug!("{address} is on the blocklist");
        return;
    }
    let routes = net.routes().clone();
    let Ok(stranger) = routes.strangers.clone().try_acquire_owned() else {
        debug!("{address} turned away: too many handshakes at once");
        return;
    };
    tokio::spawn(async move {
        let line = Line::plain(stream, utp);
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, identify(line, &routes)).await {
            Ok(Ok((line, info_hash))) => routes.send(Box::new(Inbound {
                address,
                info_hash,
                line,
            })),
            Ok(Err(why)) => debug!("{address} turned away: {why}"),
            Err(_) => debug!("{address} turned away: its handshake takes too long"),
        }
        drop(stranger);
    });
}

/// Reads as far as the info hash; all that was read of the inner handshake stays in the line.
async fn identify(mut line: Line, routes: &Routes) -> Result<(Line, InfoHash), String> {
    let words = |error: std::io::Error| error.to_string();
    let plain = loop {
        match mse::is_plain(&line.input) {
            Some(plain) if !line.input.is_empty() => break plain,
            _ => {
                let len = line.input.len() + 1;
                line.fill(len).await.map_err(words)?;
            }
        }
    };
    let meant = match plain {
        true => None,
        false => Some(respond(&mut line, routes).await?),
    };
    line.fill(INFO_HASH_END).await.map_err(words)?;
    if mse::is_plain(&line.input) != Some(true) {
        return Err("it speaks another protocol".to_owned());
    }
    let (_, hash) = line.input[..INFO_HASH_END].split_at(INFO_HASH_END - 20);
    let info_hash = InfoHash(hash.try_into().map_err(|_| "no info hash")?);
    let policy = routes.policy(info_hash).ok_or("no such torrent is here")?;
    match meant {
        Some(meant) if meant != info_hash => Err("it means two torrents at once".to_owned()),
        None if policy.required => Err("encryption is required".to_owned()),
        _ => Ok((line, info_hash)),
    }
}

/// The encrypted handshake of somebody who dialled us.
async fn respond(line: &mut Line, routes: &Routes) -> Result<InfoHash, String> {
    let mut responder = Responder::new(random_bytes(), &mut Rng::from_entropy());
    loop {
        let progress = responder.handle_input(&mut line.input, |key| routes.by_key(key));
        let progress = progress.map_err(|error| error.to_string())?;
        let output = responder.poll_output();
        if !output.is_empty() {
            // The ciphers of the line are not set yet: this goes out as it is.
            line.send(&output)
                .await
                .map_err(|error| error.to_string())?;
        }
        if let Some(established) = progress {
            let rest = line.input.split();
            line.input.extend_from_slice(&established.initial);
            line.input.extend_from_slice(&rest);
            line.encrypt = established.encrypt;
            line.decrypt = established.decrypt;
            return Ok(established.info_hash);
        }
        let len = line.input.len() + 1;
        line.fill(len).await.map_err(|error| error.to_string())?;
    }
}
