//! What the options of encryption make of the bytes between two peers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arioso::AddRequest;

use crate::origin::pattern;
use crate::program::wait_for;
use crate::rig::{LEN, Node, Torrent, id};
use crate::stranger::Stranger;

/// The way to a peer on which everything is written down that passes.
struct Tap {
    port: u16,
    passed: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Self {
            port: listener.local_addr().unwrap().port(),
            passed: Arc::default(),
        };
        let passed = tap.passed.clone();
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let passed = passed.clone();
                    std::thread::spawn(move || drop(carry(from, to, &passed)));
                }
            }
        });
        tap
    }

    /// Whether these bytes have passed as they are.
    fn saw(&self, bytes: &[u8]) -> bool {
        let passed = self.passed.lock().unwrap();
        passed.windows(bytes.len()).any(|part| part == bytes)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, passed: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut part = [0; 65_536];
    loop {
        let count = from.read(&mut part)?;
        if count == 0 {
            return to.shutdown(std::net::Shutdown::Write);
        }
        passed.lock().unwrap().extend(&part[..count]);
        to.write_all(&part[..count])?;
    }
}

const REQUIRE: (&str, &str) = ("bt-require-crypto", "true");
const FORCE: (&str, &str) = ("bt-force-encryption", "true");
const ARC4: (&str, &str) = ("bt-min-crypto-level", "arc4");

#[test]
fn the_stricter_side_decides_what_is_encrypted() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    let payload = &torrent.files[0].1[1000..1064];
    for (theirs, ours, is_plain) in [
        (&[][..], &[][..], true),
        (&[REQUIRE], &[], true),
        (&[], &[REQUIRE], true),
        (&[ARC4], &[], false),
        (&[], &[ARC4], false),
        (&[FORCE], &[], false),
        (&[], &[FORCE], false),
    ] {
        let seed = Node::start(&[]);
        seed.seed(&torrent, theirs);
        let tap = Tap::to(seed.port);
        let node = Node::start(&[("seed-time", "0")]);
        let link = torrent.magnet(&format!("&x.pe=127.0.0.1:{}", tap.port));
        let mut request = AddRequest::uris([link]);
        for (name, value) in ours {
            request = request.with(id(name), *value);
        }
        let parent = node.add(request);
        node.until_complete(parent);
        let child = node
            .handle
            .read(|registry| registry.get(parent).unwrap().followed_by()[0]);
        node.until_complete(child);
        torrent.check_files(&node.files());
        assert_eq!(tap.saw(payload), is_plain, "{theirs:?} {ours:?}");
    }
}

#[test]
fn who_insists_on_encryption_hangs_up_on_a_plain_hello() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    for (options, answers) in [
        (&[][..], true),
        (&[ARC4], true),
        (&[REQUIRE], false),
        (&[FORCE], false),
    ] {
        let node = Node::start(&[]);
        node.seed(&torrent, options);
        let mut stranger = Stranger::dial(node.port, &torrent.info_hash, *b"-TT0000-abcdefghijkl");
        assert_eq!(
            stranger.hears(b"BitTorrent protocol"),
            answers,
            "{options:?}"
        );
    }
}

#[test]
fn who_insists_on_encryption_never_dials_without_it() {
    let torrent = Torrent::new("data.bin", &[("", pattern(LEN))], &[], &[]);
    for (options, tries_plain) in [(&[][..], true), (&[REQUIRE], false), (&[FORCE], false)] {
        // Somebody who hangs up on everybody.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        std::thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                let mut hello = [0; 20];
                if client.read_exact(&mut hello).is_ok() {
                    let is_plain = hello.starts_with(b"\x13BitTorrent protocol");
                    hears.lock().unwrap().push(is_plain);
                }
            }
        });
        let node = Node::start(&[("bt-utp", "false")]);
        let link = torrent.magnet(&format!("&x.pe=127.0.0.1:{port}"));
        let mut request = AddRequest::uris([link]);
        for (name, value) in options {
            request = request.with(id(name), *value);
        }
        node.add(request);
        wait_for("as many dials as there are to be", || {
            let count = heard.lock().unwrap().len();
            (count > usize::from(tries_plain)).then_some(())
        });
        // The second would follow at once.
        std::thread::sleep(Duration::from_millis(300));
        let heard = heard.lock().unwrap();
        assert!(!heard[0], "{heard:?}");
        assert_eq!(heard.contains(&true), tries_plain, "{options:?}");
    }
}
