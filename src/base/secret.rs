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
        let secret = Secret::new("hush");
        assert_eq!(format!("{secret:?} {secret}"), "*** ***");
        assert!(secret.matches("hush") && !secret.matches("hus") && !secret.matches(""));
    }
}
