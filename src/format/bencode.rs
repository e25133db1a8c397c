//! Pure: bencode (BEP 3), read in place: a value is a view of the bytes it was parsed from, so that
//! hashes are taken over exactly what was sent and a hostile length allocates nothing.
//!
//! Read as leniently as aria2 reads: unsorted or repeated keys (the first counts), zeros in front of
//! numbers and lengths, empty keys, bytes after the value. Written canonically.

use std::fmt;

/// Deepest nesting that is read. Torrents use about five levels, a v2 file tree one per directory.
pub const DEPTH_MAX: usize = 100;

/// Why bytes are not bencode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BencodeError {
    /// The input ends inside a value.
    Truncated,
    /// A byte that cannot stand at this offset.
    Unexpected(usize),
    /// A number that 64 bits do not hold, at this offset.
    Number(usize),
    /// More than [`DEPTH_MAX`] levels.
    TooDeep,
}

impl fmt::Display for BencodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("bencoded data ends too early"),
            Self::Unexpected(at) => write!(f, "not bencoded data at byte {at}"),
            Self::Number(at) => write!(f, "bencoded number at byte {at} is too big"),
            Self::TooDeep => f.write_str("bencoded data is nested too deeply"),
        }
    }
}

impl std::error::Error for BencodeError {}

/// One value; lists and dictionaries are walked on demand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    List(List<'a>),
    Dict(Dict<'a>),
}

/// A list; its bytes were checked when it was parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct List<'a> {
    raw: &'a [u8],
}

/// A dictionary; its bytes were checked when it was parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dict<'a> {
    raw: &'a [u8],
}

/// The value at the beginning of the input; what follows it is ignored, as aria2 does.
///
/// # Errors
/// When the whole value is not well formed.
pub fn parse(input: &[u8]) -> Result<Value<'_>, BencodeError> {
    parse_prefix(input).map(|(value, _)| value)
}

/// The value at the beginning of the input, and how many bytes it takes (BEP 9 puts data behind it).
///
/// # Errors
/// When the whole value is not well formed.
pub fn parse_prefix(input: &[u8]) -> Result<(Value<'_>, usize), BencodeError> {
    let len = check(input)?;
    let value = value_of(&input[..len]).ok_or(BencodeError::Truncated)?;
    Ok((value, len))
}

/// Walks one value without recursion; returns where it ends.
fn check(input: &[u8]) -> Result<usize, BencodeError> {
    /// What an open container waits for.
    #[derive(Clone, Copy, PartialEq)]
    enum Wants {
        Item,
        Key,
        KeyValue,
    }
    let mut open: Vec<Wants> = Vec::new();
    let mut at = 0;
    loop {
        let byte = *input.get(at).ok_or(BencodeError::Truncated)?;
        let wants = open.last().copied();
        match (byte, wants) {
            (b'e', Some(Wants::Item | Wants::Key)) => {
                open.pop();
                at += 1;
            }
            (b'0'..=b'9', _) => at = scan_bytes(input, at)?.1,
            (_, Some(Wants::Key)) => return Err(BencodeError::Unexpected(at)),
            (b'i', _) => at = scan_int(input, at)?.1,
            (b'l' | b'd', _) if open.len() >= DEPTH_MAX => return Err(BencodeError::TooDeep),
            (b'l', _) => {
                open.push(Wants::Item);
                at += 1;
                continue;
            }
            (b'd', _) => {
                open.push(Wants::Key);
                at += 1;
                continue;
            }
            _ => return Err(BencodeError::Unexpected(at)),
        }
        // A value (or a key) has ended here.
        match open.last_mut() {
            None => return Ok(at),
            Some(wants @ Wants::Key) => *wants = Wants::KeyValue,
            Some(wants @ Wants::KeyValue) => *wants = Wants::Key,
            Some(Wants::Item) => {}
        }
    }
}

/// `i<digits>e` at `at`: the number and where it ends.
fn scan_int(input: &[u8], at: usize) -> Result<(i64, usize), BencodeError> {
    let body = &input[at + 1..];
    let len = body
        .iter()
        .position(|byte| *byte == b'e')
        .ok_or(BencodeError::Truncated)?;
    let digits = body[..len].strip_prefix(b"-").unwrap_or(&body[..len]);
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BencodeError::Unexpected(at));
    }
    let number = std::str::from_utf8(&body[..len])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(BencodeError::Number(at))?;
    Ok((number, at + len + 2))
}

/// `<length>:<bytes>` at `at`: the bytes and where they end.
fn scan_bytes(input: &[u8], at: usize) -> Result<(&[u8], usize), BencodeError> {
    let mut len = 0usize;
    let mut cursor = at;
    loop {
        match input.get(cursor).ok_or(BencodeError::Truncated)? {
            digit @ b'0'..=b'9' => {
                len = len
                    .checked_mul(10)
                    .and_then(|len| len.checked_add(usize::from(digit - b'0')))
                    .ok_or(BencodeError::Number(at))?;
            }
            b':' if cursor > at => break,
            _ => return Err(BencodeError::Unexpected(cursor)),
        }
        cursor += 1;
    }
    let start = cursor + 1;
    let end = start.checked_add(len).ok_or(BencodeError::Number(at))?;
    let bytes = input.get(start..end).ok_or(BencodeError::Truncated)?;
    Ok((bytes, end))
}

/// The value that checked bytes hold.
fn value_of(raw: &[u8]) -> Option<Value<'_>> {
    Some(match raw.first()? {
        b'i' => Value::Int(scan_int(raw, 0).ok()?.0),
        b'l' => Value::List(List { raw }),
        b'd' => Value::Dict(Dict { raw }),
        _ => Value::Bytes(scan_bytes(raw, 0).ok()?.0),
    })
}

/// Takes the next value off checked bytes that stand inside a container.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    if rest.first().is_none_or(|byte| *byte == b'e') {
        return None;
    }
    let len = check(rest).ok()?;
    let (raw, after) = rest.split_at(len);
    *rest = after;
    value_of(raw)
}

impl<'a> Value<'a> {
    pub fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            _ => None,
        }
    }

    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A byte string that is UTF-8.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn list(self) -> Option<List<'a>> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn dict(self) -> Option<Dict<'a>> {
        match self {
            Self::Dict(dict) => Some(dict),
            _ => None,
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::List(list) => f.debug_list().entries(list.iter()).finish(),
            Self::Dict(dict) => f
                .debug_map()
                .entries(dict.iter().map(|(key, value)| (Value::Bytes(key), value)))
                .finish(),
        }
    }
}

impl<'a> List<'a> {
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = &self.raw[1..];
        std::iter::from_fn(move || take(&mut rest))
    }
}

impl<'a> Dict<'a> {
    /// The dictionary as it was sent, `d` to `e`: what an info hash is taken over.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut rest = &self.raw[1..];
        std::iter::from_fn(move || {
            let key = take(&mut rest)?.bytes()?;
            Some((key, take(&mut rest)?))
        })
    }

    /// The value of a key; of the first one where it is repeated.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.iter()
            .find(|(found, _)| *found == key.as_bytes())
            .map(|(_, value)| value)
    }

    pub fn int(self, key: &str) -> Option<i64> {
        self.get(key)?.int()
    }

    pub fn bytes(self, key: &str) -> Option<&'a [u8]> {
        self.get(key)?.bytes()
    }

    pub fn text(self, key: &str) -> Option<&'a str> {
        self.get(key)?.text()
    }

    pub fn list(self, key: &str) -> Option<List<'a>> {
        self.get(key)?.list()
    }

    pub fn dict(self, key: &str) -> Option<Dict<'a>> {
        self.get(key)?.dict()
    }
}

/// Writes bencode. Keys of a dictionary have to be given in ascending order of their bytes.
#[derive(Default, Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn int(&mut self, number: i64) -> &mut Self {
        self.raw(format!("i{number}e").as_bytes())
    }

    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.raw(format!("{}:", bytes.len()).as_bytes());
        self.raw(bytes)
    }

    /// Something that is bencoded already.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub fn list(&mut self, items: impl FnOnce(&mut Self)) -> &mut Self {
        self.out.push(b'l');
        items(self);
        self.out.push(b'e');
        self
    }

    pub fn dict(&mut self, entries: impl FnOnce(&mut Self)) -> &mut Self {
        self.out.push(b'd');
        entries(self);
        self.out.push(b'e');
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(input: &[u8]) -> String {
        match parse(input) {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn reads_as_leniently_as_aria2() {
        for (input, expected) in [
            ("i-7e", "-7"),
            ("i007e", "7"),
            ("i+7e", "7"),
            ("i-0e", "0"),
            ("04:spam", "\"spam\""),
            ("0:", "\"\""),
            ("le", "[]"),
            ("l4:spami1eldeee", "[\"spam\", 1, [{}]]"),
            ("d1:b0:1:ai1ee", "{\"b\": \"\", \"a\": 1}"),
            ("d0:i1ee", "{\"\": 1}"),
            ("i1etrailing", "1"),
            ("", "Truncated"),
            ("i", "Truncated"),
            ("ie", "Unexpected(0)"),
            ("i1.5e", "Unexpected(0)"),
            ("i99999999999999999999e", "Number(0)"),
            ("5:spam", "Truncated"),
            ("99999999999999999999999:a", "Number(0)"),
            ("18446744073709551615:a", "Number(0)"),
            ("-1:a", "Unexpected(0)"),
            ("1a", "Unexpected(1)"),
            ("l", "Truncated"),
            ("di1ei1ee", "Unexpected(1)"),
            ("d1:ae", "Unexpected(4)"),
            ("d1:a", "Truncated"),
            ("e", "Unexpected(0)"),
        ] {
            assert_eq!(shown(input.as_bytes()), expected, "{input}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&nested(DEPTH_MAX + 1)), Err(BencodeError::TooDeep));
        assert_eq!(
            parse(&vec![b'd'; 1 << 20]),
            Err(BencodeError::Unexpected(1))
        );
    }

    #[test]
    fn the_first_of_repeated_keys_counts_and_raw_is_as_sent() {
        let input = b"d1:ad1:xi05ee1:ai2eeJUNK";
        let (value, len) = parse_prefix(input).unwrap();
        assert_eq!(len, input.len() - 4);
        let dict = value.dict().unwrap();
        assert_eq!(dict.dict("a").unwrap().raw(), b"d1:xi05ee");
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::new();
        writer.dict(|dict| {
            dict.bytes("a").int(-1);
            dict.bytes("b").list(|list| {
                list.bytes(b"\xff").int(2);
            });
        });
        let out = writer.finish();
        assert_eq!(out, b"d1:ai-1e1:bl1:\xffi2eee");
        assert_eq!(shown(&out), r#"{"a": -1, "b": ["\xff", 2]}"#);
    }

    proptest! {
        #[test]
        fn no_input_panics(input in prop::collection::vec(prop::sample::select(b"dlei0123:-ab".to_vec()), 0..80)) {
            if let Ok((value, len)) = parse_prefix(&input) {
                prop_assert!(len <= input.len());
                let _ = format!("{value:?}");
            }
        }
    }
}
