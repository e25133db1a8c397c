//! Pure: the grammar of `aria2.conf`: `name=value` lines, `#` in the first column begins a
//! comment, no quoting, no comments behind values (behaviour.md section 5).

/// One setting of a configuration file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfLine<'a> {
    /// From 1.
    pub number: usize,
    pub name: &'a str,
    pub value: &'a str,
}

/// The settings in the order of the file. A line without `=` has an empty value.
pub fn lines(text: &str) -> impl Iterator<Item = ConfLine<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().enumerate().filter_map(|(at, line)| {
        if line.starts_with('#') {
            return None;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let (name, value) = (name.trim(), value.trim());
        let empty = name.is_empty() && value.is_empty();
        (!empty).then_some(ConfLine {
            number: at + 1,
            name,
            value,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn trims_and_skips() {
        let text = "\u{feff}#c\n dir = /a b \r\n\n  \ncontinue\nheader=A: b=c # d\n=x\n #e\n";
        let got: Vec<_> = lines(text)
            .map(|line| (line.number, line.name, line.value))
            .collect();
        assert_eq!(
            got,
            [
                (2, "dir", "/a b"),
                (5, "continue", ""),
                (6, "header", "A: b=c # d"),
                (7, "", "x"),
                (8, "#e", ""),
            ]
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|([a-z#=\r\n\t ]{0,60})") {
            let _ = lines(&text).count();
        }
    }
}
