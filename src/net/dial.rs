//! Dials TCP for everything but most of HTTP (FTP, SFTP, peers, trackers): names, several
//! addresses, interfaces, socket options and proxies, within one deadline.
//!
//! HTTP dials through reqwest, which does the same with the resolver and proxy choice of
//! [`super::client`], but for what [`super::dialled`] says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout_at;
use url::{Host, Url};

use super::interface::Interface;
use super::tunnel::{self, Refusal};
use super::{ResolveError, dns, proxy};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::Secret;
use crate::option::settings::ConnectionSettings;

/// The next address is tried beside the first after so long (RFC 8305, section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const AT_ONCE: Retry = Retry::After(Duration::ZERO);

/// A connection to `host` (a name or an address, IPv6 without brackets) and `port`, through
/// `proxy` if there is one: HTTP (CONNECT), SOCKS 4, 4a, 5 or 5h. Where several interfaces are
/// set, they take turns.
///
/// # Errors
/// An unknown name (19), the deadline passed (2), a proxy that wants other credentials (24), an
/// unusable proxy, name server or interface, or nobody answers (1).
pub async fn tcp(
    host: &str,
    port: u16,
    settings: &ConnectionSettings,
    proxy: Option<&Secret>,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let dialled = async {
        match proxy.filter(|proxy| !proxy.reveal().is_empty()) {
            None => direct(host, port, settings).await,
            Some(proxy) => {
                let proxy = proxy::proxy_url(proxy).map_err(unusable)?;
                through(&proxy, host, port, settings).await
            }
        }
    };
    match timeout_at(deadline.into(), dialled).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(ErrorCode::Timeout, AT_ONCE, "Timeout.")),
    }
}

/// The addresses of a name, in the resolver's order, as [`tcp`] finds them; an address stands
/// for itself.
///
/// # Errors
/// An unknown name (19), or an unusable name server (1).
pub async fn resolve(
    host: &str,
    port: u16,
    settings: &ConnectionSettings,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(address) = literal(host, port) {
        if address.is_ipv6() && settings.disable_ipv6 {
            return Err(unresolved(host, "no usable address"));
        }
        return Ok(vec![address]);
    }
    let servers: &[_] = match settings.async_dns {
        true => &settings.dns_servers,
        false => &[],
    };
    let resolver = dns::resolver(servers, settings.disable_ipv6).map_err(unusable)?;
    let name = host
        .parse()
        .map_err(|_| unresolved(host, "no possible name"))?;
    let found = resolver.resolve(name).await.map_err(|error| {
        let text = error.to_string();
        Failure::new(ErrorCode::NameResolution, Retry::OtherMirror, text)
    })?;
    Ok(found
        .map(|address| SocketAddr::new(address.ip(), port))
        .collect())
}

/// One attempt at one address, with the interface and socket options of the settings.
///
/// # Errors
/// An unusable interface, or what the system says of the connection (code 1).
pub async fn address(
    address: SocketAddr,
    settings: &ConnectionSettings,
) -> Result<TcpStream, Failure> {
    let interface = next_interface(settings).await?;
    attempt(address, settings, interface.as_ref()).await
}

/// The same options on a socket that somebody else opened.
pub fn apply_options(stream: &TcpStream, settings: &ConnectionSettings) {
    let socket = SockRef::from(stream);
    let v6 = stream.peer_addr().is_ok_and(|peer| peer.is_ipv6());
    options(&socket, v6, settings);
}

async fn direct(
    host: &str,
    port: u16,
    settings: &ConnectionSettings,
) -> Result<TcpStream, Failure> {
    let addresses = resolve(host, port, settings).await?;
    let interface = next_interface(settings).await?;
    race(alternate(addresses), settings, interface.as_ref()).await
}

/// The first address to answer wins; each gets a head start before the next joins in.
async fn race(
    addresses: Vec<SocketAddr>,
    settings: &ConnectionSettings,
    interface: Option<&Interface>,
) -> Result<TcpStream, Failure> {
    let mut running = FuturesUnordered::new();
    let mut failure = None;
    for next in addresses {
        running.push(attempt(next, settings, interface));
        tokio::select! {
            Some(result) = running.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER) => {}
        }
    }
    while let Some(result) = running.next().await {
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| not_connected("no usable address")))
}

/// IPv6 and IPv4 by turns, the resolver's first one first (RFC 8305, section 4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut mixed = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        let before = mixed.len();
        mixed.extend(one.next());
        mixed.extend(other.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

async fn attempt(
    address: SocketAddr,
    settings: &ConnectionSettings,
    interface: Option<&Interface>,
) -> Result<TcpStream, Failure> {
    let socket =
        socket(address, settings, interface).map_err(|error| not_connected(&words(&error)))?;
    let stream = socket.connect(address).await;
    stream.map_err(|error| not_connected(&words(&error)))
}

fn socket(
    address: SocketAddr,
    settings: &ConnectionSettings,
    interface: Option<&Interface>,
) -> std::io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    options(&socket, address.is_ipv6(), settings);
    match interface {
        Some(Interface::Address(ip)) => socket.bind(&SocketAddr::new(*ip, 0).into())?,
        Some(Interface::Name(name)) => socket.bind_device(Some(name.as_bytes()))?,
        None if settings.disable_ipv6 && address.is_ipv4() => {
            socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).into())?;
        }
        None => {}
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// What only makes a connection better; a system that refuses it gets the connection anyway.
fn options(socket: &Socket, v6: bool, settings: &ConnectionSettings) {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE));
    if let Some(len) = settings.receive_buffer_len {
        let _ = socket.set_recv_buffer_size(len);
    }
    if settings.dscp > 0 {
        // The code point is the upper six bits of the byte (RFC 2474, section 3).
        let class = u32::from(settings.dscp) << 2;
        let _ = match v6 {
            true => socket.set_tclass_v6(class),
            false => socket.set_tos_v4(class),
        };
    }
}

/// The interface whose turn it is.
async fn next_interface(settings: &ConnectionSettings) -> Result<Option<Interface>, Failure> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let interfaces = &settings.interfaces;
    if interfaces.is_empty() {
        return Ok(None);
    }
    let turn = TURN.fetch_add(1, Ordering::Relaxed) % interfaces.len();
    let name = interfaces[turn].clone();
    // A name that is no interface is looked up, and that may wait for a name server.
    let found = tokio::task::spawn_blocking(move || Interface::find(&name)).await;
    match found {
        Ok(found) => found.map(Some),
        Err(error) => Err(unusable(error)),
    }
}

async fn through(
    proxy: &Url,
    host: &str,
    port: u16,
    settings: &ConnectionSettings,
) -> Result<TcpStream, Failure> {
    let (proxy_host, proxy_port) =
        place_of(proxy).ok_or_else(|| unusable("the proxy has no host"))?;
    let mut stream = direct(&proxy_host, proxy_port, settings).await?;
    let shaken = match proxy.scheme() {
        "socks5h" => tunnel::socks5(&mut stream, proxy, host, port).await,
        "socks4a" => tunnel::socks4(&mut stream, proxy, host, port).await,
        "socks5" | "socks4" => {
            let mut addresses = resolve(host, port, settings).await?;
            if proxy.scheme() == "socks4" {
                addresses.retain(SocketAddr::is_ipv4);
            }
            let first = addresses.first();
            let first = first.ok_or_else(|| unresolved(host, "no usable address"))?;
            let ip = first.ip().to_string();
            match proxy.scheme() {
                "socks4" => tunnel::socks4(&mut stream, proxy, &ip, port).await,
                _ => tunnel::socks5(&mut stream, proxy, &ip, port).await,
            }
        }
        _ => tunnel::http_connect(&mut stream, proxy, host, port).await,
    };
    match shaken {
        Ok(()) => Ok(stream),
        Err(Refusal::Credentials) => Err(proxy::unauthorized()),
        Err(Refusal::Broken(error)) => Err(not_connected(&format!("the proxy: {}", words(&error)))),
        Err(Refusal::Said(text)) => Err(not_connected(&format!("the proxy: {text}"))),
        // It will say so again.
        Err(Refusal::Final(text)) => Err(Failure {
            retry: Retry::OtherMirror,
            ..not_connected(&format!("the proxy: {text}"))
        }),
    }
}

fn place_of(proxy: &Url) -> Option<(String, u16)> {
    let host = match proxy.host()? {
        Host::Ipv6(ip) => ip.to_string(),
        Host::Ipv4(ip) => ip.to_string(),
        // Schemes the `url` crate does not know keep the brackets out, but not the type.
        Host::Domain(name) => name.to_owned(),
    };
    let default = match proxy.scheme() {
        "http" => 80,
        "https" => 443,
        _ => 1080,
    };
    Some((host, proxy.port().unwrap_or(default)))
}

/// An address, an IPv6 one with or without zone.
fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(ip) = host.parse() {
        return Some(SocketAddr::new(ip, port));
    }
    let (ip, zone) = host.split_once('%')?;
    let ip = ip.parse().ok()?;
    let index = super::interface::index_of(zone)?;
    Some(std::net::SocketAddrV6::new(ip, port, 0, index).into())
}

fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

fn not_connected(cause: &str) -> Failure {
    let text = format!("Failed to establish connection, cause: {cause}");
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

fn unresolved(host: &str, cause: &str) -> Failure {
    let error = ResolveError {
        host: host.to_owned(),
        cause: cause.to_owned(),
    };
    Failure::new(
        ErrorCode::NameResolution,
        Retry::OtherMirror,
        error.to_string(),
    )
}

fn unusable(cause: impl std::fmt::Display) -> Failure {
    let text = format!("No connection can be made: {cause}");
    // A mirror of another scheme may have another proxy.
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

#[cfg(test)]
mod tests;
