//! Pure: how numbers, durations and colours look on the console.

/// Wraps parts of the console text in terminal colours, or leaves them alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Colors {
    /// `enable-color`, and the output is a terminal.
    pub on: bool,
}

/// The colours the console uses, as ECMA-48 SGR parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Color {
    Bold,
    BoldBlue,
    BoldGreen,
    BoldRed,
    BoldYellow,
    Cyan,
    Green,
    Magenta,
    Yellow,
}

impl Color {
    const fn parameters(self) -> &'static str {
        match self {
            Color::Bold => "1",
            Color::BoldBlue => "1;34",
            Color::BoldGreen => "1;32",
            Color::BoldRed => "1;31",
            Color::BoldYellow => "1;33",
            Color::Cyan => "36",
            Color::Green => "32",
            Color::Magenta => "35",
            Color::Yellow => "33",
        }
    }
}

impl Colors {
    /// `text` in `color`.
    pub fn paint(self, color: Color, text: &str) -> String {
        if self.on {
            format!("\x1b[{}m{text}\x1b[0m", color.parameters())
        } else {
            text.to_owned()
        }
    }
}

/// `text` cut to `columns` visible characters; escape sequences take no room.
pub fn truncate(text: &str, columns: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut room = columns;
    let mut in_escape = false;
    let mut painted = false;
    for ch in text.chars() {
        if ch == '\x1b' {
            in_escape = true;
            painted = true;
        } else if in_escape {
            in_escape = ch != 'm';
        } else if room == 0 {
            break;
        } else {
            room -= 1;
        }
        shown.push(ch);
    }
    if painted {
        shown.push_str("\x1b[0m");
    }
    shown
}

/// Bytes as the console writes them: `300000B`, or with `human` as `292KiB`, `2.8MiB`.
pub fn size(bytes: u64, human: bool) -> String {
    if human {
        short_size(bytes)
    } else {
        format!("{bytes}B")
    }
}

/// From this many of a unit on, the next unit is used: `0.9MiB` instead of `922KiB`.
const UNIT_FULL: u64 = 922;

/// Bytes in the largest fitting unit up to GiB: one decimal, cut not rounded, below 10; thousands
/// of GiB with commas.
pub fn short_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut unit_len = 1u64;
    while unit + 1 < UNITS.len() && bytes / unit_len >= UNIT_FULL {
        unit += 1;
        unit_len *= 1024;
    }
    let whole = bytes / unit_len;
    if unit > 0 && whole < 10 {
        let tenth = (bytes % unit_len) * 10 / unit_len;
        format!("{whole}.{tenth}{}", UNITS[unit])
    } else {
        format!("{}{}", with_commas(whole), UNITS[unit])
    }
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1h2m3s`; parts that are zero are left out.
pub fn duration(seconds: u64) -> String {
    let mut text = String::new();
    for (part, unit) in [
        (seconds / 3600, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ] {
        if part > 0 {
            text.push_str(&format!("{part}{unit}"));
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Whole percent of `total`, rounded down; 0 when the total is not known.
pub fn percent(part: u64, total: u64) -> u64 {
    (u128::from(part) * 100)
        .checked_div(u128::from(total))
        .map_or(0, |percent| percent as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_aria2c_prints_them() {
        for (bytes, text) in [
            (0, "0B"),
            (921, "921B"),
            (922, "0.9KiB"),
            (1024, "1.0KiB"),
            (10_239, "9.9KiB"),
            (10_240, "10KiB"),
            (300_000, "292KiB"),
            (943_717, "921KiB"),
            (944_128, "0.9MiB"),
            (3_000_000, "2.8MiB"),
            (989_855_744, "0.9GiB"),
            (5_497_558_138_880, "5,120GiB"),
        ] {
            assert_eq!(short_size(bytes), text);
        }
        assert_eq!(size(300_000, false), "300000B");
    }

    #[test]
    fn durations_leave_out_zero_parts() {
        for (seconds, text) in [
            (0, "0s"),
            (20, "20s"),
            (102, "1m42s"),
            (3744, "1h2m24s"),
            (3605, "1h5s"),
            (1_632_776_400, "453549h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn colours_take_no_columns() {
        let colors = Colors { on: true };
        let text = colors.paint(Color::Green, "abcd");
        assert_eq!(truncate(&text, 4), "\x1b[32mabcd\x1b[0m\x1b[0m");
        assert_eq!(truncate(&text, 2), "\x1b[32mab\x1b[0m");
        assert_eq!(truncate("abcd", 2), "ab");
    }

    #[test]
    fn percents_round_down() {
        assert_eq!(percent(299, 300), 99);
        assert_eq!(percent(1, 0), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
