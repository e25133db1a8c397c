//! The control connection: commands out, replies in, each within the time that the settings allow.

use std::net::SocketAddr;
use std::pin::pin;
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
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::source::fault::timed_out;

/// How long a server may take to say why a data connection has failed.
const REASON_TIME_MAX: Duration = Duration::from_secs(1);

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
            let text = format!("{host} cannot be the name of a TLS server");
            Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
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
    /// The reply to come may repeat a secret, which no log is to show.
    hushed: bool,
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
            hushed: false,
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
        self.hushed = matches!(command, "PASS" | "ACCT");
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

    /// The next reply that is not preliminary; however many of those come before it, they get no
    /// more time together. May be dropped and called again without loss.
    ///
    /// # Errors
    /// As [`Control::reply`].
    pub async fn final_reply(&mut self) -> Result<Reply, Failure> {
        match timeout(self.patience, self.verdict()).await {
            Ok(result) => result,
            Err(_) => Err(timed_out()),
        }
    }

    /// The same without a time limit: for callers with one of their own.
    pub async fn verdict(&mut self) -> Result<Reply, Failure> {
        loop {
            let reply = self.read_reply().await?;
            if !reply.is_preliminary() {
                return Ok(reply);
            }
        }
    }

    /// Does something about the data connection; gives the final reply as well, if it comes first.
    ///
    /// # Errors
    /// What the server has against it, or else what the work fails with.
    pub async fn attend<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(T, Option<Reply>), Failure> {
        let mut work = pin!(work);
        let mut verdict = None;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return match done {
                    Ok(done) => Ok((done, verdict)),
                    Err(failure) => Err(self.reason_of(failure).await),
                },
                reply = self.verdict(), if verdict.is_none() => {
                    let reply = reply?;
                    if !reply.is_success() {
                        return Err(fault::refused("the transfer", &reply));
                    }
                    verdict = Some(reply);
                }
            }
        }
    }

    /// Why a data connection has failed: the server may have a word on it.
    async fn reason_of(&mut self, failure: Failure) -> Failure {
        match timeout(REASON_TIME_MAX, self.verdict()).await {
            Ok(Ok(reply)) if !reply.is_success() => fault::refused("the transfer", &reply),
            _ => failure,
        }
    }

    async fn read_reply(&mut self) -> Result<Reply, Failure> {
        self.waiting = true;
        loop {
            let parsed = reply::parse(&self.buffer).map_err(fault::unreadable)?;
            if let Some((reply, len)) = parsed {
                self.buffer.advance(len);
                let shown = if self.hushed { "***" } else { &reply.text };
                debug!("<- {} {shown}", reply.code);
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
