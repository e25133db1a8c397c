//! Pure: our node in the DHT of one family: it answers others, keeps its table alive, and searches.
//! Datagrams, time and secrets come in; datagrams and events go out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::guard::Guard;
use super::lookup::Lookup;
use super::message::{Body, Message, Query, Response, Want, code};
use super::origin::{self, Votes};
use super::store::PeerStore;
use super::table::{BUCKET_LEN, Table};
use super::token::Tokens;
use super::{Node, NodeId};
use crate::base::rng::Rng;
use crate::format::info_hash::InfoHash;

/// A query so old does not hold up its search any more.
const SLOW_AFTER: Duration = Duration::from_millis(1_500);
const MAINTENANCE: Duration = Duration::from_secs(5);
/// Between two tries to get into the DHT; doubled each time.
const ENTER_AFTER: Duration = Duration::from_secs(5);
const ENTER_AFTER_MAX: Duration = Duration::from_secs(300);
/// Nodes pinged at each maintenance.
const PINGS_MAX: usize = 8;
const OPEN_MAX: usize = 1_000;

/// Names a search of one member.
pub type SearchId = u64;

/// What came of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Searched {
    /// Close nodes that answered, at most eight a family; 0: the DHT was not reached.
    pub nodes: usize,
    pub peers: usize,
    /// Nodes that were told of us.
    pub announced: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Peers this search had not named before.
    Peers(SearchId, Vec<SocketAddr>),
    Done(SearchId, Searched),
    /// Nodes of the other family.
    OtherNodes(Vec<Node>),
}

/// What a member is made of.
pub struct MemberSpec {
    /// Of the file; one is drawn without, or where it does not fit `external`.
    pub id: Option<NodeId>,
    /// Our address as others see it, where the user named it.
    pub external: Option<IpAddr>,
    /// `dht-message-timeout`.
    pub answer_time_max: Duration,
    /// There is a member of the other family too.
    pub both: bool,
    pub secrets: [[u8; 16]; 2],
}

#[derive(Debug)]
struct Open {
    to: SocketAddr,
    /// Whom we expect there.
    id: Option<NodeId>,
    sent_at: Instant,
    search: Option<SearchId>,
    slow: bool,
}

#[derive(Debug)]
struct Search {
    lookup: Lookup,
    goal: Goal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    /// To know more nodes.
    Nodes,
    Peers {
        info_hash: InfoHash,
        announce: Option<u16>,
    },
}

#[derive(Debug)]
pub struct Member {
    table: Table,
    tokens: Tokens,
    store: PeerStore,
    guard: Guard,
    votes: Votes,
    external: Option<IpAddr>,
    rng: Rng,
    answer_time_max: Duration,
    both: bool,
    open: HashMap<u32, Open>,
    searches: BTreeMap<SearchId, Search>,
    next_search: SearchId,
    entries: Vec<SocketAddr>,
    outbox: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    maintain_at: Instant,
    enter_at: Instant,
    enter_wait: Duration,
    /// A search waits for its turn to send.
    starved: bool,
}

impl Member {
    pub fn new(now: Instant, spec: MemberSpec, mut rng: Rng) -> Self {
        let fits = |id: &NodeId| spec.external.is_none_or(|ip| origin::is_valid(*id, ip));
        let id = spec.id.filter(fits).unwrap_or_else(|| match spec.external {
            Some(ip) => origin::id_for(ip, &mut rng),
            None => NodeId(std::array::from_fn(|_| rng.next_u64() as u8)),
        });
        let [secret, before] = spec.secrets;
        Self {
            table: Table::new(id),
            tokens: Tokens::new(now, secret, before),
            store: PeerStore::default(),
            guard: Guard::new(now),
            votes: Votes::default(),
            external: spec.external,
            rng,
            answer_time_max: spec.answer_time_max,
            both: spec.both,
            open: HashMap::new(),
            searches: BTreeMap::new(),
            next_search: 0,
            entries: Vec::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            maintain_at: now,
            enter_at: now,
            enter_wait: ENTER_AFTER,
            starved: false,
        }
    }

    pub fn id(&self) -> NodeId {
        self.table.own_id()
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Nodes somebody told of: those of the file, or found by the other family's member.
    pub fn hear_of(&mut self, now: Instant, nodes: &[Node]) {
        for node in nodes {
            self.table.add_untried(now, *node);
        }
    }

    /// Addresses through which the DHT is entered, as long as few nodes are known.
    pub fn set_entries(&mut self, now: Instant, entries: Vec<SocketAddr>) {
        self.entries = entries;
        self.enter_wait = ENTER_AFTER;
        self.enter_at = now;
        self.maintain_at = now;
    }

    /// Somebody says that there is a node.
    pub fn ping(&mut self, now: Instant, address: SocketAddr) {
        self.ping_node(now, address, None);
    }

    /// Looks for peers; with a port the closest nodes are told that we are one.
    pub fn search(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        announce: Option<u16>,
        named: &[SocketAddr],
    ) -> SearchId {
        let goal = Goal::Peers {
            info_hash,
            announce,
        };
        let id = self.begin(NodeId(info_hash.0), goal, named);
        // Whoever announced himself to us: nobody else may know of him in a small network.
        let known = self.store.some(now, info_hash, &mut self.rng);
        if !known.is_empty() {
            self.events.push_back(Event::Peers(id, known));
        }
        self.pump(now);
        id
    }

    /// Begins with the nodes that are known and those that somebody has named.
    fn begin(&mut self, target: NodeId, goal: Goal, named: &[SocketAddr]) -> SearchId {
        let known = self.table.closest(target, 2 * BUCKET_LEN);
        let entries = match known.len() < BUCKET_LEN {
            true => &self.entries[..],
            false => &[],
        };
        let entries = [entries, named].concat();
        let lookup = Lookup::new(target, &known, &entries);
        let id = self.next_search;
        self.next_search += 1;
        self.searches.insert(id, Search { lookup, goal });
        id
    }

    /// Whether [`Self::renew_secret`] is due.
    pub fn wants_secret(&self, now: Instant) -> bool {
        self.tokens.is_due(now)
    }

    pub fn renew_secret(&mut self, now: Instant, secret: [u8; 16]) {
        self.tokens.rotate(now, secret);
    }

    pub fn poll_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let mut at = self.maintain_at;
        if self.starved {
            at = at.min(self.guard.ready_at());
        }
        let due = self.open.values().map(|open| match open.slow {
            true => open.sent_at + self.answer_time_max,
            false => open.sent_at + SLOW_AFTER.min(self.answer_time_max),
        });
        due.fold(at, Instant::min)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
        if now >= self.maintain_at {
            self.maintain_at = now + MAINTENANCE;
            self.maintain(now);
        }
        self.pump(now);
    }

    fn expire(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (transaction, open) in &mut self.open {
            let age = now.saturating_duration_since(open.sent_at);
            if age >= self.answer_time_max {
                gone.push(*transaction);
            } else if age >= SLOW_AFTER && !open.slow {
                open.slow = true;
                let search = open.search.and_then(|id| self.searches.get_mut(&id));
                if let Some(search) = search {
                    search.lookup.handle_slow(open.to);
                }
            }
        }
        for transaction in gone {
            if let Some(open) = self.open.remove(&transaction) {
                self.give_up(&open);
            }
        }
    }

    fn give_up(&mut self, open: &Open) {
        if let Some(id) = open.id {
            let address = open.to;
            self.table.handle_silence(Node { id, address });
        }
        if let Some(search) = open.search.and_then(|id| self.searches.get_mut(&id)) {
            search.lookup.handle_silence(open.to);
        }
    }

    fn maintain(&mut self, now: Instant) {
        self.store.expire(now);
        let is_searching = |search: &Search| search.goal == Goal::Nodes;
        let searching = self.searches.values().any(is_searching);
        if self.table.good_count(now) >= BUCKET_LEN {
            self.enter_wait = ENTER_AFTER;
            if let (false, Some(bits)) = (searching, self.table.poll_refresh(now)) {
                let target = self.id().near(bits, &mut self.rng);
                self.begin(target, Goal::Nodes, &[]);
            }
        } else if !searching && now >= self.enter_at {
            self.enter_at = now + self.enter_wait;
            self.enter_wait = (self.enter_wait * 2).min(ENTER_AFTER_MAX);
            let target = self.id().near(159, &mut self.rng);
            self.begin(target, Goal::Nodes, &[]);
        }
        for node in self.table.questionable(now, PINGS_MAX) {
            self.ping_node(now, node.address, Some(node.id));
        }
    }

    fn ping_node(&mut self, now: Instant, address: SocketAddr, id: Option<NodeId>) {
        let is_asked = self.open.values().any(|open| open.to == address);
        if !is_asked && self.guard.may_send(now) {
            self.ask(now, address, id, Query::Ping, None);
        }
    }

    /// Sends what the searches may ask now, and ends those that are over.
    fn pump(&mut self, now: Instant) {
        self.starved = false;
        let ids: Vec<SearchId> = self.searches.keys().copied().collect();
        for id in ids {
            loop {
                if !self.guard.may_send(now) || self.open.len() >= OPEN_MAX {
                    self.starved = true;
                    return;
                }
                let Some(search) = self.searches.get_mut(&id) else {
                    break;
                };
                let Some(to) = search.lookup.poll_query() else {
                    if search.lookup.is_done() {
                        self.finish(now, id);
                    }
                    break;
                };
                let query = match search.goal {
                    Goal::Nodes => Query::FindNode(search.lookup.target()),
                    Goal::Peers { info_hash, .. } => Query::GetPeers(info_hash),
                };
                let known = search.lookup.id_of(to);
                self.ask(now, to, known, query, Some(id));
            }
        }
    }

    fn finish(&mut self, now: Instant, id: SearchId) {
        let Some(search) = self.searches.remove(&id) else {
            return;
        };
        let Goal::Peers {
            info_hash,
            announce,
        } = search.goal
        else {
            return;
        };
        let mut searched = Searched {
            nodes: search.lookup.closest().count(),
            peers: search.lookup.peer_count(),
            announced: 0,
        };
        for (node, token) in search.lookup.closest() {
            if let (Some(_), Some(token)) = (announce, token) {
                let query = Query::AnnouncePeer {
                    info_hash,
                    port: announce,
                    token: token.to_vec(),
                };
                self.ask(now, node.address, Some(node.id), query, None);
                searched.announced += 1;
            }
        }
        self.events.push_back(Event::Done(id, searched));
    }

    fn ask(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        query: Query,
        search: Option<SearchId>,
    ) {
        let names_nodes = matches!(query, Query::FindNode(_) | Query::GetPeers(_));
        let both = self.both && names_nodes;
        let body = Body::Query {
            from: self.id(),
            query,
            read_only: false,
            want: Want { v4: both, v6: both },
        };
        let mut transaction = self.rng.next_u64() as u32;
        while self.open.contains_key(&transaction) {
            transaction = self.rng.next_u64() as u32;
        }
        let open = Open {
            to,
            id,
            sent_at: now,
            search,
            slow: false,
        };
        self.open.insert(transaction, open);
        self.guard.sent();
        self.send(to, transaction.to_be_bytes().to_vec(), body);
    }

    fn send(&mut self, to: SocketAddr, transaction: Vec<u8>, body: Body) {
        let message = Message { transaction, body };
        self.outbox.push_back((to, message.encode()));
    }

    /// A datagram came. `other` is the table of the other family, for who asks for its nodes.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        other: Option<&Table>,
    ) {
        let Some(Message { transaction, body }) = Message::decode(datagram) else {
            return;
        };
        match body {
            Body::Query {
                from: id,
                query,
                read_only,
                want,
            } => {
                if !self.guard.admits(now, from.ip()) || id == self.id() {
                    return;
                }
                let node = Node { id, address: from };
                if !read_only && self.table.handle_query(now, node) {
                    self.ping_node(now, from, Some(id));
                }
                let body = self.answer(now, from, &query, want, other);
                self.send(from, transaction, body);
            }
            Body::Response(response) => self.handle_response(now, from, &transaction, response),
            Body::Error { .. } => {
                if let Some(open) = self.take_open(from, &transaction) {
                    if let Some(search) = open.search.and_then(|id| self.searches.get_mut(&id)) {
                        search.lookup.handle_silence(from);
                    }
                    self.pump(now);
                }
            }
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        query: &Query,
        want: Want,
        other: Option<&Table>,
    ) -> Body {
        let mut response = Response {
            seen_as: Some(from),
            ..Response::bare(self.id())
        };
        match query {
            Query::Ping => {}
            Query::FindNode(target) => {
                response.nodes = self.named(now, from, *target, want, other);
            }
            Query::GetPeers(info_hash) => {
                response.token = Some(self.tokens.token(from.ip(), *info_hash));
                response.nodes = self.named(now, from, NodeId(info_hash.0), want, other);
                response.peers = self.store.some(now, *info_hash, &mut self.rng);
            }
            Query::AnnouncePeer {
                info_hash,
                port,
                token,
            } => {
                if !self.tokens.is_valid(token, from.ip(), *info_hash) {
                    return error(code::PROTOCOL, "bad token");
                }
                let peer = SocketAddr::new(from.ip(), port.unwrap_or(from.port()));
                self.store.add(now, *info_hash, peer);
            }
            Query::Unknown => return error(code::UNKNOWN_METHOD, "unknown method"),
        }
        Body::Response(response)
    }

    fn named(
        &self,
        now: Instant,
        from: SocketAddr,
        target: NodeId,
        want: Want,
        other: Option<&Table>,
    ) -> Vec<Node> {
        let (own, others) = match (want == Want::default(), from.is_ipv4()) {
            (true, _) => (true, false),
            (false, true) => (want.v4, want.v6),
            (false, false) => (want.v6, want.v4),
        };
        let mut nodes = Vec::new();
        if own {
            nodes = self.table.closest_good(now, target);
            nodes.retain(|node| node.address != from);
        }
        if let (true, Some(other)) = (others, other) {
            nodes.extend(other.closest_good(now, target));
        }
        nodes
    }

    fn take_open(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Open> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        let is_asked = self.open.get(&transaction)?.to == from;
        is_asked.then(|| self.open.remove(&transaction))?
    }

    fn handle_response(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
        mut response: Response,
    ) {
        let Some(open) = self.take_open(from, transaction) else {
            return;
        };
        let own = self.id();
        let changed = open.id.is_some_and(|id| id != response.from);
        if response.from == own || changed {
            // Ourselves, or somebody who has taken another's place: that one is gone.
            self.give_up(&open);
        }
        if response.from != own {
            let node = Node {
                id: response.from,
                address: from,
            };
            self.table.handle_answer(now, node);
            self.learn(now, from, &mut response);
            if let (Some(id), false) = (open.search, changed) {
                let search = self.searches.get_mut(&id);
                let new = search.map(|search| search.lookup.handle_response(from, &response));
                if let Some(new) = new.filter(|new| !new.is_empty()) {
                    self.events.push_back(Event::Peers(id, new));
                }
            }
        }
        self.pump(now);
    }

    /// What an answer tells beside what was asked: nodes of the other family, and our address.
    fn learn(&mut self, now: Instant, from: SocketAddr, response: &mut Response) {
        let own = self.id();
        let is_ours = |node: &Node| node.address.is_ipv4() == from.is_ipv4();
        let (ours, others): (Vec<Node>, _) = response.nodes.drain(..).partition(is_ours);
        response.nodes = ours;
        response.nodes.retain(|node| node.id != own);
        if self.both && !others.is_empty() {
            self.events.push_back(Event::OtherNodes(others));
        }
        let seen = response
            .seen_as
            .filter(|seen| seen.is_ipv4() == from.is_ipv4());
        let Some(ip) = seen.and_then(|seen| self.votes.add(from.ip(), seen.ip())) else {
            return;
        };
        if self.external.is_none() && !origin::is_valid(own, ip) {
            self.table.rename(origin::id_for(ip, &mut self.rng));
            self.enter_at = now;
        }
    }
}

fn error(code: i64, text: &str) -> Body {
    Body::Error {
        code,
        text: text.to_owned(),
    }
}
