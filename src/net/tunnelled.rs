//! Plain HTTP through an HTTP proxy's tunnels (`proxy-method=tunnel`). reqwest tunnels HTTPS only,
//! so these connections are dialled here and kept by hyper's own pool.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::Uri;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::{Request, Response};
use tokio::net::TcpStream;
use tower_service::Service;

use super::client::{HEADER_COUNT_MAX, IDLE_COUNT_MAX, IDLE_TIME_MAX};
use super::dial;
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::Secret;
use crate::option::settings::ConnectionSettings;

/// Sends requests for `http://` URLs; every connection is a tunnel to the server it serves.
#[derive(Clone)]
pub struct TunnelledClient {
    inner: Arc<legacy::Client<Dialler, Empty<Bytes>>>,
}

impl TunnelledClient {
    pub fn new(proxy: Secret, settings: ConnectionSettings) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new())
            .http1_title_case_headers(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_max_headers(HEADER_COUNT_MAX)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_COUNT_MAX)
            .build(Dialler { proxy, settings });
        Self {
            inner: Arc::new(inner),
        }
    }

    /// # Errors
    /// No tunnel (as [`dial::tcp`] has it), or no answer through it (code 1).
    pub async fn execute(&self, request: Request) -> Result<Response, Failure> {
        let mut sent = http::Request::new(Empty::new());
        *sent.method_mut() = request.method().clone();
        *sent.headers_mut() = request.headers().clone();
        let uri = request.url().as_str().parse();
        *sent.uri_mut() = uri.map_err(|error| broken(&error))?;
        match self.inner.request(sent).await {
            Ok(response) => Ok(Response::from(response.map(reqwest::Body::wrap))),
            Err(error) => Err(failure_of(&error)),
        }
    }
}

fn failure_of(error: &legacy::Error) -> Failure {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut chain = std::iter::successors(Some(first), |part| part.source());
    match chain.find_map(|part| part.downcast_ref::<Failure>()) {
        Some(failure) => failure.clone(),
        None => broken(error),
    }
}

fn broken(error: &dyn std::error::Error) -> Failure {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = format!("The connection broke: {cause}");
    Failure::new(
        ErrorCode::Unknown,
        Retry::After(std::time::Duration::ZERO),
        text,
    )
}

/// Dials the proxy and asks it for a tunnel.
#[derive(Clone)]
struct Dialler {
    proxy: Secret,
    settings: ConnectionSettings,
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<TcpStream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Self { proxy, settings } = self.clone();
        Box::pin(async move {
            let deadline = Instant::now() + settings.connect_timeout;
            let host = target.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = target.port_u16().unwrap_or(80);
            let stream = dial::tcp(host, port, &settings, Some(&proxy), deadline).await?;
            Ok(TokioIo::new(stream))
        })
    }
}
