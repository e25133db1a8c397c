//! The control connection: commands out, replies in, each within the time that the settings allow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::fault;
use super::reply::{self, Reply};
use super::wire::Wire;
use crate::base::error::{ErrorCode, Failure};
use crate::source::fault::timed_out;

/// Encrypts connections to one server. The data connections resume the session of the control
/// connection, as some servers insist; so each control connection has a memory of its own.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// # Errors
    /// The host's name cannot be that of a certificate (code 1).
    pub fn new(config: &ClientConfig, host: &str) -> Result<Self, Failure> {
        let mut config = config.clone();
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Failure::fatal(
                ErrorCode::Unknown,
                format!("{host} cannot be the name of a TLS server"),
            )
        })?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    pub async fn wrap(&self, socket: TcpStream, patience: Duration) -> Result<Wire, Failure> {
        let connecting = self.connector.connect(self.name.clone(), socket);
        match timeout(patience, connecting).await {
            Ok(Ok(stream)) => Ok(Wire::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(fault::broken(&error)),
            Err(_) => Err(timed_out()),
        }
    }
}

pub struct Control {
    wire: Wire,
    buffer: BytesMut,
    patience: Duration,
    /// A command was sent whose reply has not been read.
    pub waiting: bool,
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

impl Control {
    /// # Errors
    /// The socket is closed already.
    pub fn new(wire: Wire, patience: Duration) -> Result<Self, Failure> {
        let socket = wire.socket();
        let addresses = socket.local_addr().and_then(|local| {
            let peer = socket.peer_addr()?;
            Ok((local, peer))
        });
        let (local, peer) = addresses.map_err(|error| fault::broken(&error))?;
        Ok(Self {
            wire,
            buffer: BytesMut::new(),
            patience,
            waiting: false,
            local,
            peer,
        })
    }

    /// Encrypts what follows.
    pub async fn encrypt(self, tls: &Tls) -> Result<Self, Failure> {
        let Wire::Plain(socket) = self.wire else {
            return Ok(self);
        };
        // Bytes sent before the handshake could have been slipped in by anybody.
        if !self.buffer.is_empty() {
            return Err(fault::protocol("The server speaks before TLS begins"));
        }
        Self::new(tls.wrap(socket, self.patience).await?, self.patience)
    }

    /// Sends a command and reads the reply to it, which may be preliminary (1xx).
    ///
    /// # Errors
    /// Silence, a broken connection, no FTP, or a server that is busy (421).
    pub async fn ask(&mut self, command: &str, argument: &[u8]) -> Result<Reply, Failure> {
        let shown = match command {
            "PASS" | "ACCT" | "USER" => "***".into(),
            _ => String::from_utf8_lossy(argument),
        };
        debug!("-> {command} {shown}");
        let mut line = command.as_bytes().to_vec();
        if !argument.is_empty() {
            line.push(b' ');
            line.extend(argument);
        }
        line.extend(b"\r\n");
        self.waiting = true;
        let sending = async {
            self.wire.write_all(&line).await?;
            self.wire.flush().await
        };
        match timeout(self.patience, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(fault::broken(&error)),
            Err(_) => return Err(timed_out()),
        }
        self.reply().await
    }

    /// The next reply. May be dropped and called again without loss.
    ///
    /// # Errors
    /// Silence, a broken connection, no FTP, or a server that is busy (421).
    pub async fn reply(&mut self) -> Result<Reply, Failure> {
        match timeout(self.patience, self.read_reply()).await {
            Ok(result) => result,
            Err(_) => Err(timed_out()),
        }
    }

    async fn read_reply(&mut self) -> Result<Reply, Failure> {
        self.waiting = true;
        loop {
            let parsed = reply::parse(&self.buffer).map_err(fault::unreadable)?;
            if let Some((reply, len)) = parsed {
                self.buffer.advance(len);
                debug!("<- {} {}", reply.code, reply.text);
                if reply.code == 421 {
                    return Err(fault::refused("the connection", &reply));
                }
                self.waiting = reply.is_preliminary();
                return Ok(reply);
            }
            match self.wire.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(fault::hung_up()),
                Ok(_) => {}
                Err(error) => return Err(fault::broken(&error)),
            }
        }
    }

    /// Whether it still serves: nothing has been said since, and nobody has hung up.
    pub fn is_quiet(&self) -> bool {
        let socket = self.wire.socket();
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let said = socket2::SockRef::from(socket).recv_with_flags(&mut byte, flags);
        let nothing = said.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        nothing && self.buffer.is_empty() && !self.waiting
    }
}
