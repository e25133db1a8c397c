//! Pieces and whom their blocks are asked of, drawn: `#` had, a letter for the peer asked, `*` for
//! several, `.` free.

use std::time::{Duration, Instant};

use super::*;
use crate::bittorrent::wire::BLOCK_LEN;
use crate::transfer::piece_map::PieceMap;

/// Blocks a piece in these drawings.
const BLOCKS: u32 = 4;

struct Scene {
    crowd: Crowd,
    map: PieceMap,
    now: Instant,
    orders: Orders,
}

impl Scene {
    /// So many pieces of which none is had; `peers` are unchoked and have the pieces marked `#`.
    fn new(pieces: u32, peers: &[&str]) -> Self {
        let shape = Shape {
            piece_len: BLOCKS * BLOCK_LEN,
            total: u64::from(pieces * BLOCKS * BLOCK_LEN),
        };
        let mut all = Bitfield::new(pieces);
        (0..pieces).for_each(|piece| all.set(piece, true));
        let none = Bitfield::new(pieces);
        let settings = CrowdSettings::default();
        let now = Instant::now();
        let piece_len = u64::from(shape.piece_len);
        let mut scene = Self {
            crowd: Crowd::new(shape, settings, &none, &all, Rng::seeded(1)),
            map: PieceMap::new(Some(shape.total), piece_len, RangeSet::new(), true),
            now,
            orders: Orders::default(),
        };
        for (id, drawing) in peers.iter().enumerate() {
            let id = SourceId(id as u32);
            let has = drawing.char_indices().filter(|(_, cell)| *cell == '#');
            let has: Vec<PieceIdx> = has.map(|(at, _)| PieceIdx(at as u32)).collect();
            scene.crowd.join(now, id);
            scene.crowd.handle_has(id, &has);
            scene.crowd.handle_choked(id, false);
        }
        scene
    }

    fn window(&mut self, id: u32, blocks: usize) -> &mut Self {
        self.crowd.handle_window(SourceId(id), blocks);
        self.poll()
    }

    fn poll(&mut self) -> &mut Self {
        self.orders = self.crowd.poll_orders(self.now, &mut self.map, None);
        self
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn took(&mut self, id: u32, piece: u32, index: u32) -> &mut Self {
        let block = Block::new(piece, index * BLOCK_LEN, BLOCK_LEN);
        self.crowd.handle_took(self.now, SourceId(id), &[block]);
        self
    }

    /// Open pieces in order.
    fn draw(&self) -> String {
        let open = self.crowd.open.values().map(Partial::draw);
        open.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn slow_peers_finish_a_piece_together() {
    let mut scene = Scene::new(1, &["#", "#"]);
    assert_eq!(scene.window(0, 2).draw(), "aa..");
    assert_eq!(scene.window(1, 5).draw(), "aabb");
    assert_eq!(scene.orders.requests[0].1.len(), 2);
    assert_eq!(scene.took(1, 0, 2).draw(), "aa#b");
}

#[test]
fn a_fast_peer_has_pieces_for_itself() {
    let mut scene = Scene::new(3, &["###", "###"]);
    scene.window(0, 4);
    let first = *scene.crowd.open.keys().next().unwrap();
    for index in 0..4 {
        scene.wait(100).took(0, first.0, index);
    }
    scene.crowd.handle_piece(scene.now, first, true);
    assert_eq!(scene.window(0, 2).draw(), "aa..");
    // The other one begins its own.
    scene.window(1, 1);
    assert_eq!(scene.crowd.open.len(), 2);
    // Whoever leaves leaves its pieces to all.
    scene.crowd.leave(scene.now, SourceId(0));
    scene.window(1, 7);
    assert_eq!(scene.draw(), "bbbb bbbb");
}

#[test]
fn the_end_is_asked_of_two_and_the_slower_is_told_to_stop() {
    let mut scene = Scene::new(1, &["#", "#"]);
    scene.window(0, 4);
    scene.window(1, 4);
    assert_eq!(scene.draw(), "aaaa");
    // Peer a has shown nothing for a while.
    scene.wait(1500).poll();
    assert_eq!(scene.draw(), "****");
    scene.took(1, 0, 3).poll();
    let block = Block::new(0, 3 * BLOCK_LEN, BLOCK_LEN);
    assert_eq!(scene.orders.cancels, [(SourceId(0), vec![block])]);
}

#[test]
fn a_piece_that_failed_comes_from_one_peer_alone() {
    let mut scene = Scene::new(1, &["#", "#"]);
    scene.window(0, 2);
    scene.window(1, 2);
    for (id, index) in [(0, 0), (0, 1), (1, 2), (1, 3)] {
        scene.took(id, 0, index);
    }
    scene.crowd.handle_piece(scene.now, PieceIdx(0), false);
    assert_eq!(scene.window(1, 1).draw(), "b...");
    assert_eq!(scene.window(0, 4).draw(), "b...");
    assert_eq!(scene.window(1, 4).draw(), "bbbb");
}

#[test]
fn a_peer_without_what_we_want_is_told_so() {
    let mut scene = Scene::new(2, &["#."]);
    scene.window(0, 8);
    assert_eq!(scene.orders.interest, [(SourceId(0), true)]);
    scene.crowd.handle_piece(scene.now, PieceIdx(0), true);
    scene.poll();
    assert_eq!(scene.orders.interest, [(SourceId(0), false)]);
    assert!(!scene.crowd.is_done());
}

#[test]
fn what_a_mirror_holds_is_left_to_it_until_it_gives_it_back() {
    let mut scene = Scene::new(1, &["#"]);
    let ask = crate::transfer::picker::Ask {
        source: SourceId(7),
        rate: None,
        dial_span_min: None,
        body_at: None,
        selector: crate::option::value::PieceSelector::Default,
        step: 1,
        reach: None,
        len_max: Some(1),
    };
    assert!(scene.map.lease(&ask, &mut Rng::seeded(1)).is_some());
    assert_eq!(scene.window(0, 4).draw(), "");
    assert!(scene.map.contended().is_some());
    scene.map.release(SourceId(7));
    assert_eq!(scene.poll().draw(), "aaaa");
    assert!(scene.map.lease(&ask, &mut Rng::seeded(1)).is_none());
}

#[test]
fn a_choking_peer_gives_only_what_it_allowed_and_a_snubbing_one_a_block() {
    let mut scene = Scene::new(2, &["##", "##"]);
    scene.crowd.handle_choked(SourceId(0), true);
    scene.crowd.handle_allowed_fast(SourceId(0), PieceIdx(1));
    scene.window(0, 8);
    let opened: Vec<PieceIdx> = scene.orders.open.iter().map(|(piece, _)| *piece).collect();
    assert_eq!(
        (opened, scene.draw()),
        (vec![PieceIdx(1)], "aaaa".to_owned())
    );
    scene.crowd.handle_snubbed(SourceId(1), true);
    assert_eq!(scene.window(1, 8).draw(), "b... aaaa");
}

#[test]
fn the_ends_of_files_go_first() {
    let files = [Span::new(0, 100), Span::new(100, 1000)];
    let pieces = |head, tail| -> Vec<u32> {
        let pieces = urgent_pieces(&files, 100, head, tail);
        pieces.into_iter().map(|piece| piece.0).collect()
    };
    assert_eq!(pieces(1, 0), [0, 1]);
    assert_eq!(pieces(0, 150), [0, 8, 9]);
    assert_eq!(pieces(101, 1), [0, 1, 2, 9]);
    assert!(pieces(0, 0).is_empty());
}
