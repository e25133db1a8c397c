//! Pure: which proxy leads to a URL.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::secret::Secret;
use crate::option::settings::ProxySettings;

/// The proxy for `url`; none where the host is exempt or the option is set to an empty text.
pub fn choose<'a>(settings: &'a ProxySettings, url: &Url) -> Option<&'a Secret> {
    choose_by(settings, url.scheme(), url)
}

/// The same for schemes that the `url` crate does not know; IPv6 addresses stand in brackets.
pub fn choose_for<'a>(settings: &'a ProxySettings, scheme: &str, host: &str) -> Option<&'a Secret> {
    // Under a scheme it knows, the crate tells addresses from names.
    match Url::parse(&format!("http://{host}/")) {
        Ok(url) => choose_by(settings, scheme, &url),
        // No address in a URL has a zone, and none of those is exempt.
        Err(_) => choose_by(settings, scheme, &Url::parse("http://[fe80::]/").ok()?),
    }
}

fn choose_by<'a>(settings: &'a ProxySettings, scheme: &str, url: &Url) -> Option<&'a Secret> {
    let proxy = match scheme {
        "http" => settings.http.as_ref(),
        "https" => settings.https.as_ref(),
        "ftp" | "ftps" => settings.ftp.as_ref(),
        _ => settings.all.as_ref(),
    }?;
    let exempt = || settings.exempt.iter().any(|rule| exempts(rule, url));
    (!proxy.reveal().is_empty() && !exempt()).then_some(proxy)
}

/// The proxy's URL; the scheme is `http` where none is given.
///
/// # Errors
/// The text is no URL of a proxy.
pub fn proxy_url(proxy: &Secret) -> Result<Url, &'static str> {
    let text = proxy.reveal();
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    let url = url.map_err(|_| "the proxy URI cannot be read")?;
    let known = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
    if !known.contains(&url.scheme()) || !url.has_host() {
        return Err("the proxy URI has an unknown scheme or no host");
    }
    Ok(url)
}

/// The failure of a proxy that does not take who we are.
pub fn unauthorized() -> Failure {
    Failure::new(
        ErrorCode::HttpAuthFailed,
        Retry::OtherMirror,
        "The proxy wants a user name and password, or others than these",
    )
}

/// Whether one item of `no-proxy` covers the host: `*`, a domain with or without leading dot
/// (covers its subdomains), an address, or a network in CIDR notation.
fn exempts(rule: &str, url: &Url) -> bool {
    let rule = rule.trim();
    if rule == "*" {
        return true;
    }
    match url.host() {
        Some(Host::Ipv4(ip)) => covers(rule, IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => covers(rule, IpAddr::V6(ip)),
        Some(Host::Domain(host)) => is_within(host, rule),
        // Schemes the `url` crate does not know leave numeric hosts as text.
        None => false,
    }
}

fn covers(rule: &str, ip: IpAddr) -> bool {
    let bare = rule.trim_start_matches('[').trim_end_matches(']');
    match (rule.parse::<IpNet>(), bare.parse::<IpAddr>()) {
        (Ok(net), _) => net.contains(&ip),
        (_, Ok(other)) => other == ip,
        _ => false,
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    let host = host.trim_end_matches('.').as_bytes();
    let domain = domain.trim_matches('.').as_bytes();
    let Some(start) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    !domain.is_empty()
        && host[start..].eq_ignore_ascii_case(domain)
        && (start == 0 || host[start - 1] == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::value::ProxyMethod;

    fn settings() -> ProxySettings {
        ProxySettings {
            http: None,
            https: None,
            ftp: None,
            all: None,
            exempt: [].into(),
            method: ProxyMethod::Get,
        }
    }

    fn chosen(settings: &ProxySettings, url: &str) -> String {
        choose(settings, &Url::parse(url).unwrap())
            .map(|proxy| proxy.reveal().to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let settings = ProxySettings {
            http: Some(Secret::new("h")),
            https: Some(Secret::new("s")),
            ftp: Some(Secret::new("")),
            all: Some(Secret::new("a")),
            ..settings()
        };
        for (url, proxy) in [
            ("http://x/", "h"),
            ("https://x/", "s"),
            ("ftp://x/", ""),
            ("sftp://x/", "a"),
        ] {
            assert_eq!(chosen(&settings, url), proxy);
        }
        let exempt = ProxySettings {
            exempt: ["10.0.0.0/8".into()].into(),
            ..settings
        };
        for (scheme, host, proxy) in [
            ("sftp", "h", "a"),
            ("sftp", "10.1.1.1", ""),
            ("ftps", "h", ""),
        ] {
            let chosen = choose_for(&exempt, scheme, host);
            assert_eq!(chosen.map_or("", |proxy| proxy.reveal()), proxy);
        }
    }

    #[test]
    fn exempt_hosts_domains_and_networks() {
        for (rule, url, exempt) in [
            ("example.org", "http://example.org/", true),
            ("example.org", "http://www.EXAMPLE.org/", true),
            (".example.org", "http://www.example.org/", true),
            ("example.org", "http://badexample.org/", false),
            ("example.org", "http://example.org.evil/", false),
            ("*", "http://example.org/", true),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("10.1.2.3", "http://10.1.2.3:81/", true),
            ("fe80::/10", "http://[fe80::1]/", true),
            ("[::1]", "http://[::1]/", true),
            ("::1", "http://[::2]/", false),
            ("1.2.3.4", "http://x1.2.3.4.org/", false),
            ("", "http://x/", false),
            (".", "http://x/", false),
        ] {
            let settings = ProxySettings {
                http: Some(Secret::new("p")),
                exempt: [rule.into()].into(),
                ..settings()
            };
            assert_eq!(chosen(&settings, url).is_empty(), exempt, "{rule} {url}");
        }
    }

    #[test]
    fn a_scheme_is_added_and_unknown_ones_are_refused() {
        for (text, url) in [
            ("host:3128", "http://host:3128/"),
            ("http://u:p%40@host", "http://u:p%40@host/"),
            ("socks5h://u:v@host", "socks5h://u:v@host"),
        ] {
            assert_eq!(proxy_url(&Secret::new(text)).unwrap().as_str(), url);
        }
        for text in ["gopher://x", "http://", "http://[", "unix:///x"] {
            assert!(proxy_url(&Secret::new(text)).is_err(), "{text}");
        }
    }
}
