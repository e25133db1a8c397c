//! Limits and meters of the whole process and of each download: what a connection reads or sends
//! is paid at its download's valve and then at the overall one, and counted at both.

use std::sync::Arc;
use std::time::Instant;

use super::meter::Meter;
use super::valve::Valve;
use crate::base::units::Rate;

/// A connection gathers no more than this part of a second's bytes before it pays, so that slow
/// limits still give a steady flow.
const PACE_PART: u64 = 4;
const PACE_MIN: u64 = 256;

/// The overall limits, with a branch for each download.
pub struct LimitTree {
    node: Node,
}

impl LimitTree {
    pub fn new(down: Rate, up: Rate) -> Arc<Self> {
        Arc::new(Self {
            node: Node::new(down, up),
        })
    }

    /// Changes the overall limits; connections that wait notice within a tenth of a second.
    pub fn set(&self, down: Rate, up: Rate) {
        self.node.set(down, up);
    }

    /// A download's own limits under the overall ones.
    pub fn branch(self: &Arc<Self>, down: Rate, up: Rate) -> LimitBranch {
        LimitBranch {
            tree: self.clone(),
            node: Arc::new(Node::new(down, up)),
        }
    }

    /// Everything received by all downloads.
    pub fn down_meter(&self) -> &Meter {
        &self.node.down_meter
    }

    /// Everything sent by all downloads.
    pub fn up_meter(&self) -> &Meter {
        &self.node.up_meter
    }
}

/// Limits and meters of one download.
#[derive(Clone)]
pub struct LimitBranch {
    tree: Arc<LimitTree>,
    node: Arc<Node>,
}

impl LimitBranch {
    /// Changes the download's limits; connections that wait notice within a tenth of a second.
    pub fn set(&self, down: Rate, up: Rate) {
        self.node.set(down, up);
    }

    /// What one connection of the download holds.
    pub fn leaf(&self) -> LimitLeaf {
        LimitLeaf {
            branch: self.clone(),
        }
    }

    /// The upload limit that counts: the smaller of the download's own and the overall one.
    pub fn up_rate(&self) -> Rate {
        [self.node.up.rate(), self.tree.node.up.rate()]
            .into_iter()
            .filter(|rate| !rate.is_unlimited())
            .min_by_key(|rate| rate.0)
            .unwrap_or(Rate::UNLIMITED)
    }

    pub fn down_meter(&self) -> &Arc<Meter> {
        &self.node.down_meter
    }

    pub fn up_meter(&self) -> &Arc<Meter> {
        &self.node.up_meter
    }
}

/// One connection's share of the limits above it. Those that wait are served in turn.
#[derive(Clone)]
pub struct LimitLeaf {
    branch: LimitBranch,
}

impl LimitLeaf {
    /// Waits until so many received bytes are within the limits, then counts them.
    pub async fn pay_down(&self, bytes: usize) {
        let (download, overall) = self.nodes();
        download.down.pay(bytes).await;
        overall.down.pay(bytes).await;
        let now = Instant::now();
        download.down_meter.record(now, bytes as u64);
        overall.down_meter.record(now, bytes as u64);
    }

    /// Waits until so many bytes to send are within the limits, then counts them.
    pub async fn pay_up(&self, bytes: usize) {
        let (download, overall) = self.nodes();
        download.up.pay(bytes).await;
        overall.up.pay(bytes).await;
        let now = Instant::now();
        download.up_meter.record(now, bytes as u64);
        overall.up_meter.record(now, bytes as u64);
    }

    /// How many received bytes to pay at once so that a slow limit gives a steady flow;
    /// `usize::MAX` without limits.
    pub fn pace_down(&self) -> usize {
        let (download, overall) = self.nodes();
        [download.down.rate(), overall.down.rate()]
            .into_iter()
            .filter(|rate| !rate.is_unlimited())
            .map(|rate| (rate.0 / PACE_PART).max(PACE_MIN))
            .min()
            .map_or(usize::MAX, |pace| {
                usize::try_from(pace).unwrap_or(usize::MAX)
            })
    }

    fn nodes(&self) -> (&Node, &Node) {
        (&self.branch.node, &self.branch.tree.node)
    }
}

struct Node {
    down: Valve,
    up: Valve,
    down_meter: Arc<Meter>,
    up_meter: Arc<Meter>,
}

impl Node {
    fn new(down: Rate, up: Rate) -> Self {
        Self {
            down: Valve::new(down),
            up: Valve::new(up),
            down_meter: Arc::default(),
            up_meter: Arc::default(),
        }
    }

    fn set(&self, down: Rate, up: Rate) {
        self.down.set(down);
        self.up.set(up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn unlimited_is_counted_at_both_levels_and_costs_no_time() {
        let tree = LimitTree::new(Rate::UNLIMITED, Rate::UNLIMITED);
        let branches = [0, 1].map(|_| tree.branch(Rate::UNLIMITED, Rate::UNLIMITED));
        let start = Instant::now();
        for branch in &branches {
            let leaf = branch.leaf();
            assert_eq!(leaf.pace_down(), usize::MAX);
            for _ in 0..10_000 {
                leaf.pay_down(1_000_000).await;
                leaf.pay_up(1).await;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(branches[0].down_meter().total(), 10_000_000_000);
        assert_eq!(tree.down_meter().total(), 20_000_000_000);
        assert_eq!(tree.up_meter().total(), 20_000);
    }

    #[tokio::test]
    async fn the_tighter_of_the_two_limits_holds() {
        for (overall, own) in [(100_000, 1_000_000), (1_000_000, 100_000)] {
            let tree = LimitTree::new(Rate(overall), Rate(1));
            let leaf = tree.branch(Rate(own), Rate(1)).leaf();
            assert_eq!(leaf.pace_down(), 25_000);
            leaf.pay_down(10_000).await;
            let start = Instant::now();
            leaf.pay_down(30_000).await;
            let took = start.elapsed().as_millis();
            assert!((220..480).contains(&took), "{took} ms");
        }
    }

    #[tokio::test]
    async fn the_smaller_upload_limit_counts() {
        let none = Rate::UNLIMITED;
        let rates = [
            (none, none, none),
            (none, Rate(7), Rate(7)),
            (Rate(9), none, Rate(9)),
            (Rate(9), Rate(7), Rate(7)),
        ];
        for (own, overall, counts) in rates {
            let branch = LimitTree::new(none, overall).branch(none, own);
            assert_eq!(branch.up_rate(), counts);
        }
    }

    #[tokio::test]
    async fn raising_a_download_does_not_wait_for_the_old_limit() {
        let tree = LimitTree::new(Rate::UNLIMITED, Rate::UNLIMITED);
        let branch = tree.branch(Rate(10), Rate(10));
        let leaf = branch.leaf();
        let payment = tokio::spawn(async move { leaf.pay_down(100_000).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        branch.set(Rate::UNLIMITED, Rate(10));
        let done = tokio::time::timeout(Duration::from_millis(150), payment).await;
        assert!(done.is_ok());
    }
}
