//! The program as a server, and somebody to download from.

use std::ffi::OsStr;

use arioso::Gid;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::program::{Home, free_port};
use crate::rig::{Node, Torrent};
use crate::server::{Server, ask};

/// The program as a server that finds peers by trackers and links alone.
pub struct Program {
    pub home: Home,
    pub server: Server,
    /// Where peers reach it.
    pub port: u16,
}

impl Program {
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(Home::new(), &[], args)
    }

    /// In a home that is there already, with more in its environment.
    pub fn start_in(home: Home, environment: &[(&str, &OsStr)], args: &[&str]) -> Self {
        let port = free_port();
        let listen = format!("--listen-port={port}");
        let common = [
            "--state-dir=",
            "--enable-dht=false",
            "--bt-enable-lpd=false",
            "--file-allocation=none",
            "--seed-time=0",
            &listen,
        ];
        let mut command = home.arioso();
        command.envs(environment.iter().copied());
        let server = Server::start(command, &[&common, args].concat());
        Self { home, server, port }
    }

    pub fn add(&self, torrent: &Torrent, options: Value) -> String {
        let file = base64::engine::general_purpose::STANDARD.encode(&torrent.file);
        let gid = self
            .server
            .call("aria2.addTorrent", json!([file, [], options]));
        gid.as_str().unwrap().to_owned()
    }

    /// Adds a link and waits for the torrent that comes of it.
    pub fn follow(&self, link: &str, options: Value) -> String {
        let gid = self.server.call("aria2.addUri", json!([[link], options]));
        let parent = self.until(gid.as_str().unwrap(), "status", "complete");
        parent["followedBy"][0].as_str().unwrap().to_owned()
    }

    pub fn until(&self, gid: &str, key: &str, value: &str) -> Value {
        self.server.wait_for_status(gid, key, &[value])
    }

    /// Waits until it is complete, and compares the files.
    pub fn finish(&self, gid: &str, torrent: &Torrent) -> Value {
        let status = self.until(gid, "status", "complete");
        torrent.check_files(&self.home.path("dl"));
        status
    }

    /// The error of a call that must fail.
    pub fn refusal(&self, method: &str, params: Value) -> Value {
        let mut answer = ask(self.server.port, method, params).unwrap();
        assert!(answer.get("result").is_none(), "{answer}");
        answer["error"].take()
    }
}

/// Somebody who has it all.
pub struct Seed {
    pub node: Node,
    pub gid: Gid,
}

impl Seed {
    pub fn start(torrent: &Torrent) -> Self {
        let node = Node::start(&[]);
        let gid = node.seed(torrent, &[]);
        Self { node, gid }
    }

    /// A link that leads to it.
    pub fn link(&self, torrent: &Torrent) -> String {
        torrent.magnet(&format!("&x.pe=127.0.0.1:{}", self.node.port))
    }

    /// Bytes that others got.
    pub fn given(&self) -> u64 {
        self.node.uploaded(self.gid)
    }
}
