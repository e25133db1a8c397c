//! Pure: which web pages may call, and under which names the server may be called.
//!
//! A browser calls whatever address a page tells it to. Without a secret that is the page's power
//! over the server, so that calls are judged by the page that makes them:
//!
//! | who calls | without a secret |
//! |-|-|
//! | a program (no `Origin`, no other sign of a page) | let in |
//! | a page of this machine (`localhost`, a loopback address) | let in |
//! | a page of the very host that is called, or of one in `rpc-allowed-host` | let in |
//! | an extension or an application with a scheme of its own (`chrome-extension:`, `app:`) | let in: no web page can name itself so |
//! | any other page; a file; `null`, which every page can be by a sandboxed frame | refused |
//!
//! and by the name they call: a name that somebody can register may be turned to this machine's
//! address after its page was loaded (DNS rebinding), which makes the page one of the called host.
//! So only addresses, names nobody can register and those of `rpc-allowed-host` are answered to.
//!
//! A secret makes all this needless, since no page knows it, and `rpc-allow-origin-all` says that
//! it is not wanted. HTTP Basic does not count: browsers add it to the calls of every page.

use std::net::IpAddr;

/// Why a request is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The name that was called is not one of ours.
    Host,
    /// The page that calls is none of ours.
    Page,
}

/// What the headers of a request say about its origin. `None`: the header is not there.
#[derive(Clone, Copy, Default, Debug)]
pub struct Visitor<'a> {
    /// Name and port that were called (RFC 9110 section 7.2).
    pub host: Option<&'a str>,
    /// RFC 6454 section 7.
    pub origin: Option<&'a str>,
    /// RFC 9110 section 10.1.3.
    pub referer: Option<&'a str>,
    /// `Sec-Fetch-Site` (W3C Fetch Metadata).
    pub fetch_site: Option<&'a str>,
}

/// Judges requests by their headers.
#[derive(Clone, Debug)]
pub struct Guard {
    /// There is a secret, or every page is welcome.
    open: bool,
    /// In lower case, without the dot at the end; `*` before the first dot stands for any labels.
    allowed: Vec<String>,
}

impl Guard {
    /// `allowed` are the names of `rpc-allowed-host`.
    pub fn new<'a>(
        has_secret: bool,
        allow_origin_all: bool,
        allowed: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            open: has_secret || allow_origin_all,
            allowed: allowed.into_iter().map(plain_name).collect(),
        }
    }

    /// Whether the request may be answered.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admit(&self, visitor: Visitor<'_>) -> Result<(), Refused> {
        match self.open {
            true => Ok(()),
            false => self.judge(visitor),
        }
    }

    /// Judges as without a secret, even where there is one.
    ///
    /// # Errors
    /// Why such a request would not be answered.
    pub fn judge(&self, visitor: Visitor<'_>) -> Result<(), Refused> {
        let host = visitor.host.map(host_of).unwrap_or_default();
        if !host.is_empty() && !self.is_ours(&host) {
            return Err(Refused::Host);
        }
        match self.page_is_ours(visitor, &host) {
            true => Ok(()),
            false => Err(Refused::Page),
        }
    }

    fn page_is_ours(&self, visitor: Visitor<'_>, host: &str) -> bool {
        if let Some(origin) = visitor.origin {
            return self.welcomes(origin, host);
        }
        // A `<script>` or a link calls with GET and names no origin.
        if let Some(referer) = visitor.referer {
            return self.welcomes(referer, host);
        }
        !matches!(visitor.fetch_site, Some("cross-site" | "same-site"))
    }

    /// Judges a page by its origin or its whole URL.
    fn welcomes(&self, page: &str, host: &str) -> bool {
        let Some((scheme, rest)) = page.split_once("://") else {
            return false;
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" | "ws" | "wss" => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let page = host_of(authority);
                page == host && !page.is_empty() || is_loopback(&page) || self.is_allowed(&page)
            }
            "file" => false,
            scheme => is_scheme(scheme),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        is_address(host) || is_private_name(host) || self.is_allowed(host)
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.allowed
            .iter()
            .any(|allowed| match allowed.strip_prefix('*') {
                Some(tail) => tail.is_empty() || (tail.starts_with('.') && host.ends_with(tail)),
                None => allowed == host,
            })
    }
}

/// The host of `host[:port]`, without brackets, in lower case.
fn host_of(authority: &str) -> String {
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    if let Some(rest) = authority.strip_prefix('[') {
        return plain_name(rest.split(']').next().unwrap_or(rest));
    }
    plain_name(authority.split(':').next().unwrap_or(authority))
}

fn plain_name(name: &str) -> String {
    let name = name.trim().trim_matches(['[', ']']);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_address(host: &str) -> bool {
    address_of(host).is_some()
}

fn address_of(host: &str) -> Option<IpAddr> {
    // The zone of a link-local address does not matter here.
    host.split('%').next().unwrap_or(host).parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || address_of(host).is_some_and(|address| address.to_canonical().is_loopback())
}

/// Whether nobody can register such a name: one without a dot, or below a name that is set aside
/// for local networks (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`).
fn is_private_name(host: &str) -> bool {
    const SET_ASIDE: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];
    !host.contains('.') || SET_ASIDE.iter().any(|tail| host.ends_with(tail))
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(false, false, ["Nas.Example", "*.home.example"])
    }

    fn from_page(host: &str, origin: &str) -> Result<(), Refused> {
        guard().admit(Visitor {
            host: Some(host),
            origin: Some(origin),
            ..Visitor::default()
        })
    }

    #[test]
    fn pages() {
        const YES: Result<(), Refused> = Ok(());
        const NO: Result<(), Refused> = Err(Refused::Page);
        for (host, origin, verdict) in [
            ("localhost:6800", "http://localhost", YES),
            ("localhost:6800", "http://127.0.0.1:8080", YES),
            ("localhost:6800", "https://[::1]:8080", YES),
            ("localhost:6800", "http://ui.localhost:3000", YES),
            ("localhost:6800", "http://[::ffff:127.0.0.1]", YES),
            ("192.168.1.5:6800", "http://192.168.1.5:8080", YES),
            ("192.168.1.5:6800", "http://192.168.1.6", NO),
            ("[fe80::1]:6800", "http://[fe80::1]", YES),
            ("nas:6800", "http://NAS", YES),
            ("127.0.0.1:6800", "https://nas.example", YES),
            ("127.0.0.1:6800", "https://a.b.home.example", YES),
            ("127.0.0.1:6800", "https://home.example", NO),
            ("localhost:6800", "https://evil.example", NO),
            ("localhost:6800", "https://localhost.evil.example", NO),
            ("localhost:6800", "https://evil.example/localhost", NO),
            ("localhost:6800", "http://localhost@evil.example", NO),
            ("localhost:6800", "http://127.0.0.1.evil.example", NO),
            ("localhost:6800", "http://", NO),
            ("", "http://", NO),
            ("localhost:6800", "null", NO),
            ("localhost:6800", "", NO),
            ("localhost:6800", "file://", NO),
            ("localhost:6800", "FILE:///x.html", NO),
            ("localhost:6800", "localhost", NO),
            ("localhost:6800", "://x", NO),
            ("localhost:6800", "chrome-extension://abcdef", YES),
            ("localhost:6800", "moz-extension://1-2-3", YES),
            ("localhost:6800", "app://motrix", YES),
        ] {
            assert_eq!(from_page(host, origin), verdict, "{origin} calls {host}");
        }
    }

    #[test]
    fn names() {
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST.:6800", true),
            ("127.0.0.1:6800", true),
            ("203.0.113.9", true),
            ("[::1]:6800", true),
            ("[2001:db8::1]", true),
            ("aria2:6800", true),
            ("nas.local:6800", true),
            ("box.home.arpa", true),
            ("a.internal", true),
            ("nas.example:443", true),
            ("NAS.EXAMPLE.", true),
            ("x.home.example", true),
            ("", true),
            ("evil.example", false),
            ("evil.example:6800", false),
            ("nas.example.evil", false),
            ("127.0.0.1.evil.example", false),
            ("xhome.example", false),
        ] {
            let visitor = Visitor {
                host: Some(host),
                ..Visitor::default()
            };
            let verdict = if ours { Ok(()) } else { Err(Refused::Host) };
            assert_eq!(guard().admit(visitor), verdict, "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_no_page_of_its_host() {
        let verdict = from_page("evil.example:6800", "http://evil.example:6800");
        assert_eq!(verdict, Err(Refused::Host));
    }

    #[test]
    fn pages_that_name_no_origin() {
        let judge = |referer, fetch_site| {
            guard()
                .admit(Visitor {
                    host: Some("localhost:6800"),
                    origin: None,
                    referer,
                    fetch_site,
                })
                .is_ok()
        };
        for (referer, fetch_site, welcome) in [
            (None, None, true),
            (None, Some("none"), true),
            (None, Some("same-origin"), true),
            (None, Some("cross-site"), false),
            (None, Some("same-site"), false),
            (Some("http://localhost:3000/ui"), Some("cross-site"), true),
            (Some("https://evil.example/x"), None, false),
            (Some("https://evil.example/x"), Some("cross-site"), false),
        ] {
            assert_eq!(
                judge(referer, fetch_site),
                welcome,
                "{referer:?} {fetch_site:?}"
            );
        }
    }

    #[test]
    fn a_secret_or_the_owners_word_opens() {
        for (has_secret, allow_all) in [(true, false), (false, true)] {
            let guard = Guard::new(has_secret, allow_all, []);
            let visitor = Visitor {
                host: Some("evil.example"),
                origin: Some("null"),
                ..Visitor::default()
            };
            assert_eq!(guard.admit(visitor), Ok(()));
        }
        let all_hosts = Guard::new(false, false, ["*"]);
        let visitor = Visitor {
            host: Some("any.example"),
            ..Visitor::default()
        };
        assert_eq!(all_hosts.admit(visitor), Ok(()));
    }
}
