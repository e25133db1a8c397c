//! FTP and FTPS (RFC 959, 2428, 3659, 4217): one source is one control connection and a data
//! connection for each lease that does not begin where the last one ended.
//!
//! `reply`, `path` and `fault` decide (Pure); `control` and `data` are the connections; `session`
//! logs in; this file asks for files.

mod control;
mod data;
mod fault;
pub mod path;
pub mod reply;
mod session;
mod wire;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tracing::{Instrument, debug, info_span};

use self::path::FtpPath;
use self::reply::Reply;
use self::session::{Place, Session};
use self::wire::Wire;
use super::fault::timed_out;
use super::filler::{self, FileServer, Patience, SeekError};
use super::login::Login;
use super::{Facts, Identity, Link, Opening, Target};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::gid::Gid;
use crate::format::uri::Uri;
use crate::net::{Net, proxy, tls};
use crate::option::settings::FtpSettings;
use crate::option::value::FtpType;

/// Read from a data connection at once.
const READ_LEN: usize = 64 * 1024;
/// How long a server may take to notice that its data are not wanted any more.
const ABORT_TIME_MAX: Duration = Duration::from_secs(3);

/// What all FTP and SFTP sources of one download share.
pub struct FtpShared {
    pub gid: Gid,
    pub settings: FtpSettings,
    pub net: Arc<Net>,
    tls: OnceLock<Arc<ClientConfig>>,
    /// Servers, as `host:port`, that have been seen to begin where they are told.
    restarting: Mutex<HashSet<String>>,
}

impl FtpShared {
    pub fn new(gid: Gid, settings: FtpSettings, net: Arc<Net>) -> Self {
        Self {
            gid,
            settings,
            net,
            tls: OnceLock::new(),
            restarting: Mutex::default(),
        }
    }

    /// Who we are to the server of a URI.
    pub fn login(&self, uri: &Uri<'_>) -> Login {
        let netrc = match (&self.settings.netrc_path, self.settings.no_netrc) {
            (Some(path), false) => Some(self.net.netrc_at(path)),
            _ => None,
        };
        Login::choose(uri, netrc.as_deref(), &self.settings)
    }

    /// The URI with our user and password in it, as a proxy is asked for it.
    pub fn with_login(&self, uri: &str) -> String {
        let Some(parsed) = Uri::parse(uri) else {
            return uri.to_owned();
        };
        let login = self.login(&parsed);
        let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (user, password) = (escape(&login.user), escape(login.password.reveal()));
        let host = parsed.host_port();
        let rest = parsed.path_and_query();
        format!("{}://{user}:{password}@{host}{rest}", parsed.scheme)
    }

    pub fn patience(&self) -> Patience {
        Patience {
            silence_max: self.settings.connection.timeout,
            lowest_speed: self.settings.lowest_speed,
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let config = tls::client_config(&self.settings.tls).map_err(|failure| Failure {
            // Another mirror may do without TLS.
            retry: Retry::OtherMirror,
            ..failure
        });
        let config = Arc::new(config?);
        Ok(self.tls.get_or_init(|| config).clone())
    }
}

/// Runs one FTP source until its orders end or it fails; its last report is `Closed`.
pub async fn run(target: Target, link: Link, shared: Arc<FtpShared>) {
    let span = info_span!("ftp", gid = %shared.gid, source = link.id.0);
    let patience = shared.patience();
    let file = FtpFile::new(&target, shared);
    filler::run(file, target, link, patience)
        .instrument(span)
        .await;
}

/// The failure of a URI that cannot be taken apart.
pub(super) fn unusable_uri() -> Failure {
    let text = "The URI cannot be used";
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

/// One file of one server.
struct FtpFile {
    shared: Arc<FtpShared>,
    uri: String,
    place: Place,
    path: FtpPath,
    session: Option<Session>,
    transfer: Option<Transfer>,
    /// As SIZE told.
    len: Option<u64>,
    /// Before the first use of a connection that was parked: it may be dead.
    was_parked: bool,
}

/// Data on their way.
struct Transfer {
    /// `None`: the data have ended, but the reply to RETR has not been read. Some servers hold it
    /// back until we have closed the connection, too.
    wire: Option<Wire>,
    buffer: BytesMut,
    /// The final reply, where it came while data could still come. A control connection that is
    /// lost meanwhile does not end the transfer either.
    verdict: Option<Result<Reply, Failure>>,
}

impl FtpFile {
    fn new(target: &Target, shared: Arc<FtpShared>) -> Result<Self, Failure> {
        let uri = Uri::parse(&target.uri).ok_or_else(unusable_uri)?;
        let path = FtpPath::parse(uri.path).map_err(fault::unusable_path)?;
        let proxies = &shared.settings.proxies;
        let proxy = proxy::choose_for(proxies, uri.scheme, &uri.bracketed_host());
        let place = Place {
            host: uri.host.to_string(),
            port: uri.port_or_default().unwrap_or(21),
            implicit: uri.scheme == "ftps",
            proxy: proxy.cloned(),
            login: shared.login(&uri),
            others_are_in: target.opening == Opening::Lease,
        };
        let mut shown = format!("{}://{}{}", uri.scheme, uri.host_port(), uri.path);
        if let Some(query) = uri.query {
            shown = format!("{shown}?{query}");
        }
        Ok(Self {
            uri: shown,
            place,
            path,
            session: None,
            transfer: None,
            len: None,
            was_parked: false,
            shared,
        })
    }

    /// What connections have to have in common to take each other's place.
    fn key(&self) -> String {
        let place = &self.place;
        let connection = &self.shared.settings.connection;
        format!(
            "ftp {:?}",
            (
                (&place.host, place.port, place.implicit),
                place.proxy.as_ref().map(|proxy| proxy.reveal()),
                (&place.login.user, place.login.password.reveal()),
                &self.shared.settings.encrypt,
                &self.shared.settings.tls,
                &connection.interfaces,
                (connection.disable_ipv6, connection.dscp),
            )
        )
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let session = Session::open(&self.place, &shared.settings, || shared.tls()).await?;
        self.session = Some(session);
        self.was_parked = false;
        Ok(())
    }

    /// Has a connection that stands in the file's directory.
    async fn arrive(&mut self) -> Result<&mut Session, Failure> {
        if self.session.is_none() && self.shared.settings.reuse_connection {
            let parked = self.shared.net.parked().take::<Session>(&self.key());
            self.session = parked.filter(|session| session.is_at_rest());
            self.was_parked = self.session.is_some();
            if let Some(session) = &mut self.session {
                debug!("an earlier connection is used again");
                let settings = &self.shared.settings;
                session.way.connection = settings.connection.clone();
                session.way.passive = settings.passive;
            }
        }
        if self.session.is_none() {
            self.connect().await?;
        }
        let kind = self.shared.settings.transfer_type;
        let entered = match &mut self.session {
            Some(session) => session.enter(&self.path, kind).await,
            None => Err(fault::hung_up()),
        };
        if let Err(failure) = entered {
            self.session = None;
            // 3 is an answer, and as good on an old connection as on a new one.
            if !self.was_parked || failure.code == ErrorCode::ResourceNotFound {
                return Err(failure);
            }
            self.connect().await?;
            if let Some(session) = &mut self.session {
                session.enter(&self.path, kind).await?;
            }
        }
        self.was_parked = false;
        self.session.as_mut().ok_or_else(fault::hung_up)
    }

    /// Ends a transfer whose data are not wanted; the connection is given up with a server that
    /// does not notice.
    async fn abandon(&mut self) {
        let Some(transfer) = self.transfer.take() else {
            return;
        };
        drop(transfer.wire);
        let Some(session) = &mut self.session else {
            return;
        };
        let ended = match transfer.verdict {
            Some(verdict) => verdict.is_ok(),
            None => {
                let verdict = timeout(ABORT_TIME_MAX, session.control.verdict()).await;
                matches!(verdict, Ok(Ok(_)))
            }
        };
        if !ended {
            self.session = None;
        }
    }

    fn is_text(&self) -> bool {
        self.shared.settings.transfer_type == FtpType::Ascii
    }

    fn server(&self) -> String {
        format!("{}:{}", self.place.host, self.place.port)
    }

    /// Some servers take REST and send the whole file all the same, which nobody would notice in the
    /// middle of it: before the first such request a server is asked for the last byte.
    async fn prove_restart(&mut self) -> Result<(), SeekError> {
        let Some(last) = self.len.and_then(|len| len.checked_sub(1)) else {
            return Ok(());
        };
        if self.shared.restarting.lock().contains(&self.server()) {
            return Ok(());
        }
        self.retrieve(last).await?;
        let patience = self.shared.settings.connection.timeout;
        let mut came = 0;
        while let Some(bytes) = match timeout(patience, self.read(u64::MAX)).await {
            Ok(read) => read?,
            Err(_) => return Err(timed_out().into()),
        } {
            came += bytes.len();
            if came > 1 {
                debug!("the server sends the whole file wherever it is told to begin");
                return Err(SeekError::WholeOnly);
            }
        }
        // None at all: the file is shorter than the server says, which its end will show.
        if came == 1 {
            self.shared.restarting.lock().insert(self.server());
        }
        Ok(())
    }

    /// Asks for the data from byte `at` on.
    async fn retrieve(&mut self, at: u64) -> Result<(), SeekError> {
        let file = self.path.file.clone();
        let session = self.arrive().await?;
        let ready = session.way.prepare(&mut session.control).await?;
        if at > 0 || session.restart_is_set {
            let reply = session
                .control
                .ask("REST", at.to_string().as_bytes())
                .await?;
            if !reply.is_intermediate() {
                return Err(match at {
                    0 => SeekError::Failed(fault::refused("REST", &reply)),
                    _ => SeekError::WholeOnly,
                });
            }
            session.restart_is_set = true;
        }
        let reply = session.control.ask("RETR", &file).await?;
        session.restart_is_set = false;
        if !reply.is_preliminary() {
            return Err(refused_data(&reply, at));
        }
        let (way, tls, peer) = (&session.way, &session.tls, session.control.peer);
        let opening = async {
            let socket = ready.open(peer, way).await?;
            match tls {
                Some(tls) => tls.wrap(socket, way.connection.timeout).await,
                None => Ok(Wire::Plain(socket)),
            }
        };
        let (wire, verdict) = session.control.attend(opening).await?;
        self.transfer = Some(Transfer {
            wire: Some(wire),
            buffer: BytesMut::new(),
            verdict: verdict.map(Ok),
        });
        Ok(())
    }
}

impl FileServer for FtpFile {
    async fn look(&mut self) -> Result<Facts, Failure> {
        let is_text = self.is_text();
        let file = self.path.file.clone();
        let session = self.arrive().await?;
        let control = &mut session.control;
        let mut len = None;
        if !is_text {
            // The size of a text is that of its lines here, not as they are sent.
            let reply = control.ask("SIZE", &file).await?;
            len = (reply.code == 213)
                .then(|| reply::size(&reply.text))
                .flatten();
        }
        let reply = control.ask("MDTM", &file).await?;
        let stamp = (reply.code == 213).then_some(reply.text);
        let modified = stamp.as_deref().and_then(reply::mdtm);
        let mut ranges = false;
        if len.is_some_and(|len| len > 0) {
            let reply = control.ask("REST", b"1").await?;
            ranges = reply.is_intermediate();
            session.restart_is_set = ranges;
        }
        self.len = len;
        Ok(Facts {
            identity: Identity {
                len,
                // Weak: comparable on one server only.
                etag: modified.map(|time| format!("W/\"{time}\"")),
                last_modified: None,
                server: Some(self.server()),
                digest: None,
            },
            ranges,
            final_uri: self.uri.clone(),
            modified,
            ..Facts::default()
        })
    }

    async fn seek(&mut self, at: u64) -> Result<(), SeekError> {
        self.abandon().await;
        let proven = match at {
            0 => Ok(()),
            _ => self.prove_restart().await,
        };
        let outcome = match proven {
            Ok(()) => self.retrieve(at).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // What the server makes of a half-agreed transfer is not worth finding out.
            self.transfer = None;
            self.session = None;
        }
        outcome
    }

    async fn read(&mut self, _end: u64) -> Result<Option<Bytes>, Failure> {
        let Some(transfer) = &mut self.transfer else {
            return Ok(None);
        };
        let Some(session) = &mut self.session else {
            return Err(fault::hung_up());
        };
        while let Some(wire) = &mut transfer.wire {
            transfer.buffer.reserve(READ_LEN);
            tokio::select! {
                biased;
                read = wire.read_buf(&mut transfer.buffer) => match read {
                    Ok(0) => transfer.wire = None,
                    Ok(_) => return Ok(Some(transfer.buffer.split().freeze())),
                    Err(error) => {
                        self.session = None;
                        return Err(fault::broken(&error));
                    }
                },
                // Some servers break off without closing the data connection.
                verdict = session.control.verdict(), if transfer.verdict.is_none() => {
                    let is_refusal = verdict.as_ref().is_ok_and(|reply| !reply.is_success());
                    transfer.verdict = Some(verdict);
                    if is_refusal {
                        transfer.wire = None;
                    }
                }
            }
        }
        if transfer.verdict.is_none() {
            transfer.verdict = Some(session.control.verdict().await);
        }
        let verdict = self.transfer.take().and_then(|transfer| transfer.verdict);
        let reply = verdict.unwrap_or_else(|| Err(fault::hung_up()))?;
        match reply.is_success() {
            true => Ok(None),
            false => Err(fault::refused("the transfer", &reply)),
        }
    }
}

impl Drop for FtpFile {
    /// The connection waits for the next file, if it is fit for it.
    fn drop(&mut self) {
        let idle = self.transfer.is_none() && self.shared.settings.reuse_connection;
        if let Some(session) = self
            .session
            .take()
            .filter(|session| idle && session.is_at_rest())
        {
            self.shared.net.parked().put(self.key(), session);
        }
    }
}

/// RETR was refused. Some servers take REST and refuse what it was for.
fn refused_data(reply: &Reply, at: u64) -> SeekError {
    match reply.code {
        451 | 501..=504 | 554 if at > 0 => SeekError::WholeOnly,
        _ => SeekError::Failed(fault::refused_file("RETR", reply)),
    }
}
