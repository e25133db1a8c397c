//! What a proxy is told before it connects a stream to somebody else: HTTP's CONNECT (RFC 9110,
//! 9.3.6), SOCKS 5 with user and password (RFC 1928, 1929), SOCKS 4 and 4a.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use url::Url;

/// The longest head of an answer to CONNECT that is read.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// Why a proxy does not serve.
#[derive(Debug)]
pub enum Refusal {
    /// It wants credentials, or others than these.
    Credentials,
    /// What it answered, in our words.
    Said(String),
    /// The same, of what it would answer to any further try.
    Final(String),
    /// The connection to it broke.
    Broken(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Broken(error)
    }
}

/// Asks an HTTP proxy for a tunnel; nothing behind its answer is read.
pub async fn http_connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Url,
    host: &str,
    port: u16,
) -> Result<(), Refusal> {
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    let (user, password) = credentials(proxy);
    if !user.is_empty() {
        let pair = [user.as_slice(), b":", password.as_slice()].concat();
        let pair = STANDARD.encode(pair);
        request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    match status(&read_head(stream).await?) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(Refusal::Credentials),
        Some(status) => {
            let text = format!("it answers {status} to CONNECT");
            Err(match status {
                408 | 429 | 500.. => Refusal::Said(text),
                _ => Refusal::Final(text),
            })
        }
        None => Err(unreadable()),
    }
}

/// Byte by byte: what follows belongs to the server behind the proxy, and FTP servers speak first.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Refusal> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() == HEAD_LEN_MAX {
            return Err(Refusal::Final("its answer is too long".to_owned()));
        }
        let [byte] = read(stream).await?;
        head.push(byte);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next()?.strip_prefix("HTTP/")?;
    words.next()?.parse().ok()
}

/// Asks a SOCKS 5 proxy; a name is resolved by the proxy.
pub async fn socks5<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Url,
    host: &str,
    port: u16,
) -> Result<(), Refusal> {
    const NO_LOGIN: u8 = 0;
    const LOGIN: u8 = 2;
    let (user, password) = credentials(proxy);
    let offer: &[u8] = match user.is_empty() {
        true => &[5, 1, NO_LOGIN],
        false => &[5, 2, NO_LOGIN, LOGIN],
    };
    stream.write_all(offer).await?;
    let [version, method] = read(stream).await?;
    if version != 5 {
        return Err(Refusal::Final("it does not speak SOCKS 5".to_owned()));
    }
    match method {
        NO_LOGIN => {}
        LOGIN if !user.is_empty() => log_in(stream, &user, &password).await?,
        _ => return Err(Refusal::Credentials),
    }
    let mut request = vec![5, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend(ip.octets());
        }
        Err(_) => {
            request.push(3);
            push_short(&mut request, host.as_bytes())?;
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    let [_, reply, _, kind] = read(stream).await?;
    if reply != 0 {
        return Err(socks5_refusal(reply));
    }
    // The address it connects from, of no use.
    let len = match kind {
        1 => 4,
        4 => 16,
        3 => {
            let [len] = read(stream).await?;
            usize::from(len)
        }
        _ => return Err(unreadable()),
    };
    for _ in 0..len + 2 {
        let [_] = read(stream).await?;
    }
    Ok(())
}

async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    user: &[u8],
    password: &[u8],
) -> Result<(), Refusal> {
    let mut request = vec![1];
    push_short(&mut request, user)?;
    push_short(&mut request, password)?;
    stream.write_all(&request).await?;
    match read(stream).await? {
        [_, 0] => Ok(()),
        _ => Err(Refusal::Credentials),
    }
}

/// Asks a SOCKS 4 proxy; a name goes to it as SOCKS 4a has it.
pub async fn socks4<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Url,
    host: &str,
    port: u16,
) -> Result<(), Refusal> {
    let ip: Option<Ipv4Addr> = host.parse().ok();
    // 0.0.0.x stands for the name at the end.
    let octets = ip.unwrap_or(Ipv4Addr::new(0, 0, 0, 1)).octets();
    let (user, _) = credentials(proxy);
    let mut request = vec![4, 1];
    request.extend(port.to_be_bytes());
    request.extend(octets);
    request.extend(user);
    request.push(0);
    if ip.is_none() {
        request.extend(host.as_bytes());
        request.push(0);
    }
    stream.write_all(&request).await?;
    let answer: [u8; 8] = read(stream).await?;
    match answer[1] {
        90 => Ok(()),
        92 | 93 => Err(Refusal::Credentials),
        other => Err(Refusal::Said(format!(
            "it refuses with SOCKS 4 code {other}"
        ))),
    }
}

fn push_short(request: &mut Vec<u8>, text: &[u8]) -> Result<(), Refusal> {
    let len = u8::try_from(text.len())
        .map_err(|_| Refusal::Final("a name is too long for SOCKS".to_owned()))?;
    request.push(len);
    request.extend(text);
    Ok(())
}

async fn read<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match stream.read_exact(&mut bytes).await {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "it closes the connection",
        )),
        Err(error) => Err(error),
    }
}

/// User and password of a proxy's URI, decoded; empty where there are none.
fn credentials(proxy: &Url) -> (Vec<u8>, Vec<u8>) {
    (
        percent_decode_str(proxy.username()).collect(),
        percent_decode_str(proxy.password().unwrap_or_default()).collect(),
    )
}

fn unreadable() -> Refusal {
    Refusal::Final("its answer cannot be read".to_owned())
}

/// RFC 1928, section 6.
fn socks5_refusal(code: u8) -> Refusal {
    let text = match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "it does not know CONNECT",
        8 => "it does not know this kind of address",
        _ => return Refusal::Said(format!("SOCKS 5 code {code}")),
    };
    match code {
        2 | 7 | 8 => Refusal::Final(text.to_owned()),
        _ => Refusal::Said(text.to_owned()),
    }
}
