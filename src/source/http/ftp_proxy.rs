//! FTP by way of an HTTP proxy that is asked for the `ftp://` URI (`proxy-method=get`). The proxy
//! speaks FTP; reqwest leaves such URIs alone, so the request is sent by hyper itself.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderValue, PROXY_AUTHORIZATION};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use reqwest::{Request, Response};
use tokio::time::timeout;
use url::Url;

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::format::uri::Uri;
use crate::net::{dial, proxy};
use crate::option::settings::{HttpSettings, ProxySettings};
use crate::option::value::ProxyMethod;
use crate::source::fault::timed_out;

/// Whether a proxy is to be asked for this `ftp://` URI by GET.
pub fn reaches_ftp(uri: &str, proxies: &ProxySettings) -> bool {
    let Some(uri) = Uri::parse(uri) else {
        return false;
    };
    let chosen = proxy::choose_for(proxies, uri.scheme, &uri.bracketed_host());
    let is_http = chosen
        .and_then(|chosen| proxy::proxy_url(chosen).ok())
        .is_some_and(|url| url.scheme() == "http");
    is_http && proxies.method == ProxyMethod::Get
}

/// Sends a request for an `ftp://` URL to its proxy, over a connection of its own.
///
/// # Errors
/// No proxy, no connection to it, or no answer.
pub(super) async fn send(request: Request, settings: &HttpSettings) -> Result<Response, Failure> {
    let chosen = proxy::choose(&settings.proxies, request.url());
    let proxy = chosen.and_then(|chosen| proxy::proxy_url(chosen).ok());
    let proxy = proxy.ok_or_else(|| fault_of("there is no proxy for it"))?;
    let connection = &settings.connection;
    let deadline = Instant::now() + connection.connect_timeout;
    let host = proxy.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = proxy.port_or_known_default().unwrap_or(80);
    let stream = dial::tcp(host, port, connection, None, deadline).await?;
    let exchange = async {
        let mut builder = http1::Builder::new();
        builder.title_case_headers(true);
        let (mut sender, driver) = builder.handshake(TokioIo::new(stream)).await?;
        // It ends with the response's body.
        tokio::spawn(driver);
        sender.send_request(absolute(&request, &proxy)).await
    };
    match timeout(connection.timeout, exchange).await {
        Ok(Ok(response)) => Ok(Response::from(response.map(reqwest::Body::wrap))),
        Ok(Err(error)) if error.is_parse() => {
            let text = format!("The proxy's response cannot be read: {error}");
            let (code, retry) = (ErrorCode::HttpProtocol, Retry::OtherMirror);
            Err(Failure::new(code, retry, text))
        }
        Ok(Err(error)) => Err(fault_of(&error.to_string())),
        Err(_) => Err(timed_out()),
    }
}

/// The request with the whole URL in its first line (RFC 9112, 3.2.2).
fn absolute(request: &Request, proxy: &Url) -> http::Request<Empty<Bytes>> {
    let mut sent = http::Request::new(Empty::new());
    *sent.method_mut() = request.method().clone();
    *sent.headers_mut() = request.headers().clone();
    if let Ok(uri) = request.url().as_str().parse() {
        *sent.uri_mut() = uri;
    }
    if !proxy.username().is_empty() {
        let user: Vec<u8> = percent_decode_str(proxy.username()).collect();
        let password = percent_decode_str(proxy.password().unwrap_or_default());
        let pair: Vec<u8> = user.into_iter().chain([b':']).chain(password).collect();
        let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
        if let Ok(mut value) = basic {
            value.set_sensitive(true);
            sent.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
    }
    sent
}

fn fault_of(cause: &str) -> Failure {
    Failure::new(
        ErrorCode::Unknown,
        Retry::After(std::time::Duration::ZERO),
        format!("The connection to the proxy broke: {cause}"),
    )
}
