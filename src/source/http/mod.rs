//! HTTP and HTTPS: one source is one connection that fills leases with the bodies of responses.
//!
//! `request`, `response` and their helpers decide (Pure); `exchange` sends a request and follows
//! redirects; `body` reads; this file fills leases.

mod auth;
mod body;
pub mod content_range;
mod digest_header;
pub mod disposition;
mod exchange;
mod fault;
mod ftp_proxy;
pub mod link_header;
mod piece_seed;
mod redirect;
pub mod request;
pub mod response;
mod zone;

pub use self::ftp_proxy::reaches_ftp;
pub use self::piece_seed::PieceSeed;

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue};
use reqwest::Response;
use tracing::{Instrument, debug, info_span};
use url::Url;

use self::body::{Body, DRAIN_LEN_MAX, Gathered};
use self::exchange::Exchange;
use self::piece_seed::PieceAsk;
use self::request::{Ask, Private, RangeAsk};
use self::response::Found;

use super::fault::cut_short;
use super::lease_writer::{Halt, LeaseWriter};
use super::{Identity, Lease, Link, Opening, Report, Target};
use crate::base::error::Failure;
use crate::base::gid::Gid;
use crate::base::secret::SafeUrl;
use crate::net::{Net, Seat, is_long};
use crate::option::settings::HttpSettings;

/// What all HTTP sources of one download share.
pub struct HttpShared {
    pub gid: Gid,
    pub settings: HttpSettings,
    pub net: Arc<Net>,
    /// The time of the local file, where only a newer one is wanted (`conditional-get`); seconds
    /// since 1970.
    pub modified_since: Option<i64>,
}

/// Headers of a GET for `url`, to which one for `origin` has led, for whoever is no source: a tracker
/// is asked with the user's headers, credentials and cookies like any server.
pub fn headers_for(
    net: &Net,
    settings: &HttpSettings,
    (url, origin): (&Url, &Url),
    challenged: bool,
) -> HeaderMap {
    let netrc = net.netrc(settings);
    let cookie = net.cookies().header(url);
    let own = Private {
        authorization: auth::authorization(settings, url, origin, challenged, netrc.as_deref()),
        cookie: cookie.and_then(|text| HeaderValue::from_str(&text).ok()),
    };
    request::headers(&Ask::default(), settings, url, origin, own)
}

/// Runs one HTTP source until its orders end or it fails; its last report is `Closed`.
pub async fn run(target: Target, link: Link, shared: Arc<HttpShared>) {
    let span = info_span!("http", gid = %shared.gid, source = link.id.0);
    async {
        debug!(uri = %SafeUrl(&target.uri), opening = ?target.opening, "opening");
        let (id, reports) = (link.id, link.reports.clone());
        let outcome = match Source::new(&target, link, shared) {
            Ok(mut source) => source.run(target.opening).await,
            Err(failure) => Err(Halt::Failed(failure)),
        };
        let outcome = Halt::outcome(outcome);
        debug!(?outcome, "closed");
        // Nobody listens any more if the transfer has been dropped.
        let _ = reports.send((id, Report::Closed(outcome)));
    }
    .instrument(span)
    .await;
}

struct Source {
    writer: LeaseWriter,
    shared: Arc<HttpShared>,
    exchange: Exchange,
    /// It gives pieces of a torrent and knows no file.
    pieces: Option<PieceSeed>,
    /// What every response has to agree with.
    expect: Identity,
    opened: bool,
    body: Option<Body>,
    /// The body is a long one on a shared connection.
    seat: Option<Seat>,
}

/// How a body came to its end before its lease did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    LeaseFull,
    BodyEnded,
}

impl Source {
    fn new(target: &Target, link: Link, shared: Arc<HttpShared>) -> Result<Self, Failure> {
        Ok(Self {
            exchange: Exchange::new(&target.uri, link.id.0, shared.clone())?,
            writer: LeaseWriter::new(link),
            pieces: target.pieces,
            shared,
            expect: target.expect.clone().unwrap_or_default(),
            opened: false,
            body: None,
            seat: None,
        })
    }

    async fn run(&mut self, opening: Opening) -> Result<(), Halt> {
        if matches!(opening, Opening::Probe | Opening::Whole | Opening::From(0)) {
            self.exchange.share();
        }
        match opening {
            Opening::Probe => return self.probe().await,
            Opening::Whole => self.open(Ask::default()).await?,
            Opening::From(0) => self.open(Ask::default()).await?,
            Opening::From(start) => self.resume(start).await?,
            Opening::Lease => {}
        }
        while let Some(lease) = self.writer.next_lease().await {
            self.fill(&lease).await?;
        }
        Ok(())
    }

    /// Where all is there already, some servers refuse to give the rest without saying how long
    /// the file is.
    async fn resume(&mut self, start: u64) -> Result<(), Halt> {
        match self.open(self.resume_from(start)).await {
            Err(Halt::Failed(_)) if self.exchange.range_was_refused() => {
                self.open(Ask::default()).await
            }
            other => other,
        }
    }

    fn resume_from(&self, start: u64) -> Ask {
        // Another server's ETag would make this one send the whole file.
        let known = self.expect.server.as_ref();
        let own = known.is_none_or(|server| *server == self.exchange.server());
        let strong = |tag: &&String| own && !tag.starts_with("W/");
        Ask {
            range: Some(RangeAsk { start, end: None }),
            if_range: self.expect.etag.as_ref().filter(strong).cloned(),
            ..Ask::default()
        }
    }

    async fn probe(&mut self) -> Result<(), Halt> {
        let head = Ask {
            head: true,
            ..Ask::default()
        };
        let probed = self.open(head).await;
        match probed {
            // Servers that know no HEAD: ask for the body and leave it.
            Err(Halt::Failed(_)) if self.exchange.method_was_refused() => {
                self.open(Ask::default()).await
            }
            other => other,
        }
    }

    /// Sends a request and keeps its body; the first answer is reported.
    async fn open(&mut self, mut ask: Ask) -> Result<(), Halt> {
        self.body = None;
        self.seat = None;
        if ask.range.is_none() && ask.piece.is_none() {
            ask.if_modified_since = self.shared.modified_since;
        }
        let (mut found, mut response) = self.ask(&ask).await?;
        if self.exchange.shared_server().is_some() && !self.may_stay(&found) {
            debug!("a long body goes to a connection of its own");
            drop(response);
            self.exchange.share_no_more();
            (found, response) = self.ask(&ask).await?;
        }
        self.exchange.share_no_more();
        if let Some(from) = found.facts.body_from {
            self.body = Some(Body::new(response, from, &found));
        }
        let facts = found.facts;
        // Later responses have to agree with this one, too.
        self.expect = std::mem::take(&mut self.expect).agreed(&facts.identity);
        if !self.opened {
            self.opened = true;
            self.writer.report(Report::Opened(Box::new(facts)));
        }
        Ok(())
    }

    async fn ask(&mut self, ask: &Ask) -> Result<(Found, Response), Halt> {
        let work = self.exchange.ask(ask, &self.expect);
        let stopped = self.writer.hang_up();
        tokio::select! {
            biased;
            () = stopped => Err(Halt::Stopped),
            exchanged = work => Ok(exchanged?),
        }
    }

    /// Whether what was found may come over the shared connection: all that is short, and one
    /// long body.
    fn may_stay(&mut self, found: &Found) -> bool {
        let is_body = found.facts.body_from.is_some();
        let long = is_body && found.body_end.is_some_and(is_long);
        let Some(server) = self.exchange.shared_server().filter(|_| long) else {
            return true;
        };
        self.seat = self.shared.net.take_seat(server);
        self.seat.is_some()
    }

    /// Fills a lease to its end as it is when it is reached.
    async fn fill(&mut self, lease: &Lease) -> Result<(), Halt> {
        let mut at = lease.start;
        while at < lease.end() {
            let began = at;
            self.seek(at, lease.end()).await?;
            if self.stream(lease, &mut at).await? == Flow::LeaseFull {
                break;
            }
            let body = self.body.take();
            let Some(body) = body.filter(Body::ended_where_it_should) else {
                return Err(cut_short(at).into());
            };
            if lease.end() == u64::MAX && !body.is_part() {
                self.writer.report(Report::Ended(at));
                return Ok(());
            }
            // The server may send less than was asked for, but never nothing.
            if at == began {
                return Err(cut_short(at).into());
            }
            if lease.end() == u64::MAX && self.is_end(at).await? {
                self.writer.report(Report::Ended(at));
                return Ok(());
            }
        }
        self.settle_body().await?;
        self.writer.report(Report::Idle);
        Ok(())
    }

    /// Whether a file whose length was not known ends at byte `at`, where a part of it did: if the
    /// server does not say so, it is asked for more.
    async fn is_end(&mut self, at: u64) -> Result<bool, Halt> {
        if self.expect.len.is_some() {
            return Ok(self.expect.len == Some(at));
        }
        let range = Some(RangeAsk {
            start: at,
            end: None,
        });
        let more = Ask {
            range,
            ..Ask::default()
        };
        match self.open(more).await {
            Ok(()) if self.body.is_some() => Ok(false),
            Ok(()) => match self.expect.len {
                Some(len) if len != at => Err(cut_short(at).into()),
                _ => Ok(true),
            },
            Err(Halt::Failed(_)) if self.exchange.range_was_refused() => Ok(true),
            Err(halt) => Err(halt),
        }
    }

    /// Has a body open whose next byte is byte `at` of the file.
    async fn seek(&mut self, at: u64, end: u64) -> Result<(), Halt> {
        if self
            .body
            .as_ref()
            .is_some_and(|body| body.chunks.position() == at)
        {
            return Ok(());
        }
        let piece = self.pieces.map(|seed| PieceAsk::new(seed, at, end));
        let end = (end != u64::MAX).then_some(end);
        let is_part = piece.is_none() && (at > 0 || end.is_some());
        self.open(Ask {
            range: is_part.then_some(RangeAsk { start: at, end }),
            piece,
            ..Ask::default()
        })
        .await?;
        match &self.body {
            Some(body) if body.chunks.position() == at => Ok(()),
            Some(_) => Err(response::cannot_resume("it answers with the whole file").into()),
            None => Err(response::cannot_resume("it has nothing there").into()),
        }
    }

    /// Writes what comes until the lease is full or the body ends.
    async fn stream(&mut self, lease: &Lease, at: &mut u64) -> Result<Flow, Halt> {
        loop {
            let gathered = self.gather().await?;
            if let Some(body) = &mut self.body {
                self.writer.write(&mut body.chunks, lease, at).await?;
            }
            if *at >= lease.end() {
                return Ok(Flow::LeaseFull);
            }
            if gathered == Gathered::Stopped {
                return Err(Halt::Stopped);
            }
            if gathered == Gathered::Ended {
                return Ok(Flow::BodyEnded);
            }
            let lowest = self.shared.settings.lowest_speed;
            if let Err(failure) = self.writer.check_speed(lowest) {
                self.exchange.handle_broken();
                return Err(failure.into());
            }
        }
    }

    async fn gather(&mut self) -> Result<Gathered, Halt> {
        let Some(body) = &mut self.body else {
            return Ok(Gathered::Ended);
        };
        if self.writer.has_hung_up() {
            return Ok(Gathered::Stopped);
        }
        let wanted = self.writer.wanted();
        let silence_max = self.shared.settings.connection.timeout;
        let work = body.gather(wanted, self.writer.look_after(), silence_max);
        tokio::select! {
            biased;
            gathered = work => gathered.map_err(|failure| {
                self.exchange.handle_broken();
                failure.into()
            }),
            () = self.writer.hang_up() => Ok(Gathered::Stopped),
        }
    }

    /// Reads a short rest of the body, so that the connection serves the next lease; a body
    /// that may go on for long is kept only if the next lease may begin where it stands.
    async fn settle_body(&mut self) -> Result<(), Halt> {
        let Some(body) = &mut self.body else {
            return Ok(());
        };
        match body.rest() {
            Some(rest) if rest <= DRAIN_LEN_MAX => {
                let stopped = self.writer.hang_up();
                tokio::select! {
                    biased;
                    () = stopped => return Err(Halt::Stopped),
                    () = body.drain() => {}
                }
                self.body = None;
            }
            _ => {}
        }
        Ok(())
    }
}
