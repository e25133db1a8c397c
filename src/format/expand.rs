//! Pure: parameterised URIs (option `parameterized-uri`): `{a,b}` and `[001-100:2]`.

use std::fmt;

use super::uri::{cut, ipv6_literal};

/// Most URIs that one parameterised URI may stand for.
pub const EXPANSIONS_MAX: usize = 65_536;

/// Why a parameterised URI cannot be expanded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpandError {
    /// A `{` or `[` is never closed.
    Unclosed(char),
    /// What is between the brackets is no range such as `1-10`, `001-100:2` or `a-z`.
    BadRange,
    /// The step after the colon is no positive number.
    BadStep,
    /// More than [`EXPANSIONS_MAX`] URIs.
    TooMany,
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed(open) => write!(f, "a '{open}' in the parameterized URI is not closed"),
            Self::BadRange => f.write_str(
                "a range in the parameterized URI must look like [1-10], [001-100:2] or [a-z]",
            ),
            Self::BadStep => f.write_str(
                "the step of a range in the parameterized URI must be a positive number",
            ),
            Self::TooMany => {
                write!(
                    f,
                    "the parameterized URI stands for more than {EXPANSIONS_MAX} URIs"
                )
            }
        }
    }
}

impl std::error::Error for ExpandError {}

/// Expands `{a,b}` and `[001-100:2]`, `[A-Z:2]`: every combination, the
/// last part running fastest.
///
/// # Errors
/// Brackets that make no sense, or too many combinations; nothing is expanded then.
pub fn expand(text: &str) -> Result<Vec<String>, ExpandError> {
    let parts = expansion_parts(text)?;
    Ok(parts.iter().fold(vec![String::new()], |heads, part| {
        heads
            .iter()
            .flat_map(|head| part.iter().map(move |tail| format!("{head}{tail}")))
            .collect()
    }))
}

/// The text as parts, each with its alternatives.
fn expansion_parts(text: &str) -> Result<Vec<Vec<String>>, ExpandError> {
    let mut parts = Vec::new();
    let mut rest = skip_host(text, &mut parts);
    let mut count = 1usize;
    while !rest.is_empty() {
        let literal_end = rest.find(['{', '[']).unwrap_or(rest.len());
        let (literal, from_bracket) = rest.split_at(literal_end);
        if !literal.is_empty() {
            parts.push(vec![literal.to_owned()]);
        }
        let (open, close) = match from_bracket.chars().next() {
            Some('{') => ('{', '}'),
            Some(_) => ('[', ']'),
            None => break,
        };
        let (inner, after) = from_bracket[1..]
            .split_once(close)
            .ok_or(ExpandError::Unclosed(open))?;
        let part = if open == '{' {
            choices(inner)
        } else {
            range(inner)?
        };
        // Looked at with each one: a hundred ranges would fill the memory before they are counted.
        count = count.saturating_mul(part.len());
        if count > EXPANSIONS_MAX {
            return Err(ExpandError::TooMany);
        }
        parts.push(part);
        rest = after;
    }
    Ok(parts)
}

/// Takes `scheme://[::1]` off the front, whose brackets belong to an IPv6 literal.
fn skip_host<'a>(text: &'a str, parts: &mut Vec<Vec<String>>) -> &'a str {
    let host = text
        .find("://")
        .map(|at| at + 3)
        .filter(|at| text[*at..].starts_with('['));
    let literal = host.and_then(|at| {
        let end = at + text[at..].find(']')?;
        ipv6_literal(&text[at + 1..end]).map(|_| end + 1)
    });
    match literal {
        Some(end) => {
            parts.push(vec![text[..end].to_owned()]);
            &text[end..]
        }
        None => text,
    }
}

/// The alternatives between braces; empty ones do not count.
fn choices(inner: &str) -> Vec<String> {
    let words: Vec<String> = inner
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        vec![String::new()]
    } else {
        words
    }
}

fn range(inner: &str) -> Result<Vec<String>, ExpandError> {
    let (ends, step) = cut(inner, ':');
    let step: u64 = match step {
        Some(step) => step
            .parse()
            .ok()
            .filter(|step| *step > 0)
            .ok_or(ExpandError::BadStep)?,
        None => 1,
    };
    let (first, last) = ends.split_once('-').ok_or(ExpandError::BadRange)?;
    let digits = Digits::of(first, last).ok_or(ExpandError::BadRange)?;
    let (from, to) = (digits.value(first), digits.value(last));
    let (Some(from), Some(to)) = (from, to) else {
        return Err(ExpandError::BadRange);
    };
    if from > to {
        return Err(ExpandError::BadRange);
    }
    if (to - from) / step >= EXPANSIONS_MAX as u64 {
        return Err(ExpandError::TooMany);
    }
    // Equal lengths ask for leading zeros.
    let width = if first.len() == last.len() {
        first.len()
    } else {
        0
    };
    let count = (to - from) / step;
    Ok((0..=count)
        .map(|n| digits.write(from + n * step, width))
        .collect())
}

/// The digits that a range counts in.
#[derive(Clone, Copy)]
enum Digits {
    Decimal,
    Lower,
    Upper,
}

impl Digits {
    fn of(first: &str, last: &str) -> Option<Self> {
        let all = |test: fn(&u8) -> bool| {
            !first.is_empty()
                && !last.is_empty()
                && first.bytes().chain(last.bytes()).all(|byte| test(&byte))
        };
        if all(u8::is_ascii_digit) {
            Some(Self::Decimal)
        } else if all(u8::is_ascii_lowercase) {
            Some(Self::Lower)
        } else if all(u8::is_ascii_uppercase) {
            Some(Self::Upper)
        } else {
            None
        }
    }

    /// Base and the character of zero.
    fn base(self) -> (u64, u8) {
        match self {
            Self::Decimal => (10, b'0'),
            Self::Lower => (26, b'a'),
            Self::Upper => (26, b'A'),
        }
    }

    fn value(self, text: &str) -> Option<u64> {
        let (base, zero) = self.base();
        text.bytes().try_fold(0u64, |value, byte| {
            value.checked_mul(base)?.checked_add(u64::from(byte - zero))
        })
    }

    fn write(self, mut value: u64, width: usize) -> String {
        let (base, zero) = self.base();
        let mut out = Vec::new();
        loop {
            out.push(char::from(zero + (value % base) as u8));
            value /= base;
            if value == 0 {
                break;
            }
        }
        while out.len() < width {
            out.push(char::from(zero));
        }
        out.iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(given: &str, expanded: &[&str]) {
        assert_eq!(expand(given).unwrap(), expanded, "{given}");
    }

    #[test]
    fn expansion() {
        check("x", &["x"]);
        check("[001-003]", &["001", "002", "003"]);
        check("[01-10:3]", &["01", "04", "07", "10"]);
        check("[9-10]", &["9", "10"]);
        check("[00-002]", &["0", "1", "2"]);
        check("[A-Z:5]", &["A", "F", "K", "P", "U", "Z"]);
        check("[aa-ac]", &["aa", "ab", "ac"]);
        check("[A-AZ:20]", &["A", "U"]);
        check("a{b,c}d[1-2]e", &["abd1e", "abd2e", "acd1e", "acd2e"]);
        check("{a,}{}{ b }", &["ab"]);
        check("{a,[1-2]}", &["a", "[1-2]"]);
        check("x]y}", &["x]y}"]);
        check("http://[::1]/[1-2]", &["http://[::1]/1", "http://[::1]/2"]);
        assert_eq!(expand("[0-65535]").unwrap().len(), EXPANSIONS_MAX);
        // Ten gigabytes, were they written out before they are counted.
        let many = "[0-65535]".repeat(3_000);
        for (bad, error) in [
            (many.as_str(), ExpandError::TooMany),
            ("{a", ExpandError::Unclosed('{')),
            ("[1-", ExpandError::Unclosed('[')),
            ("[1]", ExpandError::BadRange),
            ("[a-1]", ExpandError::BadRange),
            ("[a-C]", ExpandError::BadRange),
            ("[3-1]", ExpandError::BadRange),
            ("[1--3]", ExpandError::BadRange),
            ("[1-3:0]", ExpandError::BadStep),
            ("[1-3:x]", ExpandError::BadStep),
            ("[0-2147483647]", ExpandError::TooMany),
            ("[0-99999999999999999999999]", ExpandError::BadRange),
            ("[0-65536]", ExpandError::TooMany),
            ("[0-255][0-255]{a,b}", ExpandError::TooMany),
        ] {
            assert_eq!(expand(bad), Err(error), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(http://)?[a-c0-3@:/?#%{}\\[\\],.\u{e4}-]{0,30}|\\PC{0,40}") {
            if let Ok(all) = expand(&text) {
                prop_assert!(!all.is_empty() && all.len() <= EXPANSIONS_MAX);
            }
        }
    }
}
