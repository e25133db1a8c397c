//! The HTTP front: aria2's paths, statuses and headers (rpc.md section 1).

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{debug, warn};

use crate::option::settings::RpcPatience;

use super::answer::{self, Answer, REFUSAL_DELAY};
use super::dispatch::{Caller, Dispatcher};
use super::get_query;
use super::guard::{Guard, Refused, Visitor};
use super::jsonrpc;
use super::notify::Notices;
use super::request_room::{Held, RequestRoom};
use super::websocket;

/// How much of a body that is too long is read away, so that its sender comes to see the answer.
const DISCARD_MAX: u64 = 64 << 20;
const JSON_PATH: &str = "/jsonrpc";
const XML_PATH: &str = "/rpc";
const GZIP_FROM_LEN: usize = 1;
/// Longer answers are compressed on another thread.
const GZIP_HERE_MAX: usize = 64 << 10;

type Request = http::Request<Incoming>;
type Response = http::Response<Whole>;

/// What all connections share.
pub struct Site {
    pub dispatcher: Arc<Dispatcher>,
    pub notices: Notices,
    pub allow_origin_all: bool,
    pub guard: Guard,
    /// The log has been told of a refused page or name; once is enough.
    pub told_of_refusal: AtomicBool,
    pub patience: RpcPatience,
    /// Bytes of a body or of a WebSocket message.
    pub request_len_max: u64,
    /// For all requests that are coming in.
    pub room: Arc<RequestRoom>,
    /// Requests being answered.
    pub busy: AtomicUsize,
    /// One for each connection there may be.
    pub places: Arc<Semaphore>,
    /// One for each connection that is being turned away politely.
    pub farewells: Arc<Semaphore>,
    pub told_of_crowd: AtomicBool,
}

/// A connection on its way to be a WebSocket.
struct Upgrade {
    done: OnUpgrade,
    /// A web page that would be refused without a secret opened it.
    guest: bool,
}

/// Counts a request while it lives.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection to its end, as a WebSocket if it becomes one.
pub async fn serve<T>(stream: T, site: Arc<Site>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgrade = Arc::new(Mutex::new(None));
    let service = {
        let (site, upgrade) = (Arc::clone(&site), Arc::clone(&upgrade));
        service_fn(move |request| {
            let (site, upgrade) = (Arc::clone(&site), Arc::clone(&upgrade));
            async move { Ok::<_, Infallible>(respond(&site, request, &upgrade).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(site.patience.idle)
        .title_case_headers(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        debug!(%error, "RPC connection ended");
        return;
    }
    let upgrade: Option<Upgrade> = upgrade.lock().take();
    if let Some(Upgrade { done, guest }) = upgrade {
        match done.await {
            Ok(stream) => websocket::serve(TokioIo::new(stream), &site, guest).await,
            Err(error) => debug!(%error, "no WebSocket came of it"),
        }
    }
}

async fn respond(site: &Site, request: Request, upgrade: &Mutex<Option<Upgrade>>) -> Response {
    let _busy = Busy::new(&site.busy);
    if request.method() == Method::OPTIONS {
        return preflight(site, request.headers());
    }
    if let Err(refused) = site.guard.admit(visitor(&request)) {
        return refuse(site, &request, refused);
    }
    let authorization = request.headers().get(header::AUTHORIZATION);
    if !site
        .dispatcher
        .gate()
        .admits_basic(authorization.map(HeaderValue::as_bytes))
    {
        return Reply::empty(StatusCode::UNAUTHORIZED)
            .closing()
            .with(header::WWW_AUTHENTICATE, "Basic realm=\"aria2\"")
            .build(site);
    }
    if wants_websocket(request.headers()) {
        return accept_websocket(site, request, upgrade);
    }
    let gzip = accepts_gzip(request.headers());
    let reply = match (request.method(), request.uri().path()) {
        (&Method::POST, JSON_PATH) => post_json(site, request).await,
        (&Method::GET, JSON_PATH) => get_json(site, request.uri().query()).await,
        (&Method::POST, XML_PATH) => post_xml(site, request).await,
        _ => Reply::empty(StatusCode::NOT_FOUND),
    };
    let reply = match gzip && reply.body.len() > GZIP_HERE_MAX {
        // Megabytes take a while to compress: not here, where others are answered.
        true => tokio::task::spawn_blocking(|| reply.gzipped(true)).await,
        false => Ok(reply.gzipped(gzip)),
    };
    reply
        .unwrap_or_else(|_| Reply::empty(StatusCode::INTERNAL_SERVER_ERROR))
        .build(site)
}

/// What the headers say of the page a request comes from.
fn visitor(request: &Request) -> Visitor<'_> {
    let text = |name: HeaderName| {
        let value = request.headers().get(name)?;
        // What is no text is no origin of ours either.
        Some(value.to_str().unwrap_or("?"))
    };
    let target = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    Visitor {
        host: target.or_else(|| text(header::HOST)),
        origin: text(header::ORIGIN),
        referer: text(header::REFERER),
        fetch_site: text(HeaderName::from_static("sec-fetch-site")),
    }
}

fn refuse(site: &Site, request: &Request, refused: Refused) -> Response {
    let visitor = visitor(request);
    if !site.told_of_refusal.swap(true, Ordering::Relaxed) {
        match refused {
            Refused::Host => warn!(
                host = visitor.host,
                "RPC call under a foreign name refused; set rpc-secret or rpc-allowed-host to take it"
            ),
            Refused::Page => warn!(
                origin = visitor.origin,
                "RPC call from a foreign web page refused; set rpc-secret, rpc-allowed-host or rpc-allow-origin-all to take it"
            ),
        }
    }
    debug!(
        ?refused,
        host = visitor.host,
        origin = visitor.origin,
        "RPC call refused"
    );
    Reply::empty(StatusCode::FORBIDDEN).closing().build(site)
}

async fn post_json(site: &Site, request: Request) -> Reply {
    // The room is held until the request has been answered.
    let (body, _held) = match read_body(request.into_body(), site).await {
        Ok(read) => read,
        Err(reply) => return reply,
    };
    let caller = Arc::new(Caller::default());
    let answer = answer::json(&site.dispatcher, &caller, jsonrpc::parse(&body)).await;
    drop(body);
    delay_if_refused(&caller).await;
    Reply::json(answer, "application/json-rpc")
}

async fn get_json(site: &Site, query: Option<&str>) -> Reply {
    let query = get_query::parse(query.unwrap_or_default());
    let caller = Arc::new(Caller::default());
    let mut answer = answer::json(&site.dispatcher, &caller, query.message).await;
    delay_if_refused(&caller).await;
    match query.callback {
        Some(callback) => {
            answer.body = format!("{callback}({})", answer.body);
            Reply::json(answer, "text/javascript")
        }
        None => Reply::json(answer, "application/json-rpc"),
    }
}

async fn post_xml(site: &Site, request: Request) -> Reply {
    // The room is held until the request has been answered.
    let (body, _held) = match read_body(request.into_body(), site).await {
        Ok(read) => read,
        Err(reply) => return reply,
    };
    let caller = Arc::new(Caller::default());
    match answer::xml(&site.dispatcher, &caller, &body).await {
        Ok(answer) => {
            delay_if_refused(&caller).await;
            Reply::text(StatusCode::OK, "text/xml", answer.body)
        }
        Err(_) => Reply::empty(StatusCode::BAD_REQUEST),
    }
}

/// Only this connection waits; the answer costs a timer.
async fn delay_if_refused(caller: &Caller) {
    if caller.was_refused() {
        tokio::time::sleep(REFUSAL_DELAY).await;
    }
}

/// Reads a body.
///
/// # Errors
/// The reply to one that is too long, too slow or broken, or that finds no room.
async fn read_body(mut body: Incoming, site: &Site) -> Result<(Bytes, Held), Reply> {
    let len_max = site.request_len_max;
    let started = Instant::now();
    if body.size_hint().lower() > len_max {
        return Err(turn_away(body, StatusCode::PAYLOAD_TOO_LARGE).await);
    }
    let held = site.room.enter();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let received = first.len().max(rest.len()) as u64;
        let wait = wait_for_more(&site.patience, received, started.elapsed());
        let frame = match tokio::time::timeout(wait, body.frame()).await {
            Err(_) => return Err(Reply::empty(StatusCode::REQUEST_TIMEOUT).closing()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Reply::empty(StatusCode::BAD_REQUEST).closing()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if held.grow(data.len() as u64).is_err() {
            drop((first, rest, held, data));
            let reply = turn_away(body, StatusCode::SERVICE_UNAVAILABLE).await;
            return Err(reply.with(header::RETRY_AFTER, "5"));
        }
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        if first.len().max(rest.len()) as u64 > len_max {
            return Err(turn_away(body, StatusCode::PAYLOAD_TOO_LARGE).await);
        }
    }
    let body = match rest.is_empty() {
        true => first,
        false => rest.freeze(),
    };
    Ok((body, held))
}

/// How long the next bytes of a body may take. One that trickles does not hold its connection for
/// ever.
fn wait_for_more(patience: &RpcPatience, received: u64, elapsed: Duration) -> Duration {
    let all = patience.body + Duration::from_secs(received / 1024);
    all.saturating_sub(elapsed).min(patience.idle)
}

/// A sender who is cut off sees a reset connection instead of the answer, so some is read away.
async fn turn_away(mut body: Incoming, status: StatusCode) -> Reply {
    let discard = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
            if discarded > DISCARD_MAX {
                break;
            }
        }
    };
    // Whether all of it came or not, the answer is the same.
    let _ = tokio::time::timeout(Duration::from_secs(5), discard).await;
    Reply::empty(status).closing()
}

fn preflight(site: &Site, headers: &HeaderMap) -> Response {
    let mut reply = Reply::empty(StatusCode::OK);
    let is_preflight = headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if site.allow_origin_all && is_preflight {
        reply = reply
            .with(header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS")
            .with(header::ACCESS_CONTROL_MAX_AGE, "1728000");
        if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            let name = header::ACCESS_CONTROL_ALLOW_HEADERS;
            reply.headers.push((name, asked.clone()));
        }
    }
    reply.build(site)
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade")
}

/// Switches to WebSocket (RFC 6455 section 4.2.2).
fn accept_websocket(
    site: &Site,
    mut request: Request,
    upgrade: &Mutex<Option<Upgrade>>,
) -> Response {
    if request.uri().path() != JSON_PATH {
        return Reply::empty(StatusCode::NOT_FOUND).build(site);
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let (Some(key), &Method::GET) = (key, request.method()) else {
        return Reply::empty(StatusCode::BAD_REQUEST).build(site);
    };
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        return Reply::empty(StatusCode::UPGRADE_REQUIRED)
            .with(header::SEC_WEBSOCKET_VERSION, "13")
            .build(site);
    }
    let accept = derive_accept_key(key.as_bytes());
    let guest = site.guard.judge(visitor(&request)).is_err();
    let done = hyper::upgrade::on(&mut request);
    *upgrade.lock() = Some(Upgrade { done, guest });
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Whether a header that lists words holds this one.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    has_token(headers, header::ACCEPT_ENCODING, "gzip")
}

/// A body in one piece. Even an empty one counts as a body: hyper moves `Content-Length` behind
/// the other headers where there is none.
#[derive(Default)]
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// A response before its common headers.
struct Reply {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    gzipped: bool,
    closing: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content_type: None,
            body: Vec::new(),
            gzipped: false,
            closing: false,
            headers: Vec::new(),
        }
    }

    fn text(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Self {
            content_type: Some(content_type),
            body: body.into_bytes(),
            ..Self::empty(status)
        }
    }

    /// aria2 closes the connection behind every error answer.
    fn json(answer: Answer, content_type: &'static str) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self {
            closing: answer.status != 200,
            ..Self::text(status, content_type, answer.body)
        }
    }

    fn closing(mut self) -> Self {
        self.closing = true;
        self
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    fn gzipped(mut self, wanted: bool) -> Self {
        if !wanted || self.body.len() < GZIP_FROM_LEN {
            return self;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail; if it did, the plain text is as good.
        if encoder.write_all(&self.body).is_ok()
            && let Ok(compressed) = encoder.finish()
        {
            self.body = compressed;
            self.gzipped = true;
        }
        self
    }

    /// Puts the headers in aria2's order.
    fn build(self, site: &Site) -> Response {
        let now = httpdate::fmt_http_date(SystemTime::now());
        let now = HeaderValue::try_from(now).unwrap_or(HeaderValue::from_static(""));
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(header::DATE, now.clone());
        headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        headers.insert(header::EXPIRES, now);
        let fixed = |text| HeaderValue::from_static(text);
        headers.insert(header::CACHE_CONTROL, fixed("no-cache"));
        if let Some(content_type) = self.content_type {
            headers.insert(header::CONTENT_TYPE, fixed(content_type));
        }
        if site.allow_origin_all {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
        }
        if self.gzipped {
            headers.insert(header::CONTENT_ENCODING, fixed("gzip"));
        }
        if self.closing {
            headers.insert(header::CONNECTION, fixed("close"));
        }
        headers.extend(self.headers);
        let mut response = Response::new(Whole(Some(Bytes::from(self.body))));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}
