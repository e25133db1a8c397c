//! Pure: reads JSON as loosely as aria2 does, which clients have come to rely on.
//!
//! Looser than RFC 8259: text after the value is ignored, a comma may stand before `}`, raw
//! control characters may stand in strings, any character may follow a backslash, numbers may
//! begin with zeros. A key given twice makes its member [`Value::Missing`].

use super::value::{Members, Real, Value};

/// Values nested deeper than this are refused.
const DEPTH_MAX: usize = 50;

/// The text is not JSON, nested too deep, or holds a number too big for 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotJson;

/// Reads the value the text begins with.
///
/// # Errors
/// [`NotJson`]; a bare number at the top is refused as well, as aria2 does.
pub fn read(text: &[u8]) -> Result<Value, NotJson> {
    let mut reader = Reader { text, at: 0 };
    match reader.value(DEPTH_MAX)? {
        Value::Int(_) | Value::Real(_) => Err(NotJson),
        value => Ok(value),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, NotJson> {
        let byte = self.peek().ok_or(NotJson)?;
        self.at += 1;
        Ok(byte)
    }

    /// Skips white space and shows what comes after it.
    fn peek_token(&mut self) -> Result<u8, NotJson> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek().ok_or(NotJson)
    }

    fn value(&mut self, depth: usize) -> Result<Value, NotJson> {
        let depth = depth.checked_sub(1).ok_or(NotJson)?;
        match self.peek_token()? {
            b'{' => self.members(depth),
            b'[' => self.items(depth),
            b'"' => self.string().map(Value::Text),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => Err(NotJson),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, NotJson> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(value)
    }

    fn items(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        if self.peek_token()? == b']' {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.peek_token()?;
            match self.next()? {
                b',' => {}
                b']' => return Ok(Value::List(items)),
                _ => return Err(NotJson),
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.at += 1;
        let mut members = Members::new();
        loop {
            match self.peek_token()? {
                b'"' => {}
                b'}' => {
                    self.at += 1;
                    return Ok(Value::Struct(members));
                }
                _ => return Err(NotJson),
            }
            let name = self.string()?;
            if self.peek_token()? != b':' {
                return Err(NotJson);
            }
            self.at += 1;
            let value = self.value(depth)?;
            members
                .entry(name)
                .and_modify(|value| *value = Value::Missing)
                .or_insert(value);
            match self.peek_token()? {
                b',' => self.at += 1,
                b'}' => {}
                _ => return Err(NotJson),
            }
        }
    }

    fn string(&mut self) -> Result<String, NotJson> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\'))
                .ok_or(NotJson)?;
            bytes.extend_from_slice(&rest[..plain]);
            self.at += plain;
            if self.next()? == b'"' {
                break;
            }
            self.escape(&mut bytes)?;
        }
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), NotJson> {
        let plain = match self.next()? {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = self.unicode()?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            other => other,
        };
        bytes.push(plain);
        Ok(())
    }

    /// The character of `\uXXXX`, or of two of them where the first is a high surrogate.
    fn unicode(&mut self) -> Result<char, NotJson> {
        let first = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if self.next()? != b'\\' || self.next()? != b'u' {
            return Err(NotJson);
        }
        let second = self.code_unit()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(NotJson);
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(NotJson)
    }

    fn code_unit(&mut self) -> Result<u32, NotJson> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16).ok_or(NotJson)?;
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value, NotJson> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let digits = self.digits()?;
        let magnitude: i64 = digits.parse().map_err(|_| NotJson)?;
        let whole = if negative { -magnitude } else { magnitude };
        let whole_end = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.at == whole_end {
            return Ok(Value::Int(whole));
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Real(Real { whole, text })),
            _ => Err(NotJson),
        }
    }

    /// One or more digits.
    fn digits(&mut self) -> Result<&str, NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        if digits.is_empty() {
            return Err(NotJson);
        }
        std::str::from_utf8(digits).map_err(|_| NotJson)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sink::{JsonSink, Sink};
    use super::*;

    /// What `text` reads as, written back; `-` when it is refused.
    fn read_back(text: &[u8]) -> String {
        match read(text) {
            Ok(value) => {
                let mut out = JsonSink::new();
                value.write(&mut out);
                out.take()
            }
            Err(NotJson) => "-".to_owned(),
        }
    }

    #[test]
    fn reads_as_loosely_as_aria2() {
        for (text, back) in [
            (r#"{"b":1,"a":[true,null]}"#, r#"{"a":[true,null],"b":1}"#),
            (r#"{"a":1,}"#, r#"{"a":1}"#),
            (r#"{"a":1} and more"#, r#"{"a":1}"#),
            (r#"{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":null}"#),
            (r#"{"a":1,,"b":2}"#, "-"),
            (r#"{,"a":1}"#, "-"),
            ("[1,]", "-"),
            ("[,]", "-"),
            ("[1 2]", "-"),
            ("[1", "-"),
            ("{a:1}", "-"),
            ("{'a':1}", "-"),
            ("\u{feff}[]", "-"),
            ("", "-"),
            ("12", "-"),
            ("nul", "-"),
            ("[nullx]", "-"),
            (" \n[]", "[]"),
            ("[1.9,-1.9,1e2,1e-2,01,-0,1.5e3]", "[1,-1,1,1,1,0,1]"),
            ("[1.]", "-"),
            ("[.5]", "-"),
            ("[+1]", "-"),
            ("[1e999]", "-"),
            ("[9223372036854775807]", "[9223372036854775807]"),
            ("[9223372036854775808]", "-"),
            ("[-9223372036854775808]", "-"),
            (
                r#"["\u00e9\ud83d\ude00\/\x\"\u0000"]"#,
                r#"["é😀\/x\"\u0000"]"#,
            ),
            (r#"["\ud83d"]"#, "-"),
            (r#"["\ude00"]"#, "[\"\u{fffd}\"]"),
            ("[\"a\tb\"]", r#"["a\tb"]"#),
        ] {
            assert_eq!(read_back(text.as_bytes()), back, "{text}");
        }
        assert_eq!(read_back(b"[\"\xff\"]"), "[\"\u{fffd}\"]");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(nested(50).as_bytes()).is_ok());
        assert!(read(nested(51).as_bytes()).is_err());
        let members = |depth: usize| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
        assert!(read(members(49).as_bytes()).is_ok());
        assert!(read(members(50).as_bytes()).is_err());
        assert!(read("[".repeat(1_000_000).as_bytes()).is_err());
        assert!(read(r#"{"a":"#.repeat(1_000_000).as_bytes()).is_err());
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-i64::MAX..i64::MAX).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_on_proper_json(value in prop::collection::vec(value(), 0..4)) {
            let value = serde_json::Value::Array(value);
            let back = read_back(value.to_string().as_bytes());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&back).unwrap(), value);
        }

        #[test]
        fn never_panics(text in prop::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b'"'), Just(b','), Just(b':'),
            Just(b'\\'), Just(b'u'), Just(b'd'), Just(b'8'), Just(b'-'), Just(b'.'), Just(b'e'), any::<u8>()
        ], 0..60)) {
            let _ = read(&text);
        }
    }
}
