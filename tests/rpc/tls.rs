//! `rpc-secure`, with a certificate from PEM files and from PKCS#12.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::server::{Server, post, settings};

fn fixture(name: &str) -> String {
    format!("{}/tests/rpc/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn ask_over_tls(server: &Server) -> String {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(fixture("cert.pem")).expect("a certificate");
    roots.add(certificate).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(client, server.connect());
    let call = post(
        "/jsonrpc",
        "Connection: close\r\n",
        br#"{"id":1,"method":"aria2.pauseAll"}"#,
    );
    stream.write_all(&call).expect("sent");
    let mut answer = String::new();
    // The server may leave without a TLS good-bye.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn pem_and_pkcs12_serve_the_same() {
    let (cert, key, p12) = (
        fixture("cert.pem"),
        fixture("key.pem"),
        fixture("server.p12"),
    );
    for options in [
        vec![
            ("rpc-certificate", cert.as_str()),
            ("rpc-private-key", &key),
        ],
        vec![("rpc-certificate", &p12)],
    ] {
        let options: Vec<_> = options
            .into_iter()
            .chain([("rpc-secure", "true")])
            .collect();
        let server = Server::with(&options);
        let answer = ask_over_tls(&server);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(
            answer.ends_with(r#"{"id":1,"jsonrpc":"2.0","result":"OK"}"#),
            "{answer}"
        );
    }
}

#[test]
fn without_a_usable_certificate_there_is_no_server() {
    let server = Server::start();
    for (options, message) in [
        (
            vec![("rpc-secure", "true")],
            "rpc-secure needs rpc-certificate",
        ),
        (
            vec![("rpc-secure", "true"), ("rpc-certificate", "/no/such.p12")],
            "RPC cannot use /no/such.p12 for TLS: No such file or directory (os error 2)",
        ),
    ] {
        let failure = server
            .serve_another(&settings(&options))
            .expect_err("no server");
        assert_eq!(
            (failure.code.code(), failure.message.as_str()),
            (1, message)
        );
    }
}

#[test]
fn a_taken_port_is_told() {
    let server = Server::start();
    let mut taken = settings(&[("disable-ipv6", "true")]);
    taken.port = server.address.port();
    let failure = server.serve_another(&taken).expect_err("no server");
    assert_eq!(
        failure.message,
        format!(
            "RPC cannot listen on {}: Address already in use (os error 98)",
            server.address
        )
    );
}
