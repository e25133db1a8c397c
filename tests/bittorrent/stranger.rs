//! A peer of a few bytes: it dials, says hello and listens.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::program::{PATIENCE, wait_for};
use crate::rig::unhex;

/// A connection without encryption.
pub struct Stranger {
    socket: TcpStream,
    /// All that the other end has said.
    pub said: Vec<u8>,
}

impl Stranger {
    /// Says hello at this port of the machine, with an extended handshake that says nothing, as
    /// `peer_id`.
    pub fn dial(port: u16, info_hash: &str, peer_id: [u8; 20]) -> Self {
        Self::try_dial(port, info_hash, peer_id).unwrap()
    }

    fn try_dial(port: u16, info_hash: &str, peer_id: [u8; 20]) -> io::Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
        hello.extend(unhex(info_hash));
        hello.extend(peer_id);
        hello.extend(b"\0\0\0\x04\x14\x00de");
        // Whoever does not want us may have hung up by now.
        let _ = socket.write_all(&hello);
        Ok(Self {
            socket,
            said: Vec::new(),
        })
    }

    /// Dials until somebody answers.
    pub fn meet(port: u16, info_hash: &str, peer_id: [u8; 20]) -> Self {
        wait_for("an answer", || {
            let mut stranger = Self::try_dial(port, info_hash, peer_id).ok()?;
            stranger.hears(b"BitTorrent protocol").then_some(stranger)
        })
    }

    /// Says that it is still there, if anybody listens.
    pub fn keep_alive(&mut self) {
        let _ = self.socket.write_all(&[0; 4]);
    }

    /// Listens until `text` was said; false: the other end has hung up.
    pub fn hears(&mut self, text: &[u8]) -> bool {
        loop {
            if self.said.windows(text.len()).any(|part| part == text) {
                return true;
            }
            let mut part = [0; 1024];
            match self.socket.read(&mut part) {
                Ok(0) => return false,
                Ok(count) => self.said.extend(&part[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("silent: {:?}", String::from_utf8_lossy(&self.said))
                }
                Err(_) => return false,
            }
        }
    }
}
