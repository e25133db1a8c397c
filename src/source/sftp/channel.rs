//! The channel to a server's SFTP, whose end fails every request. The library alone would let those
//! wait for their time limit that are sent just as the channel ends.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use russh::ChannelStream;
use russh::client::Msg;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

pub struct Sftp {
    requests: RawSftpSession,
    /// Ends with the channel.
    alive: watch::Receiver<()>,
}

impl Sftp {
    /// Speaks SFTP on a channel that was opened for it.
    ///
    /// # Errors
    /// The server does not.
    pub async fn begin(stream: ChannelStream<Msg>, patience: Duration) -> Result<Self, Error> {
        let (tie, alive) = watch::channel(());
        let requests = RawSftpSession::new(Tied { stream, _tie: tie });
        requests.set_timeout(patience.as_secs().max(1));
        let sftp = Self { requests, alive };
        sftp.ask(|requests| requests.init()).await?;
        Ok(sftp)
    }

    /// Sends a request and waits for its answer.
    pub async fn ask<'a, T, F>(
        &'a self,
        request: impl FnOnce(&'a RawSftpSession) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut alive = self.alive.clone();
        tokio::select! {
            biased;
            answer = request(&self.requests) => answer,
            _ = alive.changed() => Err(Error::UnexpectedBehavior("the channel has ended".to_owned())),
        }
    }
}

/// A stream whose end, when the library drops it, is seen.
struct Tied {
    stream: ChannelStream<Msg>,
    _tie: watch::Sender<()>,
}

impl AsyncRead for Tied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tied {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
