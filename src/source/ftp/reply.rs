//! Pure: what an FTP server answers (RFC 959 section 4.2, RFC 2428, RFC 3659).

/// A longer reply is refused: no server needs it.
pub const REPLY_LEN_MAX: usize = 64 * 1024;

/// One reply of one or several lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    pub code: u16,
    /// Without the code; lines are joined by line feeds.
    pub text: String,
}

/// Why bytes are no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    NoCode,
    TooLong,
}

impl Reply {
    /// 1xx: the reply proper follows.
    pub fn is_preliminary(&self) -> bool {
        self.code / 100 == 1
    }

    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3xx: the next command completes this one.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4xx: the same command may succeed later.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }
}

/// The first whole reply in `bytes` and its length in bytes; `None` if more has to come.
///
/// # Errors
/// Bytes that begin no reply.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut code = None;
    let mut text: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(len) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[at..at + len];
        at += len + 1;
        if at > REPLY_LEN_MAX {
            return Err(Malformed::TooLong);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (number, rest) = match split_code(line) {
            Some((number, mark, rest)) => (Some((number, mark)), rest),
            None => (None, line),
        };
        match (code, number) {
            (None, None) => return Err(Malformed::NoCode),
            (None, Some((number, b'-'))) => code = Some(number),
            (None, Some((number, _))) => {
                return Ok(Some((reply(number, text, rest), at)));
            }
            (Some(code), Some((number, mark))) if code == number && mark != b'-' => {
                return Ok(Some((reply(code, text, rest), at)));
            }
            // Inner lines may begin with the code and a hyphen, or with anything else.
            (Some(code), Some((number, _))) if code == number => {}
            (Some(_), _) => {
                text.push(lossy(line));
                continue;
            }
        }
        text.push(lossy(rest));
    }
    if bytes.len() > REPLY_LEN_MAX {
        return Err(Malformed::TooLong);
    }
    Ok(None)
}

fn reply(code: u16, mut text: Vec<String>, last: &[u8]) -> Reply {
    text.push(lossy(last));
    Reply {
        code,
        text: text.join("\n"),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Code, the byte behind it, and the rest of a line that begins with a code.
fn split_code(line: &[u8]) -> Option<(u16, u8, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits < "100" {
        return None;
    }
    let code = digits.parse().ok()?;
    match rest.split_first() {
        None => Some((code, b' ', rest)),
        Some((mark @ (b' ' | b'-'), rest)) => Some((code, *mark, rest)),
        Some(_) => None,
    }
}

/// The port in the answer to PASV; its address is of no interest (see `data`).
pub fn pasv_port(text: &str) -> Option<u16> {
    let mut runs = text
        .split(|c: char| !c.is_ascii_digit() && c != ',')
        .filter(|run| run.contains(','));
    runs.find_map(|run| {
        let numbers: Vec<u8> = run
            .split(',')
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()?;
        let [_, _, _, _, high, low] = numbers[..] else {
            return None;
        };
        Some(u16::from_be_bytes([high, low])).filter(|port| *port > 0)
    })
}

/// The port in the answer to EPSV: `(|||port|)`, with any delimiter.
pub fn epsv_port(text: &str) -> Option<u16> {
    let inner = text.split_once('(')?.1;
    let mark = inner.chars().next()?;
    let mut parts = inner.split(mark);
    let [_, net, address] = [parts.next()?, parts.next()?, parts.next()?];
    if !net.is_empty() || !address.is_empty() {
        return None;
    }
    parts.next()?.parse().ok().filter(|port| *port > 0)
}

/// The number of bytes in the answer to SIZE.
pub fn size(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `YYYYMMDDhhmmss[.fraction]`, in UTC, as seconds since 1970.
pub fn mdtm(text: &str) -> Option<i64> {
    let stamp = text.trim().split('.').next()?;
    if stamp.len() != 14 || !stamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| stamp[range].parse::<i64>().ok();
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970 to a date of the Gregorian calendar (Howard Hinnant's days_from_civil).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The directory in the answer to PWD: quoted, quotes inside doubled.
pub fn pwd(text: &str) -> Option<String> {
    let mut path = String::new();
    let mut rest = text.split_once('"')?.1.chars();
    loop {
        match rest.next()? {
            '"' if rest.as_str().starts_with('"') => {
                rest.next();
                path.push('"');
            }
            '"' => return Some(path),
            c => path.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<(u16, String, usize)> {
        let (reply, len) = parse(text.as_bytes()).unwrap()?;
        Some((reply.code, reply.text, len))
    }

    #[test]
    fn one_line_and_several() {
        assert_eq!(parsed("220 hi\r\nrest"), Some((220, "hi".into(), 8)));
        assert_eq!(parsed("226\n"), Some((226, String::new(), 4)));
        let several = "211-a\r\n 211 b\r\n212 c\r\n211-d\r\n211 end\r\n";
        let text = "a\n 211 b\n212 c\nd\nend";
        assert_eq!(parsed(several), Some((211, text.into(), several.len())));
        for part in ["", "2", "220 hi", "211-a\r\n", "211-a\r\n211-b\r\n"] {
            assert_eq!(parsed(part), None, "{part}");
        }
        for bad in [
            "hi\r\n", "22 x\r\n", "\r\n", "099 x\n", "2200 x\n", "<html>\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(Malformed::NoCode), "{bad}");
        }
        for end in ["", "\r\n211 x\r\n"] {
            let long = "211-".to_owned() + &"x".repeat(REPLY_LEN_MAX) + end;
            assert_eq!(parse(long.as_bytes()), Err(Malformed::TooLong));
        }
    }

    #[test]
    fn ports() {
        for (text, port) in [
            ("Entering Passive Mode (127,0,0,1,1,2).", Some(258)),
            ("Entering Passive Mode 10,0,0,1,255,255", Some(65535)),
            ("=127,0,0,1,0,21", Some(21)),
            ("3 files, 127,0,0,1,0,21", Some(21)),
            ("(127,0,0,1,0,0)", None),
            ("(127,0,0,1,256,1)", None),
            ("(127,0,0,1,1)", None),
            ("", None),
        ] {
            assert_eq!(pasv_port(text), port, "{text}");
        }
        for (text, port) in [
            ("Extended Passive Mode OK (|||6446|)", Some(6446)),
            ("(!!!1!)", Some(1)),
            ("(|||0|)", None),
            ("(|1|h|6446|)", None),
            ("(|||66000|)", None),
            ("6446", None),
            ("(", None),
        ] {
            assert_eq!(epsv_port(text), port, "{text}");
        }
    }

    #[test]
    fn sizes_times_and_directories() {
        assert_eq!(
            (size(" 12 "), size("-1"), size("x")),
            (Some(12), None, None)
        );
        for (text, time) in [
            ("19700101000000", Some(0)),
            ("20240229123456", Some(1_709_210_096)),
            ("20240229123456.789", Some(1_709_210_096)),
            ("19691231235959", Some(-1)),
            ("20241301000000", None),
            ("2024", None),
        ] {
            assert_eq!(mdtm(text), time, "{text}");
        }
        for (text, path) in [
            ("\"/a b\" is the current directory", Some("/a b")),
            ("\"/a\"\"b\"", Some("/a\"b")),
            ("\"/a", None),
            ("/a", None),
        ] {
            assert_eq!(pwd(text).as_deref(), path);
        }
    }

    proptest! {
        /// Any cut of any stream of replies gives the same replies, and nothing panics.
        #[test]
        fn replies_are_found_whole(
            replies in prop::collection::vec(
                (100u16..600, prop::collection::vec("[a-z0-9 -]{0,12}", 1..4)), 1..5),
            cut in 0usize..200,
        ) {
            let mut stream = String::new();
            for (code, lines) in &replies {
                let (last, inner) = lines.split_last().unwrap();
                for (at, line) in inner.iter().enumerate() {
                    let start = if at == 0 { format!("{code}-") } else { " ".to_owned() };
                    stream.push_str(&format!("{start}{line}\r\n"));
                }
                stream.push_str(&format!("{code} {last}\r\n"));
            }
            let bytes = stream.as_bytes();
            let (mut at, mut codes) = (0, Vec::new());
            while let Some((reply, len)) = parse(&bytes[at..]).unwrap() {
                at += len;
                codes.push(reply.code);
            }
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(codes, replies.iter().map(|(code, _)| *code).collect::<Vec<_>>());
            let part = &bytes[..cut.min(bytes.len())];
            if let Some((reply, len)) = parse(part).unwrap() {
                prop_assert_eq!(reply.code, replies[0].0);
                prop_assert!(len <= part.len());
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,40}|[0-9,()|.\"]{0,30}") {
            let _ = parse(&bytes);
            let _ = (pasv_port(&text), epsv_port(&text), size(&text), mdtm(&text), pwd(&text));
        }
    }
}
