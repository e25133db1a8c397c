//! UDP sockets that many downloads share: bound to the first free port of a list, on the interface
//! of the settings.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Receiver;

use super::interface::Interface;
use crate::option::settings::ConnectionSettings;

/// Holds the answers to a burst of questions.
const RECEIVE_BUFFER_LEN: usize = 512 * 1024;

/// Which addresses a socket talks to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

/// A socket of one's own, or a part in one that somebody else reads.
pub enum Datagrams {
    Own(UdpSocket),
    Shared(Share),
}

/// What the owner of a socket has no use for comes here. Sending goes past the owner.
pub struct Share {
    socket: Arc<UdpSocket>,
    inbox: Mutex<Receiver<(Vec<u8>, SocketAddr)>>,
}

impl Share {
    pub fn new(socket: Arc<UdpSocket>, inbox: Receiver<(Vec<u8>, SocketAddr)>) -> Self {
        Self {
            socket,
            inbox: Mutex::new(inbox),
        }
    }
}

impl Datagrams {
    fn socket(&self) -> &UdpSocket {
        match self {
            Self::Own(socket) => socket,
            Self::Shared(share) => &share.socket,
        }
    }

    /// # Errors
    /// As the system has it; the same holds for the others, which do what those of
    /// [`UdpSocket`] do.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// # Errors
    /// See [`Self::local_addr`].
    pub async fn writable(&self) -> io::Result<()> {
        self.socket().writable().await
    }

    /// # Errors
    /// See [`Self::local_addr`].
    pub fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket().try_send_to(datagram, to)
    }

    /// Cancel safe.
    ///
    /// # Errors
    /// See [`Self::local_addr`].
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Self::Own(socket) => socket.recv_from(buffer).await,
            Self::Shared(share) => {
                match std::future::poll_fn(|cx| share.inbox.lock().poll_recv(cx)).await {
                    Some(received) => Ok(copied(&received, buffer)),
                    // The owner has gone: nothing comes any more.
                    None => std::future::pending().await,
                }
            }
        }
    }

    /// # Errors
    /// See [`Self::local_addr`].
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Self::Own(socket) => socket.try_recv_from(buffer),
            Self::Shared(share) => match share.inbox.lock().try_recv() {
                Ok(received) => Ok(copied(&received, buffer)),
                Err(_) => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }
}

fn copied((datagram, from): &(Vec<u8>, SocketAddr), buffer: &mut [u8]) -> (usize, SocketAddr) {
    let len = datagram.len().min(buffer.len());
    buffer[..len].copy_from_slice(&datagram[..len]);
    (len, *from)
}

/// A socket of one family on the first free port of `ports`, any port where that is empty. It is
/// bound to `own`, or else to the first interface of the settings, or else to all. Needs a tokio
/// runtime; a host name as interface is looked up, which blocks.
///
/// # Errors
/// The interface is unknown or has no address of the family; no port is free; the system knows no
/// such family.
pub fn bind(
    family: Family,
    own: Option<IpAddr>,
    ports: &[RangeInclusive<u32>],
    settings: &ConnectionSettings,
) -> io::Result<UdpSocket> {
    let interface = match (own, settings.interfaces.first()) {
        (Some(ip), _) => Some(Interface::Address(ip)),
        (None, Some(name)) => {
            Some(Interface::find(name).map_err(|failure| io::Error::other(failure.message))?)
        }
        (None, None) => None,
    };
    let any_port = [0..=0];
    let ports = if ports.is_empty() { &any_port } else { ports };
    let mut error = None;
    for port in ports.iter().cloned().flatten() {
        let Ok(port) = u16::try_from(port) else {
            continue;
        };
        match bind_one(family, port, interface.as_ref()) {
            Ok(socket) => return Ok(socket),
            Err(busy) if busy.kind() == io::ErrorKind::AddrInUse => error = Some(busy),
            Err(other) => return Err(other),
        }
    }
    Err(error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn bind_one(family: Family, port: u16, interface: Option<&Interface>) -> io::Result<UdpSocket> {
    let (domain, mut ip) = match family {
        Family::V4 => (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Family::V6 => (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    // What only makes it better; the system may refuse it.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN);
    match interface {
        Some(Interface::Address(own)) if own.is_ipv4() == ip.is_ipv4() => ip = *own,
        Some(Interface::Address(_)) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        Some(Interface::Name(name)) => socket.bind_device(Some(name.as_bytes()))?,
        None => {}
    }
    socket.bind(&SocketAddr::new(ip, port).into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;

    #[tokio::test]
    async fn the_first_free_port_on_the_interface() {
        let mut settings = ConnectionSettings::from(&OptionSet::new());
        let first = bind(Family::V4, None, &[], &settings).unwrap();
        let port = u32::from(first.local_addr().unwrap().port());
        assert!(first.local_addr().unwrap().ip().is_unspecified());
        let busy = bind(Family::V4, None, &[port..=port], &settings);
        assert_eq!(busy.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let next = bind(Family::V4, None, &[port..=port + 50], &settings).unwrap();
        assert!(u32::from(next.local_addr().unwrap().port()) > port);
        settings.interfaces = vec!["127.0.0.1".to_owned()];
        let local = bind(Family::V4, None, &[], &settings).unwrap();
        assert!(local.local_addr().unwrap().ip().is_loopback());
        assert!(bind(Family::V6, None, &[], &settings).is_err());
        settings.interfaces = vec!["no such thing".to_owned()];
        assert!(bind(Family::V4, None, &[], &settings).is_err());
    }
}
