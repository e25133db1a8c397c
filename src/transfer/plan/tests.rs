//! Single steps that the worlds of `tests/sim` hardly ever come to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::base::units::PieceIdx;
use crate::option::value::{PieceSelector, UriSelector};
use crate::source::Facts;
use crate::transfer::retry::RetryPolicy;

fn settings() -> PlanSettings {
    PlanSettings {
        split: 1,
        per_host_max: 1,
        span_min: 1 << 20,
        selector: PieceSelector::Default,
        uri_selector: UriSelector::InOrder,
        reuse_uri: true,
        one_protocol: false,
        retry: RetryPolicy {
            tries_max: Some(1),
            wait: Duration::ZERO,
            not_found_max: 0,
        },
        always_resume: true,
        resume_failures_max: 0,
        dry_run: false,
        use_head: false,
        save_gap_max: None,
        hashed: false,
        swarm: false,
        piece_len: 1000,
    }
}

/// One plan, told everything at the same moment.
struct Story {
    now: Instant,
    plan: Plan,
}

impl Story {
    /// Of a download from one mirror that tells its length as `len` and may have ranges.
    fn of_mirror(settings: PlanSettings, peeked: Peeked, len: Option<u64>, ranges: bool) -> Self {
        let now = Instant::now();
        let plan = Plan::new(now, &["http://h/f".into()], settings, Rng::seeded(1));
        let mut story = Self { now, plan };
        story.disk(DiskDone::Peeked(peeked));
        let identity = Identity {
            len,
            ..Identity::default()
        };
        story.report(Report::Opened(Box::new(Facts {
            identity,
            body_from: Some(0),
            ranges,
            ..Facts::default()
        })));
        story
    }

    fn disk(&mut self, done: DiskDone) {
        self.plan.handle_disk(self.now, done, &());
    }

    fn prepared(&mut self, total: Option<u64>, written: RangeSet) {
        self.disk(DiskDone::Prepared(Ok(Prepared {
            total,
            piece_len: 1000,
            written,
        })));
    }

    /// Of the first source.
    fn report(&mut self, report: Report) {
        self.plan.handle_report(self.now, SourceId(0), report, &());
    }

    /// The first words of what is to be done.
    fn actions(&mut self) -> Vec<String> {
        let actions = std::iter::from_fn(|| self.plan.poll_action());
        let word = |action: Action| match action {
            Action::Prepare { .. } => "Prepare".to_owned(),
            Action::Open { opening, .. } => format!("Open {opening:?}"),
            other => format!("{other:?}"),
        };
        actions.map(word).collect()
    }
}

#[test]
fn what_a_removed_mirror_wrote_last_is_counted_where_it_is() {
    let part = Span::new(1000, 2000);
    let uri: Arc<str> = "http://h/b".into();
    let known = Known {
        total: 2000,
        piece_len: 1000,
        wanted: None,
        padding: RangeSet::new(),
        edges_may_lack: false,
    };
    let now = Instant::now();
    let settings = PlanSettings {
        swarm: true,
        ..settings()
    };
    let mirrors = [Mirror::new(uri.clone(), Some(part))];
    let plan = Plan::known(now, &mirrors, known, settings, Rng::seeded(1));
    let mut story = Story { now, plan };
    story.prepared(Some(2000), RangeSet::new());
    let change = UriChange {
        part: Some(part),
        remove: &[uri],
        add: &[],
        at: None,
    };
    story.plan.handle_uris(now, &change, &());
    // On its way when the source was dropped; counted from the first byte of its file.
    story.report(Report::Wrote(Span::new(0, 100)));
    story
        .plan
        .handle_last_write(SourceId(0), Span::new(100, 200));
    let written: Vec<Span> = story.plan.map().written().iter().collect();
    assert_eq!(written, [Span::new(1000, 1200)]);
}

#[test]
fn a_file_without_a_length_is_hashed_before_it_is_complete() {
    let settings = PlanSettings {
        hashed: true,
        ..settings()
    };
    let mut story = Story::of_mirror(settings, Peeked::default(), None, false);
    story.prepared(None, RangeSet::new());
    story.report(Report::Wrote(Span::new(0, 1500)));
    story.actions();
    story.report(Report::Ended(1500));
    assert_eq!(
        story.actions(),
        [
            "Hash(PieceIdx(0))",
            "Hash(PieceIdx(1))",
            "Drop(SourceId(0))"
        ]
    );
    story.disk(DiskDone::Hashed(PieceIdx(0), Ok(true)));
    assert!(story.actions().is_empty());
    story.disk(DiskDone::Hashed(PieceIdx(1), Ok(true)));
    assert_eq!(story.actions(), ["Complete"]);
}

#[test]
fn where_nothing_is_missing_a_server_need_not_resume() {
    for (there, wanted) in [(100, "Prepare"), (99, "End(")] {
        let peeked = Peeked {
            resume_at: there,
            ..Peeked::default()
        };
        let mut story = Story::of_mirror(settings(), peeked, Some(100), false);
        let last = story.actions().pop().unwrap_or_default();
        assert!(last.starts_with(wanted), "{there}: {last}");
    }
    let peeked = Peeked {
        resume_at: 100,
        ..Peeked::default()
    };
    let mut story = Story::of_mirror(settings(), peeked, Some(100), false);
    story.actions();
    story.prepared(Some(100), RangeSet::from_iter([Span::new(0, 100)]));
    assert_eq!(story.actions(), ["Drop(SourceId(0))", "Complete"]);
}

/// The file that is wanted ends in the middle of the second piece, and is there; `peers` have the
/// rest of that piece. Gives what is to be done before and after some patience.
fn at_an_edge(edges_may_lack: bool, peers: usize) -> [Vec<String>; 2] {
    let file = Span::new(0, 1500);
    let known = Known {
        total: 3000,
        piece_len: 1000,
        wanted: Some(RangeSet::from_iter([file])),
        padding: RangeSet::new(),
        edges_may_lack,
    };
    let now = Instant::now();
    let settings = PlanSettings {
        swarm: true,
        hashed: true,
        ..settings()
    };
    let plan = Plan::known(now, &[], known, settings, Rng::seeded(1));
    let mut story = Story { now, plan };
    story.prepared(Some(3000), RangeSet::from_iter([file]));
    story.plan.handle_peers(now, peers, &());
    story.actions();
    [1, 6].map(|seconds| {
        let now = now + Duration::from_secs(seconds);
        story.plan.handle_timeout(now, &());
        story.actions()
    })
}

#[test]
fn the_rest_of_a_last_piece_is_not_waited_for_for_ever() {
    let complete = [vec![], vec!["Complete".to_owned()]];
    assert_eq!(at_an_edge(true, 0), complete);
    let waits: [Vec<String>; 2] = [vec![], vec![]];
    assert_eq!(at_an_edge(false, 0), waits);
    assert_eq!(at_an_edge(true, 1), waits);
}

/// A file of 3000 bytes in a map without hashes, all there. Of two mirrors the first broke off half
/// way.
fn all_there(mirrors: usize) -> Story {
    let known = Known {
        total: 3000,
        piece_len: 1000,
        wanted: None,
        padding: RangeSet::new(),
        edges_may_lack: false,
    };
    let uris = ["http://h0/f", "http://h1/f"].iter().take(mirrors);
    let list: Vec<Mirror> = uris.map(|uri| Mirror::new((*uri).into(), None)).collect();
    let now = Instant::now();
    let plan = Plan::known(now, &list, known, settings(), Rng::seeded(1));
    let mut story = Story { now, plan };
    story.prepared(Some(3000), RangeSet::new());
    if mirrors > 1 {
        story.actions();
        story.report(Report::Wrote(Span::new(0, 1500)));
        let broke = Failure::fatal(ErrorCode::ResourceNotFound, "gone");
        story.report(Report::Closed(Err(broke)));
    }
    story.fetch_all();
    story
}

impl Story {
    /// Every source brings what it was asked for, until all is there.
    fn fetch_all(&mut self) {
        for _ in 0..10 {
            let mut complete = false;
            let actions: Vec<Action> = std::iter::from_fn(|| self.plan.poll_action()).collect();
            for action in actions {
                match action {
                    Action::Fetch(source, span) => {
                        let report = Report::Wrote(span);
                        self.plan.handle_report(self.now, source, report, &());
                        self.plan.handle_report(self.now, source, Report::Idle, &());
                    }
                    Action::Complete => complete = true,
                    _ => {}
                }
            }
            if complete {
                return;
            }
        }
        panic!("{}", self.plan.map().draw(100));
    }

    /// The pieces are bad; what is to be done, less what became of connections.
    fn spoilt(&mut self, pieces: &[Span]) -> Vec<String> {
        self.disk(DiskDone::Spoilt(pieces.to_vec()));
        let mut kept = Vec::new();
        let mut asked = Vec::new();
        while let Some(action) = self.plan.poll_action() {
            match action {
                Action::BadPiece { uri, banned, .. } => kept.push(format!("{uri} {banned}")),
                Action::Fetch(source, span) => asked.push((source, span)),
                Action::End(outcome) => kept.push(format!("{outcome:?}")),
                _ => {}
            }
        }
        for (source, span) in asked {
            kept.push(format!("{span:?}"));
            self.plan
                .handle_report(self.now, source, Report::Wrote(span), &());
        }
        self.actions();
        kept
    }
}

#[test]
fn the_only_mirror_of_bad_pieces_of_a_file_is_not_asked_for_ever() {
    let mut story = all_there(1);
    let piece = Span::new(1300, 1700);
    for _ in 0..2 {
        assert_eq!(story.spoilt(&[piece]), ["http://h0/f false", "1300..1700"]);
    }
    let last = story.spoilt(&[piece]);
    assert_eq!(last[0], "http://h0/f true");
    assert!(last[1].contains("code: Checksum"), "{last:?}");
    // Whoever stopped it meanwhile has the last word.
    assert_eq!(story.spoilt(&[piece]), [""; 0]);
}

#[test]
fn who_spoilt_a_piece_of_a_file_alone_is_given_up_and_of_several_nobody() {
    let mut story = all_there(2);
    // Both had a hand in it.
    assert_eq!(story.spoilt(&[Span::new(1400, 1600)]), ["1400..1600"]);
    let told = story.spoilt(&[Span::new(0, 200), Span::new(2000, 2200)]);
    // The second is the only one left.
    assert_eq!(told, ["http://h0/f true", "http://h1/f false", "0..200"]);
}
