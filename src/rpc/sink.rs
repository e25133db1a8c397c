//! Pure: where results are written. Methods write keys and values; the sink knows the format.

/// A writer of one result. Text goes straight into the answer: no tree of values is built.
///
/// Inside a struct every value follows a [`key`](Sink::key); callers write keys in byte order.
pub trait Sink: Send {
    fn null(&mut self);
    fn boolean(&mut self, yes: bool);
    fn int(&mut self, number: i64);
    fn text(&mut self, text: &str);
    /// A number as the string of its digits: aria2's way with nearly all numbers.
    fn digits(&mut self, number: u64);
    fn open_struct(&mut self);
    fn key(&mut self, name: &str);
    fn close_struct(&mut self);
    fn open_list(&mut self);
    fn close_list(&mut self);
    /// What the envelope calls the number and the sentence of an error.
    fn fault_keys(&self) -> (&'static str, &'static str);
    /// The place reached, to come back to with [`rewind`](Sink::rewind).
    fn mark(&self) -> Mark;
    /// Forgets everything written since the mark.
    fn rewind(&mut self, mark: Mark);
    /// The text written so far, which is taken out.
    fn take(&mut self) -> String;
}

/// A place in a sink.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    len: usize,
    depth: usize,
    after_value: bool,
}

/// Writes `key` and `text` together.
pub fn pair(out: &mut dyn Sink, key: &str, text: &str) {
    out.key(key);
    out.text(text);
}

/// Writes a list of texts.
pub fn texts<'a>(out: &mut dyn Sink, texts: impl IntoIterator<Item = &'a str>) {
    out.open_list();
    for text in texts {
        out.text(text);
    }
    out.close_list();
}

/// Compact JSON as aria2 writes it: `/` escaped, control characters as `\u00XX`, the rest raw.
#[derive(Default)]
pub struct JsonSink {
    buffer: String,
    /// A value stands before the place reached, so that the next one needs a comma.
    after_value: bool,
}

impl JsonSink {
    pub fn new() -> Self {
        Self::default()
    }

    fn begin_value(&mut self) {
        if self.after_value {
            self.buffer.push(',');
        }
        self.after_value = true;
    }

    fn open(&mut self, bracket: char) {
        self.begin_value();
        self.buffer.push(bracket);
        self.after_value = false;
    }

    fn close(&mut self, bracket: char) {
        self.buffer.push(bracket);
        self.after_value = true;
    }

    fn quoted(&mut self, text: &str) {
        self.buffer.push('"');
        let mut plain_from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' && byte != b'/' {
                continue;
            }
            self.buffer.push_str(&text[plain_from..at]);
            plain_from = at + 1;
            self.escape(byte);
        }
        self.buffer.push_str(&text[plain_from..]);
        self.buffer.push('"');
    }

    fn escape(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let short = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            0x08 => 'b',
            0x0c => 'f',
            b'\n' => 'n',
            b'\r' => 'r',
            b'\t' => 't',
            _ => {
                self.buffer.push_str("\\u00");
                self.buffer.push(char::from(HEX[usize::from(byte >> 4)]));
                self.buffer.push(char::from(HEX[usize::from(byte & 15)]));
                return;
            }
        };
        self.buffer.push('\\');
        self.buffer.push(short);
    }
}

impl Sink for JsonSink {
    fn null(&mut self) {
        self.begin_value();
        self.buffer.push_str("null");
    }

    fn boolean(&mut self, yes: bool) {
        self.begin_value();
        self.buffer.push_str(if yes { "true" } else { "false" });
    }

    fn int(&mut self, number: i64) {
        self.begin_value();
        if number < 0 {
            self.buffer.push('-');
        }
        push_digits(&mut self.buffer, number.unsigned_abs());
    }

    fn text(&mut self, text: &str) {
        self.begin_value();
        self.quoted(text);
    }

    fn digits(&mut self, number: u64) {
        self.begin_value();
        self.buffer.push('"');
        push_digits(&mut self.buffer, number);
        self.buffer.push('"');
    }

    fn open_struct(&mut self) {
        self.open('{');
    }

    fn key(&mut self, name: &str) {
        self.begin_value();
        self.quoted(name);
        self.buffer.push(':');
        self.after_value = false;
    }

    fn close_struct(&mut self) {
        self.close('}');
    }

    fn open_list(&mut self) {
        self.open('[');
    }

    fn close_list(&mut self) {
        self.close(']');
    }

    fn fault_keys(&self) -> (&'static str, &'static str) {
        ("code", "message")
    }

    fn mark(&self) -> Mark {
        Mark {
            len: self.buffer.len(),
            depth: 0,
            after_value: self.after_value,
        }
    }

    fn rewind(&mut self, mark: Mark) {
        self.buffer.truncate(mark.len);
        self.after_value = mark.after_value;
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.buffer)
    }
}

/// XML-RPC values as aria2 writes them: no white space, strings always typed, whole numbers `int`.
#[derive(Default)]
pub struct XmlSink {
    buffer: String,
    open: Vec<Container>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Struct,
    List,
}

impl XmlSink {
    pub fn new() -> Self {
        Self::default()
    }

    fn scalar(&mut self, kind: &str, write: impl FnOnce(&mut String)) {
        for part in ["<value><", kind, ">"] {
            self.buffer.push_str(part);
        }
        write(&mut self.buffer);
        for part in ["</", kind, "></value>"] {
            self.buffer.push_str(part);
        }
        self.end_value();
    }

    fn end_value(&mut self) {
        if self.open.last() == Some(&Container::Struct) {
            self.buffer.push_str("</member>");
        }
    }
}

impl Sink for XmlSink {
    fn null(&mut self) {
        // XML-RPC has no null; an empty string is what every reader takes.
        self.text("");
    }

    fn boolean(&mut self, yes: bool) {
        self.scalar("boolean", |buffer| buffer.push(if yes { '1' } else { '0' }));
    }

    fn int(&mut self, number: i64) {
        self.scalar("int", |buffer| {
            if number < 0 {
                buffer.push('-');
            }
            push_digits(buffer, number.unsigned_abs());
        });
    }

    fn text(&mut self, text: &str) {
        self.scalar("string", |buffer| push_xml_text(buffer, text));
    }

    fn digits(&mut self, number: u64) {
        self.scalar("string", |buffer| push_digits(buffer, number));
    }

    fn open_struct(&mut self) {
        self.buffer.push_str("<value><struct>");
        self.open.push(Container::Struct);
    }

    fn key(&mut self, name: &str) {
        self.buffer.push_str("<member><name>");
        push_xml_text(&mut self.buffer, name);
        self.buffer.push_str("</name>");
    }

    fn close_struct(&mut self) {
        self.buffer.push_str("</struct></value>");
        self.open.pop();
        self.end_value();
    }

    fn open_list(&mut self) {
        self.buffer.push_str("<value><array><data>");
        self.open.push(Container::List);
    }

    fn close_list(&mut self) {
        self.buffer.push_str("</data></array></value>");
        self.open.pop();
        self.end_value();
    }

    fn fault_keys(&self) -> (&'static str, &'static str) {
        ("faultCode", "faultString")
    }

    fn mark(&self) -> Mark {
        Mark {
            len: self.buffer.len(),
            depth: self.open.len(),
            after_value: false,
        }
    }

    fn rewind(&mut self, mark: Mark) {
        self.buffer.truncate(mark.len);
        self.open.truncate(mark.depth);
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.buffer)
    }
}

/// XML 1.0 has no way to write most control characters, escaped or not.
fn push_xml_text(buffer: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => buffer.push_str("&amp;"),
            '<' => buffer.push_str("&lt;"),
            '>' => buffer.push_str("&gt;"),
            '"' => buffer.push_str("&quot;"),
            '\'' => buffer.push_str("&#39;"),
            '\t' | '\n' => buffer.push(character),
            '\r' => buffer.push_str("&#13;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => buffer.push('\u{fffd}'),
            _ => buffer.push(character),
        }
    }
}

fn push_digits(buffer: &mut String, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    digits[at..]
        .iter()
        .for_each(|digit| buffer.push(char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(out: &mut dyn Sink) -> String {
        out.open_struct();
        pair(out, "a", "x/\"\n\u{1}é");
        out.key("b");
        out.open_list();
        out.digits(u64::MAX);
        out.int(i64::MIN);
        let mark = out.mark();
        out.open_struct();
        pair(out, "gone", "gone");
        out.rewind(mark);
        out.open_struct();
        out.close_struct();
        out.close_list();
        out.key("c");
        out.boolean(true);
        out.close_struct();
        out.take()
    }

    #[test]
    fn json_is_compact_and_escapes_slashes() {
        assert_eq!(
            sample(&mut JsonSink::new()),
            r#"{"a":"x\/\"\n\u0001é","b":["18446744073709551615",-9223372036854775808,{}],"c":true}"#
        );
    }

    #[test]
    fn xml_closes_members_and_types_strings() {
        assert_eq!(
            sample(&mut XmlSink::new()),
            "<value><struct><member><name>a</name><value><string>x/&quot;\n\u{fffd}é</string></value></member>\
             <member><name>b</name><value><array><data><value><string>18446744073709551615</string></value>\
             <value><int>-9223372036854775808</int></value><value><struct></struct></value></data></array></value></member>\
             <member><name>c</name><value><boolean>1</boolean></value></member></struct></value>"
        );
    }
}
