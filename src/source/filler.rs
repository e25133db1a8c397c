//! Fills leases from a server of files: what FTP and SFTP have in common. HTTP has a filler of its
//! own, since one response may say more than a file server ever does.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout_at;
use tracing::debug;

use super::chunks::Chunks;
use super::fault::{cut_short, timed_out};
use super::identity::contradiction;
use super::lease_writer::{Halt, LeaseWriter};
use super::{Facts, Identity, Lease, Link, Opening, Report, Target};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::SafeUrl;
use crate::base::units::Rate;

/// Gathered bytes wait no longer for more.
const GATHER_TIME_MAX: Duration = Duration::from_millis(250);
/// How long a server may take to say that a file has ended once all its bytes are there.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection to one file of a server.
pub trait FileServer: Send {
    /// Reaches the server and learns what the file is.
    fn look(&mut self) -> impl Future<Output = Result<Facts, Failure>> + Send;

    /// Has the bytes from `at` on sent.
    fn seek(&mut self, at: u64) -> impl Future<Output = Result<(), SeekError>> + Send;

    /// The next bytes, at least one; `None` where the file ends. Bytes past `end` are not wanted
    /// now. May be dropped and called again without loss.
    fn read(&mut self, end: u64) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;
}

/// Why a file cannot be read from a place.
pub enum SeekError {
    /// It can be read from its first byte only.
    WholeOnly,
    Failed(Failure),
}

impl From<Failure> for SeekError {
    fn from(failure: Failure) -> Self {
        SeekError::Failed(failure)
    }
}

/// What the settings say about the flow of bytes.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Longest silence.
    pub silence_max: Duration,
    pub lowest_speed: Rate,
}

/// Runs a source until its orders end or it fails; its last report is `Closed`. Where `server`
/// could not even be named, that is its first as well.
pub async fn run<S: FileServer>(
    server: Result<S, Failure>,
    target: Target,
    link: Link,
    patience: Patience,
) {
    debug!(uri = %SafeUrl(&target.uri), opening = ?target.opening, "opening");
    let (id, reports) = (link.id, link.reports.clone());
    let outcome = match server {
        Ok(server) => {
            Filler::new(server, &target, link, patience)
                .run(target.opening)
                .await
        }
        Err(failure) => Err(Halt::Failed(failure)),
    };
    // The filler is gone by now: its connection may be parked for others before anybody hears
    // that this source has ended.
    let outcome = Halt::outcome(outcome);
    debug!(?outcome, "closed");
    let _ = reports.send((id, Report::Closed(outcome)));
}

/// Bytes that come in.
struct Body {
    /// What has come and is not written yet.
    chunks: Chunks,
    ended: bool,
    silent_since: Option<Instant>,
    /// An error that came after bytes which are to be written first.
    failure: Option<Failure>,
}

struct Filler<S> {
    server: S,
    writer: LeaseWriter,
    patience: Patience,
    expect: Identity,
    opened: bool,
    body: Option<Body>,
}

impl<S: FileServer> Filler<S> {
    fn new(server: S, target: &Target, link: Link, patience: Patience) -> Self {
        Self {
            server,
            writer: LeaseWriter::new(link),
            patience,
            expect: target.expect.clone().unwrap_or_default(),
            opened: false,
            body: None,
        }
    }

    async fn run(mut self, opening: Opening) -> Result<(), Halt> {
        match opening {
            Opening::Probe => {
                let facts = self.look().await?;
                self.writer.report(Report::Opened(Box::new(facts)));
                return Ok(());
            }
            Opening::Whole => self.open(0).await?,
            Opening::From(start) => self.open(start).await?,
            Opening::Lease => {}
        }
        while let Some(lease) = self.writer.next_lease().await {
            self.fill(&lease).await?;
        }
        Ok(())
    }

    /// Learns what the file is and has its bytes sent; then reports.
    async fn open(&mut self, at: u64) -> Result<(), Halt> {
        let mut facts = self.look().await?;
        let inside = facts.identity.len.is_none_or(|len| at < len.max(1));
        if inside && (at == 0 || facts.ranges) {
            match self.begin(at).await {
                Ok(()) => facts.body_from = Some(at),
                Err(Err(halt)) => return Err(halt),
                Err(Ok(WholeOnly)) => facts.ranges = false,
            }
        }
        self.opened = true;
        self.writer.report(Report::Opened(Box::new(facts)));
        Ok(())
    }

    async fn look(&mut self) -> Result<Facts, Halt> {
        let looked = {
            let stopped = self.writer.hang_up();
            tokio::select! {
                biased;
                () = stopped => return Err(Halt::Stopped),
                looked = self.server.look() => looked?,
            }
        };
        if let Some(why) = contradiction(&self.expect, &looked.identity, false) {
            return Err(Failure::new(
                ErrorCode::CannotResume,
                Retry::OtherMirror,
                format!("The file on the server is another one: {why}"),
            )
            .into());
        }
        self.expect = std::mem::take(&mut self.expect).agreed(&looked.identity);
        Ok(looked)
    }

    /// Has the bytes from `at` on sent.
    async fn begin(&mut self, at: u64) -> Result<(), Result<WholeOnly, Halt>> {
        self.body = None;
        let sought = {
            let stopped = self.writer.hang_up();
            tokio::select! {
                biased;
                () = stopped => return Err(Err(Halt::Stopped)),
                sought = self.server.seek(at) => sought,
            }
        };
        match sought {
            Ok(()) => {}
            Err(SeekError::WholeOnly) => return Err(Ok(WholeOnly)),
            Err(SeekError::Failed(failure)) => return Err(Err(Halt::Failed(failure))),
        }
        self.body = Some(Body {
            chunks: Chunks::new(at),
            ended: false,
            silent_since: None,
            failure: None,
        });
        Ok(())
    }

    /// Fills a lease to its end as it is when it is reached.
    async fn fill(&mut self, lease: &Lease) -> Result<(), Halt> {
        let mut at = lease.start;
        self.prepare(at).await?;
        while at < lease.end() {
            let more = self.gather(lease).await?;
            if let Some(body) = &mut self.body {
                self.writer.write(&mut body.chunks, lease, &mut at).await?;
            }
            if at >= lease.end() {
                break;
            }
            match more {
                More::Yes => self.writer.check_speed(self.patience.lowest_speed)?,
                More::Stopped => return Err(Halt::Stopped),
                More::No if lease.end() == u64::MAX => {
                    self.body = None;
                    self.writer.report(Report::Ended(at));
                    return Ok(());
                }
                More::No => return Err(cut_short(at).into()),
            }
        }
        self.writer.report(Report::Idle);
        Ok(())
    }

    /// Has a body whose next byte is byte `at`, and the file's facts reported.
    async fn prepare(&mut self, at: u64) -> Result<(), Halt> {
        let facts = match self.opened {
            true => None,
            false => Some(self.look().await?),
        };
        let there = self
            .body
            .as_ref()
            .is_some_and(|body| !body.ended && body.chunks.position() == at);
        let begun = match there {
            true => Ok(()),
            false => self.begin(at).await,
        };
        let whole_only = match begun {
            Ok(()) => false,
            Err(Ok(WholeOnly)) => true,
            Err(Err(halt)) => return Err(halt),
        };
        if let Some(mut facts) = facts {
            self.opened = true;
            facts.body_from = (!whole_only).then_some(at);
            facts.ranges &= !whole_only;
            self.writer.report(Report::Opened(Box::new(facts)));
        }
        match whole_only {
            false => Ok(()),
            true => Err(Failure::new(
                ErrorCode::CannotResume,
                Retry::OtherMirror,
                "The server cannot resume: it sends files from their beginning only",
            )
            .into()),
        }
    }

    /// Waits for bytes and gathers some; returns early where the server is slow.
    async fn gather(&mut self, lease: &Lease) -> Result<More, Halt> {
        let Some(body) = &mut self.body else {
            return Ok(More::No);
        };
        let wanted = (self.writer.wanted(), self.writer.look_after());
        let work = body.gather(
            &mut self.server,
            wanted,
            lease,
            self.expect.len,
            self.patience,
        );
        tokio::select! {
            biased;
            gathered = work => Ok(gathered?),
            () = self.writer.hang_up() => Ok(More::Stopped),
        }
    }
}

/// The server gives a file from its first byte on only.
struct WholeOnly;

/// What a call of [`Body::gather`] came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    /// There may be bytes to write, and more to come.
    Yes,
    /// No more will come than has been gathered.
    No,
    /// The transfer has hung up.
    Stopped,
}

impl Body {
    async fn gather(
        &mut self,
        server: &mut impl FileServer,
        (wanted, look_after): (usize, Duration),
        lease: &Lease,
        total: Option<u64>,
        patience: Patience,
    ) -> Result<More, Failure> {
        let began = Instant::now();
        loop {
            let reached = self.chunks.end();
            if !self.ended && total == Some(reached) && self.failure.is_none() {
                self.confirm_end(server, reached).await?;
            }
            if self.ended {
                return Ok(More::No);
            }
            if self.chunks.len() >= wanted || (!self.chunks.is_empty() && reached >= lease.end()) {
                return Ok(More::Yes);
            }
            if let Some(failure) = self.failure.take_if(|_| self.chunks.is_empty()) {
                return Err(failure);
            }
            if self.failure.is_some() {
                return Ok(More::Yes);
            }
            let deadline = match self.chunks.is_empty() {
                true => began + look_after.min(patience.silence_max),
                false => began + GATHER_TIME_MAX,
            };
            match timeout_at(deadline.into(), server.read(lease.end())).await {
                Ok(Ok(Some(chunk))) => {
                    self.silent_since = None;
                    if total.is_some_and(|total| reached + chunk.len() as u64 > total) {
                        return Err(too_long(total));
                    }
                    self.chunks.push(chunk);
                }
                Ok(Ok(None)) => self.ended = true,
                Ok(Err(failure)) => self.failure = Some(failure),
                Err(_) if !self.chunks.is_empty() => return Ok(More::Yes),
                Err(_) => {
                    let since = *self.silent_since.get_or_insert(began);
                    if since.elapsed() >= patience.silence_max {
                        return Err(timed_out());
                    }
                    return Ok(More::Yes);
                }
            }
        }
    }

    /// All bytes the server promised are there: sees to it that no more come, since then they
    /// would be those of another file. A server that breaks off now has broken nothing.
    async fn confirm_end(
        &mut self,
        server: &mut impl FileServer,
        total: u64,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + END_TIME_MAX;
        match timeout_at(deadline.into(), server.read(u64::MAX)).await {
            Ok(Ok(Some(_))) => Err(too_long(Some(total))),
            Ok(Ok(None) | Err(_)) | Err(_) => {
                self.ended = true;
                Ok(())
            }
        }
    }
}

fn too_long(total: Option<u64>) -> Failure {
    let total = total.unwrap_or_default();
    Failure::new(
        ErrorCode::Unknown,
        Retry::OtherMirror,
        format!("The server sends more than the {total} bytes it announced"),
    )
}
