//! Names to addresses: the system's resolver off the async threads, or given name servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A host name has no address that could be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolveError {
    pub host: String,
    pub cause: String,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name resolution for {} failed:{}", self.host, self.cause)
    }
}

impl std::error::Error for ResolveError {}

/// The resolver for `servers`, or the system's if there are none.
///
/// # Errors
/// A server that is no address, or what the resolver library has against them.
pub fn resolver(servers: &[Arc<str>], disable_ipv6: bool) -> Result<Arc<dyn Resolve>, String> {
    if servers.is_empty() {
        return Ok(Arc::new(SystemResolver { disable_ipv6 }));
    }
    let servers: Vec<_> = servers
        .iter()
        .map(|server| name_server(server))
        .collect::<Result<_, _>>()?;
    let mut builder = TokioResolver::builder_with_config(
        ResolverConfig::from_name_servers(servers),
        TokioRuntimeProvider::default(),
    );
    builder.options_mut().ip_strategy = if disable_ipv6 {
        LookupIpStrategy::Ipv4Only
    } else {
        LookupIpStrategy::Ipv6AndIpv4
    };
    let inner = builder.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(GivenResolver { inner }))
}

fn name_server(text: &str) -> Result<NameServerConfig, String> {
    let text = text.trim();
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(NameServerConfig::udp_and_tcp(ip));
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("the name server {text} is not an IP address"))?;
    let mut config = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut config.connections {
        connection.port = address.port();
    }
    Ok(config)
}

/// `getaddrinfo` on a blocking thread.
struct SystemResolver {
    disable_ipv6: bool,
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let disable_ipv6 = self.disable_ipv6;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(|error| error.to_string());
            answer(&name, found.map(Iterator::collect), disable_ipv6)
        })
    }
}

/// The name servers of `async-dns-server`.
struct GivenResolver {
    inner: TokioResolver,
}

impl Resolve for GivenResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let inner = self.inner.clone();
        Box::pin(async move {
            let found = inner.lookup_ip(name.as_str()).await;
            let found = found
                .map(|found| found.iter().map(|ip| SocketAddr::new(ip, 0)).collect())
                .map_err(|error| error.to_string());
            answer(&name, found, false)
        })
    }
}

fn answer(
    name: &Name,
    found: Result<Vec<SocketAddr>, String>,
    disable_ipv6: bool,
) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    let fail = |cause: String| ResolveError {
        host: name.as_str().to_owned(),
        cause,
    };
    let mut found = found.map_err(fail)?;
    found.retain(|address| address.is_ipv4() || !disable_ipv6);
    if found.is_empty() {
        return Err(fail("no usable address".to_owned()).into());
    }
    Ok(Box::new(found.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(answer: Result<Addrs, Box<dyn std::error::Error + Send + Sync>>) -> String {
        answer.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn localhost_is_found_with_and_without_ipv6() {
        for disable_ipv6 in [false, true] {
            let resolver = resolver(&[], disable_ipv6).unwrap();
            let found: Vec<_> = resolver
                .resolve("localhost".parse().unwrap())
                .await
                .unwrap()
                .collect();
            assert!(found.iter().any(|address| address.ip().is_loopback()));
            assert!(!disable_ipv6 || found.iter().all(SocketAddr::is_ipv4));
        }
    }

    #[test]
    fn a_host_with_ipv6_only_fails_where_that_is_disabled() {
        let name: Name = "six.test".parse().unwrap();
        let six = Ok(vec!["[::1]:0".parse().unwrap()]);
        assert_eq!(answer(&name, six.clone(), false).unwrap().count(), 1);
        assert_eq!(
            error_of(answer(&name, six, true)),
            "Name resolution for six.test failed:no usable address"
        );
    }

    #[tokio::test]
    async fn given_servers_are_asked() {
        // Nothing listens there: what counts is that the answer is an error of ours.
        let resolver = resolver(&["127.0.0.1".into()], true).unwrap();
        let found = resolver.resolve("host.invalid".parse().unwrap()).await;
        assert!(error_of(found).starts_with("Name resolution for host.invalid failed:"));
    }
}
