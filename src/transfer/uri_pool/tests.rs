use std::sync::Arc;
use std::time::{Duration, Instant};

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
    UriPool::new(&uris, selector, per_host_max, usize::MAX)
}

fn dial_all(pool: &mut UriPool, speeds: &dyn HostSpeeds) -> Vec<String> {
    let now = Instant::now();
    let mut rng = Rng::seeded(1);
    let mut dialled = Vec::new();
    while let Some(id) = pool.next(now, &Want::any(true), speeds, &mut rng) {
        let source = SourceId(dialled.len() as u32);
        dialled.push(host_of(&pool.mirror(id).unwrap().uri));
        pool.handle_opened(id, source);
        pool.handle_accepted(id);
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
fn one_protocol_of_a_host_is_used_at_a_time() {
    let uris = ["ftp://a/1", "http://a:81/1", "http://b/1", "ftp://a/2"];
    let mut both = pool(&uris, UriSelector::InOrder, 3);
    assert_eq!(dial_all(&mut both, &()).len(), 6);
    let mut pool = pool(&uris, UriSelector::InOrder, 3);
    pool.use_one_protocol();
    let (now, mut rng) = (Instant::now(), Rng::seeded(1));
    let mut ids = Vec::new();
    while let Some(id) = pool.next(now, &Want::any(true), &(), &mut rng) {
        pool.handle_opened(id, SourceId(ids.len() as u32));
        pool.handle_accepted(id);
        ids.push(id);
    }
    let mut dialled: Vec<_> = ids
        .iter()
        .map(|id| &*pool.mirror(*id).unwrap().uri)
        .collect();
    dialled.sort_unstable();
    dialled.dedup();
    assert_eq!(dialled, ["ftp://a/1", "ftp://a/2", "http://b/1"]);
    // When the host's first protocol is given up, the other one is there.
    for id in ids {
        if pool.mirror(id).unwrap().uri.starts_with("ftp:") {
            pool.ban(id);
        }
    }
    let next = pool.next(now, &Want::any(true), &(), &mut rng).unwrap();
    assert_eq!(&*pool.mirror(next).unwrap().uri, "http://a:81/1");
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
    let first = pool.next(now, &Want::any(true), &(), &mut rng).unwrap();
    pool.handle_opened(first, SourceId(0));
    pool.handle_failure(now, first, SourceId(0), &policy, again());
    assert_eq!(pool.poll_timeout(now), Some(now + Duration::from_secs(5)));
    let second = pool.next(now, &Want::any(true), &(), &mut rng).unwrap();
    assert_ne!(first, second);
    let later = now + Duration::from_secs(6);
    pool.handle_opened(second, SourceId(1));
    assert_eq!(
        pool.next(later, &Want::any(true), &(), &mut rng),
        Some(first)
    );
    pool.handle_opened(first, SourceId(2));
    pool.handle_failure(later, first, SourceId(2), &policy, again());
    assert!(pool.has_hope(&Want::any(true)));
    assert_eq!(
        pool.next(
            later + Duration::from_secs(60),
            &Want::any(true),
            &(),
            &mut rng
        ),
        None
    );
}

#[test]
fn connections_are_opened_as_the_server_answers() {
    let mut pool = pool(&["http://a/1"], UriSelector::InOrder, 16);
    let (now, mut rng, id) = (Instant::now(), Rng::seeded(1), MirrorId(0));
    let mut open = 0;
    let mut rounds = Vec::new();
    while open < 16 {
        while pool.next(now, &Want::any(true), &(), &mut rng).is_some() {
            pool.handle_opened(id, SourceId(open));
            open += 1;
        }
        rounds.push(open);
        pool.handle_accepted(id);
    }
    assert_eq!(rounds, [1, 4, 9, 16]);
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
    assert_eq!(pool.next(now, &Want::any(true), &(), &mut rng), None);
    assert_eq!(pool.poll_timeout(now), Some(now + Duration::from_secs(1)));
    now += Duration::from_secs(1);
    for (source, wanted) in [(10, 3), (11, 6)] {
        assert_eq!(pool.next(now, &Want::any(true), &(), &mut rng), Some(id));
        pool.handle_opened(id, SourceId(source));
        if wanted == 3 {
            assert_eq!(pool.next(now, &Want::any(true), &(), &mut rng), None);
            pool.handle_accepted(id);
        }
    }
    assert!(pool.has_hope(&Want::any(true)));
}

#[test]
fn changes_of_one_file_leave_the_others_alone() {
    let (first, second) = (Span::new(0, 5), Span::new(5, 9));
    let mirror = |uri: &str, part| Mirror::new(uri.into(), Some(part));
    let mut pool = pool(&[], UriSelector::InOrder, 1);
    pool.extend(&[mirror("x", first), mirror("x", second), mirror("y", second)]);
    pool.remove("x", Some(second));
    pool.remove("y", Some(first));
    pool.insert(0, mirror("z", second));
    pool.insert(1, mirror("w", first));
    let held = pool.mirrors.iter().map(|held| &held.mirror);
    let list: Vec<(&str, u64)> = held
        .map(|held| (&*held.uri, held.part.unwrap().start))
        .collect();
    assert_eq!(list, [("x", 0), ("z", 5), ("y", 5), ("w", 0)]);
}

#[test]
fn entries_list_used_ones_first_and_a_copy_to_use_again() {
    let mut pool = pool(&["http://a/1", "http://b/1"], UriSelector::InOrder, 2);
    let id = pool
        .next(Instant::now(), &Want::any(true), &(), &mut Rng::seeded(1))
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
