//! An HTTP server of one made-up file, with ranges, slow enough to be interrupted.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arioso::base::units::Span;

/// Bytes between two pauses.
const STEP: u64 = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(5);

/// The bytes of the file: no two blocks are alike.
pub fn content(span: Span) -> Vec<u8> {
    (span.start..span.end)
        .map(|at| ((at / 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (8 * (at % 4) + 20)) as u8)
        .collect()
}

#[derive(Default)]
struct Log {
    sent: AtomicU64,
    asked: Mutex<Vec<Span>>,
    /// Of the file, as its `ETag` tells it.
    version: AtomicU64,
}

pub struct Origin {
    addr: SocketAddr,
    log: Arc<Log>,
}

impl Origin {
    /// Serves a file of `len` bytes under every name, until the process ends.
    pub fn start(len: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, len, &log));
            }
        });
        Self { addr, log }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.addr)
    }

    /// Bytes of bodies sent so far.
    pub fn sent(&self) -> u64 {
        self.log.sent.load(Ordering::Acquire)
    }

    /// From now on another file of the same length is there.
    pub fn replace(&self) {
        self.log.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The span of every request.
    pub fn asked(&self) -> Vec<Span> {
        self.log.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, len: u64, log: &Log) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let mut asked = None;
        loop {
            let line = lines.next()?.ok()?.to_ascii_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                let (first, last) = range.split_once('-')?;
                let end = last.parse::<u64>().map_or(len, |last| last + 1);
                asked = Some(Span::new(first.parse().ok()?, end.min(len)));
            }
            if line.is_empty() {
                break;
            }
        }
        let span = asked.unwrap_or(Span::new(0, len));
        log.asked.lock().ok()?.push(span);
        let head = match asked {
            None => "HTTP/1.1 200 OK\r\n".to_owned(),
            Some(span) => format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{len}\r\n",
                span.start,
                span.end - 1
            ),
        };
        let version = log.version.load(Ordering::Acquire);
        let len = span.len();
        write!(
            stream,
            "{head}ETag: \"{version}\"\r\nContent-Length: {len}\r\n\r\n"
        )
        .ok()?;
        let mut at = span.start;
        while at < span.end {
            let step = Span::new(at, (at + STEP).min(span.end));
            stream.write_all(&content(step)).ok()?;
            log.sent.fetch_add(step.len(), Ordering::AcqRel);
            at = step.end;
            std::thread::sleep(PAUSE);
        }
    }
}
