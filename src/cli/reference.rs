//! Pure: reference files made from the option table: man page, shell completions, Markdown.
//! `scripts/reference` writes them; a test compares them with what is checked in.

use std::fmt::Write as _;

use super::help::{default_text, possible_values, tag_words, usage, value_usage};
use crate::base::error::ErrorCode;
use crate::base::product::{NAME, VERSION};
use crate::option::{Kind, OptionId, OptionSpec, Tag, all, keys};

/// The manual page `arioso(1)` in roff (man(7)).
pub fn man_page() -> String {
    let mut out = format!(".TH ARIOSO 1 \"\" \"{NAME} {VERSION}\"\n");
    out += MAN_HEAD;
    out += ".SH OPTIONS\n";
    for tag in Tag::ALL {
        // Each option stands below its first tag only.
        let options: Vec<_> = all()
            .iter()
            .filter(|id| chapter(id.spec()) == *tag)
            .collect();
        if options.is_empty() {
            continue;
        }
        let _ = writeln!(out, ".SS {}", capital(tag.word()));
        for id in options {
            man_option(&mut out, *id);
        }
    }
    out += ".SH EXIT STATUS\n";
    for code in ErrorCode::ALL {
        let _ = writeln!(out, ".TP 4\n{}\n{}", code.code(), roff(code.meaning()));
    }
    out += MAN_TAIL;
    out
}

const MAN_HEAD: &str = "\
.SH NAME
arioso \\- download server and command that takes the place of aria2c
.SH SYNOPSIS
.B arioso
[\\fIOPTION\\fR]... [\\fIURI\\fR | \\fIMAGNET\\fR | \\fITORRENT_FILE\\fR | \\fIMETALINK_FILE\\fR]...
.SH DESCRIPTION
Downloads files over HTTP, HTTPS, FTP, SFTP and BitTorrent, over several connections and from several
mirrors at once. With \\fB\\-\\-enable\\-rpc\\fR it runs as a server that is told what to do over JSON\\-RPC and
XML\\-RPC. Options, files and interfaces are those of aria2c.
.PP
Several URIs are mirrors of one file, unless \\fB\\-Z\\fR is given. A long option may be shortened as long as it
stays unique. Sizes take K and M for 1024 and 1024*1024. An option that takes
.B true
or
.B false
may be given without a value, which means
.BR true .
";

const MAN_TAIL: &str = "\
.SH ENVIRONMENT
.TP
http_proxy, https_proxy, ftp_proxy, all_proxy, no_proxy
Proxies and exceptions. They go before the configuration file, and options of the command line before them.
.TP
XDG_CONFIG_HOME, XDG_CACHE_HOME, XDG_STATE_HOME
Base directories of the configuration file, of dht.dat and of the state directory.
.SH FILES
.TP
$HOME/.aria2/aria2.conf, $XDG_CONFIG_HOME/aria2/aria2.conf
Options, one \\fIname\\fR=\\fIvalue\\fR a line, without the dashes. A line that begins with # is a comment.
.TP
FILE.aria2
Progress of a half\\-done FILE, in aria2's format.
.SH SEE ALSO
.BR aria2c (1)
";

fn man_option(out: &mut String, id: OptionId) {
    let spec = id.spec();
    let _ = writeln!(
        out,
        ".TP\n.B {}\n{}",
        roff(&usage(spec)),
        roff(&spec.help_text())
    );
    let mut facts = Vec::new();
    if let Some(values) = possible_values(spec).filter(|_| spec.kind != Kind::Flag) {
        facts.push(format!("Possible values: {values}."));
    }
    if let Some(default) = default_text(id) {
        facts.push(format!("Default: {default}."));
    }
    if !facts.is_empty() {
        let _ = writeln!(out, ".br\n{}", roff(&facts.join(" ")));
    }
}

/// Text as roff takes it literally.
fn roff(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    if text.starts_with('.') {
        format!("\\&{text}")
    } else {
        text
    }
}

fn chapter(spec: &OptionSpec) -> Tag {
    spec.tags.first().copied().unwrap_or(Tag::Advanced)
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

/// What a shell may offer as a value.
enum Offer {
    Nothing,
    Words(Vec<&'static str>),
    Files,
    Directories,
}

fn offer(id: OptionId) -> Offer {
    let directories = [keys::DIR.id, keys::STATE_DIR.id, keys::COMPLETE_DIR.id];
    match id.spec().kind {
        Kind::Flag => Offer::Words(vec!["true", "false"]),
        Kind::Choice(words) => Offer::Words(words.to_vec()),
        Kind::Path if directories.contains(&id) => Offer::Directories,
        Kind::Path => Offer::Files,
        _ => Offer::Nothing,
    }
}

/// Completion for bash.
pub fn bash_completion() -> String {
    let mut cases = String::new();
    let mut names = String::new();
    for id in all() {
        let spec = id.spec();
        let _ = writeln!(names, "        --{}", long_word(spec));
        let short = spec
            .short
            .map(|letter| format!("|-{letter}"))
            .unwrap_or_default();
        let action = match offer(*id) {
            Offer::Nothing => continue,
            Offer::Words(words) => format!("-W '{}'", words.join(" ")),
            Offer::Files => "-f".to_owned(),
            Offer::Directories => "-d".to_owned(),
        };
        // A short form of an optional value has it attached, so the next word is no value.
        let short = if spec.kind.value_is_optional() {
            ""
        } else {
            &short
        };
        let _ = writeln!(
            cases,
            "        --{}{short}) COMPREPLY=($(compgen {action} -- \"$cur\")); return ;;",
            spec.name
        );
    }
    format!(
        "# bash completion for arioso, made by scripts/reference.\n\
         _arioso() {{\n\
         \x20   local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}\n\
         \x20   if [[ $cur == = ]]; then\n\
         \x20       cur=\n\
         \x20   elif [[ $prev == = ]]; then\n\
         \x20       prev=${{COMP_WORDS[COMP_CWORD-2]}}\n\
         \x20   fi\n\
         \x20   case $prev in\n{cases}    esac\n\
         \x20   if [[ $cur != -* ]]; then\n\
         \x20       COMPREPLY=($(compgen -f -- \"$cur\"))\n\
         \x20       return\n\
         \x20   fi\n\
         \x20   COMPREPLY=($(compgen -W '\n{names}    ' -- \"$cur\"))\n\
         \x20   [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace\n\
         }}\n\
         complete -F _arioso arioso\n"
    )
}

/// `split=` or `continue`: the value of the latter may be left out.
fn long_word(spec: &OptionSpec) -> String {
    let mark = if spec.kind.value_is_optional() {
        ""
    } else {
        "="
    };
    format!("{}{mark}", spec.name)
}

/// Completion for zsh.
pub fn zsh_completion() -> String {
    let mut out = String::from(
        "#compdef arioso\n# zsh completion for arioso, made by scripts/reference.\n_arguments -s -S \\\n",
    );
    for id in all() {
        let spec = id.spec();
        let repeat = if spec.scope.has(crate::option::spec::LIST) {
            "*"
        } else {
            ""
        };
        let value = zsh_value(*id);
        let about = quote_zsh(&first_sentence(spec));
        let name = spec.name;
        // Optional values are attached: `--continue=-` in _arguments.
        let mark = match spec.kind {
            Kind::Command => "",
            kind if kind.value_is_optional() => "=-",
            _ => "=",
        };
        let _ = writeln!(out, "    '{repeat}--{name}{mark}[{about}]{value}' \\");
        if let Some(letter) = spec.short {
            let mark = match spec.kind {
                Kind::Command => "",
                kind if kind.value_is_optional() => "-",
                _ => "+",
            };
            let _ = writeln!(out, "    '{repeat}-{letter}{mark}[{about}]{value}' \\");
        }
    }
    out += "    '*:URI or file:_files'\n";
    out
}

fn zsh_value(id: OptionId) -> String {
    let spec = id.spec();
    let colons = match spec.kind {
        Kind::Command => return String::new(),
        kind if kind.value_is_optional() => "::",
        _ => ":",
    };
    let arg = quote_zsh(spec.arg);
    match offer(id) {
        Offer::Nothing => format!("{colons}{arg}: "),
        Offer::Words(words) => format!("{colons}{arg}:({})", words.join(" ")),
        Offer::Files => format!("{colons}{arg}:_files"),
        Offer::Directories => format!("{colons}{arg}:_files -/"),
    }
}

/// Text inside a single-quoted specification of `_arguments`.
fn quote_zsh(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
        .replace('\'', "'\\''")
}

/// Completion for fish.
pub fn fish_completion() -> String {
    let mut out = String::from("# fish completion for arioso, made by scripts/reference.\n");
    for id in all() {
        let spec = id.spec();
        let short = spec
            .short
            .map(|letter| format!(" -s {letter}"))
            .unwrap_or_default();
        let about = first_sentence(spec)
            .replace('\\', "\\\\")
            .replace('\'', "\\'");
        let optional = spec.kind.value_is_optional();
        let value = match offer(*id) {
            _ if spec.kind == Kind::Command => " -f".to_owned(),
            Offer::Words(words) if optional => format!(" -f -a '{}'", words.join(" ")),
            Offer::Words(words) => format!(" -x -a '{}'", words.join(" ")),
            Offer::Nothing if optional => " -f".to_owned(),
            Offer::Nothing => " -x".to_owned(),
            Offer::Files => " -r -F".to_owned(),
            Offer::Directories => " -x -a '(__fish_complete_directories)'".to_owned(),
        };
        let _ = writeln!(
            out,
            "complete -c arioso -l {}{short} -d '{about}'{value}",
            spec.name
        );
    }
    out
}

fn first_sentence(spec: &OptionSpec) -> String {
    let text = spec.help_text();
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

/// All options as one Markdown table.
pub fn markdown() -> String {
    let mut out = String::from(
        "Made from the option table by `scripts/reference`. \"Per download\" means: may be given \
         with a download over RPC or in an input file; \"live\" means: an active download takes a change without \
         a restart.\n\n| Option | What it does | Values | Default | Where |\n|-|-|-|-|-|\n",
    );
    for id in all() {
        let spec = id.spec();
        let short = spec
            .short
            .map(|letter| format!("`-{letter}` "))
            .unwrap_or_default();
        let values = possible_values(spec)
            .map(|text| cell(&text))
            .unwrap_or_default();
        let default = default_text(*id)
            .map(|text| format!("`{}`", cell(text)))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "| {short}`--{}{}` | {} | {values} | {default} | {} |",
            spec.name,
            cell(&value_usage(spec)),
            cell(&spec.help_text()),
            cell(&places(spec)),
        );
    }
    out
}

fn places(spec: &OptionSpec) -> String {
    use crate::option::spec::{ADD, GLOBAL, LIST, LIVE};
    let mut places = Vec::new();
    for (flag, word) in [
        (ADD, "per download"),
        (LIVE, "live"),
        (GLOBAL, "global over RPC"),
        (LIST, "repeatable"),
    ] {
        if spec.scope.has(flag) {
            places.push(word);
        }
    }
    let tags = tag_words(spec);
    if places.is_empty() {
        tags
    } else {
        format!("{}; {tags}", places.join(", "))
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_every_file() {
        let (man, bash, zsh) = (man_page(), bash_completion(), zsh_completion());
        let (fish, markdown) = (fish_completion(), markdown());
        for id in all() {
            let name = id.name();
            assert!(man.contains(&roff(&format!("--{name}"))), "{name}");
            assert!(bash.contains(&format!("--{name}")), "{name}");
            assert!(zsh.contains(&format!("--{name}")), "{name}");
            assert!(fish.contains(&format!(" -l {name}")), "{name}");
            assert!(markdown.contains(&format!("`--{name}")), "{name}");
        }
        assert!(man.contains(".TP 4\n28\nAn option or its value was bad."));
    }

    #[test]
    fn marks_are_escaped() {
        assert_eq!(roff(".a-b\\c'd"), "\\&.a\\-b\\ec\\(aqd");
        assert_eq!(quote_zsh("a[b]:c'd"), "a\\[b\\]\\:c'\\''d");
        assert_eq!(cell("a|b<c"), "a\\|b&lt;c");
    }
}
