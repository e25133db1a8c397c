//! Pure: what went wrong with SSH or SFTP: which code, what text, what next.

use std::io::ErrorKind;
use std::path::Path;

use russh::ChannelOpenFailure;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{Status, StatusCode};

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::source::fault::{AT_ONCE, timed_out};

/// A request that names a file.
pub fn of_open(error: &Error) -> Failure {
    match error {
        Error::Status(status) if status.status_code == StatusCode::NoSuchFile => Failure::new(
            ErrorCode::ResourceNotFound,
            Retry::OtherMirror,
            "Resource not found: the server has no such file",
        ),
        other => of_request(other, Retry::OtherMirror),
    }
}

/// A request that reads an open file: another connection may still read it.
pub fn of_read(error: &Error) -> Failure {
    of_request(error, AT_ONCE)
}

fn of_request(error: &Error, after_refusal: Retry) -> Failure {
    match error {
        Error::Status(status) => refused(status, after_refusal),
        Error::Timeout => timed_out(),
        Error::UnexpectedPacket => protocol("its answer is to another question"),
        Error::Limited(text) => protocol(text),
        // Requests that wait when the channel ends fail with such an error, and so does a packet
        // that makes no sense.
        Error::UnexpectedBehavior(_) => {
            let text = "The SFTP server broke off";
            Failure::new(ErrorCode::Unknown, AT_ONCE, text)
        }
        Error::IO(text) => broken(text),
    }
}

fn refused(status: &Status, retry: Retry) -> Failure {
    let code = status.status_code;
    let retry = match code {
        StatusCode::NoConnection | StatusCode::ConnectionLost => AT_ONCE,
        StatusCode::PermissionDenied | StatusCode::OpUnsupported => Retry::OtherMirror,
        _ => retry,
    };
    let words = status.error_message.chars().filter(|c| !c.is_control());
    let words: String = words.take(200).collect();
    let mut text = format!("The SFTP server refuses: {code}");
    if !words.is_empty() && !words.eq_ignore_ascii_case(&code.to_string()) {
        text = format!("{text} ({words})");
    }
    Failure::new(ErrorCode::Unknown, retry, text)
}

fn protocol(what: &str) -> Failure {
    let text = format!("The server does not keep to SFTP: {what}");
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

pub fn no_sftp() -> Failure {
    let text = "The SSH server offers no SFTP";
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

pub fn is_directory() -> Failure {
    let text = "Resource not found: it is a directory";
    Failure::new(ErrorCode::ResourceNotFound, Retry::OtherMirror, text)
}

/// The connection below.
pub fn of_ssh(error: &russh::Error) -> Failure {
    use russh::Error as Ssh;
    let told = |retry, text: String| Failure::new(ErrorCode::Unknown, retry, text);
    match error {
        Ssh::Disconnect | Ssh::HUP | Ssh::RecvError | Ssh::SendError => hung_up(),
        Ssh::IO(error) if error.kind() == ErrorKind::UnexpectedEof => hung_up(),
        Ssh::ConnectionTimeout
        | Ssh::KeepaliveTimeout
        | Ssh::InactivityTimeout
        | Ssh::Elapsed(_) => timed_out(),
        Ssh::Version => told(
            Retry::OtherMirror,
            "The server does not speak SSH".to_owned(),
        ),
        Ssh::UnknownKey => told(
            Retry::OtherMirror,
            "The SSH server's host key cannot be read".to_owned(),
        ),
        Ssh::NoCommonAlgo { kind, theirs, .. } => told(
            Retry::OtherMirror,
            format!(
                "The SSH server and arioso have no {kind:?} algorithm in common: it offers {}",
                theirs.join(", ")
            ),
        ),
        Ssh::ChannelOpenFailure(why) => {
            let retry = match why {
                ChannelOpenFailure::ResourceShortage | ChannelOpenFailure::ConnectFailed => AT_ONCE,
                _ => Retry::OtherMirror,
            };
            told(retry, format!("The SSH server opens no channel: {why:?}"))
        }
        other => broken(other),
    }
}

pub fn hung_up() -> Failure {
    let text = "The SSH server closed the connection";
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

/// The connection below, in the words of a library.
pub fn broken(error: &impl std::fmt::Display) -> Failure {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let text = format!("The SSH connection broke: {words}");
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

/// A login that the server does not take; `offered` in vain.
pub fn not_logged_in(user: &str, offered: &[&str]) -> Failure {
    let text = match offered.is_empty() {
        true => format!("there is no password and no key for {user}"),
        false => {
            let means = offered.join(" or ");
            format!("the server does not let {user} in by {means}")
        }
    };
    let text = format!("SSH authentication failure: {text}");
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

pub fn wrong_host_key(kind: &str, found: &str) -> Failure {
    let text = format!("Unexpected SSH host key: its {kind} is {found}");
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

pub fn unusable_key(path: &Path, why: &russh::keys::Error) -> Failure {
    let why = match why {
        russh::keys::Error::KeyIsEncrypted => "it has a passphrase".to_owned(),
        russh::keys::Error::CouldNotReadKey => "it is no private key".to_owned(),
        other => other.to_string(),
    };
    let text = format!("The key {} cannot be used: {why}", path.display());
    // Another mirror may ask for none.
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}
