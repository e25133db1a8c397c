//! A scripted FTP server: right but for the faults it is told to have.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

/// What goes wrong; each happens on the first so many occasions only.
#[derive(Clone, Default)]
pub struct Script {
    pub data: Vec<u8>,
    /// The number SIZE gives, if not the right one.
    pub size: Option<u64>,
    /// Reply to a command instead of the right one, and how often.
    pub replies: HashMap<&'static str, (&'static str, usize)>,
    /// No reply to this command, and how often.
    pub hang: Option<(&'static str, usize)>,
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
}

pub fn start(script: Script) -> Server {
    let listener = TcpListener::bind((script.address(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let commands: Arc<Mutex<Vec<String>>> = Arc::default();
    let connections: Arc<AtomicUsize> = Arc::default();
    let (log, count) = (commands.clone(), connections.clone());
    let counts = Arc::new(Mutex::new(HashMap::new()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            let talk = Talk {
                script: script.clone(),
                counts: counts.clone(),
                log: log.clone(),
            };
            thread::spawn(move || talk.run(stream));
        }
    });
    Server {
        port,
        commands,
        connections,
    }
}

struct Talk {
    script: Script,
    counts: Arc<Mutex<HashMap<String, usize>>>,
    log: Arc<Mutex<Vec<String>>>,
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

    fn talk(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let mut data: Option<Ready> = None;
        let mut rest = 0usize;
        let mut next = Some("GREETING".to_owned());
        loop {
            let line = match next.take() {
                Some(line) => line,
                None => match lines.next() {
                    Some(line) => line?,
                    None => return Ok(()),
                },
            };
            self.log.lock().push(line.clone());
            let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if let Some((hang, limit)) = self.script.hang
                && hang == word
                && self.is_due("hang", limit)
            {
                thread::sleep(Duration::from_secs(120));
                return Ok(());
            }
            if let Some((reply, limit)) = self.script.replies.get(word)
                && self.is_due(word, *limit)
            {
                stream.write_all(format!("{reply}\r\n").as_bytes())?;
                if reply.starts_with("421") {
                    return Ok(());
                }
                continue;
            }
            let reply = match word {
                "GREETING" => "220-Hello\r\n220 there".to_owned(),
                "USER" => "331 password".to_owned(),
                "PASS" => "230 in".to_owned(),
                "PWD" => "257 \"/\"".to_owned(),
                "TYPE" | "CWD" => "200 fine".to_owned(),
                "MDTM" => "213 20240101000000".to_owned(),
                "SIZE" => {
                    let len = self.script.data.len() as u64;
                    format!("213 {}", self.script.size.unwrap_or(len))
                }
                "PASV" => {
                    let listener = TcpListener::bind("127.0.0.1:0")?;
                    let [high, low] = listener.local_addr()?.port().to_be_bytes();
                    data = Some(Ready::Passive(listener));
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
                    stream.write_all(b"150 coming\r\n")?;
                    match data.take() {
                        Some(ready) => self.send(&ready, std::mem::take(&mut rest))?,
                        None => "425 no data connection".to_owned(),
                    }
                }
                _ => "502 what?".to_owned(),
            };
            stream.write_all(format!("{reply}\r\n").as_bytes())?;
        }
    }

    fn send(&self, ready: &Ready, rest: usize) -> std::io::Result<String> {
        let mut stream = match ready {
            Ready::Passive(listener) => listener.accept()?.0,
            Ready::Active(address) => TcpStream::connect(address)?,
        };
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
            let _ = stream.shutdown(Shutdown::Both);
            return Ok("426 broken".to_owned());
        }
        if self.is_due("slow", self.script.slow) {
            // Slow, not silent: that would be another reason to give it up.
            for part in rest.chunks(10) {
                stream.write_all(part)?;
                thread::sleep(Duration::from_millis(300));
            }
        }
        match stream.write_all(rest) {
            Ok(()) => Ok("226 done".to_owned()),
            Err(_) => Ok("426 nobody listens".to_owned()),
        }
    }
}
