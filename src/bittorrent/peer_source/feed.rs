//! What a peer has asked for: from memory, or read from the disk a batch at a time on a blocking
//! thread, then paid for block by block.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::{JoinError, JoinHandle};

use crate::base::error::{ErrorCode, Failure};
use crate::bittorrent::assembler::Assembler;
use crate::bittorrent::peer::Peer;
use crate::bittorrent::wire::Block;
use crate::limit::LimitLeaf;

/// Blocks read at once.
const BATCH_COUNT_MAX: usize = 32;
/// Bytes read or queued ahead of the peer.
const AHEAD_LEN_MAX: usize = 1 << 20;

type Batch = Vec<(Block, Result<Bytes, Failure>)>;

/// What has become of a block.
pub enum Fed {
    /// To be sent now.
    Block(Block, Bytes),
    /// The disk failed.
    Failed(Block, Failure),
}

pub struct Feed {
    limit: LimitLeaf,
    reading: Option<JoinHandle<Batch>>,
    /// Of the batch that is being read.
    reading_len: usize,
    ready: VecDeque<(Block, Result<Bytes, Failure>)>,
    ready_len: usize,
    /// For the first of `ready`.
    paying: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Feed {
    pub fn new(limit: LimitLeaf) -> Self {
        Self {
            limit,
            reading: None,
            reading_len: 0,
            ready: VecDeque::new(),
            ready_len: 0,
            paying: None,
        }
    }

    /// Begins to read what the peer asks for next, unless enough is under way: `ahead` bytes wait to
    /// be written. What is not had is refused.
    pub fn start(&mut self, peer: &mut Peer, assembler: &Arc<Assembler>, ahead: usize) {
        if self.reading.is_some() {
            return;
        }
        let mut blocks = Vec::new();
        let mut len = ahead + self.ready_len;
        while len < AHEAD_LEN_MAX && blocks.len() < BATCH_COUNT_MAX {
            let Some(block) = peer.poll_asked() else {
                break;
            };
            if !assembler.has(block.piece) {
                peer.refuse(block);
                continue;
            }
            len += block.len as usize;
            match assembler.read_cached(block).filter(|_| blocks.is_empty()) {
                Some(data) => {
                    self.ready_len += block.len as usize;
                    self.ready.push_back((block, Ok(data)));
                }
                None => blocks.push(block),
            }
        }
        if blocks.is_empty() {
            return;
        }
        self.reading_len = blocks.iter().map(|block| block.len as usize).sum();
        let assembler = assembler.clone();
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let read = |block| (block, assembler.read(block));
            blocks.into_iter().map(read).collect()
        }));
    }

    /// All that is read and paid for by now.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Fed>> {
        let mut fed = Vec::new();
        loop {
            while self.poll_paid(cx).is_ready()
                && let Some((block, data)) = self.ready.pop_front()
            {
                self.ready_len -= block.len as usize;
                fed.push(match data {
                    Ok(data) => Fed::Block(block, data),
                    Err(failure) => Fed::Failed(block, failure),
                });
            }
            match self.poll_batch(cx) {
                Poll::Ready(Ok(batch)) => {
                    self.ready_len += self.reading_len;
                    self.ready.extend(batch);
                }
                Poll::Ready(Err(error)) => {
                    let why = format!("reading for a peer ended: {error}");
                    let failure = Failure::fatal(ErrorCode::FileIo, why);
                    fed.push(Fed::Failed(Block::new(0, 0, 0), failure));
                }
                Poll::Pending if fed.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(fed),
            }
        }
    }

    /// Whether the first of `ready` may be sent now.
    fn poll_paid(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((block, _)) = self.ready.front() else {
            return Poll::Pending;
        };
        let (len, limit) = (block.len as usize, &self.limit);
        let paying = self.paying.get_or_insert_with(|| {
            let limit = limit.clone();
            Box::pin(async move { limit.pay_up(len).await })
        });
        ready!(paying.as_mut().poll(cx));
        self.paying = None;
        Poll::Ready(())
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Result<Batch, JoinError>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Pending;
        };
        let batch = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(batch)
    }
}
