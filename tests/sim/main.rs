//! Drives `Plan` with fake mirrors, a fake disk and virtual time. A failure prints its seed.
//!
//! Mirrors drop connections, stall, crawl, answer 503, refuse ranges, serve wrong bytes or another
//! file; the user pauses; the process dies. Whatever happens, a download that completes has the
//! right bytes, and one that has an honest mirror does complete.

mod clock;
mod ground;
mod mirror;
mod torrent;
mod world;

use std::time::Duration;

use arioso::base::units::Span;
use arioso::option::value::PieceSelector;
use arioso::transfer::plan::Outcome;
use mirror::{Fault, Mirror};
use torrent::{Peer, Torrent, WebSeed};
use world::World;

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
    let selectors = [
        PieceSelector::Default,
        PieceSelector::InOrder,
        PieceSelector::Random,
        PieceSelector::Geom,
    ];
    for seed in seeds(32) {
        let mirror = Mirror {
            ranges: false,
            ..Mirror::good(1_000_000)
        };
        let mut world = World::plain(seed, 5_000_000)
            .with_mirrors(vec![mirror])
            .with_selector(selectors[seed as usize % selectors.len()])
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

#[test]
fn wrong_bytes_are_found_out_where_no_length_was_told() {
    for (fault, right) in [(None, true), (Some(Fault::WrongBytes), false)] {
        let mirror = Mirror {
            ranges: false,
            tells_length: false,
            fault,
            ..Mirror::good(1_000_000)
        };
        let mut world = World::plain(1, 3_000_001)
            .with_hashes()
            .with_mirrors(vec![mirror]);
        let outcome = world.run(Duration::from_secs(3600));
        assert_eq!(outcome.is_complete(), right, "{outcome:?}");
    }
}

#[test]
fn peers_and_mirrors_fill_one_file() {
    for seed in seeds(256) {
        let mut world = Torrent::random(seed);
        let outcome = world.run(Duration::from_secs(24 * 3600));
        assert!(
            outcome == Some(Outcome::Complete) && world.disk_is_right(),
            "SEED={seed}: {outcome:?}\n{}",
            world.describe()
        );
        let (wasted, allowed) = (world.wasted(), world.waste_allowed());
        assert!(
            wasted <= allowed,
            "SEED={seed}: {wasted} bytes came in vain, {allowed} had a reason\n{}",
            world.describe()
        );
    }
}

#[test]
fn a_slow_peer_does_not_hold_up_the_end() {
    for seed in seeds(16) {
        let mut world = Torrent::plain(seed, 4_000_000, 1 << 16);
        world.peers = vec![Peer::seed(1_000_000), Peer::seed(2_000)];
        let outcome = world.run(Duration::from_secs(3600));
        assert_eq!(outcome, Some(Outcome::Complete), "SEED={seed}");
        let seconds = world.elapsed().as_secs_f64();
        assert!(seconds < 8.0, "SEED={seed}: {seconds} s instead of 4");
        let wasted = world.wasted();
        assert!(wasted < 1_000_000, "SEED={seed}: {wasted} bytes in vain");
    }
}

#[test]
fn a_crawling_mirror_gives_way_to_peers_and_crawling_peers_to_a_mirror() {
    for seed in seeds(16) {
        let web_seed = |rate| WebSeed {
            rate,
            part: None,
            wrong: false,
            loss: 0.0,
        };
        for (peer, mirror) in [(1_000_000, 3_000), (3_000, 1_000_000)] {
            let mut world = Torrent::plain(seed, 8_000_000, 1 << 18);
            world.peers = vec![Peer::seed(peer)];
            world.seeds = vec![web_seed(mirror)];
            let outcome = world.run(Duration::from_secs(3600));
            assert_eq!(outcome, Some(Outcome::Complete), "SEED={seed}");
            let seconds = world.elapsed().as_secs_f64();
            assert!(
                seconds < 45.0,
                "SEED={seed}: {seconds} s with {peer} and {mirror}"
            );
        }
    }
}

#[test]
fn a_fast_web_seed_and_a_fast_peer_share_the_work() {
    let mut world = Torrent::plain(1, 40_000_000, 1 << 18);
    world.peers = vec![Peer::seed(2_000_000)];
    world.seeds = vec![WebSeed {
        rate: 2_000_000,
        part: None,
        wrong: false,
        loss: 0.0,
    }];
    assert_eq!(
        world.run(Duration::from_secs(3600)),
        Some(Outcome::Complete)
    );
    let share = world.from_mirrors as f64 / 40_000_000.0;
    assert!(
        (0.25..0.75).contains(&share),
        "{share} of it from the mirror"
    );
    let seconds = world.elapsed().as_secs_f64();
    assert!(seconds < 15.0, "{seconds} s instead of 10");
    assert!(world.wasted() < 1_000_000, "{} in vain", world.wasted());
}

/// Seconds for `len` bytes with one mirror and one peer that is found after a second, and the share
/// of the peer.
fn beside_a_late_peer(seed: u64, len: u64, piece_len: u32, mirror: u64, peer: u64) -> (f64, f64) {
    let mut world = Torrent::plain(seed, len, piece_len);
    world.peers = vec![Peer::seed(peer).late(Duration::from_secs(1))];
    world.seeds = vec![WebSeed {
        rate: mirror,
        part: None,
        wrong: false,
        loss: 0.0,
    }];
    let outcome = world.run(Duration::from_secs(3600));
    assert!(
        outcome == Some(Outcome::Complete) && world.disk_is_right(),
        "SEED={seed}: {outcome:?}\n{}",
        world.describe()
    );
    let share = 1.0 - world.from_mirrors as f64 / len as f64;
    (world.elapsed().as_secs_f64(), share)
}

#[test]
fn a_peer_gets_work_as_soon_as_it_is_there() {
    for seed in seeds(4) {
        // A file of few pieces, all of which the mirror holds by then.
        for (mirror, peer) in [(500_000, 500_000), (1_000_000, 250_000)] {
            let (_, share) = beside_a_late_peer(seed, 6_000_000, 1 << 20, mirror, peer);
            assert!(share > 0.1, "SEED={seed}: {share} from the peer");
        }
    }
}

#[test]
fn neither_side_waits_for_the_other_at_the_end() {
    for seed in seeds(2) {
        for (len, piece_len, mirror, peer) in [
            (12_000_000, 1 << 20, 500_000, 4_500_000),
            (12_000_000, 4 << 20, 150_000, 2_000_000),
            (8_000_000, 1 << 18, 1_000_000, 1_000_000),
            (12_000_000, 4 << 20, 2_000_000, 200_000),
        ] {
            let (seconds, _) = beside_a_late_peer(seed, len, piece_len, mirror, peer);
            // Both at full speed, from when the peer came.
            let ideal = 1.0 + (len - mirror) as f64 / (mirror + peer) as f64;
            let idle = seconds - ideal;
            // A piece that is under way is worth waiting for.
            assert!(
                idle < 4.0,
                "SEED={seed}: {seconds} s instead of {ideal} with pieces of {piece_len}, {mirror} and {peer}"
            );
        }
    }
}

#[test]
fn a_bad_web_seed_is_named_and_only_its_pieces_come_again() {
    for seed in seeds(32) {
        let mut world = Torrent::plain(seed, 6_000_000, 1 << 18);
        world.peers = vec![Peer::seed(100_000)];
        let part = Some(Span::new(1_000_000, 6_000_000));
        world.seeds = vec![WebSeed {
            rate: 1_000_000,
            part,
            wrong: true,
            loss: 0.0,
        }];
        let outcome = world.run(Duration::from_secs(3600));
        assert_eq!(outcome, Some(Outcome::Complete), "SEED={seed}");
        assert!(world.disk_is_right(), "SEED={seed}");
        assert!(world.named.contains("http://m0/f"), "SEED={seed}");
        assert!(world.wasted() <= world.waste_allowed(), "SEED={seed}");
    }
}

#[test]
fn one_mirror_a_file_fills_a_torrent_without_peers() {
    for seed in seeds(32) {
        let mut world = Torrent::plain(seed, 5_000_000, 1 << 18);
        world.seeds = [0, 10, 700_000, 3_000_000, 5_000_000]
            .windows(2)
            .map(|file| WebSeed {
                rate: 500_000,
                part: Some(Span::new(file[0], file[1])),
                wrong: false,
                loss: 0.01,
            })
            .collect();
        let outcome = world.run(Duration::from_secs(3600));
        assert_eq!(
            outcome,
            Some(Outcome::Complete),
            "SEED={seed}\n{}",
            world.describe()
        );
        assert!(world.disk_is_right(), "SEED={seed}");
    }
}

#[test]
fn choosing_stays_cheap_with_many_pieces_and_peers() {
    let mut world = Torrent::plain(1, 20_000 * 16 * 1024, 1 << 14);
    world.peers = (0..200)
        .map(|index| Peer {
            share: [1.0, 0.5, 0.1][index % 3],
            ..Peer::seed(200_000)
        })
        .collect();
    let outcome = world.run(Duration::from_secs(3600));
    assert_eq!(outcome, Some(Outcome::Complete));
    // 20,000 blocks: so many looks at pieces and blocks for each.
    let steps = world.steps() / 20_000;
    assert!(steps < 150, "{steps} steps a block");
}
