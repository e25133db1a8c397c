//! Pure: the nodes that are known (BEP 5): buckets of eight by the bits they share with our id. A
//! node that answered lately stays whatever newcomer knocks; one that failed to answer makes room.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Node, NodeId};

/// Nodes of a bucket, and of an answer.
pub const BUCKET_LEN: usize = 8;
const BUCKET_COUNT: usize = 160;
/// A node silent for so long is to be asked whether it is still there; a bucket is refreshed.
pub const QUESTIONABLE_AFTER: Duration = Duration::from_secs(900);
/// Queries without answer after which a node is bad.
const FAILURES_MAX: u32 = 2;
/// Nodes of one IP address, so that nobody fills the table from one machine (loopback excepted,
/// where swarms are tested).
const PER_IP_MAX: usize = 2;

#[derive(Clone, Copy, Debug)]
struct Entry {
    node: Node,
    /// When it last answered or asked.
    seen_at: Instant,
    /// It has answered us once: only then a query of it keeps it good.
    answered: bool,
    failures: u32,
}

impl Entry {
    fn is_good(&self, now: Instant) -> bool {
        let fresh = now.saturating_duration_since(self.seen_at) < QUESTIONABLE_AFTER;
        self.answered && self.failures == 0 && fresh
    }

    fn is_bad(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}

/// The routing table.
#[derive(Debug)]
pub struct Table {
    own: NodeId,
    /// By number of shared bits.
    buckets: Vec<Vec<Entry>>,
    changed_at: Vec<Option<Instant>>,
}

impl Table {
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            buckets: vec![Vec::new(); BUCKET_COUNT],
            changed_at: vec![None; BUCKET_COUNT],
        }
    }

    pub fn own_id(&self) -> NodeId {
        self.own
    }

    /// The same nodes under another id of our own.
    pub fn rename(&mut self, own: NodeId) {
        let entries: Vec<Entry> = self.buckets.drain(..).flatten().collect();
        *self = Self::new(own);
        for entry in entries {
            if let Some(bucket) = self.bucket_of(entry.node.id)
                && self.buckets[bucket].len() < BUCKET_LEN
            {
                self.buckets[bucket].push(entry);
            }
        }
    }

    fn bucket_of(&self, id: NodeId) -> Option<usize> {
        let bits = self.own.common_bits(id) as usize;
        (bits < BUCKET_COUNT).then_some(bits)
    }

    /// A node answered a query of ours.
    pub fn handle_answer(&mut self, now: Instant, node: Node) {
        self.see(now, node, true);
    }

    /// A node asked us something. True when it is worth a ping: it is not known to answer, and its
    /// bucket has a place for it.
    pub fn handle_query(&mut self, now: Instant, node: Node) -> bool {
        let Some(bucket) = self.bucket_of(node.id) else {
            return false;
        };
        match self.entry(node) {
            Some(entry) if entry.answered => {
                entry.seen_at = now;
                false
            }
            Some(_) => true,
            None => self.has_place(now, bucket, node.address),
        }
    }

    /// A node did not answer.
    pub fn handle_silence(&mut self, node: Node) {
        if let Some(entry) = self.entry(node) {
            entry.failures += 1;
        }
    }

    /// A node somebody else told of, or one of the file: kept where there is room, to be asked.
    pub fn add_untried(&mut self, now: Instant, node: Node) {
        self.see(now, node, false);
    }

    fn entry(&mut self, node: Node) -> Option<&mut Entry> {
        let bucket = self.bucket_of(node.id)?;
        self.buckets[bucket]
            .iter_mut()
            .find(|entry| entry.node == node)
    }

    fn has_place(&self, now: Instant, bucket: usize, address: SocketAddr) -> bool {
        let ip = address.ip();
        let same_ip = |entry: &&Entry| entry.node.address.ip() == ip;
        let crowd = self.buckets.iter().flatten().filter(same_ip).count();
        if crowd >= PER_IP_MAX && !ip.is_loopback() {
            return false;
        }
        let entries = &self.buckets[bucket];
        entries.len() < BUCKET_LEN || entries.iter().any(|entry| !entry.is_good(now))
    }

    fn see(&mut self, now: Instant, node: Node, answered: bool) {
        let Some(bucket) = self.bucket_of(node.id) else {
            return;
        };
        if let Some(entry) = self.entry(node) {
            if answered {
                entry.answered = true;
                entry.failures = 0;
                entry.seen_at = now;
                self.changed_at[bucket] = Some(now);
            }
            return;
        }
        // Another address under a known id, or another id at a known address, may be an attempt to
        // push a node out: who was there first stays, unless it went bad.
        let clash = |entry: &Entry| entry.node.id == node.id || entry.node.address == node.address;
        for entries in &mut self.buckets {
            entries.retain(|entry| !(clash(entry) && entry.is_bad()));
        }
        if self.buckets.iter().flatten().any(clash) || !self.has_place(now, bucket, node.address) {
            return;
        }
        let entries = &mut self.buckets[bucket];
        if entries.len() >= BUCKET_LEN {
            // Bad ones go first, then those never heard of; a questionable one only for a node that
            // did answer.
            let worst = (0..entries.len())
                .filter(|at| !entries[*at].is_good(now))
                .filter(|at| answered || entries[*at].is_bad())
                .max_by_key(|at| (entries[*at].failures, !entries[*at].answered));
            match worst {
                Some(at) => drop(entries.swap_remove(at)),
                None => return,
            }
        }
        entries.push(Entry {
            node,
            seen_at: now,
            answered,
            failures: 0,
        });
        self.changed_at[bucket] = Some(now);
    }

    /// Up to `count` nodes closest to the target that are not bad.
    pub fn closest(&self, target: NodeId, count: usize) -> Vec<Node> {
        let usable = |entry: &&Entry| !entry.is_bad();
        let mut nodes: Vec<Node> = self
            .buckets
            .iter()
            .flatten()
            .filter(usable)
            .map(|entry| entry.node)
            .collect();
        nodes.sort_by_key(|node| node.id.distance(target));
        nodes.truncate(count);
        nodes
    }

    /// What to say to somebody who asks for nodes near the target: those that answered us.
    pub fn closest_good(&self, now: Instant, target: NodeId) -> Vec<Node> {
        let good = |entry: &&Entry| entry.is_good(now);
        let mut nodes: Vec<Node> = self
            .buckets
            .iter()
            .flatten()
            .filter(good)
            .map(|entry| entry.node)
            .collect();
        nodes.sort_by_key(|node| node.id.distance(target));
        nodes.truncate(BUCKET_LEN);
        nodes
    }

    /// Up to `count` nodes to ping, longest silent first.
    pub fn questionable(&self, now: Instant, count: usize) -> Vec<Node> {
        let mut entries: Vec<&Entry> = self
            .buckets
            .iter()
            .flatten()
            .filter(|entry| !entry.is_good(now) && !entry.is_bad())
            .collect();
        entries.sort_by_key(|entry| entry.seen_at);
        entries.iter().take(count).map(|entry| entry.node).collect()
    }

    /// A bucket with nodes in it, or nearer to us than any, that has not changed for long: look up
    /// an id that shares so many bits with ours. Each is named once per [`QUESTIONABLE_AFTER`].
    pub fn poll_refresh(&mut self, now: Instant) -> Option<u32> {
        let deepest = self
            .buckets
            .iter()
            .rposition(|entries| !entries.is_empty())?;
        let stale = |at: &usize| {
            self.changed_at[*at]
                .is_none_or(|at| now.saturating_duration_since(at) >= QUESTIONABLE_AFTER)
        };
        let bucket = (0..=deepest).find(stale)?;
        self.changed_at[bucket] = Some(now);
        Some(bucket as u32)
    }

    /// Nodes that answered lately.
    pub fn good_count(&self, now: Instant) -> usize {
        let entries = self.buckets.iter().flatten();
        entries.filter(|entry| entry.is_good(now)).count()
    }

    /// Nodes that are not bad, to be kept in a file.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.buckets
            .iter()
            .flatten()
            .filter(|entry| !entry.is_bad())
            .map(|entry| entry.node)
    }

    pub fn len(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(first: u8, number: u8) -> Node {
        let mut id = [0; 20];
        (id[0], id[19]) = (first, number);
        Node {
            id: NodeId(id),
            address: SocketAddr::from(([10, first, 0, number], 6881)),
        }
    }

    const OWN: NodeId = NodeId([0; 20]);

    #[test]
    fn good_nodes_stay_and_bad_ones_make_room() {
        let now = Instant::now();
        let mut table = Table::new(OWN);
        for number in 0..12 {
            table.handle_answer(now, node(0x80, number));
        }
        assert_eq!(table.len(), BUCKET_LEN);
        assert!(!table.handle_query(now, node(0x80, 99)));
        table.handle_silence(node(0x80, 3));
        assert!(table.handle_query(now, node(0x80, 99)), "worth a ping");
        table.add_untried(now, node(0x80, 98));
        assert_eq!(table.len(), BUCKET_LEN);
        table.handle_silence(node(0x80, 3));
        table.add_untried(now, node(0x80, 98));
        let known: Vec<Node> = table.nodes().collect();
        assert!(known.contains(&node(0x80, 98)) && !known.contains(&node(0x80, 3)));
        let later = now + QUESTIONABLE_AFTER;
        assert_eq!(table.questionable(later, 3).len(), 3);
        table.handle_answer(later, node(0x80, 0));
        assert_eq!(table.closest_good(later, OWN), [node(0x80, 0)]);
    }

    #[test]
    fn nobody_is_pushed_out_or_fills_the_table_from_one_machine() {
        let now = Instant::now();
        let mut table = Table::new(OWN);
        table.handle_answer(now, node(0x80, 1));
        let thief = Node {
            address: "10.9.9.9:1".parse().unwrap(),
            ..node(0x80, 1)
        };
        table.handle_answer(now, thief);
        assert_eq!(table.nodes().collect::<Vec<_>>(), [node(0x80, 1)]);
        for port in 1..10 {
            let address = SocketAddr::from(([10, 0, 0, 9], port));
            table.handle_answer(
                now,
                Node {
                    address,
                    ..node(0x40, port as u8)
                },
            );
        }
        assert_eq!(table.len(), 1 + PER_IP_MAX);
        table.handle_answer(
            now,
            Node {
                id: OWN,
                address: "1.1.1.1:1".parse().unwrap(),
            },
        );
        assert_eq!(table.len(), 1 + PER_IP_MAX, "not ourselves");
    }

    #[test]
    fn the_closest_come_first_and_buckets_are_refreshed() {
        let now = Instant::now();
        let mut table = Table::new(OWN);
        assert_eq!(table.poll_refresh(now), None);
        for (first, number) in [(0x80, 1), (0x20, 2), (0x01, 3)] {
            table.handle_answer(now, node(first, number));
        }
        assert_eq!(table.closest(OWN, 2), [node(0x01, 3), node(0x20, 2)]);
        let refreshed: Vec<u32> = std::iter::from_fn(|| table.poll_refresh(now)).collect();
        assert_eq!(refreshed, [1, 3, 4, 5, 6]);
        assert_eq!(table.poll_refresh(now + QUESTIONABLE_AFTER), Some(0));
    }
}
