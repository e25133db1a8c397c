//! The sockets on which UDP trackers are asked (BEP 15), one for each family and interface, shared by
//! all torrents.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;

use super::udp::{Exchange, Outcome, Question};
use crate::base::rng::Rng;
use crate::net::udp::{self, Family};
use crate::option::settings::ConnectionSettings;

const DATAGRAM_LEN_MAX: usize = 16 * 1024;
/// Connection ids that are kept; they live for a minute.
const CONNECTIONS_MAX: usize = 500;

/// Opens nothing before the first question.
pub struct UdpTrackers {
    ports: Vec<RangeInclusive<u32>>,
    /// By family and interface, with the task that reads.
    sockets: Mutex<HashMap<Place, Reading>>,
}

type Place = (Family, Option<String>);
type Reading = (Arc<Shared>, JoinHandle<()>);
/// Whose answer it must be, and who waits for it.
type Waiting = (SocketAddr, UnboundedSender<Vec<u8>>);

struct Shared {
    socket: UdpSocket,
    /// Who waits for an answer, by transaction.
    waiting: Mutex<HashMap<u32, Waiting>>,
    /// Connection ids by tracker, and when they came.
    connections: Mutex<HashMap<SocketAddr, (u64, Instant)>>,
}

impl UdpTrackers {
    /// `ports`: the first free one is bound (`dht-listen-port`), any one where the DHT and uTP leave
    /// none.
    pub fn new(ports: Vec<RangeInclusive<u32>>) -> Arc<Self> {
        Arc::new(Self {
            ports,
            sockets: Mutex::default(),
        })
    }

    /// Asks one tracker, again and again until it answers or BEP 15 says that it is silent; who has
    /// less time drops the future.
    ///
    /// # Errors
    /// No socket can be had, or the network refuses.
    pub async fn ask(
        &self,
        tracker: SocketAddr,
        question: Question,
        settings: &ConnectionSettings,
    ) -> io::Result<Outcome> {
        let shared = self.socket(Family::of(tracker), settings)?;
        let kept = shared.connections.lock().get(&tracker).copied();
        let now = Instant::now();
        let mut rng = Rng::from_entropy();
        let mut exchange = Exchange::new(now, question, tracker.is_ipv6(), kept, &mut rng);
        let (answers, mut inbox) = mpsc::unbounded_channel();
        let _turn = Turn::take(&shared, exchange.transaction(), tracker, answers);
        loop {
            let now = Instant::now();
            if let Some(datagram) = exchange.poll_datagram(now) {
                shared.socket.send_to(&datagram, tracker).await?;
            }
            if let Some(outcome) = exchange.poll_outcome() {
                shared.keep(tracker, exchange.connection());
                return Ok(outcome);
            }
            let wake = exchange.poll_timeout().unwrap_or(now);
            tokio::select! {
                Some(datagram) = inbox.recv() => exchange.handle_datagram(Instant::now(), &datagram),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn socket(&self, family: Family, settings: &ConnectionSettings) -> io::Result<Arc<Shared>> {
        let key = (family, settings.interfaces.first().cloned());
        let mut sockets = self.sockets.lock();
        if let Some((shared, task)) = sockets.get(&key)
            && !task.is_finished()
        {
            return Ok(shared.clone());
        }
        let socket = match udp::bind(family, None, &self.ports, settings) {
            Err(busy) if busy.kind() == io::ErrorKind::AddrInUse => {
                udp::bind(family, None, &[], settings)?
            }
            bound => bound?,
        };
        let shared = Arc::new(Shared {
            socket,
            waiting: Mutex::default(),
            connections: Mutex::default(),
        });
        let task = tokio::spawn(read(shared.clone()));
        sockets.insert(key, (shared.clone(), task));
        Ok(shared)
    }
}

impl Drop for UdpTrackers {
    fn drop(&mut self) {
        for (_, task) in self.sockets.get_mut().values() {
            task.abort();
        }
    }
}

impl Shared {
    fn keep(&self, tracker: SocketAddr, connection: Option<(u64, Instant)>) {
        let mut connections = self.connections.lock();
        if connections.len() >= CONNECTIONS_MAX {
            connections.clear();
        }
        match connection {
            Some(connection) => _ = connections.insert(tracker, connection),
            None => _ = connections.remove(&tracker),
        }
    }
}

/// Passes datagrams on to who waits for them. Ends with the socket's first lasting error.
async fn read(shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    loop {
        let Ok((len, from)) = shared.socket.recv_from(&mut buffer).await else {
            return;
        };
        // Action, then transaction, in every answer.
        let transaction = buffer[..len].get(4..8).and_then(|id| id.first_chunk::<4>());
        let Some(transaction) = transaction.map(|id| u32::from_be_bytes(*id)) else {
            continue;
        };
        if let Some((tracker, answers)) = shared.waiting.lock().get(&transaction)
            && *tracker == from
        {
            let _ = answers.send(buffer[..len].to_vec());
        }
    }
}

/// A turn among those who wait, given up when dropped.
struct Turn<'a> {
    shared: &'a Shared,
    transaction: u32,
}

impl<'a> Turn<'a> {
    fn take(
        shared: &'a Shared,
        transaction: u32,
        tracker: SocketAddr,
        answers: UnboundedSender<Vec<u8>>,
    ) -> Self {
        let mut waiting = shared.waiting.lock();
        waiting.insert(transaction, (tracker, answers));
        Self {
            shared,
            transaction,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.waiting.lock().remove(&self.transaction);
    }
}
