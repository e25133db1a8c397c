//! Drives `Plan` with fake mirrors, a fake disk and virtual time. A failure prints its seed.
//!
//! Mirrors drop connections, stall, crawl, answer 503, refuse ranges, serve wrong bytes or another
//! file; the user pauses; the process dies. Whatever happens, a download that completes has the
//! right bytes, and one that has an honest mirror does complete.

mod world;

use std::time::Duration;

use world::{Fault, Mirror, World};

/// Every seed runs a different world; `SEED=n` runs one alone.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

#[test]
fn downloads_are_byte_equal_whatever_the_mirrors_do() {
    for seed in seeds(256) {
        let mut world = World::random(seed);
        let outcome = world.run(Duration::from_secs(24 * 3600));
        assert!(
            outcome.is_complete(),
            "SEED={seed}: {outcome:?}\n{}",
            world.describe()
        );
        assert!(
            world.disk_is_right(),
            "SEED={seed}: wrong bytes\n{}",
            world.describe()
        );
    }
}

#[test]
fn without_an_honest_mirror_it_fails_and_says_why() {
    for seed in seeds(64) {
        let mut world = World::random(seed).with_mirrors(vec![
            Mirror::good(1_000_000).with(Fault::NotFound),
            Mirror::good(1_000_000).with(Fault::OtherFile),
        ]);
        let outcome = world.run(Duration::from_secs(24 * 3600));
        let failure = outcome.failure();
        assert!(
            failure.is_some_and(|failure| !failure.message.is_empty()),
            "SEED={seed}: {outcome:?}\n{}",
            world.describe()
        );
    }
}

#[test]
fn one_crawling_connection_of_eight_costs_little() {
    let time = |slow: bool| {
        let mut mirror = Mirror::good(1_000_000);
        mirror.slow_connection = slow.then_some(3);
        let mut world = World::plain(1, 80_000_000)
            .with_mirrors(vec![mirror])
            .with_split(8, 8);
        let outcome = world.run(Duration::from_secs(3600));
        assert!(outcome.is_complete() && world.disk_is_right());
        world.elapsed().as_secs_f64()
    };
    let (even, crawling) = (time(false), time(true));
    // Seven connections do the work of eight: 8/7 of the time, and a tenth on top.
    assert!(
        crawling <= even * 8.0 / 7.0 * 1.1,
        "{crawling} s instead of {even} s"
    );
}

#[test]
fn work_is_spread_over_split_connections() {
    let mut world = World::plain(1, 40_000_000)
        .with_mirrors(vec![Mirror::good(1_000_000)])
        .with_split(4, 4);
    let outcome = world.run(Duration::from_secs(3600));
    assert!(outcome.is_complete() && world.disk_is_right());
    assert_eq!(world.connections_most(), 4);
    assert!(
        world.elapsed() < Duration::from_secs(12),
        "{:?}",
        world.elapsed()
    );
    assert!(
        world.bytes_sent() < 41_000_000,
        "{} bytes sent",
        world.bytes_sent()
    );
}

#[test]
fn a_server_without_ranges_gets_one_connection() {
    for seed in seeds(32) {
        let mirror = Mirror {
            ranges: false,
            ..Mirror::good(1_000_000)
        };
        let mut world = World::plain(seed, 5_000_000)
            .with_mirrors(vec![mirror])
            .with_split(4, 4);
        let outcome = world.run(Duration::from_secs(3600));
        assert!(
            outcome.is_complete() && world.disk_is_right(),
            "SEED={seed}: {outcome:?}"
        );
        assert_eq!(world.bytes_sent_to_disk(), 5_000_000, "SEED={seed}");
    }
}

#[test]
fn an_unknown_length_is_taken_as_it_comes() {
    let mirror = Mirror {
        ranges: false,
        tells_length: false,
        ..Mirror::good(1_000_000)
    };
    let mut world = World::plain(1, 3_000_001)
        .with_mirrors(vec![mirror])
        .with_split(4, 4);
    let outcome = world.run(Duration::from_secs(3600));
    assert!(outcome.is_complete() && world.disk_is_right());
}

#[test]
fn a_pause_loses_no_byte() {
    for seed in seeds(64) {
        let mut world = World::plain(seed, 20_000_000)
            .with_mirrors(vec![Mirror::good(1_000_000)])
            .with_split(4, 4)
            .with_pauses(5);
        let outcome = world.run(Duration::from_secs(3600));
        assert!(
            outcome.is_complete() && world.disk_is_right(),
            "SEED={seed}"
        );
        assert_eq!(
            world.bytes_sent_to_disk(),
            20_000_000,
            "SEED={seed}: bytes were written twice"
        );
    }
}

#[test]
fn a_bad_mirror_is_found_out_by_piece_hashes() {
    for seed in seeds(64) {
        let mut world = World::plain(seed, 20_000_000)
            .with_hashes()
            .with_mirrors(vec![
                Mirror::good(1_000_000).with(Fault::WrongBytes),
                Mirror::good(300_000),
            ])
            .with_split(4, 2);
        let outcome = world.run(Duration::from_secs(3600));
        assert!(
            outcome.is_complete() && world.disk_is_right(),
            "SEED={seed}: {outcome:?}"
        );
    }
}
