//! A scripted HTTP origin on a raw socket: for each request a script says, byte by byte, what
//! goes back and when, also what no sane server would send. It logs what it was asked.

#![allow(dead_code)] // every test binary uses another part

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Number of the connection, from 0.
    pub connection: usize,
    /// Number of the request at this origin, from 0.
    pub number: usize,
    /// Where the connection came from.
    pub peer: IpAddr,
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// Header lines in their order, without the request line.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter();
        let found = found.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Start and end (exclusive) of a single range.
    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let last = match last {
            "" => None,
            digits => Some(digits.parse::<u64>().ok()? + 1),
        };
        Some((first.parse().ok()?, last))
    }
}

/// What happens on the connection, in this order.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Nothing more comes, and the connection stays open until the client leaves.
    Stall,
    /// RST instead of FIN.
    Reset,
    Close,
}

/// An answer: its steps, after which the connection waits for the next request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub steps: Vec<Step>,
}

impl Reply {
    /// Status line, header lines (`Name: value`) and body, sent as they are.
    pub fn new(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut steps = vec![Step::Send(head.into_bytes())];
        if !body.is_empty() {
            steps.push(Step::Send(body.to_vec()));
        }
        Self { steps }
    }

    /// A status and no body.
    pub fn status(status: &str) -> Self {
        Self::new(status, &["Content-Length: 0"], b"")
    }

    pub fn redirect(location: &str) -> Self {
        let location = format!("Location: {location}");
        Self::new("302 Found", &[&location, "Content-Length: 0"], b"")
    }

    /// What a well-behaved server sends for a file: 200, 206 or 416, with these headers besides.
    pub fn file(data: &[u8], seen: &Seen, headers: &[&str]) -> Self {
        let total = data.len() as u64;
        let Some((start, end)) = seen.range() else {
            let len = format!("Content-Length: {total}");
            let body = if seen.method == "HEAD" { &[] } else { data };
            return Self::new("200 OK", &[&[len.as_str()], headers].concat(), body);
        };
        let end = end.unwrap_or(total).min(total);
        if start >= total {
            let range = format!("Content-Range: bytes */{total}");
            let all = [&[range.as_str(), "Content-Length: 0"], headers].concat();
            return Self::new("416 Range Not Satisfiable", &all, b"");
        }
        let range = format!("Content-Range: bytes {start}-{}/{total}", end - 1);
        let len = format!("Content-Length: {}", end - start);
        let all = [&[range.as_str(), len.as_str()], headers].concat();
        Self::new(
            "206 Partial Content",
            &all,
            &data[start as usize..end as usize],
        )
    }

    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The body goes out in pieces of `len` bytes with a pause after each.
    pub fn slowly(mut self, len: usize, pause: Duration) -> Self {
        let bodies = self.steps.split_off(1);
        for step in bodies {
            match step {
                Step::Send(body) => {
                    for part in body.chunks(len) {
                        self.steps.push(Step::Send(part.to_vec()));
                        self.steps.push(Step::Pause(pause));
                    }
                }
                other => self.steps.push(other),
            }
        }
        self
    }

    /// Only the first `len` bytes of the body; then `step`.
    pub fn cut(mut self, len: usize, step: Step) -> Self {
        if let Some(Step::Send(body)) = self.steps.get_mut(1) {
            body.truncate(len);
        }
        self.steps.push(step);
        self
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The running origin; ends when dropped.
pub struct Origin {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    ended: AtomicBool,
    /// Answers on their way, where somebody counts them.
    open: Option<Arc<AtomicUsize>>,
}

impl Origin {
    /// Listens on an ephemeral port of 127.0.0.1.
    pub fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with("127.0.0.1:0", script, None)
    }

    /// Listens at this address.
    pub fn start_at(
        address: &str,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(address, script, None)
    }

    fn start_with(
        address: &str,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        open: Option<Arc<AtomicUsize>>,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let state = Arc::new(State {
            script: Box::new(script),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            open,
        });
        let accepting = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::Relaxed) {
                    break;
                }
                let number = accepting.connections.fetch_add(1, Ordering::Relaxed);
                let state = accepting.clone();
                // An error here is the client having left.
                thread::spawn(move || serve(&state, number, stream).ok());
            }
        });
        Self { address, state }
    }

    /// Like [`Origin::start`], but a request that comes while `open_max` others are being
    /// answered gets 503.
    pub fn start_limited(
        open_max: usize,
        open: Arc<AtomicUsize>,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let busy = open.clone();
        Self::start_with(
            "127.0.0.1:0",
            move |seen| match busy.fetch_add(1, Ordering::SeqCst) < open_max {
                true => script(seen),
                false => Reply::status("503 Busy"),
            },
            Some(open),
        )
    }

    /// An origin with one well-behaved file at every path.
    pub fn with_file(data: Vec<u8>) -> Self {
        Self::start(move |seen| Reply::file(&data, seen, &[]))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("no script panicked").clone()
    }

    pub fn connection_count(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Connections on which a request came: clients may dial one too many.
    pub fn used_connection_count(&self) -> usize {
        let mut used: Vec<usize> = self.seen().iter().map(|seen| seen.connection).collect();
        used.sort_unstable();
        used.dedup();
        used.len()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Bytes that differ everywhere, so that a shift or splice shows.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn serve(state: &State, connection: usize, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?.ip();
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(mut seen) = read_request(&mut reader, peer)? {
        seen.connection = connection;
        {
            let mut log = state.seen.lock().expect("no script panicked");
            seen.number = log.len();
            log.push(seen.clone());
        }
        let answered = answer(state, &seen, &mut reader, &mut stream);
        if let Some(open) = &state.open {
            open.fetch_sub(1, Ordering::SeqCst);
        }
        if !answered? {
            return Ok(());
        }
    }
    Ok(())
}

/// Plays the script; false if the connection ends with it.
fn answer(
    state: &State,
    seen: &Seen,
    reader: &mut impl Read,
    stream: &mut TcpStream,
) -> std::io::Result<bool> {
    for step in (state.script)(seen).steps {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes)?,
            Step::Pause(time) => thread::sleep(time),
            Step::Stall => {
                reader.read_to_end(&mut Vec::new())?;
                return Ok(false);
            }
            Step::Reset => {
                socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                return Ok(false);
            }
            Step::Close => return Ok(false),
        }
    }
    Ok(true)
}

fn read_request(reader: &mut impl BufRead, peer: IpAddr) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut seen = Seen {
        connection: 0,
        number: 0,
        peer,
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: Vec::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(seen));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        seen.headers
            .push((name.to_owned(), value.trim().to_owned()));
    }
}
