//! TLS of the RPC server: certificate and key from PEM files or from one PKCS#12 file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::base::error::{ErrorCode, Failure};
use crate::option::settings::RpcSettings;
use crate::option::value::TlsVersion;

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The acceptor `rpc-secure` asks for; `None` without it. Reads files.
///
/// # Errors
/// No certificate is set, or it cannot be read or used (code 1).
pub fn acceptor(settings: &RpcSettings) -> Result<Option<TlsAcceptor>, Failure> {
    if !settings.secure {
        return Ok(None);
    }
    let Some(certificate) = &settings.certificate else {
        return Err(failure("rpc-secure needs rpc-certificate"));
    };
    let (chain, key) = match &settings.private_key {
        Some(key) => from_pem(certificate, key)?,
        None => from_pkcs12(certificate)?,
    };
    let versions: &[_] = match settings.tls_version_min {
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| unusable(certificate, error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(certificate, error))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn from_pem(certificate: &Path, key: &Path) -> Result<Identity, Failure> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
    Ok((chain, key))
}

/// PKCS#12 with an empty password, as aria2 wants it (RFC 7292).
fn from_pkcs12(path: &Path) -> Result<Identity, Failure> {
    let file = fs::read(path).map_err(|error| unusable(path, error))?;
    let store = KeyStore::from_pkcs12(&file, "", Pkcs12ImportPolicy::Relaxed)
        .map_err(|error| unusable(path, error))?;
    let Some((_, chain)) = store.private_key_chain() else {
        return Err(unusable(path, "it holds no private key"));
    };
    let certificates = chain
        .certs()
        .iter()
        .map(|certificate| CertificateDer::from(certificate.as_der().to_vec()))
        .collect();
    let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
    Ok((certificates, key.into()))
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> Failure {
    failure(format!(
        "RPC cannot use {} for TLS: {error}",
        path.display()
    ))
}

fn failure(message: impl Into<String>) -> Failure {
    Failure::fatal(ErrorCode::Unknown, message)
}
