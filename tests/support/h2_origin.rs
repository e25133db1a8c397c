//! A scripted origin behind TLS that speaks HTTP/2 and HTTP/1.1, as the client prefers; the
//! scripts are those of the plain origin.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use rustls::{ServerConfig, version};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::origin::{Origin, Reply, Seen, Step};
use crate::tls_front::server_config;

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

pub struct H2Origin {
    address: SocketAddr,
    /// Answers what comes as HTTP/1.1.
    h1: Origin,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    connections: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
}

impl H2Origin {
    /// Listens on an ephemeral port of 127.0.0.1, with the certificate `server.pem`. A script's
    /// [`Step::Reset`] resets the stream, and its [`Step::Close`] the whole connection.
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let h1 = {
            let script = script.clone();
            Origin::start(move |seen| script(seen))
        };
        let (plain, log) = (h1.address(), Arc::<Log>::default());
        let acceptor = TlsAcceptor::from(Arc::new(config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = log.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, log, script) = (acceptor.clone(), accepting.clone(), script.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        return serve(stream, &log, script).await;
                    }
                    let mut inner = TcpStream::connect(plain).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
                });
            }
        });
        Self { address, h1, log }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Every request that came as HTTP/2.
    pub fn seen_h2(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }

    /// Every request that came as HTTP/1.1.
    pub fn seen_h1(&self) -> Vec<Seen> {
        self.h1.seen()
    }

    /// HTTP/2 connections that brought a request.
    pub fn used_h2_connection_count(&self) -> usize {
        let mut used: Vec<usize> = self.seen_h2().iter().map(|seen| seen.connection).collect();
        used.sort_unstable();
        used.dedup();
        used.len()
    }

    /// HTTP/1.1 connections that brought a request.
    pub fn used_h1_connection_count(&self) -> usize {
        self.h1.used_connection_count()
    }
}

fn config() -> ServerConfig {
    let mut config = server_config("server.pem", &version::TLS13);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn serve(stream: TlsStream<TcpStream>, log: &Arc<Log>, script: Arc<Script>) {
    let number = log.connections.fetch_add(1, Ordering::Relaxed);
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let (close, mut closed) = tokio::sync::mpsc::unbounded_channel();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Some(()) = closed.recv() => return,
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let seen = seen(&request, number, log);
        let (script, close) = (script.clone(), close.clone());
        tokio::spawn(async move {
            if answer(script(&seen), respond).await.is_none() {
                let _ = close.send(());
            }
        });
    }
}

fn seen(request: &http::Request<h2::RecvStream>, connection: usize, log: &Log) -> Seen {
    let pairs = request.headers().iter();
    let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let mut seen = Seen {
        connection,
        number: 0,
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        headers: pairs.collect(),
    };
    let mut all = log.seen.lock().unwrap();
    seen.number = all.len();
    all.push(seen.clone());
    seen
}

/// Plays a script on one stream; `None` where the connection is to end with it.
async fn answer(reply: Reply, mut respond: SendResponse<Bytes>) -> Option<()> {
    let mut steps = reply.steps.into_iter();
    let Some(Step::Send(head)) = steps.next() else {
        // Before it has answered anything, it has not looked at the request.
        respond.send_reset(Reason::REFUSED_STREAM);
        return Some(());
    };
    let mut body = respond.send_response(response_of(&head), false).ok()?;
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if send(&mut body, bytes.into()).await.is_none() {
                    return Some(());
                }
            }
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Stall => {
                let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
                return Some(());
            }
            Step::Reset => {
                body.send_reset(Reason::INTERNAL_ERROR);
                return Some(());
            }
            Step::Close => return None,
        }
    }
    let _ = body.send_data(Bytes::new(), true);
    Some(())
}

fn response_of(head: &[u8]) -> http::Response<()> {
    let head = std::str::from_utf8(head).unwrap();
    let mut lines = head.trim_end().lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut response = http::Response::builder().status(status);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        response = response.header(name.to_ascii_lowercase(), value);
    }
    response.body(()).unwrap()
}

/// As fast as the client's windows let it; `None` if the client has given the stream up.
async fn send(body: &mut SendStream<Bytes>, mut bytes: Bytes) -> Option<()> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await?;
        let part = bytes.split_to(room.ok()?.min(bytes.len()));
        body.send_data(part, false).ok()?;
    }
    // What is queued goes out before whatever comes next.
    body.reserve_capacity(1);
    std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
    body.reserve_capacity(0);
    Some(())
}
