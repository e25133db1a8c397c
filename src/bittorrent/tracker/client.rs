//! Asks one tracker, over HTTP(S) or UDP, by every family of addresses that it has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedSender;
use url::{Host, Url};

use super::udp::{Outcome, Question};
use super::udp_socket::UdpTrackers;
use super::{Announce, Answer, Scrape, http, http_client};
use crate::bittorrent::dialer;
use crate::format::info_hash::InfoHash;
use crate::net::udp::Family;
use crate::net::{Net, dial};
use crate::option::bt_settings::TrackerSettings;
use crate::option::settings::HttpSettings;

/// How trackers are asked for one torrent.
#[derive(Clone)]
pub struct TrackerClient {
    net: Arc<Net>,
    udp: Arc<UdpTrackers>,
    http: HttpSettings,
    timeout: Duration,
}

/// One way to a tracker.
enum Route {
    /// `None`: whichever family connects.
    Http(Option<Family>),
    Udp(SocketAddr),
}

impl TrackerClient {
    pub fn new(net: Arc<Net>, udp: Arc<UdpTrackers>, settings: &TrackerSettings) -> Self {
        let mut http = settings.http.clone();
        http.connection.connect_timeout = settings.connect_timeout;
        Self {
            net,
            udp,
            http,
            timeout: settings.timeout,
        }
    }

    /// Tells the tracker at `uri`; each family's answer, or what was wrong, goes to `answers` as it
    /// comes. At least one does.
    pub async fn announce(
        &self,
        uri: &str,
        announce: &Announce,
        answers: &UnboundedSender<Result<Answer, String>>,
    ) {
        let routes = match self.routes(uri).await {
            Ok(routes) => routes,
            Err(why) => {
                let _ = answers.send(Err(why));
                return;
            }
        };
        let asked = routes.into_iter().map(async |route| {
            let asked = self.announce_by(uri, route, announce);
            let answer = tokio::time::timeout(self.timeout, asked).await;
            answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        while let Some(answer) = asked.next().await {
            let _ = answers.send(answer);
        }
    }

    /// The counts of a torrent (BEP 48), by the first way.
    ///
    /// # Errors
    /// The tracker offers none, or what was wrong.
    pub async fn scrape(&self, uri: &str, info_hash: InfoHash) -> Result<Scrape, String> {
        let asked = async {
            match self.routes(uri).await?.into_iter().next() {
                Some(Route::Http(family)) => {
                    let uri = http::scrape_uri(uri, info_hash).ok_or("no scrape there")?;
                    let url = parse(&uri)?;
                    let body = http_client::get(&self.net, &self.http, url, family).await?;
                    http::parse_scrape(&body, info_hash)
                }
                Some(Route::Udp(address)) => {
                    match self.ask_udp(address, Question::Scrape(info_hash)).await? {
                        Outcome::Scraped(scrape) => Ok(scrape),
                        other => Err(refusal(other)),
                    }
                }
                None => Err("no usable address".to_owned()),
            }
        };
        let scraped = tokio::time::timeout(self.timeout, asked).await;
        scraped.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn announce_by(
        &self,
        uri: &str,
        route: Route,
        announce: &Announce,
    ) -> Result<Answer, String> {
        match route {
            Route::Http(family) => {
                let url = parse(&http::announce_uri(uri, announce))?;
                let body = http_client::get(&self.net, &self.http, url, family).await?;
                http::parse_announce(&body)
            }
            Route::Udp(address) => {
                let question = Question::Announce(Box::new(announce.clone()), uri_data(uri));
                match self.ask_udp(address, question).await? {
                    Outcome::Announced(answer) => Ok(answer),
                    other => Err(refusal(other)),
                }
            }
        }
    }

    async fn ask_udp(&self, to: SocketAddr, question: Question) -> Result<Outcome, String> {
        let asked = self.udp.ask(to, question, &self.http.connection).await;
        asked.map_err(|error| error.to_string())
    }

    async fn routes(&self, uri: &str) -> Result<Vec<Route>, String> {
        let url = parse(uri)?;
        match url.scheme() {
            "http" | "https" => self.http_routes(&url).await,
            "udp" => self.udp_routes(&url).await,
            other => Err(format!("trackers cannot be asked by {other}")),
        }
    }

    async fn http_routes(&self, url: &Url) -> Result<Vec<Route>, String> {
        let is_name = matches!(url.host(), Some(Host::Domain(_)));
        // Through a proxy nothing is looked up here, which would tell the name to others.
        let (true, false) = (is_name, Net::is_proxied(&self.http, url)) else {
            return Ok(vec![Route::Http(None)]);
        };
        let addresses = self.resolve(url).await?;
        let has = |family| addresses.iter().any(|at| Family::of(*at) == family);
        let families = match has(Family::V4) && has(Family::V6) {
            true => vec![Some(Family::V4), Some(Family::V6)],
            false => vec![None],
        };
        Ok(families.into_iter().map(Route::Http).collect())
    }

    async fn udp_routes(&self, url: &Url) -> Result<Vec<Route>, String> {
        if dialer::hides(&self.http.proxies) {
            return Err("not asked: UDP does not pass the SOCKS proxy".to_owned());
        }
        let addresses = self.resolve(url).await?;
        let first = |family| addresses.iter().find(move |at| Family::of(**at) == family);
        let both = [first(Family::V4), first(Family::V6)];
        Ok(both
            .into_iter()
            .flatten()
            .map(|at| Route::Udp(*at))
            .collect())
    }

    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        let host = url.host_str().ok_or("no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().ok_or("no port")?;
        let found = dial::resolve(host, port, &self.http.connection).await;
        found.map_err(|failure| failure.message)
    }
}

fn parse(uri: &str) -> Result<Url, String> {
    Url::parse(uri).map_err(|error| format!("no URI: {error}"))
}

fn refusal(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused(why) => format!("tracker refused: {why}"),
        Outcome::TimedOut => "no answer in time".to_owned(),
        Outcome::Announced(_) | Outcome::Scraped(_) => "an answer to another question".to_owned(),
    }
}

/// Path and query (BEP 41), as they are written.
fn uri_data(uri: &str) -> String {
    let uri = uri.split('#').next().unwrap_or(uri);
    let after = uri.split_once("://").map_or(uri, |(_, after)| after);
    let start = after.find(['/', '?']).unwrap_or(after.len());
    match &after[start..] {
        "/" => String::new(),
        data => data.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_data_is_path_and_query() {
        for (uri, data) in [
            ("udp://h:1", ""),
            ("udp://h:1/", ""),
            ("udp://h:1/announce", "/announce"),
            ("udp://h:1/a?k=%20#x", "/a?k=%20"),
            ("udp://h:1?k", "?k"),
        ] {
            assert_eq!(uri_data(uri), data);
        }
    }
}
