//! Pure: the search for the nodes closest to an id, and on the way for the peers they know (BEP 5):
//! three queries at once, each answer naming closer nodes, until the eight closest have answered.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::message::Response;
use super::table::BUCKET_LEN;
use super::{Node, NodeId};

/// Queries open at once.
const OPEN_MAX: usize = 4;
/// Candidates remembered; farther ones are of no use.
const CANDIDATES_MAX: usize = 64;
/// A search that asked so many nodes goes round in circles somebody laid out.
const QUERIES_MAX: usize = 200;
const PEERS_MAX: usize = 2_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Untried,
    Asked,
    /// Asked, and another was asked meanwhile; the answer is still welcome.
    Slow,
    Answered,
    Silent,
}

#[derive(Clone, Debug)]
struct Candidate {
    /// `None` for an entry point, of which only the address is known.
    id: Option<NodeId>,
    address: SocketAddr,
    state: State,
    token: Option<Vec<u8>>,
}

/// One search.
#[derive(Debug)]
pub struct Lookup {
    target: NodeId,
    /// Closest first; entry points at the end.
    candidates: Vec<Candidate>,
    seen: HashSet<SocketAddr>,
    open: usize,
    slow: usize,
    queries: usize,
    peers: HashSet<SocketAddr>,
}

impl Lookup {
    /// `known` are the closest of the table, `entries` the addresses of entry points, of use when
    /// the table is thin.
    pub fn new(target: NodeId, known: &[Node], entries: &[SocketAddr]) -> Self {
        let mut lookup = Self {
            target,
            candidates: Vec::new(),
            seen: HashSet::new(),
            open: 0,
            slow: 0,
            queries: 0,
            peers: HashSet::new(),
        };
        for node in known {
            lookup.add(Some(node.id), node.address);
        }
        for address in entries {
            lookup.add(None, *address);
        }
        lookup
    }

    /// Who is thought to be at an address, as far as that is known.
    pub fn id_of(&self, address: SocketAddr) -> Option<NodeId> {
        let known = self
            .candidates
            .iter()
            .find(|known| known.address == address);
        known?.id
    }

    pub fn target(&self) -> NodeId {
        self.target
    }

    fn add(&mut self, id: Option<NodeId>, address: SocketAddr) {
        if !self.seen.insert(address) {
            return;
        }
        let rank = |id: Option<NodeId>| id.map_or([0xff; 20], |id| id.distance(self.target));
        let at = self
            .candidates
            .partition_point(|known| rank(known.id) <= rank(id));
        let candidate = Candidate {
            id,
            address,
            state: State::Untried,
            token: None,
        };
        self.candidates.insert(at, candidate);
        if self.candidates.len() > CANDIDATES_MAX
            && let Some(at) = self
                .candidates
                .iter()
                .rposition(|known| !matches!(known.state, State::Asked | State::Slow))
        {
            self.candidates.remove(at);
        }
    }

    /// Whom to ask next (get_peers or find_node for [`Self::target`]); `None`: wait, or it is over.
    pub fn poll_query(&mut self) -> Option<SocketAddr> {
        if self.open >= OPEN_MAX || self.queries >= QUERIES_MAX {
            return None;
        }
        let mut answered = 0;
        for candidate in &mut self.candidates {
            match candidate.state {
                State::Answered if candidate.id.is_some() => answered += 1,
                State::Untried => {
                    candidate.state = State::Asked;
                    self.open += 1;
                    self.queries += 1;
                    return Some(candidate.address);
                }
                _ => {}
            }
            if answered >= BUCKET_LEN {
                return None;
            }
        }
        None
    }

    /// An answer came from an address that was asked. Returns the peers nobody had named before.
    pub fn handle_response(&mut self, from: SocketAddr, response: &Response) -> Vec<SocketAddr> {
        let Some(at) = self.asked(from) else {
            return Vec::new();
        };
        self.close(at);
        let mut candidate = self.candidates.remove(at);
        // The id it gives is the one that counts, for an entry point it is the first.
        candidate.state = State::Answered;
        candidate.id = Some(response.from);
        candidate.token.clone_from(&response.token);
        let distance = response.from.distance(self.target);
        let at = self.candidates.partition_point(|known| {
            known
                .id
                .is_some_and(|id| id.distance(self.target) <= distance)
        });
        self.candidates.insert(at, candidate);
        for node in &response.nodes {
            if node.address.is_ipv4() == from.is_ipv4() {
                self.add(Some(node.id), node.address);
            }
        }
        let room = PEERS_MAX.saturating_sub(self.peers.len());
        let new = response.peers.iter().take(room).copied();
        new.filter(|peer| self.peers.insert(*peer)).collect()
    }

    /// No answer came from an address that was asked, or an error.
    pub fn handle_silence(&mut self, from: SocketAddr) {
        if let Some(at) = self.asked(from) {
            self.close(at);
            self.candidates[at].state = State::Silent;
        }
    }

    /// An answer is late: somebody else may be asked meanwhile.
    pub fn handle_slow(&mut self, from: SocketAddr) {
        if let Some(at) = self.asked(from)
            && self.candidates[at].state == State::Asked
        {
            self.candidates[at].state = State::Slow;
            self.open -= 1;
            self.slow += 1;
        }
    }

    fn close(&mut self, at: usize) {
        match self.candidates[at].state {
            State::Slow => self.slow -= 1,
            _ => self.open -= 1,
        }
    }

    fn asked(&self, from: SocketAddr) -> Option<usize> {
        self.candidates.iter().position(|known| {
            known.address == from && matches!(known.state, State::Asked | State::Slow)
        })
    }

    /// Whether nothing is open and nobody is left to ask. To be looked at after
    /// [`Self::poll_query`] gave `None`.
    pub fn is_done(&self) -> bool {
        self.open == 0 && self.slow == 0
    }

    /// The closest nodes that answered, with the tokens to announce to them.
    pub fn closest(&self) -> impl Iterator<Item = (Node, Option<&[u8]>)> + '_ {
        self.candidates
            .iter()
            .filter(|known| known.state == State::Answered)
            .filter_map(|known| {
                let node = Node {
                    id: known.id?,
                    address: known.address,
                };
                Some((node, known.token.as_deref()))
            })
            .take(BUCKET_LEN)
    }

    /// Peers found so far.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use std::collections::HashMap;

    fn address(number: u32) -> SocketAddr {
        let [_, a, b, c] = number.to_be_bytes();
        SocketAddr::from(([10, a, b, c], 6881))
    }

    /// A network of nodes that each know of a few, by their table.
    fn network(count: u32, rng: &mut Rng) -> (Vec<Node>, HashMap<SocketAddr, Vec<Node>>) {
        let nodes: Vec<Node> = (0..count)
            .map(|number| Node {
                id: NodeId(std::array::from_fn(|_| rng.next_u64() as u8)),
                address: address(number),
            })
            .collect();
        let tables = nodes
            .iter()
            .map(|own| {
                let mut buckets: HashMap<u32, Vec<Node>> = HashMap::new();
                for node in &nodes {
                    let bucket = buckets.entry(own.id.common_bits(node.id)).or_default();
                    if node.id != own.id && bucket.len() < BUCKET_LEN {
                        bucket.push(*node);
                    }
                }
                (own.address, buckets.into_values().flatten().collect())
            })
            .collect();
        (nodes, tables)
    }

    fn closest_of(nodes: &[Node], target: NodeId) -> Vec<Node> {
        let mut nodes = nodes.to_vec();
        nodes.sort_by_key(|node| node.id.distance(target));
        nodes.truncate(BUCKET_LEN);
        nodes
    }

    #[test]
    fn the_closest_nodes_of_a_network_are_found_though_many_are_silent() {
        for seed in 0..5 {
            let mut rng = Rng::seeded(seed);
            let (nodes, tables) = network(400, &mut rng);
            let target = NodeId(std::array::from_fn(|_| rng.next_u64() as u8));
            let silent = |address: SocketAddr| tables[&address].len() % 5 == 0;
            let mut lookup = Lookup::new(target, &[], &[nodes[0].address, address(999_999)]);
            let (mut queries, mut told) = (0, false);
            loop {
                let Some(asked) = lookup.poll_query() else {
                    assert!(lookup.is_done());
                    break;
                };
                queries += 1;
                let Some(node) = nodes.iter().find(|node| node.address == asked) else {
                    lookup.handle_silence(asked);
                    continue;
                };
                if silent(asked) && asked != nodes[0].address {
                    lookup.handle_silence(asked);
                    continue;
                }
                let known = closest_of(&tables[&asked], target);
                let peer = address(7);
                let response = Response {
                    nodes: known,
                    peers: vec![peer],
                    token: Some(vec![1]),
                    ..Response::bare(node.id)
                };
                let new = lookup.handle_response(asked, &response);
                assert_eq!(new.len(), usize::from(!told));
                told = true;
                assert!(
                    lookup.handle_response(asked, &response).is_empty(),
                    "only once"
                );
            }
            // What asking everybody would have found.
            let answers = |address: SocketAddr| address == nodes[0].address || !silent(address);
            let mut reached = vec![nodes[0]];
            let mut at = 0;
            while let Some(node) = reached.get(at).copied() {
                for next in closest_of(&tables[&node.address], target) {
                    if answers(next.address) && !reached.contains(&next) {
                        reached.push(next);
                    }
                }
                at += 1;
            }
            let best = closest_of(&reached, target);
            let found: Vec<Node> = lookup.closest().map(|(node, _)| node).collect();
            assert_eq!(found, best, "SEED={seed}");
            assert!(lookup.closest().all(|(_, token)| token == Some(&[1][..])));
            assert!(queries < 100, "SEED={seed}: {queries}");
        }
    }

    #[test]
    fn a_maze_of_made_up_nodes_ends() {
        let mut rng = Rng::seeded(1);
        let target = NodeId([0; 20]);
        let mut lookup = Lookup::new(target, &[], &[address(0)]);
        let mut number = 0;
        while let Some(asked) = lookup.poll_query() {
            let nodes = (0..40).map(|_| {
                number += 1;
                let mut id = [0; 20];
                id[12..].copy_from_slice(&(rng.next_u64() / (1 + u64::from(number))).to_be_bytes());
                Node {
                    id: NodeId(id),
                    address: address(number),
                }
            });
            let response = Response {
                nodes: nodes.collect(),
                ..Response::bare(NodeId([0xff; 20]))
            };
            lookup.handle_response(asked, &response);
        }
        assert!(lookup.is_done());
        assert!(lookup.queries <= QUERIES_MAX && lookup.candidates.len() <= CANDIDATES_MAX);
        assert!(Lookup::new(target, &[], &[]).poll_query().is_none());
    }
}
