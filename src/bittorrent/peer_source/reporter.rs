//! What the transfer is told, in the order it happened; blocks that came together are told together.

use tokio::sync::mpsc::UnboundedSender;

use crate::base::units::SourceId;
use crate::bittorrent::link::PeerReport;
use crate::bittorrent::wire::Block;

pub struct Reporter {
    id: SourceId,
    reports: UnboundedSender<(SourceId, PeerReport)>,
    took: Vec<Block>,
    released: Vec<Block>,
}

impl Reporter {
    pub fn new(id: SourceId, reports: UnboundedSender<(SourceId, PeerReport)>) -> Self {
        Self {
            id,
            reports,
            took: Vec::new(),
            released: Vec::new(),
        }
    }

    /// A block came; told with the next [`Self::flush`].
    pub fn took(&mut self, block: Block) {
        self.took.push(block);
    }

    /// Blocks will not come; told with the next [`Self::flush`].
    pub fn released(&mut self, blocks: impl IntoIterator<Item = Block>) {
        self.released.extend(blocks);
    }

    /// Tells this, and before it what waits to be told.
    pub fn tell(&mut self, report: PeerReport) {
        self.flush();
        self.send(report);
    }

    pub fn flush(&mut self) {
        if !self.took.is_empty() {
            let took = std::mem::take(&mut self.took);
            self.send(PeerReport::Took(took));
        }
        if !self.released.is_empty() {
            let released = std::mem::take(&mut self.released);
            self.send(PeerReport::Released(released));
        }
    }

    fn send(&self, report: PeerReport) {
        // Nobody listens any more when the transfer has ended; the orders close as well then.
        let _ = self.reports.send((self.id, report));
    }
}
