//! Local peer discovery (BEP 14): our voice and our ear in the multicast groups, shared by all
//! torrents.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::lpd::{GROUP_V4, GROUP_V6, INTERVAL, LocalAnnounce};
use crate::base::rng::random_bytes;
use crate::format::info_hash::InfoHash;
use crate::option::bt_settings::BtNetSettings;

/// Announcements go no farther than this network, as BEP 14 wants it.
const HOPS_MAX: u32 = 1;
/// Between two datagrams, so that a thousand torrents are no flood.
const PAUSE: Duration = Duration::from_millis(200);

/// The handle; opens its sockets with the first torrent that joins.
pub struct Lpd {
    shared: Arc<Shared>,
    /// Interface by name or address (`bt-lpd-interface`).
    interface: Option<String>,
    groups: Vec<SocketAddr>,
    tasks: OnceCell<Vec<Task>>,
}

/// Ends with its handle.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct Shared {
    members: Mutex<HashMap<InfoHash, Vec<Member>>>,
    next_id: AtomicU64,
    /// Somebody has joined.
    joined: Notify,
    cookie: String,
}

struct Member {
    id: u64,
    port: Option<u16>,
    due: Instant,
    found: Arc<dyn Fn(SocketAddr) + Send + Sync>,
}

/// A torrent takes part until this is dropped.
pub struct LpdMember {
    shared: Arc<Shared>,
    info_hash: InfoHash,
    id: u64,
}

impl Lpd {
    /// Cheap; needs a tokio runtime.
    pub fn start(settings: &BtNetSettings) -> Arc<Self> {
        let v6 = (!settings.disable_ipv6).then_some(GROUP_V6);
        let groups = [Some(GROUP_V4), v6].into_iter().flatten().collect();
        Self::with_groups(groups, settings.lpd_interface.clone())
    }

    fn with_groups(groups: Vec<SocketAddr>, interface: Option<String>) -> Arc<Self> {
        let cookie = u64::from_ne_bytes(random_bytes());
        Arc::new(Self {
            shared: Arc::new(Shared {
                cookie: format!("arioso-{cookie:016x}"),
                ..Shared::default()
            }),
            interface,
            groups,
            tasks: OnceCell::new(),
        })
    }

    /// One that neither speaks nor listens.
    #[cfg(test)]
    pub(super) fn mute() -> Arc<Self> {
        Self::with_groups(Vec::new(), None)
    }

    #[cfg(test)]
    pub(super) fn has_joined(&self, info_hash: InfoHash) -> bool {
        self.shared.members.lock().contains_key(&info_hash)
    }

    /// Announces the torrent now and every five minutes (unless nobody can dial us), and calls
    /// `found` for who announces it.
    pub fn join(
        &self,
        info_hash: InfoHash,
        port: Option<u16>,
        found: impl Fn(SocketAddr) + Send + Sync + 'static,
    ) -> LpdMember {
        if !self.tasks.initialized() {
            let _ = self.tasks.set(self.open());
        }
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let member = Member {
            id,
            port,
            due: Instant::now(),
            found: Arc::new(found),
        };
        let mut members = self.shared.members.lock();
        members.entry(info_hash).or_default().push(member);
        drop(members);
        self.shared.joined.notify_one();
        LpdMember {
            shared: self.shared.clone(),
            info_hash,
            id,
        }
    }

    fn open(&self) -> Vec<Task> {
        let mut voices = Vec::new();
        let mut tasks = Vec::new();
        for group in &self.groups {
            match sockets(*group, self.interface.as_deref()) {
                Ok((ear, voice)) => {
                    info!("local peer discovery at {group}");
                    tasks.push(Task(tokio::spawn(listen(self.shared.clone(), ear))));
                    voices.push((voice, *group));
                }
                // Many networks have no IPv6.
                Err(error) if group.is_ipv6() => {
                    debug!("no local peer discovery at {group}: {error}")
                }
                Err(error) => warn!("no local peer discovery at {group}: {error}"),
            }
        }
        tasks.push(Task(tokio::spawn(speak(self.shared.clone(), voices))));
        tasks
    }
}

impl Drop for LpdMember {
    fn drop(&mut self) {
        let mut all = self.shared.members.lock();
        if let Some(members) = all.get_mut(&self.info_hash) {
            members.retain(|member| member.id != self.id);
            if members.is_empty() {
                all.remove(&self.info_hash);
            }
        }
    }
}

/// The socket that listens in the group, shared with other programs of the machine, and the one
/// that speaks.
fn sockets(group: SocketAddr, interface: Option<&str>) -> io::Result<(UdpSocket, UdpSocket)> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(group), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        if group.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        Ok(socket)
    };
    let (ear, voice) = (open()?, open()?);
    ear.set_reuse_address(true)?;
    match group.ip() {
        IpAddr::V4(ip) => {
            let own = interface.map_or(Ok(Ipv4Addr::UNSPECIFIED), address_of)?;
            ear.bind(&group.into())?;
            ear.join_multicast_v4(&ip, &own)?;
            voice.bind(&SocketAddr::from((own, 0)).into())?;
            voice.set_multicast_if_v4(&own)?;
            voice.set_multicast_ttl_v4(HOPS_MAX)?;
            voice.set_multicast_loop_v4(true)?;
        }
        IpAddr::V6(ip) => {
            let index = interface.map_or(Ok(0), index_of)?;
            ear.bind(&group.into())?;
            ear.join_multicast_v6(&ip, index)?;
            voice.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
            voice.set_multicast_if_v6(index)?;
            voice.set_multicast_hops_v6(HOPS_MAX)?;
            voice.set_multicast_loop_v6(true)?;
        }
    }
    Ok((
        UdpSocket::from_std(ear.into())?,
        UdpSocket::from_std(voice.into())?,
    ))
}

/// The IPv4 address that stands for an interface given by address or name.
fn address_of(interface: &str) -> io::Result<Ipv4Addr> {
    if let Ok(address) = interface.parse() {
        return Ok(address);
    }
    let found = super::interfaces::all()?.into_iter();
    let mut named = found.filter(|(name, _)| name == interface);
    let address = named.find_map(|(_, ip)| match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// The number of an interface given by address or name.
fn index_of(interface: &str) -> io::Result<u32> {
    let name = match interface.parse::<IpAddr>() {
        Err(_) => interface.to_owned(),
        Ok(ip) => {
            let found = super::interfaces::all()?.into_iter();
            let name = found
                .filter(|(_, own)| *own == ip)
                .map(|(name, _)| name)
                .next();
            name.ok_or(io::ErrorKind::AddrNotAvailable)?
        }
    };
    crate::net::index_of(&name).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

async fn listen(shared: Arc<Shared>, ear: UdpSocket) {
    let mut buffer = [0; 2_048];
    loop {
        let Ok((len, from)) = ear.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(announce) = LocalAnnounce::decode(&buffer[..len]) else {
            continue;
        };
        if announce.cookie.as_ref() == Some(&shared.cookie) {
            continue;
        }
        let peer = SocketAddr::new(from.ip().to_canonical(), announce.port);
        for hash in announce.info_hashes {
            let members = shared.members.lock();
            let members = members.get(&hash).into_iter().flatten();
            let told: Vec<_> = members.map(|member| member.found.clone()).collect();
            for found in told {
                found(peer);
            }
        }
    }
}

async fn speak(shared: Arc<Shared>, voices: Vec<(UdpSocket, SocketAddr)>) {
    loop {
        let (mut due, next_at) = shared.take_due(Instant::now());
        while let Some((port, hash)) = due.pop_front() {
            let announce = LocalAnnounce {
                port,
                info_hashes: vec![hash],
                cookie: Some(shared.cookie.clone()),
            };
            for (voice, group) in &voices {
                if let Err(error) = voice.send_to(&announce.encode(*group), group).await {
                    debug!("local peer discovery at {group}: {error}");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        tokio::select! {
            () = shared.joined.notified() => {}
            () = tokio::time::sleep_until(next_at.into()) => {}
        }
    }
}

impl Shared {
    /// What is to be announced now, and when to look again.
    fn take_due(&self, now: Instant) -> (VecDeque<(u16, InfoHash)>, Instant) {
        let mut due = VecDeque::new();
        let mut next_at = now + INTERVAL;
        for (hash, members) in self.members.lock().iter_mut() {
            for member in members {
                if member.due <= now {
                    member.due = now + INTERVAL;
                    due.extend(member.port.map(|port| (port, *hash)));
                }
                next_at = next_at.min(member.due);
            }
        }
        (due, next_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// A group of IPv4 with a port nobody else has, on loopback.
    fn group() -> SocketAddr {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut group = GROUP_V4;
        group.set_port(socket.local_addr().unwrap().port());
        group
    }

    #[tokio::test]
    async fn two_programs_find_each_other_and_not_themselves() {
        let group = group();
        let (one, other) = ["127.0.0.1", "lo"]
            .map(|interface| Lpd::with_groups(vec![group], Some(interface.to_owned())))
            .into();
        let join = |lpd: &Lpd, hash, port| {
            let (found, peers) = mpsc::unbounded_channel();
            let member = lpd.join(InfoHash([hash; 20]), Some(port), move |peer| {
                let _ = found.send(peer);
            });
            (member, peers)
        };
        let (_member, mut peers_of_one) = join(&one, 1, 5_001);
        let (_stranger, mut peers_of_stranger) = join(&one, 2, 5_001);
        let (member, mut peers_of_other) = join(&other, 1, 5_002);
        let wait = Duration::from_secs(30);
        let found = tokio::time::timeout(wait, peers_of_one.recv())
            .await
            .unwrap();
        assert_eq!(found, Some("127.0.0.1:5002".parse().unwrap()));
        drop(member);
        // The other one may have joined before the first had spoken, or after.
        let heard = peers_of_other.recv().await;
        assert!(heard.is_none_or(|peer| peer.port() == 5_001), "{heard:?}");
        assert!(peers_of_stranger.try_recv().is_err());
        assert!(peers_of_one.try_recv().is_err());
    }
}
