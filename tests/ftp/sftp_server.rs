//! A scripted SFTP server: right but for the fault it is told to have.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelStream};
use russh_sftp::protocol::{Attrs, Data, FileAttributes, Handle, OpenFlags, StatusCode, Version};
use russh_sftp::server::StatusReply;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub const USER: &str = "user";
pub const RIGHT_PASSWORD: &str = "r1ght";

/// What goes wrong, always.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// These bytes instead of SSH; then the end.
    Says(&'static str),
    /// These bytes; then nothing.
    SaysAndWaits(&'static str),
    /// The connection ends, or nothing more comes, at this step.
    EndsAt(Step),
    WaitsAt(Step),
    /// This step is refused; the status is for steps of SFTP.
    Refuses(Step, StatusCode),
    /// It is a directory.
    Directory,
    /// What it says of the length, less the length.
    Size(i64),
    /// Nothing is said of the length.
    NoSize,
    /// No more bytes come at once, or so many more than were asked for.
    ReadsUpTo(usize),
    ReadsTooMuch(usize),
    /// The first reads get no answer before so many of them have come.
    HoldsReads(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Login,
    Channel,
    Subsystem,
    Init,
    Open,
    Stat,
    Read,
}

pub struct SftpServer {
    pub port: u16,
    pub connections: Arc<AtomicUsize>,
    /// Connections that have ended.
    pub ended: Arc<AtomicUsize>,
}

/// The server's key, or a user's.
pub fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

pub fn start(data: Vec<u8>, fault: Fault) -> SftpServer {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = SftpServer {
        port: listener.local_addr().unwrap().port(),
        connections: Arc::default(),
        ended: Arc::default(),
    };
    let config = Arc::new(server::Config {
        auth_rejection_time: Duration::ZERO,
        keys: vec![key(1)],
        nodelay: true,
        ..server::Config::default()
    });
    let (count, ended) = (server.connections.clone(), server.ended.clone());
    let data: Arc<[u8]> = data.into();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let talk = Talk {
                    fault,
                    data: data.clone(),
                    line: Arc::new(SockRef::from(&socket).try_clone().unwrap()),
                    channel: None,
                };
                let (config, ended) = (config.clone(), ended.clone());
                tokio::spawn(async move {
                    serve(socket, talk, config).await;
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
    });
    server
}

async fn serve(mut socket: TcpStream, talk: Talk, config: Arc<server::Config>) {
    match talk.fault {
        Fault::Says(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = socket.shutdown().await;
            let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        }
        Fault::SaysAndWaits(text) => {
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        }
        _ => {
            if let Ok(session) = server::run_stream(config, socket, talk).await {
                let _ = session.await;
            }
        }
    }
}

/// Passes on what the client sends, the first reads only when so many have come.
async fn hold_reads(stream: ChannelStream<Msg>, count: usize, talk: Talk) {
    const READ: u8 = 5;
    let (near, far) = tokio::io::duplex(1 << 20);
    russh_sftp::server::run(near, talk).await;
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (mut from_server, mut to_server) = tokio::io::split(far);
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    tokio::spawn(async move {
        let (mut held, mut reads) = (Vec::new(), 0);
        while let Ok(len) = from_client.read_u32().await {
            let mut packet = vec![0; len as usize];
            from_client.read_exact(&mut packet).await?;
            reads += usize::from(packet[0] == READ);
            held.extend(len.to_be_bytes());
            held.extend(packet);
            if reads == 0 || reads >= count {
                to_server.write_all(&held).await?;
                held.clear();
            }
        }
        std::io::Result::Ok(())
    });
}

/// One connection: SSH at first, then SFTP on its channel.
struct Talk {
    fault: Fault,
    data: Arc<[u8]>,
    /// Ends the connection.
    line: Arc<socket2::Socket>,
    channel: Option<Channel<Msg>>,
}

impl Talk {
    /// Whether a step is to be taken; `Err` if not.
    async fn reach(&self, step: Step) -> Result<(), StatusCode> {
        match self.fault {
            Fault::EndsAt(at) if at == step => {
                let _ = self.line.shutdown(Shutdown::Both);
            }
            Fault::WaitsAt(at) if at == step => std::future::pending().await,
            Fault::Refuses(at, status) if at == step => return Err(status),
            _ => {}
        }
        Ok(())
    }
}

impl server::Handler for Talk {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let is_known = (user, password) == (USER, RIGHT_PASSWORD);
        match self.reach(Step::Login).await {
            Ok(()) if is_known => Ok(Auth::Accept),
            _ => Ok(Auth::reject()),
        }
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        shown: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let known: PublicKey = key(2).public_key().clone();
        match user == USER && *shown.public_key == known {
            true => Ok(Auth::Accept),
            false => Ok(Auth::reject()),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.reach(Step::Channel).await {
            Ok(()) => {
                self.channel = Some(channel);
                reply.accept().await;
            }
            Err(StatusCode::Failure) => reply.reject(ChannelOpenFailure::ResourceShortage).await,
            Err(_) => {
                let why = ChannelOpenFailure::AdministrativelyProhibited;
                reply.reject(why).await;
            }
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.reach(Step::Subsystem).await.is_err() {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        if self.fault == Fault::Refuses(Step::Init, StatusCode::Failure) {
            // The server's SFTP cannot be started.
            return session.close(id);
        }
        if let Some(channel) = self.channel.take() {
            let talk = Talk {
                fault: self.fault,
                data: self.data.clone(),
                line: self.line.clone(),
                channel: None,
            };
            match self.fault {
                Fault::HoldsReads(count) => hold_reads(channel.into_stream(), count, talk).await,
                _ => russh_sftp::server::run(channel.into_stream(), talk).await,
            }
        }
        Ok(())
    }
}

impl russh_sftp::server::Handler for Talk {
    type Error = StatusReply;

    fn unimplemented(&self) -> Self::Error {
        StatusCode::OpUnsupported.into()
    }

    async fn init(
        &mut self,
        _: u32,
        _: std::collections::HashMap<String, String>,
    ) -> Result<Version, Self::Error> {
        self.reach(Step::Init).await?;
        Ok(Version::new())
    }

    async fn open(
        &mut self,
        id: u32,
        _: String,
        _: OpenFlags,
        _: FileAttributes,
    ) -> Result<Handle, Self::Error> {
        let refused = |code: StatusCode| code.with_message("so it is");
        self.reach(Step::Open).await.map_err(refused)?;
        let handle = "handle".to_owned();
        Ok(Handle { id, handle })
    }

    async fn fstat(&mut self, id: u32, _: String) -> Result<Attrs, Self::Error> {
        self.reach(Step::Stat).await?;
        let len = self.data.len() as u64;
        let size = match self.fault {
            Fault::NoSize => None,
            Fault::Size(more) => Some(len.saturating_add_signed(more)),
            _ => Some(len),
        };
        let mut attrs = FileAttributes {
            size,
            mtime: Some(1_704_067_200),
            permissions: Some(0o644),
            ..FileAttributes::empty()
        };
        match self.fault {
            Fault::Directory => attrs.set_dir(true),
            _ => attrs.set_regular(true),
        }
        Ok(Attrs { id, attrs })
    }

    async fn read(
        &mut self,
        id: u32,
        _: String,
        offset: u64,
        len: u32,
    ) -> Result<Data, Self::Error> {
        // Something comes before it goes wrong.
        if offset >= 64 * 1024 {
            self.reach(Step::Read).await?;
        }
        let from = self.data.len().min(offset as usize);
        let len = match self.fault {
            Fault::ReadsUpTo(max) => max.min(len as usize),
            Fault::ReadsTooMuch(more) => len as usize + more,
            _ => len as usize,
        };
        let to = self.data.len().min(from + len);
        match from == to {
            true => Err(StatusCode::Eof.into()),
            false => Ok(Data {
                id,
                data: self.data[from..to].to_vec(),
            }),
        }
    }
}
