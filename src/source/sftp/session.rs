//! An SSH connection: the host's key is checked before anything is said, then we log in.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use md5::Md5;
use parking_lot::Mutex;
use russh::client::{self, AuthResult, Config, Handle, KeyboardInteractiveAuthResponse, Msg};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, Preferred, keys};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tracing::debug;

use super::channel::Sftp;
use super::{Place, fault};
use crate::base::error::Failure;
use crate::net::dial;
use crate::option::settings::FtpSettings;
use crate::source::fault::timed_out;

/// Keys of an agent that are offered; servers allow few tries.
const AGENT_KEYS_MAX: usize = 5;
/// Rounds of questions a server may ask for one login.
const QUESTIONS_MAX: usize = 8;

type Agent = AgentClient<UnixStream>;

/// Dropping it ends the connection.
pub struct Session {
    _ssh: Handle<HostKey>,
    _line: Line,
}

/// Ends a connection when it is dropped, whatever the library is waiting for: a handshake that
/// gets no answer would keep its socket for ever.
struct Line(socket2::Socket);

impl Line {
    fn of(socket: &TcpStream) -> io::Result<Self> {
        SockRef::from(socket).try_clone().map(Self)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Session {
    /// Connects, checks the host's key, logs in and asks for SFTP.
    ///
    /// # Errors
    /// No connection, another host key than the settings name, a refused login (1), silence (2).
    pub async fn open(place: &Place, settings: &FtpSettings) -> Result<(Self, Sftp), Failure> {
        let patience = settings.connection.timeout;
        let (mut ssh, line) = connect(place, settings).await?;
        match timeout(patience, log_in(&mut ssh, place, settings)).await {
            Ok(result) => result?,
            Err(_) => return Err(timed_out()),
        }
        let channel = match timeout(patience, ask_for_sftp(&ssh)).await {
            Ok(Ok(channel)) => channel.ok_or_else(fault::no_sftp)?,
            Ok(Err(error)) => return Err(fault::of_ssh(&error)),
            Err(_) => return Err(timed_out()),
        };
        let sftp = Sftp::begin(channel.into_stream(), patience).await;
        let sftp = sftp.map_err(|error| fault::of_open(&error))?;
        let (_ssh, _line) = (ssh, line);
        Ok((Self { _ssh, _line }, sftp))
    }
}

/// A channel to the server's SFTP; `None` where it has none.
async fn ask_for_sftp(ssh: &Handle<HostKey>) -> Result<Option<Channel<Msg>>, russh::Error> {
    let mut channel = ssh.channel_open_session().await?;
    channel.request_subsystem(true, "sftp").await?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(Some(channel)),
            Some(ChannelMsg::Failure | ChannelMsg::Eof | ChannelMsg::Close) => return Ok(None),
            Some(_) => {}
            None => return Err(russh::Error::Disconnect),
        }
    }
}

/// Whether a key is of the kind to ask for.
type Kind = fn(&keys::Algorithm) -> bool;

/// A server with keys of several kinds shows the one we prefer; the one that is pinned may be any
/// of them, so each kind is tried before the server is refused.
async fn connect(
    place: &Place,
    settings: &FtpSettings,
) -> Result<(Handle<HostKey>, Line), Failure> {
    let kinds: Vec<Option<Kind>> = match settings.host_key_digest {
        None => vec![None],
        Some(_) => vec![
            None,
            Some(|kind| matches!(kind, keys::Algorithm::Ecdsa { .. })),
            Some(|kind| matches!(kind, keys::Algorithm::Rsa { .. })),
        ],
    };
    let mut refusal = None;
    for kind in kinds {
        match connect_by(place, settings, kind).await {
            Ok(connected) => return Ok(connected),
            Err(Refused::Key(failure)) => refusal = Some(failure),
            // A server without keys of this kind has shown us its only one.
            Err(Refused::Other(failure)) => return Err(refusal.unwrap_or(failure)),
        }
    }
    Err(refusal.unwrap_or_else(timed_out))
}

enum Refused {
    /// By us, for its host key.
    Key(Failure),
    Other(Failure),
}

async fn connect_by(
    place: &Place,
    settings: &FtpSettings,
    kind: Option<Kind>,
) -> Result<(Handle<HostKey>, Line), Refused> {
    let connection = &settings.connection;
    let deadline = Instant::now() + connection.connect_timeout;
    let proxy = place.proxy.as_ref();
    let socket = dial::tcp(&place.host, place.port, connection, proxy, deadline).await;
    let socket = socket.map_err(Refused::Other)?;
    let line = Line::of(&socket).map_err(|error| Refused::Other(fault::broken(&error)))?;
    let mut preferred = Preferred::default();
    if let Some(kind) = kind {
        let some = preferred.key.iter().filter(|key| kind(key)).cloned();
        preferred.key = Cow::Owned(some.collect());
    }
    let config = Config {
        preferred,
        nodelay: true,
        ..Config::default()
    };
    let refusal = Arc::new(Mutex::new(None));
    let handler = HostKey {
        wanted: settings.host_key_digest.clone(),
        refusal: refusal.clone(),
    };
    let connecting = client::connect_stream(Arc::new(config), socket, handler);
    match timeout(connection.timeout, connecting).await {
        Ok(Ok(ssh)) => Ok((ssh, line)),
        Ok(Err(error)) => Err(match refusal.lock().take() {
            Some(failure) => Refused::Key(failure),
            None => Refused::Other(fault::of_ssh(&error)),
        }),
        Err(_) => Err(Refused::Other(timed_out())),
    }
}

/// Judges the host's key.
pub struct HostKey {
    /// Kind of digest and its hex digits; `None` takes any key.
    wanted: Option<(&'static str, String)>,
    refusal: Arc<Mutex<Option<Failure>>>,
}

impl client::Handler for HostKey {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let Some((kind, wanted)) = &self.wanted else {
            return Ok(true);
        };
        let blob = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.to_bytes(),
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => return Ok(false),
        };
        let Ok(blob) = blob else { return Ok(false) };
        let found = digest(kind, &blob);
        if found == *wanted {
            return Ok(true);
        }
        *self.refusal.lock() = Some(fault::wrong_host_key(kind, &found));
        Ok(false)
    }
}

fn digest(kind: &str, blob: &[u8]) -> String {
    let bytes: Vec<u8> = match kind {
        "md5" => Md5::digest(blob).to_vec(),
        "sha-1" => Sha1::digest(blob).to_vec(),
        _ => Sha256::digest(blob).to_vec(),
    };
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// By the key file, then the password, then the agent's keys.
async fn log_in(
    ssh: &mut Handle<HostKey>,
    place: &Place,
    settings: &FtpSettings,
) -> Result<(), Failure> {
    let user = place.login.user.as_str();
    let mut offered = Vec::new();
    if let Some(path) = &settings.private_key {
        let file = path.clone();
        let loading = tokio::task::spawn_blocking(move || load_secret_key(file, None));
        let key = match loading.await {
            Ok(Ok(key)) => key,
            Ok(Err(error)) => return Err(fault::unusable_key(path, &error)),
            Err(error) => return Err(fault::broken(&error)),
        };
        let hash = rsa_hash(ssh, key.algorithm().is_rsa()).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let answer = ssh.authenticate_publickey(user, key).await;
        if is_success(answer)? {
            return Ok(());
        }
        offered.push("the key file");
    }
    if place.login.has_password {
        let password = place.login.password.reveal();
        let answer = ssh.authenticate_password(user, password).await;
        if is_success(answer)? || answer_questions(ssh, user, password).await? {
            return Ok(());
        }
        offered.push("the password");
    }
    let keys = keys_of_agent().await;
    if let Some((mut agent, keys)) = keys.filter(|(_, keys)| !keys.is_empty()) {
        if log_in_by_agent(ssh, user, &mut agent, keys).await? {
            return Ok(());
        }
        offered.push("the agent's keys");
    }
    Err(fault::not_logged_in(user, &offered))
}

fn is_success(answer: Result<AuthResult, russh::Error>) -> Result<bool, Failure> {
    match answer {
        Ok(answer) => Ok(answer.success()),
        Err(error) => Err(fault::of_ssh(&error)),
    }
}

/// Servers without "password" ask for it as a question.
async fn answer_questions(
    ssh: &mut Handle<HostKey>,
    user: &str,
    password: &str,
) -> Result<bool, Failure> {
    let begun = ssh.authenticate_keyboard_interactive_start(user, None::<String>);
    let mut answer = begun.await.map_err(|error| fault::of_ssh(&error))?;
    for _ in 0..QUESTIONS_MAX {
        match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let words = prompts.iter().map(|_| password.to_owned()).collect();
                let responding = ssh.authenticate_keyboard_interactive_respond(words);
                answer = responding.await.map_err(|error| fault::of_ssh(&error))?;
            }
        }
    }
    Ok(false)
}

/// The agent and its keys; one that is missing or broken is none.
async fn keys_of_agent() -> Option<(Agent, Vec<AgentIdentity>)> {
    let mut agent = AgentClient::connect_env().await.ok()?;
    match agent.request_identities().await {
        Ok(identities) => Some((agent, identities)),
        Err(error) => {
            debug!(%error, "the SSH agent names no keys");
            None
        }
    }
}

async fn log_in_by_agent(
    ssh: &mut Handle<HostKey>,
    user: &str,
    agent: &mut Agent,
    identities: Vec<AgentIdentity>,
) -> Result<bool, Failure> {
    for identity in identities.into_iter().take(AGENT_KEYS_MAX) {
        let key = identity.public_key().into_owned();
        let hash = rsa_hash(ssh, key.algorithm().is_rsa()).await?;
        let answer = ssh.authenticate_publickey_with(user, key, hash, agent);
        match answer.await {
            Ok(answer) if answer.success() => return Ok(true),
            Ok(_) => {}
            Err(error) => debug!(%error, "the SSH agent does not sign"),
        }
    }
    Ok(false)
}

async fn rsa_hash(ssh: &Handle<HostKey>, is_rsa: bool) -> Result<Option<HashAlg>, Failure> {
    if !is_rsa {
        return Ok(None);
    }
    match ssh.best_supported_rsa_hash().await {
        // Silent servers are old or modern; the modern ones have given up SHA-1.
        Ok(found) => Ok(found.unwrap_or(Some(HashAlg::Sha256))),
        Err(error) => Err(fault::of_ssh(&error)),
    }
}
