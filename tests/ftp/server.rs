//! A scripted FTP server: right but for the faults it is told to have.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

/// Longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(120);

/// What goes wrong; each happens on the first so many occasions only.
#[derive(Clone, Default)]
pub struct Script {
    pub data: Vec<u8>,
    /// The number SIZE gives, if not the right one.
    pub size: Option<u64>,
    /// Reply to a command instead of the right one, and how often; `END` is the one that ends a
    /// transfer.
    pub replies: HashMap<&'static str, (&'static str, usize)>,
    /// No reply to this command, and how often.
    pub hang: Option<(&'static str, usize)>,
    /// The connection is closed at this command.
    pub close: Option<&'static str>,
    /// This line comes again and again in reply to this command.
    pub endless: Option<(&'static str, &'static str)>,
    /// The file is a younger one each time somebody asks.
    pub changes: bool,
    pub data_fault: DataFault,
    /// AUTH TLS is known, or, with `implicit`, taken for granted.
    pub tls: Option<Arc<ServerConfig>>,
    pub implicit: bool,
    /// The data connection is reset after so many bytes, and how often.
    pub reset: Option<(usize, usize)>,
    /// More or fewer bytes than there are, always.
    pub data_len: Option<usize>,
    /// All of the data in one breath, however it is asked for.
    pub ignores_rest: bool,
    /// So many transfers trickle.
    pub slow: usize,
    /// Listens on ::1 rather than on 127.0.0.1, and knows EPSV.
    pub on_v6: bool,
}

/// What is wrong with data connections.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum DataFault {
    #[default]
    None,
    /// Nobody listens at the port that PASV names.
    Closed,
    /// Open, but without a byte or an end.
    Silent,
    /// Never made, and nothing is said.
    Absent,
    /// Never made, as the server then says.
    Refused,
    /// In the clear, whatever was agreed on.
    Clear,
}

impl Script {
    fn address(&self) -> &'static str {
        match self.on_v6 {
            true => "::1",
            false => "127.0.0.1",
        }
    }
}

/// A data connection that has been agreed on.
enum Ready {
    Passive(TcpListener),
    Active(SocketAddr),
}

pub struct Server {
    pub port: u16,
    pub commands: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<AtomicUsize>,
    /// How the TLS of each data connection began.
    pub handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
}

pub fn start(script: Script) -> Server {
    let listener = TcpListener::bind((script.address(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let commands: Arc<Mutex<Vec<String>>> = Arc::default();
    let connections: Arc<AtomicUsize> = Arc::default();
    let handshakes: Arc<Mutex<Vec<HandshakeKind>>> = Arc::default();
    let shakes = handshakes.clone();
    let (log, count) = (commands.clone(), connections.clone());
    let counts = Arc::new(Mutex::new(HashMap::new()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            let talk = Talk {
                script: script.clone(),
                counts: counts.clone(),
                log: log.clone(),
                handshakes: shakes.clone(),
            };
            thread::spawn(move || talk.run(stream));
        }
    });
    Server {
        port,
        commands,
        connections,
        handshakes,
    }
}

/// A connection, in clear or encrypted.
trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

fn encrypted(socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Encrypted> {
    let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    Ok(StreamOwned::new(session, socket))
}

type Encrypted = StreamOwned<ServerConnection, TcpStream>;

struct Talk {
    script: Script,
    counts: Arc<Mutex<HashMap<String, usize>>>,
    log: Arc<Mutex<Vec<String>>>,
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
}

impl Talk {
    /// Whether an occasion is among the first `limit` ones.
    fn is_due(&self, what: &str, limit: usize) -> bool {
        let mut counts = self.counts.lock();
        let count = counts.entry(what.to_owned()).or_insert(0);
        *count += 1;
        *count <= limit
    }

    fn run(&self, stream: TcpStream) {
        // A client that leaves ends the talk.
        let _ = self.talk(stream);
    }

    /// What stands in for the right reply to a command: `None`, the right one is due;
    /// `Some(false)`, the connection ends.
    fn misbehave(&self, word: &str, stream: &mut dyn Stream) -> io::Result<Option<bool>> {
        if let Some((hang, limit)) = self.script.hang
            && hang == word
            && self.is_due("hang", limit)
        {
            thread::sleep(FOR_EVER);
            return Ok(Some(false));
        }
        if self.script.close == Some(word) {
            return Ok(Some(false));
        }
        if let Some((endless, line)) = self.script.endless
            && endless == word
        {
            loop {
                stream.write_all(line.as_bytes())?;
                stream.write_all(b"\r\n")?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(20));
            }
        }
        if let Some((reply, limit)) = self.script.replies.get(word)
            && self.is_due(word, *limit)
        {
            stream.write_all(format!("{reply}\r\n").as_bytes())?;
            stream.flush()?;
            return Ok(Some(!reply.starts_with("421")));
        }
        Ok(None)
    }

    fn talk(&self, socket: TcpStream) -> io::Result<()> {
        let bare = socket.try_clone()?;
        let stream: Box<dyn Stream> = match &self.script.tls {
            Some(config) if self.script.implicit => Box::new(encrypted(socket, config)?),
            _ => Box::new(socket),
        };
        let mut stream = BufReader::new(stream);
        let mut protects = self.script.implicit;
        let mut data: Option<Ready> = None;
        let mut rest = 0usize;
        let mut next = Some("GREETING".to_owned());
        loop {
            let line = match next.take() {
                Some(line) => line,
                None => {
                    let mut line = String::new();
                    if stream.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    line.trim_end().to_owned()
                }
            };
            self.log.lock().push(line.clone());
            let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
            match self.misbehave(word, stream.get_mut())? {
                None => {}
                Some(true) => continue,
                Some(false) => return Ok(()),
            }
            let reply = match word {
                "GREETING" => "220-Hello\r\n220 there".to_owned(),
                "USER" => "331 password".to_owned(),
                "PASS" => "230 in".to_owned(),
                "PWD" => "257 \"/\"".to_owned(),
                "TYPE" | "CWD" => "200 fine".to_owned(),
                "MDTM" if self.script.changes => {
                    let mut counts = self.counts.lock();
                    let count = counts.entry("MDTM".to_owned()).or_insert(0);
                    *count += 1;
                    format!("213 2024010100{count:02}00")
                }
                "MDTM" => "213 20240101000000".to_owned(),
                "AUTH" if let Some(config) = &self.script.tls => {
                    stream.get_mut().write_all(b"234 go\r\n")?;
                    stream = BufReader::new(Box::new(encrypted(bare.try_clone()?, config)?));
                    continue;
                }
                "PBSZ" if self.script.tls.is_some() => "200 fine".to_owned(),
                "PROT" if self.script.tls.is_some() => {
                    protects = argument == "P";
                    "200 fine".to_owned()
                }
                "SIZE" => {
                    let len = self.script.data.len() as u64;
                    format!("213 {}", self.script.size.unwrap_or(len))
                }
                "PASV" => {
                    let listener = TcpListener::bind("127.0.0.1:0")?;
                    let [high, low] = listener.local_addr()?.port().to_be_bytes();
                    if self.script.data_fault != DataFault::Closed {
                        data = Some(Ready::Passive(listener));
                    }
                    // An address that leads nowhere: only the port counts.
                    format!("227 go (192,0,2,1,{high},{low})")
                }
                "EPSV" if self.script.on_v6 => {
                    let listener = TcpListener::bind((self.script.address(), 0))?;
                    let port = listener.local_addr()?.port();
                    data = Some(Ready::Passive(listener));
                    format!("229 go (|||{port}|)")
                }
                "PORT" => {
                    let numbers: Vec<u8> =
                        argument.split(',').flat_map(|word| word.parse()).collect();
                    let [a, b, c, d, high, low] = numbers[..] else {
                        return Ok(());
                    };
                    let port = u16::from_be_bytes([high, low]);
                    data = Some(Ready::Active(([a, b, c, d], port).into()));
                    "200 fine".to_owned()
                }
                "EPRT" => {
                    let words: Vec<&str> = argument.split('|').collect();
                    let [_, "2", host, port, _] = words[..] else {
                        return Ok(());
                    };
                    let address = format!("[{host}]:{port}");
                    data = address.parse().ok().map(Ready::Active);
                    "200 fine".to_owned()
                }
                "REST" => {
                    rest = argument.parse().unwrap_or(0);
                    "350 from there".to_owned()
                }
                "RETR" => {
                    stream.get_mut().write_all(b"150 coming\r\n")?;
                    stream.get_mut().flush()?;
                    let rest = std::mem::take(&mut rest);
                    let reply = match (self.script.data_fault, &data) {
                        (DataFault::Absent, _) => {
                            thread::sleep(FOR_EVER);
                            return Ok(());
                        }
                        (DataFault::Refused, _) | (_, None) => "425 no data connection".to_owned(),
                        (_, Some(ready)) => self.send(ready, rest, protects)?,
                    };
                    match self.misbehave("END", stream.get_mut())? {
                        None => reply,
                        Some(true) => continue,
                        Some(false) => return Ok(()),
                    }
                }
                _ => "502 what?".to_owned(),
            };
            let stream = stream.get_mut();
            stream.write_all(format!("{reply}\r\n").as_bytes())?;
            stream.flush()?;
        }
    }

    fn send(&self, ready: &Ready, rest: usize, protects: bool) -> io::Result<String> {
        let socket = match ready {
            Ready::Passive(listener) => listener.accept()?.0,
            Ready::Active(address) => TcpStream::connect(address)?,
        };
        let bare = socket.try_clone()?;
        let mut stream: Box<dyn Stream> = match &self.script.tls {
            Some(config) if protects && self.script.data_fault != DataFault::Clear => {
                let mut stream = encrypted(socket, config)?;
                stream.conn.complete_io(&mut stream.sock)?;
                self.handshakes.lock().extend(stream.conn.handshake_kind());
                Box::new(stream)
            }
            _ => Box::new(socket),
        };
        if self.script.data_fault == DataFault::Silent {
            thread::sleep(FOR_EVER);
        }
        let mut data = self.script.data.clone();
        if let Some(len) = self.script.data_len {
            data.resize(len, b'!');
        }
        let from = match self.script.ignores_rest {
            true => 0,
            false => rest.min(data.len()),
        };
        let mut rest = &data[from..];
        if let Some((len, limit)) = self.script.reset
            && self.is_due("reset", limit)
        {
            rest = &rest[..len.min(rest.len())];
            let _ = stream.write_all(rest);
            let _ = bare.shutdown(Shutdown::Both);
            return Ok("426 broken".to_owned());
        }
        if self.is_due("slow", self.script.slow) {
            // Slow, not silent: that would be another reason to give it up.
            for part in rest.chunks(10) {
                stream.write_all(part)?;
                thread::sleep(Duration::from_millis(300));
            }
        }
        match stream.write_all(rest).and_then(|()| stream.flush()) {
            Ok(()) => Ok("226 done".to_owned()),
            Err(_) => Ok("426 nobody listens".to_owned()),
        }
    }
}
