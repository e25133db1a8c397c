//! Pure: the headers of a request, in aria2's order.

use ::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE,
    HOST, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_RANGE, PRAGMA, RANGE, REFERER,
    TRANSFER_ENCODING, USER_AGENT,
};
use url::Url;

use super::piece_seed::PieceAsk;
use super::redirect;
use crate::option::settings::HttpSettings;

/// Which bytes are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeAsk {
    pub start: u64,
    /// Exclusive; `None`: to the end of the file.
    pub end: Option<u64>,
}

/// One request, less what the settings say about all of them.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// HEAD instead of GET.
    pub head: bool,
    pub range: Option<RangeAsk>,
    /// Bytes of a piece, named in the query (BEP 17).
    pub piece: Option<PieceAsk>,
    /// A strong ETag: send the whole file if it is another one by now (RFC 9110, 13.1.5).
    pub if_range: Option<String>,
    /// Seconds since 1970.
    pub if_modified_since: Option<i64>,
}

/// What the server knows us by.
#[derive(Clone, Debug, Default)]
pub struct Private {
    pub authorization: Option<HeaderValue>,
    pub cookie: Option<HeaderValue>,
}

impl Ask {
    /// Whether the server may compress the body: never where offsets matter.
    pub fn accepts_gzip(&self, settings: &HttpSettings) -> bool {
        settings.accept_gzip && !self.head && self.range.is_none() && self.piece.is_none()
    }
}

/// All headers of a request for `url`, which a request for `origin` (the user's URI) has led to.
/// A user's header replaces the built-in one of its name. What is meant for one server
/// (credentials, cookies, `Host`) goes to no other.
pub fn headers(
    ask: &Ask,
    settings: &HttpSettings,
    url: &Url,
    origin: &Url,
    own: Private,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    put(USER_AGENT, text(&settings.user_agent));
    put(ACCEPT, text("*/*"));
    put(HOST, text(&host_of(url)));
    put(RANGE, ask.range.and_then(|range| text(&range_text(range))));
    if ask.range.is_some() {
        put(IF_RANGE, ask.if_range.as_deref().and_then(text));
    }
    put(
        REFERER,
        settings.referer.as_deref().and_then(|referer| {
            text(
                match referer {
                    "*" => bare(url),
                    other => other.to_owned(),
                }
                .as_str(),
            )
        }),
    );
    if settings.want_digest {
        let digests = "SHA-512;q=1, SHA-256;q=1, SHA;q=0.1";
        put(HeaderName::from_static("want-digest"), text(digests));
    }
    if settings.no_cache {
        put(PRAGMA, text("no-cache"));
        put(CACHE_CONTROL, text("no-cache"));
    }
    if ask.accepts_gzip(settings) {
        put(ACCEPT_ENCODING, text("deflate, gzip"));
    }
    put(AUTHORIZATION, own.authorization);
    put(COOKIE, own.cookie);
    if !settings.keep_alive {
        put(CONNECTION, text("close"));
    }
    put(IF_MODIFIED_SINCE, ask.if_modified_since.and_then(http_date));
    put_user_headers(&mut headers, settings, redirect::same_server(origin, url));
    headers
}

/// The URL as it may be shown to servers: no credentials, no fragment.
pub fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    // Fails only for URLs without a host, which never come here.
    let _ = url.set_username("").and(url.set_password(None));
    url.to_string()
}

fn put_user_headers(headers: &mut HeaderMap, settings: &HttpSettings, to_origin: bool) {
    let mut seen: Vec<HeaderName> = Vec::new();
    for line in settings.headers.iter() {
        let Some((name, value)) = user_header(line) else {
            continue;
        };
        let private = [AUTHORIZATION, COOKIE, HOST].contains(&name);
        if (private && !to_origin) || frames_the_message(&name) {
            continue;
        }
        if seen.contains(&name) {
            headers.append(name, value);
        } else {
            headers.insert(name.clone(), value);
            seen.push(name);
        }
    }
}

/// Whether the user says what server is asked for, whatever the URL says.
pub fn names_host(settings: &HttpSettings) -> bool {
    let names = settings.headers.iter().filter_map(|line| user_header(line));
    names.into_iter().any(|(name, _)| name == HOST)
}

/// What only the source itself can set rightly: ranges are its business, and there is no body.
fn frames_the_message(name: &HeaderName) -> bool {
    [RANGE, IF_RANGE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

/// `Name: value`; the value may be empty. `None` for what cannot be a header.
fn user_header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, text(value.trim())?))
}

fn text(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

fn http_date(unix_seconds: i64) -> Option<HeaderValue> {
    let since = std::time::Duration::from_secs(u64::try_from(unix_seconds).ok()?);
    // Years past 9999 have no HTTP date.
    if since.as_secs() >= 253_402_300_800 {
        return None;
    }
    text(&httpdate::fmt_http_date(std::time::UNIX_EPOCH + since))
}

fn range_text(range: RangeAsk) -> String {
    match range.end {
        Some(end) => format!("bytes={}-{}", range.start, end.saturating_sub(1)),
        None => format!("bytes={}-", range.start),
    }
}

/// Host and port as the header `Host` has them.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;

    fn settings() -> HttpSettings {
        let mut settings = HttpSettings::from(&OptionSet::new());
        settings.user_agent = "agent/1".to_owned();
        settings
    }

    fn shown(ask: &Ask, settings: &HttpSettings, url: &str, origin: &str) -> Vec<String> {
        let (url, origin) = (Url::parse(url).unwrap(), Url::parse(origin).unwrap());
        let own = Private {
            authorization: text("Basic eA=="),
            cookie: None,
        };
        headers(ask, settings, &url, &origin, own)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn built_in_headers_stand_in_a_fixed_order() {
        let mut settings = settings();
        settings.referer = Some("*".to_owned());
        settings.no_cache = true;
        settings.want_digest = true;
        settings.keep_alive = false;
        let ask = Ask {
            range: Some(RangeAsk {
                start: 5,
                end: Some(10),
            }),
            if_range: Some("\"x\"".to_owned()),
            if_modified_since: Some(784_111_777),
            ..Ask::default()
        };
        let url = "http://u:p@h:8080/f?q=1#frag";
        assert_eq!(
            shown(&ask, &settings, url, url),
            [
                "user-agent: agent/1",
                "accept: */*",
                "host: h:8080",
                "range: bytes=5-9",
                "if-range: \"x\"",
                "referer: http://h:8080/f?q=1",
                "want-digest: SHA-512;q=1, SHA-256;q=1, SHA;q=0.1",
                "pragma: no-cache",
                "cache-control: no-cache",
                "authorization: Basic eA==",
                "connection: close",
                "if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT",
            ]
        );
    }

    #[test]
    fn gzip_is_accepted_for_whole_bodies_only() {
        let mut settings = settings();
        settings.accept_gzip = true;
        let whole = Ask::default();
        let from = Ask {
            range: Some(RangeAsk {
                start: 1,
                end: None,
            }),
            ..Ask::default()
        };
        let has = |ask: &Ask| {
            shown(ask, &settings, "http://h/", "http://h/")
                .contains(&"accept-encoding: deflate, gzip".to_owned())
        };
        assert!(has(&whole));
        assert!(!has(&from));
    }

    #[test]
    fn user_headers_replace_repeat_and_stay_with_their_server() {
        let mut settings = settings();
        settings.want_digest = false;
        settings.headers = [
            "user-agent: mine",
            "X-A: 1",
            "X-A: 2",
            "X-Empty:",
            "Cookie: a=b",
            "Authorization: Bearer t",
            "Host: other",
            "Range: bytes=1-2",
            "no colon",
            "bad name: x",
            "X-Bad: a\u{1}b",
        ]
        .map(Into::into)
        .into();
        let ask = Ask::default();
        assert_eq!(
            shown(&ask, &settings, "https://h/f", "https://h/f"),
            [
                "user-agent: mine",
                "accept: */*",
                "host: other",
                "authorization: Bearer t",
                "x-a: 1",
                "x-a: 2",
                "x-empty: ",
                "cookie: a=b",
            ]
        );
        assert_eq!(
            shown(&ask, &settings, "https://evil/f", "https://h/f"),
            [
                "user-agent: mine",
                "accept: */*",
                "host: evil",
                "authorization: Basic eA==",
                "x-a: 1",
                "x-a: 2",
                "x-empty: ",
            ]
        );
    }
}
