//! The body of a response on its way to the disk: chunks as the socket gave them, uncopied, and
//! where they belong in the file.

use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use reqwest::Response;
use tokio::time::{Instant, timeout, timeout_at};

use super::fault;
use super::response::{Coding, Found};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::source::chunks::Chunks;
use crate::source::fault::{AT_ONCE, timed_out};

/// Bytes of a slow server wait no longer for company.
const GATHER_TIME_MAX: Duration = Duration::from_millis(250);
/// Reading the unwanted rest of a body must not cost more than a new connection.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(500);
/// A longer rest is thrown away with its connection.
pub const DRAIN_LEN_MAX: u64 = 64 * 1024;
/// So much is decoded at once: at deflate's best ratio of 1 : 1032 it becomes 4 MiB.
const DECODE_LEN: usize = 4 * 1024;

/// What a call of [`Body::gather`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gathered {
    /// There may be bytes to write, and more to come.
    More,
    /// No more will come than has been gathered.
    Ended,
    /// The transfer has hung up.
    Stopped,
}

/// An open body.
pub struct Body {
    response: Response,
    /// What has come of it, decoded, and is not written yet.
    pub chunks: Chunks,
    /// Where the body ends in the file; nothing past it is taken.
    end: Option<u64>,
    is_part: bool,
    decoder: Option<Decoder>,
    silent_since: Option<Instant>,
    ended: bool,
    /// An error that came after bytes which are to be written first.
    failure: Option<Failure>,
}

impl Body {
    /// The body of a response whose first byte is byte `position` of the file.
    pub fn new(response: Response, position: u64, found: &Found) -> Self {
        Self {
            response,
            chunks: Chunks::new(position),
            end: found.body_end,
            is_part: found.is_part,
            decoder: Decoder::new(found.coding),
            silent_since: None,
            ended: false,
            failure: None,
        }
    }

    /// Whether the file may go on behind it.
    pub fn is_part(&self) -> bool {
        self.is_part
    }

    /// Bytes that are not written yet, if that is known.
    pub fn rest(&self) -> Option<u64> {
        Some(self.end?.saturating_sub(self.chunks.position()))
    }

    /// False if the connection ended before the announced end.
    pub fn ended_where_it_should(&self) -> bool {
        self.end.is_none_or(|end| self.chunks.position() >= end)
    }

    /// Waits for bytes and gathers up to about `wanted` of them; returns early where the server
    /// is slow, or silent for `look_after`. May be dropped and called again without loss.
    ///
    /// # Errors
    /// A broken connection, or silence for longer than `silence_max`.
    pub async fn gather(
        &mut self,
        wanted: usize,
        look_after: Duration,
        silence_max: Duration,
    ) -> Result<Gathered, Failure> {
        let began = Instant::now();
        loop {
            if self.ended || self.is_complete() {
                return Ok(Gathered::Ended);
            }
            if self.chunks.len() >= wanted {
                return Ok(Gathered::More);
            }
            if let Some(failure) = self.failure.take_if(|_| self.chunks.is_empty()) {
                return Err(failure);
            }
            if self.failure.is_some() {
                return Ok(Gathered::More);
            }
            if self.decode()? {
                continue;
            }
            let deadline = match self.chunks.is_empty() {
                true => began + look_after.min(silence_max),
                false => began + GATHER_TIME_MAX,
            };
            match timeout_at(deadline, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.take(chunk),
                Ok(Ok(None)) => self.finish()?,
                Ok(Err(error)) => self.failure = Some(fault::failure_of(&error)),
                Err(_) if !self.chunks.is_empty() => return Ok(Gathered::More),
                Err(_) => {
                    let since = *self.silent_since.get_or_insert(began);
                    if since.elapsed() >= silence_max {
                        return Err(timed_out());
                    }
                    return Ok(Gathered::More);
                }
            }
        }
    }

    /// Reads a short rest, so that the connection can serve another request.
    pub async fn drain(&mut self) {
        drain_some(&mut self.response).await;
    }

    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.chunks.end() >= end)
    }

    fn take(&mut self, chunk: Bytes) {
        self.silent_since = None;
        match &mut self.decoder {
            Some(decoder) => decoder.input = chunk,
            None => self.push(chunk),
        }
    }

    fn push(&mut self, mut chunk: Bytes) {
        if let Some(end) = self.end {
            let room = end.saturating_sub(self.chunks.end());
            chunk.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
        self.chunks.push(chunk);
    }

    /// Decodes some of what was read; false if there is nothing to decode.
    fn decode(&mut self) -> Result<bool, Failure> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(false);
        };
        if decoder.input.is_empty() {
            return Ok(false);
        }
        let decoded = decoder.decode()?;
        self.push(decoded);
        Ok(true)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.ended = true;
        if let Some(decoder) = &mut self.decoder {
            let rest = decoder.finish()?;
            self.push(rest);
        }
        Ok(())
    }
}

/// Reads what is left of a short body.
pub async fn drain(mut response: Response) {
    drain_some(&mut response).await;
}

async fn drain_some(response: &mut Response) {
    let mut len = 0;
    let _ = timeout(DRAIN_TIME_MAX, async {
        while let Ok(Some(chunk)) = response.chunk().await {
            len += chunk.len() as u64;
            if len > DRAIN_LEN_MAX {
                break;
            }
        }
    })
    .await;
}

/// Undoes a content coding.
struct Decoder {
    input: Bytes,
    inner: Inflate,
}

enum Inflate {
    Gzip(Box<Gzip>),
    /// `deflate` ought to be zlib's format (RFC 9110, 8.4.1.2), but some send bare deflate.
    Undecided,
    Deflate(Deflate),
}

/// A `gzip` body of one or several members (RFC 1952, 2.2).
struct Gzip {
    member: GzDecoder<Vec<u8>>,
    /// Its first byte has come: a body may be empty, whatever coding its head names.
    begun: bool,
    /// What comes after the last member is no gzip and is left alone: some servers pad.
    ended: bool,
}

impl Gzip {
    /// Every member begins with it.
    const FIRST_BYTE: u8 = 0x1f;

    fn decode(&mut self, mut input: &[u8]) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        while !self.ended && !input.is_empty() {
            self.begun = true;
            let taken = self.member.write(input)?;
            output.append(self.member.get_mut());
            if taken == 0 {
                self.member.try_finish()?;
                self.member = GzDecoder::new(Vec::new());
                self.ended = input[0] != Self::FIRST_BYTE;
            }
            input = &input[taken..];
        }
        Ok(output)
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        if self.begun && !self.ended {
            self.member.try_finish()?;
        }
        Ok(std::mem::take(self.member.get_mut()))
    }
}

/// A `deflate` body, of either format. The library's own writer does not tell whether the end came.
struct Deflate {
    inner: Box<Decompress>,
    ended: bool,
}

impl Deflate {
    fn new(is_zlib: bool) -> Self {
        Self {
            inner: Box::new(Decompress::new(is_zlib)),
            ended: false,
        }
    }

    /// What follows the end is left alone.
    fn decode(&mut self, mut input: &[u8]) -> io::Result<Vec<u8>> {
        let mut output = Vec::with_capacity(DECODE_LEN);
        while !self.ended {
            let (before, len) = (self.inner.total_in(), output.len());
            output.reserve(DECODE_LEN);
            let none = FlushDecompress::None;
            let status = self.inner.decompress_vec(input, &mut output, none)?;
            let taken = self.inner.total_in() - before;
            input = &input[taken as usize..];
            self.ended = status == Status::StreamEnd;
            if taken == 0 && output.len() == len {
                break;
            }
        }
        Ok(output)
    }

    fn finish(&self) -> io::Result<()> {
        match self.ended {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Decoder {
    fn new(coding: Coding) -> Option<Self> {
        let inner = match coding {
            Coding::Identity => return None,
            Coding::Gzip => Inflate::Gzip(Box::new(Gzip {
                member: GzDecoder::new(Vec::new()),
                begun: false,
                ended: false,
            })),
            Coding::Deflate => Inflate::Undecided,
        };
        Some(Self {
            input: Bytes::new(),
            inner,
        })
    }

    fn decode(&mut self) -> Result<Bytes, Failure> {
        let input = self.input.split_to(self.input.len().min(DECODE_LEN));
        if matches!(self.inner, Inflate::Undecided) {
            let is_zlib = input.first().is_some_and(|byte| byte & 0x0f == 8);
            self.inner = Inflate::Deflate(Deflate::new(is_zlib));
        }
        let output = match &mut self.inner {
            Inflate::Gzip(inner) => inner.decode(&input),
            Inflate::Deflate(inner) => inner.decode(&input),
            Inflate::Undecided => Ok(Vec::new()),
        };
        output.map(Bytes::from).map_err(|error| undecodable(&error))
    }

    /// What is left after the last byte, which has to be the end of the coding.
    fn finish(&mut self) -> Result<Bytes, Failure> {
        let output = match &mut self.inner {
            Inflate::Gzip(inner) => inner.finish(),
            Inflate::Deflate(inner) => inner.finish().map(|()| Vec::new()),
            Inflate::Undecided => Ok(Vec::new()),
        };
        output.map(Bytes::from).map_err(|error| undecodable(&error))
    }
}

fn undecodable(error: &io::Error) -> Failure {
    // A body that ends too early is a broken connection.
    let retry = match error.kind() {
        io::ErrorKind::UnexpectedEof => AT_ONCE,
        _ => Retry::OtherMirror,
    };
    Failure::new(
        ErrorCode::HttpProtocol,
        retry,
        format!("The compressed body cannot be decoded: {error}"),
    )
}
