//! Pure: which tracker to ask next, when, and with which event (BEP 12). One tracker is asked at a
//! time; who answers goes to the front of its tier; after a failure the next one is asked, and when
//! all have failed they are left alone for a while.

use std::time::{Duration, Instant};

use super::{Answer, Event};
use crate::base::rng::Rng;

/// Where a tracker does not say.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1_800);
/// After all have failed; doubled each time.
const RETRY_AFTER: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(1_800);
/// More peers are not asked for sooner, where a tracker sets no limit.
const MORE_AFTER: Duration = Duration::from_secs(120);

/// The torrent's tiers as the user wants them: without those of `bt-exclude-tracker` (`*` is all),
/// then each of `bt-tracker` as a tier of its own.
pub fn edit(
    tiers: &[Vec<String>],
    exclude: &[impl AsRef<str>],
    add: &[impl AsRef<str>],
) -> Vec<Vec<String>> {
    let excluded = |uri: &String| {
        let is = |text: &str| text == "*" || text == uri;
        exclude.iter().any(|text| is(text.as_ref()))
    };
    let mut edited: Vec<Vec<String>> = tiers
        .iter()
        .map(|tier| tier.iter().filter(|uri| !excluded(uri)).cloned().collect())
        .collect();
    edited.extend(add.iter().map(|uri| vec![uri.as_ref().to_owned()]));
    edited.retain(|tier| !tier.is_empty());
    edited
}

/// A tracker to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    pub uri: String,
    pub event: Option<Event>,
    pub tracker_id: Option<String>,
}

#[derive(Debug)]
struct Tracker {
    uri: String,
    id: Option<String>,
    /// It knows of us: has had `Started` and not yet `Stopped`.
    started: bool,
    completed: bool,
}

/// The trackers of one torrent.
#[derive(Debug)]
pub struct Tiers {
    tiers: Vec<Vec<Tracker>>,
    /// Tier and place of the tracker that is asked next, or being asked.
    at: (usize, usize),
    asking: Option<Option<Event>>,
    /// Nothing was missing any more when the tracker was asked that is being asked.
    asked_complete: bool,
    next_at: Instant,
    last_at: Option<Instant>,
    interval_min: Duration,
    /// `bt-tracker-interval`, which overrules the trackers.
    interval_fixed: Option<Duration>,
    /// Rounds in which every tracker failed.
    rounds_failed: u32,
    completed: bool,
}

impl Tiers {
    /// The order inside a tier is drawn (BEP 12).
    pub fn new(
        now: Instant,
        tiers: Vec<Vec<String>>,
        interval_fixed: Option<Duration>,
        rng: &mut Rng,
    ) -> Self {
        let tracker = |uri| Tracker {
            uri,
            id: None,
            started: false,
            completed: false,
        };
        let tiers = tiers
            .into_iter()
            .filter(|tier| !tier.is_empty())
            .map(|mut tier| {
                for last in (1..tier.len()).rev() {
                    tier.swap(last, rng.below(last as u64 + 1) as usize);
                }
                tier.into_iter().map(tracker).collect()
            })
            .collect();
        Self {
            tiers,
            at: (0, 0),
            asking: None,
            asked_complete: false,
            next_at: now,
            last_at: None,
            interval_min: MORE_AFTER,
            interval_fixed,
            rounds_failed: 0,
            completed: false,
        }
    }

    /// The tracker to ask now, if it is time and none is being asked.
    pub fn poll_announce(&mut self, now: Instant) -> Option<Ask> {
        if self.asking.is_some() || now < self.next_at {
            return None;
        }
        let completed = self.completed;
        let tracker = self.current()?;
        let event = if !tracker.started {
            Some(Event::Started)
        } else if completed && !tracker.completed {
            Some(Event::Completed)
        } else {
            None
        };
        let ask = Ask {
            uri: tracker.uri.clone(),
            event,
            tracker_id: tracker.id.clone(),
        };
        self.asking = Some(event);
        self.asked_complete = completed;
        Some(ask)
    }

    /// When [`Self::poll_announce`] is due; `None` while a tracker is being asked, or without any.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.asking.is_none() && !self.tiers.is_empty();
        waiting.then_some(self.next_at)
    }

    fn current(&mut self) -> Option<&mut Tracker> {
        let (tier, place) = self.at;
        self.tiers.get_mut(tier)?.get_mut(place)
    }

    /// The tracker that was asked has answered.
    pub fn handle_answer(&mut self, now: Instant, answer: &Answer) {
        let Some(event) = self.asking.take() else {
            return;
        };
        let (completed, knew) = (self.completed, self.asked_complete);
        if let Some(tracker) = self.current() {
            tracker.started = true;
            // Who hears "started" when nothing is missing any more knows it from `left`.
            tracker.completed |= event == Some(Event::Completed);
            tracker.completed |= event == Some(Event::Started) && knew;
            if answer.tracker_id.is_some() {
                tracker.id.clone_from(&answer.tracker_id);
            }
        }
        let (tier, place) = self.at;
        if let Some(trackers) = self.tiers.get_mut(tier) {
            trackers[..=place].rotate_right(1);
        }
        self.at = (tier, 0);
        self.rounds_failed = 0;
        self.last_at = Some(now);
        self.interval_min = answer.interval_min.unwrap_or(MORE_AFTER);
        let told = answer.interval.unwrap_or(INTERVAL_DEFAULT);
        let told = told.max(answer.interval_min.unwrap_or_default());
        self.next_at = now + self.interval_fixed.unwrap_or(told);
        if self
            .current()
            .is_some_and(|tracker| completed && !tracker.completed)
        {
            self.next_at = now;
        }
    }

    /// The tracker that was asked did not answer, or refused.
    pub fn handle_failure(&mut self, now: Instant) {
        if self.asking.take().is_none() {
            return;
        }
        let (tier, place) = self.at;
        let more = self
            .tiers
            .get(tier)
            .is_some_and(|trackers| place + 1 < trackers.len());
        self.at = if more {
            (tier, place + 1)
        } else {
            (tier + 1, 0)
        };
        self.next_at = now;
        if self.at.0 >= self.tiers.len() {
            let wait = RETRY_AFTER.saturating_mul(1 << self.rounds_failed.min(10));
            self.rounds_failed += 1;
            self.at = (0, 0);
            self.next_at = now + wait.min(RETRY_MAX);
        }
    }

    /// Everything is there now, which was not so at the start (not to be called by who starts as a
    /// seed): trackers that know of us are told at once.
    pub fn complete(&mut self, now: Instant) {
        self.completed = true;
        if self
            .current()
            .is_some_and(|tracker| tracker.started && !tracker.completed)
        {
            self.next_at = now;
        }
    }

    /// Whether a tracker is just being told that everything is there.
    pub fn tells_completed(&self) -> bool {
        self.asking == Some(Some(Event::Completed))
    }

    /// More peers are wanted: asks sooner than the interval says, as soon as the tracker allows.
    pub fn want_more(&mut self) {
        if let (Some(last_at), None) = (self.last_at, self.interval_fixed)
            && self.rounds_failed == 0
        {
            self.next_at = self.next_at.min(last_at + self.interval_min);
        }
    }

    /// The user wants other trackers, or another interval. Trackers that stay are still known to
    /// know of us; an answer that is under way is no answer any more. Returns those to tell that we
    /// leave them.
    pub fn change(
        &mut self,
        now: Instant,
        tiers: Vec<Vec<String>>,
        interval_fixed: Option<Duration>,
        rng: &mut Rng,
    ) -> Vec<Ask> {
        let mut before = std::mem::replace(self, Self::new(now, tiers, interval_fixed, rng));
        self.completed = before.completed;
        for tracker in self.tiers.iter_mut().flatten() {
            let old = before.tiers.iter_mut().flatten();
            if let Some(old) = old.into_iter().find(|old| old.uri == tracker.uri) {
                std::mem::swap(tracker, old);
                old.started = false;
            }
        }
        // Who is being asked may have heard of us already.
        if before.asking.is_some()
            && let Some(asked) = before.current()
            && !self.tiers.iter().flatten().any(|it| it.uri == asked.uri)
        {
            asked.started = true;
        }
        if self.tiers.iter().flatten().any(|tracker| tracker.started) {
            self.last_at = before.last_at;
            self.interval_min = before.interval_min;
            self.next_at = match interval_fixed.and_then(|wait| Some(before.last_at? + wait)) {
                Some(at) => at.max(now),
                None => before.next_at,
            };
        }
        before.stop()
    }

    /// We leave: whom to tell so. Nobody is asked any more.
    pub fn stop(&mut self) -> Vec<Ask> {
        let known = self
            .tiers
            .drain(..)
            .flatten()
            .filter(|tracker| tracker.started);
        known
            .map(|tracker| Ask {
                uri: tracker.uri,
                event: Some(Event::Stopped),
                tracker_id: tracker.id,
            })
            .collect()
    }

    /// Tiers in their present order, as `getOption`-like views show them.
    pub fn uris(&self) -> impl Iterator<Item = Vec<&str>> {
        self.tiers
            .iter()
            .map(|tier| tier.iter().map(|tracker| tracker.uri.as_str()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(now: Instant, tiers: &[&[&str]]) -> Tiers {
        let tiers = tiers
            .iter()
            .map(|tier| tier.iter().map(|uri| (*uri).to_owned()).collect())
            .collect();
        Tiers::new(now, tiers, None, &mut Rng::seeded(3))
    }

    fn ask(tiers: &mut Tiers, now: Instant) -> Option<(String, Option<Event>)> {
        tiers.poll_announce(now).map(|ask| (ask.uri, ask.event))
    }

    fn some(uri: &str, event: Option<Event>) -> Option<(String, Option<Event>)> {
        Some((uri.to_owned(), event))
    }

    #[test]
    fn the_life_of_a_torrent() {
        let mut now = Instant::now();
        let mut tiers = tiers(now, &[&["a"]]);
        assert_eq!(ask(&mut tiers, now), some("a", Some(Event::Started)));
        assert_eq!((ask(&mut tiers, now), tiers.poll_timeout()), (None, None));
        let answer = Answer {
            interval: Some(Duration::from_secs(900)),
            tracker_id: Some("id".into()),
            ..Answer::default()
        };
        tiers.handle_answer(now, &answer);
        assert_eq!(tiers.poll_timeout(), Some(now + Duration::from_secs(900)));
        now += Duration::from_secs(900);
        let regular = tiers.poll_announce(now).unwrap();
        assert_eq!(
            (regular.event, regular.tracker_id.as_deref()),
            (None, Some("id"))
        );
        tiers.complete(now);
        tiers.handle_answer(now, &Answer::default());
        assert_eq!(ask(&mut tiers, now), some("a", Some(Event::Completed)));
        tiers.handle_answer(now, &Answer::default());
        assert_eq!(tiers.poll_timeout(), Some(now + INTERVAL_DEFAULT));
        let stop = tiers.stop();
        assert_eq!((stop.len(), stop[0].event), (1, Some(Event::Stopped)));
        assert_eq!(
            (
                ask(&mut tiers, now + INTERVAL_DEFAULT),
                tiers.poll_timeout()
            ),
            (None, None)
        );
    }

    #[test]
    fn who_was_told_of_the_start_before_the_end_is_told_of_the_end() {
        let now = Instant::now();
        let mut tiers = tiers(now, &[&["a"]]);
        assert_eq!(ask(&mut tiers, now), some("a", Some(Event::Started)));
        tiers.complete(now);
        tiers.handle_answer(now, &Answer::default());
        assert_eq!(ask(&mut tiers, now), some("a", Some(Event::Completed)));
        tiers.handle_answer(now, &Answer::default());
        assert_eq!(ask(&mut tiers, now), None);
    }

    #[test]
    fn who_is_left_while_being_asked_is_told_so() {
        let now = Instant::now();
        for (after, told) in [("b", vec!["a"]), ("a", vec![])] {
            let mut tiers = tiers(now, &[&["a"]]);
            assert_eq!(ask(&mut tiers, now), some("a", Some(Event::Started)));
            let list = vec![vec![after.to_owned()]];
            let left = tiers.change(now, list, None, &mut Rng::seeded(1));
            let uris: Vec<&str> = left.iter().map(|ask| ask.uri.as_str()).collect();
            assert_eq!(uris, told);
            assert_eq!(ask(&mut tiers, now), some(after, Some(Event::Started)));
        }
    }

    #[test]
    fn the_least_interval_counts_where_it_is_the_longer_one() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let answer = Answer {
            interval: Some(seconds(60)),
            interval_min: Some(seconds(300)),
            ..Answer::default()
        };
        for (fixed, wait) in [(None, 300), (Some(seconds(90)), 90)] {
            let list = vec![vec!["a".to_owned()]];
            let mut tiers = Tiers::new(now, list, fixed, &mut Rng::seeded(1));
            tiers.poll_announce(now);
            tiers.handle_answer(now, &answer);
            assert_eq!(tiers.poll_timeout(), Some(now + seconds(wait)));
        }
    }

    #[test]
    fn failures_go_down_the_tiers_and_success_comes_first_next_time() {
        let mut now = Instant::now();
        let mut tiers = tiers(now, &[&["a"], &["b", "c"]]);
        let order: Vec<String> = tiers
            .uris()
            .nth(1)
            .unwrap()
            .into_iter()
            .map(str::to_owned)
            .collect();
        assert_eq!(ask(&mut tiers, now), some("a", Some(Event::Started)));
        tiers.handle_failure(now);
        assert_eq!(ask(&mut tiers, now), some(&order[0], Some(Event::Started)));
        tiers.handle_failure(now);
        assert_eq!(ask(&mut tiers, now), some(&order[1], Some(Event::Started)));
        tiers.handle_answer(now, &Answer::default());
        assert_eq!(
            tiers.uris().nth(1).unwrap(),
            [order[1].as_str(), order[0].as_str()]
        );
        now += INTERVAL_DEFAULT;
        assert_eq!(ask(&mut tiers, now), some(&order[1], None));
        tiers.handle_failure(now);
        assert_eq!(ask(&mut tiers, now), some(&order[0], Some(Event::Started)));
        tiers.handle_failure(now);
        assert_eq!(tiers.poll_timeout(), Some(now + RETRY_AFTER));
        now += RETRY_AFTER;
        for _ in 0..3 {
            assert!(ask(&mut tiers, now).is_some());
            tiers.handle_failure(now);
        }
        assert_eq!(tiers.poll_timeout(), Some(now + RETRY_AFTER * 2));
        assert_eq!(tiers.stop().len(), 1, "only who knows of us is told");
    }

    #[test]
    fn more_peers_only_as_soon_as_allowed() {
        let now = Instant::now();
        let mut tiers = tiers(now, &[&["a"]]);
        tiers.poll_announce(now);
        let answer = Answer {
            interval_min: Some(Duration::from_secs(300)),
            ..Answer::default()
        };
        tiers.handle_answer(now, &answer);
        tiers.want_more();
        assert_eq!(tiers.poll_timeout(), Some(now + Duration::from_secs(300)));
        let mut none = super::tests::tiers(now, &[]);
        assert_eq!((none.poll_announce(now), none.poll_timeout()), (None, None));
        none.complete(now);
        none.handle_failure(now);
    }

    #[test]
    fn other_trackers_while_it_runs() {
        let now = Instant::now();
        let mut tiers = tiers(now, &[&["a"], &["b"]]);
        assert_eq!(ask(&mut tiers, now).unwrap().0, "a");
        tiers.handle_answer(now, &Answer::default());
        let change = |tiers: &mut Tiers, list: &[&str], interval: Option<u64>| {
            let list = list.iter().map(|uri| vec![(*uri).to_owned()]).collect();
            let interval = interval.map(Duration::from_secs);
            let left = tiers.change(now, list, interval, &mut Rng::seeded(1));
            left.into_iter().map(|ask| ask.uri).collect::<Vec<_>>()
        };
        assert!(change(&mut tiers, &["c", "a"], None).is_empty());
        assert_eq!(tiers.poll_timeout(), Some(now + INTERVAL_DEFAULT));
        assert!(change(&mut tiers, &["a"], Some(60)).is_empty());
        assert_eq!(tiers.poll_timeout(), Some(now + Duration::from_secs(60)));
        assert_eq!(
            change(&mut tiers, &["x"], None),
            ["a"],
            "a hears that we leave"
        );
        assert_eq!(
            ask(&mut tiers, now),
            Some(("x".to_owned(), Some(Event::Started)))
        );
        assert_eq!(
            change(&mut tiers, &[], None),
            ["x"],
            "x may have heard of us"
        );
        tiers.handle_failure(now);
        assert_eq!(tiers.poll_timeout(), None);
    }

    #[test]
    fn the_user_edits_the_list() {
        let tiers = vec![vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]];
        let none: [&str; 0] = [];
        assert_eq!(
            edit(&tiers, &["a", "c"], &["x", "y"]),
            [vec!["b"], vec!["x"], vec!["y"]]
        );
        assert_eq!(edit(&tiers, &["*"], &["c"]), [vec!["c"]]);
        assert_eq!(edit(&tiers, &none, &none), tiers);
    }
}
