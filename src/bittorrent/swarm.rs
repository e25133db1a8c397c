//! Pure: the peers of one torrent that are known of: whom to dial next and when, whom to let in,
//! whom never again.
//!
//! Invariant: an address is in one state: idle, being dialled, or connected; `busy` counts the
//! latter two.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::compact;
use super::handshake::PeerId;
use crate::base::rng::Rng;

/// Addresses remembered; when full, those that failed most make room.
const KNOWN_MAX: usize = 2_000;
/// After a failure a peer is left alone for so long, then for twice as long and so on.
const BACKOFF: Duration = Duration::from_secs(60);
const BACKOFF_MAX: Duration = Duration::from_secs(3_600);
/// Two that dial each other at once each hang up what the other keeps. The one of the lesser id
/// tries again after so long, the other one leaves it time.
const CLASHED: Duration = Duration::from_secs(5);
/// Then it is forgotten; whoever still knows it may tell us again.
const FAILURES_MAX: u32 = 6;
/// Connections being set up at once.
const DIALLING_MAX: usize = 30;

/// Where an address is from; earlier ones are dialled first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// The user named it (`x.pe` of a magnet link).
    User,
    LocalDiscovery,
    Tracker,
    Exchange,
    Dht,
    /// It dialled us; its listening port is known from its extended handshake only.
    Incoming,
}

/// How a connection ended, or why there was none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parting {
    /// It could not be reached, or broke off before or in the handshake.
    Failed,
    /// It broke off later.
    Lost,
    /// Neither side had anything for the other: dialling it again is pointless.
    Useless,
    /// It is ourselves, or sends nonsense: not dialled again. See [`Swarm::ban`] for who dials us.
    Hopeless,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle {
        not_before: Instant,
    },
    Dialling,
    Connected,
    Useless,
    /// Whoever listens there is connected to us by another address: dialled once that is over.
    Twin(PeerId),
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    origin: Origin,
    state: State,
    failures: u32,
    /// Fallback to a plain handshake is worth a try: the encrypted one failed.
    try_plain: bool,
}

/// How to dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dial {
    pub address: SocketAddr,
    /// The encrypted handshake failed last time.
    pub try_plain: bool,
}

/// Why somebody who dialled us is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    Banned,
    Full,
    /// Connected already.
    Known,
}

/// The peers of one torrent.
#[derive(Debug)]
pub struct Swarm {
    known: HashMap<SocketAddr, Candidate>,
    banned: HashSet<IpAddr>,
    /// Peer ids of those connected.
    ids: HashMap<PeerId, SocketAddr>,
    ours: PeerId,
    /// Connected and being dialled; 0 means any number (`bt-max-peers`).
    peer_count_max: usize,
    busy: usize,
    dialling: usize,
}

impl Swarm {
    pub fn new(ours: PeerId, peer_count_max: usize) -> Self {
        Self {
            known: HashMap::new(),
            banned: HashSet::new(),
            ids: HashMap::new(),
            ours,
            peer_count_max,
            busy: 0,
            dialling: 0,
        }
    }

    /// `bt-max-peers` changed.
    pub fn set_peer_count_max(&mut self, count: usize) {
        self.peer_count_max = count;
    }

    /// Room for more connections.
    pub fn room(&self) -> usize {
        match self.peer_count_max {
            0 => usize::MAX,
            max => max.saturating_sub(self.busy),
        }
    }

    /// Learns of a peer; true when it is new.
    pub fn add(&mut self, now: Instant, address: SocketAddr, origin: Origin) -> bool {
        let address = canonical(address);
        if !compact::is_possible(address) || self.banned.contains(&address.ip()) {
            return false;
        }
        if let Some(known) = self.known.get_mut(&address) {
            known.origin = known.origin.min(origin);
            return false;
        }
        if self.known.len() >= KNOWN_MAX && !self.make_room() {
            return false;
        }
        let candidate = Candidate {
            origin,
            state: State::Idle { not_before: now },
            failures: 0,
            try_plain: false,
        };
        self.known.insert(address, candidate);
        true
    }

    /// Where a known address is from.
    pub fn origin(&self, address: SocketAddr) -> Option<Origin> {
        self.known.get(&canonical(address)).map(|peer| peer.origin)
    }

    /// Forgets the idle address that failed most; false when none failed.
    fn make_room(&mut self) -> bool {
        let worst = self
            .known
            .iter()
            .filter(|(_, peer)| !matches!(peer.state, State::Dialling | State::Connected))
            .filter(|(_, peer)| peer.failures > 0 || peer.state == State::Useless)
            .max_by_key(|(address, peer)| (peer.failures, **address))
            .map(|(address, _)| *address);
        worst.is_some_and(|address| self.known.remove(&address).is_some())
    }

    /// The next peer to dial, if there is room and one is due.
    pub fn poll_dial(&mut self, now: Instant, rng: &mut Rng) -> Option<Dial> {
        if self.room() == 0 || self.dialling >= DIALLING_MAX {
            return None;
        }
        let address = self
            .known
            .iter()
            .filter(|(_, peer)| peer.origin != Origin::Incoming)
            .filter(
                |(_, peer)| matches!(peer.state, State::Idle { not_before } if not_before <= now),
            )
            // The address makes the choice independent of the map's order.
            .map(|(address, peer)| (peer.failures, peer.origin, *address))
            .fold(
                None,
                |best: Option<(Vec<SocketAddr>, _)>, (failures, origin, address)| {
                    let rank = (failures, origin);
                    match best {
                        Some((mut tied, best_rank)) if best_rank == rank => {
                            tied.push(address);
                            Some((tied, rank))
                        }
                        Some((tied, best_rank)) if best_rank < rank => Some((tied, best_rank)),
                        _ => Some((vec![address], rank)),
                    }
                },
            )
            .and_then(|(mut tied, _)| {
                tied.sort_unstable();
                tied.get(rng.below(tied.len() as u64) as usize).copied()
            })?;
        let peer = self.known.get_mut(&address)?;
        peer.state = State::Dialling;
        self.busy += 1;
        self.dialling += 1;
        Some(Dial {
            address,
            try_plain: peer.try_plain,
        })
    }

    /// Peers that would be dialled now, were there room.
    pub fn waiting(&self, now: Instant) -> usize {
        let due = |peer: &&Candidate| matches!(peer.state, State::Idle { not_before } if not_before <= now);
        let known = self.known.values();
        known
            .filter(|peer| peer.origin != Origin::Incoming)
            .filter(due)
            .count()
    }

    /// When [`Self::poll_dial`] has something next, were there room.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.known
            .values()
            .filter(|peer| peer.origin != Origin::Incoming)
            .filter_map(|peer| match peer.state {
                State::Idle { not_before } => Some(not_before),
                _ => None,
            })
            .min()
    }

    /// Somebody dialled us and means this torrent.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn accept(&mut self, now: Instant, address: SocketAddr) -> Result<(), Turned> {
        let address = canonical(address);
        if self.banned.contains(&address.ip()) {
            return Err(Turned::Banned);
        }
        if self.room() == 0 {
            return Err(Turned::Full);
        }
        match self.known.get_mut(&address) {
            Some(Candidate {
                state: State::Dialling | State::Connected,
                ..
            }) => {
                return Err(Turned::Known);
            }
            Some(peer) => peer.state = State::Connected,
            None => {
                self.add(now, address, Origin::Incoming);
                match self.known.get_mut(&address) {
                    Some(peer) => peer.state = State::Connected,
                    None => return Err(Turned::Full),
                }
            }
        }
        self.busy += 1;
        Ok(())
    }

    /// The handshake is done. False when it is ourselves or somebody connected already: hang up
    /// and call [`Self::part`] with [`Parting::Hopeless`] or [`Self::part_twin`].
    pub fn greet(&mut self, address: SocketAddr, id: PeerId) -> bool {
        let address = canonical(address);
        let Some(peer) = self.known.get_mut(&address) else {
            return false;
        };
        if peer.state == State::Dialling {
            peer.state = State::Connected;
            self.dialling -= 1;
        }
        if id == self.ours || self.ids.contains_key(&id) {
            return false;
        }
        peer.failures = 0;
        self.ids.insert(id, address);
        true
    }

    /// Hung up on a second connection with the peer of this id.
    pub fn part_twin(&mut self, now: Instant, address: SocketAddr, id: PeerId) {
        self.part(now, address, Parting::Lost);
        if let Some(peer) = self.known.get_mut(&canonical(address)) {
            peer.state = State::Twin(id);
        }
    }

    /// The encrypted handshake failed where a plain one is allowed: dial again at once.
    pub fn retry_plain(&mut self, now: Instant, address: SocketAddr) {
        let address = canonical(address);
        self.release(now, address);
        if let Some(peer) = self.known.get_mut(&address) {
            peer.try_plain = true;
            peer.state = State::Idle { not_before: now };
        }
    }

    /// A connection, or the attempt at one, ended.
    pub fn part(&mut self, now: Instant, address: SocketAddr, parting: Parting) {
        let address = canonical(address);
        self.release(now, address);
        let Some(peer) = self.known.get_mut(&address) else {
            return;
        };
        if peer.origin == Origin::Incoming {
            // Its port is one of the moment: nobody listens there.
            self.known.remove(&address);
            return;
        }
        match parting {
            Parting::Failed => {
                peer.failures += 1;
                peer.try_plain = false;
            }
            Parting::Lost => peer.failures = peer.failures.max(1),
            Parting::Useless => {
                peer.state = State::Useless;
                return;
            }
            Parting::Hopeless => {
                // The address only: others may share the IP, and ourselves may.
                peer.state = State::Useless;
                peer.failures = FAILURES_MAX;
                return;
            }
        }
        if peer.failures >= FAILURES_MAX {
            self.known.remove(&address);
            return;
        }
        let backoff = BACKOFF
            .saturating_mul(1 << (peer.failures - 1))
            .min(BACKOFF_MAX);
        peer.state = State::Idle {
            not_before: now + backoff,
        };
    }

    fn release(&mut self, now: Instant, address: SocketAddr) {
        match self.known.get(&address).map(|peer| peer.state) {
            Some(State::Dialling) => {
                self.dialling -= 1;
                self.busy -= 1;
            }
            Some(State::Connected) => self.busy -= 1,
            _ => {}
        }
        let gone = self.ids.iter().find(|(_, known)| **known == address);
        let Some(id) = gone.map(|(id, _)| *id) else {
            return;
        };
        self.ids.remove(&id);
        let wait = match self.ours.0 < id.0 {
            true => CLASHED,
            false => BACKOFF,
        };
        for peer in self.known.values_mut() {
            if peer.state == State::Twin(id) {
                peer.state = State::Idle {
                    not_before: now + wait,
                };
            }
        }
    }

    /// A peer that dialled us told the port it listens at: it can be dialled once it is gone.
    pub fn learn_port(&mut self, now: Instant, address: SocketAddr, port: u16) {
        let address = canonical(address);
        let listening = SocketAddr::new(address.ip(), port);
        let id = self.ids.iter().find(|(_, known)| **known == address);
        let Some(id) = id.map(|(id, _)| *id).filter(|_| listening != address) else {
            return;
        };
        self.add(now, listening, Origin::Exchange);
        if let Some(peer) = self.known.get_mut(&listening)
            && matches!(peer.state, State::Idle { .. })
        {
            peer.state = State::Twin(id);
        }
    }

    /// Never again anybody at this address. Connections there are to be closed by the caller.
    pub fn ban(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        self.banned.insert(ip);
        self.known.retain(|address, peer| {
            address.ip() != ip || matches!(peer.state, State::Dialling | State::Connected)
        });
    }

    pub fn is_banned(&self, ip: IpAddr) -> bool {
        self.banned.contains(&ip.to_canonical())
    }

    /// Connected and being dialled.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Addresses remembered.
    pub fn known_count(&self) -> usize {
        self.known.len()
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> SocketAddr {
        let [_, a, b, c] = number.to_be_bytes();
        SocketAddr::from(([10, a, b, c], 6881))
    }

    fn swarm(peer_count_max: usize) -> (Swarm, Rng, Instant) {
        (
            Swarm::new(PeerId([0; 20]), peer_count_max),
            Rng::seeded(1),
            Instant::now(),
        )
    }

    #[test]
    fn dials_the_best_while_there_is_room() {
        let (mut swarm, mut rng, now) = swarm(2);
        assert!(swarm.add(now, peer(1), Origin::Dht));
        assert!(swarm.add(now, peer(2), Origin::Tracker));
        assert!(swarm.add(now, peer(3), Origin::Tracker));
        assert!(
            !swarm.add(now, peer(1), Origin::User),
            "known, but now of better origin"
        );
        assert!(!swarm.add(now, "0.0.0.0:1".parse().unwrap(), Origin::Dht));
        assert_eq!(swarm.poll_dial(now, &mut rng).unwrap().address, peer(1));
        assert!(swarm.poll_dial(now, &mut rng).is_some());
        assert_eq!(swarm.poll_dial(now, &mut rng), None);
        swarm.part(now, peer(1), Parting::Failed);
        let last = swarm.poll_dial(now, &mut rng).unwrap();
        assert!(last.address == peer(2) || last.address == peer(3));
        assert_eq!(swarm.busy(), 2);
    }

    #[test]
    fn failures_wait_longer_and_longer_and_end() {
        let (mut swarm, mut rng, mut now) = swarm(0);
        swarm.add(now, peer(1), Origin::Tracker);
        for failure in 1..FAILURES_MAX {
            assert!(
                swarm.poll_dial(now, &mut rng).is_some(),
                "failure {failure}"
            );
            swarm.part(now, peer(1), Parting::Failed);
            assert_eq!(swarm.poll_dial(now, &mut rng), None);
            now = swarm.poll_timeout().unwrap();
        }
        swarm.poll_dial(now, &mut rng).unwrap();
        swarm.part(now, peer(1), Parting::Failed);
        assert_eq!((swarm.known_count(), swarm.busy()), (0, 0));
    }

    #[test]
    fn ourselves_twins_and_the_banned_stay_out() {
        let (mut swarm, mut rng, now) = swarm(0);
        swarm.add(now, peer(1), Origin::Tracker);
        swarm.poll_dial(now, &mut rng).unwrap();
        assert!(!swarm.greet(peer(1), PeerId([0; 20])), "that is us");
        swarm.part(now, peer(1), Parting::Hopeless);
        assert_eq!(swarm.poll_dial(now + BACKOFF_MAX * 9, &mut rng), None);
        assert_eq!(swarm.accept(now, peer(2)), Ok(()));
        assert!(swarm.greet(peer(2), PeerId([2; 20])));
        assert_eq!(swarm.accept(now, peer(2)), Err(Turned::Known));
        assert_eq!(swarm.accept(now, peer(3)), Ok(()));
        assert!(
            !swarm.greet(peer(3), PeerId([2; 20])),
            "twice the same client"
        );
        swarm.part_twin(now, peer(3), PeerId([2; 20]));
        swarm.ban(peer(4).ip());
        assert_eq!(swarm.accept(now, peer(4)), Err(Turned::Banned));
        assert!(!swarm.add(now, peer(4), Origin::User));
        assert_eq!(swarm.busy(), 1);
        swarm.part(now, peer(2), Parting::Lost);
        assert!(swarm.accept(now, peer(3)).is_ok() && swarm.greet(peer(3), PeerId([2; 20])));
    }

    #[test]
    fn two_that_dial_each_other_at_once_come_together() {
        let (now, mut rng) = (Instant::now(), Rng::seeded(1));
        let ids = [PeerId([1; 20]), PeerId([2; 20])];
        let mut sides = ids.map(|id| Swarm::new(id, 0));
        let client = SocketAddr::from(([10, 0, 0, 1], 50_000));
        for (swarm, theirs) in sides.iter_mut().zip([ids[1], ids[0]]) {
            swarm.add(now, peer(1), Origin::Tracker);
            assert!(swarm.poll_dial(now, &mut rng).is_some());
            swarm.accept(now, client).unwrap();
            assert!(swarm.greet(client, theirs) && !swarm.greet(peer(1), theirs));
            swarm.part_twin(now, peer(1), theirs);
            let later = now + BACKOFF_MAX * 9;
            assert_eq!((swarm.poll_dial(later, &mut rng), swarm.busy()), (None, 1));
            // The other side has hung up just this one.
            swarm.part(now, client, Parting::Lost);
            assert_eq!(swarm.poll_dial(now, &mut rng), None);
        }
        let again = sides.map(|swarm| swarm.poll_timeout().unwrap() - now);
        assert_eq!(again, [CLASHED, BACKOFF]);
    }

    #[test]
    fn a_plain_handshake_follows_an_encrypted_one_that_failed() {
        let (mut swarm, mut rng, now) = swarm(0);
        swarm.add(now, peer(1), Origin::Tracker);
        assert!(!swarm.poll_dial(now, &mut rng).unwrap().try_plain);
        swarm.retry_plain(now, peer(1));
        assert!(swarm.poll_dial(now, &mut rng).unwrap().try_plain);
        assert_eq!(swarm.busy(), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_listening_port_is_learnt() {
        let (mut swarm, mut rng, now) = swarm(0);
        let client = SocketAddr::from(([10, 0, 0, 1], 50_000));
        swarm.accept(now, client).unwrap();
        assert!(swarm.greet(client, PeerId([7; 20])));
        swarm.learn_port(now, client, 6881);
        assert_eq!(
            swarm.poll_dial(now + BACKOFF * 9, &mut rng),
            None,
            "it is here"
        );
        assert_eq!(swarm.waiting(now + BACKOFF * 9), 0);
        swarm.part(now, client, Parting::Lost);
        assert_eq!(swarm.known_count(), 1);
        assert_eq!(swarm.poll_dial(now, &mut rng), None);
        assert_eq!(
            swarm.poll_dial(now + CLASHED, &mut rng).unwrap().address,
            peer(1)
        );
        for number in 2..5_000 {
            swarm.add(now, peer(number), Origin::Exchange);
        }
        assert_eq!(swarm.known_count(), KNOWN_MAX);
        swarm.part(now, peer(1), Parting::Failed);
        assert!(
            swarm.add(now, peer(9_999), Origin::Exchange),
            "the one that failed makes room"
        );
    }
}
