//! Pure: the mirrors of one download: which to use next, how many connections each host bears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::error::Failure;
use crate::base::rng::Rng;
use crate::base::units::{SourceId, Span};
use crate::option::value::UriSelector;

use super::retry::{NextTry, RetryPolicy, Tries};

/// What earlier downloads learnt of a host, in bytes a second; `None`: nothing.
pub trait HostSpeeds {
    fn speed(&self, uri: &str) -> Option<u64>;
}

impl HostSpeeds for () {
    fn speed(&self, _: &str) -> Option<u64> {
        None
    }
}

/// One URI as `getUris` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UriEntry {
    pub uri: Arc<str>,
    pub used: bool,
}

/// Where a download, or one file of it, can be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    pub uri: Arc<str>,
    /// The part of the download it has: one file of several; `None`: all of it.
    pub part: Option<Span>,
}

/// Index of a mirror in its pool; stays valid when others are removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MirrorId(u32);

#[derive(Debug)]
struct Held {
    id: MirrorId,
    uri: Arc<str>,
    host: Arc<str>,
    connections: Vec<SourceId>,
    used: bool,
    tries: Tries,
    not_before: Option<Instant>,
    /// Connections it bore when it refused another one.
    bears: usize,
    /// Refusals in a row.
    refusals: u32,
    dead: bool,
    /// Serves whole resources only, from the first byte.
    whole_only: bool,
}

/// The mirrors of one download.
#[derive(Debug)]
pub struct UriPool {
    mirrors: Vec<Held>,
    next_id: u32,
    selector: UriSelector,
    per_host_max: usize,
    /// Whether a URI may serve more than one connection once all have been used (`reuse-uri`).
    reuse: bool,
}

impl UriPool {
    pub fn new(uris: &[Arc<str>], selector: UriSelector, per_host_max: usize, reuse: bool) -> Self {
        let mut pool = Self {
            mirrors: Vec::new(),
            next_id: 0,
            selector,
            per_host_max,
            reuse,
        };
        for uri in uris {
            pool.insert(usize::MAX, uri.clone());
        }
        pool
    }

    /// Adds a mirror at a position in the list (beyond the end: last).
    pub fn insert(&mut self, at: usize, uri: Arc<str>) {
        let id = MirrorId(self.next_id);
        self.next_id += 1;
        let mirror = Held {
            id,
            host: host_of(&uri).into(),
            uri,
            connections: Vec::new(),
            used: false,
            tries: Tries::default(),
            not_before: None,
            bears: usize::MAX,
            refusals: 0,
            dead: false,
            whole_only: false,
        };
        self.mirrors.insert(at.min(self.mirrors.len()), mirror);
    }

    /// Takes a mirror out; returns the sources that used it.
    pub fn remove(&mut self, uri: &str) -> Vec<SourceId> {
        match self.mirrors.iter().position(|mirror| &*mirror.uri == uri) {
            Some(index) => self.mirrors.remove(index).connections,
            None => Vec::new(),
        }
    }

    pub fn uri(&self, id: MirrorId) -> Option<&Arc<str>> {
        self.mirrors
            .iter()
            .find(|mirror| mirror.id == id)
            .map(|mirror| &mirror.uri)
    }

    /// Chooses a mirror for a new connection, or `None` when none can take one now. Those that
    /// serve whole resources only are of use `from_start` alone.
    pub fn next(
        &mut self,
        now: Instant,
        from_start: bool,
        speeds: &dyn HostSpeeds,
        rng: &mut Rng,
    ) -> Option<MirrorId> {
        let mut free: Vec<&Held> = self
            .mirrors
            .iter()
            .filter(|mirror| (from_start || !mirror.whole_only) && self.can_dial(mirror, now))
            .collect();
        // A mirror that is not in use yet goes before a second connection to one that is.
        let idle_first = |mirror: &&Held| mirror.connections.len();
        match self.selector {
            UriSelector::InOrder => free.sort_by_key(idle_first),
            UriSelector::Feedback => free.sort_by_key(|mirror| {
                (
                    mirror.connections.len(),
                    std::cmp::Reverse(speeds.speed(&mirror.uri).unwrap_or(0)),
                )
            }),
            UriSelector::Adaptive => {
                let first = self
                    .mirrors
                    .iter()
                    .all(|mirror| mirror.connections.is_empty());
                let lottery: Vec<u64> = free.iter().map(|_| rng.next_u64()).collect();
                let mut keyed: Vec<_> = free
                    .iter()
                    .zip(lottery)
                    .map(|(mirror, ticket)| {
                        let speed = speeds.speed(&mirror.uri);
                        let tested = if first {
                            speed.is_none()
                        } else {
                            speed.is_some()
                        };
                        let ticket = if first { 0 } else { ticket };
                        (
                            (
                                mirror.connections.len(),
                                tested,
                                std::cmp::Reverse(speed),
                                ticket,
                            ),
                            *mirror,
                        )
                    })
                    .collect();
                keyed.sort_by_key(|(key, _)| *key);
                free = keyed.into_iter().map(|(_, mirror)| mirror).collect();
            }
        }
        free.first().map(|mirror| mirror.id)
    }

    fn can_dial(&self, mirror: &Held, now: Instant) -> bool {
        if mirror.dead || mirror.not_before.is_some_and(|at| at > now) {
            return false;
        }
        if !self.reuse && !mirror.connections.is_empty() {
            return false;
        }
        // One more than it bore is tried, and the next only when that was taken.
        if mirror.connections.len() > mirror.bears {
            return false;
        }
        self.host_connections(&mirror.host) < self.per_host_max
    }

    fn host_connections(&self, host: &str) -> usize {
        self.mirrors
            .iter()
            .filter(|mirror| &*mirror.host == host)
            .map(|mirror| mirror.connections.len())
            .sum()
    }

    /// A source was opened on this mirror.
    pub fn handle_opened(&mut self, id: MirrorId, source: SourceId) {
        if let Some(mirror) = self.find(id) {
            mirror.used = true;
            mirror.connections.push(source);
        }
    }

    /// The server took the connection: after a refusal it may get twice as many.
    pub fn handle_accepted(&mut self, id: MirrorId) {
        let per_host_max = self.per_host_max;
        let Some(mirror) = self.find(id) else { return };
        let now_borne = mirror.connections.len();
        if mirror.bears == usize::MAX || now_borne <= mirror.bears {
            return;
        }
        mirror.refusals = 0;
        mirror.bears = match now_borne.saturating_mul(2) {
            many if many >= per_host_max => usize::MAX,
            few => few,
        };
    }

    /// A further connection was refused while others of the mirror go on: no try is lost, but
    /// there will be fewer. Those that are refused together count as one.
    pub fn handle_refused(
        &mut self,
        now: Instant,
        id: MirrorId,
        source: SourceId,
        policy: &RetryPolicy,
        asked: Duration,
    ) {
        self.handle_closed(source);
        let Some(mirror) = self.find(id) else { return };
        mirror.bears = mirror.bears.min(mirror.connections.len().max(1));
        if mirror.not_before.is_some_and(|at| at > now) {
            return;
        }
        mirror.refusals += 1;
        let pause = policy.pause(mirror.refusals).max(asked);
        mirror.not_before = Some(now + pause);
    }

    /// Whether the mirror serves another connection than this.
    pub fn serves_others(&self, id: MirrorId, source: SourceId) -> bool {
        let mirror = self.mirrors.iter().find(|mirror| mirror.id == id);
        mirror.is_some_and(|mirror| mirror.connections.iter().any(|other| *other != source))
    }

    /// A source delivered bytes.
    pub fn handle_progress(&mut self, id: MirrorId) {
        if let Some(mirror) = self.find(id) {
            mirror.tries.handle_progress();
        }
    }

    /// A source ended without failing.
    pub fn handle_closed(&mut self, source: SourceId) {
        for mirror in &mut self.mirrors {
            mirror.connections.retain(|id| *id != source);
        }
    }

    /// A source failed: the mirror may be tried later, or is given up.
    pub fn handle_failure(
        &mut self,
        now: Instant,
        id: MirrorId,
        source: SourceId,
        policy: &RetryPolicy,
        failure: Failure,
    ) -> NextTry {
        self.handle_closed(source);
        let Some(mirror) = self.find(id) else {
            return NextTry::Switch(failure);
        };
        let next = policy.handle_failure(now, &mut mirror.tries, failure);
        match &next {
            NextTry::At(at) => mirror.not_before = Some(*at),
            // Its other connections may still be good; it just gets no new one.
            NextTry::Fail(_) | NextTry::Switch(_) => mirror.dead = true,
        }
        next
    }

    /// Gives a mirror up for good; returns the sources on it.
    pub fn ban(&mut self, id: MirrorId) -> Vec<SourceId> {
        match self.find(id) {
            Some(mirror) => {
                mirror.dead = true;
                std::mem::take(&mut mirror.connections)
            }
            None => Vec::new(),
        }
    }

    /// The mirror has no ranges; the connection it serves now goes on.
    pub fn handle_whole_only(&mut self, id: MirrorId) {
        if let Some(mirror) = self.find(id) {
            mirror.whole_only = true;
        }
    }

    /// Whether there is more than one URI.
    pub fn is_mirrored(&self) -> bool {
        self.mirrors.len() > 1
    }

    /// Whether any mirror may still be used, now or later.
    pub fn has_hope(&self, from_start: bool) -> bool {
        self.mirrors
            .iter()
            .any(|mirror| !mirror.dead && (from_start || !mirror.whole_only))
    }

    /// Whether any mirror but this one may still be used.
    pub fn has_other_hope(&self, id: MirrorId) -> bool {
        self.mirrors
            .iter()
            .any(|mirror| !mirror.dead && mirror.id != id)
    }

    /// When the next waiting mirror may be dialled again.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.mirrors
            .iter()
            .filter(|mirror| !mirror.dead)
            .filter_map(|mirror| mirror.not_before)
            .filter(|at| *at > now)
            .min()
    }

    pub fn set_per_host_max(&mut self, per_host_max: usize) {
        self.per_host_max = per_host_max;
    }

    /// The list as `getUris` shows it: used ones first, each once a connection, then every mirror
    /// that may be used again.
    pub fn entries(&self) -> Vec<UriEntry> {
        let used = self
            .mirrors
            .iter()
            .filter(|mirror| mirror.used)
            .flat_map(|mirror| {
                let count = mirror.connections.len().max(1);
                std::iter::repeat_n(
                    UriEntry {
                        uri: mirror.uri.clone(),
                        used: true,
                    },
                    count,
                )
            });
        let waiting = self
            .mirrors
            .iter()
            .filter(|mirror| !mirror.dead)
            .map(|mirror| UriEntry {
                uri: mirror.uri.clone(),
                used: false,
            });
        used.chain(waiting).collect()
    }

    fn find(&mut self, id: MirrorId) -> Option<&mut Held> {
        self.mirrors.iter_mut().find(|mirror| mirror.id == id)
    }
}

/// The host of a URI, lower case, without user and port: what `max-connection-per-server` counts.
pub fn host_of(uri: &str) -> String {
    let after = uri.split_once("://").map_or(uri, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or(after);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::{ErrorCode, Retry};

    struct Speeds(&'static [(&'static str, u64)]);

    impl HostSpeeds for Speeds {
        fn speed(&self, uri: &str) -> Option<u64> {
            self.0
                .iter()
                .find(|(host, _)| host_of(uri) == *host)
                .map(|(_, speed)| *speed)
        }
    }

    fn pool(uris: &[&str], selector: UriSelector, per_host_max: usize) -> UriPool {
        let uris: Vec<Arc<str>> = uris.iter().map(|uri| Arc::from(*uri)).collect();
        UriPool::new(&uris, selector, per_host_max, true)
    }

    fn dial_all(pool: &mut UriPool, speeds: &dyn HostSpeeds) -> Vec<String> {
        let now = Instant::now();
        let mut rng = Rng::seeded(1);
        let mut dialled = Vec::new();
        while let Some(id) = pool.next(now, true, speeds, &mut rng) {
            let source = SourceId(dialled.len() as u32);
            dialled.push(host_of(pool.uri(id).unwrap()));
            pool.handle_opened(id, source);
        }
        dialled
    }

    #[test]
    fn hosts_are_counted_without_port_user_and_case() {
        for (uri, host) in [
            ("http://u:p@Host:80/f@x", "host"),
            ("ftp://[::1]:21/f", "::1"),
            ("http://h?x", "h"),
        ] {
            assert_eq!(host_of(uri), host);
        }
    }

    #[test]
    fn every_host_gets_its_connections_in_turn() {
        let mut pool = pool(
            &["http://a/1", "http://b/1", "http://a/2"],
            UriSelector::InOrder,
            2,
        );
        assert_eq!(dial_all(&mut pool, &()), ["a", "b", "a", "b"]);
    }

    #[test]
    fn feedback_prefers_what_was_fast() {
        let mut pool = pool(
            &["http://a/1", "http://b/1", "http://c/1"],
            UriSelector::Feedback,
            1,
        );
        assert_eq!(
            dial_all(&mut pool, &Speeds(&[("b", 5), ("c", 9)])),
            ["c", "b", "a"]
        );
    }

    #[test]
    fn adaptive_takes_the_best_first_and_then_the_untested() {
        let mut pool = pool(
            &["http://a/1", "http://b/1", "http://c/1"],
            UriSelector::Adaptive,
            1,
        );
        assert_eq!(
            dial_all(&mut pool, &Speeds(&[("b", 5), ("c", 9)])),
            ["c", "a", "b"]
        );
    }

    #[test]
    fn a_failed_mirror_waits_or_dies_and_the_other_goes_on() {
        let mut pool = pool(&["http://a/1", "http://b/1"], UriSelector::InOrder, 1);
        let policy = RetryPolicy {
            tries_max: Some(2),
            wait: Duration::from_secs(5),
            not_found_max: 0,
        };
        let now = Instant::now();
        let mut rng = Rng::seeded(1);
        let again = || Failure::new(ErrorCode::Timeout, Retry::After(Duration::ZERO), "slow");
        let first = pool.next(now, true, &(), &mut rng).unwrap();
        pool.handle_opened(first, SourceId(0));
        pool.handle_failure(now, first, SourceId(0), &policy, again());
        assert_eq!(pool.poll_timeout(now), Some(now + Duration::from_secs(5)));
        let second = pool.next(now, true, &(), &mut rng).unwrap();
        assert_ne!(first, second);
        let later = now + Duration::from_secs(6);
        pool.handle_opened(second, SourceId(1));
        assert_eq!(pool.next(later, true, &(), &mut rng), Some(first));
        pool.handle_opened(first, SourceId(2));
        pool.handle_failure(later, first, SourceId(2), &policy, again());
        assert!(pool.has_hope(true));
        assert_eq!(
            pool.next(later + Duration::from_secs(60), true, &(), &mut rng),
            None
        );
    }

    #[test]
    fn a_refused_connection_makes_fewer_and_an_accepted_one_more() {
        let mut pool = pool(&["http://a/1"], UriSelector::InOrder, 8);
        let policy = RetryPolicy {
            tries_max: Some(1),
            wait: Duration::from_secs(1),
            not_found_max: 0,
        };
        let (mut now, mut rng) = (Instant::now(), Rng::seeded(1));
        dial_all(&mut pool, &());
        let id = MirrorId(0);
        for source in 2..8 {
            pool.handle_refused(now, id, SourceId(source), &policy, Duration::ZERO);
        }
        // Two are left; after a second one more may be tried, and if it is taken, six in all.
        assert_eq!(pool.next(now, true, &(), &mut rng), None);
        assert_eq!(pool.poll_timeout(now), Some(now + Duration::from_secs(1)));
        now += Duration::from_secs(1);
        for (source, wanted) in [(10, 3), (11, 6)] {
            assert_eq!(pool.next(now, true, &(), &mut rng), Some(id));
            pool.handle_opened(id, SourceId(source));
            if wanted == 3 {
                assert_eq!(pool.next(now, true, &(), &mut rng), None);
                pool.handle_accepted(id);
            }
        }
        assert!(pool.has_hope(true));
    }

    #[test]
    fn entries_list_used_ones_first_and_a_copy_to_use_again() {
        let mut pool = pool(&["http://a/1", "http://b/1"], UriSelector::InOrder, 2);
        let id = pool
            .next(Instant::now(), true, &(), &mut Rng::seeded(1))
            .unwrap();
        pool.handle_opened(id, SourceId(0));
        let list: Vec<(String, bool)> = pool
            .entries()
            .into_iter()
            .map(|entry| (entry.uri.to_string(), entry.used))
            .collect();
        let expect = [
            ("http://a/1", true),
            ("http://a/1", false),
            ("http://b/1", false),
        ];
        assert_eq!(list, expect.map(|(uri, used)| (uri.to_owned(), used)));
    }
}
