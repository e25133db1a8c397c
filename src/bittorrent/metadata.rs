//! Pure: the info dictionary over peers (ut_metadata, BEP 9): the message codec, and the download
//! of it, 16 KiB at a time from whoever offers it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::units::SourceId;
use crate::format::bencode::{self, Writer};
use crate::format::info_hash::InfoHash;

/// Bytes of every part but the last.
pub const PART_LEN: u32 = 16 * 1024;
/// Largest info dictionary that is fetched; that of 200,000 files is about half of it.
pub const METADATA_LEN_MAX: u32 = 32 << 20;
/// An answer that takes longer will not come.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// A peer that refused, kept silent or sent no part at all is asked again after so long: it may
/// have lacked the dictionary then.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Parts asked of one peer at once.
const OPEN_PER_PEER_MAX: usize = 4;

/// A ut_metadata message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataMessage {
    Request { part: u32 },
    Data { part: u32, total: u32, data: Bytes },
    Reject { part: u32 },
}

impl MetadataMessage {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, part) = match self {
            Self::Request { part } => (0, *part),
            Self::Data { part, .. } => (1, *part),
            Self::Reject { part } => (2, *part),
        };
        let mut writer = Writer::new();
        writer.dict(|dict| {
            dict.bytes("msg_type").int(kind);
            dict.bytes("piece").int(i64::from(part));
            if let Self::Data { total, .. } = self {
                dict.bytes("total_size").int(i64::from(*total));
            }
        });
        if let Self::Data { data, .. } = self {
            writer.raw(data);
        }
        writer.finish()
    }

    /// `None` for what is malformed or of an unknown type, which BEP 9 says to ignore.
    pub fn decode(payload: &Bytes) -> Option<Self> {
        let (value, len) = bencode::parse_prefix(payload).ok()?;
        let dict = value.dict()?;
        let part = u32::try_from(dict.int("piece")?).ok()?;
        match dict.int("msg_type")? {
            0 => Some(Self::Request { part }),
            1 => Some(Self::Data {
                part,
                total: u32::try_from(dict.int("total_size")?).ok()?,
                data: payload.slice(len..),
            }),
            2 => Some(Self::Reject { part }),
            _ => None,
        }
    }
}

/// The answer to a request for a part of our info dictionary.
pub fn answer(info: &Bytes, part: u32) -> MetadataMessage {
    let start = (part as usize).saturating_mul(PART_LEN as usize);
    if start >= info.len() {
        return MetadataMessage::Reject { part };
    }
    let end = info.len().min(start + PART_LEN as usize);
    MetadataMessage::Data {
        part,
        total: info.len() as u32,
        data: info.slice(start..end),
    }
}

/// Where an info dictionary comes together. Its size is what most peers say, the first one where
/// they are equal. Should the hash be wrong in the end, all of it is thrown away; where several had
/// sent parts, one after the other has to send all of it from then on, so that only liars are named.
#[derive(Debug)]
pub struct MetadataFetch {
    info_hash: InfoHash,
    /// Sizes peers claim.
    offers: HashMap<SourceId, Offer>,
    size: u32,
    parts: Vec<Part>,
    /// Parts of several peers did not fit together.
    mixed: bool,
    /// Who sends all of it then.
    only: Option<SourceId>,
}

#[derive(Debug)]
struct Offer {
    size: u32,
    open: usize,
    refused_at: Option<Instant>,
}

impl Offer {
    fn is_usable(&self, now: Instant) -> bool {
        let over = |at| now.saturating_duration_since(at) >= AGAIN_AFTER;
        self.refused_at.is_none_or(over)
    }
}

#[derive(Clone, Debug)]
enum Part {
    Missing,
    Asked { of: SourceId, at: Instant },
    Here { from: SourceId, data: Bytes },
}

/// What a part led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataProgress {
    /// More parts are needed, or the message meant nothing.
    More,
    /// All of it, and its hash is right.
    Complete(Vec<u8>),
    /// All of it, and its hash is wrong; this peer has sent all of it.
    Corrupt(SourceId),
    /// All of it, and its hash is wrong; so many peers have sent parts.
    Mixed(usize),
}

impl MetadataFetch {
    pub fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            offers: HashMap::new(),
            size: 0,
            parts: Vec::new(),
            mixed: false,
            only: None,
        }
    }

    /// Bytes of the dictionary and of what is here of it; both 0 before a peer has told its size.
    pub fn progress(&self) -> (u32, u32) {
        let here = self.parts.iter().map(|part| match part {
            Part::Here { data, .. } => data.len() as u32,
            _ => 0,
        });
        (self.size, here.sum())
    }

    /// A peer told the size of its dictionary (`metadata_size` of its handshake).
    pub fn add_peer(&mut self, peer: SourceId, size: u32) {
        let known = self.offers.get(&peer).map(|offer| offer.size);
        if size == 0 || size > METADATA_LEN_MAX || known == Some(size) {
            return;
        }
        let offer = Offer {
            size,
            open: 0,
            refused_at: None,
        };
        self.remove_peer_from_parts(peer);
        self.offers.insert(peer, offer);
        let count = |size| {
            self.offers
                .values()
                .filter(|offer| offer.size == size)
                .count()
        };
        if self.size == 0 || count(size) > count(self.size) {
            self.begin(size);
        }
    }

    pub fn remove_peer(&mut self, now: Instant, peer: SourceId) {
        self.offers.remove(&peer);
        self.remove_peer_from_parts(peer);
        self.change_size_if_nobody_has_it(now);
    }

    fn remove_peer_from_parts(&mut self, peer: SourceId) {
        for part in &mut self.parts {
            if matches!(part, Part::Asked { of, .. } if *of == peer) {
                *part = Part::Missing;
            }
        }
        if self.only == Some(peer) {
            self.begin(self.size);
        }
    }

    /// Requests to send to this peer now. Ask again after every message, and every few seconds.
    pub fn requests_for(&mut self, now: Instant, peer: SourceId) -> Vec<MetadataMessage> {
        self.forget_late(now);
        let Some(offer) = self.offers.get_mut(&peer) else {
            return Vec::new();
        };
        if !offer.is_usable(now) || offer.size != self.size {
            return Vec::new();
        }
        if self.mixed && *self.only.get_or_insert(peer) != peer {
            return Vec::new();
        }
        let mut requests = Vec::new();
        for (index, part) in (0u32..).zip(&mut self.parts) {
            if offer.open >= OPEN_PER_PEER_MAX {
                break;
            }
            if matches!(part, Part::Missing) {
                *part = Part::Asked { of: peer, at: now };
                offer.open += 1;
                requests.push(MetadataMessage::Request { part: index });
            }
        }
        requests
    }

    /// Takes an answer of a peer.
    pub fn handle_message(
        &mut self,
        now: Instant,
        peer: SourceId,
        message: MetadataMessage,
    ) -> MetadataProgress {
        match message {
            MetadataMessage::Request { .. } => {}
            MetadataMessage::Reject { part } => {
                if self.take_asked(peer, part) {
                    self.refuse(now, peer);
                }
            }
            MetadataMessage::Data { part, data, .. } => {
                let start = part.saturating_mul(PART_LEN);
                let right = data.len() as u32 == PART_LEN.min(self.size.saturating_sub(start));
                match self.take_asked(peer, part) {
                    true if right => {
                        self.parts[part as usize] = Part::Here { from: peer, data };
                        return self.check(now);
                    }
                    true => self.refuse(now, peer),
                    false => {}
                }
            }
        }
        MetadataProgress::More
    }

    /// Somebody else is asked for now.
    fn refuse(&mut self, now: Instant, peer: SourceId) {
        if let Some(offer) = self.offers.get_mut(&peer) {
            offer.refused_at = Some(now);
        }
        if self.only == Some(peer) {
            self.begin(self.size);
        }
        self.change_size_if_nobody_has_it(now);
    }

    /// Whether this part was asked of this peer; it counts as missing from now on.
    fn take_asked(&mut self, peer: SourceId, part: u32) -> bool {
        match self.parts.get_mut(part as usize) {
            Some(slot @ Part::Asked { .. }) => {
                let Part::Asked { of, .. } = *slot else {
                    return false;
                };
                if of != peer {
                    return false;
                }
                *slot = Part::Missing;
            }
            _ => return false,
        }
        if let Some(offer) = self.offers.get_mut(&peer) {
            offer.open = offer.open.saturating_sub(1);
        }
        true
    }

    /// A peer that keeps silent counts as one that refused.
    fn forget_late(&mut self, now: Instant) {
        let mut late = Vec::new();
        for part in &mut self.parts {
            if let Part::Asked { of, at } = part
                && now.saturating_duration_since(*at) >= ANSWER_TIME_MAX
            {
                if let Some(offer) = self.offers.get_mut(of) {
                    offer.open = 0;
                }
                late.push(*of);
                *part = Part::Missing;
            }
        }
        for peer in late {
            self.refuse(now, peer);
        }
    }

    fn begin(&mut self, size: u32) {
        self.size = size;
        self.parts = vec![Part::Missing; size.div_ceil(PART_LEN) as usize];
        self.only = None;
        for offer in self.offers.values_mut() {
            offer.open = 0;
        }
    }

    fn change_size_if_nobody_has_it(&mut self, now: Instant) {
        let usable = self.offers.values().filter(|offer| offer.is_usable(now));
        let mut sizes = usable.map(|offer| offer.size);
        if !sizes.clone().any(|size| size == self.size)
            && let Some(size) = sizes.next()
        {
            self.begin(size);
        }
    }

    fn check(&mut self, now: Instant) -> MetadataProgress {
        let mut info = Vec::with_capacity(self.size as usize);
        let mut senders = Vec::new();
        for part in &self.parts {
            let Part::Here { from, data } = part else {
                return MetadataProgress::More;
            };
            info.extend_from_slice(data);
            if !senders.contains(from) {
                senders.push(*from);
            }
        }
        if InfoHash::of(&info) == self.info_hash {
            return MetadataProgress::Complete(info);
        }
        self.begin(self.size);
        let [sender] = senders[..] else {
            self.mixed = true;
            return MetadataProgress::Mixed(senders.len());
        };
        self.offers.remove(&sender);
        self.change_size_if_nobody_has_it(now);
        MetadataProgress::Corrupt(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: SourceId = SourceId(1);
    const B: SourceId = SourceId(2);

    fn info() -> Bytes {
        (0..PART_LEN * 2 + 100).map(|at| at as u8).collect()
    }

    #[test]
    fn messages_are_those_of_bep_9() {
        for (bytes, message) in [
            (
                &b"d8:msg_typei0e5:piecei0ee"[..],
                MetadataMessage::Request { part: 0 },
            ),
            (
                b"d8:msg_typei2e5:piecei7ee",
                MetadataMessage::Reject { part: 7 },
            ),
            (
                b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxx",
                MetadataMessage::Data {
                    part: 0,
                    total: 34256,
                    data: Bytes::from_static(b"xxx"),
                },
            ),
        ] {
            assert_eq!(message.encode(), bytes);
            assert_eq!(
                MetadataMessage::decode(&Bytes::from_static(bytes)),
                Some(message)
            );
        }
        for ignored in [
            "d8:msg_typei9e5:piecei0ee",
            "d8:msg_typei0e5:piecei-1ee",
            "le",
            "",
        ] {
            assert_eq!(MetadataMessage::decode(&Bytes::from(ignored)), None);
        }
    }

    /// Answers every request of a peer out of `info`; the last progress.
    fn serve(
        fetch: &mut MetadataFetch,
        now: Instant,
        peer: SourceId,
        info: &Bytes,
    ) -> MetadataProgress {
        let mut last = MetadataProgress::More;
        for request in fetch.requests_for(now, peer) {
            let MetadataMessage::Request { part } = request else {
                panic!("not a request");
            };
            last = fetch.handle_message(now, peer, answer(info, part));
        }
        last
    }

    #[test]
    fn a_dictionary_comes_from_two_peers() {
        let info = info();
        let now = Instant::now();
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        fetch.add_peer(A, info.len() as u32);
        fetch.add_peer(B, info.len() as u32);
        assert_eq!(fetch.requests_for(now, A).len(), 3);
        assert_eq!(
            fetch.handle_message(now, A, answer(&info, 0)),
            MetadataProgress::More
        );
        assert_eq!(fetch.progress(), (info.len() as u32, PART_LEN));
        fetch.remove_peer(now, A);
        assert_eq!(
            serve(&mut fetch, now, B, &info),
            MetadataProgress::Complete(info.to_vec())
        );
    }

    #[test]
    fn a_liar_about_content_or_size_is_named_or_left() {
        let info = info();
        let now = Instant::now();
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        let wrong: Bytes = vec![0; info.len()].into();
        fetch.add_peer(A, info.len() as u32);
        assert_eq!(
            serve(&mut fetch, now, A, &wrong),
            MetadataProgress::Corrupt(A)
        );
        // Somebody with another size comes and goes.
        fetch.add_peer(A, 5);
        assert_eq!(fetch.requests_for(now, A).len(), 1);
        fetch.remove_peer(now, A);
        fetch.add_peer(B, info.len() as u32);
        assert_eq!(
            serve(&mut fetch, now, B, &info),
            MetadataProgress::Complete(info.to_vec())
        );
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        fetch.add_peer(A, METADATA_LEN_MAX + 1);
        assert_eq!(fetch.progress(), (0, 0));
        fetch.add_peer(A, 5);
        fetch.add_peer(B, info.len() as u32);
        assert!(fetch.requests_for(now, B).is_empty());
        fetch.remove_peer(now, A);
        assert_eq!(
            serve(&mut fetch, now, B, &info),
            MetadataProgress::Complete(info.to_vec())
        );
    }

    #[test]
    fn silence_and_refusals_pass_the_work_on() {
        let info = info();
        let now = Instant::now();
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        fetch.add_peer(A, info.len() as u32);
        fetch.add_peer(B, info.len() as u32);
        fetch.requests_for(now, A);
        assert!(fetch.requests_for(now, B).is_empty());
        let later = now + ANSWER_TIME_MAX;
        assert!(fetch.requests_for(later, A).is_empty());
        assert_eq!(
            serve(&mut fetch, later, B, &info),
            MetadataProgress::Complete(info.to_vec())
        );
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        fetch.add_peer(A, info.len() as u32);
        fetch.requests_for(now, A);
        fetch.handle_message(now, A, MetadataMessage::Reject { part: 0 });
        fetch.add_peer(B, info.len() as u32);
        assert_eq!(fetch.requests_for(now, B).len(), 1);
        assert!(fetch.requests_for(now, A).is_empty());
    }

    #[test]
    fn one_liar_among_honest_peers_is_named_alone() {
        let info = info();
        let now = Instant::now();
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        let wrong: Bytes = vec![0; info.len()].into();
        let len = info.len() as u32;
        fetch.add_peer(A, len);
        assert_eq!(fetch.requests_for(now, A).len(), 3);
        fetch.add_peer(B, len);
        fetch.handle_message(now, A, answer(&wrong, 0));
        for part in 1..3 {
            fetch.handle_message(now, A, MetadataMessage::Reject { part });
        }
        let mixed = serve(&mut fetch, now, B, &info);
        assert_eq!(mixed, MetadataProgress::Mixed(2));
        // The liar's turn comes first this time.
        let later = now + AGAIN_AFTER;
        assert_eq!(fetch.requests_for(later, A).len(), 3);
        assert!(fetch.requests_for(later, B).is_empty());
        for part in 0..2 {
            fetch.handle_message(later, A, answer(&wrong, part));
        }
        let corrupt = fetch.handle_message(later, A, answer(&wrong, 2));
        assert_eq!(corrupt, MetadataProgress::Corrupt(A));
        let complete = MetadataProgress::Complete(info.to_vec());
        assert_eq!(serve(&mut fetch, later, B, &info), complete);
    }

    #[test]
    fn who_sends_parts_of_a_wrong_length_or_refuses_is_left_alone_for_a_while() {
        let info = info();
        let now = Instant::now();
        let len = info.len() as u32;
        let short = MetadataMessage::Data {
            part: 0,
            total: len,
            data: Bytes::from_static(b"short"),
        };
        for answer in [short, MetadataMessage::Reject { part: 0 }] {
            let mut fetch = MetadataFetch::new(InfoHash::of(&info));
            fetch.add_peer(A, len);
            fetch.requests_for(now, A);
            fetch.handle_message(now, A, answer);
            for part in 1..3 {
                fetch.handle_message(now, A, MetadataMessage::Reject { part });
            }
            assert!(fetch.requests_for(now, A).is_empty(), "not at once again");
            // Saying hello again changes nothing.
            fetch.add_peer(A, len);
            assert!(fetch.requests_for(now, A).is_empty());
            fetch.add_peer(B, len);
            let complete = MetadataProgress::Complete(info.to_vec());
            assert_eq!(serve(&mut fetch, now, B, &info), complete);
        }
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        fetch.add_peer(A, len);
        fetch.requests_for(now, A);
        fetch.handle_message(now, A, MetadataMessage::Reject { part: 0 });
        assert_eq!(fetch.requests_for(now + AGAIN_AFTER, A).len(), 1);
    }

    #[test]
    fn most_peers_decide_the_size() {
        let info = info();
        let now = Instant::now();
        let mut fetch = MetadataFetch::new(InfoHash::of(&info));
        fetch.add_peer(A, METADATA_LEN_MAX);
        assert_eq!(fetch.requests_for(now, A).len(), OPEN_PER_PEER_MAX);
        fetch.add_peer(B, info.len() as u32);
        assert!(fetch.requests_for(now, B).is_empty());
        fetch.add_peer(SourceId(3), info.len() as u32);
        let complete = MetadataProgress::Complete(info.to_vec());
        assert_eq!(serve(&mut fetch, now, B, &info), complete);
    }

    #[test]
    fn parts_past_the_end_are_rejected() {
        let info = info();
        assert_eq!(answer(&info, 3), MetadataMessage::Reject { part: 3 });
        assert_eq!(
            answer(&info, u32::MAX),
            MetadataMessage::Reject { part: u32::MAX }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = MetadataMessage::decode(&Bytes::from(bytes));
        }
    }
}
