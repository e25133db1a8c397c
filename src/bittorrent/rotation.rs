//! Pure: which peers make room for others. Where `bt-max-peers` is reached, somebody who neither
//! gives nor takes keeps out others who might.

use std::time::{Duration, Instant};

use crate::base::units::SourceId;

/// Neither side has wanted anything of the other for so long.
const BORED_AFTER: Duration = Duration::from_secs(180);
/// Somebody wants something and nothing has moved for so long: one of us keeps the other waiting.
const STILL_AFTER: Duration = Duration::from_secs(600);
/// So long newcomers get to show what they are.
const GAP: Duration = Duration::from_secs(60);
/// One in so many peers goes at a time.
const PART: usize = 10;

/// A connected peer.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub id: SourceId,
    /// Since when neither side wants anything.
    pub bored_since: Option<Instant>,
    /// When the last byte moved, or it was connected.
    pub moved_at: Instant,
}

impl Seen {
    /// Since when it has been of no use, if it has been for too long.
    fn useless_since(&self, now: Instant) -> Option<Instant> {
        let bored = self.bored_since.map(|at| at.max(self.moved_at));
        let bored = bored.filter(|at| now >= *at + BORED_AFTER);
        bored.or(Some(self.moved_at).filter(|at| now >= *at + STILL_AFTER))
    }
}

/// When somebody last made room.
#[derive(Debug, Default)]
pub struct Rotation {
    rotated_at: Option<Instant>,
}

impl Rotation {
    /// Who is to go, those of no use for longest first. There is no room and `waiting` others would
    /// like to come.
    pub fn poll(&mut self, now: Instant, waiting: usize, peers: &[Seen]) -> Vec<SourceId> {
        if waiting == 0 || self.rotated_at.is_some_and(|at| now < at + GAP) {
            return Vec::new();
        }
        let useless = |peer: &Seen| Some((peer.useless_since(now)?, peer.id));
        let mut useless: Vec<(Instant, SourceId)> = peers.iter().filter_map(useless).collect();
        if useless.is_empty() {
            return Vec::new();
        }
        self.rotated_at = Some(now);
        useless.sort_unstable();
        let count = waiting.min(peers.len().div_ceil(PART));
        useless.into_iter().take(count).map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: u32, bored_since: Option<Instant>, moved_at: Instant) -> Seen {
        Seen {
            id: SourceId(id),
            bored_since,
            moved_at,
        }
    }

    #[test]
    fn those_of_no_use_make_room_for_those_who_wait() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let peers = [
            seen(1, None, at(800)),
            seen(2, Some(at(700)), at(500)),
            seen(3, Some(at(100)), at(790)),
            seen(4, None, at(190)),
            seen(5, Some(at(300)), at(600)),
        ];
        let now = at(800);
        let poll = |rotation: &mut Rotation, now, waiting| {
            let gone = rotation.poll(now, waiting, &peers);
            gone.into_iter().map(|id| id.0).collect::<Vec<_>>()
        };
        let mut rotation = Rotation::default();
        assert_eq!(poll(&mut rotation, now, 0), [0; 0], "nobody waits");
        assert_eq!(poll(&mut rotation, at(779), 5), [0; 0], "all are of use");
        assert_eq!(poll(&mut rotation, now, 5), [4], "one in ten, the longest");
        assert_eq!(
            poll(&mut rotation, at(801), 5),
            [0; 0],
            "newcomers get time"
        );
        assert_eq!(poll(&mut rotation, at(861), 5), [4]);
        let many: Vec<Seen> = (0..30).map(|id| seen(id, Some(began), began)).collect();
        let mut rotation = Rotation::default();
        assert_eq!(rotation.poll(now, 2, &many).len(), 2, "no more than wait");
    }
}
