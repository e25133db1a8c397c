//! TLS: whom we trust, who we are, and how old it may be. The certificates in `tests/support/tls`
//! are valid until 2126; `authority.pem` has signed the other two, for localhost and 127.0.0.1.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arioso::base::error::{ErrorCode, Retry};
use arioso::option::value::TlsVersion;
use arioso::source::Opening;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::rig::Setup;

fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.join("tests/support/tls").join(name)
}

/// A server that answers everything with `hello`.
struct Server {
    identity: &'static str,
    version: &'static SupportedProtocolVersion,
    asks_for_client: bool,
}

impl Server {
    fn config(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[self.version])
            .unwrap();
        let path = file(self.identity);
        let chain = CertificateDer::pem_file_iter(&path).unwrap();
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&path).unwrap();
        let builder = if self.asks_for_client {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_file(file("authority.pem")).unwrap();
            roots.add(authority).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        builder.with_single_cert(chain, key).unwrap()
    }

    async fn start(self) -> SocketAddr {
        let acceptor = TlsAcceptor::from(Arc::new(self.config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let _ = stream.read(&mut [0; 4096]).await;
                let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                let _ = stream.write_all(reply).await;
                let _ = stream.shutdown().await;
            }
        });
        address
    }
}

const PLAIN: Server = Server {
    identity: "server.pem",
    version: &version::TLS13,
    asks_for_client: false,
};

fn trusting() -> Setup {
    let mut setup = Setup::default();
    setup.settings.tls.ca_certificate = Some(file("authority.pem"));
    setup
}

async fn check_works(server: Server, setup: Setup) {
    let address = server.start().await;
    let mut rig = setup.start(&format!("https://{address}/f"), Opening::Whole);
    rig.opened().await;
    rig.fetch(0, 5);
    rig.idle().await;
    rig.close().await;
    rig.check(b"hello", &[(0, 5)]);
}

async fn check_fails(server: Server, setup: Setup, retry: Option<Retry>) {
    let address = server.start().await;
    let mut rig = setup.start(&format!("https://{address}/f"), Opening::Whole);
    let failure = rig.failure().await;
    assert_eq!(failure.code, ErrorCode::Unknown, "{failure}");
    assert!(
        retry.is_none_or(|retry| failure.retry == retry),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_can_be_added() {
    check_works(PLAIN, trusting()).await;
    check_fails(PLAIN, Setup::default(), Some(Retry::OtherMirror)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checking_can_be_switched_off() {
    let unchecked = || {
        let mut setup = Setup::default();
        setup.settings.tls.check_certificate = false;
        setup
    };
    check_works(PLAIN, unchecked()).await;
    let tls12 = Server {
        version: &version::TLS12,
        ..PLAIN
    };
    check_works(tls12, unchecked()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_good_for_its_purpose_only() {
    let server = Server {
        identity: "client.pem",
        ..PLAIN
    };
    check_fails(server, trusting(), Some(Retry::OtherMirror)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_version_is_enforced() {
    let tls12 = || Server {
        version: &version::TLS12,
        ..PLAIN
    };
    check_works(tls12(), trusting()).await;
    let mut setup = trusting();
    setup.settings.tls.version_min = TlsVersion::Tls13;
    check_fails(tls12(), setup, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_show_our_own_certificate() {
    let server = || Server {
        asks_for_client: true,
        ..PLAIN
    };
    let mut setup = trusting();
    setup.settings.tls.certificate = Some(file("client.pem"));
    setup.settings.tls.private_key = Some(file("client.pem"));
    check_works(server(), setup).await;
    check_fails(server(), trusting(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_certificate_is_named() {
    let mut setup = Setup::default();
    setup.settings.tls.ca_certificate = Some(file("missing.pem"));
    let mut rig = setup.start("https://127.0.0.1:1/f", Opening::Whole);
    assert!(rig.failure().await.message.contains("missing.pem"));
}
