//! Two of us over real sockets of the loopback, each with files of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::*;
use crate::base::error::Failure;
use crate::base::gid::Gid;
use crate::base::range_set::RangeSet;
use crate::base::rng::Rng;
use crate::base::secret::Secret;
use crate::base::units::{PieceIdx, Rate, SourceId};
use crate::bittorrent::assembler::Assembler;
use crate::bittorrent::bt_net::Membership;
use crate::bittorrent::handshake::{Handshake, PeerId};
use crate::bittorrent::metadata::MetadataMessage;
use crate::bittorrent::mse::CryptoPolicy;
use crate::bittorrent::peer::Shape;
use crate::bittorrent::swarm::Parting;
use crate::bittorrent::wire::{BLOCK_LEN, Block, Message};
use crate::format::info_hash::InfoHash;
use crate::limit::{LimitTree, Meter};
use crate::net::Net;
use crate::option::OptionSet;
use crate::option::bt_settings::{BtNetSettings, BtSettings};
use crate::option::settings::{ConnectionSettings, DiskSettings, ProxySettings};
use crate::option::value::CryptoLevel;
use crate::storage::digest::DigestKind;
use crate::storage::{Content, ContentFile, Files, Layout, OpenMode, PieceHashes};

const PATIENCE: Duration = Duration::from_secs(60);
const PIECE_LEN: u32 = 4 * BLOCK_LEN;
const HASH: InfoHash = InfoHash([9; 20]);

fn truth(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 5 % 253) as u8).collect()
}

#[derive(Clone, Copy)]
struct Crypto {
    require: bool,
    level: CryptoLevel,
    force: bool,
}

const PLAIN: Crypto = Crypto {
    require: false,
    level: CryptoLevel::Plain,
    force: false,
};
const REQUIRED: Crypto = Crypto {
    require: true,
    ..PLAIN
};
const FORCED: Crypto = Crypto {
    force: true,
    ..PLAIN
};

/// A client with one torrent.
struct Side {
    _dir: tempfile::TempDir,
    net: Arc<BtNet>,
    torrent: Arc<TorrentShare>,
    have: Bitfield,
    members: Membership,
    tree: Arc<LimitTree>,
}

async fn net(set: &OptionSet, utp: bool) -> Arc<BtNet> {
    let settings = BtNetSettings {
        listen_ports: Vec::new(),
        dht: false,
        utp,
        ..BtNetSettings::from(set)
    };
    let net = BtNet::with(Net::new(), set, settings);
    net.start().await;
    net
}

impl Side {
    async fn new(len: usize, seed: bool, crypto: Crypto, utp: bool, set: &OptionSet) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = truth(len);
        let hashes = data.chunks(PIECE_LEN as usize).flat_map(Sha1::digest);
        let content = Content {
            name: "t".into(),
            multi: false,
            files: vec![ContentFile {
                path: "t".into(),
                len: len as u64,
                padding: false,
            }],
            total: Some(len as u64),
            pieces: Some(PieceHashes {
                kind: DigestKind::Sha1,
                piece_len: u64::from(PIECE_LEN),
                digests: hashes.collect(),
            }),
            proofs: Vec::new(),
            doubts: Vec::new(),
            chosen: Vec::new(),
            torrent: None,
        };
        let layout = Layout::of_content(&content, dir.path(), &set.into()).unwrap();
        let mode = match seed {
            true => {
                std::fs::write(dir.path().join("t"), &data).unwrap();
                OpenMode::Existing
            }
            false => OpenMode::Fresh,
        };
        let files = Files::open(layout, &DiskSettings::from(set), mode).unwrap();
        let mut have = Bitfield::new(len.div_ceil(PIECE_LEN as usize) as u32);
        for piece in 0..have.len() {
            have.set(piece, seed);
        }
        let assembler = Assembler::new(files.into(), content.into(), have.clone());
        let net = net(set, utp).await;
        let settings = BtSettings {
            require_crypto: crypto.require,
            crypto_level_min: crypto.level,
            force_encryption: crypto.force,
            ..BtSettings::from(set)
        };
        let torrent = Arc::new(TorrentShare {
            gid: Gid::new(1).unwrap(),
            info_hash: HASH,
            ours: net.peer_id(),
            shape: assembler.as_ref().map(|assembler| assembler.shape()),
            private: false,
            assembler,
            info: Some(Bytes::from(truth(40_000))),
            settings: ArcSwap::from_pointee(settings),
            connection: ConnectionSettings::from(set),
            proxy: ProxySettings::from(set),
        });
        Self {
            members: net.join(HASH, torrent.crypto()),
            _dir: dir,
            net,
            torrent,
            have,
            tree: LimitTree::new(Rate::UNLIMITED, Rate::UNLIMITED),
        }
    }

    fn address(&self, v6: bool) -> SocketAddr {
        let ip = match v6 {
            true => IpAddr::from(Ipv6Addr::LOCALHOST),
            false => IpAddr::from(Ipv4Addr::LOCALHOST),
        };
        SocketAddr::new(ip, self.net.listen_port().unwrap())
    }

    fn spawn(&self, way: Way) -> Hand {
        let (orders, orders_in) = unbounded_channel();
        let (reports_out, reports) = unbounded_channel();
        let branch = self.tree.branch(Rate::UNLIMITED, Rate::UNLIMITED);
        let link = PeerLink {
            id: SourceId(0),
            orders: orders_in,
            reports: reports_out,
            limit: branch.leaf(),
            down: Arc::new(Meter::new()),
            up: Arc::new(Meter::new()),
        };
        let task = spawn(
            way,
            self.torrent.clone(),
            self.have.clone(),
            link,
            self.net.clone(),
        );
        Hand {
            orders,
            reports,
            task,
        }
    }

    fn dial(&self, address: SocketAddr) -> Hand {
        self.spawn(Way::Dial {
            address,
            plain: false,
        })
    }

    async fn accept(&mut self) -> Hand {
        let inbound = timeout(PATIENCE, self.members.next()).await.unwrap();
        self.spawn(Way::Accepted(inbound))
    }
}

/// The transfer's end of a connection.
struct Hand {
    orders: UnboundedSender<PeerOrder>,
    reports: UnboundedReceiver<(SourceId, PeerReport)>,
    task: JoinHandle<()>,
}

impl Hand {
    async fn next(&mut self) -> PeerReport {
        timeout(PATIENCE, self.reports.recv())
            .await
            .expect("a report in time")
            .expect("a report")
            .1
    }

    fn order(&self, order: PeerOrder) {
        let _ = self.orders.send(order);
    }

    async fn until_closed(mut self) -> (Parting, Failure) {
        loop {
            if let PeerReport::Closed(parting, failure) = self.next().await {
                self.task.await.unwrap();
                return (parting, failure);
            }
        }
    }

    /// Lets the other side have what it asks for, until it has gone; the bytes it was sent.
    async fn seed(mut self) -> (u64, Greeting) {
        let mut sent = 0;
        let mut greeting = None;
        loop {
            match self.next().await {
                PeerReport::Greeted(said) => greeting = Some(*said),
                PeerReport::Interested(true) => self.order(PeerOrder::Choke(false)),
                PeerReport::Sent(len) => sent += len,
                PeerReport::Closed(..) => return (sent, greeting.unwrap()),
                _ => {}
            }
        }
    }

    /// Fetches everything; returns when all pieces are right.
    async fn fetch(&mut self, side: &Side) -> Greeting {
        let assembler = side.torrent.assembler.as_ref().unwrap();
        let shape = assembler.shape();
        let mut missing: BTreeSet<Block> = blocks(shape).into_iter().collect();
        let mut left = shape.piece_count();
        for piece in 0..left {
            assembler.open(PieceIdx(piece), &RangeSet::new());
        }
        let mut greeting = None;
        let mut window = 0;
        while left > 0 {
            match self.next().await {
                PeerReport::Greeted(said) => {
                    greeting = Some(*said);
                    self.order(PeerOrder::Interested(true));
                }
                PeerReport::Window(room) => window = room,
                PeerReport::Released(blocks) => missing.extend(blocks),
                PeerReport::Piece { good, .. } => {
                    assert!(good);
                    left -= 1;
                }
                PeerReport::Closed(_, failure) => panic!("{failure}"),
                _ => {}
            }
            let mut wanted = Vec::new();
            while window > 0
                && let Some(block) = missing.pop_first()
            {
                wanted.push(block);
                window -= 1;
            }
            if !wanted.is_empty() {
                self.order(PeerOrder::Request(wanted));
            }
        }
        greeting.unwrap()
    }
}

fn blocks(shape: Shape) -> Vec<Block> {
    let piece = |piece: u32| {
        let len = shape.len_of(PieceIdx(piece));
        (0..len.div_ceil(BLOCK_LEN)).map(move |index| {
            let begin = index * BLOCK_LEN;
            Block::new(piece, begin, BLOCK_LEN.min(len - begin))
        })
    };
    (0..shape.piece_count()).flat_map(piece).collect()
}

/// Moves `len` bytes from one to the other; who greeted whom how.
async fn exchange(len: usize, crypto: [Crypto; 2], v6: bool, utp: bool) -> Greeting {
    let set = OptionSet::new();
    let mut seed = Side::new(len, true, crypto[0], utp, &set).await;
    let leech = Side::new(len, false, crypto[1], utp, &set).await;
    if utp {
        seed.net.close_tcp();
    }
    let mut fetching = leech.dial(seed.address(v6));
    let seeding = seed.accept().await.seed();
    let fetch = async {
        let greeting = fetching.fetch(&leech).await;
        drop(fetching);
        greeting
    };
    let ((sent, theirs), ours) = tokio::join!(seeding, fetch);
    assert_eq!(sent, len as u64);
    assert!(theirs.incoming && !ours.incoming);
    assert_eq!(theirs.encrypted, ours.encrypted);
    assert_eq!(
        std::fs::read(leech._dir.path().join("t")).unwrap(),
        truth(len)
    );
    assert_eq!((theirs.utp, ours.utp), (utp, utp));
    ours
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torrent_passes_over_every_kind_of_stream() {
    let len = 3 << 20 | 77;
    for (crypto, v6, encrypted) in [
        // Where both let it be, the handshake is encrypted and the rest is not.
        ([PLAIN, PLAIN], false, false),
        ([REQUIRED, PLAIN], true, false),
        ([FORCED, PLAIN], false, true),
        ([PLAIN, FORCED], true, true),
        ([FORCED, REQUIRED], false, true),
    ] {
        let greeting = exchange(len, crypto, v6, false).await;
        assert_eq!(greeting.encrypted, encrypted);
        assert_eq!(greeting.address.is_ipv6(), v6);
        assert!(greeting.fast);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tcp_is_refused_utp_is_tried() {
    for (crypto, v6) in [([PLAIN, PLAIN], false), ([FORCED, PLAIN], true)] {
        exchange(2 << 20 | 77, crypto, v6, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tcp_is_hung_up_without_a_word_utp_is_tried() {
    for crypto in [PLAIN, FORCED] {
        let set = OptionSet::new();
        let mut seed = Side::new(300_000, true, crypto, true, &set).await;
        let leech = Side::new(300_000, false, PLAIN, true, &set).await;
        seed.net.close_tcp();
        let address = seed.address(false);
        let listener = loop {
            // The port is free when the aborted task is gone.
            match tokio::net::TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let hanging_up = tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        let mut fetching = leech.dial(address);
        let seeding = tokio::spawn(seed.accept().await.seed());
        assert!(fetching.fetch(&leech).await.utp);
        drop(fetching);
        seeding.await.unwrap();
        hanging_up.abort();
    }
}

/// One connection of a SOCKS 5 proxy without passwords; where it was asked to go.
async fn proxy(listener: tokio::net::TcpListener) -> SocketAddr {
    let (mut near, _) = listener.accept().await.unwrap();
    let count = near.read_u16().await.unwrap() & 0xff;
    let mut rest = vec![0; usize::from(count)];
    near.read_exact(&mut rest).await.unwrap();
    near.write_all(&[5, 0]).await.unwrap();
    assert_eq!(near.read_u32().await.unwrap(), 0x0501_0001);
    let ip = Ipv4Addr::from(near.read_u32().await.unwrap());
    let target = SocketAddr::from((ip, near.read_u16().await.unwrap()));
    let mut far = TcpStream::connect(target).await.unwrap();
    near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    target
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks_proxy_carries_peers() {
    let set = OptionSet::new();
    let mut seed = Side::new(300_000, true, PLAIN, false, &set).await;
    let mut leech = Side::new(300_000, false, PLAIN, true, &set).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("socks5://{}", listener.local_addr().unwrap());
    let torrent = Arc::get_mut(&mut leech.torrent).unwrap();
    torrent.proxy.all = Some(Secret::new(uri));
    let proxying = tokio::spawn(proxy(listener));
    let mut fetching = leech.dial(seed.address(false));
    let seeding = tokio::spawn(seed.accept().await.seed());
    fetching.fetch(&leech).await;
    drop(fetching);
    seeding.await.unwrap();
    assert_eq!(proxying.await.unwrap(), seed.address(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn seeds_part_and_nobody_talks_to_himself() {
    let set = OptionSet::new();
    let mut one = Side::new(100_000, true, PLAIN, false, &set).await;
    let other = Side::new(100_000, true, PLAIN, false, &set).await;
    let dialling = other.dial(one.address(false));
    let answering = one.accept().await;
    assert_eq!(dialling.until_closed().await.0, Parting::Useless);
    let end = answering.until_closed().await.0;
    assert!(matches!(end, Parting::Useless | Parting::Lost), "{end:?}");
    let dialling = one.dial(one.address(false));
    let answering = one.accept().await;
    assert_eq!(dialling.until_closed().await.0, Parting::Hopeless);
    assert_eq!(answering.until_closed().await.0, Parting::Hopeless);
}

/// As aria2c 1.36 was seen to do.
#[tokio::test(flavor = "multi_thread")]
async fn without_ipv6_nobody_is_dialled_there() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut set = OptionSet::new();
    set.set_text(crate::option::keys::DISABLE_IPV6.id, "true")
        .unwrap();
    let side = Side::new(100_000, false, PLAIN, false, &set).await;
    assert_eq!(side.dial(address).until_closed().await.0, Parting::Hopeless);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_without_encryption_is_dialled_again() {
    let set = OptionSet::new();
    let dialling = Side::new(100_000, false, PLAIN, false, &set).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut hand = dialling.dial(address);
    // As an old client does with what it does not understand.
    drop(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap());
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    stream.write_all(&stranger(HASH).encode()).await.unwrap();
    match hand.next().await {
        PeerReport::Greeted(greeting) => assert_eq!(greeting.remote, stranger(HASH)),
        other => panic!("{other:?}"),
    }
    let forced = Side::new(100_000, false, FORCED, false, &set).await;
    let hand = forced.dial(address);
    drop(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap());
    assert_eq!(hand.until_closed().await.0, Parting::Failed);
}

fn stranger(info_hash: InfoHash) -> Handshake {
    Handshake {
        info_hash,
        peer_id: PeerId([b's'; 20]),
        fast: true,
        extended: true,
        dht: false,
    }
}

/// Somebody who says this after his handshake, and then hangs up.
async fn heckle(side: &mut Side, info_hash: InfoHash, words: &[u8]) -> Option<Hand> {
    let mut stream = TcpStream::connect(side.address(false)).await.unwrap();
    let _ = stream.write_all(&stranger(info_hash).encode()).await;
    let _ = stream.write_all(words).await;
    if info_hash != HASH {
        let mut rest = Vec::new();
        let gone = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(gone.is_ok() && rest.is_empty());
        return None;
    }
    let hand = side.accept().await;
    let _ = stream.shutdown().await;
    Some(hand)
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_turned_away_and_nonsense_ends_a_connection() {
    let set = OptionSet::new();
    let mut side = Side::new(100_000, true, PLAIN, false, &set).await;
    assert!(heckle(&mut side, InfoHash([1; 20]), b"").await.is_none());
    for (words, parting) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Parting::Hopeless),
        // A request for a piece that does not exist, and one of a bitfield that is too long.
        (
            b"\0\0\0\x0d\x06\0\0\xff\0\0\0\0\0\0\0\x40\0",
            Parting::Hopeless,
        ),
        (b"\0\0\0\x05\x05\xff\xff\xff\xff", Parting::Hopeless),
        (b"\0\0\0\0", Parting::Lost),
        (b"\0\0\x40\x09\x07\0\0", Parting::Lost),
    ] {
        let hand = heckle(&mut side, HASH, words).await.unwrap();
        assert_eq!(hand.until_closed().await.0, parting, "{words:?}");
    }
    let forced = CryptoPolicy::new(false, CryptoLevel::Plain, true);
    let _member = side.net.join(HASH, forced);
    let mut stream = TcpStream::connect(side.address(false)).await.unwrap();
    let _ = stream.write_all(&stranger(HASH).encode()).await;
    let gone = timeout(PATIENCE, stream.read_u8()).await.unwrap();
    assert!(gone.is_err(), "plain where encryption is required");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_served_without_the_transfer() {
    let set = OptionSet::new();
    let mut seed = Side::new(100_000, true, PLAIN, false, &set).await;
    let leech = Side::new(100_000, false, PLAIN, false, &set).await;
    let mut asking = leech.dial(seed.address(false));
    let answering = seed.accept().await;
    let mut got = Vec::new();
    while got.len() < 40_000 {
        match asking.next().await {
            PeerReport::Extensions(said) => {
                assert_eq!(said.metadata_size, Some(40_000));
                assert_eq!(said.port, seed.net.listen_port());
                assert_eq!(said.upload_only, Some(true));
                for part in 0..3 {
                    let message = MetadataMessage::Request { part };
                    asking.order(PeerOrder::Metadata(message.encode()));
                }
            }
            PeerReport::Metadata(payload) => match MetadataMessage::decode(&payload) {
                Some(MetadataMessage::Data { data, .. }) => got.extend_from_slice(&data),
                other => panic!("{other:?}"),
            },
            PeerReport::Closed(_, failure) => panic!("{failure}"),
            _ => {}
        }
    }
    assert_eq!(got, truth(40_000));
    drop(asking);
    answering.until_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_a_piece_nobody_works_on_is_not_told_as_kept() {
    let set = OptionSet::new();
    let mut seed = Side::new(100_000, true, PLAIN, false, &set).await;
    let leech = Side::new(100_000, false, PLAIN, false, &set).await;
    let mut asking = leech.dial(seed.address(false));
    let answering = tokio::spawn(seed.accept().await.seed());
    let block = Block::new(0, 0, BLOCK_LEN);
    asking.order(PeerOrder::Interested(true));
    loop {
        match asking.next().await {
            PeerReport::Window(_) => asking.order(PeerOrder::Request(vec![block])),
            PeerReport::Released(blocks) => break assert_eq!(blocks, [block]),
            report @ (PeerReport::Took(_) | PeerReport::Closed(..)) => panic!("{report:?}"),
            _ => {}
        }
    }
    drop(asking);
    assert_eq!(answering.await.unwrap().0, u64::from(BLOCK_LEN));
}

/// Somebody who talks without end does not fill the queue of reports that nobody takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_talk_is_read_slowly() {
    let set = OptionSet::new();
    let mut side = Side::new(100_000, true, PLAIN, false, &set).await;
    let mut stream = TcpStream::connect(side.address(false)).await.unwrap();
    let mut words = BytesMut::new();
    for _ in 0..500_000 {
        Message::Interested.encode(&mut words);
        Message::NotInterested.encode(&mut words);
    }
    stream.write_all(&stranger(HASH).encode()).await.unwrap();
    let hand = side.accept().await;
    let began = Instant::now();
    let _ = timeout(Duration::from_secs(2), stream.write_all(&words)).await;
    let told = hand.reports.len();
    let most = 20_000 + began.elapsed().as_millis() as usize * 10;
    assert!(
        told > 0 && told <= most,
        "{told} told in {:?}",
        began.elapsed()
    );
    drop(hand.orders);
    timeout(PATIENCE, hand.task).await.unwrap().unwrap();
}

/// Somebody who asks for all there is and reads nothing of it does not fill our memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_for_metadata_is_refused() {
    let set = OptionSet::new();
    let mut seed = Side::new(100_000, true, PLAIN, false, &set).await;
    let mut stream = TcpStream::connect(seed.address(false)).await.unwrap();
    let mut words = BytesMut::new();
    let mut say = |id, payload: Vec<u8>| {
        let payload = payload.into();
        Message::Extended { id, payload }.encode(&mut words);
    };
    say(0, b"d1:md11:ut_metadatai9eee".to_vec());
    let count = 4_000;
    for _ in 0..count {
        say(2, MetadataMessage::Request { part: 0 }.encode());
    }
    stream.write_all(&stranger(HASH).encode()).await.unwrap();
    let answering = seed.accept().await;
    stream.write_all(&words).await.unwrap();
    let (mut refused, mut given) = (0, 0);
    let mut input = BytesMut::new();
    timeout(PATIENCE, async {
        while input.len() < 68 {
            stream.read_buf(&mut input).await.unwrap();
        }
        let _ = input.split_to(68);
        while refused + given < count {
            match crate::bittorrent::wire::decode(&mut input).unwrap() {
                None => assert!(stream.read_buf(&mut input).await.unwrap() > 0),
                Some(Message::Extended { id: 9, payload }) => {
                    match MetadataMessage::decode(&payload) {
                        Some(MetadataMessage::Data { .. }) => given += 1,
                        _ => refused += 1,
                    }
                }
                Some(_) => {}
            }
        }
    })
    .await
    .unwrap();
    assert!(
        given >= 64 && refused > 0,
        "{given} given, {refused} refused"
    );
    drop(stream);
    answering.until_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_both_ways_and_blocks_that_will_not_come_are_released() {
    let set = OptionSet::new();
    let len = 400_000;
    let mut seed = Side::new(len, true, PLAIN, false, &set).await;
    let mut leech = Side::new(len, false, PLAIN, false, &set).await;
    leech.tree = LimitTree::new(Rate(300_000), Rate::UNLIMITED);
    let began = Instant::now();
    let mut fetching = leech.dial(seed.address(false));
    let seeding = tokio::spawn(seed.accept().await.seed());
    fetching.fetch(&leech).await;
    assert!(
        began.elapsed() > Duration::from_millis(700),
        "a limit of a second and more"
    );
    // The piece is there: a block of it is of no use and asked for all the same.
    fetching.order(PeerOrder::Request(blocks(leech.torrent.shape.unwrap())));
    drop(fetching.orders);
    let mut answered = 0;
    loop {
        let report = timeout(PATIENCE, fetching.reports.recv()).await.unwrap();
        match report.unwrap().1 {
            PeerReport::Released(blocks) | PeerReport::Took(blocks) => answered += blocks.len(),
            PeerReport::Closed(..) => break,
            _ => {}
        }
    }
    assert!(answered >= 25, "{answered}");
    seeding.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_peer_says_the_connection_ends_in_order() {
    let set = OptionSet::new();
    let mut side = Side::new(200_000, true, PLAIN, false, &set).await;
    let mut rng = Rng::seeded(7);
    for _ in 0..40 {
        let mut said: Vec<u8> = (0..rng.below(300)).map(|_| rng.below(22) as u8).collect();
        // Framed half of the time, so that it gets past the length.
        if said.len() > 6 && said[0].is_multiple_of(2) {
            let len = (said.len() - 4) as u32;
            said[..4].copy_from_slice(&len.to_be_bytes());
        }
        let hand = heckle(&mut side, HASH, &said).await.unwrap();
        hand.until_closed().await;
    }
    let mut head = BytesMut::new();
    Message::Interested.encode(&mut head);
    let hand = heckle(&mut side, HASH, &head).await.unwrap();
    assert_eq!(hand.until_closed().await.0, Parting::Lost);
}
