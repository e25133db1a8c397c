//! Pure: the text of `input-file` and `save-session` (behaviour.md section 4). One download is a
//! line of URIs separated by tabs, then indented `name=value` lines.

use std::fmt::Write as _;

/// One download of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// Number of the line of URIs, from 1.
    pub line: usize,
    /// Mirrors of one file, or the path of a local torrent or Metalink; as written.
    pub uris: Vec<String>,
    /// Names and values in their order, neither checked.
    pub options: Vec<(String, String)>,
}

/// Reads entries one by one from lines, so that a file of any length needs little memory. Lines
/// are bytes without their `\n`, as `BufRead::split` gives them.
pub struct Reader<I> {
    lines: I,
    number: usize,
    entry: Option<Entry>,
}

impl<I> Reader<I> {
    pub fn new(lines: I) -> Self {
        Self {
            lines,
            number: 0,
            entry: None,
        }
    }
}

impl<I, E> Iterator for Reader<I>
where
    I: Iterator<Item = Result<Vec<u8>, E>>,
{
    type Item = Result<Entry, E>;

    fn next(&mut self) -> Option<Result<Entry, E>> {
        loop {
            let line = match self.lines.next() {
                Some(Ok(line)) => text(line),
                Some(Err(error)) => return Some(Err(error)),
                None => return self.entry.take().map(Ok),
            };
            self.number += 1;
            let line = if self.number == 1 {
                line.strip_prefix('\u{feff}').unwrap_or(&line)
            } else {
                &line
            };
            match Line::of(line) {
                Line::Nothing => {}
                Line::Option(name, value) => {
                    if let Some(entry) = &mut self.entry {
                        entry.options.push((name.to_owned(), value.to_owned()));
                    }
                }
                Line::Uris(uris) => {
                    let uris = uris.into_iter().map(str::to_owned).collect();
                    let entry = Entry {
                        line: self.number,
                        uris,
                        options: Vec::new(),
                    };
                    if let Some(done) = self.entry.replace(entry) {
                        return Some(Ok(done));
                    }
                }
            }
        }
    }
}

/// What a line is.
enum Line<'a> {
    /// Blank or a comment.
    Nothing,
    Option(&'a str, &'a str),
    Uris(Vec<&'a str>),
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        if line.starts_with('#') || line.trim().is_empty() {
            return Self::Nothing;
        }
        if line.starts_with([' ', '\t']) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            return Self::Option(name.trim(), value.trim());
        }
        Self::Uris(
            line.split('\t')
                .map(str::trim)
                .filter(|uri| !uri.is_empty())
                .collect(),
        )
    }
}

/// The line as text. Bytes that are no UTF-8 can only belong to a URI and are percent-encoded.
fn text(line: Vec<u8>) -> String {
    String::from_utf8(line).unwrap_or_else(|error| {
        const NOTHING: &percent_encoding::AsciiSet =
            &percent_encoding::CONTROLS.remove(b'\t').remove(b'\r');
        percent_encoding::percent_encode(error.as_bytes(), NOTHING).to_string()
    })
}

/// Reads a whole text.
pub fn parse(text: &str) -> Vec<Entry> {
    let lines = text
        .split('\n')
        .map(|line| Ok::<_, std::convert::Infallible>(line.as_bytes().to_vec()));
    Reader::new(lines)
        .map(|entry| match entry {
            Ok(entry) => entry,
            Err(never) => match never {},
        })
        .collect()
}

/// Appends one download as aria2c writes it: a tab behind each URI, one blank before each option.
/// A cumulative option is given once a line. A line break inside a text becomes a blank, so that no
/// value can smuggle in an option.
pub fn write_entry<'a>(
    out: &mut String,
    uris: impl IntoIterator<Item = &'a str>,
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    for uri in uris {
        push_line_safe(out, uri);
        out.push('\t');
    }
    out.push('\n');
    for (name, value) in options {
        let _ = write!(out, " {name}=");
        push_line_safe(out, value);
        out.push('\n');
    }
}

fn push_line_safe(out: &mut String, text: &str) {
    out.extend(
        text.chars()
            .map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_entries() {
        let text = "\u{feff}# head\n split=9\nhttp://a/x\t\thttp://b/x\t\r\n out = x y \r\n#c\n\theader=A: b=c\n\n pause\n\
                    /tmp/my file.torrent\n dir=/d";
        let entries = parse(text);
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[0].line, &entries[0].uris),
            (3, &vec!["http://a/x".to_owned(), "http://b/x".to_owned()])
        );
        let pairs: Vec<_> = entries[0]
            .options
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(pairs, [("out", "x y"), ("header", "A: b=c"), ("pause", "")]);
        assert_eq!(entries[1].uris, ["/tmp/my file.torrent"]);
        let latin =
            Reader::new([Ok::<_, ()>(b"http://h/\xfc\thttp://h/".to_vec())].into_iter()).next();
        assert_eq!(latin.unwrap().unwrap().uris, ["http://h/%FC", "http://h/"]);
    }

    #[test]
    fn a_long_file_is_read_as_far_as_needed() {
        let mut taken = 0;
        let lines = (0..2_000_000).map(|at| {
            taken += 1;
            Ok::<_, ()>(format!("http://h/{at}").into_bytes())
        });
        let entry = Reader::new(lines).nth(9).unwrap().unwrap();
        assert_eq!((entry.uris[0].as_str(), taken), ("http://h/9", 11));
    }

    #[test]
    fn writes_what_aria2c_writes() {
        let mut out = String::new();
        let options = [
            ("gid", "4ed16a2e298ef27a"),
            ("header", "A: 1"),
            ("header", "B: 2"),
            ("referer", "x\n pause=true"),
        ];
        write_entry(&mut out, ["http://h/a", "http://h/m"], options);
        assert_eq!(
            out,
            "http://h/a\thttp://h/m\t\n gid=4ed16a2e298ef27a\n header=A: 1\n header=B: 2\n referer=x  pause=true\n"
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let lines = bytes.split(|byte| *byte == b'\n').map(|line| Ok::<_, ()>(line.to_vec()));
            let _ = Reader::new(lines).count();
        }

        #[test]
        fn what_is_written_is_read_back(
            entries in prop::collection::vec((
                prop::collection::vec("[a-z]://[!-~]{1,9}", 1..3),
                prop::collection::vec(("[a-z-]{1,8}", "([!-~]([ -~]{0,6}[!-~])?)?"), 0..4),
            ), 0..5)
        ) {
            let mut out = String::new();
            for (uris, options) in &entries {
                let options = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                write_entry(&mut out, uris.iter().map(String::as_str), options);
            }
            let back: Vec<_> = parse(&out).into_iter().map(|entry| (entry.uris, entry.options)).collect();
            prop_assert_eq!(back, entries);
        }
    }
}
