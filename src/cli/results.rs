//! Pure: the table of results printed when the program ends.
//!
//! Front ends find it by its first line and read the status in the second column; the legend
//! below it names the statuses that occur.

use super::style::{self, Color, Colors};
use crate::base::gid::Gid;
use crate::base::secret::SafeUrl;

/// How a download stands when the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Complete,
    Failed,
    InProgress,
    Removed,
}

impl Status {
    /// In the order of the legend.
    const ALL: [Status; 4] = [
        Status::Complete,
        Status::Failed,
        Status::InProgress,
        Status::Removed,
    ];

    const fn word(self) -> &'static str {
        match self {
            Status::Complete => "OK",
            Status::Failed => "ERR",
            Status::InProgress => "INPR",
            Status::Removed => "RM",
        }
    }

    const fn color(self) -> Color {
        match self {
            Status::Complete => Color::BoldGreen,
            Status::Failed => Color::BoldRed,
            Status::InProgress => Color::BoldBlue,
            Status::Removed => Color::Bold,
        }
    }

    const fn legend(self) -> &'static str {
        match self {
            Status::Complete => "(OK):download completed.",
            Status::Failed => "(ERR):error occurred.",
            Status::InProgress => "(INPR):download in-progress.",
            Status::Removed => "(RM):download removed.",
        }
    }
}

/// One file of a download in the full table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileResult {
    /// Path, or a URI while there is no path: see [`name`].
    pub name: String,
    pub completed: u64,
    /// 0 when not known.
    pub total: u64,
}

/// One download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DownloadResult {
    pub gid: Gid,
    pub status: Status,
    /// Bytes a second over the whole session; `None` when it took no time.
    pub average_speed: Option<u64>,
    /// The selected files, at least one.
    pub files: Vec<FileResult>,
}

/// What names a file: its path, else its first URI (without what is secret in it), else `n/a`.
/// Control characters are escaped: they would command the terminal.
pub fn name(path: &str, uri: Option<&str>) -> String {
    let shown = match uri {
        _ if !path.is_empty() => path.to_owned(),
        Some(uri) => SafeUrl(uri).to_string(),
        None => "n/a".to_owned(),
    };
    if !shown.contains(char::is_control) {
        return shown;
    }
    shown
        .chars()
        .map(|ch| match ch.is_control() {
            true => ch.escape_default().to_string(),
            false => ch.to_string(),
        })
        .collect()
}

/// `name`, and how many more files there are: `/d/a (1more)`.
pub fn name_of_many(name: String, file_count: usize) -> String {
    match file_count {
        0 | 1 => name,
        count => format!("{name} ({}more)", count - 1),
    }
}

/// The whole table with its legend; `full` has a row for each file and the share it is done.
pub fn table(results: &[DownloadResult], full: bool, columns: usize, colors: Colors) -> String {
    let mut text = String::from("\nDownload Results:\ngid   |stat|avg speed  |");
    let mut rule = String::from("======+====+===========+");
    if full {
        text.push_str("  %|");
        rule.push_str("===+");
    }
    rule.push_str(&"=".repeat(columns.saturating_sub(rule.len())));
    text.push_str("path/URI\n");
    text.push_str(&rule);
    text.push('\n');
    for result in results {
        if full {
            push_full_rows(&mut text, result, colors);
        } else {
            push_row(&mut text, result, colors);
        }
    }
    text.push_str(&legend(results));
    text
}

fn push_row(text: &mut String, result: &DownloadResult, colors: Colors) {
    let first = result.files.first().map_or("n/a", |file| &file.name);
    let name = name_of_many(first.to_owned(), result.files.len());
    text.push_str(&format!("{}{name}\n", head(result, colors)));
}

fn push_full_rows(text: &mut String, result: &DownloadResult, colors: Colors) {
    for (at, file) in result.files.iter().enumerate() {
        let head = if at == 0 {
            head(result, colors)
        } else {
            format!("{:6}|{:4}|{:11}|", "", "", "")
        };
        let share = match file.total {
            0 => "-".to_owned(),
            total => style::percent(file.completed, total).to_string(),
        };
        text.push_str(&format!("{head}{share:>3}|{}\n", file.name));
    }
}

/// The first three columns.
fn head(result: &DownloadResult, colors: Colors) -> String {
    let word = result.status.word();
    let padding = " ".repeat(4 - word.len());
    let speed = match result.average_speed {
        Some(speed) => format!("{}/s", style::short_size(speed)),
        None => "n/a".to_owned(),
    };
    let status = colors.paint(result.status.color(), word);
    format!(
        "{:.6}|{status}{padding}|{speed:>11}|",
        result.gid.to_string()
    )
}

fn legend(results: &[DownloadResult]) -> String {
    let occurring: String = Status::ALL
        .into_iter()
        .filter(|status| results.iter().any(|result| result.status == *status))
        .map(Status::legend)
        .collect();
    if occurring.is_empty() {
        String::new()
    } else {
        format!("\nStatus Legend:\n{occurring}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(gid: &str, status: Status, speed: Option<u64>, name: &str) -> DownloadResult {
        DownloadResult {
            gid: gid.parse().unwrap(),
            status,
            average_speed: speed,
            files: vec![FileResult {
                name: name.into(),
                completed: 150,
                total: 200,
            }],
        }
    }

    #[test]
    fn table_as_aria2c_prints_it() {
        let results = [
            result("8ef6396c499e5027", Status::Failed, Some(0), "http://h/nope"),
            result("00dea60000000001", Status::Complete, None, "/d/s.txt"),
            result(
                "9d05740000000001",
                Status::InProgress,
                Some(117_000),
                "/d/a.bin",
            ),
        ];
        assert_eq!(
            table(&results, false, 79, Colors::default()),
            "
Download Results:
gid   |stat|avg speed  |path/URI
======+====+===========+=======================================================
8ef639|ERR |       0B/s|http://h/nope
00dea6|OK  |        n/a|/d/s.txt
9d0574|INPR|   114KiB/s|/d/a.bin

Status Legend:
(OK):download completed.(ERR):error occurred.(INPR):download in-progress.
"
        );
    }

    #[test]
    fn full_table_has_a_row_for_each_file() {
        let mut one = result("8ef6396c499e5027", Status::Removed, Some(0), "/d/a");
        one.files.push(FileResult {
            name: "/d/b".into(),
            completed: 0,
            total: 0,
        });
        assert_eq!(
            table(&[one.clone()], true, 79, Colors::default()),
            "
Download Results:
gid   |stat|avg speed  |  %|path/URI
======+====+===========+===+===================================================
8ef639|RM  |       0B/s| 75|/d/a
      |    |           |  -|/d/b

Status Legend:
(RM):download removed.
"
        );
        let table = table(&[one], false, 79, Colors { on: true });
        assert!(table.contains("8ef639|\x1b[1mRM\x1b[0m  |       0B/s|/d/a (1more)\n"));
    }

    #[test]
    fn nothing_downloaded_means_no_legend() {
        let text = table(&[], false, 30, Colors::default());
        assert!(text.ends_with("path/URI\n======+====+===========+======\n"));
    }

    #[test]
    fn names_fall_back_to_the_uri() {
        assert_eq!(name("/d/a", Some("http://h/a")), "/d/a");
        assert_eq!(name("", Some("http://u:p@h/a?k=v")), "http://***@h/a?***");
        assert_eq!(name("/d/\x1b[2J", None), "/d/\\u{1b}[2J");
        assert_eq!(name("", None), "n/a");
    }
}
