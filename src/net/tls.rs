//! TLS for clients: rustls with ring; the system's authorities, Mozilla's where it has none.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    version,
};
use rustls_platform_verifier::Verifier;
use tracing::warn;

use crate::base::error::{ErrorCode, Failure};
use crate::option::settings::TlsSettings;
use crate::option::value::TlsVersion;

/// A client configuration as the options ask for it. Reads the certificate files and the
/// system's authorities: a few milliseconds.
///
/// # Errors
/// A certificate or key file that cannot be read or used (code 1).
pub fn client_config(settings: &TlsSettings) -> Result<ClientConfig, Failure> {
    let builder = with_versions(settings.version_min)?;
    let provider = builder.crypto_provider().clone();
    let verifier: Arc<dyn ServerCertVerifier> = if settings.check_certificate {
        checking_verifier(settings.ca_certificate.as_deref(), provider)?
    } else {
        Arc::new(TrustAnyone { provider })
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    with_identity(builder, settings)
}

/// A configuration that trusts nobody, for clients that never speak TLS: it costs nothing.
///
/// # Errors
/// None in practice.
pub fn no_trust_config() -> Result<ClientConfig, Failure> {
    let roots = RootCertStore::empty();
    Ok(with_versions(TlsVersion::Tls12)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn with_versions(
    min: TlsVersion,
) -> Result<ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Failure> {
    let versions: &[_] = if min == TlsVersion::Tls13 {
        &[&version::TLS13]
    } else {
        &[&version::TLS13, &version::TLS12]
    };
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| unusable("TLS versions", error))
}

fn checking_verifier(
    ca_certificate: Option<&Path>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    let extra = match ca_certificate {
        Some(path) => read_certificates(path)?,
        None => Vec::new(),
    };
    let error = match Verifier::new_with_extra_roots(extra.iter().cloned(), provider.clone()) {
        Ok(verifier) => return Ok(Arc::new(verifier)),
        Err(error) => error,
    };
    warn!(%error, "no certificate authorities of the system; Mozilla's are used");
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots.add_parsable_certificates(extra);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        .map_err(|error| unusable("certificate authorities", error))
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    settings: &TlsSettings,
) -> Result<ClientConfig, Failure> {
    let Some(certificate) = &settings.certificate else {
        return Ok(builder.with_no_client_auth());
    };
    // One PEM file may hold both.
    let key_path = settings.private_key.as_ref().unwrap_or(certificate);
    let chain = read_certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key_path)
        .map_err(|error| unusable(&key_path.display().to_string(), error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable(&certificate.display().to_string(), error))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let name = path.display().to_string();
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| unusable(&name, error))?
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(&name, error))?;
    if certificates.is_empty() {
        return Err(unusable(&name, "it holds no certificate"));
    }
    Ok(certificates)
}

fn unusable(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::fatal(
        ErrorCode::Unknown,
        format!("TLS cannot be set up from {what}: {error}"),
    )
}

/// `check-certificate=false`: whoever answers is the right one.
#[derive(Debug)]
struct TrustAnyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> TlsSettings {
        TlsSettings {
            check_certificate: true,
            ca_certificate: None,
            certificate: None,
            private_key: None,
            version_min: TlsVersion::Tls12,
        }
    }

    #[test]
    fn builds_for_every_choice_without_files() {
        for (check_certificate, version_min) in [
            (true, TlsVersion::Tls13),
            (true, TlsVersion::Tls11),
            (false, TlsVersion::Tls12),
        ] {
            let settings = TlsSettings {
                check_certificate,
                version_min,
                ..settings()
            };
            assert!(client_config(&settings).is_ok());
        }
        assert!(no_trust_config().is_ok());
    }

    #[test]
    fn a_bad_file_is_named() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        for path in [Path::new("/no/such.pem"), empty.path()] {
            for own in [false, true] {
                let mut settings = settings();
                if own {
                    settings.certificate = Some(path.into());
                } else {
                    settings.ca_certificate = Some(path.into());
                }
                let failure = client_config(&settings).unwrap_err();
                assert!(failure.message.contains(&path.display().to_string()));
            }
        }
    }
}
