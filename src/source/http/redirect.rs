//! Pure: where a redirect leads and what may go there.

use url::Url;

use crate::base::error::{ErrorCode, Failure, Retry};

/// As many redirects are followed, as in aria2.
pub const REDIRECTS_MAX: u32 = 20;

/// The URL that `location` means in an answer from `url`; no fragment.
///
/// # Errors
/// Not a URL, or one of a scheme other than http and https (code 22).
pub fn next(url: &Url, location: &[u8]) -> Result<Url, Failure> {
    // RFC 3986 knows ASCII only; servers send UTF-8, and older ones ISO-8859-1.
    let text = match std::str::from_utf8(location) {
        Ok(text) => text.to_owned(),
        Err(_) => location.iter().map(|byte| char::from(*byte)).collect(),
    };
    let bad = |why: &str| {
        let message = format!("The server redirects to a place that cannot be used: {why}");
        Failure::new(ErrorCode::HttpProtocol, Retry::OtherMirror, message)
    };
    let mut next = url
        .join(text.trim())
        .map_err(|error| bad(&error.to_string()))?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(bad(&format!("scheme {}", next.scheme())));
    }
    next.set_fragment(None);
    Ok(next)
}

/// The failure after [`REDIRECTS_MAX`] redirects.
pub fn too_many() -> Failure {
    Failure::new(
        ErrorCode::TooManyRedirects,
        Retry::OtherMirror,
        format!("Too many redirects: count={REDIRECTS_MAX}"),
    )
}

/// Whether credentials meant for `origin` may go to `url`: the same host and port, and no step
/// down from TLS. The usual move from http to https of a host is allowed.
pub fn same_server(origin: &Url, url: &Url) -> bool {
    let ports = |url: &Url| url.port_or_known_default();
    let same_port = origin.scheme() == url.scheme() && ports(origin) == ports(url);
    let upgrade = origin.scheme() == "http"
        && url.scheme() == "https"
        && ports(origin) == Some(80)
        && ports(url) == Some(443);
    origin.host() == url.host() && (same_port || upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_what_servers_send() {
        let url = Url::parse("http://h/a/b?c").unwrap();
        for (location, wanted) in [
            (&b"/x"[..], "http://h/x"),
            (b"x y", "http://h/a/x%20y"),
            (b"//other/x", "http://other/x"),
            (b" https://h:81/z#frag ", "https://h:81/z"),
            (b"?q", "http://h/a/b?q"),
            ("/ä".as_bytes(), "http://h/%C3%A4"),
            (b"/\xe4", "http://h/%C3%A4"),
        ] {
            assert_eq!(next(&url, location).unwrap().as_str(), wanted);
        }
        for location in [
            &b"http://"[..],
            b"ftp://h/x",
            b"javascript:alert(1)",
            b"http://[::g]/",
        ] {
            let failure = next(&url, location).unwrap_err();
            assert_eq!(failure.code, ErrorCode::HttpProtocol);
        }
    }

    #[test]
    fn credentials_stay_with_their_server() {
        for (origin, url, same) in [
            ("http://h/a", "http://h/b", true),
            ("http://h/a", "http://H:80/b", true),
            ("http://h/", "https://h/", true),
            ("https://h/", "http://h/", false),
            ("http://h/", "http://h:81/", false),
            ("http://h/", "https://h:8443/", false),
            ("http://h/", "http://h.evil/", false),
            ("http://h/", "http://www.h/", false),
        ] {
            let (origin, url) = (Url::parse(origin).unwrap(), Url::parse(url).unwrap());
            assert_eq!(same_server(&origin, &url), same, "{origin} {url}");
        }
    }
}
