//! Engines with ports of their own, torrents made on the spot, and a tracker that remembers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arioso::engine::Download;
use arioso::format::bencode::Writer;
use arioso::format::metainfo::Metainfo;
use arioso::{AddRequest, Engine, EngineConfig, EngineHandle, Gid, OptionSet};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use crate::origin::{Origin, Reply, Seen, pattern};
use crate::program::free_port;

/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

pub const PIECE_LEN: usize = 64 * 1024;

/// Of a file that most tests have in common.
pub const LEN: usize = 40 * PIECE_LEN - 1234;

/// A torrent of one file, which a tracker knows of.
pub fn one_file() -> (Tracker, Torrent) {
    let tracker = Tracker::start();
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[tracker.uri()], &[]);
    (tracker, torrent)
}

/// It ends when it is complete.
pub fn leech(torrent: &Torrent) -> AddRequest {
    AddRequest::torrent(torrent.file.clone()).with(id("seed-time"), "0")
}

/// An engine with a directory of its own.
pub struct Node {
    pub engine: Engine,
    pub handle: EngineHandle,
    pub dir: Arc<TempDir>,
    pub port: u16,
}

impl Node {
    /// An engine that finds peers by trackers and magnet links alone.
    pub fn start(options: &[(&str, &str)]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), options)
    }

    pub fn start_in(dir: Arc<TempDir>, options: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut set = OptionSet::new();
        let files = dir.path().join("files");
        std::fs::create_dir_all(&files).unwrap();
        let (files, listen) = (files.to_string_lossy(), port.to_string());
        let nodes = dir.path().join("dht.dat").display().to_string();
        let own = [
            ("dir", files.as_ref()),
            ("listen-port", &listen),
            ("enable-dht", "false"),
            ("dht-file-path", &nodes),
            ("seed-ratio", "0"),
            ("file-allocation", "none"),
        ];
        for (name, value) in own.iter().chain(options) {
            set.set_text(arioso::option::find(name).unwrap(), value)
                .unwrap();
        }
        let engine = Engine::start(EngineConfig {
            options: set,
            state_dir: Some(dir.path().join("state")),
        })
        .unwrap();
        Self {
            handle: engine.handle(),
            engine,
            dir,
            port,
        }
    }

    pub fn files(&self) -> std::path::PathBuf {
        self.dir.path().join("files")
    }

    pub fn add(&self, request: AddRequest) -> Gid {
        self.engine
            .block_on(self.handle.add(request, None))
            .unwrap()[0]
    }

    /// Adds a torrent whose files are there, and waits until it is given.
    pub fn seed(&self, torrent: &Torrent, options: &[(&str, &str)]) -> Gid {
        torrent.write_files(&self.files());
        let mut request =
            AddRequest::torrent(torrent.file.clone()).with(id("check-integrity"), "true");
        for (name, value) in options {
            request = request.with(id(name), *value);
        }
        let gid = self.add(request);
        self.wait(gid, "seeding", Download::is_seeding);
        gid
    }

    /// Waits until it is so.
    pub fn wait(&self, gid: Gid, what: &str, is: impl Fn(&Download) -> bool) {
        let begin = Instant::now();
        loop {
            let seen = self.handle.read(|registry| {
                let download = registry.get(gid);
                (download.is_some_and(&is), download.map(describe))
            });
            if seen.0 {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "not {what}: {:?}", seen.1);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn until_complete(&self, gid: Gid) {
        self.wait(gid, "complete", |download| {
            assert!(
                download.error().is_none_or(|error| error.0.code() == 0),
                "{}",
                describe(download)
            );
            download.status() == "complete"
        });
    }

    pub fn uploaded(&self, gid: Gid) -> u64 {
        self.handle.snapshot(gid).unwrap().uploaded_len
    }

    /// Ends it in order.
    pub fn stop(self) -> Arc<TempDir> {
        self.engine
            .block_on(async { self.handle.shutdown(false).await.unwrap() });
        self.engine.block_on(self.handle.ended());
        self.dir
    }
}

fn describe(download: &Download) -> String {
    format!(
        "{} {:?} {}/{} up {} peers {} error {:?}",
        download.status(),
        download.state(),
        download.completed_len(),
        download.total_len(),
        download.uploaded_len(),
        download.peers().len(),
        download.error(),
    )
}

pub fn id(name: &str) -> arioso::option::OptionId {
    arioso::option::find(name).unwrap()
}

/// A torrent and what it describes.
pub struct Torrent {
    pub file: Vec<u8>,
    pub info_hash: String,
    /// Paths below the download directory.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Torrent {
    /// Of one file, or of several in a directory `name`.
    pub fn new(
        name: &str,
        files: &[(&str, Vec<u8>)],
        trackers: &[String],
        seeds: &[String],
    ) -> Self {
        Self::with_info(name, files, trackers, seeds, &[])
    }

    /// With more in its info dictionary: keys and bencoded values, in place of its own if need be.
    pub fn with_info(
        name: &str,
        files: &[(&str, Vec<u8>)],
        trackers: &[String],
        seeds: &[String],
        more: &[(&str, Vec<u8>)],
    ) -> Self {
        let data: Vec<u8> = files.iter().flat_map(|(_, data)| data.clone()).collect();
        let pieces: Vec<u8> = data
            .chunks(PIECE_LEN)
            .flat_map(|piece| Sha1::digest(piece).to_vec())
            .collect();
        let mut entries = BTreeMap::from([
            ("name", bencode(|value| _ = value.bytes(name))),
            (
                "piece length",
                bencode(|value| _ = value.int(PIECE_LEN as i64)),
            ),
            ("pieces", bencode(|value| _ = value.bytes(&pieces))),
        ]);
        let (key, value) = match files {
            [(_, data)] => ("length", bencode(|value| _ = value.int(data.len() as i64))),
            _ => (
                "files",
                bencode(|value| _ = value.list(|list| file_list(list, files))),
            ),
        };
        entries.insert(key, value);
        entries.extend(more.iter().cloned());
        let info = bencode(|info| {
            info.dict(|dict| {
                for (key, value) in &entries {
                    dict.bytes(key).raw(value);
                }
            });
        });
        let tiers: Vec<Vec<String>> = trackers.iter().map(|uri| vec![uri.clone()]).collect();
        let mut file = Metainfo::encode(&info, &tiers);
        if !seeds.is_empty() {
            // Keys are in order: `url-list` comes last.
            file.pop();
            file.extend_from_slice(b"8:url-list");
            file.extend(bencode(|value| {
                value.list(|list| seeds.iter().for_each(|seed| _ = list.bytes(seed)));
            }));
            file.push(b'e');
        }
        // An empty name at the end of a path is none.
        let named = |path: &str| match files.len() {
            1 => name.to_owned(),
            _ => format!("{name}/{}", path.trim_end_matches('/')),
        };
        Self {
            file,
            info_hash: hex(&Sha1::digest(&info)),
            files: files
                .iter()
                .map(|(path, data)| (named(path), data.clone()))
                .collect(),
        }
    }

    /// A link to it, and what else it says.
    pub fn magnet(&self, more: &str) -> String {
        format!("magnet:?xt=urn:btih:{}{more}", self.info_hash)
    }

    pub fn len(&self) -> u64 {
        self.files.iter().map(|(_, data)| data.len() as u64).sum()
    }

    pub fn write_files(&self, dir: &Path) {
        for (path, data) in &self.files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, data).unwrap();
        }
    }

    /// Whether all files are right.
    pub fn check_files(&self, dir: &Path) {
        for (path, data) in &self.files {
            let found = std::fs::read(dir.join(path)).unwrap();
            assert!(found == *data, "{path} differs");
        }
    }
}

pub fn bencode(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.finish()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn file_list(list: &mut Writer, files: &[(&str, Vec<u8>)]) {
    for (path, data) in files {
        list.dict(|file| {
            file.bytes("length").int(data.len() as i64);
            file.bytes("path")
                .list(|names| path.split('/').for_each(|name| _ = names.bytes(name)));
        });
    }
}

/// A tracker that names everybody who announced, and keeps what it was asked.
pub struct Tracker {
    origin: Origin,
}

impl Tracker {
    pub fn start() -> Self {
        let swarms: Mutex<BTreeMap<String, BTreeMap<String, u16>>> = Mutex::default();
        let origin = Origin::start(move |seen| {
            let Some(info_hash) = query(seen, "info_hash") else {
                return Reply::status("400 What");
            };
            let peer = query(seen, "peer_id").unwrap_or_default();
            let port = query(seen, "port").and_then(|port| port.parse().ok());
            let mut swarms = swarms.lock().unwrap();
            let swarm = swarms.entry(info_hash).or_default();
            match query(seen, "event").as_deref() {
                Some("stopped") => _ = swarm.remove(&peer),
                _ => _ = port.map(|port| swarm.insert(peer, port)),
            }
            let mut peers = Vec::new();
            for port in swarm.values() {
                peers.extend_from_slice(&[127, 0, 0, 1]);
                peers.extend_from_slice(&port.to_be_bytes());
            }
            let mut answer = Writer::new();
            answer.dict(|dict| {
                dict.bytes("interval").int(1800);
                dict.bytes("min interval").int(1);
                dict.bytes("peers").bytes(&peers);
            });
            let body = answer.finish();
            let len = format!("Content-Length: {}", body.len());
            Reply::new("200 OK", &[&len], &body)
        });
        Self { origin }
    }

    pub fn uri(&self) -> String {
        self.origin.url("/announce")
    }

    pub fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// What was asked about a torrent (its info hash in hex).
    pub fn announces(&self, info_hash: &str) -> Vec<Seen> {
        let is_it = |seen: &Seen| {
            let hash = query(seen, "info_hash").unwrap_or_default();
            let bytes = percent_encoding::percent_decode_str(&hash);
            hex(&bytes.collect::<Vec<_>>()) == info_hash
        };
        let seen = self.origin.seen();
        seen.into_iter().filter(is_it).collect()
    }

    /// Whether somebody with this port has come.
    pub fn knows(&self, port: u16) -> bool {
        self.events().iter().any(|(known, _)| *known == port)
    }

    /// The events that were told, with the port of whom.
    pub fn events(&self) -> Vec<(u16, String)> {
        let seen = self.origin.seen();
        seen.iter()
            .filter_map(|seen| {
                let port = query(seen, "port")?.parse().ok()?;
                Some((port, query(seen, "event")?))
            })
            .collect()
    }
}

/// A value of a request's query, as it was sent.
pub fn query(seen: &Seen, key: &str) -> Option<String> {
    let (_, query) = seen.path.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(name, _)| *name == key)?.1;
    Some(value.to_owned())
}
