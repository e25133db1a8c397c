//! The HTTP clients of the process: one for each way of making connections, shared by all
//! downloads, so that segments find the connections of earlier ones still open.
//!
//! What [`super::sharing`] lets share an HTTP/2 connection goes through a client that offers it by
//! ALPN; everything else through one that speaks HTTP/1.1 only, whose pool never lends one
//! connection twice. Of HTTP/2's two flow-control windows only that of the stream is in force:
//! the connection's is as wide as the protocol allows, so that streams which are read slowly
//! (limited or waiting for the disk) take nothing from the others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Client, Proxy, redirect};
use tokio::sync::Notify;
use tokio::time::timeout_at;
use url::Url;

use super::cookie_store::CookieStore;
use super::dialled::{DialledClient, DialledKey};
use super::interface::Interface;
use super::logins::Logins;
use super::parked::Parked;
use super::sharing::{Hosts, SHORT_LEN_MAX, Turn, Way};
use super::udp::Family;
use super::{dns, proxy, tls};
use crate::base::error::{ErrorCode, Failure};
use crate::base::secret::Secret;
use crate::format::netrc::Netrc;
use crate::option::settings::{HttpSettings, TlsSettings};

/// Long enough for the next segment, short enough not to wear out servers.
pub(super) const IDLE_TIME_MAX: Duration = Duration::from_secs(15);
/// More idle connections to one host than any download may open are of no use.
pub(super) const IDLE_COUNT_MAX: usize = 32;
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Real servers send dozens of headers; hyper's own default is 100.
pub(super) const HEADER_COUNT_MAX: usize = 256;
/// The same for HTTP/2, in bytes; hyper's own default is 16 KiB.
const HEADER_LIST_LEN_MAX: u32 = 64 * 1024;
/// Of a stream: a long body fills a line of 40 MB/s and 100 ms even when half of it is waiting
/// to be announced again; a short one can be taken in whole, whatever its download's limit is.
const STREAM_WINDOW: u32 = 2 * SHORT_LEN_MAX;
/// The widest there is (RFC 9113, 6.9.1).
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// What all connections of the process share.
#[derive(Default)]
pub struct Net {
    clients: Mutex<Vec<(ClientKey, Client)>>,
    dialled: Mutex<Vec<(DialledKey, DialledClient)>>,
    hosts: Mutex<Hosts>,
    /// Something was learnt of a server.
    learnt: Notify,
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

    /// The client that reaches `url` as the settings say, on a connection of its own or on the
    /// shared one. It follows no redirects and decodes nothing. Where several interfaces are set,
    /// connection number `turn` gets the one whose turn it is. The first call for `https` reads
    /// the certificate files.
    ///
    /// # Errors
    /// Unusable certificate files, proxy URI, name server or interface (code 1).
    pub fn http_client(
        &self,
        settings: &HttpSettings,
        url: &Url,
        turn: u32,
        way: Way,
    ) -> Result<HttpClient, Failure> {
        if let Some(key) = DialledKey::of(settings, url) {
            return self.dialled_client_of(key).map(HttpClient::Dialled);
        }
        let mut key = ClientKey::new(settings, url, turn);
        key.way = way;
        self.client_of(key).map(HttpClient::Direct)
    }

    fn dialled_client_of(&self, key: DialledKey) -> Result<DialledClient, Failure> {
        let mut clients = self.dialled.lock();
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == key) {
            return Ok(client.clone());
        }
        let client = DialledClient::new(key.clone())?;
        clients.push((key, client.clone()));
        Ok(client)
    }

    /// The way of a download's first request to an HTTPS server (`host:port`). Waits up to a
    /// second for what another first request is about to learn of it.
    pub async fn way_of_first(&self, server: &str) -> Way {
        loop {
            let learnt = self.learnt.notified();
            let turn = self
                .hosts
                .lock()
                .handle_first_request(Instant::now(), server);
            match turn {
                Turn::Go(way) => return way,
                Turn::Wait(until) => {
                    if timeout_at(until.into(), learnt).await.is_err() {
                        return Way::Own;
                    }
                }
            }
        }
    }

    /// A first request was answered; `len` is that of the body, where it is known.
    pub fn handle_first_answer(&self, server: &str, way: Way, is_http2: bool, len: Option<u64>) {
        let mut hosts = self.hosts.lock();
        hosts.handle_answer(server, way, is_http2, len);
        drop(hosts);
        self.learnt.notify_waiters();
    }

    /// What went over the shared connection failed.
    pub fn handle_shared_failure(&self, server: &str) {
        self.hosts.lock().handle_failure(Instant::now(), server);
        self.learnt.notify_waiters();
    }

    /// Leave for a long body to stay on the shared connection, if no other one is there.
    pub fn take_seat(self: &Arc<Self>, server: &str) -> Option<Seat> {
        self.hosts.lock().take_seat(server).then(|| Seat {
            net: Arc::clone(self),
            server: server.to_owned(),
        })
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
    ) -> Result<HttpClient, Failure> {
        let mut key = ClientKey::new(settings, url, 0);
        key.family = Some(family);
        self.client_of(key).map(HttpClient::Direct)
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

/// How one request is sent.
pub enum HttpClient {
    Direct(Client),
    Dialled(DialledClient),
}

/// A long body's place on a shared connection, until it is dropped.
pub struct Seat {
    net: Arc<Net>,
    server: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.net.hosts.lock().leave_seat(&self.server);
    }
}

/// What makes two clients different; plain HTTP does not look at the TLS settings.
#[derive(PartialEq, Eq)]
struct ClientKey {
    way: Way,
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
            way: Way::Own,
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
        let mut tls = match &self.tls {
            Some(settings) => tls::client_config(settings)?,
            None => tls::no_trust_config()?,
        };
        let resolver = dns::resolver(&self.dns_servers, self.disable_ipv6).map_err(unusable)?;
        let mut builder = match self.way {
            Way::Own => Client::builder().http1_only(),
            Way::Shared => {
                tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                Client::builder()
                    .http2_initial_stream_window_size(STREAM_WINDOW)
                    .http2_initial_connection_window_size(CONNECTION_WINDOW)
                    .http2_max_header_list_size(HEADER_LIST_LEN_MAX)
            }
        }
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
            for way in [Way::Own, Way::Shared] {
                assert!(net.http_client(&settings(), &secure, turn, way).is_ok());
            }
            assert!(net.http_client(&settings(), &plain, turn, Way::Own).is_ok());
            assert!(net.http_client(&other, &plain, turn, Way::Own).is_ok());
        }
        assert_eq!(net.clients.lock().len(), 5);
    }

    #[tokio::test]
    async fn a_bad_proxy_is_refused_without_showing_it() {
        let mut settings = settings();
        settings.proxies.http = Some(Secret::new("gopher://user:hush@h"));
        let url = Url::parse("http://a/").unwrap();
        let failure = Net::new()
            .client_of(ClientKey::new(&settings, &url, 0))
            .unwrap_err();
        assert!(!failure.message.contains("hush"));
    }

    #[tokio::test]
    async fn a_bad_name_server_is_named() {
        let mut settings = settings();
        settings.connection.dns_servers = ["nonsense".into()].into();
        let url = Url::parse("http://a/").unwrap();
        let failure = Net::new()
            .client_of(ClientKey::new(&settings, &url, 0))
            .unwrap_err();
        assert!(failure.message.contains("nonsense"));
    }
}
