//! SFTP: one source is one SSH connection with one open file and many reads in flight.
//!
//! `session` connects and logs in, `channel` carries requests, `fault` says what went wrong (Pure);
//! this file reads.

mod channel;
mod fault;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use percent_encoding::percent_decode_str;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tracing::{Instrument, info_span};

use self::channel::Sftp;
use self::session::Session;
use super::filler::{self, FileServer, SeekError};
use super::ftp::{FtpShared, unusable_uri};
use super::login::Login;
use super::{Facts, Identity, Link, Target};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::Secret;
use crate::format::uri::Uri;
use crate::net::proxy;

/// Every server answers reads of this length in one piece (draft-ietf-secsh-filexfer-02, 3).
const READ_LEN: u32 = 32 * 1024;
/// Reads in flight: 2 MiB, enough for a gigabit over 16 ms.
const READS_MAX: usize = 64;

/// Runs one SFTP source until its orders end or it fails; its last report is `Closed`.
pub async fn run(target: Target, link: Link, shared: Arc<FtpShared>) {
    let span = info_span!("sftp", gid = %shared.gid, source = link.id.0);
    let patience = shared.patience();
    let file = SftpFile::new(&target, shared);
    filler::run(file, target, link, patience)
        .instrument(span)
        .await;
}

/// Whom to reach, and as whom.
struct Place {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    proxy: Option<Secret>,
    login: Login,
}

/// One file of one server.
struct SftpFile {
    shared: Arc<FtpShared>,
    uri: String,
    place: Place,
    path: String,
    open: Option<Open>,
}

/// What one read brought.
struct Piece {
    at: u64,
    asked: u32,
    /// `None` where the file ends.
    data: Option<Bytes>,
}

type Read = BoxFuture<'static, Result<Piece, Error>>;

/// An open file. Invariant: `reads` ask for bytes without a gap, up to `asked`, from `at` on.
struct Open {
    /// Ends the connection when it is dropped.
    _session: Session,
    sftp: Arc<Sftp>,
    handle: String,
    attributes: FileAttributes,
    reads: FuturesOrdered<Read>,
    at: u64,
    asked: u64,
}

impl SftpFile {
    fn new(target: &Target, shared: Arc<FtpShared>) -> Result<Self, Failure> {
        let uri = Uri::parse(&target.uri).ok_or_else(unusable_uri)?;
        let path = percent_decode_str(uri.path)
            .decode_utf8_lossy()
            .into_owned();
        if path.is_empty() || path.ends_with('/') {
            let text = "The URI names a directory, not a file";
            return Err(Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text));
        }
        let proxies = &shared.settings.proxies;
        let proxy = proxy::choose_for(proxies, uri.scheme, &uri.bracketed_host());
        Ok(Self {
            uri: format!("{}://{}{}", uri.scheme, uri.host_port(), uri.path),
            place: Place {
                host: uri.host.to_string(),
                port: uri.port_or_default().unwrap_or(22),
                proxy: proxy.cloned(),
                login: shared.login(&uri),
            },
            path,
            open: None,
            shared,
        })
    }

    async fn connect(&mut self) -> Result<Open, Failure> {
        let (session, sftp) = Session::open(&self.place, &self.shared.settings).await?;
        let sftp = Arc::new(sftp);
        let path = self.path.clone();
        let opening = sftp.ask(|it| it.open(path, OpenFlags::READ, FileAttributes::empty()));
        let opened = opening.await.map_err(|error| fault::of_open(&error))?;
        let looking = sftp.ask(|it| it.fstat(opened.handle.clone()));
        let attributes = looking.await.map_err(|error| fault::of_open(&error))?.attrs;
        if attributes.is_dir() {
            return Err(fault::is_directory());
        }
        Ok(Open {
            _session: session,
            sftp,
            handle: opened.handle,
            attributes,
            reads: FuturesOrdered::new(),
            at: 0,
            asked: 0,
        })
    }
}

impl Open {
    fn seek(&mut self, at: u64) {
        self.reads = FuturesOrdered::new();
        self.at = at;
        self.asked = at;
    }

    /// Asks for bytes ahead of what has come, up to `end`.
    fn ask(&mut self, end: u64) {
        while self.asked < end && self.reads.len() < READS_MAX {
            // One read tells whether the file goes on where its length is not known.
            if end == u64::MAX && !self.reads.is_empty() && self.attributes.size.is_some() {
                break;
            }
            let (sftp, handle, at) = (self.sftp.clone(), self.handle.clone(), self.asked);
            let asked = u32::try_from(end - at).map_or(READ_LEN, |rest| rest.min(READ_LEN));
            self.reads.push_back(Box::pin(async move {
                let data = match sftp.ask(|it| it.read(handle, at, asked)).await {
                    Ok(data) => Some(Bytes::from(data.data)),
                    Err(Error::Status(status)) if status.status_code == StatusCode::Eof => None,
                    Err(error) => return Err(error),
                };
                Ok(Piece { at, asked, data })
            }));
            self.asked += u64::from(asked);
        }
    }

    /// Takes in the next piece in order. A short one makes the reads behind it useless.
    fn take(&mut self, piece: Piece) -> Option<Bytes> {
        let mut data = piece.data.filter(|data| !data.is_empty())?;
        // More than was asked for would be taken for what comes next.
        data.truncate(piece.asked as usize);
        let end = piece.at + data.len() as u64;
        if (data.len() as u64) < u64::from(piece.asked) {
            self.seek(end);
        }
        self.at = end;
        Some(data)
    }
}

impl FileServer for SftpFile {
    async fn look(&mut self) -> Result<Facts, Failure> {
        let open = self.connect().await?;
        let modified = open.attributes.mtime.map(i64::from);
        let len = open.attributes.size;
        self.open = Some(open);
        Ok(Facts {
            identity: Identity {
                len,
                // Weak: comparable on one server only.
                etag: modified.map(|time| format!("W/\"{time}\"")),
                last_modified: None,
                server: Some(format!("{}:{}", self.place.host, self.place.port)),
                digest: None,
            },
            ranges: len.is_some(),
            final_uri: self.uri.clone(),
            modified,
            ..Facts::default()
        })
    }

    async fn seek(&mut self, at: u64) -> Result<(), SeekError> {
        if self.open.is_none() {
            self.open = Some(self.connect().await?);
        }
        if let Some(open) = &mut self.open {
            open.seek(at);
        }
        Ok(())
    }

    async fn read(&mut self, end: u64) -> Result<Option<Bytes>, Failure> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        open.ask(end);
        match open.reads.next().await {
            None => Ok(None),
            Some(Ok(piece)) => Ok(open.take(piece)),
            Some(Err(error)) => {
                self.open = None;
                Err(fault::of_read(&error))
            }
        }
    }
}
