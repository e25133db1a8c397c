//! Pure: what `--show-files` prints of a torrent or Metalink.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::style;
use crate::format::metainfo::Metainfo;
use crate::format::metalink::Metalink;

/// The rule under the head of the table, and between its rows.
const COLUMNS: usize = 79;

/// The block about one torrent.
pub fn of_torrent(metainfo: &Metainfo) -> String {
    let info = &metainfo.info;
    let mut text = String::from("*** BitTorrent File Information ***\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}: {value}");
    };
    if let Some(comment) = &metainfo.comment {
        line("Comment", &safe(comment));
    }
    if let Some(date) = metainfo.creation_date.and_then(date_of) {
        line("Creation Date", &date);
    }
    if let Some(by) = &metainfo.created_by {
        line("Created By", &safe(by));
    }
    line("Mode", if info.multi { "multi" } else { "single" });
    text.push_str("Announce:\n");
    for tier in &metainfo.tiers {
        let uris = tier.iter().map(|uri| safe(uri));
        let _ = writeln!(text, " {}", uris.collect::<Vec<_>>().join(" "));
    }
    let _ = writeln!(text, "Info Hash: {}", info.hash);
    let _ = writeln!(
        text,
        "Piece Length: {}",
        style::size(u64::from(info.piece_len), true)
    );
    let _ = writeln!(text, "The Number of Pieces: {}", info.piece_count());
    let _ = writeln!(text, "Total Length: {}", length(info.total));
    if !metainfo.web_seeds.is_empty() {
        text.push_str("URL List:\n");
        for uri in &metainfo.web_seeds {
            let _ = writeln!(text, " {}", safe(uri));
        }
    }
    let _ = writeln!(text, "Name: {}", safe(&info.name));
    let _ = writeln!(text, "Magnet URI: {}", magnet(metainfo));
    let files = info.files.iter();
    text.push_str(&table(
        "./",
        files.map(|file| (file.path.as_str(), file.len)),
    ));
    text
}

/// The block about one Metalink. Its files are downloads of their own.
pub fn of_metalink(metalink: &Metalink) -> String {
    let files = metalink.files.iter();
    let mut text = table(
        "",
        files.map(|file| (file.name.as_str(), file.size.unwrap_or(0))),
    );
    text.push('\n');
    text
}

/// The files with their numbers, for `select-file`.
fn table<'a>(prefix: &str, files: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut text = String::from("Files:\nidx|path/length\n");
    let _ = writeln!(text, "===+{}", "=".repeat(COLUMNS - 4));
    for (index, (path, len)) in files.enumerate() {
        let _ = writeln!(text, "{:>3}|{prefix}{}", index + 1, safe(path));
        let _ = writeln!(text, "   |{}", length(len));
        let _ = writeln!(text, "---+{}", "-".repeat(COLUMNS - 4));
    }
    text
}

fn length(bytes: u64) -> String {
    let digits = bytes.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{} ({grouped})", style::size(bytes, true))
}

fn magnet(metainfo: &Metainfo) -> String {
    let hash = metainfo.info.hash.to_string().to_uppercase();
    let escaped = |text: &str| utf8_percent_encode(text, NOT_IN_FIELDS).to_string();
    let mut uri = format!(
        "magnet:?xt=urn:btih:{hash}&dn={}",
        escaped(&metainfo.info.name)
    );
    for tracker in metainfo.tiers.iter().flatten() {
        let _ = write!(uri, "&tr={}", escaped(tracker));
    }
    uri
}

const NOT_IN_FIELDS: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// As HTTP writes dates.
fn date_of(seconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    Some(time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// Control characters would command the terminal.
fn safe(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}
