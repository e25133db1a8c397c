//! Pure: the command line, read by clap from the option table under getopt's habits: unique
//! prefixes of long names, `-x4`, `-Vtrue`, `--continue`, options after URIs.

use clap::builder::{OsStr, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::keys;
use super::spec::{Kind, OURS, OptionId, OptionSpec, all, find};
use super::value::OptionError;

const URIS: &str = "URI";

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Run,
    /// A word or a `#tag`.
    Help(String),
    Version,
}

/// A command line, taken apart but not yet checked value by value. It may hold passwords, so it
/// cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Argv {
    pub action: Action,
    /// Options with their texts, one by one as given; repeated ones are in their order.
    pub sets: Vec<(OptionId, String)>,
    pub uris: Vec<String>,
}

impl Argv {
    /// The last text given for an option.
    pub fn last(&self, id: OptionId) -> Option<&str> {
        self.sets
            .iter()
            .rev()
            .find(|(other, _)| *other == id)
            .map(|(_, text)| text.as_str())
    }
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// An unknown or ambiguous option, or one without the value it needs.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Argv, OptionError> {
    let args = spell_out(args.into_iter());
    let mut matches = command()
        .try_get_matches_from(args)
        .map_err(|error| explain(&error))?;
    let action = action(&matches);
    let mut sets = Vec::new();
    for id in all() {
        if id.spec().kind == Kind::Command {
            continue;
        }
        if let Some(texts) = matches.remove_many::<String>(id.name()) {
            sets.extend(texts.map(|text| (*id, text)));
        }
    }
    let uris = matches
        .remove_many::<String>(URIS)
        .into_iter()
        .flatten()
        .collect();
    Ok(Argv { action, sets, uris })
}

fn action(matches: &ArgMatches) -> Action {
    if matches.get_flag(keys::VERSION.id.name()) {
        return Action::Version;
    }
    match matches
        .get_many::<String>(keys::HELP.id.name())
        .and_then(Iterator::last)
    {
        Some(topic) => Action::Help(topic.clone()),
        None => Action::Run,
    }
}

/// The clap command of the whole table.
fn command() -> Command {
    Command::new("arioso")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .infer_long_args(true)
        .args(all().iter().map(|id| argument(id.spec())))
        .arg(
            Arg::new(URIS)
                .num_args(0..)
                .action(ArgAction::Append)
                .value_parser(ValueParser::string()),
        )
}

fn argument(spec: &'static OptionSpec) -> Arg {
    let arg = Arg::new(spec.name).long(spec.name).short(spec.short);
    if spec.kind == Kind::Command {
        return arg.action(ArgAction::SetTrue);
    }
    let arg = arg
        .action(ArgAction::Append)
        .value_parser(ValueParser::string())
        .allow_hyphen_values(true);
    if spec.kind.value_is_optional() {
        let implied = spec
            .default
            .filter(|_| spec.kind == Kind::HelpTopic)
            .unwrap_or("true");
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value(OsStr::from(implied))
    } else {
        arg.num_args(1)
    }
}

/// Puts what clap reads differently from getopt into its terms: `-Vtrue` becomes `-V=true`, and a
/// prefix that is unique among aria2's own options gets its full name, so that our additional
/// options take no prefix away.
fn spell_out(args: impl Iterator<Item = String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut takes_next = false;
    let mut only_uris = false;
    for arg in args {
        if only_uris || takes_next {
            takes_next = false;
            out.push(arg);
        } else if arg == "--" {
            only_uris = true;
            out.push(arg);
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let name = full_name(name);
            takes_next =
                value.is_none() && find(name).is_some_and(|id| !id.spec().kind.value_is_optional());
            out.push(match value {
                Some(value) => format!("--{name}={value}"),
                None => format!("--{name}"),
            });
        } else if let Some((spec, rest)) = short(&arg) {
            takes_next = rest.is_empty() && !spec.kind.value_is_optional();
            out.push(if rest.is_empty() || spec.kind == Kind::Command {
                arg
            } else {
                format!("--{}={rest}", spec.name)
            });
        } else {
            out.push(arg);
        }
    }
    out
}

/// `-x4` as the row of `x` and `4`.
fn short(arg: &str) -> Option<(&'static OptionSpec, &str)> {
    let mut chars = arg.strip_prefix('-')?.chars();
    let letter = chars.next()?;
    let spec = all()
        .iter()
        .map(|id| id.spec())
        .find(|spec| spec.short == Some(letter))?;
    Some((spec, chars.as_str()))
}

fn full_name(prefix: &str) -> &str {
    if find(prefix).is_some() {
        return prefix;
    }
    let mut fitting = starting_with(prefix).filter(|spec| !spec.scope.has(OURS));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => only.name,
        _ => prefix,
    }
}

fn starting_with(prefix: &str) -> impl Iterator<Item = &'static OptionSpec> {
    all()
        .iter()
        .map(|id| id.spec())
        .filter(move |spec| spec.name.starts_with(prefix))
}

/// clap's error as a sentence about one option.
fn explain(error: &clap::Error) -> OptionError {
    let given = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    // clap shows `--split <split>` or `--split=<...>`.
    let name = given.trim_start_matches('-');
    let name = name
        .split([' ', '=', '['])
        .next()
        .unwrap_or(name)
        .to_owned();
    let message = match error.kind() {
        ErrorKind::UnknownArgument => unknown(&given, &name),
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            format!("{name} requires an argument.")
        }
        ErrorKind::TooManyValues => format!("{name} does not take an argument."),
        _ => error.kind().to_string(),
    };
    OptionError {
        name,
        value: String::new(),
        message,
    }
}

fn unknown(given: &str, name: &str) -> String {
    let candidates: Vec<_> = if name.is_empty() || !given.starts_with("--") {
        Vec::new()
    } else {
        starting_with(name).collect()
    };
    if candidates.len() > 1 {
        return format!(
            "{given} is ambiguous; it may stand for {}.",
            quoted(&candidates)
        );
    }
    match similar(name).as_slice() {
        [] => format!("{given} is not an option."),
        close => format!("{given} is not an option. Did you mean {}?", quoted(close)),
    }
}

fn quoted(specs: &[&OptionSpec]) -> String {
    let names: Vec<String> = specs
        .iter()
        .map(|spec| format!("'--{}'", spec.name))
        .collect();
    names.join(" or ")
}

/// Up to three options whose names are a few letters away.
fn similar(name: &str) -> Vec<&'static OptionSpec> {
    let allowed = (name.len() / 3).clamp(1, 4);
    let mut close: Vec<_> = all()
        .iter()
        .map(|id| (distance(name, id.name()), id.spec()))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    close.sort_by_key(|(distance, _)| *distance);
    close.into_iter().take(3).map(|(_, spec)| spec).collect()
}

/// Insertions, deletions and replacements of bytes between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Result<Argv, OptionError> {
        parse(
            line.split(' ')
                .filter(|word| !word.is_empty())
                .map(|word| word.replace('_', " ")),
        )
    }

    fn check(line: &str, sets: &[(&str, &str)], uris: &[&str]) {
        let argv = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let got: Vec<_> = argv
            .sets
            .iter()
            .map(|(id, text)| (id.name(), text.as_str()))
            .collect();
        assert_eq!(got, sets, "{line}");
        assert_eq!(argv.uris, uris, "{line}");
    }

    #[test]
    fn short_and_long_forms() {
        check("-x4 u", &[("max-connection-per-server", "4")], &["u"]);
        check("-x 4 u", &[("max-connection-per-server", "4")], &["u"]);
        check("u --split=3 v", &[("split", "3")], &["u", "v"]);
        check("--split 3 -- -v", &[("split", "3")], &["-v"]);
        check("-c u", &[("continue", "true")], &["u"]);
        check("--continue true", &[("continue", "true")], &["true"]);
        check("--continue=false", &[("continue", "false")], &[]);
        check("-Vtrue", &[("check-integrity", "true")], &[]);
        check("-V=x", &[("check-integrity", "=x")], &[]);
        check("-cR", &[("continue", "R")], &[]);
        check(
            "--input-file= --continue=",
            &[("continue", ""), ("input-file", "")],
            &[],
        );
        check("-i -", &[("input-file", "-")], &[]);
        check("-o -x", &[("out", "-x")], &[]);
        check(
            "--out --split -s3",
            &[("out", "--split"), ("split", "3")],
            &[],
        );
        check("-l- -", &[("log", "-")], &["-"]);
        check(
            "-j1 -j2",
            &[
                ("max-concurrent-downloads", "1"),
                ("max-concurrent-downloads", "2"),
            ],
            &[],
        );
        check(
            "--header=A:_1 --header B:_2",
            &[("header", "A: 1"), ("header", "B: 2")],
            &[],
        );
        check(
            "--optimize-concurrent-downloads",
            &[("optimize-concurrent-downloads", "true")],
            &[],
        );
    }

    #[test]
    fn unique_prefixes_stand_for_the_option() {
        check("--max-tri=7", &[("max-tries", "7")], &[]);
        check("--max-tri 7", &[("max-tries", "7")], &[]);
        check("--log=x", &[("log", "x")], &[]);
        // `retry-on-*` are ours and leave aria2's prefix alone.
        check("--retry=7", &[("retry-wait", "7")], &[]);
        check("--state=/s", &[("state-dir", "/s")], &[]);
        let error = read("--max-con 3")
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("'--max-concurrent-downloads' or '--max-connection-per-server'"),
            "{error}"
        );
    }

    #[test]
    fn help_and_version_are_actions() {
        let action = |line| read(line).unwrap().action;
        assert_eq!(action("-h"), Action::Help("#basic".into()));
        assert_eq!(action("--help"), Action::Help("#basic".into()));
        assert_eq!(action("--help=#all"), Action::Help("#all".into()));
        assert_eq!(action("-h#http"), Action::Help("#http".into()));
        assert_eq!(action("-v"), Action::Version);
        assert_eq!(action("--split=0 --version"), Action::Version);
    }

    #[test]
    fn mistakes_are_named() {
        let refuse = |line| {
            read(line)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        for (line, says) in [
            ("--nonsense", "--nonsense is not an option."),
            ("--splitt=3", "Did you mean '--split'?"),
            ("-Y", "-Y is not an option."),
            ("-x", "max-connection-per-server requires an argument."),
            ("--split", "split requires an argument."),
        ] {
            let error = refuse(line);
            assert!(error.contains(says), "{line}: {error}");
        }
        assert!(read("--version=3").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(args in prop::collection::vec("(-{0,3}[a-z=#-]{0,8}|\\PC{0,6})", 0..6)) {
            let _ = parse(args);
        }
    }
}
