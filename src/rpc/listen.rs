//! The listening sockets: IPv4 and IPv6 side by side, plain or TLS.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::base::error::{ErrorCode, Failure};
use crate::option::settings::RpcSettings;

use super::http::{self, Site};
use super::stall_guard::StallGuard;

const BACKLOG: i32 = 1024;
/// How long to wait when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long one that is turned away may take to read why.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
    Retry-After: 5\r\nConnection: close\r\n\r\n";

/// Binds one socket for each family. With port 0 both get the same free port.
///
/// # Errors
/// Neither family could be bound; the text names address and reason.
pub fn bind(settings: &RpcSettings) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    let mut failure = None;
    let mut port = settings.port;
    for ip in addresses(settings) {
        let address = SocketAddr::new(ip, port);
        match open(address) {
            Ok(listener) => {
                if let Ok(bound) = listener.local_addr() {
                    port = bound.port();
                }
                listeners.push(listener);
            }
            Err(error) => {
                warn!(%address, %error, "RPC cannot listen here");
                failure.get_or_insert((address, error));
            }
        }
    }
    match failure {
        Some((address, error)) if listeners.is_empty() => Err(Failure::fatal(
            ErrorCode::Unknown,
            format!("RPC cannot listen on {address}: {error}"),
        )),
        _ => Ok(listeners),
    }
}

fn addresses(settings: &RpcSettings) -> Vec<IpAddr> {
    let (v4, v6) = match settings.listen_all {
        true => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        false => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
    };
    let mut addresses = vec![IpAddr::from(v4)];
    if !settings.disable_ipv6 {
        addresses.push(v6.into());
    }
    addresses
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Takes connections until the task is dropped, and its connections with it.
pub async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, site: Arc<Site>) {
    let mut connections = JoinSet::new();
    let mut trouble = Trouble::default();
    let mut spare = Spare::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    trouble.over();
                    let Ok(place) = Arc::clone(&site.places).try_acquire_owned() else {
                        turn_away(stream, tls.is_some(), &site, &mut connections);
                        continue;
                    };
                    debug!(%peer, "RPC connection");
                    let (tls, site) = (tls.clone(), Arc::clone(&site));
                    connections.spawn(async move {
                        serve(stream, tls, site).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    trouble.tell(&error);
                    spare.turn_away(&listener).await;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Tells of failing to take connections once, until it works again.
#[derive(Default)]
struct Trouble {
    told: bool,
}

impl Trouble {
    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            warn!(%error, "RPC cannot take connections for now");
        }
    }

    fn over(&mut self) {
        if std::mem::take(&mut self.told) {
            info!("RPC takes connections again");
        }
    }
}

/// Answers a connection that there is no place for. TLS would take a handshake to say so: such a
/// connection is just closed.
fn turn_away(stream: TcpStream, secure: bool, site: &Site, connections: &mut JoinSet<()>) {
    if !site.told_of_crowd.swap(true, Ordering::Relaxed) {
        warn!(
            "RPC has as many connections as it may; further ones are answered 503 (--rpc-max-connections)"
        );
    }
    if secure {
        return;
    }
    let Ok(seat) = Arc::clone(&site.farewells).try_acquire_owned() else {
        return;
    };
    connections.spawn(async move {
        // Closing at once would reset the connection before the answer is read.
        let farewell = async {
            let mut stream = stream;
            stream.write_all(BUSY).await?;
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // What comes of it does not matter: the connection ends either way.
        let _ = tokio::time::timeout(FAREWELL_MAX, farewell).await;
        drop(seat);
    });
}

/// A file descriptor to take the next connection with when the process has run out of them, so
/// that it is told and closed instead of waiting without a word.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    async fn turn_away(&mut self, listener: &TcpListener) {
        if self.0.take().is_some() {
            let next = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
            if let Ok(Ok((stream, _))) = next {
                // An empty socket takes these few bytes at once.
                let _ = stream.try_write(BUSY);
            }
        }
        *self = Self::new();
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, site: Arc<Site>) {
    // Answers are small and whole: waiting to fill packets only delays them.
    let _ = stream.set_nodelay(true);
    let stream = StallGuard::new(stream, site.patience.write);
    let Some(tls) = tls else {
        return http::serve(stream, site).await;
    };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => http::serve(stream, site).await,
        Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
        Err(_) => debug!("TLS handshake took too long"),
    }
}
