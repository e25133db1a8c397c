//! Pure: download URIs: how they are stored, taken apart and turned into file names
//! (RFC 3986, read as leniently as aria2 does).

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What never stands in a stored URI. Existing escapes and odd characters servers may mean
/// literally (`{`, `|`, `\`) stay.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// The text as it is stored and shown by RPC: blanks, control characters and non-ASCII are
/// percent-encoded, everything else is left as it was, the fragment too.
pub fn normalise(text: &str) -> String {
    utf8_percent_encode(text, UNSAFE).to_string()
}

/// The part that goes to a server: all before the fragment (RFC 9110 section 4.2.5).
pub fn without_fragment(uri: &str) -> &str {
    uri.split('#').next().unwrap_or(uri)
}

/// A URI of the form `scheme://[user[:password]@]host[:port][/path][?query][#fragment]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri<'a> {
    /// As written; schemes are case-sensitive here.
    pub scheme: &'a str,
    /// Percent-decoded.
    pub user: Option<Cow<'a, str>>,
    /// Percent-decoded; only beside a user.
    pub password: Option<Cow<'a, str>>,
    /// Without the brackets of an IPv6 literal; its zone follows a bare `%`.
    pub host: Cow<'a, str>,
    pub is_ipv6: bool,
    /// As written; see [`Self::port_or_default`].
    pub port: Option<u16>,
    /// Empty or beginning with `/`.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub fragment: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// `None` when the text has no such form, an impossible port, or a malformed IPv6 address.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if !is_scheme(scheme) {
            return None;
        }
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let path_start = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_start);
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((credentials, host_port)) => (Some(credentials), host_port),
            None => (None, authority),
        };
        let (user, password) = match credentials.map(|text| cut(text, ':')) {
            Some(("", _)) => return None,
            Some((user, password)) => (Some(decode(user)), password.map(decode)),
            None => (None, None),
        };
        let (host, is_ipv6, port) = split_host(host_port)?;
        Some(Self {
            scheme,
            user,
            password,
            host,
            is_ipv6,
            port,
            path,
            query,
            fragment,
        })
    }

    /// The port to dial; `None` for a scheme that is not known.
    pub fn port_or_default(&self) -> Option<u16> {
        self.port.or_else(|| default_port(self.scheme))
    }

    /// `host[:port]` as written, an IPv6 literal in brackets (header `Host`).
    pub fn host_port(&self) -> String {
        let host = self.bracketed_host();
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The host, an IPv6 literal in brackets.
    pub fn bracketed_host(&self) -> String {
        if self.is_ipv6 {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        }
    }

    /// Path and query, as a request line holds them.
    pub fn path_and_query(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { self.path };
        match self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// The file name that the last segment of the path asks for; `index.html` when there is none.
    pub fn file_name(&self) -> String {
        let segment = self.path.rsplit('/').next().unwrap_or_default();
        if segment.is_empty() {
            "index.html".to_owned()
        } else {
            decode_name(segment)
        }
    }
}

/// Credentials are hidden.
impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host_port(), self.path)
    }
}

/// The port a scheme implies.
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "ftp" => Some(21),
        "ftps" => Some(990),
        "sftp" => Some(22),
        _ => None,
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The text before a mark, and what follows it if it is there.
pub(super) fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn split_host(text: &str) -> Option<(Cow<'_, str>, bool, Option<u16>)> {
    let (host, is_ipv6, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            (ipv6_literal(address)?, true, rest)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (host, rest) = text.split_at(end);
            (Cow::Borrowed(host), false, rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
        None if rest.is_empty() => None,
        None => return None,
    };
    (!host.is_empty()).then_some((host, is_ipv6, port))
}

/// The address and its zone behind a bare `%` (RFC 6874 writes it `%25`).
pub(super) fn ipv6_literal(text: &str) -> Option<Cow<'_, str>> {
    let (address, zone) = cut(text, '%');
    address.parse::<std::net::Ipv6Addr>().ok()?;
    match zone {
        None => Some(Cow::Borrowed(text)),
        Some(zone) => {
            let zone = zone.strip_prefix("25").unwrap_or(zone);
            (!zone.is_empty()).then(|| Cow::Owned(format!("{address}%{zone}")))
        }
    }
}

/// A path segment as a file name: decoded, but a separator stays `%2F`, control characters stay
/// encoded, and what is no UTF-8 or names a directory stays encoded as a whole.
fn decode_name(segment: &str) -> String {
    let bytes: Vec<u8> = percent_decode_str(segment).collect();
    let Ok(name) = std::str::from_utf8(&bytes) else {
        const NAME: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'/').add(b'<').add(b'>');
        return percent_encoding::percent_encode(&bytes, NAME).to_string();
    };
    if name == "." || name == ".." {
        return name.replace('.', "%2E");
    }
    const SEPARATORS: &AsciiSet = &CONTROLS.add(b'/');
    name.chars()
        .map(|c| match c {
            c if c.is_ascii() => {
                utf8_percent_encode(c.encode_utf8(&mut [0; 4]), SEPARATORS).to_string()
            }
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stored_text_escapes_what_no_uri_holds() {
        for (given, stored) in [
            ("http://h/a b\u{fc}", "http://h/a%20b%C3%BC"),
            ("http://h/\t\u{1}\u{7f}", "http://h/%09%01%7F"),
            ("http://h/\"<>\\^`{|}[]", "http://h/%22%3C%3E\\^`{|}[]"),
            ("http://h/%zz#a b#c", "http://h/%zz#a%20b#c"),
            ("HTTP://H", "HTTP://H"),
        ] {
            assert_eq!(normalise(given), stored);
        }
        assert_eq!(without_fragment("http://h/a?b#c#d"), "http://h/a?b");
    }

    #[test]
    fn takes_uris_apart() {
        let uri = Uri::parse("http://us%40er:p:w@x@Host:8080/a/b?q=1?#f").unwrap();
        assert_eq!(
            (uri.scheme, uri.host.as_ref(), uri.port),
            ("http", "Host", Some(8080))
        );
        assert_eq!(
            (uri.user.as_deref(), uri.password.as_deref()),
            (Some("us@er"), Some("p:w@x"))
        );
        assert_eq!(
            (uri.path, uri.query, uri.fragment),
            ("/a/b", Some("q=1?"), Some("f"))
        );
        assert_eq!(uri.path_and_query(), "/a/b?q=1?");
        assert_eq!(format!("{uri:?}"), "http://Host:8080/a/b");
        let bare = Uri::parse("ftp://h").unwrap();
        assert_eq!(
            (bare.path_and_query().as_str(), bare.port_or_default()),
            ("/", Some(21))
        );
        assert_eq!(Uri::parse("http://h?q").unwrap().path_and_query(), "/?q");
        assert_eq!(Uri::parse("FOO://h").unwrap().port_or_default(), None);
    }

    #[test]
    fn ipv6_literals_keep_their_zone() {
        let uri = Uri::parse("http://[fe80::1%25lo]:81/").unwrap();
        assert_eq!((uri.host.as_ref(), uri.is_ipv6), ("fe80::1%lo", true));
        assert_eq!(Uri::parse("http://[::1]/").unwrap().host_port(), "[::1]");
        for bad in [
            "http://[::g]/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[]/",
            "http://[::1%25]/",
        ] {
            assert_eq!(Uri::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn refuses_what_aria2_refuses() {
        for bad in [
            "foo",
            "/tmp/x",
            "file:///x",
            "http:/h",
            "://h",
            "http:///x",
            "http://:80/",
            "http://h:/x:",
            "http://h:65536/",
            "http://h:8x/",
            "http://h:-1/",
            "http://@h/",
            "http://:p@h/",
            "magnet:?xt=x",
            "a b://h/",
            "",
        ] {
            assert_eq!(Uri::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn file_names_follow_the_last_segment() {
        for (path, name) in [
            ("a%20b", "a b"),
            ("a%20%FFb", "a%20%FFb"),
            ("%FF%FE.bin", "%FF%FE.bin"),
            ("nul%00x", "nul%00x"),
            ("a%2fb%20c", "a%2Fb c"),
            ("a%22b", "a\"b"),
            ("a%5Cb", "a\\b"),
            ("x?y=1", "x"),
            ("x#f", "x"),
            ("dir/", "index.html"),
            ("", "index.html"),
            ("?q", "index.html"),
            ("a;b:c*+d", "a;b:c*+d"),
            ("%C3%BC", "\u{fc}"),
            ("%zz", "%zz"),
            ("a%0Ab", "a%0Ab"),
            ("x%", "x%"),
            ("a/..", "%2E%2E"),
            ("%2e", "%2E"),
            ("a%3Fb", "a?b"),
            ("%25", "%"),
        ] {
            let uri = format!("http://h/{path}");
            assert_eq!(Uri::parse(&uri).unwrap().file_name(), name, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(http://)?[a-c0-3@:/?#%{}\\[\\],.\u{e4}-]{0,30}|\\PC{0,40}") {
            let stored = normalise(&text);
            prop_assert_eq!(normalise(&stored), stored.clone());
            if let Some(uri) = Uri::parse(&stored) {
                let name = uri.file_name();
                prop_assert!(!name.is_empty() && !name.contains('/') && name != "..");
            }
        }
    }
}
