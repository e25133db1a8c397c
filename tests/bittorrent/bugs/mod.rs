//! Behaviours that aria2's users have asked for (known-bugs 43 and 58 to 68), each by its number and
//! through the whole chain: calls or a command line into the program, bytes and status out.

mod contents;
mod links;
mod metalinks;
mod seeding;

use arioso::Gid;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::program::{Home, free_port};
use crate::rig::{Node, Torrent};
use crate::server::{Server, ask};

/// The program as a server that finds peers by trackers and links alone.
struct Program {
    home: Home,
    server: Server,
}

impl Program {
    fn start(args: &[&str]) -> Self {
        let home = Home::new();
        let listen = format!("--listen-port={}", free_port());
        let common = [
            "--state-dir=",
            "--enable-dht=false",
            "--bt-enable-lpd=false",
            "--file-allocation=none",
            "--seed-time=0",
            &listen,
        ];
        let server = Server::start(home.arioso(), &[&common, args].concat());
        Self { home, server }
    }

    fn add(&self, torrent: &Torrent, options: Value) -> String {
        let file = base64::engine::general_purpose::STANDARD.encode(&torrent.file);
        let gid = self
            .server
            .call("aria2.addTorrent", json!([file, [], options]));
        gid.as_str().unwrap().to_owned()
    }

    /// Adds a link and waits for the torrent that comes of it.
    fn follow(&self, link: &str, options: Value) -> String {
        let gid = self.server.call("aria2.addUri", json!([[link], options]));
        let parent = self.until(gid.as_str().unwrap(), "status", "complete");
        parent["followedBy"][0].as_str().unwrap().to_owned()
    }

    fn until(&self, gid: &str, key: &str, value: &str) -> Value {
        self.server.wait_for_status(gid, key, &[value])
    }

    /// Waits until it is complete, and compares the files.
    fn finish(&self, gid: &str, torrent: &Torrent) -> Value {
        let status = self.until(gid, "status", "complete");
        torrent.check_files(&self.home.path("dl"));
        status
    }

    /// The error of a call that must fail.
    fn refusal(&self, method: &str, params: Value) -> Value {
        let mut answer = ask(self.server.port, method, params).unwrap();
        assert!(answer.get("result").is_none(), "{answer}");
        answer["error"].take()
    }
}

/// Somebody who has it all.
struct Seed {
    node: Node,
    gid: Gid,
}

impl Seed {
    fn start(torrent: &Torrent) -> Self {
        let node = Node::start(&[]);
        let gid = node.seed(torrent, &[]);
        Self { node, gid }
    }

    /// A link that leads to it.
    fn link(&self, torrent: &Torrent) -> String {
        torrent.magnet(&format!("&x.pe=127.0.0.1:{}", self.node.port))
    }

    /// Bytes that others got.
    fn given(&self) -> u64 {
        self.node.uploaded(self.gid)
    }
}
