//! Memory for requests that are still coming in, shared by all connections.
//!
//! Each request has a limit of its own (`rpc-max-request-size`), but two thousand connections that
//! send nearly as much and stop would fill the memory all the same. So the bytes of all of them are
//! counted, and who would go beyond is told to come back later.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::warn;

/// What every request may have without being counted, so that small calls are always answered.
const FREE_LEN: u64 = 16 << 10;

/// The room of all connections.
pub struct RequestRoom {
    taken: AtomicU64,
    len: u64,
    told: AtomicBool,
}

/// There is no room for more of this request.
#[derive(Debug)]
pub struct NoRoom;

impl RequestRoom {
    /// Of so many bytes; two of the longest requests always find room.
    pub fn new(len: u64, request_len_max: u64) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicU64::new(0),
            len: len.max(request_len_max.saturating_mul(2)),
            told: AtomicBool::new(false),
        })
    }

    /// Room for one request, empty as yet.
    pub fn enter(self: &Arc<Self>) -> Held {
        Held {
            room: Arc::clone(self),
            received: AtomicU64::new(0),
        }
    }

    fn take(&self, len: u64) -> Result<(), NoRoom> {
        let fits = |taken: u64| taken.checked_add(len).filter(|&sum| sum <= self.len);
        let ordering = Ordering::Relaxed;
        let Err(_) = self.taken.fetch_update(ordering, ordering, fits) else {
            return Ok(());
        };
        if !self.told.swap(true, ordering) {
            warn!(
                limit = self.len,
                "RPC requests that are coming in fill their memory; more are refused for now"
            );
        }
        Err(NoRoom)
    }

    fn give_back(&self, len: u64) {
        let before = self.taken.fetch_sub(len, Ordering::Relaxed);
        if before - len < self.len / 2 {
            self.told.store(false, Ordering::Relaxed);
        }
    }
}

/// The room one request has taken; given back when it is dropped.
pub struct Held {
    room: Arc<RequestRoom>,
    received: AtomicU64,
}

impl Held {
    /// More bytes of the request have come.
    ///
    /// # Errors
    /// All the room is taken; the request keeps what it had.
    pub fn grow(&self, len: u64) -> Result<(), NoRoom> {
        let before = self.received.load(Ordering::Relaxed);
        let after = before.saturating_add(len);
        self.room.take(counted(after) - counted(before))?;
        self.received.store(after, Ordering::Relaxed);
        Ok(())
    }

    /// The request has been answered; the next one begins.
    pub fn clear(&self) {
        self.room
            .give_back(counted(self.received.swap(0, Ordering::Relaxed)));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

fn counted(received: u64) -> u64 {
    received.saturating_sub(FREE_LEN)
}

/// A stream whose read bytes are counted as those of one request, until that is cleared.
pub struct Counted<T> {
    inner: T,
    held: Arc<Held>,
}

impl<T> Counted<T> {
    pub fn new(inner: T, held: Arc<Held>) -> Self {
        Self { inner, held }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    /// # Errors
    /// `OutOfMemory` when there is no room for what was read.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        let counted = self.held.grow(read);
        Poll::Ready(counted.map_err(|NoRoom| io::ErrorKind::OutOfMemory.into()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_the_room_and_give_it_back() {
        let room = RequestRoom::new(64 << 20, 2 << 20);
        let held: Vec<_> = (0..32).map(|_| room.enter()).collect();
        for one in &held {
            one.grow(FREE_LEN + (2 << 20)).expect("room");
        }
        let late = room.enter();
        late.grow(FREE_LEN).expect("small ones are not counted");
        assert!(late.grow(1).is_err());
        held[0].clear();
        late.grow(1).expect("room again");
        drop((held, late));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_longest_request_always_fits_twice() {
        let room = RequestRoom::new(64 << 20, 1 << 30);
        let (one, other) = (room.enter(), room.enter());
        one.grow(1 << 30).expect("room");
        other.grow(1 << 30).expect("room");
        assert!(other.grow(FREE_LEN * 2 + 1).is_err());
    }
}
