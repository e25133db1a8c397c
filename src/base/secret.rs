//! Pure: values that must not reach a log, a console or a panic message.

use std::fmt;

use subtle::ConstantTimeEq;

/// A password or token; prints as `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares without telling by its time how much was right.
    pub fn matches(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URI as logs may show it: user name, password and query values are hidden.
pub struct SafeUrl<'a>(pub &'a str);

impl fmt::Display for SafeUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rest, query) = match self.0.split_once('?') {
            Some((rest, _)) => (rest, true),
            None => (self.0, false),
        };
        let shown = match rest.split_once("://") {
            Some((scheme, after)) => {
                let host_end = after.find('/').unwrap_or(after.len());
                match after[..host_end].rfind('@') {
                    Some(at) => format!("{scheme}://***@{}", &after[at + 1..]),
                    None => rest.to_owned(),
                }
            }
            None => rest.to_owned(),
        };
        f.write_str(&shown)?;
        if query { f.write_str("?***") } else { Ok(()) }
    }
}

impl fmt::Debug for SafeUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A tracker's URI as logs may show it: also what of the path looks like a key of its user.
pub struct SafeTracker<'a>(pub &'a str);

/// Parts of a path that hold a digit and have so many letters and digits are keys…
const KEY_LEN_MIN: usize = 10;
/// …and so many without one.
const KEY_LEN_SURE: usize = 20;

impl fmt::Display for SafeTracker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = SafeUrl(self.0).to_string();
        let (scheme, rest) = safe.split_once("://").unwrap_or(("", &safe));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !scheme.is_empty() {
            write!(f, "{scheme}://")?;
        }
        f.write_str(host)?;
        if rest.len() == host.len() {
            return Ok(());
        }
        for part in path.split('/') {
            let (name, query) = part
                .split_once('?')
                .map_or((part, ""), |_| (part.trim_end_matches("?***"), "?***"));
            write!(f, "/{}{query}", if is_key(name) { "***" } else { name })?;
        }
        Ok(())
    }
}

fn is_key(part: &str) -> bool {
    let of_a_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=~%+".contains(&byte);
    let len = part.len();
    let digits = part.bytes().any(|byte| byte.is_ascii_digit());
    part.bytes().all(of_a_key) && len >= if digits { KEY_LEN_MIN } else { KEY_LEN_SURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_tokens_are_hidden() {
        for (uri, shown) in [
            ("http://u:p@h/f", "http://***@h/f"),
            ("http://u:p@x@h/f@2", "http://***@h/f@2"),
            ("http://h/f?sig=abc", "http://h/f?***"),
            ("http://h/a@b", "http://h/a@b"),
            ("magnet:?xt=urn:btih:00", "magnet:?***"),
        ] {
            assert_eq!(SafeUrl(uri).to_string(), shown);
        }
        for (uri, shown) in [
            ("http://t/announce", "http://t/announce"),
            ("udp://t:80", "udp://t:80"),
            (
                "http://t/0123456789abcdef/announce",
                "http://t/***/announce",
            ),
            (
                "https://u:p@t:1/announce.php?passkey=1",
                "https://***@t:1/announce.php?***",
            ),
            (
                "http://t/a/abcdefghijklmnopqrstuvwxyz?k",
                "http://t/a/***?***",
            ),
            ("http://t/AbCd-Ef_12=/announce/", "http://t/***/announce/"),
            (
                "http://t/tracker/index.php/announce",
                "http://t/tracker/index.php/announce",
            ),
            ("rubbish", "rubbish"),
        ] {
            assert_eq!(SafeTracker(uri).to_string(), shown);
        }
        let secret = Secret::new("hush");
        assert_eq!(format!("{secret:?} {secret}"), "*** ***");
        assert!(secret.matches("hush") && !secret.matches("hus") && !secret.matches(""));
    }
}
