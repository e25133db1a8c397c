//! Pure: names, addresses and digests as they stand in Metalinks.

use url::Url;

/// Longer names are refused; the limit of a path in Linux.
const NAME_LEN_MAX: usize = 4096;

/// A file name as it may be joined to the download directory, or `None` for one that would leave
/// it, or names a directory.
pub fn safe_name(name: &str) -> Option<String> {
    let refused = name.is_empty()
        || name.len() > NAME_LEN_MAX
        || name.starts_with('/')
        || name.ends_with('/')
        || name.chars().any(char::is_control)
        || name.split('/').any(|segment| matches!(segment, "." | ".."));
    if refused {
        return None;
    }
    let segments = name.split('/').filter(|segment| !segment.is_empty());
    Some(segments.collect::<Vec<_>>().join("/"))
}

/// The URI, made absolute with `base` where it is relative.
pub fn absolute(text: &str, base: Option<&str>) -> String {
    let uri = text.trim();
    let resolved = || {
        let base = Url::parse(base?).ok()?;
        Some(base.join(uri).ok()?.to_string())
    };
    match scheme_of(uri) {
        Some(_) => uri.to_owned(),
        None => resolved().unwrap_or_else(|| uri.to_owned()),
    }
}

/// The scheme of an absolute URI, as written (RFC 3986 section 3.1).
pub fn scheme_of(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_one =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(letter);
    is_one.then_some(scheme)
}

/// The bytes of hex digits; blanks around them do not count.
pub fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?))
        .collect()
}

/// Priority (1 the best) out of a preference of version 3 (100 the best, 0 the worst).
pub fn priority_of_preference(text: Option<&str>) -> Option<u32> {
    let preference: u32 = text?.trim().parse().ok()?;
    Some(101_u32.saturating_sub(preference).max(1))
}
