//! Talks to the trackers of one torrent: [`Tiers`] say whom and when, [`TrackerClient`] does it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::discovery::{DiscoverySpec, LEFT_UNKNOWN, SwarmFigures};
use super::handshake::PeerId;
use super::tracker::client::TrackerClient;
use super::tracker::tiers::{self, Ask, Tiers};
use super::tracker::udp_socket::UdpTrackers;
use super::tracker::{Announce, Answer, Event, PEERS_WANTED};
use crate::base::gid::Gid;
use crate::base::rng::Rng;
use crate::base::secret::SafeTracker;
use crate::format::info_hash::InfoHash;
use crate::net::Net;
use crate::option::bt_settings::TrackerSettings;

/// Told while the length is not known: something is missing.
const LEFT_SOME: u64 = 16 * 1024;
/// Told where nobody can dial us; some trackers refuse 0.
const NO_PORT: u16 = 1;

/// One answer of a tracker, or one that does not come.
pub(super) struct Told {
    round: u64,
    uri: Arc<str>,
    /// `None`: that was all of this round.
    result: Option<Result<Answer, String>>,
}

type Tell = Arc<dyn Fn(Told) + Send + Sync>;

pub(super) struct Trackers {
    gid: Gid,
    info_hash: InfoHash,
    ours: PeerId,
    port: Option<u16>,
    require_crypto: bool,
    /// As the torrent has them.
    original: Vec<Vec<String>>,
    settings: TrackerSettings,
    figures: Arc<SwarmFigures>,
    net: Arc<Net>,
    udp: Arc<UdpTrackers>,
    client: TrackerClient,
    tiers: Tiers,
    /// The announce that is under way; answers of earlier ones only bring peers.
    round: u64,
    answered: bool,
    tell: Tell,
    asking: JoinSet<()>,
    /// Trackers left behind are told so.
    goodbyes: JoinSet<()>,
    rng: Rng,
}

impl Trackers {
    pub fn new(spec: &DiscoverySpec, tell: Tell) -> Self {
        let mut rng = Rng::from_entropy();
        let settings = spec.settings.tracker.clone();
        let tiers = tiers::edit(&spec.tiers, &settings.excluded, &settings.added);
        Self {
            gid: spec.gid,
            info_hash: spec.info_hash,
            ours: spec.ours,
            port: spec.port,
            require_crypto: spec.settings.require_crypto || spec.settings.force_encryption,
            original: spec.tiers.clone(),
            figures: spec.figures.clone(),
            client: TrackerClient::new(spec.net.clone(), spec.udp_trackers.clone(), &settings),
            net: spec.net.clone(),
            udp: spec.udp_trackers.clone(),
            tiers: Tiers::new(Instant::now(), tiers, settings.interval, &mut rng),
            settings,
            round: 0,
            answered: false,
            tell,
            asking: JoinSet::new(),
            goodbyes: JoinSet::new(),
            rng,
        }
    }

    pub fn complete(&mut self) {
        self.tiers.complete(Instant::now());
    }

    pub fn want_more(&mut self) {
        self.tiers.want_more();
    }

    pub fn change(&mut self, settings: TrackerSettings) {
        self.client = TrackerClient::new(self.net.clone(), self.udp.clone(), &settings);
        let asked = |of: &TrackerSettings| (of.added.clone(), of.excluded.clone(), of.interval);
        let same = asked(&self.settings) == asked(&settings);
        self.settings = settings;
        if same {
            // Another option it was: whoever is being asked must not be told twice.
            return;
        }
        let settings = &self.settings;
        let tiers = tiers::edit(&self.original, &settings.excluded, &settings.added);
        let now = Instant::now();
        let left = self
            .tiers
            .change(now, tiers, settings.interval, &mut self.rng);
        // Whoever is being asked does not count any more.
        self.round += 1;
        self.answered = true;
        for ask in left {
            self.say_goodbye(ask);
        }
    }

    /// Asks the next tracker if it is time. Returns when to be called again.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        while self.asking.try_join_next().is_some() {}
        while self.goodbyes.try_join_next().is_some() {}
        if let Some(ask) = self.tiers.poll_announce(now) {
            self.ask(ask);
        }
        self.tiers.poll_timeout()
    }

    fn ask(&mut self, ask: Ask) {
        self.round += 1;
        self.answered = false;
        let (round, gid) = (self.round, self.gid);
        let announce = self.announce(&ask);
        let (client, tell) = (self.client.clone(), self.tell.clone());
        let uri: Arc<str> = ask.uri.into();
        debug!(%gid, "tracker {}: {:?}", SafeTracker(&uri), announce.event);
        self.asking.spawn(async move {
            let (answers, mut inbox) = mpsc::unbounded_channel();
            let told = |result| Told {
                round,
                uri: uri.clone(),
                result,
            };
            let asking = async {
                client.announce(&uri, &announce, &answers).await;
                drop(answers);
            };
            let passing = async {
                while let Some(result) = inbox.recv().await {
                    let result = counted(&client, &uri, announce.info_hash, result).await;
                    tell(told(Some(result)));
                }
            };
            tokio::join!(asking, passing);
            tell(told(None));
        });
    }

    /// An answer, to be passed on.
    pub fn handle(&mut self, told: Told) -> Option<Answer> {
        let (gid, now) = (self.gid, Instant::now());
        let uri = SafeTracker(&told.uri);
        let is_current = told.round == self.round && !self.answered;
        match told.result {
            Some(Ok(answer)) => {
                if is_current {
                    self.answered = true;
                    self.tiers.handle_answer(now, &answer);
                }
                if let Some(warning) = &answer.warning {
                    warn!(%gid, "tracker {uri} warns: {warning}");
                }
                info!(%gid, "tracker {uri}: {} peers", answer.peers.len());
                Some(answer)
            }
            Some(Err(why)) => {
                warn!(%gid, "tracker {uri}: {why}");
                None
            }
            None => {
                if is_current {
                    self.answered = true;
                    self.tiers.handle_failure(now);
                }
                None
            }
        }
    }

    /// Tells all who know of us that we leave; returns when they have heard it or do not answer.
    pub async fn leave(mut self) {
        // That all is here they are to hear first; nothing else that is asked matters any more.
        if self.tiers.tells_completed() {
            while self.asking.join_next().await.is_some() {}
        }
        self.asking.abort_all();
        for ask in self.tiers.stop() {
            self.say_goodbye(ask);
        }
        while self.goodbyes.join_next().await.is_some() {}
    }

    fn say_goodbye(&mut self, ask: Ask) {
        let announce = self.announce(&ask);
        let (client, gid) = (self.client.clone(), self.gid);
        self.goodbyes.spawn(async move {
            let (answers, mut inbox) = mpsc::unbounded_channel();
            client.announce(&ask.uri, &announce, &answers).await;
            while let Ok(result) = inbox.try_recv() {
                let result = result.map(|_| "stopped");
                debug!(%gid, "tracker {}: {result:?}", SafeTracker(&ask.uri));
            }
        });
    }

    fn announce(&self, ask: &Ask) -> Announce {
        let left = match self.figures.left.load(Ordering::Relaxed) {
            LEFT_UNKNOWN => LEFT_SOME,
            left => left,
        };
        let ip = self.settings.external_ip.as_deref();
        Announce {
            info_hash: self.info_hash,
            peer_id: self.ours,
            port: self.port.unwrap_or(NO_PORT),
            uploaded: self.figures.uploaded.load(Ordering::Relaxed),
            downloaded: self.figures.downloaded.load(Ordering::Relaxed),
            left,
            event: ask.event,
            wanted: match ask.event {
                Some(Event::Stopped) => 0,
                _ => PEERS_WANTED,
            },
            ip: ip.and_then(|ip| ip.parse().ok()),
            tracker_id: ask.tracker_id.clone(),
            require_crypto: self.require_crypto,
        }
    }
}

/// The answer, with the counts of the swarm asked for where it has none.
async fn counted(
    client: &TrackerClient,
    uri: &str,
    info_hash: InfoHash,
    result: Result<Answer, String>,
) -> Result<Answer, String> {
    let mut answer = result?;
    if answer.seeders.is_none()
        && answer.leechers.is_none()
        && answer.peers.is_empty()
        && let Ok(scrape) = client.scrape(uri, info_hash).await
    {
        answer.seeders = Some(scrape.seeders);
        answer.leechers = Some(scrape.leechers);
    }
    Ok(answer)
}
