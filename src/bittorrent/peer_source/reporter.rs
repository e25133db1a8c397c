//! What the transfer is told, in the order it happened. Each report wakes it, so that blocks that come
//! or go fast are told of many at a time.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::base::units::SourceId;
use crate::bittorrent::link::PeerReport;
use crate::bittorrent::wire::{BLOCK_LEN, Block};

/// So many blocks are told at once…
const BLOCKS: usize = 32;
/// …or those of so long, where they come fast.
const GAP: Duration = Duration::from_millis(10);

pub struct Reporter {
    id: SourceId,
    reports: UnboundedSender<(SourceId, PeerReport)>,
    took: Vec<Block>,
    released: Vec<Block>,
    /// Bytes given to the peer.
    sent: u64,
    /// When blocks were told last.
    told_at: Instant,
}

impl Reporter {
    pub fn new(
        now: Instant,
        id: SourceId,
        reports: UnboundedSender<(SourceId, PeerReport)>,
    ) -> Self {
        Self {
            id,
            reports,
            took: Vec::new(),
            released: Vec::new(),
            sent: 0,
            told_at: now,
        }
    }

    /// A block came.
    pub fn took(&mut self, block: Block) {
        self.took.push(block);
    }

    /// Blocks will not come.
    pub fn released(&mut self, blocks: impl IntoIterator<Item = Block>) {
        self.released.extend(blocks);
    }

    /// So many bytes were given to the peer.
    pub fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Tells this, and before it what waits to be told.
    pub fn tell(&mut self, report: PeerReport) {
        self.flush();
        self.send(report);
    }

    /// Tells of blocks if it is time to.
    pub fn settle(&mut self, now: Instant) {
        let many = self.took.len() >= BLOCKS || self.sent >= BLOCKS as u64 * u64::from(BLOCK_LEN);
        let due = self.poll_timeout().is_some_and(|due| due <= now);
        if many || due || !self.released.is_empty() {
            self.told_at = now;
            self.flush();
        }
    }

    /// When [`Self::settle`] has something to tell at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = !self.took.is_empty() || self.sent > 0;
        // What comes after a silence is told at once.
        waits.then_some(self.told_at + GAP)
    }

    /// Tells all that waits.
    pub fn flush(&mut self) {
        if !self.took.is_empty() {
            let took = std::mem::take(&mut self.took);
            self.send(PeerReport::Took(took));
        }
        if !self.released.is_empty() {
            let released = std::mem::take(&mut self.released);
            self.send(PeerReport::Released(released));
        }
        if self.sent > 0 {
            let sent = std::mem::take(&mut self.sent);
            self.send(PeerReport::Sent(sent));
        }
    }

    fn send(&self, report: PeerReport) {
        // Nobody listens any more when the transfer has ended; the orders close as well then.
        let _ = self.reports.send((self.id, report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_come_fast_are_told_of_together_and_before_what_follows() {
        let (to_me, mut reports) = tokio::sync::mpsc::unbounded_channel();
        let mut now = Instant::now();
        let mut reporter = Reporter::new(now, SourceId(1), to_me);
        let mut told = || match reports.try_recv() {
            Ok((_, PeerReport::Took(blocks))) => blocks.len(),
            Ok((_, PeerReport::Released(_))) => 1_000,
            Ok((_, PeerReport::Sent(bytes))) => 2_000 + bytes as usize,
            Ok((_, PeerReport::Choked(_))) => 3_000,
            _ => 0,
        };
        let block = Block::new(0, 0, BLOCK_LEN);
        assert_eq!(reporter.poll_timeout(), None);
        now += GAP;
        reporter.took(block);
        reporter.settle(now);
        assert_eq!((told(), told()), (1, 0), "the first one at once");
        for _ in 1..BLOCKS {
            reporter.took(block);
            reporter.settle(now);
        }
        assert_eq!((told(), reporter.poll_timeout()), (0, Some(now + GAP)));
        reporter.took(block);
        reporter.settle(now);
        assert_eq!(told(), BLOCKS);
        reporter.took(block);
        reporter.sent(5);
        reporter.settle(now + GAP / 2);
        assert_eq!(told(), 0);
        reporter.settle(now + GAP);
        assert_eq!((told(), told()), (1, 2_005));
        now += GAP;
        reporter.took(block);
        reporter.tell(PeerReport::Choked(true));
        assert_eq!((told(), told()), (1, 3_000));
        reporter.took(block);
        reporter.released([block]);
        reporter.settle(now);
        assert_eq!((told(), told()), (1, 1_000), "somebody else may want it");
        assert_eq!(reporter.poll_timeout(), None);
    }
}
