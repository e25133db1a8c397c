//! Pure: the text of `-h` and `--help`, made from the option table.

use std::fmt::Write as _;

use super::reference;
use crate::option::{Kind, OptionId, OptionSpec, Tag, all, keys};

/// Column at which explanations begin.
const INDENT: usize = 30;
const WIDTH: usize = 80;

/// What `--help=TOPIC` prints: the options of a `#tag`, or those whose name contains a word. The
/// hidden topics `#man`, `#bash`, `#zsh`, `#fish` and `#markdown` print reference files.
pub fn text(topic: &str) -> String {
    let topic = if topic.is_empty() { "#basic" } else { topic };
    let word = match topic.strip_prefix('#') {
        Some("man") => return reference::man_page(),
        Some("bash") => return reference::bash_completion(),
        Some("zsh") => return reference::zsh_completion(),
        Some("fish") => return reference::fish_completion(),
        Some("markdown") => return reference::markdown(),
        Some("all") => return page("All options.", all(), true),
        Some(tag) => match Tag::ALL.iter().find(|known| known.word() == tag) {
            Some(tag) => return tag_page(*tag),
            None => tag,
        },
        None => topic,
    };
    let fitting: Vec<OptionId> = all()
        .iter()
        .filter(|id| id.name().contains(word.trim_start_matches('-')))
        .copied()
        .collect();
    if fitting.is_empty() {
        page(
            &format!("No option's name contains '{word}'."),
            &[keys::HELP.id],
            false,
        )
    } else {
        page(
            &format!("Options whose name contains '{word}'."),
            &fitting,
            false,
        )
    }
}

fn tag_page(tag: Tag) -> String {
    let tagged: Vec<OptionId> = all()
        .iter()
        .filter(|id| id.spec().tags.contains(&tag))
        .copied()
        .collect();
    page(
        &format!(
            "Options tagged #{}; see --help=#help for the other tags.",
            tag.word()
        ),
        &tagged,
        tag == Tag::Basic,
    )
}

fn page(title: &str, options: &[OptionId], with_arguments: bool) -> String {
    let mut out = format!(
        "Usage: arioso [OPTIONS] [URI | MAGNET | TORRENT_FILE | METALINK_FILE]...\n{title}\n\nOptions:\n"
    );
    for id in options {
        explain(&mut out, *id);
        out.push('\n');
    }
    if with_arguments {
        out += ARGUMENTS;
    }
    out
}

const ARGUMENTS: &str = "\
URI, MAGNET, TORRENT_FILE, METALINK_FILE:
 Several HTTP, FTP or SFTP URIs are mirrors of one file, unless -Z makes each a
 download of its own. Magnet links and local .torrent, .metalink and .meta4
 files are always downloads of their own. Quote a URI that holds '&' or other
 characters which mean something to the shell.

Connections:
 A file is fetched over one connection a server by default. To use more, raise
 max-connection-per-server (-x) and split (-s), and for small files lower
 min-split-size (-k), for example: -x8 -s8 -k1M
";

fn explain(out: &mut String, id: OptionId) {
    let spec = id.spec();
    let usage = format!(" {}", usage(spec));
    let mut lines = wrap(&spec.help_text(), WIDTH - INDENT).into_iter();
    if usage.len() < INDENT {
        let _ = writeln!(out, "{usage:INDENT$}{}", lines.next().unwrap_or_default());
    } else {
        let _ = writeln!(out, "{usage}");
    }
    for line in lines {
        let _ = writeln!(out, "{:INDENT$}{line}", "");
    }
    out.push('\n');
    let mut fact = |name: &str, text: &str| {
        for (at, line) in wrap(&format!("{name}: {text}"), WIDTH - INDENT - 2)
            .iter()
            .enumerate()
        {
            let _ = writeln!(out, "{:1$}{line}", "", INDENT + if at > 0 { 2 } else { 0 });
        }
    };
    if let Some(values) = possible_values(spec) {
        fact("Possible Values", &values);
    }
    if let Some(default) = default_text(id) {
        fact("Default", default);
    }
    if !spec.tags.is_empty() {
        fact("Tags", &tag_words(spec));
    }
}

/// `-x, --max-connection-per-server=NUM`.
pub(super) fn usage(spec: &OptionSpec) -> String {
    let short = spec
        .short
        .map(|letter| format!("-{letter}, "))
        .unwrap_or_default();
    format!("{short}--{}{}", spec.name, value_usage(spec))
}

/// `=NUM`, `[=true|false]` or nothing.
pub(super) fn value_usage(spec: &OptionSpec) -> String {
    match spec.kind {
        Kind::Command => String::new(),
        kind if kind.value_is_optional() => format!("[={}]", spec.arg),
        _ => format!("={}", spec.arg),
    }
}

/// `#basic, #http`.
pub(super) fn tag_words(spec: &OptionSpec) -> String {
    let words: Vec<String> = spec
        .tags
        .iter()
        .map(|tag| format!("#{}", tag.word()))
        .collect();
    words.join(", ")
}

/// What may be given, where that can be said shortly.
pub(super) fn possible_values(spec: &OptionSpec) -> Option<String> {
    let bound = |number: i64| {
        if number == i64::MAX {
            "*".to_owned()
        } else {
            number.to_string()
        }
    };
    let text = match spec.kind {
        Kind::Flag => "true, false".to_owned(),
        Kind::Int(min, max) | Kind::Ranges(min, max) => format!("{min}-{}", bound(max)),
        Kind::Size(min, max) => format!("{min}-{} (K and M for 1024 and 1024*1024)", bound(max)),
        Kind::Float(min) => format!("{min:.1}-*"),
        Kind::Choice(words) => words.join(", "),
        Kind::Path => "/path/to/file".to_owned(),
        Kind::Proxy => "[http://|socks5://|socks5h://][USER:PASSWORD@]HOST[:PORT]".to_owned(),
        Kind::HostPort => "HOST:PORT".to_owned(),
        Kind::Digest(types) => format!("TYPE=DIGEST with TYPE one of {}", types.join(", ")),
        Kind::Gid => "16 hex digits".to_owned(),
        Kind::Coefficients => "true, false, A:B".to_owned(),
        Kind::PiecePriority => "head[=SIZE], tail[=SIZE]".to_owned(),
        Kind::IndexPath => "INDEX=PATH".to_owned(),
        Kind::HelpTopic => {
            let tags: Vec<String> = Tag::ALL
                .iter()
                .map(|tag| format!("#{}", tag.word()))
                .collect();
            format!("{}, #all, a word", tags.join(", "))
        }
        Kind::Text | Kind::Token | Kind::Commas | Kind::Lines | Kind::Command => return None,
    };
    Some(text)
}

/// The default, in words where it depends on the machine.
pub(super) fn default_text(id: OptionId) -> Option<&'static str> {
    const BY_MACHINE: &[(OptionId, &str)] = &[
        (
            keys::CONF_PATH.id,
            "$HOME/.aria2/aria2.conf, else $XDG_CONFIG_HOME/aria2/aria2.conf",
        ),
        (
            keys::DHT_FILE_PATH.id,
            "$HOME/.aria2/dht.dat, else $XDG_CACHE_HOME/aria2/dht.dat",
        ),
        (
            keys::DHT_FILE_PATH6.id,
            "$HOME/.aria2/dht6.dat, else $XDG_CACHE_HOME/aria2/dht6.dat",
        ),
        (keys::DIR.id, "the current directory"),
        (keys::NETRC_PATH.id, "$HOME/.netrc"),
        (
            keys::RLIMIT_NOFILE.id,
            "the limit the program was started with",
        ),
        (
            keys::STATE_DIR.id,
            "for a server, $XDG_STATE_HOME/arioso/PORT; called as aria2c only with save-session",
        ),
    ];
    let machine = BY_MACHINE
        .iter()
        .find(|(other, _)| *other == id)
        .map(|(_, text)| *text);
    machine.or(id.spec().default)
}

/// Breaks a paragraph into lines of at most `width` characters, where words allow it.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        text.lines()
            .filter(|line| line.starts_with(" -"))
            .filter_map(|line| line.split("--").nth(1))
            .filter_map(|rest| rest.split(['=', '[', ' ']).next())
            .collect()
    }

    #[test]
    fn topics_choose_options() {
        assert_eq!(names(&text("#all")).len(), all().len());
        assert_eq!(names(&text("#cookie")), ["load-cookies", "save-cookies"]);
        assert_eq!(names(&text("cookie")), ["load-cookies", "save-cookies"]);
        assert_eq!(names(&text("--split")), ["min-split-size", "split"]);
        assert_eq!(text(""), text("#basic"));
        assert!(text("nosuchthing").contains("No option's name contains 'nosuchthing'."));
        assert!(text("#nosuchtag").contains("No option's name contains 'nosuchtag'."));
    }

    #[test]
    fn an_option_shows_its_facts() {
        let text = text("max-connection-per-server");
        for line in [
            " -x, --max-connection-per-server=NUM",
            "                              Possible Values: 1-128",
            "                              Default: 1",
            "                              Tags: #basic, #http, #ftp",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }

    #[test]
    fn lines_fit_a_terminal_and_every_row_is_explained() {
        for line in text("#all").lines() {
            // Only a usage line or one long word may be longer.
            assert!(
                line.chars().count() <= WIDTH
                    || line.starts_with(" -")
                    || !line.trim().contains(' '),
                "{line}"
            );
        }
        for id in all() {
            let help = id.spec().help_text();
            assert!(
                help.ends_with(['.', ')']) && help.len() < 400,
                "{id:?}: {help}"
            );
        }
    }
}
