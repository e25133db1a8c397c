//! A running RPC server and calls to it.

#![allow(dead_code)] // every test binary uses another part

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::program::{PATIENCE, free_port, kill, wait_for};

/// A running RPC server; it is killed with this value.
pub struct Server {
    pub child: Child,
    pub port: u16,
    /// What it says on standard output once it listens.
    says: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts `command` as an RPC server and waits until it says that it listens.
    pub fn start(mut command: Command, args: &[&str]) -> Server {
        let port = free_port();
        Self::start_at(port, &mut command, args)
    }

    pub fn start_at(port: u16, command: &mut Command, args: &[&str]) -> Server {
        let mut child = command
            .args(["--enable-rpc", "--no-conf"])
            .arg(format!("--rpc-listen-port={port}"))
            .args(args)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut seen = String::new();
        loop {
            let from = seen.len();
            let len = lines.read_line(&mut seen).unwrap();
            assert!(len > 0, "ended without listening: {seen}");
            if seen[from..].contains("istening on") {
                break;
            }
        }
        // Somebody has to read on, or the program would find its pipe full.
        let says = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What can be read of it is enough.
            let _ = lines.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Server {
            child,
            port,
            says: Some(says),
        }
    }

    /// The result of a call that must succeed.
    pub fn call(&self, method: &str, params: Value) -> Value {
        let mut answer = ask(self.port, method, params).unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Calls `tellStatus` until `key` has one of `values`.
    pub fn wait_for_status(&self, gid: &str, key: &str, values: &[&str]) -> Value {
        wait_for(&format!("{gid}: {key} one of {values:?}"), || {
            let status = self.call("aria2.tellStatus", json!([gid]));
            values
                .contains(&status[key].as_str().unwrap_or_default())
                .then_some(status)
        })
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it by signal and gives its exit status.
    pub fn stop(self) -> i32 {
        self.stop_and_listen().0
    }

    /// As [`Self::stop`], and what it has said on standard output.
    pub fn stop_and_listen(mut self) -> (i32, String) {
        kill(&self.child, "TERM");
        let status = self.child.wait().unwrap().code().unwrap();
        let says = self.says.take().unwrap();
        (status, says.join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A JSON-RPC call over a connection of its own; gives the whole answer.
pub fn ask(port: u16, method: &str, params: Value) -> io::Result<Value> {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let body = call.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST /jsonrpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}
