//! The HTTP clients of the process: one for each way of making connections, shared by all
//! downloads, so that segments find the connections of earlier ones still open.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Client, Proxy, redirect};
use url::Url;

use super::cookie_store::CookieStore;
use super::interface::Interface;
use super::logins::Logins;
use super::parked::Parked;
use super::udp::Family;
use super::{dns, proxy, tls};
use crate::base::error::{ErrorCode, Failure};
use crate::base::secret::Secret;
use crate::format::netrc::Netrc;
use crate::option::settings::{HttpSettings, TlsSettings};

/// Long enough for the next segment, short enough not to wear out servers.
const IDLE_TIME_MAX: Duration = Duration::from_secs(15);
/// More idle connections to one host than any download may open are of no use.
const IDLE_COUNT_MAX: usize = 32;
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Real servers send dozens of headers; hyper's own default is 100.
const HEADER_COUNT_MAX: usize = 256;

/// What all connections of the process share.
#[derive(Default)]
pub struct Net {
    clients: Mutex<Vec<(ClientKey, Client)>>,
    logins: Logins,
    cookies: CookieStore,
    parked: Parked,
}

impl Net {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn cookies(&self) -> &CookieStore {
        &self.cookies
    }

    /// The entries of the user's `.netrc`, unless it is not to be used.
    pub fn netrc(&self, settings: &HttpSettings) -> Option<Arc<Netrc>> {
        let path = settings.netrc_path.as_ref()?;
        (!settings.no_netrc).then(|| self.logins.of(path))
    }

    /// The entries of a `.netrc`.
    pub fn netrc_at(&self, path: &Path) -> Arc<Netrc> {
        self.logins.of(path)
    }

    /// Idle connections of other protocols than HTTP.
    pub fn parked(&self) -> &Parked {
        &self.parked
    }

    /// The client that reaches `url` as the settings say. It speaks HTTP/1.1 only (segments need
    /// TCP connections of their own), follows no redirects and decodes nothing. Where several
    /// interfaces are set, connection number `turn` gets the one whose turn it is. The first
    /// call for `https` reads the certificate files.
    ///
    /// # Errors
    /// Unusable certificate files, proxy URI, name server or interface (code 1).
    pub fn http_client(
        &self,
        settings: &HttpSettings,
        url: &Url,
        turn: u32,
    ) -> Result<Client, Failure> {
        self.client_of(ClientKey::new(settings, url, turn))
    }

    /// The client that reaches `url` by addresses of one family only.
    ///
    /// # Errors
    /// As [`Self::http_client`].
    pub fn http_client_of(
        &self,
        settings: &HttpSettings,
        url: &Url,
        family: Family,
    ) -> Result<Client, Failure> {
        let mut key = ClientKey::new(settings, url, 0);
        key.family = Some(family);
        self.client_of(key)
    }

    /// Whether `url` is reached through a proxy, which looks its name up itself.
    pub fn is_proxied(settings: &HttpSettings, url: &Url) -> bool {
        proxy::choose(&settings.proxies, url).is_some()
    }

    fn client_of(&self, key: ClientKey) -> Result<Client, Failure> {
        let mut clients = self.clients.lock();
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == key) {
            return Ok(client.clone());
        }
        let client = key.build()?;
        clients.push((key, client.clone()));
        Ok(client)
    }
}

/// What makes two clients different; plain HTTP does not look at the TLS settings.
#[derive(PartialEq, Eq)]
struct ClientKey {
    proxy: Option<Secret>,
    tls: Option<TlsSettings>,
    interface: Option<String>,
    connect_timeout: Duration,
    disable_ipv6: bool,
    /// Both where there is none.
    family: Option<Family>,
    dns_servers: Arc<[Arc<str>]>,
}

impl ClientKey {
    fn new(settings: &HttpSettings, url: &Url, turn: u32) -> Self {
        let connection = &settings.connection;
        let proxy = proxy::choose(&settings.proxies, url).cloned();
        let tls_to_proxy = proxy
            .as_ref()
            .is_some_and(|proxy| proxy.reveal().starts_with("https://"));
        let tls = url.scheme() == "https" || tls_to_proxy;
        let interfaces = &connection.interfaces;
        let interface = interfaces.get(turn as usize % interfaces.len().max(1));
        Self {
            proxy,
            tls: tls.then(|| settings.tls.clone()),
            interface: interface.cloned(),
            connect_timeout: connection.connect_timeout,
            disable_ipv6: connection.disable_ipv6,
            family: None,
            dns_servers: match connection.async_dns {
                true => connection.dns_servers.clone(),
                false => [].into(),
            },
        }
    }

    fn build(&self) -> Result<Client, Failure> {
        let tls = match &self.tls {
            Some(settings) => tls::client_config(settings)?,
            None => tls::no_trust_config()?,
        };
        let resolver = dns::resolver(&self.dns_servers, self.disable_ipv6).map_err(unusable)?;
        let mut builder = Client::builder()
            .http1_only()
            .http1_title_case_headers()
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_max_headers(HEADER_COUNT_MAX)
            .tls_backend_preconfigured(tls)
            .dns_resolver(resolver)
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(TCP_KEEPALIVE)
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_COUNT_MAX)
            .no_proxy();
        if let Some(proxy) = &self.proxy {
            let url = proxy::proxy_url(proxy).map_err(unusable)?;
            // The error's text could show the credentials.
            let proxy = Proxy::all(url).map_err(|_| unusable("the proxy URI is refused"))?;
            builder = builder.proxy(proxy);
        }
        // Addresses in URIs are not looked up, so the resolver cannot keep IPv6 ones away.
        let family = self.family.or(self.disable_ipv6.then_some(Family::V4));
        builder = builder.local_address(family.map(|family| match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }));
        if let Some(interface) = &self.interface {
            builder = match Interface::find(interface)? {
                Interface::Address(address) => builder.local_address(address),
                Interface::Name(name) => builder.interface(&name),
            };
        }
        builder.build().map_err(|error| unusable(error.to_string()))
    }
}

fn unusable(cause: impl std::fmt::Display) -> Failure {
    Failure::fatal(
        ErrorCode::Unknown,
        format!("No connection can be made: {cause}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;

    fn settings() -> HttpSettings {
        HttpSettings::from(&OptionSet::new())
    }

    #[tokio::test]
    async fn one_client_for_each_way() {
        let net = Net::new();
        let plain = Url::parse("http://a/").unwrap();
        let secure = Url::parse("https://a/").unwrap();
        let mut other = settings();
        other.proxies.http = Some(Secret::new("socks5://127.0.0.1:9"));
        other.connection.interfaces = vec!["127.0.0.1".to_owned(), "lo".to_owned()];
        for turn in 0..4 {
            assert!(net.http_client(&settings(), &plain, turn).is_ok());
            assert!(net.http_client(&settings(), &secure, turn).is_ok());
            assert!(net.http_client(&other, &plain, turn).is_ok());
        }
        assert_eq!(net.clients.lock().len(), 4);
    }

    #[tokio::test]
    async fn a_bad_proxy_is_refused_without_showing_it() {
        let mut settings = settings();
        settings.proxies.http = Some(Secret::new("gopher://user:hush@h"));
        let url = Url::parse("http://a/").unwrap();
        let failure = Net::new().http_client(&settings, &url, 0).unwrap_err();
        assert!(!failure.message.contains("hush"));
    }

    #[tokio::test]
    async fn a_bad_name_server_is_named() {
        let mut settings = settings();
        settings.connection.dns_servers = ["nonsense".into()].into();
        let url = Url::parse("http://a/").unwrap();
        let failure = Net::new().http_client(&settings, &url, 0).unwrap_err();
        assert!(failure.message.contains("nonsense"));
    }
}
