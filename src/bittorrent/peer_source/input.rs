//! The bytes that come from a peer, decrypted, until they are whole messages. Blocks are not copied.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, BytesMut};
use tokio::io::AsyncReadExt as _;

use crate::bittorrent::buffers::Buffers;
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
    /// What a peer that sends fast is read into.
    buffers: Option<Arc<Buffers>>,
    /// `bytes` is one of `buffers`.
    lent: bool,
}

impl Input {
    /// `bytes` came already, decrypted.
    pub fn new(bytes: BytesMut, decrypt: Cipher, buffers: Option<Arc<Buffers>>) -> Self {
        Self {
            decrypt,
            bytes,
            read_len: READ_LEN_MIN,
            buffers,
            lent: false,
        }
    }

    /// Reads what is there, at most `len_max` bytes; 0: the peer hung up.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut dyn Stream,
        len_max: usize,
    ) -> Poll<std::io::Result<usize>> {
        if self.bytes.capacity() - self.bytes.len() < READ_LEN_MIN {
            self.make_room();
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

    fn make_room(&mut self) {
        let fast = self.buffers.as_ref().filter(|buffers| {
            // A message longer than a buffer has one of its own.
            self.read_len >= READ_LEN_MAX && self.bytes.len() <= buffers.len() / 2
        });
        let Some(buffers) = fast else {
            self.lent = false;
            return self.bytes.reserve(self.read_len);
        };
        let mut next = buffers.take();
        next.extend_from_slice(&self.bytes);
        let full = std::mem::replace(&mut self.bytes, next);
        if std::mem::replace(&mut self.lent, true) {
            buffers.give_back(full);
        }
    }

    /// Takes the next whole message off; `None`: more has to come.
    ///
    /// # Errors
    /// The peer is not understood.
    pub fn decode(&mut self) -> Result<Option<Message>, WireError> {
        wire::decode(&mut self.bytes)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let (true, Some(buffers)) = (self.lent, &self.buffers) {
            buffers.give_back(std::mem::take(&mut self.bytes));
        }
    }
}
