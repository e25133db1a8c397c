//! uTP (BEP 29), TCP's considerate sibling over UDP, at the listening port's number. The DHT may
//! have a part in its sockets: its messages are told apart by their first byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dontfrag::UdpSocketExt as _;
use librqbit_dualstack_sockets::PollSendToVectored;
use librqbit_utp::{SocketOpts, Transport, UtpSocket, UtpSocketUdp};
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::{debug, info};

use super::bt_net::BtNet;
use super::line::Stream;
use super::listen;
use crate::net::Interface;
use crate::net::udp::{Datagrams, Family, Share};

/// Streams of one socket at once.
const STREAM_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(500).unwrap();
/// A stream whose other end acknowledges nothing for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The first question is repeated after so long, and then after twice that again and again.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Of the kernel, for datagrams that wait for us; it gives less where that is its limit.
const RECEIVE_BUFFER_LEN: usize = 4 << 20;
/// Datagrams that wait for who shares the socket.
const OTHERS_COUNT_MAX: usize = 256;
/// After a failure that concerns no stream.
const PAUSE: Duration = Duration::from_secs(1);

/// The sockets, one of each family.
pub struct Utp {
    v4: Option<Port>,
    v6: Option<Port>,
    tasks: Vec<AbortHandle>,
}

struct Port {
    streams: Arc<UtpPort>,
    socket: Arc<UdpSocket>,
    /// What is not uTP, until somebody wants it.
    others: Mutex<Option<Receiver<Datagram>>>,
}

type Datagram = (Vec<u8>, SocketAddr);

impl Utp {
    /// `None` where the port cannot be had for either family. Needs a tokio runtime.
    pub async fn open(net: &Arc<BtNet>, port: u16) -> Option<Self> {
        let interface = net.connection().interfaces.first().cloned();
        let interface = match interface {
            // Looking up a name may wait for a name server.
            Some(name) => {
                let found = tokio::task::spawn_blocking(move || Interface::find(&name)).await;
                Some(found.ok()?.ok()?)
            }
            None => None,
        };
        let open = |ip: IpAddr| match bind(SocketAddr::new(ip, port), interface.as_ref()) {
            Ok(port) => port,
            Err(error) => {
                info!("No uTP at UDP port {port} of {ip}: {error}");
                None
            }
        };
        let v4 = open(Ipv4Addr::UNSPECIFIED.into());
        let v6 = match net.settings().disable_ipv6 {
            true => None,
            false => open(Ipv6Addr::UNSPECIFIED.into()),
        };
        if v4.is_none() && v6.is_none() {
            return None;
        }
        let accepting = [&v4, &v6].into_iter().flatten();
        let accepting =
            accepting.map(|port| tokio::spawn(accept(port.streams.clone(), net.clone())));
        let tasks = accepting.map(|task| task.abort_handle()).collect();
        Some(Self { v4, v6, tasks })
    }

    /// Whether there is a socket of the address's family.
    pub fn reaches(&self, address: SocketAddr) -> bool {
        self.port(address).is_some()
    }

    /// A part in the socket for what is not uTP; once.
    pub fn share(&self, family: Family) -> Option<Datagrams> {
        let port = match family {
            Family::V4 => self.v4.as_ref()?,
            Family::V6 => self.v6.as_ref()?,
        };
        let others = port.others.lock().take()?;
        Some(Datagrams::Shared(Share::new(port.socket.clone(), others)))
    }

    fn port(&self, address: SocketAddr) -> Option<&Port> {
        match address {
            SocketAddr::V4(_) => self.v4.as_ref(),
            SocketAddr::V6(_) => self.v6.as_ref(),
        }
    }

    /// Asks until somebody answers; who has less patience drops the future.
    ///
    /// # Errors
    /// There is no socket for the address, or it is of no use.
    pub async fn dial(&self, address: SocketAddr) -> Result<Box<dyn Stream>, String> {
        let port = self.port(address).ok_or("no socket of this family")?;
        let mut patience = ANSWER_TIME;
        loop {
            match timeout(patience, port.streams.connect(address)).await {
                Ok(Ok(stream)) => return Ok(Box::new(stream)),
                Ok(Err(error)) => return Err(error.to_string()),
                // The crate asks once only, and datagrams get lost.
                Err(_) => patience *= 2,
            }
        }
    }
}

impl Drop for Utp {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn accept(port: Arc<UtpPort>, net: Arc<BtNet>) {
    loop {
        match port.accept().await {
            Ok(stream) => {
                let address = stream.remote_addr();
                listen::receive(Box::new(stream), address, true, &net);
            }
            Err(error) => {
                debug!("no uTP stream could be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// `Ok(None)`: not asked for at this family.
fn bind(
    address: SocketAddr,
    interface: Option<&Interface>,
) -> Result<Option<Port>, Box<dyn std::error::Error>> {
    let mut address = address;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    match interface {
        Some(Interface::Address(ip)) if ip.is_ipv4() == address.is_ipv4() => address.set_ip(*ip),
        Some(Interface::Address(_)) => return Ok(None),
        Some(Interface::Name(name)) => socket.bind_device(Some(name.as_bytes()))?,
        None => {}
    }
    socket.bind(&address.into())?;
    // The kernel's default is overrun by a fast stream.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_LEN);
    let socket = UdpSocket::from_std(socket.into())?;
    // Packets that are too long for the path are to come back, so that their length is found.
    let whole = match address.is_ipv4() {
        true => socket.set_dontfrag_v4(true),
        false => socket.set_dontfrag_v6(true),
    };
    if let Err(error) = whole {
        debug!("packets of uTP may be cut on their way: {error}");
    }
    let options = SocketOpts {
        disable_nagle: true,
        remote_inactivity_timeout: Some(SILENCE_MAX),
        max_live_vsocks: Some(STREAM_COUNT_MAX),
        ..SocketOpts::default()
    };
    let socket = Arc::new(socket);
    let (to_others, others) = channel(OTHERS_COUNT_MAX);
    let mouth = Mouth {
        socket: socket.clone(),
        address,
        to_others,
    };
    Ok(Some(Port {
        streams: UtpSocket::new_with_opts(mouth, Surroundings::default(), options)?,
        socket,
        others: Mutex::new(Some(others)),
    }))
}

type UtpPort = UtpSocket<Mouth, Surroundings>;

/// The crate's default environment, which it does not name in public.
type Surroundings = <UtpSocketUdp as Surrounded>::Environment;

trait Surrounded {
    type Environment;
}

impl<T, E> Surrounded for UtpSocket<T, E> {
    type Environment = E;
}

/// A UDP socket of one family; the crate's own would be for both and log a lot.
struct Mouth {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    to_others: Sender<Datagram>,
}

/// Version 1 in the low half of the first byte, one of five types in the high one.
fn is_utp(datagram: &[u8]) -> bool {
    datagram
        .first()
        .is_some_and(|byte| byte & 0x0f == 1 && byte >> 4 <= 4)
}

impl Transport for Mouth {
    async fn recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        loop {
            // The crate gives up for good on an error; those of a datagram socket pass.
            match self.socket.recv_from(buf).await {
                Ok((len, from)) if is_utp(&buf[..len]) => return Ok((len, from)),
                Ok((len, from)) => {
                    // What finds no room is lost, as datagrams are.
                    let _ = self.to_others.try_send((buf[..len].to_vec(), from));
                }
                Err(error) => {
                    debug!("uTP: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn send_to(&self, buf: &[u8], target: SocketAddr) -> std::io::Result<usize> {
        self.socket.send_to(buf, target).await
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<std::io::Result<usize>> {
        self.socket.poll_send_to(cx, buf, target)
    }

    fn bind_addr(&self) -> SocketAddr {
        self.address
    }
}

impl PollSendToVectored for Mouth {
    fn poll_send_to_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
        target: SocketAddr,
    ) -> Poll<std::io::Result<usize>> {
        self.socket.poll_send_to_vectored(cx, bufs, target)
    }
}
