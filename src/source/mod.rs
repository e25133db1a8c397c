//! Rank 5: where bytes come from. A mirror and a peer differ only in what they can offer.
//!
//! A source is one connection. The transfer task opens it, hands it leases (spans it alone may
//! fill) and reads its reports; the source itself reads the socket and writes the bytes inside
//! its lease, so that they stay on the core that read them.

mod chunks;
mod fault;
mod filler;
pub mod ftp;
pub mod http;
pub mod identity;
mod lease_writer;
mod login;
#[cfg(feature = "sftp")]
mod sftp;
mod speed_watch;

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::base::error::Failure;
#[cfg(not(feature = "sftp"))]
use crate::base::error::{ErrorCode, Retry};
use crate::base::units::{SourceId, Span};
use crate::limit::{LimitLeaf, Meter};
use crate::option::settings::FtpSettings;
use crate::storage::Files;

use self::ftp::FtpShared;
use self::http::{HttpShared, PieceSeed};

pub use self::identity::Identity;

/// How a source begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// Ask for the whole resource (no Range) and report what it is.
    Whole,
    /// Ask for everything from this byte and report what it is.
    From(u64),
    /// Ask only what it is (HEAD, SIZE); the source closes after `Opened`.
    Probe,
    /// Ask nothing yet: the first lease follows at once.
    Lease,
}

/// Which resource to open, and what it has to be.
#[derive(Clone, Debug)]
pub struct Target {
    pub uri: Arc<str>,
    pub opening: Opening,
    /// What an earlier source found; a response that contradicts it is refused.
    pub expect: Option<Identity>,
    /// First byte of the resource in the download: not 0 for one file of several. Sources need not
    /// look at it: leases and reports count from the resource's own first byte.
    pub base: u64,
    /// It gives pieces of this torrent and knows no file (BEP 17); HTTP alone.
    pub pieces: Option<PieceSeed>,
}

/// What a source learnt about its resource.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    pub identity: Identity,
    /// Offset of the first byte of the open body, if a body is open.
    pub body_from: Option<u64>,
    /// Whether spans may be asked for (not known to be impossible).
    pub ranges: bool,
    /// Suggested file name, already made safe (RFC 6266).
    pub name: Option<String>,
    /// After redirects.
    pub final_uri: String,
    pub content_type: Option<String>,
    /// `Last-Modified` as seconds since 1970.
    pub modified: Option<i64>,
    /// Other places of the same resource that the server names, the best first.
    pub mirrors: Vec<Arc<str>>,
    /// 304 to a conditional request: the local file is up to date.
    pub not_modified: bool,
}

/// A span that one source alone may fill. The end can shrink under it (work stealing). A source
/// counts from the first byte of its resource, wherever that lies in the download.
pub struct Lease {
    pub start: u64,
    /// In the download.
    end: Arc<AtomicU64>,
    /// First byte of the resource in the download.
    base: u64,
    files: Arc<Files>,
}

/// What a write did: the bytes that were inside the lease, and whether it has room left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    pub span: Span,
    pub room: bool,
}

impl Lease {
    pub fn new(span: Span, end: Arc<AtomicU64>, files: Arc<Files>) -> Self {
        end.store(span.end, Ordering::Release);
        Self {
            start: span.start,
            end,
            base: 0,
            files,
        }
    }

    /// The resource begins at this byte of the download.
    pub fn with_base(self, base: u64) -> Self {
        Self {
            start: self.start.saturating_sub(base),
            base,
            ..self
        }
    }

    /// The end as it is now; `u64::MAX` where the length is not known.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire).saturating_sub(self.base)
    }

    /// Waits while the queue of a slow disk is full; at once otherwise. To be awaited before
    /// each write, so that memory stays within `disk-cache`.
    pub async fn ready(&self) {
        self.files.ready().await;
    }

    /// Writes what of `data` lies inside the lease, at byte `at` of the resource.
    ///
    /// # Errors
    /// The failure of the disk.
    pub fn write(&self, at: u64, data: &[&[u8]]) -> Result<Written, Failure> {
        let end = self.end();
        let mut room = end.saturating_sub(at);
        let mut slices = Vec::with_capacity(data.len());
        let mut next = at;
        for part in data {
            let taken = part.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            if taken > 0 {
                slices.push(IoSlice::new(&part[..taken]));
                room -= taken as u64;
                next += taken as u64;
            }
        }
        self.files.write_at(self.base + at, &mut slices)?;
        Ok(Written {
            span: Span::new(at, next),
            room: next < self.end(),
        })
    }
}

/// What the transfer task tells a source. A closed channel means: stop.
pub enum Order {
    /// Fill this span, then report `Idle`.
    Fetch(Lease),
}

/// What a source tells its transfer task.
#[derive(Debug)]
pub enum Report {
    /// The resource is there and fits what was expected.
    Opened(Box<Facts>),
    /// These bytes are in the file.
    Wrote(Span),
    /// The lease is filled to its end; the source waits for the next order.
    Idle,
    /// The body ended properly here although no length was known.
    Ended(u64),
    /// The source is gone; `Ok` after an order to stop or a finished probe.
    Closed(Result<(), Failure>),
}

/// What ties a source to its transfer.
pub struct Link {
    pub id: SourceId,
    pub orders: UnboundedReceiver<Order>,
    pub reports: UnboundedSender<(SourceId, Report)>,
    pub limit: LimitLeaf,
    /// This source's own speed; the download's total is counted by the limit leaf's tree.
    pub meter: Arc<Meter>,
}

/// What the sources of one download share, by kind.
pub struct Shared {
    pub http: Arc<HttpShared>,
    pub ftp: Arc<FtpShared>,
}

impl Shared {
    pub fn new(http: HttpShared, ftp: FtpSettings) -> Self {
        let ftp = FtpShared::new(http.gid, ftp, http.net.clone());
        Self {
            http: Arc::new(http),
            ftp: Arc::new(ftp),
        }
    }
}

/// Runs one source, of the kind its URI's scheme names, until its orders end or it fails; its last
/// report is `Closed`.
pub async fn run(target: Target, link: Link, shared: Arc<Shared>) {
    let scheme = target.uri.split("://").next().unwrap_or_default();
    match scheme {
        "ftp" if http::reaches_ftp(&target.uri, &shared.http.settings.proxies) => {
            let uri = shared.ftp.with_login(&target.uri).into();
            http::run(Target { uri, ..target }, link, shared.http.clone()).await;
        }
        "ftp" | "ftps" => ftp::run(target, link, shared.ftp.clone()).await,
        #[cfg(feature = "sftp")]
        "sftp" => sftp::run(target, link, shared.ftp.clone()).await,
        #[cfg(not(feature = "sftp"))]
        "sftp" => {
            let text = "This arioso was built without SFTP";
            let failure = Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text);
            let _ = link.reports.send((link.id, Report::Closed(Err(failure))));
        }
        // What no source knows is refused there with a sentence.
        _ => http::run(target, link, shared.http.clone()).await,
    }
}
