//! TLS before a plain origin: it remembers the server names clients asked for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

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
    let mut tls = StreamOwned::new(session, stream);
    // One request, one answer: enough to see whose connection is used for what.
    let mut buf = [0; 16 * 1024];
    let mut inner = TcpStream::connect(origin)?;
    loop {
        let len = tls.read(&mut buf)?;
        if len == 0 {
            return Ok(());
        }
        let name = tls.conn.server_name().unwrap_or_default().to_owned();
        log.lock().unwrap().push(name);
        inner.write_all(&buf[..len])?;
        inner.set_read_timeout(Some(Duration::from_millis(300)))?;
        while let Ok(len) = inner.read(&mut buf)
            && len > 0
        {
            tls.write_all(&buf[..len])?;
        }
    }
}
