//! Pure: which span a source gets next, and where a lease is split.

use crate::base::rng::Rng;
use crate::base::units::{BLOCK_LEN, SourceId, Span};
use crate::option::value::PieceSelector;

/// A rest that takes less than this is not worth another request.
const STEAL_SECONDS_MIN: f64 = 1.0;
/// Bytes a second of sources of which nothing is known yet: who has just begun is not slow.
const RATE_UNKNOWN: f64 = 1_048_576.0;
/// From this many pieces on, splits fall on piece boundaries.
const ALIGN_TO_PIECE_FROM: u64 = 8;

/// What a source wants.
#[derive(Clone, Debug)]
pub struct Ask {
    pub source: SourceId,
    /// Bytes a second it has shown, if any.
    pub rate: Option<f64>,
    /// It has to be dialled first, which pays only for spans of at least this many bytes on
    /// either side (option `min-split-size`); `None` when its connection is open.
    pub dial_span_min: Option<u64>,
    /// Position of an open body, which costs no request.
    pub body_at: Option<u64>,
    pub selector: PieceSelector,
    /// Step of the selectors that work in steps, in bytes.
    pub step: u64,
    /// What it can fetch at all; `None`: everything.
    pub reach: Option<Span>,
    /// Bytes it gets at most, whole pieces where the span allows it; for mirrors beside peers.
    pub len_max: Option<u64>,
}

/// A lease that may be split.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub source: SourceId,
    pub rest: Span,
    pub rate: Option<f64>,
}

/// Chooses among missing spans.
pub fn pick(missing: &[Span], ask: &Ask, piece_len: u64, rng: &mut Rng) -> Option<Span> {
    let span = pick_whole(missing, ask, piece_len, rng)?;
    let Some(len_max) = ask.len_max.filter(|len_max| *len_max < span.len()) else {
        return Some(span);
    };
    // Up to the end of a piece, so that none is begun and left.
    let end = (span.start + len_max).next_multiple_of(piece_len);
    Some(Span::new(span.start, span.end.min(end)))
}

fn pick_whole(missing: &[Span], ask: &Ask, piece_len: u64, rng: &mut Rng) -> Option<Span> {
    if let Some(at) = ask.body_at
        && let Some(span) = missing.iter().find(|span| span.start == at)
    {
        return Some(cut_to_step(*span, ask));
    }
    let step = ask.step.max(BLOCK_LEN);
    match ask.selector {
        // The longest, so that few connections are made.
        PieceSelector::Default => missing
            .iter()
            .max_by_key(|span| (span.len(), u64::MAX - span.start))
            .copied(),
        PieceSelector::InOrder | PieceSelector::Geom => {
            missing.first().map(|span| cut_to_step(*span, ask))
        }
        PieceSelector::Random => {
            let span = missing.get(rng.below(missing.len() as u64) as usize)?;
            let unit = step.max(piece_len);
            let steps = (span.len() / unit).max(1);
            let start = (span.start + rng.below(steps) * unit).min(span.end - 1);
            Some(Span::new(start, span.end.min(start.saturating_add(unit))))
        }
    }
}

fn cut_to_step(span: Span, ask: &Ask) -> Span {
    let step = ask.step.max(BLOCK_LEN);
    let len = match ask.selector {
        PieceSelector::Default | PieceSelector::Random => return span,
        PieceSelector::InOrder => step,
        // The n-th step is as long as all before it together.
        PieceSelector::Geom => step.max(span.start),
    };
    Span::new(span.start, span.end.min(span.start.saturating_add(len)))
}

/// Chooses whose lease to split and where; the asking source gets what lies behind that point.
pub fn split(candidates: &[Candidate], ask: &Ask, piece_len: u64) -> Option<(SourceId, u64)> {
    let typical = typical_rate(candidates, ask);
    let seconds = |candidate: &Candidate| {
        candidate.rest.len() as f64 / candidate.rate.unwrap_or(typical).max(1.0)
    };
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by(|a, b| {
        seconds(b)
            .total_cmp(&seconds(a))
            .then(a.rest.start.cmp(&b.rest.start))
    });
    order.into_iter().find_map(|candidate| {
        split_point(candidate, ask, piece_len, seconds(candidate)).map(|at| (candidate.source, at))
    })
}

fn typical_rate(candidates: &[Candidate], ask: &Ask) -> f64 {
    let known: Vec<f64> = candidates
        .iter()
        .filter_map(|candidate| candidate.rate)
        .chain(ask.rate)
        .collect();
    if known.is_empty() {
        RATE_UNKNOWN
    } else {
        known.iter().sum::<f64>() / known.len() as f64
    }
}

fn split_point(candidate: &Candidate, ask: &Ask, piece_len: u64, seconds: f64) -> Option<u64> {
    let rest = candidate.rest;
    if let Some(span_min) = ask.dial_span_min {
        let at = align(rest, rest.start + rest.len() / 2, piece_len);
        let wide = at - rest.start >= span_min && rest.end - at >= span_min;
        return wide.then_some(at);
    }
    if seconds < STEAL_SECONDS_MIN {
        return None;
    }
    let kept = match (candidate.rate, ask.rate) {
        // Both shall finish at the same time.
        (Some(theirs), Some(ours)) => {
            let share = theirs / (theirs + ours).max(1.0);
            (rest.len() as f64 * share) as u64
        }
        _ => rest.len() / 2,
    };
    let at = align(rest, rest.start + kept, piece_len);
    // A last block that crawls is asked for twice: whoever has it first wins.
    let at = if rest.len() < 2 * BLOCK_LEN && at > rest.start {
        rest.start
    } else {
        at
    };
    (rest.end.saturating_sub(at) > 0)
        .then_some(at)
        .filter(|at| worth(candidate, ask, *at, seconds))
}

/// Whether the thief, at its own speed, ends clearly before the holder would.
fn worth(candidate: &Candidate, ask: &Ask, at: u64, seconds: f64) -> bool {
    match ask.rate {
        None => true,
        Some(ours) => {
            let mine = (candidate.rest.end - at) as f64 / ours.max(1.0);
            mine + STEAL_SECONDS_MIN / 2.0 < seconds
        }
    }
}

/// Moves a split point to the next boundary inside the span.
fn align(rest: Span, at: u64, piece_len: u64) -> u64 {
    let unit = if rest.len() >= ALIGN_TO_PIECE_FROM * piece_len {
        piece_len
    } else {
        BLOCK_LEN
    };
    if at <= rest.start {
        return rest.start;
    }
    at.div_ceil(unit).saturating_mul(unit).min(rest.end)
}

#[cfg(test)]
mod tests {
    use super::super::piece_map::PieceMap;
    use super::*;
    use crate::base::range_set::RangeSet;
    use std::time::{Duration, Instant};

    const CELL: u64 = BLOCK_LEN;

    /// Builds a map from a drawing: `#` written, a letter leased by that source.
    fn map(drawing: &str) -> (PieceMap, Vec<SourceId>) {
        let cells: Vec<char> = drawing.chars().collect();
        let written: RangeSet = cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| **cell == '#')
            .map(|(index, _)| Span::new(index as u64 * CELL, (index as u64 + 1) * CELL))
            .collect();
        let mut map = PieceMap::new(Some(cells.len() as u64 * CELL), 4 * CELL, written, false);
        let mut sources = Vec::new();
        let mut rng = Rng::seeded(1);
        let mut index = 0;
        while index < cells.len() {
            let cell = cells[index];
            if cell.is_ascii_lowercase() {
                let end = cells[index..]
                    .iter()
                    .position(|c| *c != cell)
                    .map_or(cells.len(), |n| index + n);
                let source = SourceId(u32::from(cell as u8 - b'a'));
                let ask = Ask {
                    body_at: Some(index as u64 * CELL),
                    selector: PieceSelector::InOrder,
                    step: (end - index) as u64 * CELL,
                    ..ask(source)
                };
                assert!(map.lease(&ask, &mut rng).is_some(), "{drawing}");
                sources.push(source);
                index = end;
            } else {
                index += 1;
            }
        }
        (map, sources)
    }

    fn ask(source: SourceId) -> Ask {
        Ask {
            source,
            rate: None,
            dial_span_min: None,
            body_at: None,
            selector: PieceSelector::Default,
            step: 4 * CELL,
            reach: None,
            len_max: None,
        }
    }

    /// What source `b` gets when it asks; rates are those of the sources by letter.
    fn check(before: &str, asking: Ask, rates: &[f64], after: &str) {
        let (mut map, _) = map(before);
        let now = Instant::now() + Duration::from_secs(1);
        let rate = |source: SourceId, _: Instant| rates.get(source.0 as usize).copied();
        let mut rng = Rng::seeded(1);
        if map.lease(&asking, &mut rng).is_none() {
            map.steal(now, &asking, &rate);
        }
        assert_eq!(map.draw(CELL), after, "from {before}");
        assert_eq!(map.check(), Ok(()));
    }

    fn b() -> Ask {
        ask(SourceId(1))
    }

    fn dial(cells: u64) -> Ask {
        Ask {
            dial_span_min: Some(cells * CELL),
            ..b()
        }
    }

    #[test]
    fn the_longest_gap_goes_first() {
        check("..##....#...", b(), &[], "..##bbbb#...");
        check("....#....", b(), &[], "bbbb#....");
    }

    #[test]
    fn an_open_body_is_used_where_it_stands() {
        check(
            ".##.....",
            Ask {
                body_at: Some(0),
                ..b()
            },
            &[],
            "b##.....",
        );
    }

    #[test]
    fn selectors_work_in_steps() {
        let step = |selector| Ask {
            selector,
            step: 2 * CELL,
            ..b()
        };
        check("#.......", step(PieceSelector::InOrder), &[], "#bb.....");
        check("####....", step(PieceSelector::Geom), &[], "####bbbb");
        check("##......", step(PieceSelector::Geom), &[], "##bb....");
    }

    #[test]
    fn a_new_connection_takes_half_if_both_halves_are_wide_enough() {
        check("aaaaaaaa", dial(4), &[], "aaaabbbb");
        check("aaaaaaaa", dial(5), &[], "aaaaaaaa");
        check("aaaacccccc", dial(1), &[], "aaaacccbbb");
    }

    #[test]
    fn fast_mirror_takes_tail_of_slow_lease() {
        let asking = Ask {
            rate: Some(CELL as f64),
            ..b()
        };
        check("##aaaaaa", asking.clone(), &[CELL as f64], "##aaabbb");
        // three times as fast: three quarters of it
        check(
            "aaaaaaaa",
            Ask {
                rate: Some(3.0 * CELL as f64),
                ..b()
            },
            &[CELL as f64],
            "aabbbbbb",
        );
    }

    #[test]
    fn a_slow_source_takes_nothing_from_a_fast_one() {
        check(
            "aaaaaaaa",
            Ask {
                rate: Some(1.0),
                ..b()
            },
            &[8.0 * CELL as f64],
            "aaaaaaaa",
        );
        check("aaaaaaaa", b(), &[80.0 * CELL as f64], "aaaaaaaa");
    }

    /// On a fast line it is over before its speed is known: what was asked for is under way.
    #[test]
    fn who_has_just_begun_keeps_a_short_rest() {
        check("aaaaaaaa", b(), &[], "aaaaaaaa");
    }

    #[test]
    fn a_stalled_lease_is_taken_whole_and_the_slowest_first() {
        let asking = Ask {
            rate: Some(CELL as f64),
            ..b()
        };
        check(
            "aaaacccc",
            asking.clone(),
            &[0.0, 0.0, CELL as f64],
            "bbbbcccc",
        );
        check("#######a", asking, &[1.0], "#######b");
    }
}
