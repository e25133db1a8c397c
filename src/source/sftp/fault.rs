//! Pure: what went wrong with SSH or SFTP: which code, what text, what next.

use russh_sftp::client::error::Error;
use russh_sftp::protocol::StatusCode;

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::source::fault::{AT_ONCE, timed_out};

/// A request that names or reads a file.
pub fn of_file(error: &Error) -> Failure {
    match error {
        Error::Status(status) if status.status_code == StatusCode::NoSuchFile => Failure::new(
            ErrorCode::ResourceNotFound,
            Retry::OtherMirror,
            "Resource not found: the server has no such file",
        ),
        Error::Status(status) => Failure::new(
            ErrorCode::Unknown,
            Retry::OtherMirror,
            format!("The SFTP server refuses: {}", status.status_code),
        ),
        Error::Timeout => timed_out(),
        other => broken(other),
    }
}

/// The connection below.
pub fn broken(error: &impl std::fmt::Display) -> Failure {
    let text = format!("The SSH connection broke: {error}");
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

pub fn not_logged_in(user: &str) -> Failure {
    let text = format!("SSH authentication failure: the server does not let {user} in");
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

pub fn wrong_host_key(kind: &str, found: &str) -> Failure {
    let text = format!("Unexpected SSH host key: its {kind} is {found}");
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

pub fn unusable_key(path: &std::path::Path, why: &impl std::fmt::Display) -> Failure {
    let text = format!("The key {} cannot be used: {why}", path.display());
    Failure::fatal(ErrorCode::Unknown, text)
}
