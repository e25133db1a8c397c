//! TLS before a plain origin: it remembers the server names clients asked for.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

/// How long one side is listened to before the other one is.
const TURN: Duration = Duration::from_millis(10);

pub struct TlsFront {
    pub address: SocketAddr,
    names: Arc<Mutex<Vec<String>>>,
}

impl TlsFront {
    /// Passes on to `origin`, with the certificate of this name.
    pub fn start(
        origin: SocketAddr,
        identity: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let config = Arc::new(server_config(identity, version));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let names: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = names.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, log) = (config.clone(), log.clone());
                std::thread::spawn(move || serve(stream, origin, config, &log).ok());
            }
        });
        Self { address, names }
    }

    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }
}

/// A server with the certificate of this name.
pub fn server_config(identity: &str, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let path = tls_file(identity);
    let chain = CertificateDer::pem_file_iter(&path).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            chain.collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_file(&path).unwrap(),
        )
        .unwrap()
}

pub fn tls_file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.join("tests/support/tls").join(name)
}

fn serve(
    stream: TcpStream,
    origin: SocketAddr,
    config: Arc<ServerConfig>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut inner = TcpStream::connect(origin)?;
    stream.set_read_timeout(Some(TURN))?;
    inner.set_read_timeout(Some(TURN))?;
    let mut tls = StreamOwned::new(session, stream);
    let mut buf = [0; 16 * 1024];
    loop {
        if let Some(len) = hear(&mut tls, &mut buf)? {
            let name = tls.conn.server_name().unwrap_or_default().to_owned();
            log.lock().unwrap().push(name);
            inner.write_all(&buf[..len])?;
        }
        while let Some(len) = hear(&mut inner, &mut buf)? {
            tls.write_all(&buf[..len])?;
        }
    }
}

/// What comes within a turn; `None`: nothing. That somebody has left is an error.
fn hear(from: &mut impl Read, buf: &mut [u8]) -> std::io::Result<Option<usize>> {
    match from.read(buf) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(len) => Ok(Some(len)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
