//! Data connections: opened by us (EPSV, PASV) or by the server (EPRT, PORT).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::control::Control;
use super::fault;
use super::reply;
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::Secret;
use crate::net::dial;
use crate::option::settings::ConnectionSettings;
use crate::source::fault::timed_out;

/// A data connection before RETR: open already, or waited for.
pub enum Ready {
    Open(TcpStream),
    Awaited(TcpListener),
}

/// Whom data connections go to, and what has been learnt about the server's ways.
pub struct Way {
    /// The server's name as the user wrote it, for proxies.
    pub host: String,
    pub proxy: Option<Secret>,
    pub connection: ConnectionSettings,
    pub passive: bool,
    /// The server has refused the first choice of EPSV and PASV.
    pub second_choice: bool,
}

impl Way {
    /// Agrees with the server on a data connection.
    ///
    /// # Errors
    /// The server knows no way, or the connection cannot be made.
    pub async fn prepare(&mut self, control: &mut Control) -> Result<Ready, Failure> {
        // A server cannot reach us through a proxy.
        if self.passive || self.proxy.is_some() {
            let port = self.port(control).await?;
            let dialled = self.connect(control, port).await;
            dialled.map(Ready::Open).map_err(fault::no_data_connection)
        } else {
            self.listen(control).await.map(Ready::Awaited)
        }
    }

    async fn connect(&self, control: &Control, port: u16) -> Result<TcpStream, Failure> {
        let mut settings = self.connection.clone();
        if !settings.interfaces.is_empty() && self.proxy.is_none() {
            // Servers take data connections from where the control connection comes from.
            settings.interfaces = vec![control.local.ip().to_string()];
        }
        let deadline = Instant::now() + settings.connect_timeout;
        match &self.proxy {
            Some(proxy) => dial::tcp(&self.host, port, &settings, Some(proxy), deadline).await,
            None => {
                // Whatever address the answer to PASV holds: behind an address translation it is
                // of no use, and from a malicious server it would be an attack on somebody else.
                let mut address = control.peer;
                address.set_port(port);
                let dialled = timeout(settings.connect_timeout, dial::address(address, &settings));
                dialled.await.unwrap_or_else(|_| Err(timed_out()))
            }
        }
    }

    /// The port the server waits at. IPv4 servers are asked as ever, since gateways on the way may
    /// know no other word.
    async fn port(&mut self, control: &mut Control) -> Result<u16, Failure> {
        let v4 = control.peer.ip().to_canonical().is_ipv4();
        let pasv_first = v4 && self.proxy.is_none();
        let choices: &[&str] = match pasv_first ^ self.second_choice {
            // Behind a proxy nobody knows which addresses the server has.
            _ if !v4 && self.proxy.is_none() => &["EPSV"],
            true => &["PASV", "EPSV"],
            false => &["EPSV", "PASV"],
        };
        let mut refusal = None;
        for (at, command) in choices.iter().enumerate() {
            let reply = control.ask(command, b"").await?;
            if reply.is_success() {
                self.second_choice ^= at == 1;
                let port = match *command {
                    "PASV" => reply::pasv_port(&reply.text),
                    _ => reply::epsv_port(&reply.text),
                };
                let unreadable = || fault::protocol("The server names no port for the data");
                return port.ok_or_else(unreadable);
            }
            refusal = Some(fault::refused(command, &reply));
        }
        Err(refusal.unwrap_or_else(fault::hung_up))
    }

    async fn listen(&mut self, control: &mut Control) -> Result<TcpListener, Failure> {
        let listener = TcpListener::bind(SocketAddr::new(control.local.ip(), 0)).await;
        let listener = listener.map_err(|error| not_listening(&error))?;
        let local = listener
            .local_addr()
            .map_err(|error| not_listening(&error))?;
        let (command, argument) = match local.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                let [high, low] = local.port().to_be_bytes();
                ("PORT", format!("{a},{b},{c},{d},{high},{low}"))
            }
            IpAddr::V6(ip) => ("EPRT", format!("|2|{ip}|{}|", local.port())),
        };
        let reply = control.ask(command, argument.as_bytes()).await?;
        match reply.is_success() {
            true => Ok(listener),
            false => Err(fault::refused(command, &reply)),
        }
    }
}

impl Ready {
    /// The connection itself, once RETR has been answered.
    ///
    /// # Errors
    /// The server does not come.
    pub async fn open(self, peer: SocketAddr, way: &Way) -> Result<TcpStream, Failure> {
        let listener = match self {
            Ready::Open(stream) => return Ok(stream),
            Ready::Awaited(listener) => listener,
        };
        let accepting = async {
            loop {
                let (stream, from) = listener.accept().await?;
                // Anybody could have found the port.
                if from.ip().to_canonical() == peer.ip().to_canonical() {
                    return Ok(stream);
                }
            }
        };
        match timeout(way.connection.connect_timeout, accepting).await {
            Ok(Ok(stream)) => {
                dial::apply_options(&stream, &way.connection);
                Ok(stream)
            }
            Ok(Err(error)) => Err(not_listening(&error)),
            Err(_) => Err(fault::no_data_connection(timed_out())),
        }
    }
}

fn not_listening(error: &std::io::Error) -> Failure {
    Failure::new(
        ErrorCode::Unknown,
        Retry::OtherMirror,
        format!("No port for the data connection: {error}"),
    )
}
