//! A stream to a peer with what the encrypted handshake left behind: the ciphers of both directions
//! and the bytes that came early.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::mse::Cipher;

/// What peers can be talked to through: TCP, uTP, a pipe in tests.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection on which BitTorrent's own handshake is next.
pub struct Line {
    pub stream: Box<dyn Stream>,
    /// Came already, decrypted.
    pub input: BytesMut,
    pub encrypt: Cipher,
    pub decrypt: Cipher,
    pub utp: bool,
    /// The other end has said something.
    pub heard: bool,
}

impl Line {
    /// Nothing was said yet.
    pub fn plain(stream: Box<dyn Stream>, utp: bool) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            encrypt: Cipher::Plain,
            decrypt: Cipher::Plain,
            utp,
            heard: false,
        }
    }

    /// Reads until so many bytes are there.
    ///
    /// # Errors
    /// The stream failed or ended.
    pub async fn fill(&mut self, len: usize) -> std::io::Result<()> {
        while self.input.len() < len {
            let before = self.input.len();
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.heard = true;
            self.decrypt.apply(&mut self.input[before..]);
        }
        Ok(())
    }

    /// # Errors
    /// The stream failed.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut bytes = bytes.to_vec();
        self.encrypt.apply(&mut bytes);
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }
}
