//! Pure: announces and scrapes over UDP (BEP 15, URI data BEP 41): a connection id first, then the
//! question; each datagram again after 15, 30, 60... seconds. One exchange is one value; the socket,
//! shared with others, is the driver's. Transaction ids are random: they are what keeps strangers
//! from answering.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Announce, Answer, Event, PEERS_MAX, Scrape, interval};
use crate::base::rng::Rng;
use crate::bittorrent::compact;
use crate::format::info_hash::InfoHash;

const PROTOCOL_MAGIC: u64 = 0x0417_2710_1980;
const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;
/// A connection id is good for so long.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// The first repetition; doubled each time.
const REPEAT_AFTER: Duration = Duration::from_secs(15);
/// BEP 15 goes up to 3,840 s; nobody waits that long, there are other trackers.
const REPEATS_MAX: u32 = 3;
const OPTION_URI_DATA: u8 = 2;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// With path and query of the tracker's URI (BEP 41); empty for none.
    Announce(Box<Announce>, String),
    Scrape(InfoHash),
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Announced(Answer),
    Scraped(Scrape),
    /// The tracker's own reason.
    Refused(String),
    TimedOut,
}

/// One question to one tracker.
#[derive(Debug)]
pub struct Exchange {
    question: Question,
    is_ipv6: bool,
    transaction: u32,
    connection: Option<(u64, Instant)>,
    repeats: u32,
    /// When to send (again).
    send_at: Option<Instant>,
    outcome: Option<Outcome>,
}

impl Exchange {
    /// `connection` is a connection id got before and when, which saves a round trip.
    pub fn new(
        now: Instant,
        question: Question,
        is_ipv6: bool,
        connection: Option<(u64, Instant)>,
        rng: &mut Rng,
    ) -> Self {
        Self {
            question,
            is_ipv6,
            transaction: rng.next_u64() as u32,
            connection,
            repeats: 0,
            send_at: Some(now),
            outcome: None,
        }
    }

    /// By it a driver finds whom a datagram is for.
    pub fn transaction(&self) -> u32 {
        self.transaction
    }

    /// The connection id in use, to be kept for the next exchange with this tracker.
    pub fn connection(&self) -> Option<(u64, Instant)> {
        self.connection
    }

    /// The datagram to send now, if one is due.
    pub fn poll_datagram(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.send_at.filter(|at| *at <= now)?;
        if self.repeats > REPEATS_MAX {
            self.end(Outcome::TimedOut);
            return None;
        }
        self.send_at = Some(now + REPEAT_AFTER * (1 << self.repeats));
        self.repeats += 1;
        let fresh = |at: Instant| now.saturating_duration_since(at) < CONNECTION_TIME;
        match self.connection.filter(|(_, at)| fresh(*at)) {
            Some((id, _)) => Some(self.ask(id)),
            None => {
                self.connection = None;
                Some(self.connect())
            }
        }
    }

    /// When [`Self::poll_datagram`] is due; `None` when all is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.send_at
    }

    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    fn end(&mut self, outcome: Outcome) {
        self.send_at = None;
        self.outcome = Some(outcome);
    }

    fn connect(&self) -> Vec<u8> {
        let mut out = PROTOCOL_MAGIC.to_be_bytes().to_vec();
        out.extend_from_slice(&ACTION_CONNECT.to_be_bytes());
        out.extend_from_slice(&self.transaction.to_be_bytes());
        out
    }

    fn ask(&self, connection: u64) -> Vec<u8> {
        let mut out = connection.to_be_bytes().to_vec();
        let action = match &self.question {
            Question::Announce(..) => ACTION_ANNOUNCE,
            Question::Scrape(_) => ACTION_SCRAPE,
        };
        out.extend_from_slice(&action.to_be_bytes());
        out.extend_from_slice(&self.transaction.to_be_bytes());
        match &self.question {
            Question::Announce(announce, path) => put_announce(&mut out, announce, path),
            Question::Scrape(hash) => out.extend_from_slice(&hash.0),
        }
        out
    }

    /// Takes a datagram that came from the tracker's address; what is not an answer to this
    /// exchange is ignored.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let Some((action, rest)) = take_u32(datagram) else {
            return;
        };
        let Some((transaction, rest)) = take_u32(rest) else {
            return;
        };
        if transaction != self.transaction || self.send_at.is_none() {
            return;
        }
        match (action, &self.question) {
            (ACTION_CONNECT, _) if self.connection.is_none() => {
                if let Some(id) = rest.first_chunk::<8>() {
                    self.connection = Some((u64::from_be_bytes(*id), now));
                    self.repeats = 0;
                    self.send_at = Some(now);
                }
            }
            (ACTION_ANNOUNCE, Question::Announce(..)) if self.connection.is_some() => {
                self.end(match read_announce(rest, self.is_ipv6) {
                    Some(answer) => Outcome::Announced(answer),
                    // So opentracker answers for torrents that are not on its list.
                    None => {
                        Outcome::Refused("no word of peers, it may not serve this torrent".into())
                    }
                });
            }
            (ACTION_SCRAPE, Question::Scrape(_)) if self.connection.is_some() => {
                if let Some(scrape) = read_scrape(rest) {
                    self.end(Outcome::Scraped(scrape));
                }
            }
            (ACTION_ERROR, _) => {
                let text = String::from_utf8_lossy(&rest[..rest.len().min(300)]);
                let text = text.chars().filter(|letter| !letter.is_control()).collect();
                self.connection = None;
                self.end(Outcome::Refused(text));
            }
            _ => {}
        }
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*head), rest))
}

fn put_announce(out: &mut Vec<u8>, announce: &Announce, path: &str) {
    out.extend_from_slice(&announce.info_hash.0);
    out.extend_from_slice(&announce.peer_id.0);
    for number in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let event: u32 = match announce.event {
        None => 0,
        Some(Event::Completed) => 1,
        Some(Event::Started) => 2,
        Some(Event::Stopped) => 3,
    };
    out.extend_from_slice(&event.to_be_bytes());
    let ip = match announce.ip {
        Some(IpAddr::V4(ip)) => ip.octets(),
        _ => [0; 4],
    };
    out.extend_from_slice(&ip);
    let key = announce.peer_id.0.last_chunk::<4>();
    out.extend_from_slice(key.unwrap_or(&[0; 4]));
    out.extend_from_slice(&announce.wanted.to_be_bytes());
    out.extend_from_slice(&announce.port.to_be_bytes());
    for part in path.as_bytes().chunks(255) {
        out.extend_from_slice(&[OPTION_URI_DATA, part.len() as u8]);
        out.extend_from_slice(part);
    }
}

fn read_announce(bytes: &[u8], is_ipv6: bool) -> Option<Answer> {
    let (seconds, rest) = take_u32(bytes)?;
    let (leechers, rest) = take_u32(rest)?;
    let (seeders, rest) = take_u32(rest)?;
    let peers = if is_ipv6 {
        compact::read_v6(rest).take(PEERS_MAX).collect()
    } else {
        compact::read_v4(rest).take(PEERS_MAX).collect()
    };
    Some(Answer {
        interval: interval(i64::from(seconds)),
        leechers: Some(leechers),
        seeders: Some(seeders),
        peers,
        ..Answer::default()
    })
}

fn read_scrape(bytes: &[u8]) -> Option<Scrape> {
    let (seeders, rest) = take_u32(bytes)?;
    let (completed, rest) = take_u32(rest)?;
    let (leechers, _) = take_u32(rest)?;
    Some(Scrape {
        seeders,
        leechers,
        completed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::bittorrent::handshake::PeerId;
    use proptest::prelude::*;

    fn question() -> Question {
        let announce = Announce {
            info_hash: InfoHash([0xab; 20]),
            peer_id: PeerId(*b"A2-1-37-0-abcdefghij"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: Some(Event::Started),
            wanted: 50,
            ip: None,
            tracker_id: None,
            require_crypto: false,
        };
        Question::Announce(Box::new(announce), "/a?b".into())
    }

    fn answer(action: u32, transaction: u32, body: &[u8]) -> Vec<u8> {
        [&action.to_be_bytes()[..], &transaction.to_be_bytes(), body].concat()
    }

    #[test]
    fn an_answer_of_nothing_is_a_refusal() {
        let now = Instant::now();
        let kept = Some((7, now));
        let mut exchange = Exchange::new(now, question(), false, kept, &mut Rng::seeded(1));
        let id = exchange.transaction();
        exchange.poll_datagram(now).unwrap();
        exchange.handle_datagram(now, &answer(1, id, &[]));
        assert!(matches!(exchange.poll_outcome(), Some(Outcome::Refused(_))));
    }

    #[test]
    fn connect_announce_answer() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, question(), false, None, &mut Rng::seeded(1));
        let id = exchange.transaction();
        let connect = exchange.poll_datagram(now).unwrap();
        assert_eq!(
            connect[..12],
            [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0]
        );
        assert_eq!(exchange.poll_datagram(now), None);
        exchange.handle_datagram(now, &answer(0, id ^ 1, &[9; 8]));
        exchange.handle_datagram(now, &answer(1, id, &[0; 12]));
        assert_eq!(exchange.poll_datagram(now), None, "strangers are ignored");
        exchange.handle_datagram(now, &answer(0, id, &[9; 8]));
        let ask = exchange.poll_datagram(now).unwrap();
        assert_eq!(
            ask[..16],
            [&[9; 8][..], &[0, 0, 0, 1], &id.to_be_bytes()].concat()
        );
        assert_eq!(ask.len(), 98 + 6);
        assert_eq!(
            ask[56..84],
            [
                0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2
            ]
        );
        assert_eq!(ask[88..], *b"ghij\0\0\0\x32\x1a\xe1\x02\x04/a?b");
        let body = b"\0\0\x07\x08\0\0\0\x01\0\0\0\x02\x7f\0\0\x01\x1a\xe1";
        exchange.handle_datagram(now, &answer(1, id, body));
        let Some(Outcome::Announced(answer)) = exchange.poll_outcome() else {
            panic!("no answer");
        };
        assert_eq!(answer.interval, Some(Duration::from_secs(1800)));
        assert_eq!((answer.leechers, answer.seeders), (Some(1), Some(2)));
        assert_eq!(answer.peers, ["127.0.0.1:6881".parse().unwrap()]);
        assert_eq!(exchange.poll_timeout(), None);
        let kept = exchange.connection();
        let mut next = Exchange::new(
            now,
            Question::Scrape(InfoHash([1; 20])),
            false,
            kept,
            &mut Rng::seeded(2),
        );
        let scrape = next.poll_datagram(now).unwrap();
        assert_eq!(
            (&scrape[..8], scrape[11], scrape.len()),
            (&[9; 8][..], 2, 36)
        );
        let id = next.transaction();
        next.handle_datagram(
            now,
            &super::tests::answer(2, id, b"\0\0\0\x01\0\0\0\x02\0\0\0\x03"),
        );
        let scrape = Scrape {
            seeders: 1,
            completed: 2,
            leechers: 3,
        };
        assert_eq!(next.poll_outcome(), Some(Outcome::Scraped(scrape)));
    }

    #[test]
    fn silence_and_refusal_end_it() {
        let mut now = Instant::now();
        let start = now;
        let mut exchange = Exchange::new(now, question(), false, None, &mut Rng::seeded(1));
        let mut sent = 0;
        while let Some(at) = exchange.poll_timeout() {
            now = at;
            sent += usize::from(exchange.poll_datagram(now).is_some());
        }
        assert_eq!((sent, now - start), (4, REPEAT_AFTER * 15));
        assert_eq!(exchange.poll_outcome(), Some(Outcome::TimedOut));
        let mut exchange = Exchange::new(now, question(), false, None, &mut Rng::seeded(1));
        let id = exchange.transaction();
        exchange.poll_datagram(now);
        exchange.handle_datagram(now, &answer(3, id, b"go\0 away"));
        assert_eq!(
            exchange.poll_outcome(),
            Some(Outcome::Refused("go away".into()))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), action in 0u32..5, connected: bool) {
            let now = Instant::now();
            let connection = connected.then_some((1, now));
            let mut exchange = Exchange::new(now, question(), connected, connection, &mut Rng::seeded(1));
            exchange.poll_datagram(now);
            exchange.handle_datagram(now, &bytes);
            let id = exchange.transaction();
            exchange.handle_datagram(now, &answer(action, id, &bytes));
        }
    }
}
