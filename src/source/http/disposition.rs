//! Pure: the file name in `Content-Disposition` (RFC 6266, RFC 8187), read as aria2 reads it.
//!
//! A header that is malformed, or whose name could lead out of the directory, is as good as none.

use encoding_rs::mem::decode_latin1;
use percent_encoding::percent_decode;

/// The suggested file name: `filename*` before `filename`. The type may be any, but has to be
/// there. `utf8` says how bytes of a plain `filename` are read; else they are ISO-8859-1.
pub fn file_name(header: &[u8], utf8: bool) -> Option<String> {
    let mut reader = Reader { rest: header };
    reader.token()?;
    let (mut plain, mut extended) = (None, None);
    while let Some((name, value)) = reader.parameter()? {
        match name.to_ascii_lowercase().as_slice() {
            b"filename" => plain = plain.or(Some(value)),
            b"filename*" => extended = extended.or(Some(value)),
            _ => {}
        }
    }
    let extended = extended.and_then(|value| decode_extended(&value));
    let name = match (extended, plain) {
        (Some(name), _) => name,
        (None, Some(bytes)) => decode_plain(&bytes, utf8)?,
        (None, None) => return None,
    };
    is_safe(&name).then_some(name)
}

/// One path component that stays where it is put.
fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == '\\' || c.is_control())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// `Some(None)`: the header ends here, be it after a spare semicolon. `None`: malformed.
    fn parameter(&mut self) -> Option<Option<(Vec<u8>, Vec<u8>)>> {
        self.skip_blanks();
        loop {
            if self.rest.is_empty() {
                return Some(None);
            }
            self.take(b';')?;
            self.skip_blanks();
            if !matches!(self.rest.first(), None | Some(b';')) {
                break;
            }
        }
        let name = self.token()?;
        self.skip_blanks();
        self.take(b'=')?;
        self.skip_blanks();
        let value = match self.rest.first() {
            Some(b'"') => self.quoted()?,
            _ => self.value()?,
        };
        Some(Some((name, value)))
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        self.skip_blanks();
        self.take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    }

    /// An unquoted value: laxer than a token, as servers send `filename=a(1).zip` and raw bytes.
    fn value(&mut self) -> Option<Vec<u8>> {
        self.take_while(|byte| byte > b' ' && byte != b';' && byte != b'"' && byte != 0x7f)
    }

    fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
        let len = self.rest.iter().take_while(|byte| is_part(**byte)).count();
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        (len > 0).then(|| taken.to_vec())
    }

    /// A quoted string (RFC 9110, 5.6.4): a backslash stands before a character taken as it is.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.take(b'"')?;
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(value),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    value.push(escaped);
                }
                _ => value.push(byte),
            }
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[wanted])?;
        Some(())
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

/// `UTF-8'en'a%20b` or the same in ISO-8859-1 (RFC 8187, 3.2).
fn decode_extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(text).collect();
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        printable_latin1(&bytes)
    } else {
        None
    }
}

fn decode_plain(bytes: &[u8], utf8: bool) -> Option<String> {
    if utf8 {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    } else {
        printable_latin1(bytes)
    }
}

/// UTF-8 taken for ISO-8859-1 shows itself by bytes that no printable character has there.
fn printable_latin1(bytes: &[u8]) -> Option<String> {
    let printable = |byte: &u8| matches!(byte, 0x20..=0x7e | 0xa0..=0xff);
    bytes
        .iter()
        .all(printable)
        .then(|| decode_latin1(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(header: &[u8], utf8: bool, wanted: Option<&str>) {
        let shown = String::from_utf8_lossy(header).into_owned();
        assert_eq!(file_name(header, utf8).as_deref(), wanted, "{shown}");
    }

    #[test]
    fn names_as_aria2_reads_them() {
        for (header, wanted) in [
            ("attachment; filename=\"a b.zip\"", Some("a b.zip")),
            ("attachment; filename=\"a b.zip\";", Some("a b.zip")),
            ("attachment;; filename=x ;", Some("x")),
            ("inline;FILENAME=a.zip", Some("a.zip")),
            ("x-any ; a=b; filename = a.zip ; c=\"d\"", Some("a.zip")),
            (r#"attachment; filename="a\"b.zip""#, Some("a\"b.zip")),
            ("attachment; filename=\"a%20b\"", Some("a%20b")),
            (
                "attachment; filename=x; filename*=UTF-8''%e2%82%ac",
                Some("€"),
            ),
            (
                "attachment; filename*=utf-8'en'a%20b; filename=x",
                Some("a b"),
            ),
            ("attachment; filename*=ISO-8859-1''%e4", Some("ä")),
            ("attachment; filename*=KOI8-R''%e4; filename=x", Some("x")),
            ("attachment; filename*=UTF-8''%ff; filename=x", Some("x")),
            ("attachment; filename=a b.zip", None),
            ("filename=a.zip", None),
            ("attachment; filename=\"\"", None),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\"a/b\"", None),
            (r#"attachment; filename="a\\b""#, None),
            ("attachment; filename*=UTF-8''..%2fx", None),
            ("attachment; filename*=UTF-8''a%00b", None),
            ("attachment; filename=\"open", None),
            ("attachment", None),
            ("attachment;", None),
            ("", None),
            ("; filename=x", None),
        ] {
            check(header.as_bytes(), false, wanted);
        }
    }

    #[test]
    fn raw_bytes_follow_the_option() {
        check(b"attachment; filename=\"\xe4.zip\"", false, Some("ä.zip"));
        check(b"attachment; filename=\"\xe4.zip\"", true, None);
        let utf8 = "attachment; filename=\"€.zip\"".as_bytes();
        check(utf8, true, Some("€.zip"));
        check(utf8, false, None);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_safe_name_or_none(
            tail in prop::collection::vec(any::<u8>(), 0..40),
            utf8: bool,
            start in prop::sample::select(vec!["", "a;filename=", "a;filename=\"", "a;filename*=UTF-8''"]),
        ) {
            let header = [start.as_bytes(), &tail].concat();
            if let Some(name) = file_name(&header, utf8) {
                prop_assert!(is_safe(&name));
            }
        }
    }
}
