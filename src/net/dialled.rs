//! HTTP over connections that are dialled here and kept by hyper's own pool, for what reqwest's
//! cannot be: tunnels of plain HTTP (`proxy-method=tunnel`), and sockets with options of their own
//! (`dscp`, `socket-recv-buffer-size`). HTTP/1.1 only.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::Uri;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::{Request, Response};
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;

use super::client::{HEADER_COUNT_MAX, IDLE_COUNT_MAX, IDLE_TIME_MAX};
use super::{dial, proxy, tls};
use crate::base::error::Failure;
use crate::base::secret::Secret;
use crate::option::settings::{ConnectionSettings, HttpSettings, TlsSettings};
use crate::option::value::ProxyMethod;

/// What makes two such clients different.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DialledKey {
    /// Asked for a tunnel to each server; `None`: servers are dialled directly.
    proxy: Option<Secret>,
    /// Plain HTTP does not look at them.
    tls: Option<TlsSettings>,
    connection: ConnectionSettings,
}

impl DialledKey {
    /// `None` where reqwest's connections serve `url`.
    pub(super) fn of(settings: &HttpSettings, url: &Url) -> Option<Self> {
        let connection = &settings.connection;
        let marked = connection.dscp > 0 || connection.receive_buffer_len.is_some();
        let secure = url.scheme() == "https";
        let proxy = proxy::choose(&settings.proxies, url);
        let serves = match proxy.and_then(|proxy| proxy::proxy_url(proxy).ok()) {
            None => marked && proxy.is_none(),
            Some(proxy) => match proxy.scheme() {
                "http" if secure => marked,
                "http" => settings.proxies.method == ProxyMethod::Tunnel,
                // TLS to the proxy itself is reqwest's affair.
                "https" => false,
                _ => marked,
            },
        };
        serves.then(|| Self {
            proxy: proxy.cloned(),
            tls: secure.then(|| settings.tls.clone()),
            connection: connection.clone(),
        })
    }
}

/// Sends requests over connections of its own.
#[derive(Clone)]
pub struct DialledClient {
    inner: Arc<legacy::Client<HttpsConnector<Dialler>, Empty<Bytes>>>,
}

impl DialledClient {
    /// # Errors
    /// Unusable certificate files (code 1).
    pub(super) fn new(key: DialledKey) -> Result<Self, Failure> {
        let tls = match &key.tls {
            Some(settings) => tls::client_config(settings)?,
            None => tls::no_trust_config()?,
        };
        let inner = legacy::Client::builder(TokioExecutor::new())
            .http1_title_case_headers(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_max_headers(HEADER_COUNT_MAX)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_COUNT_MAX)
            .build(HttpsConnector::from((Dialler { key }, Arc::new(tls))));
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// # Errors
    /// A [`Failure`] where no connection could be made (as [`dial::tcp`] has it), or what TLS or
    /// hyper has against the server's answer; in the chain of sources.
    pub async fn execute(
        &self,
        request: Request,
    ) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let mut sent = http::Request::new(Empty::new());
        *sent.method_mut() = request.method().clone();
        *sent.headers_mut() = request.headers().clone();
        *sent.uri_mut() = request.url().as_str().parse()?;
        let response = self.inner.request(sent).await?;
        Ok(Response::from(response.map(reqwest::Body::wrap)))
    }
}

/// Dials servers, or the proxy for a tunnel to them.
#[derive(Clone)]
struct Dialler {
    key: DialledKey,
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<TcpStream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let DialledKey {
            proxy, connection, ..
        } = self.key.clone();
        Box::pin(async move {
            let deadline = Instant::now() + connection.connect_timeout;
            let host = target.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let default = match target.scheme_str() {
                Some("https") => 443,
                _ => 80,
            };
            let port = target.port_u16().unwrap_or(default);
            let stream = dial::tcp(host, port, &connection, proxy.as_ref(), deadline).await?;
            Ok(TokioIo::new(stream))
        })
    }
}
