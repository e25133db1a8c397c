//! Pure: failures that every kind of source meets.

use std::time::Duration;

use rustls::{AlertDescription, Error, InvalidMessage};

use crate::base::error::{ErrorCode, Failure, Retry};

/// Passing trouble: worth another try without a wait of its own.
pub const AT_ONCE: Retry = Retry::After(Duration::ZERO);

/// A time limit passed.
pub fn timed_out() -> Failure {
    Failure::new(ErrorCode::Timeout, AT_ONCE, "Timeout.")
}

/// The connection ended before the lease was full.
pub fn cut_short(at: u64) -> Failure {
    let text = format!("The server closed the connection early, at byte {at}");
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

/// TLS could not be agreed on.
pub fn tls_failed(error: &rustls::Error) -> Failure {
    // What the two sides are stays as it is; everything else may be a passing trouble of the network.
    let retry = match error {
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::PeerIncompatible(_)
        | Error::InvalidMessage(InvalidMessage::InvalidContentType) => Retry::OtherMirror,
        Error::AlertReceived(alert) if is_final(*alert) => Retry::OtherMirror,
        _ => AT_ONCE,
    };
    let cause = match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server answers without TLS".to_owned()
        }
        Error::AlertReceived(alert) => format!("the server refuses with {alert:?}"),
        other => other.to_string(),
    };
    let text = format!("Failed to establish connection, cause: TLS: {cause}");
    Failure::new(ErrorCode::Unknown, retry, text)
}

/// Whether a server would refuse the next handshake as well (RFC 8446, section 6.2).
fn is_final(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::HandshakeFailure
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::UnrecognisedName
    )
}
