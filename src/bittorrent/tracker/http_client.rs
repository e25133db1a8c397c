//! One question to an HTTP(S) tracker: redirects followed, answers unpacked and bounded.

use std::error::Error;
use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, LOCATION};
use reqwest::{Method, Request, Response, StatusCode};
use url::Url;

use crate::net::udp::Family;
use crate::net::{HttpClient, Net, Way};
use crate::option::settings::HttpSettings;
use crate::source::http::headers_for;

const REDIRECTS_MAX: usize = 5;
/// Room for a thousand peers that are not compact, and much text.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// The body of the answer; that of an error too, which may say why (BEP 3).
///
/// # Errors
/// What went wrong, without the URI.
pub async fn get(
    net: &Net,
    settings: &HttpSettings,
    mut url: Url,
    family: Option<Family>,
) -> Result<Vec<u8>, String> {
    let origin = url.clone();
    let mut challenged = false;
    for _ in 0..=REDIRECTS_MAX {
        let mut bare = url.clone();
        // They travel as a header; it fails only where there is no host.
        let _ = bare.set_username("").and(bare.set_password(None));
        let mut request = Request::new(Method::GET, bare);
        *request.headers_mut() = headers_for(net, settings, (&url, &origin), challenged);
        let response = match client(net, settings, &url, family)? {
            HttpClient::Direct(client) => client.execute(request).await.map_err(shown)?,
            HttpClient::Dialled(client) => client
                .execute(request)
                .await
                .map_err(|error| innermost(&*error))?,
        };
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED && settings.auth_challenge && !challenged {
            challenged = true;
            continue;
        }
        if status.is_redirection()
            && let Some(location) = response.headers().get(LOCATION)
        {
            let next = location.to_str().ok().and_then(|to| url.join(to).ok());
            url = next.ok_or("redirected to no URI")?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err("redirected to another protocol".to_owned());
            }
            continue;
        }
        let body = read(response).await?;
        return match status.is_success() || body.starts_with(b"d") {
            true => Ok(body),
            false => Err(format!("status {}", status.as_u16())),
        };
    }
    Err("too many redirects".to_owned())
}

fn client(
    net: &Net,
    settings: &HttpSettings,
    url: &Url,
    family: Option<Family>,
) -> Result<HttpClient, String> {
    let client = match family {
        Some(family) if !Net::is_proxied(settings, url) => {
            net.http_client_of(settings, url, family)
        }
        _ => net.http_client(settings, url, 0, Way::Own),
    };
    client.map_err(|failure| failure.message)
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let encoding = response.headers().get(CONTENT_ENCODING);
    let coding = encoding.map(|coding| coding.as_bytes().to_ascii_lowercase());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(shown)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LEN_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
    let unpacking: &mut dyn Read = match coding.as_deref() {
        Some(b"gzip" | b"x-gzip") => &mut GzDecoder::new(&body[..]),
        Some(b"deflate") => &mut ZlibDecoder::new(&body[..]),
        _ => return Ok(body),
    };
    let mut unpacked = Vec::new();
    let mut unpacking = unpacking.take(ANSWER_LEN_MAX as u64);
    match unpacking.read_to_end(&mut unpacked) {
        Ok(_) => Ok(unpacked),
        Err(error) => Err(format!("the answer cannot be unpacked: {error}")),
    }
}

/// As [`innermost`], which names no URI then.
fn shown(error: reqwest::Error) -> String {
    innermost(&error.without_url())
}

/// The innermost cause.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
