//! Pure: `Content-Range` (RFC 9110, 14.4), as laxly as servers write it.

/// No file is longer: a number past this is nonsense, and sums of such lengths cannot overflow.
pub const LEN_MAX: u64 = 1 << 60;

/// What a `Content-Range` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentRange {
    /// Bytes `start..end` (end exclusive) of a file; its length where the server knows it.
    Part {
        start: u64,
        end: u64,
        total: Option<u64>,
    },
    /// Of status 416: only the length of the file.
    Unsatisfied { total: u64 },
}

/// `None` for what is malformed, contradicts itself or counts something other than bytes.
pub fn parse(value: &[u8]) -> Option<ContentRange> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let rest = match text.get(..5) {
        Some(unit) if unit.eq_ignore_ascii_case("bytes") => &text[5..],
        _ => return None,
    };
    let rest = rest.trim_start_matches([' ', '\t', ':', '=']);
    let (range, total) = rest.split_once('/')?;
    let (range, total) = (range.trim(), total.trim());
    let total = match total {
        "*" => None,
        digits => Some(len_of(digits)?),
    };
    if range == "*" {
        return total.map(|total| ContentRange::Unsatisfied { total });
    }
    let (first, last) = range.split_once('-')?;
    let start = len_of(first.trim())?;
    let end = len_of(last.trim())?.checked_add(1)?;
    let fits = start < end && total.is_none_or(|total| end <= total);
    fits.then_some(ContentRange::Part { start, end, total })
}

/// A length in plain digits, at most [`LEN_MAX`].
pub fn len_of(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|len| *len <= LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_servers_write() {
        let part = |start, end, total| Some(ContentRange::Part { start, end, total });
        for (text, wanted) in [
            ("bytes 0-9/10", part(0, 10, Some(10))),
            ("Bytes  5-9/*", part(5, 10, None)),
            ("bytes: 5 - 9 / 10", part(5, 10, Some(10))),
            ("bytes=5-9/10", part(5, 10, Some(10))),
            ("bytes */10", Some(ContentRange::Unsatisfied { total: 10 })),
            ("bytes */*", None),
            ("bytes 5-9/9", None),
            ("bytes 9-5/10", None),
            ("bytes -5/10", None),
            ("bytes 5-/10", None),
            ("bytes -1-9/10", None),
            ("bytes 0-9", None),
            ("pages 0-9/10", None),
            ("0-9/10", None),
            ("bytes 0-9223372036854775807/*", None),
            ("bytes 0-99999999999999999999999/*", None),
            ("bytes 0-9/18446744073709551615", None),
            ("", None),
            ("€€€ 0-9/10", None),
        ] {
            assert_eq!(parse(text.as_bytes()), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_parts_have_bytes(text in "bytes[ 0-9*/=-]{0,40}|.{0,20}") {
            if let Some(ContentRange::Part { start, end, total }) = parse(text.as_bytes()) {
                prop_assert!(start < end && end <= LEN_MAX + 1);
                prop_assert!(total.is_none_or(|total| end <= total));
            }
        }
    }
}
