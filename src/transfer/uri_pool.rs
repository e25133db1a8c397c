//! Pure: the mirrors of one download: which to use next, how many connections each host bears.

mod mirror;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::rng::Rng;
use crate::base::units::{SourceId, Span};
use crate::option::value::UriSelector;

pub use self::mirror::{Mirror, UriChange, UriEntry, host_of};
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

/// What a mirror is believed to bear once it has taken its first connection. One at a time would
/// cost fast servers a round trip each.
const BORNE_AT_FIRST: usize = 3;

/// Index of a mirror in its pool; stays valid when others are removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MirrorId(u32);

#[derive(Debug)]
struct Held {
    id: MirrorId,
    mirror: Mirror,
    host: Arc<str>,
    connections: Vec<SourceId>,
    used: bool,
    tries: Tries,
    not_before: Option<Instant>,
    /// Connections it is known to bear: none before its first answer; `usize::MAX` once it has
    /// taken half of what it may get.
    bears: usize,
    /// Refusals in a row.
    refusals: u32,
    dead: bool,
    /// Serves whole resources only, from the first byte.
    whole_only: bool,
}

/// What a new connection is for.
pub struct Want<'a> {
    /// Mirrors that serve whole resources only are of use.
    pub from_start: bool,
    /// Whether a mirror of this part of the download (`None`: all of it) has anything to do.
    pub useful: &'a dyn Fn(Option<Span>) -> bool,
    /// Mirrors that were tried in vain.
    pub except: &'a [MirrorId],
}

impl Want<'_> {
    /// Any part of the download.
    pub fn any(from_start: bool) -> Self {
        Self {
            from_start,
            useful: &|_| true,
            except: &[],
        }
    }
}

/// The mirrors of one download.
#[derive(Debug)]
pub struct UriPool {
    mirrors: Vec<Held>,
    next_id: u32,
    selector: UriSelector,
    per_host_max: usize,
    /// Connections one URI may serve at a time.
    per_uri_max: usize,
    /// Whether a host is asked by one protocol at a time only.
    one_protocol: bool,
}

impl UriPool {
    pub fn new(
        uris: &[Arc<str>],
        selector: UriSelector,
        per_host_max: usize,
        per_uri_max: usize,
    ) -> Self {
        let mut pool = Self {
            mirrors: Vec::new(),
            next_id: 0,
            selector,
            per_host_max,
            per_uri_max,
            one_protocol: false,
        };
        for uri in uris {
            pool.insert(usize::MAX, Mirror::new(uri.clone(), None));
        }
        pool
    }

    /// As long as a host serves one protocol, its mirrors of other protocols are left alone
    /// (`metalink-enable-unique-protocol`); they stay for the case that the first one fails.
    pub fn use_one_protocol(&mut self) {
        self.one_protocol = true;
    }

    /// Adds mirrors behind those that are there.
    pub fn extend(&mut self, mirrors: &[Mirror]) {
        for mirror in mirrors {
            self.insert(usize::MAX, mirror.clone());
        }
    }

    /// Adds a mirror at a position among those of the same part (beyond the end: last).
    pub fn insert(&mut self, at: usize, mirror: Mirror) {
        let held = self.mirrors.iter().enumerate();
        let mut same = held.filter(|(_, held)| held.mirror.part == mirror.part);
        let before = (at != usize::MAX).then(|| same.nth(at)).flatten();
        let place = before.map_or(self.mirrors.len(), |(index, _)| index);
        let id = MirrorId(self.next_id);
        self.next_id += 1;
        let mirror = Held {
            id,
            host: host_of(&mirror.uri).into(),
            mirror,
            connections: Vec::new(),
            used: false,
            tries: Tries::default(),
            not_before: None,
            bears: 0,
            refusals: 0,
            dead: false,
            whole_only: false,
        };
        self.mirrors.insert(place, mirror);
    }

    /// Takes a mirror of this part (`None`: of any) out; returns the sources that used it.
    pub fn remove(&mut self, uri: &str, part: Option<Span>) -> Vec<SourceId> {
        let is_it =
            |mirror: &Mirror| &*mirror.uri == uri && (part.is_none() || mirror.part == part);
        match self.mirrors.iter().position(|held| is_it(&held.mirror)) {
            Some(index) => self.mirrors.remove(index).connections,
            None => Vec::new(),
        }
    }

    pub fn mirror(&self, id: MirrorId) -> Option<&Mirror> {
        // Numbers ascend but for those put in between.
        let near = self.mirrors.get(id.0 as usize).filter(|held| held.id == id);
        let found = near.or_else(|| self.mirrors.iter().find(|held| held.id == id));
        found.map(|held| &held.mirror)
    }

    /// Chooses a mirror for a new connection, or `None` when none can take one now.
    pub fn next(
        &mut self,
        now: Instant,
        want: &Want,
        speeds: &dyn HostSpeeds,
        rng: &mut Rng,
    ) -> Option<MirrorId> {
        let per_host = self.connections_per_host();
        let free = self.mirrors.iter().filter(|held| {
            self.can_dial(held, now, &per_host)
                && (want.from_start || !held.whole_only)
                && !want.except.contains(&held.id)
                && (want.useful)(held.mirror.part)
        });
        // A mirror that is not in use yet goes before a second connection to one that is.
        let count = |held: &Held| held.connections.len();
        let chosen = match self.selector {
            UriSelector::InOrder => free.min_by_key(|held| count(held)),
            UriSelector::Feedback => free.min_by_key(|held| {
                let speed = speeds.speed(&held.mirror.uri).unwrap_or(0);
                (count(held), Reverse(speed))
            }),
            UriSelector::Adaptive => {
                let first = self.mirrors.iter().all(|held| count(held) == 0);
                free.min_by_key(|held| {
                    let speed = speeds.speed(&held.mirror.uri);
                    // At first the best known one, then those of which nothing is known.
                    let tested = speed.is_none() == first;
                    let ticket = if first { 0 } else { rng.next_u64() };
                    (count(held), tested, Reverse(speed), ticket)
                })
            }
        };
        chosen.map(|held| held.id)
    }

    fn can_dial(&self, held: &Held, now: Instant, per_host: &HashMap<&str, usize>) -> bool {
        if held.dead || held.not_before.is_some_and(|at| at > now) {
            return false;
        }
        if held.connections.len() >= self.per_uri_max {
            return false;
        }
        // One more than it bore is tried, and the next only when that was taken.
        if held.connections.len() > held.bears {
            return false;
        }
        let in_use = per_host.get(&*held.host).copied().unwrap_or(0);
        if self.one_protocol && in_use > 0 && self.serves_otherwise(held) {
            return false;
        }
        in_use < self.per_host_max
    }

    /// Whether the host of a mirror serves another protocol now.
    fn serves_otherwise(&self, held: &Held) -> bool {
        fn scheme(held: &Held) -> Option<&str> {
            held.mirror.uri.split_once(':').map(|(scheme, _)| scheme)
        }
        self.mirrors.iter().any(|other| {
            let in_use = !other.connections.is_empty() && other.host == held.host;
            in_use && scheme(other) != scheme(held)
        })
    }

    fn connections_per_host(&self) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for held in self
            .mirrors
            .iter()
            .filter(|held| !held.connections.is_empty())
        {
            *counts.entry(&*held.host).or_insert(0) += held.connections.len();
        }
        counts
    }

    /// A source was opened on this mirror.
    pub fn handle_opened(&mut self, id: MirrorId, source: SourceId) {
        if let Some(mirror) = self.find(id) {
            mirror.used = true;
            mirror.connections.push(source);
        }
    }

    /// The server answered on a connection as it should: it may get more of them, at first a few
    /// and then, as after a refusal, twice as many as it bears.
    pub fn handle_accepted(&mut self, id: MirrorId) {
        let per_host_max = self.per_host_max;
        let Some(mirror) = self.find(id) else { return };
        let now_borne = mirror.connections.len();
        if mirror.bears == usize::MAX || now_borne <= mirror.bears {
            return;
        }
        mirror.refusals = 0;
        let few_at_first = if mirror.bears == 0 { BORNE_AT_FIRST } else { 0 };
        mirror.bears = match now_borne.saturating_mul(2).max(few_at_first) {
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
        if let (true, ErrorCode::HttpServiceUnavailable, Retry::After(asked)) =
            (mirror.mirror.by_piece, failure.code, failure.retry)
        {
            // Being busy is how it gives way to peers: no try is lost.
            let at = now + asked;
            mirror.not_before = Some(at);
            return NextTry::At(at);
        }
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

    /// Whether the mirror serves whole resources only.
    pub fn is_whole_only(&self, id: MirrorId) -> bool {
        let mirror = self.mirrors.iter().find(|mirror| mirror.id == id);
        mirror.is_some_and(|mirror| mirror.whole_only)
    }

    /// Whether there is more than one URI.
    pub fn is_mirrored(&self) -> bool {
        self.mirrors.len() > 1
    }

    /// Whether any mirror may still be used, now or later.
    pub fn has_hope(&self, want: &Want) -> bool {
        self.mirrors.iter().any(|held| {
            !held.dead && (want.from_start || !held.whole_only) && (want.useful)(held.mirror.part)
        })
    }

    /// Whether any mirror but this one may still be used for these bytes.
    pub fn has_other_hope(&self, id: MirrorId, span: Span) -> bool {
        self.mirrors.iter().any(|held| {
            let part = held.mirror.part.unwrap_or(span);
            !held.dead && held.id != id && !part.intersect(span).is_empty()
        })
    }

    /// Whether such a mirror may still be used.
    pub fn any_alive(&self, is_such: impl Fn(&Mirror) -> bool) -> bool {
        self.mirrors
            .iter()
            .any(|held| !held.dead && is_such(&held.mirror))
    }

    /// Leaves a mirror alone until then.
    pub fn bench(&mut self, id: MirrorId, until: Instant) {
        if let Some(held) = self.find(id) {
            held.not_before = Some(until);
        }
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
    /// that may be used again. Those that know no file are not among them.
    pub fn entries(&self) -> Vec<UriEntry> {
        let listed = || self.mirrors.iter().filter(|held| !held.mirror.by_piece);
        let used = listed().filter(|mirror| mirror.used).flat_map(|mirror| {
            let count = mirror.connections.len().max(1);
            std::iter::repeat_n(
                UriEntry {
                    uri: mirror.mirror.uri.clone(),
                    used: true,
                },
                count,
            )
        });
        let waiting = listed()
            .filter(|mirror| !mirror.dead)
            .map(|mirror| UriEntry {
                uri: mirror.mirror.uri.clone(),
                used: false,
            });
        used.chain(waiting).collect()
    }

    fn find(&mut self, id: MirrorId) -> Option<&mut Held> {
        self.mirrors.iter_mut().find(|mirror| mirror.id == id)
    }
}
