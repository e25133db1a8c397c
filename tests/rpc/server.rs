//! The server under test and the plainest clients for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use arioso::base::error::Failure;
use arioso::engine::{Engine, EngineConfig};
use arioso::option::settings::RpcSettings;
use arioso::option::{OptionSet, find, keys};
use arioso::rpc::{self, RpcServer};
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message, WebSocket};

/// Dropped in this order: the sockets before the engine they belong to.
pub struct Server {
    rpc: Option<RpcServer>,
    engine: Option<Engine>,
    pub address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Server {
        Self::with(&[])
    }

    /// With these options of the process.
    pub fn with(options: &[(&str, &str)]) -> Server {
        Self::tuned(options, |_| ())
    }

    /// With settings that are no options, too.
    pub fn tuned(options: &[(&str, &str)], tune: impl FnOnce(&mut RpcSettings)) -> Server {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().to_string_lossy().into_owned();
        let mut set = option_set(options);
        let dir_option = find("dir").expect("an option");
        set.set_text(dir_option, &place).expect("a good value");
        let mut settings = RpcSettings::from(&set);
        settings.port = 0;
        tune(&mut settings);
        let config = EngineConfig {
            state_dir: set.get(keys::STATE_DIR).map(|dir| (&*dir).into()),
            options: set,
        };
        let engine = Engine::start(config).expect("an engine");
        let rpc = serve(&engine, settings).expect("a server");
        Server {
            address: rpc.addresses()[0],
            rpc: Some(rpc),
            engine: Some(engine),
            dir,
        }
    }

    /// A second server on the same engine.
    pub fn serve_another(&self, settings: &RpcSettings) -> Result<RpcServer, Failure> {
        serve(self.engine.as_ref().expect("an engine"), settings.clone())
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        self.rpc.as_ref().expect("a server").addresses()
    }

    /// Where downloads go.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Calls until the answer holds this text.
    pub fn call_until(&self, method: &str, params: &str, text: &str) -> String {
        let started = Instant::now();
        loop {
            let answer = self.call(method, params);
            if answer.contains(text) {
                return answer;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "no {text}: {answer}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .expect("a timeout");
        stream
    }

    /// Sends bytes and reads one response.
    pub fn raw(&self, request: impl AsRef<[u8]>) -> Response {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).expect("sent");
        Response::read(&mut stream).expect("a response")
    }

    /// Posts with more header lines (each ended by CRLF).
    pub fn post_to(&self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Response {
        self.raw(post(path, headers, body.as_ref()))
    }

    pub fn post(&self, body: impl AsRef<[u8]>) -> Response {
        self.post_to("/jsonrpc", "", body)
    }

    /// Calls with these parameters (JSON) and gives `status result-or-error`.
    pub fn call(&self, method: &str, params: &str) -> String {
        let response = self.post(format!(
            r#"{{"id":1,"jsonrpc":"2.0","method":"{method}","params":{params}}}"#
        ));
        let body = response.text();
        let inner = body
            .strip_prefix(r#"{"id":1,"jsonrpc":"2.0","#)
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(&body);
        format!("{} {inner}", response.status)
    }

    pub fn get(&self, target: &str) -> Response {
        self.raw(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    pub fn xml(&self, body: &str) -> Response {
        self.post_to("/rpc", "", body)
    }

    pub fn websocket(&self) -> Socket {
        self.websocket_at("/jsonrpc")
    }

    pub fn websocket_at(&self, path: &str) -> Socket {
        let url = format!("ws://{}{path}", self.address);
        let (socket, _) = tungstenite::client(url, self.connect()).expect("a handshake");
        Socket(socket)
    }

    /// As a page of this origin opens it.
    pub fn websocket_of(&self, origin: &str) -> Socket {
        let url = format!("ws://{}/jsonrpc", self.address);
        let uri = url.parse().expect("a URI");
        let request = ClientRequestBuilder::new(uri).with_header("Origin", origin);
        let (socket, _) = tungstenite::client(request, self.connect()).expect("a handshake");
        Socket(socket)
    }

    /// As Python's websocket-client opens it.
    pub fn websocket_of_itself(&self) -> Socket {
        self.websocket_of(&format!("http://{}", self.address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.rpc.take());
        drop(self.engine.take());
    }
}

fn serve(engine: &Engine, settings: RpcSettings) -> Result<RpcServer, Failure> {
    let handle = engine.handle();
    let (sender, receiver) = std::sync::mpsc::channel();
    engine.control().spawn(async move {
        let _ = sender.send(rpc::serve(handle, &settings));
    });
    receiver.recv().expect("an answer")
}

fn option_set(options: &[(&str, &str)]) -> OptionSet {
    let mut set = OptionSet::new();
    for (name, value) in options {
        let id = find(name).unwrap_or_else(|| panic!("no option {name}"));
        set.set_text(id, value).expect("a good value");
    }
    set
}

/// Settings that these options make.
pub fn settings(options: &[(&str, &str)]) -> RpcSettings {
    RpcSettings::from(&option_set(options))
}

/// The text of a POST.
pub fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// One HTTP response.
pub struct Response {
    pub status: u16,
    /// Status line and header lines; times are replaced by `T`.
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// `None` when the connection closes before a head has come.
    pub fn read(stream: &mut TcpStream) -> Option<Response> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a text head");
        let lines: Vec<String> = head.trim_end().split("\r\n").map(without_time).collect();
        let status = lines[0][9..12].parse().expect("a status");
        let len = lines
            .iter()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |len| len.parse().expect("a length"));
        let mut body = vec![0; len];
        stream.read_exact(&mut body).expect("a body");
        Some(Response {
            status,
            head: lines.join("\n"),
            body,
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

fn without_time(line: &str) -> String {
    match line.split_once(": ") {
        Some((name @ ("Date" | "Expires"), _)) => format!("{name}: T"),
        _ => line.to_owned(),
    }
}

/// Whether the peer has closed: no byte comes, but the end does.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

/// A WebSocket client.
pub struct Socket(pub WebSocket<TcpStream>);

impl Socket {
    pub fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).expect("sent");
    }

    /// The next text.
    pub fn text(&mut self) -> String {
        match self.0.read().expect("a message") {
            Message::Text(text) => text.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// What comes next, whatever it is.
    pub fn next(&mut self) -> Result<Message, tungstenite::Error> {
        self.0.read()
    }

    pub fn ask(&mut self, message: &str) -> String {
        self.send(message);
        self.text()
    }

    /// Whether nothing comes for a while.
    pub fn is_quiet(&mut self) -> bool {
        let stream = self.0.get_ref();
        stream
            .set_read_timeout(Some(Duration::from_millis(150)))
            .expect("a timeout");
        let quiet = matches!(self.0.read(), Err(tungstenite::Error::Io(_)));
        let stream = self.0.get_ref();
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .expect("a timeout");
        quiet
    }
}

/// Gids, session ids and directories replaced by their names.
pub fn filtered(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        let (before, from) = rest.split_at(at + 1);
        out.push_str(before);
        let end = from.find('"').unwrap_or(from.len());
        let word = &from[..end];
        let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        out.push_str(match word.len() {
            16 if is_hex => "GID",
            40 if is_hex => "SESSION",
            _ => word,
        });
        rest = &from[end..];
        if let Some(after) = rest.strip_prefix('"') {
            out.push('"');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}
