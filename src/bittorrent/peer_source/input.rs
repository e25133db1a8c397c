//! The bytes that come from a peer, decrypted, until they are whole messages. Blocks are not copied.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, BytesMut};
use tokio::io::AsyncReadExt as _;

use crate::bittorrent::line::Stream;
use crate::bittorrent::mse::Cipher;
use crate::bittorrent::wire::{self, Message, WireError};

/// A read is offered no less room than this, and as much as [`READ_LEN_MAX`] while the peer fills it.
const READ_LEN_MIN: usize = 16 * 1024;
const READ_LEN_MAX: usize = 256 * 1024;

pub struct Input {
    decrypt: Cipher,
    bytes: BytesMut,
    /// Room offered to the next read.
    read_len: usize,
}

impl Input {
    /// `bytes` came already, decrypted.
    pub fn new(bytes: BytesMut, decrypt: Cipher) -> Self {
        Self {
            decrypt,
            bytes,
            read_len: READ_LEN_MIN,
        }
    }

    /// Reads what is there, at most `len_max` bytes; 0: the peer hung up.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut dyn Stream,
        len_max: usize,
    ) -> Poll<std::io::Result<usize>> {
        let spare = self.bytes.capacity() - self.bytes.len();
        if spare < READ_LEN_MIN {
            self.bytes.reserve(self.read_len);
        }
        let before = self.bytes.len();
        let mut room = (&mut self.bytes).limit(len_max.min(self.read_len));
        let count = ready!(pin!(stream.read_buf(&mut room)).poll(cx))?;
        self.decrypt.apply(&mut self.bytes[before..]);
        if count >= self.read_len / 2 {
            self.read_len = (self.read_len * 2).min(READ_LEN_MAX);
        }
        Poll::Ready(Ok(count))
    }

    /// Takes the next whole message off; `None`: more has to come.
    ///
    /// # Errors
    /// The peer is not understood.
    pub fn decode(&mut self) -> Result<Option<Message>, WireError> {
        wire::decode(&mut self.bytes)
    }
}
