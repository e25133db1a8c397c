//! Pure: what a refusal or a broken connection of FTP means: which code, what text, what next.

use std::io;

use super::path::Unusable;
use super::reply::{Malformed, Reply};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::source::fault::{AT_ONCE, tls_failed};
use crate::source::login::Login;

/// A command that the server refuses. What is transient may be asked again.
pub fn refused(command: &str, reply: &Reply) -> Failure {
    let retry = match reply.is_transient() {
        true => AT_ONCE,
        false => Retry::OtherMirror,
    };
    let text = format!(
        "The FTP server answers {} to {command}: {}",
        reply.code,
        first_line(&reply.text)
    );
    Failure::new(ErrorCode::FtpCommand, retry, text)
}

/// A refusal of a command that names a file or directory: 550 says that it is not there.
pub fn refused_file(command: &str, reply: &Reply) -> Failure {
    if reply.code != 550 {
        return refused(command, reply);
    }
    let text = format!("Resource not found: {}", first_line(&reply.text));
    Failure::new(ErrorCode::ResourceNotFound, Retry::OtherMirror, text)
}

/// A login the server does not take. Where others are logged in already it is short of room for
/// one more rather than of trust.
pub fn refused_login(reply: &Reply, login: &Login, others_are_in: bool) -> Failure {
    let mut failure = refused("the login", reply);
    let secrets = [Some(&login.password), login.account.as_ref()];
    let mut words = secrets.iter().flatten().map(|secret| secret.reveal());
    if words.any(|word| !word.is_empty() && reply.text.contains(word)) {
        // It repeats what must not be seen.
        failure.message = format!("The FTP server answers {} to the login", reply.code);
    }
    if others_are_in {
        failure.retry = AT_ONCE;
    }
    failure
}

/// The control connection stands, but none for the data can be made.
pub fn no_data_connection(failure: Failure) -> Failure {
    let message = format!("No data connection: {}", failure.message);
    Failure { message, ..failure }
}

/// The URI names nothing that can be asked for.
pub fn unusable_path(why: Unusable) -> Failure {
    let text = match why {
        Unusable::NoFile => "The URI names a directory, not a file",
        Unusable::LineBreak => "The path in the URI holds a line break or a zero byte",
    };
    Failure::new(ErrorCode::Unknown, Retry::OtherMirror, text)
}

pub fn unreadable(why: Malformed) -> Failure {
    let text = match why {
        Malformed::NoCode => "The server's answer is not FTP",
        Malformed::TooLong => "The server's answer is too long for FTP",
    };
    Failure::new(ErrorCode::FtpCommand, Retry::OtherMirror, text)
}

pub fn protocol(text: &str) -> Failure {
    Failure::new(ErrorCode::FtpCommand, Retry::OtherMirror, text)
}

pub fn broken(error: &io::Error) -> Failure {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(tls) = tls {
        return tls_failed(tls);
    }
    let text = error.to_string();
    let words = text
        .split_once(" (os error")
        .map_or(text.as_str(), |(words, _)| words);
    let text = format!("The connection broke: {words}");
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

pub fn hung_up() -> Failure {
    let text = "The FTP server closed the connection";
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    fn reply(code: u16) -> Reply {
        Reply {
            code,
            text: "no\u{7} way\nmore".to_owned(),
        }
    }

    fn login() -> Login {
        Login {
            user: "user".to_owned(),
            password: Secret::new("s3cret"),
            account: None,
            has_password: true,
        }
    }

    #[test]
    fn a_server_that_repeats_the_password_is_not_quoted() {
        let echo = Reply {
            code: 530,
            text: "user:s3cret is wrong".to_owned(),
        };
        let text = refused_login(&echo, &login(), false).message;
        assert_eq!(text, "The FTP server answers 530 to the login");
    }

    #[test]
    fn codes_and_what_next() {
        for (failure, code, retry) in [
            (refused("SIZE", &reply(500)), 21, Retry::OtherMirror),
            (refused("RETR", &reply(425)), 21, AT_ONCE),
            (refused_file("RETR", &reply(550)), 3, Retry::OtherMirror),
            (refused_file("RETR", &reply(450)), 21, AT_ONCE),
            (
                refused_login(&reply(530), &login(), false),
                21,
                Retry::OtherMirror,
            ),
            (refused_login(&reply(530), &login(), true), 21, AT_ONCE),
            (unusable_path(Unusable::NoFile), 1, Retry::OtherMirror),
            (unreadable(Malformed::NoCode), 21, Retry::OtherMirror),
            (hung_up(), 1, AT_ONCE),
        ] {
            assert_eq!(
                (failure.code.code(), failure.retry),
                (code, retry),
                "{failure}"
            );
        }
        assert!(
            refused("SIZE", &reply(500))
                .message
                .ends_with("500 to SIZE: no way")
        );
    }
}
