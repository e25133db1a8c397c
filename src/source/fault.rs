//! Pure: failures that every kind of source meets.

use std::time::Duration;

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
    // A certificate stays what it is; everything else may be a passing trouble of the network.
    let retry = match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            Retry::OtherMirror
        }
        _ => AT_ONCE,
    };
    let text = format!("Failed to establish connection, cause: TLS: {error}");
    Failure::new(ErrorCode::Unknown, retry, text)
}
