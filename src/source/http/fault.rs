//! What went wrong below HTTP: which code, what text, what next.

use std::error::Error;
use std::io;

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::net::{ResolveError, proxy};
use crate::source::fault::{AT_ONCE, timed_out, tls_failed};

/// The failure of a request or of reading a body.
pub fn failure_of(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return timed_out();
    }
    if let Some(unresolved) = find::<ResolveError>(error) {
        let code = ErrorCode::NameResolution;
        return Failure::new(code, Retry::OtherMirror, unresolved.to_string());
    }
    if let Some(failure) = of_answer(error) {
        return failure;
    }
    if refused_by_proxy(error) {
        return proxy::unauthorized();
    }
    if error.is_connect() {
        let text = format!("Failed to establish connection, cause: {}", cause(error));
        return Failure::new(ErrorCode::Unknown, AT_ONCE, text);
    }
    broken(error)
}

/// The same of a request over a connection that was dialled here.
pub fn failure_of_dialled(error: &(dyn Error + 'static)) -> Failure {
    match find::<Failure>(error) {
        Some(failure) => failure.clone(),
        None => of_answer(error).unwrap_or_else(|| broken(error)),
    }
}

/// What TLS and HTTP have against the answer.
fn of_answer(error: &(dyn Error + 'static)) -> Option<Failure> {
    if let Some(tls) = find::<rustls::Error>(error) {
        return Some(tls_failed(tls));
    }
    let unreadable = find::<hyper::Error>(error).filter(|broken| broken.is_parse())?;
    let text = format!("The server's response cannot be read: {unreadable}");
    let (code, retry) = (ErrorCode::HttpProtocol, Retry::OtherMirror);
    Some(Failure::new(code, retry, text))
}

fn broken(error: &(dyn Error + 'static)) -> Failure {
    let text = format!("The connection broke: {}", cause(error));
    Failure::new(ErrorCode::Unknown, AT_ONCE, text)
}

/// Whether the server did not look at the request, as it was about to close the HTTP/2 connection
/// (GOAWAY) or had too many streams on it.
pub fn was_not_looked_at(error: &reqwest::Error) -> bool {
    let refused = find::<h2::Error>(error).is_some_and(|error| match error.reason() {
        Some(h2::Reason::NO_ERROR) => error.is_go_away(),
        reason => reason == Some(h2::Reason::REFUSED_STREAM),
    });
    // The library calls a request that waited for its turn when the connection ended the user's
    // own error, or canceled.
    let waited = |error: &hyper::Error| error.is_canceled() || error.is_user();
    refused || find::<hyper::Error>(error).is_some_and(waited)
}

/// 407 in answer to CONNECT. The HTTP library keeps that error's type to itself; its words are
/// all there is to know it by, and a test watches them.
fn refused_by_proxy(error: &reqwest::Error) -> bool {
    chain(error).any(|part| part.to_string() == "tunnel error: proxy authorization required")
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|part| part.downcast_ref())
}

/// The innermost error in words, without the number of the system call's error.
fn cause(error: &(dyn Error + 'static)) -> String {
    let text = chain(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// An error and its causes. `io::Error` leaves the error it wraps out of its `source`.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |part| next_cause(*part))
}

fn next_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}
