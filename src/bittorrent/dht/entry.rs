//! How the DHT is entered when no node is known: by the node the user named, or else by well-known
//! ones.

use std::net::SocketAddr;

use tracing::debug;

use crate::net::dial;
use crate::net::udp::Family;
use crate::option::settings::ConnectionSettings;

/// Kept up by people of several clients, for all.
const WELL_KNOWN: [(&str, u16); 4] = [
    ("router.bittorrent.com", 6881),
    ("dht.transmissionbt.com", 6881),
    ("router.utorrent.com", 6881),
    ("dht.libtorrent.org", 25401),
];

/// Hosts to ask first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    hosts: Vec<(String, u16)>,
    /// The user named it: it is asked at every start, as aria2 does.
    pub is_given: bool,
}

impl Entry {
    /// `given` is `host:port`, checked by the option.
    pub fn of(given: Option<&str>) -> Self {
        let given = given.and_then(parse);
        let is_given = given.is_some();
        let well_known = || {
            WELL_KNOWN
                .map(|(host, port)| (host.to_owned(), port))
                .into()
        };
        Self {
            hosts: given.map_or_else(well_known, |host| vec![host]),
            is_given,
        }
    }

    /// The addresses of this family that the hosts have; none where no name is known.
    pub async fn resolve(&self, family: Family, settings: &ConnectionSettings) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for (host, port) in &self.hosts {
            match dial::resolve(host, *port, settings).await {
                Ok(addresses) => found.extend(addresses),
                Err(failure) => debug!("entry point of the DHT: {}", failure.message),
            }
        }
        found.retain(|address| Family::of(*address) == family);
        found
    }
}

/// Host and port; IPv6 addresses in brackets.
fn parse(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::OptionSet;

    #[tokio::test]
    async fn the_given_one_or_the_well_known_ones() {
        let settings = ConnectionSettings::from(&OptionSet::new());
        let given = Entry::of(Some("127.0.0.1:5"));
        assert!(given.is_given);
        let found = given.resolve(Family::V4, &settings).await;
        assert_eq!(found, ["127.0.0.1:5".parse().unwrap()]);
        assert!(given.resolve(Family::V6, &settings).await.is_empty());
        assert_eq!(parse("[::1]:7"), Some(("::1".to_owned(), 7)));
        let others = Entry::of(None);
        assert_eq!((others.hosts.len(), others.is_given), (4, false));
    }
}
