//! Many members in one process, by seed: no sockets, time as it pleases, datagrams that are lost.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::member::{Event, Member, MemberSpec, SearchId, Searched};
use crate::base::rng::Rng;
use crate::format::info_hash::InfoHash;

struct World {
    now: Instant,
    rng: Rng,
    loss: f64,
    members: BTreeMap<SocketAddr, Member>,
    /// When, a running number, from, to, what.
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    peers: HashMap<(SocketAddr, SearchId), Vec<SocketAddr>>,
    done: HashMap<(SocketAddr, SearchId), Searched>,
}

fn address(number: u16) -> SocketAddr {
    let [a, b] = number.to_be_bytes();
    SocketAddr::from(([10, 9, a, b], 6881))
}

impl World {
    fn new(seed: u64, count: u16, loss: f64) -> Self {
        let mut world = Self {
            now: Instant::now(),
            rng: Rng::seeded(seed),
            loss,
            members: BTreeMap::new(),
            flying: BTreeMap::new(),
            sent: 0,
            peers: HashMap::new(),
            done: HashMap::new(),
        };
        for number in 0..count {
            world.join(number);
        }
        world
    }

    fn join(&mut self, number: u16) {
        let spec = MemberSpec {
            id: None,
            external: None,
            answer_time_max: Duration::from_secs(10),
            both: false,
            secrets: [[number as u8; 16], [1; 16]],
        };
        let rng = Rng::seeded(self.rng.next_u64());
        let mut member = Member::new(self.now, spec, rng);
        if number > 0 {
            member.set_entries(self.now, vec![address(0)]);
        }
        self.members.insert(address(number), member);
    }

    fn flush(&mut self, from: SocketAddr) {
        let Some(member) = self.members.get_mut(&from) else {
            return;
        };
        while let Some((to, datagram)) = member.poll_datagram() {
            self.sent += 1;
            assert!(datagram.len() < 1_400, "fits a packet");
            if !self.rng.chance(self.loss) {
                let at = self.now + Duration::from_millis(20 + self.rng.below(180));
                self.flying.insert((at, self.sent), (from, to, datagram));
            }
        }
        while let Some(event) = member.poll_event() {
            match event {
                Event::Peers(id, peers) => self.peers.entry((from, id)).or_default().extend(peers),
                Event::Done(id, searched) => _ = self.done.insert((from, id), searched),
                Event::OtherNodes(_) => panic!("there is one family"),
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.members.iter();
            let timer = timers
                .map(|(at, member)| (member.poll_timeout(), *at))
                .min();
            let datagram = self.flying.first_key_value().map(|(key, _)| key.0);
            let due = datagram.into_iter().chain(timer.map(|timer| timer.0)).min();
            let Some(due) = due.filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            if datagram == Some(due) {
                let Some((_, (from, to, datagram))) = self.flying.pop_first() else {
                    return;
                };
                if let Some(member) = self.members.get_mut(&to) {
                    member.handle_datagram(self.now, from, &datagram, None);
                    self.flush(to);
                }
            } else if let Some((_, at)) = timer
                && let Some(member) = self.members.get_mut(&at)
            {
                member.handle_timeout(self.now);
                assert!(member.poll_timeout() > self.now, "time goes on");
                self.flush(at);
            }
        }
    }

    fn search(&mut self, number: u16, hash: InfoHash, port: Option<u16>) -> (SocketAddr, SearchId) {
        let at = address(number);
        let member = self.members.get_mut(&at).unwrap();
        let id = member.search(self.now, hash, port, &[]);
        self.flush(at);
        (at, id)
    }
}

#[test]
fn who_is_announced_on_one_node_is_found_by_another() {
    for (seed, loss) in [(1, 0.0), (2, 0.1), (3, 0.2), (4, 0.2), (5, 0.0), (6, 0.05)] {
        let mut world = World::new(seed, 60, loss);
        world.run(Duration::from_secs(120));
        let known = world.members[&address(7)].table().len();
        assert!(known >= 8, "SEED={seed}: {known} nodes known");
        let hash = InfoHash([seed as u8; 20]);
        let announced = world.search(7, hash, Some(7_777));
        world.run(Duration::from_secs(60));
        let searched = world.done[&announced];
        assert!(searched.announced >= 4, "SEED={seed}: {searched:?}");
        // A lost datagram can mean that an entry point seems dead: whoever finds nothing asks again.
        let mut found = world.search(42, hash, None);
        for _ in 0..3 {
            world.run(Duration::from_secs(60));
            if world.peers.contains_key(&found) {
                break;
            }
            found = world.search(42, hash, None);
        }
        let peer = SocketAddr::new(address(7).ip(), 7_777);
        assert_eq!(world.peers.get(&found), Some(&vec![peer]), "SEED={seed}");
        assert!(world.done.contains_key(&found), "SEED={seed}");
    }
}

#[test]
fn the_dht_outlives_half_of_its_nodes_and_is_quiet_when_idle() {
    let mut world = World::new(5, 80, 0.05);
    world.run(Duration::from_secs(300));
    for number in 0..40 {
        world.members.remove(&address(number));
    }
    world.run(Duration::from_secs(2_400));
    for member in world.members.values() {
        let gone = |at: &SocketAddr| !world.members.contains_key(at);
        let nodes = member.table().closest_good(world.now, member.id());
        assert!(nodes.len() >= 6, "{} good nodes", nodes.len());
        assert!(nodes.iter().all(|node| !gone(&node.address)));
    }
    let hash = InfoHash([9; 20]);
    world.search(50, hash, Some(5));
    world.run(Duration::from_secs(60));
    let found = world.search(79, hash, None);
    world.run(Duration::from_secs(60));
    assert_eq!(world.peers[&found].len(), 1);
    let before = world.sent;
    world.run(Duration::from_secs(600));
    let each = (world.sent - before) / world.members.len() as u64;
    assert!(each < 1_200, "{each} datagrams of each node in ten minutes");
}
