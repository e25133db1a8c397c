//! The structure of the source tree, checked: imports point down the ranks, files marked `Pure`
//! are pure, and everything `src/lib.rs` declares has a rank. Long files and functions are
//! printed as hints and fail nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder (or file) below `src` and its rank; the drawing in `src/lib.rs` says the same.
const RANKS: &[(&str, u8)] = &[
    ("main", 11), // the binary may call `app`, which stands beside it in the drawing
    ("app", 10),
    ("rpc", 9),
    ("cli", 9),
    ("observe", 9),
    ("engine", 8),
    ("transfer", 7),
    ("bittorrent", 6),
    ("source", 5),
    ("storage", 4),
    ("store", 4),
    ("net", 3),
    ("limit", 3),
    ("option", 2),
    ("format", 1),
    ("base", 0),
];

/// What a `Pure` file may not name: IO, clocks, entropy, threads, the process, tokio. Plain data
/// such as `std::net::IpAddr` and the traits and errors of `std::io` are fine.
const IMPURE: &[&str] = &[
    "std::fs",
    "fs::File",
    "std::env",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime::now",
    "Zoned::now",
    "Timestamp::now",
    "io::stdin",
    "io::stdout",
    "io::stderr",
    "println!",
    "print!",
    "tokio::",
    "rand::",
    "getrandom",
    "reqwest::",
    "sled::",
];

/// Folders in which every file has to be `Pure`, and the files excepted.
const PURE_FOLDERS: &[(&str, &[&str])] = &[
    ("base", &["base/failpoint.rs", "base/rng.rs"]),
    ("format", &[]),
    ("option", &[]),
];

const FILE_LINES_HINT: usize = 500;
const FUNCTION_LINES_HINT: usize = 70;

/// One file below `src`.
struct Source {
    /// Relative to `src`, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The first component of the path: `rpc` for `rpc/method/add.rs`, `app` for `app.rs`.
    fn folder(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many modules deep the file is: 1 for `rpc/mod.rs`, 2 for `rpc/view.rs`.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    fn is_pure(&self) -> bool {
        self.text.starts_with("//! Pure")
    }

    /// The code that ships: without line comments and without the test module at the end.
    fn shipped(&self) -> String {
        without_comments(
            self.text
                .split("#[cfg(test)]\nmod ")
                .next()
                .unwrap_or_default(),
        )
    }
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| match line.trim_start() {
            start if start.starts_with("//") => "",
            _ => line.split(" // ").next().unwrap_or_default(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    paths
        .iter()
        .map(|path| Source {
            path: path
                .strip_prefix(&root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/"),
            text: fs::read_to_string(path).unwrap(),
        })
        .collect()
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn rank(name: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(folder, _)| *folder == name)
        .map(|(_, rank)| *rank)
}

/// The first path segment after every `crate::` (and, in `main.rs`, `arioso::`), groups opened.
/// Names of macros exported at the root are left out.
fn crate_imports(code: &str, root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend(head(rest)),
        }
    }
    found
}

/// The heads of `a::b, c::{d, e}, f}`: a, c, f.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut start = 0;
    let mut heads = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            heads.extend(head(group[start..at].trim_start()));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn head(path: &str) -> Option<String> {
    let end = path
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(path.len());
    let is_macro = path[end..].starts_with('!');
    (end > 0 && !is_macro).then(|| path[..end].to_string())
}

/// What a build without SFTP (scripts/check-features, which takes minutes) would stumble over.
#[test]
fn sftp_stays_behind_its_feature() {
    for file in sources() {
        if file.path.starts_with("source/sftp/") {
            continue;
        }
        let code = file.shipped();
        let lines: Vec<&str> = code.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let names_it = ["russh", "sftp::", "mod sftp"]
                .iter()
                .any(|word| line.contains(word));
            let behind = number > 0 && lines[number - 1] == "#[cfg(feature = \"sftp\")]";
            let place = format!("{}:{}", file.path, number + 1);
            assert!(!names_it || behind, "{place}: is not there without SFTP");
        }
    }
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| file.path != "lib.rs") {
        let own = rank(file.folder())
            .unwrap_or_else(|| panic!("{}: its folder has no rank in tests/tidy.rs", file.path));
        let root = if file.path == "main.rs" {
            "arioso::"
        } else {
            "crate::"
        };
        for target in crate_imports(&without_comments(&file.text), root) {
            match rank(&target) {
                _ if target == file.folder() => {}
                Some(rank) if rank < own => {}
                Some(_) => wrong.push(format!("{}: may not import {target}", file.path)),
                None if file.path == "main.rs" => {}
                None => wrong.push(format!("{}: name {target} by its folder", file.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `use super::super::...` up to the crate's root would be an import the rank check cannot see.
#[test]
fn no_import_climbs_to_the_root() {
    for file in sources().iter().filter(|file| file.path != "lib.rs") {
        let climb = format!("use {}", "super::".repeat(file.depth()));
        let climbs =
            |line: &str| line.starts_with(&climb) || line.starts_with(&format!("pub {climb}"));
        assert!(
            !file.shipped().lines().any(climbs),
            "{}: write crate:: instead",
            file.path
        );
    }
}

#[test]
fn every_module_has_a_rank() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for line in without_comments(&lib).lines() {
        if let Some(name) = line
            .trim()
            .strip_prefix("pub mod ")
            .and_then(|l| l.strip_suffix(';'))
        {
            assert!(rank(name).is_some(), "{name} has no rank in tests/tidy.rs");
        }
    }
}

#[test]
fn pure_files_are_pure() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| file.is_pure()) {
        let code = file.shipped();
        for impure in IMPURE.iter().filter(|impure| code.contains(**impure)) {
            wrong.push(format!("{}: is marked Pure and names {impure}", file.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_folders_hold_pure_files() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some((_, except)) = PURE_FOLDERS.iter().find(|(name, _)| *name == file.folder()) else {
            continue;
        };
        let is_exempt = file.path.ends_with("/mod.rs") || file.path.ends_with("/tests.rs");
        if !is_exempt && !file.is_pure() && !except.contains(&file.path.as_str()) {
            wrong.push(format!(
                "{}: its first doc line has to begin with `Pure`",
                file.path
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The README names no option that does not exist.
#[test]
fn the_readme_names_real_options() {
    const CARGO_FLAGS: &[&str] = &["release", "open"];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    for word in readme.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let Some(name) = word.strip_prefix("--").filter(|name| !name.is_empty()) else {
            continue;
        };
        let known = CARGO_FLAGS.contains(&name) || arioso::option::find(name).is_some();
        assert!(known, "README.md names --{name}, which is no option");
    }
}

/// Shown with `cargo test --test tidy -- --nocapture`.
#[test]
fn sizes_are_hinted() {
    for file in sources() {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_HINT {
            println!(
                "hint: {} has {lines} lines: one noun, or several?",
                file.path
            );
        }
        for (name, length) in functions(&file.text) {
            if length > FUNCTION_LINES_HINT {
                println!("hint: {}: {name} has {length} lines", file.path);
            }
        }
    }
}

/// Name and length of each function: from its `fn` line to the `}` indented like it.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some((before, after)) = line.split_once("fn ") else {
            continue;
        };
        if !before
            .trim()
            .split(' ')
            .all(|word| word.is_empty() || is_qualifier(word))
        {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[at..].iter().position(|line| **line == close) {
            found.push((head(after).unwrap_or_default(), length + 1));
        }
    }
    found
}

fn is_qualifier(word: &str) -> bool {
    matches!(word, "async" | "const" | "unsafe") || word.starts_with("pub")
}

#[test]
fn the_parser_of_imports_sees_groups_and_paths() {
    let code = "use crate::{base::error::Failure, net::{dial, dns}, limit};\nlet a = crate::option::find;\ncrate::options! {}\nmycrate::x";
    assert_eq!(
        crate_imports(code, "crate::"),
        ["base", "net", "limit", "option"]
    );
}
