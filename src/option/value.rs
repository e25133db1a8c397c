//! Pure: between text and value, and the errors users read.

use std::fmt;
use std::sync::Arc;

pub use super::choice::*;
use super::proxy;
use super::spec::{HOME, Kind, LIST, OptionSpec, find};
pub use super::typed::*;

/// A checked value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Bool(bool),
    /// Whole numbers and sizes in bytes.
    Int(i64),
    /// Index into the words of the choice.
    Choice(u8),
    /// Everything else, normalised; empty means none.
    Text(Arc<str>),
    Lines(Arc<[Arc<str>]>),
}

impl Value {
    /// The text that `getOption` shows and session files hold.
    pub fn print(&self, spec: &OptionSpec) -> String {
        match self {
            Value::Bool(on) => on.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Choice(at) => match spec.kind {
                Kind::Choice(words) => words
                    .get(usize::from(*at))
                    .copied()
                    .unwrap_or_default()
                    .into(),
                _ => String::new(),
            },
            // aria2 keeps the coefficients apart and shows only that it is on.
            Value::Text(text) if spec.kind == Kind::Coefficients && text.contains(':') => {
                "true".into()
            }
            Value::Text(text) => text.to_string(),
            Value::Lines(lines) => lines.iter().flat_map(|line| [line, "\n"]).collect(),
        }
    }
}

/// An option or a value that is not acceptable: exit status and `errorCode` 28.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionError {
    /// The option's long name.
    pub name: String,
    /// The refused text; empty for secrets.
    pub value: String,
    /// What is wrong, as a sentence.
    pub message: String,
}

impl OptionError {
    fn new(spec: &OptionSpec, value: &str, message: impl Into<String>) -> Self {
        Self {
            name: spec.name.to_owned(),
            value: if spec.is_secret() {
                String::new()
            } else {
                value.to_owned()
            },
            message: message.into(),
        }
    }

    /// The sentence that RPC answers with (rpc.md section 3).
    pub fn rpc_text(&self) -> String {
        format!(
            "We encountered a problem while processing the option '--{}'.",
            self.name
        )
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if find(&self.name).is_none() {
            return f.write_str(&self.message);
        }
        write!(f, "{} {}", self.rpc_text(), self.message)?;
        if !self.value.is_empty() {
            write!(f, " The value given was '{}'.", self.value)?;
        }
        Ok(())
    }
}

impl std::error::Error for OptionError {}

/// Checks and normalises the text of a value; `home` stands for `${HOME}`.
pub(super) fn parse(
    spec: &OptionSpec,
    text: &str,
    home: Option<&str>,
) -> Result<Value, OptionError> {
    let fail = |message: String| OptionError::new(spec, text, message);
    let name = spec.name;
    if text.contains('\0') {
        return Err(fail(format!("{name} must not contain a NUL byte.")));
    }
    match spec.kind {
        Kind::Flag | Kind::Command => match text {
            "true" | "" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(fail(format!("{name} must be either 'true' or 'false'."))),
        },
        Kind::Int(min, max) => {
            let number =
                parse_int(text).ok_or_else(|| fail(format!("{name} must be a whole number.")))?;
            check_bounds(name, number, min, max).map_err(fail)?;
            Ok(Value::Int(number))
        }
        Kind::Size(min, max) => {
            let size = parse_size(text).ok_or_else(|| {
                fail(format!(
                    "{name} must be a size in bytes such as 500, 32K or 4M."
                ))
            })?;
            check_bounds(name, size, min, max).map_err(fail)?;
            Ok(Value::Int(size))
        }
        Kind::Float(min) => {
            if text.is_empty() {
                return Ok(Value::Text("".into()));
            }
            let number: f64 = text
                .trim()
                .parse()
                .map_err(|_| fail(format!("{name} must be a number.")))?;
            if !number.is_finite() {
                return Err(fail(format!("{name} must be a number.")));
            }
            if number < min {
                return Err(fail(format!(
                    "{name} must be greater than or equal to {min:.1}."
                )));
            }
            Ok(Value::Text(text.into()))
        }
        Kind::Choice(words) => match words.iter().position(|word| *word == text) {
            Some(at) => Ok(Value::Choice(at as u8)),
            None => {
                let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                Err(fail(format!(
                    "{name} must be one of the following: {}.",
                    words.join(" ")
                )))
            }
        },
        Kind::Text | Kind::Commas | Kind::HelpTopic => Ok(Value::Text(text.into())),
        Kind::Token if text.is_empty() => Err(fail(format!("{name} must not be empty."))),
        Kind::Token => Ok(Value::Text(text.into())),
        Kind::Path => Ok(Value::Text(expand_home(spec, text, home).into())),
        Kind::Lines => Ok(Value::Lines(split_lines(spec, text))),
        Kind::Ranges(min, max) => {
            let ranges = check_ranges(name, text, min, max).map_err(fail)?;
            Ok(Value::Text(
                if ranges.is_empty() { "" } else { text }.into(),
            ))
        }
        Kind::Proxy => proxy::normalise(text)
            .map(|proxy| Value::Text(proxy.into()))
            .ok_or_else(|| {
                fail(format!(
                    "{name} must look like [http://][user:password@]host[:port]."
                ))
            }),
        Kind::HostPort => check_host_port(text)
            .map(|()| Value::Text(text.into()))
            .ok_or_else(|| {
                fail(format!(
                    "{name} must look like host:port, with a port between 1 and 65535."
                ))
            }),
        Kind::Digest(types) => {
            let digest = split_digest(text).filter(|(kind, _)| types.contains(kind));
            digest.ok_or_else(|| {
                fail(format!(
                    "{name} must look like type=hexdigits, with a type of {} and all its digits.",
                    types.join(", ")
                ))
            })?;
            Ok(Value::Text(text.into()))
        }
        Kind::Gid => {
            let gid: crate::base::gid::Gid = text.parse().map_err(|_| {
                fail(format!(
                    "{name} must be 16 hex digits that are not all zero."
                ))
            })?;
            Ok(Value::Text(gid.to_string().into()))
        }
        Kind::Coefficients => match text {
            "" | "true" => Ok(Value::Text("true".into())),
            "false" => Ok(Value::Text("false".into())),
            pair if parse_coefficients(pair).is_some() => Ok(Value::Text(pair.into())),
            _ => Err(fail(format!(
                "{name} must be either 'true', 'false' or two numbers A and B written as 'A:B'."
            ))),
        },
        Kind::PiecePriority => parse_piece_ends(text)
            .map(|_| Value::Text(text.into()))
            .map_err(|why| fail(format!("{name} {why}"))),
        Kind::IndexPath => {
            let lines = split_lines(spec, text);
            if lines.iter().all(|line| parse_index_path(line).is_some()) {
                Ok(Value::Lines(lines))
            } else {
                Err(fail(format!("{name} must look like INDEX=PATH.")))
            }
        }
    }
}

/// A file number, from 1, and its path, of one line of `index-out`.
pub fn parse_index_path(line: &str) -> Option<(u32, &str)> {
    let (index, path) = line.split_once('=')?;
    let index = parse_int(index)?;
    if path.is_empty() {
        return None;
    }
    Some((u32::try_from(index).ok()?, path))
}

/// Bytes, with an optional K or M of 1024; spaces around are fine. No fraction, no G.
pub fn parse_size(text: &str) -> Option<i64> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let digits = digits.trim_end();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

fn parse_int(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn check_bounds(name: &str, number: i64, min: i64, max: i64) -> Result<(), String> {
    if (min..=max).contains(&number) {
        Ok(())
    } else if max == i64::MAX {
        Err(format!("{name} must be greater than or equal to {min}."))
    } else {
        Err(format!("{name} must be between {min} and {max}."))
    }
}

/// `1,3-5` as pairs; a reversed range is kept out. `None` when it is not such a list.
pub(super) fn parse_ranges(text: &str) -> Option<Vec<(i64, i64)>> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| match part.split_once('-') {
            Some((first, last)) => Some((parse_int(first)?, parse_int(last)?)),
            None => parse_int(part).map(|number| (number, number)),
        })
        .filter(|pair| !matches!(pair, Some((first, last)) if first > last))
        .collect()
}

fn check_ranges(name: &str, text: &str, min: i64, max: i64) -> Result<Vec<(i64, i64)>, String> {
    let ranges = parse_ranges(text)
        .ok_or_else(|| format!("{name} must be a list of numbers and ranges such as 1,3-5."))?;
    for (first, last) in &ranges {
        check_bounds(name, *first, min, max)?;
        check_bounds(name, *last, min, max)?;
    }
    Ok(ranges)
}

pub(super) fn parse_coefficients(text: &str) -> Option<(f64, f64)> {
    let (a, b) = text.split_once(':')?;
    let pair: (f64, f64) = (a.trim().parse().ok()?, b.trim().parse().ok()?);
    (pair.0.is_finite() && pair.1.is_finite()).then_some(pair)
}

pub(super) fn parse_piece_ends(text: &str) -> Result<PieceEnds, String> {
    const SIZE: u64 = 1 << 20;
    let mut ends = PieceEnds::default();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (end, size) = match part.split_once('=') {
            Some((end, size)) => {
                let size = parse_size(size).and_then(|size| u64::try_from(size).ok());
                (end, size.ok_or("needs a size in bytes after '='.")?)
            }
            None => (part, SIZE),
        };
        match end {
            "head" => ends.head = size,
            "tail" => ends.tail = size,
            _ => return Err("takes head[=SIZE] and tail[=SIZE] only.".to_owned()),
        }
    }
    Ok(ends)
}

/// Hash types aria2 knows, with the number of bytes of each.
pub const DIGEST_TYPES: &[(&str, usize)] = &[
    ("sha-1", 20),
    ("sha-224", 28),
    ("sha-256", 32),
    ("sha-384", 48),
    ("sha-512", 64),
    ("md5", 16),
    ("adler32", 4),
];

/// Type and lower-case hex digits of `type=hex` in any case; `None` unless the type is known and
/// all its digits are there.
pub fn split_digest(text: &str) -> Option<(&'static str, String)> {
    let (kind, hex) = text.split_once('=')?;
    let (kind, hex) = (
        kind.trim().to_ascii_lowercase(),
        hex.trim().to_ascii_lowercase(),
    );
    let (kind, len) = DIGEST_TYPES.iter().find(|(name, _)| *name == kind)?;
    let good = hex.len() == len * 2 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then_some((*kind, hex))
}

fn check_host_port(text: &str) -> Option<()> {
    let text = text.trim();
    if text.is_empty() {
        return Some(());
    }
    // An unbracketed IPv6 address has its port after the last colon.
    let (host, port) = text.rsplit_once(':')?;
    let good = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    good.then_some(())
}

fn expand_home(spec: &OptionSpec, text: &str, home: Option<&str>) -> String {
    match home {
        Some(home) if spec.scope.has(HOME) => text.replace("${HOME}", home),
        _ => text.to_owned(),
    }
}

fn split_lines(spec: &OptionSpec, text: &str) -> Arc<[Arc<str>]> {
    debug_assert!(spec.scope.has(LIST));
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(Arc::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use proptest::prelude::*;

    fn text(name: &str, given: &str) -> Option<String> {
        let spec = find(name).unwrap().spec();
        parse(spec, given, Some("/h"))
            .ok()
            .map(|value| value.print(spec))
    }

    /// What aria2c 1.36 answered to the same texts over RPC.
    #[test]
    fn texts_are_normalised_as_aria2_does() {
        for (name, given, shown) in [
            ("all-proxy", "h", Some("http://h/")),
            ("all-proxy", "h:80", Some("http://h/")),
            ("all-proxy", "h:8080", Some("http://h:8080/")),
            ("all-proxy", "https://h", Some("http://h:443/")),
            ("all-proxy", "ftp://h", Some("http://h:21/")),
            ("all-proxy", "u:p@@h:1", Some("http://u:p@@h:1/")),
            (
                "all-proxy",
                "http://u:p p@h:99/path",
                Some("http://u:p%20p@h:99/path"),
            ),
            ("all-proxy", "[::1]:80", Some("http://[::1]/")),
            ("all-proxy", "h:0", Some("http://h/")),
            ("all-proxy", "u@h", Some("http://u@h/")),
            (
                "all-proxy",
                "\u{fc}:\u{e9}@h",
                Some("http://%C3%BC:%C3%A9@h/"),
            ),
            ("all-proxy", "h?x", Some("http://h/?x")),
            ("all-proxy", "http://u%41:p@h", Some("http://uA:p@h/")),
            ("all-proxy", "", Some("")),
            ("all-proxy", "HTTP://h", None),
            ("all-proxy", "//h", None),
            ("all-proxy", "foo:bar", None),
            ("all-proxy", "h:99999", None),
            ("split", " 5 ", Some("5")),
            ("split", "+5", Some("5")),
            ("split", "05", Some("5")),
            ("split", "9999999999", Some("9999999999")),
            ("split", "5.0", None),
            ("split", "5K", None),
            ("split", "", None),
            ("split", "99999999999999999999", None),
            ("max-tries", "-1", None),
            ("min-split-size", " 2M ", Some("2097152")),
            ("min-split-size", "2 M", Some("2097152")),
            ("min-split-size", "+2m", Some("2097152")),
            ("min-split-size", "1G", None),
            (
                "lowest-speed-limit",
                "9223372036854775807",
                Some("9223372036854775807"),
            ),
            ("lowest-speed-limit", "9007199254740992K", None),
            ("lowest-speed-limit", "K", None),
            ("lowest-speed-limit", "-1", None),
            ("seed-ratio", ".5", Some(".5")),
            ("seed-ratio", "1e3", Some("1e3")),
            ("seed-ratio", " 2.50 ", Some(" 2.50 ")),
            ("seed-ratio", "-1", None),
            ("seed-ratio", "nan", None),
            ("seed-time", "", Some("")),
            ("select-file", "1,,2", Some("1,,2")),
            ("select-file", " 1 , 3 - 5 ", Some(" 1 , 3 - 5 ")),
            ("select-file", "5-1", Some("")),
            ("select-file", "1-", None),
            ("select-file", "0", None),
            ("select-file", "1-1048577", None),
            (
                "checksum",
                "SHA-1=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                Some("SHA-1=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ),
            (
                "checksum",
                "sha-1=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                None,
            ),
            ("checksum", "md5=gggggggggggggggggggggggggggggggg", None),
            ("checksum", "", None),
            (
                "ssh-host-key-md",
                "md5=00000000000000000000000000000000",
                Some("md5=00000000000000000000000000000000"),
            ),
            ("ssh-host-key-md", "adler32=00000000", None),
            ("header", "A: 1\nB: 2", Some("A: 1\nB: 2\n")),
            ("index-out", "1=a", Some("1=a\n")),
            ("index-out", "x=a", None),
            ("index-out", "5", None),
            ("bt-prioritize-piece", "head=1K,tail", Some("head=1K,tail")),
            ("bt-prioritize-piece", "head=,tail", None),
            ("bt-prioritize-piece", "HEAD", None),
            ("continue", "", Some("true")),
            ("continue", "TRUE", None),
            ("file-allocation", "falloc", Some("falloc")),
            ("file-allocation", "", None),
            ("dir", "${HOME}/x", Some("/h/x")),
            ("user-agent", "${HOME}", Some("${HOME}")),
            ("gid", "00AB000000000001", Some("00ab000000000001")),
            ("gid", "5", None),
            ("optimize-concurrent-downloads", "1:2", Some("true")),
            ("optimize-concurrent-downloads", "", Some("true")),
            ("optimize-concurrent-downloads", "a:b", None),
            ("rpc-secret", "", None),
            ("input-file", "", Some("")),
        ] {
            assert_eq!(text(name, given).as_deref(), shown, "{name} {given:?}");
        }
    }

    /// What aria2 leaves to chance.
    #[test]
    fn texts_aria2_would_take_or_refuse_otherwise() {
        assert_eq!(
            text("all-proxy", "socks5://h:1").as_deref(),
            Some("socks5://h:1/")
        );
        assert_eq!(text("seed-ratio", "abc"), None);
        assert_eq!(text("dht-entry-point", "abc"), None);
        assert_eq!(
            text("dht-entry-point6", "[::1]:6881").as_deref(),
            Some("[::1]:6881")
        );
        assert_eq!(text("user-agent", "a\0b"), None);
    }

    #[test]
    fn typed_readings() {
        use super::super::{OptionSet, keys};
        let mut set = OptionSet::new();
        for (id, given) in [
            (keys::SELECT_FILE.id, " 1 , 3 - 5 "),
            (keys::BT_PRIORITIZE_PIECE.id, "head=1K,tail"),
            (keys::OPTIMIZE_CONCURRENT_DOWNLOADS.id, "1:2.5"),
            (keys::SEED_TIME.id, " .5 "),
            (keys::BT_TRACKER.id, "a, b ,,c"),
            (keys::FOLLOW_TORRENT.id, "mem"),
        ] {
            set.set_text(id, given).unwrap();
        }
        assert_eq!(set.get(keys::SELECT_FILE), [1..=1, 3..=5]);
        assert_eq!(
            set.get(keys::BT_PRIORITIZE_PIECE),
            PieceEnds {
                head: 1024,
                tail: 1 << 20
            }
        );
        assert_eq!(
            set.get(keys::OPTIMIZE_CONCURRENT_DOWNLOADS),
            Some((1.0, 2.5))
        );
        assert_eq!(set.get(keys::SEED_TIME), Some(0.5));
        assert_eq!(
            set.get(keys::BT_TRACKER)
                .iter()
                .map(|uri| uri.as_ref())
                .collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        assert_eq!(set.get(keys::FOLLOW_TORRENT), Follow::InMemory);
        assert_eq!(set.get(keys::LISTEN_PORT), [6881..=6999]);
    }

    proptest! {
        #[test]
        fn never_panics(at in 0usize..1000, given in "[0-9a-zKM:@/=,.\\[\\] +-]{0,24}|\\PC{0,24}") {
            let id = all()[at % all().len()];
            if let Ok(value) = parse(id.spec(), &given, Some("/h")) {
                let shown = value.print(id.spec());
                // What is printed can be read again and stays the same.
                if !matches!(value, Value::Text(ref text) if text.contains("${HOME}")) {
                    let again = parse(id.spec(), &shown, Some("/h")).map(|value| value.print(id.spec()));
                    prop_assert_eq!(again.ok(), Some(shown));
                }
            }
        }
    }
}
