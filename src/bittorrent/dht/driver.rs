//! The task behind [`super::node::Dht`]: datagrams from the sockets to the members and back, timers,
//! and what the members report to those who search.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::entry::Entry;
use super::keep;
use super::member::{Event, Member, MemberSpec, SearchId, Searched};
use super::node::{NodeSpec, Order, Search, receive};
use crate::base::rng::{Rng, random_bytes};
use crate::net::dial;
use crate::net::udp::{Datagrams, Family};

/// A search does not wait longer for the names of nodes.
const HOST_MAX: Duration = Duration::from_secs(5);
/// The files are replaced so often, the first time sooner: who learnt nodes keeps them.
const SAVE_FIRST: Duration = Duration::from_secs(120);
const SAVE_EVERY: Duration = Duration::from_secs(1_800);
/// Entry points are looked up again as long as no node is known.
const ENTER_AGAIN: Duration = Duration::from_secs(60);
const DATAGRAM_LEN_MAX: usize = 4_096;
/// Datagrams taken in one go.
const BURST: usize = 64;
/// After an error of a socket (the network is down), so that it costs no processor.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// One family.
pub(super) struct Side {
    family: Family,
    socket: Arc<Datagrams>,
    entry: Entry,
    path: Option<PathBuf>,
    /// Made when the file has been read.
    member: Option<Member>,
}

impl Side {
    pub fn new(family: Family, socket: Datagrams, entry: Entry, path: Option<PathBuf>) -> Self {
        Self {
            family,
            socket: Arc::new(socket),
            entry,
            path,
            member: None,
        }
    }

    pub fn port(&self) -> Option<u16> {
        Some(self.socket.local_addr().ok()?.port())
    }

    async fn load(&mut self, spec: &NodeSpec, both: bool) {
        let file = keep::load(self.path.clone()).await;
        let is_ours = |ip: &std::net::IpAddr| ip.is_ipv4() == (self.family == Family::V4);
        let now = Instant::now();
        let member = MemberSpec {
            id: file.as_ref().map(|file| file.id),
            external: spec.external.filter(is_ours),
            answer_time_max: spec.answer_time_max,
            both,
            secrets: [random_bytes(), random_bytes()],
        };
        let mut member = Member::new(now, member, Rng::from_entropy());
        if let Some(file) = file {
            let of_family = |node: &&super::Node| Family::of(node.address) == self.family;
            let nodes: Vec<_> = file.nodes.iter().filter(of_family).copied().collect();
            member.hear_of(now, &nodes);
        }
        self.member = Some(member);
    }

    /// Whether the entry points are of use now.
    fn wants_entries(&self) -> bool {
        let table = self.member.as_ref().map(Member::table);
        let is_lost = table.is_none_or(|table| table.nodes().next().is_none());
        let is_alone = || table.is_none_or(|table| table.good_count(Instant::now()) == 0);
        is_lost || (self.entry.is_given && is_alone())
    }

    fn flush(&mut self) {
        let Some(member) = &mut self.member else {
            return;
        };
        while let Some((to, datagram)) = member.poll_datagram() {
            // What does not fit into the socket now is lost, as datagrams are.
            let _ = self.socket.try_send_to(&datagram, to);
        }
    }
}

/// A search in one or both families.
struct Running {
    found: UnboundedSender<Vec<SocketAddr>>,
    done: oneshot::Sender<Searched>,
    open: usize,
    searched: Searched,
}

/// Addresses that a name stands for.
enum Resolved {
    Entries(Family, Vec<SocketAddr>),
    Nodes(Search, Vec<SocketAddr>),
}

pub(super) struct Driver {
    spec: NodeSpec,
    sides: Vec<Side>,
    running: HashMap<u64, Running>,
    next_running: u64,
    /// Which of them a member's search belongs to, by side.
    owners: HashMap<(usize, SearchId), u64>,
    resolved: UnboundedSender<Resolved>,
    save_at: Instant,
    enter_at: Instant,
    node_count: Arc<AtomicUsize>,
}

impl Driver {
    pub async fn run(
        spec: NodeSpec,
        sides: Vec<Side>,
        mut inbox: UnboundedReceiver<Order>,
        node_count: Arc<AtomicUsize>,
    ) {
        let (resolved, mut addresses) = mpsc::unbounded_channel();
        let now = Instant::now();
        let mut driver = Self {
            spec,
            sides,
            running: HashMap::new(),
            next_running: 0,
            owners: HashMap::new(),
            resolved,
            save_at: now + SAVE_FIRST,
            enter_at: now + ENTER_AGAIN,
            node_count,
        };
        let both = driver.sides.len() > 1;
        for side in &mut driver.sides {
            side.load(&driver.spec, both).await;
            // Before tokio knows that a socket can be written to, it refuses to try.
            let _ = side.socket.writable().await;
        }
        driver.enter();
        let (mut one, mut other) = ([0; DATAGRAM_LEN_MAX], [0; DATAGRAM_LEN_MAX]);
        loop {
            let wake = driver.advance();
            let sockets = [driver.socket(0), driver.socket(1)];
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => driver.handle_order(order),
                    None => break,
                },
                Some(found) = addresses.recv() => driver.handle_resolved(found),
                got = receive(sockets[0].as_deref(), &mut one) => driver.handle(0, got, &mut one).await,
                got = receive(sockets[1].as_deref(), &mut other) => driver.handle(1, got, &mut other).await,
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        driver.save(None);
    }

    fn socket(&self, side: usize) -> Option<Arc<Datagrams>> {
        self.sides.get(side).map(|side| side.socket.clone())
    }

    /// Does what is due and sends what is to be sent. Returns when to be called again.
    fn advance(&mut self) -> Instant {
        let now = Instant::now();
        for side in &mut self.sides {
            let Some(member) = &mut side.member else {
                continue;
            };
            if member.wants_secret(now) {
                member.renew_secret(now, random_bytes());
            }
            if member.poll_timeout() <= now {
                member.handle_timeout(now);
            }
        }
        self.pass_on(now);
        for side in &mut self.sides {
            side.flush();
        }
        let members = || self.sides.iter().filter_map(|side| side.member.as_ref());
        let count = members().map(|member| member.table().len()).sum();
        self.node_count.store(count, Ordering::Relaxed);
        let due = members().map(Member::poll_timeout);
        let wake = due.fold(self.save_at.min(self.enter_at), Instant::min);
        if now >= self.save_at {
            self.save_at = now + SAVE_EVERY;
            self.save(None);
        }
        if now >= self.enter_at {
            self.enter_at = now + ENTER_AGAIN;
            self.enter();
        }
        wake
    }

    /// Events of the members, to whom they concern.
    fn pass_on(&mut self, now: Instant) {
        for at in 0..self.sides.len() {
            while let Some(event) = self.member(at).and_then(Member::poll_event) {
                match event {
                    Event::Peers(id, peers) => {
                        let owner = self.owners.get(&(at, id));
                        if let Some(running) = owner.and_then(|owner| self.running.get(owner)) {
                            let _ = running.found.send(peers);
                        }
                    }
                    Event::Done(id, searched) => self.finish(at, id, searched),
                    Event::OtherNodes(nodes) => {
                        if let Some(member) = self.member(1 - at) {
                            member.hear_of(now, &nodes);
                        }
                    }
                }
            }
        }
    }

    fn member(&mut self, side: usize) -> Option<&mut Member> {
        self.sides.get_mut(side)?.member.as_mut()
    }

    fn finish(&mut self, at: usize, id: SearchId, searched: Searched) {
        let Some(owner) = self.owners.remove(&(at, id)) else {
            return;
        };
        let Some(running) = self.running.get_mut(&owner) else {
            return;
        };
        running.searched.nodes += searched.nodes;
        running.searched.peers += searched.peers;
        running.searched.announced += searched.announced;
        running.open -= 1;
        if running.open == 0
            && let Some(running) = self.running.remove(&owner)
        {
            let _ = running.done.send(running.searched);
        }
    }

    fn handle_order(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Ping(address) => self.ping(now, address),
            Order::Search(search) if search.hosts.is_empty() => self.search(now, search, &[]),
            Order::Search(search) => {
                let (settings, resolved) = (self.spec.connection.clone(), self.resolved.clone());
                tokio::spawn(async move {
                    let hosts = search.hosts.iter().map(|(host, port)| {
                        let resolving = dial::resolve(host, *port, &settings);
                        tokio::time::timeout(HOST_MAX, resolving)
                    });
                    let found = futures_util::future::join_all(hosts).await;
                    let addresses = found.into_iter().flatten().flatten().flatten();
                    let entries = addresses.collect();
                    let _ = resolved.send(Resolved::Nodes(search, entries));
                });
            }
            Order::Save(done) => self.save(Some(done)),
        }
    }

    fn ping(&mut self, now: Instant, address: SocketAddr) {
        for side in &mut self.sides {
            if let (true, Some(member)) = (side.family == Family::of(address), &mut side.member) {
                member.ping(now, address);
            }
        }
    }

    fn search(&mut self, now: Instant, search: Search, entries: &[SocketAddr]) {
        let owner = self.next_running;
        self.next_running += 1;
        let mut open = 0;
        for at in 0..self.sides.len() {
            let family = self.sides[at].family;
            let entries = entries.iter().copied();
            let entries: Vec<_> = entries.filter(|it| Family::of(*it) == family).collect();
            if let Some(member) = self.member(at) {
                let id = member.search(now, search.info_hash, search.port, &entries);
                self.owners.insert((at, id), owner);
                open += 1;
            }
        }
        let running = Running {
            found: search.found,
            done: search.done,
            open,
            searched: Searched::default(),
        };
        self.running.insert(owner, running);
    }

    /// Resolves the entry points where they are of use.
    fn enter(&self) {
        for side in self.sides.iter().filter(|side| side.wants_entries()) {
            let (entry, family) = (side.entry.clone(), side.family);
            let (settings, resolved) = (self.spec.connection.clone(), self.resolved.clone());
            tokio::spawn(async move {
                let found = entry.resolve(family, &settings).await;
                if !found.is_empty() {
                    let _ = resolved.send(Resolved::Entries(family, found));
                }
            });
        }
    }

    fn handle_resolved(&mut self, resolved: Resolved) {
        let now = Instant::now();
        match resolved {
            Resolved::Entries(family, addresses) => {
                debug!("DHT ({family:?}) is entered through {addresses:?}");
                for side in self.sides.iter_mut().filter(|side| side.family == family) {
                    if let Some(member) = &mut side.member {
                        member.set_entries(now, addresses.clone());
                    }
                }
            }
            Resolved::Nodes(search, entries) => self.search(now, search, &entries),
        }
    }

    /// A datagram, and those that wait behind it.
    async fn handle(
        &mut self,
        at: usize,
        got: std::io::Result<(usize, SocketAddr)>,
        buffer: &mut [u8],
    ) {
        let Ok((mut len, mut from)) = got else {
            tokio::time::sleep(ERROR_PAUSE).await;
            return;
        };
        let now = Instant::now();
        for _ in 0..BURST {
            let (this, other) = match self.sides.as_mut_slice() {
                [one, other] if at == 0 => (one, Some(other)),
                [other, one] => (one, Some(other)),
                [one] => (one, None),
                _ => return,
            };
            let other = other.and_then(|side| side.member.as_ref());
            if let Some(member) = &mut this.member {
                let table = other.map(Member::table);
                member.handle_datagram(now, from, &buffer[..len], table);
            }
            match this.socket.try_recv_from(buffer) {
                Ok(next) => (len, from) = next,
                Err(_) => return,
            }
        }
    }

    /// Writes the files on a blocking thread; `done` hears of it.
    fn save(&self, done: Option<oneshot::Sender<()>>) {
        let mut files = Vec::new();
        for side in &self.sides {
            if let (Some(path), Some(member)) = (&side.path, &side.member) {
                let nodes: Vec<_> = member.table().nodes().collect();
                // A start without network is no reason to forget whom we knew.
                if !nodes.is_empty() {
                    files.push((path.clone(), member.id(), nodes));
                }
            }
        }
        tokio::task::spawn_blocking(move || {
            for (path, id, nodes) in files {
                keep::save(&path, id, nodes);
            }
            done.map(|done| done.send(()))
        });
    }
}
