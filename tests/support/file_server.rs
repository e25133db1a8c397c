//! A small HTTP server for tests that run the program: files from memory, byte ranges, and gates
//! that hold a file back at some byte until a test opens them.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// Bytes that look random but are the same each time.
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

struct Page {
    body: Arc<[u8]>,
    /// Bytes from this one on are held back.
    gate: u64,
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// First byte asked for.
    pub from: u64,
}

#[derive(Default)]
struct Shared {
    pages: HashMap<String, Page>,
    requests: Vec<Request>,
    closing: bool,
}

#[derive(Default)]
struct State {
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

/// The server; it ends with this value.
pub struct FileServer {
    addr: SocketAddr,
    state: Arc<State>,
}

impl FileServer {
    pub fn start() -> FileServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.lock().closing {
                    return;
                }
                let state = Arc::clone(&accepting);
                // A client that goes away in the middle is part of the tests.
                thread::spawn(move || stream.and_then(|stream| answer(&stream, &state)));
            }
        });
        FileServer { addr, state }
    }

    /// Serves `body` at `path` (`/name`) and gives its URI.
    pub fn page(&self, path: &str, body: &[u8]) -> String {
        let page = Page {
            body: body.into(),
            gate: u64::MAX,
        };
        self.state.lock().pages.insert(path.into(), page);
        self.uri(path)
    }

    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Holds bytes from `gate` on back; `u64::MAX` lets all pass.
    pub fn set_gate(&self, path: &str, gate: u64) {
        self.state.lock().pages.get_mut(path).unwrap().gate = gate;
        self.state.changed.notify_all();
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().requests.clone()
    }

    /// How many requests there were so far.
    #[allow(dead_code)]
    pub fn request_count(&self) -> usize {
        self.state.lock().requests.len()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.state.lock().closing = true;
        self.state.changed.notify_all();
        let _ = TcpStream::connect(self.addr);
    }
}

fn answer(stream: &TcpStream, state: &State) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request_line = lines.next().transpose()?.unwrap_or_default();
    let mut words = request_line.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("range: bytes=") {
            range = value.split_once('-').map(|(from, to)| {
                let from: u64 = from.parse().unwrap_or(0);
                (from, to.parse::<u64>().ok())
            });
        }
    }
    let from = range.map_or(0, |(from, _)| from);
    let body = {
        let mut shared = state.lock();
        let (seen, to) = (path.clone(), method.clone());
        shared.requests.push(Request {
            method: to,
            path: seen,
            from,
        });
        shared.pages.get(&path).map(|page| Arc::clone(&page.body))
    };
    let mut out = stream;
    let Some(body) = body else {
        return out.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let len = body.len() as u64;
    let end = range
        .and_then(|(_, to)| to)
        .map_or(len, |to| len.min(to + 1));
    let status = match range {
        Some(_) => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{len}",
            end - 1
        ),
        None => "200 OK".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n",
        end - from
    );
    out.write_all(head.as_bytes())?;
    if method == "HEAD" {
        return Ok(());
    }
    send(out, state, &path, &body, from..end)
}

fn send(
    mut out: &TcpStream,
    state: &State,
    path: &str,
    body: &[u8],
    span: std::ops::Range<u64>,
) -> io::Result<()> {
    let mut at = span.start;
    while at < span.end {
        let gate = wait_for_gate(state, path, at);
        let to = span.end.min(gate).min(at + 16 * 1024);
        if to <= at {
            return Ok(());
        }
        out.write_all(&body[at as usize..to as usize])?;
        at = to;
    }
    Ok(())
}

/// Waits until byte `at` may pass; gives the gate, or `at` when the server ends.
fn wait_for_gate(state: &State, path: &str, at: u64) -> u64 {
    let mut shared = state.lock();
    loop {
        let gate = shared.pages.get(path).map_or(at, |page| page.gate);
        if gate > at || shared.closing {
            return gate;
        }
        shared = state.changed.wait(shared).unwrap();
    }
}
