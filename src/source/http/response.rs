//! Pure: what a response means: the facts about the file and its body, a redirect, or a failure.
//!
//! No byte is taken whose place in the file the response does not prove.

use std::time::{Duration, SystemTime};

use ::http::StatusCode;
use ::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};

use super::content_range::{self, ContentRange};
use super::digest_header;
use super::disposition;
use super::request::Ask;
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::units::Span;
use crate::net::proxy;
use crate::option::settings::HttpSettings;
use crate::source::identity::contradiction;
use crate::source::{Facts, Identity};

/// A server that asks for a longer pause than this is asked again all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What a response that is no failure means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The file, or what there is to know about it.
    Found(Box<Found>),
    /// Look there.
    Redirect(Vec<u8>),
    /// Asks for credentials.
    Unauthorized,
}

impl Answer {
    fn found(found: Found) -> Self {
        Self::Found(Box::new(found))
    }
}

/// The resource is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// `final_uri` is left to whoever knows it.
    pub facts: Facts,
    /// Where the body ends in the file, exclusive, if the response says so.
    pub body_end: Option<u64>,
    /// The file may go on behind the body.
    pub is_part: bool,
    pub coding: Coding,
}

/// How a body has to be decoded on its way to the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    Identity,
    Gzip,
    Deflate,
}

/// A response's head and the request it answers.
pub struct Head<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    pub ask: &'a Ask,
    pub settings: &'a HttpSettings,
    /// What the file has to be.
    pub expect: &'a Identity,
    /// Host and port that were asked.
    pub server: Option<&'a str>,
    /// For a `Retry-After` that is a date, where the server sends no clock of its own.
    pub now: SystemTime,
}

impl Head<'_> {
    /// Reads the head.
    ///
    /// # Errors
    /// An error status, a response that breaks the protocol, or another file than expected.
    pub fn read(&self) -> Result<Answer, Failure> {
        match self.status.as_u16() {
            200 | 203 | 206 if self.ask.piece.is_some() => self.piece().map(Answer::found),
            200 | 203 => self.whole().map(Answer::found),
            206 => self.part().map(Answer::found),
            304 if self.ask.if_modified_since.is_some() => Ok(Answer::found(self.not_modified())),
            300..=303 | 307 | 308 => match self.headers.get(LOCATION) {
                Some(location) => Ok(Answer::Redirect(location.as_bytes().to_vec())),
                None => Err(protocol(format!(
                    "Got {} status, but no location header provided.",
                    self.status.as_u16()
                ))),
            },
            401 => Ok(Answer::Unauthorized),
            416 => self.past_the_end().map(Answer::found),
            _ => Err(self.refusal()),
        }
    }

    fn whole(&self) -> Result<Found, Failure> {
        let len = self.content_len()?;
        let coding = self.coding();
        let decoded = coding != Coding::Identity;
        let encoded = decoded || self.is_encoded();
        let len = len.filter(|_| !decoded);
        let identity = self.identity(len)?;
        let no_ranges = self.has_token(ACCEPT_RANGES, "none");
        let facts = Facts {
            body_from: (!self.ask.head).then_some(0),
            // A whole file in answer to a range says as much as `Accept-Ranges: none`.
            ranges: len.is_some() && !no_ranges && !encoded && self.ask.range.is_none(),
            ..self.facts(identity)
        };
        Ok(Found {
            facts,
            body_end: len,
            is_part: false,
            coding,
        })
    }

    /// Nothing but the bytes that were asked for.
    fn piece(&self) -> Result<Found, Failure> {
        let asked = self.ask.piece.map_or(Span::new(0, 0), |piece| piece.span);
        if self.is_encoded() {
            return Err(cannot_resume("parts of an encoded body cannot be joined"));
        }
        if let Some(len) = self.content_len()?.filter(|len| *len != asked.len()) {
            let wanted = asked.len();
            let text = format!("The server sent {len} bytes, asked for were {wanted}");
            return Err(protocol(text));
        }
        Ok(Found {
            facts: Facts {
                body_from: Some(asked.start),
                ranges: true,
                ..Facts::default()
            },
            body_end: Some(asked.end),
            is_part: true,
            coding: Coding::Identity,
        })
    }

    fn part(&self) -> Result<Found, Failure> {
        if self.is_encoded() {
            return Err(cannot_resume("parts of an encoded body cannot be joined"));
        }
        let asked = self.ask.range.map_or(0, |range| range.start);
        let content_len = self.content_len()?;
        let (end, total) = match self.content_range() {
            None if self.ask.range.is_none() => (content_len, content_len),
            Some(ContentRange::Part { start, end, total }) if start == asked => (Some(end), total),
            Some(ContentRange::Part { start, .. }) => {
                return Err(protocol(format!(
                    "The server sent bytes from {start}, asked for were those from {asked}"
                )));
            }
            _ => {
                let why = "The server does not say which bytes it sent";
                return Err(Failure::new(
                    ErrorCode::HttpProtocol,
                    Retry::After(Duration::ZERO),
                    why,
                ));
            }
        };
        // A body shorter than its range counts as far as it goes.
        let end = match (end, content_len) {
            (Some(end), Some(len)) => Some(end.min(asked + len)),
            (end, _) => end,
        };
        // Status 206 without a range being asked for: the part may be all there is to have.
        let facts = Facts {
            body_from: (!self.ask.head).then_some(asked),
            ranges: self.ask.range.is_some() || total.is_some(),
            ..self.facts(self.identity(total)?)
        };
        Ok(Found {
            facts,
            body_end: end,
            is_part: self.content_range().is_some(),
            coding: Coding::Identity,
        })
    }

    /// 416: nothing of the file lies at or after the start asked for.
    fn past_the_end(&self) -> Result<Found, Failure> {
        let open_ended = self.ask.range.is_some_and(|range| range.end.is_none());
        match self.content_range() {
            Some(ContentRange::Unsatisfied { total }) if open_ended => Ok(Found {
                facts: Facts {
                    ranges: true,
                    ..self.facts(self.identity(Some(total))?)
                },
                body_end: None,
                is_part: false,
                coding: Coding::Identity,
            }),
            _ => Err(self.refusal()),
        }
    }

    fn not_modified(&self) -> Found {
        Found {
            facts: Facts {
                not_modified: true,
                ..self.facts(Identity::default())
            },
            body_end: None,
            is_part: false,
            coding: Coding::Identity,
        }
    }

    fn facts(&self, identity: Identity) -> Facts {
        let name = self.headers.get(CONTENT_DISPOSITION).and_then(|value| {
            disposition::file_name(value.as_bytes(), self.settings.content_disposition_utf8)
        });
        let content_type = self.text(CONTENT_TYPE).map(|text| {
            let kind = text.split(';').next().unwrap_or_default();
            kind.trim().to_ascii_lowercase()
        });
        let modified = identity
            .last_modified
            .as_deref()
            .and_then(|text| httpdate::parse_http_date(text).ok())
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok());
        Facts {
            identity,
            name,
            content_type,
            modified,
            ..Facts::default()
        }
    }

    fn identity(&self, len: Option<u64>) -> Result<Identity, Failure> {
        // Where nobody asks, a digest is taken only as proof against one that is known.
        let heeds_digest = self.settings.want_digest || self.expect.digest.is_some();
        let found = Identity {
            len,
            etag: self.text(ETAG),
            last_modified: self.text(LAST_MODIFIED),
            server: self.server.map(str::to_owned),
            digest: (heeds_digest && !self.is_encoded())
                .then(|| digest_header::strongest(self.headers))
                .flatten(),
        };
        // A part need not repeat the length, a whole file without one proves nothing.
        let proven = len.is_some() || self.status == StatusCode::PARTIAL_CONTENT;
        match contradiction(self.expect, &found, proven) {
            None => Ok(found),
            Some(what) => {
                // What is known is a length that no server told: a Metalink's. aria2 asks for a
                // range then and takes the answer for a server that cannot give it.
                let code = match self.expect.is_only_len() && found.len.is_some() {
                    true => ErrorCode::CannotResume,
                    false => ErrorCode::Unknown,
                };
                Err(Failure::new(
                    code,
                    Retry::OtherMirror,
                    format!("The server has another file than expected: {what}"),
                ))
            }
        }
    }

    /// The length of the body. With a transfer coding, `Content-Length` counts for nothing
    /// (RFC 9112, 6.3).
    fn content_len(&self) -> Result<Option<u64>, Failure> {
        if self.headers.contains_key(TRANSFER_ENCODING) {
            return if self.has_only_chunked() {
                Ok(None)
            } else {
                Err(protocol("The server uses an unknown transfer coding"))
            };
        }
        let mut lens = self
            .headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .flat_map(|value| {
                let text = value.to_str().unwrap_or("?");
                text.split(',')
                    .map(|part| content_range::len_of(part.trim()))
            });
        let Some(first) = lens.next() else {
            return Ok(None);
        };
        match first {
            Some(len) if lens.all(|other| other == first) => Ok(Some(len)),
            _ => Err(protocol("The server sent an impossible Content-Length")),
        }
    }

    fn has_only_chunked(&self) -> bool {
        self.headers.get_all(TRANSFER_ENCODING).iter().all(|value| {
            value.to_str().is_ok_and(|text| {
                text.split(',').all(|coding| {
                    let coding = coding.trim();
                    coding.is_empty()
                        || coding.eq_ignore_ascii_case("chunked")
                        || coding.eq_ignore_ascii_case("identity")
                })
            })
        })
    }

    fn content_range(&self) -> Option<ContentRange> {
        content_range::parse(self.headers.get(CONTENT_RANGE)?.as_bytes())
    }

    fn is_encoded(&self) -> bool {
        self.text(CONTENT_ENCODING)
            .is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
    }

    /// Only what was asked for is decoded: `.tar.gz` files are often sent as encoded `.tar`.
    fn coding(&self) -> Coding {
        if !self.ask.accepts_gzip(self.settings) {
            return Coding::Identity;
        }
        match self
            .text(CONTENT_ENCODING)
            .map(|text| text.to_ascii_lowercase())
        {
            Some(coding) if coding == "gzip" || coding == "x-gzip" => Coding::Gzip,
            Some(coding) if coding == "deflate" => Coding::Deflate,
            _ => Coding::Identity,
        }
    }

    fn refusal(&self) -> Failure {
        let status = self.status.as_u16();
        if status == 407 {
            return proxy::unauthorized();
        }
        let (code, text) = match status {
            404 => (ErrorCode::ResourceNotFound, "Resource not found".to_owned()),
            100..=399 => (
                ErrorCode::HttpProtocol,
                format!("Unexpected status {status}"),
            ),
            502..=504 => (ErrorCode::HttpServiceUnavailable, unsuccessful(status)),
            _ => (ErrorCode::HttpProtocol, unsuccessful(status)),
        };
        let passing = match status {
            408 | 425 | 429 | 500 | 502..=504 | 520..=524 => true,
            400 => self.settings.retry_on_400,
            403 => self.settings.retry_on_403,
            406 => self.settings.retry_on_406,
            401 | 404 | 410 | 416 => false,
            _ => self.settings.retry_on_unknown,
        };
        let retry = if passing {
            Retry::After(self.retry_after())
        } else {
            Retry::OtherMirror
        };
        Failure::new(code, retry, text)
    }

    /// Seconds or a date (RFC 9110, 10.2.3); a date is held against the server's own clock.
    fn retry_after(&self) -> Duration {
        let Some(text) = self.text(RETRY_AFTER) else {
            return Duration::ZERO;
        };
        if let Ok(seconds) = text.parse() {
            return Duration::from_secs(seconds).min(RETRY_AFTER_MAX);
        }
        let date = |text: &str| httpdate::parse_http_date(text).ok();
        let now = self
            .text(DATE)
            .and_then(|text| date(&text))
            .unwrap_or(self.now);
        date(&text)
            .and_then(|then| then.duration_since(now).ok())
            .unwrap_or_default()
            .min(RETRY_AFTER_MAX)
    }

    fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.text(name)
            .is_some_and(|text| text.eq_ignore_ascii_case(token))
    }

    fn text(&self, name: HeaderName) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }
}

/// The failure of a server that sends the whole file when asked for a part.
pub fn cannot_resume(why: &str) -> Failure {
    Failure::new(
        ErrorCode::CannotResume,
        Retry::OtherMirror,
        format!("The server cannot resume: {why}"),
    )
}

/// The failure after a 401 that credentials did not help or that had none.
pub fn unauthorized() -> Failure {
    Failure::new(
        ErrorCode::HttpAuthFailed,
        Retry::OtherMirror,
        "Authorization failed.",
    )
}

fn protocol(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::HttpProtocol, Retry::OtherMirror, message)
}

fn unsuccessful(status: u16) -> String {
    format!("The response status is not successful. status={status}")
}

#[cfg(test)]
mod tests;
