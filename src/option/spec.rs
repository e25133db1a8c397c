//! Pure: what an option is, and the macro that declares a row.

use std::marker::PhantomData;
use std::sync::LazyLock;

use super::table::TABLES;
use super::typed::Typed;

/// May be given for one download (RPC add methods, input files).
pub const ADD: u16 = 1;
/// May be changed while the download waits or is paused; an active one restarts for it.
pub const QUEUED: u16 = 1 << 1;
/// May be changed on an active download without a restart.
pub const LIVE: u16 = 1 << 2;
/// May be changed for the whole process while it runs.
pub const GLOBAL: u16 = 1 << 3;
/// Repeating it adds a line instead of replacing the value.
pub const LIST: u16 = 1 << 4;
/// A secret: never in a log or an error, and blotted out of the process arguments.
pub const ERASE: u16 = 1 << 5;
/// Never in the answer of `aria2.getOption` or `aria2.getGlobalOption`.
pub const RPC_HIDDEN: u16 = 1 << 6;
/// `${HOME}` in the value is replaced by the home directory.
pub const HOME: u16 = 1 << 7;

/// aria2c has no such option; RPC shows it only when somebody set it.
pub const OURS: u16 = 1 << 8;

/// Where an option may be given and how it is treated there: a set of the flags above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope(pub u16);

impl Scope {
    /// Whether all of these flags are set.
    pub const fn has(self, flags: u16) -> bool {
        self.0 & flags == flags
    }
}

/// The form of a value and its bounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// `true` or `false`; nothing at all means `true`.
    Flag,
    /// A whole number between these two, inclusive.
    Int(i64, i64),
    /// Bytes, with an optional `K` or `M`, between these two, inclusive.
    Size(i64, i64),
    /// A decimal number not below this one.
    Float(f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// Any text but the empty one.
    Token,
    /// A file or a directory; empty means none.
    Path,
    /// A list separated by commas.
    Commas,
    /// One line per appearance, such as a request header.
    Lines,
    /// Whole numbers and ranges of them, `1,3-5`, each between these two.
    Ranges(i64, i64),
    /// `[scheme://][user:password@]host[:port]`.
    Proxy,
    /// `host:port`.
    HostPort,
    /// A hash type and its hex digits, `sha-1=...`; only these types.
    Digest(&'static [&'static str]),
    /// 16 hex digits.
    Gid,
    /// `true`, `false` or two coefficients `A:B`.
    Coefficients,
    /// `head[=SIZE]`, `tail[=SIZE]` or both.
    PiecePriority,
    /// `INDEX=PATH`, one line per appearance.
    IndexPath,
    /// A word or `#tag` of the help; nothing at all means the default.
    HelpTopic,
    /// Takes no value.
    Command,
}

impl Kind {
    /// Whether the value may be left out (`--continue`), so that it must be attached if given.
    pub const fn value_is_optional(self) -> bool {
        matches!(
            self,
            Kind::Flag | Kind::Coefficients | Kind::HelpTopic | Kind::Command
        )
    }
}

macro_rules! tags {
    ($($name:ident = $word:literal,)*) => {
        /// A chapter of the help (`--help=#http`).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Tag { $($name),* }

        impl Tag {
            /// Every tag, in the order the help names them.
            pub const ALL: &'static [Tag] = &[$(Tag::$name),*];

            /// The word after `#`.
            pub const fn word(self) -> &'static str {
                match self { $(Tag::$name => $word),* }
            }
        }
    };
}

tags! {
    Basic = "basic",
    Advanced = "advanced",
    Http = "http",
    Https = "https",
    Ftp = "ftp",
    Metalink = "metalink",
    Bittorrent = "bittorrent",
    Cookie = "cookie",
    Hook = "hook",
    File = "file",
    Rpc = "rpc",
    Checksum = "checksum",
    Experimental = "experimental",
    Deprecated = "deprecated",
    Help = "help",
}

/// One row of the table.
#[derive(Debug)]
pub struct OptionSpec {
    pub name: &'static str,
    pub short: Option<char>,
    /// What the value is called in the help, such as `SEC`.
    pub arg: &'static str,
    pub kind: Kind,
    /// As a user would type it. Defaults that depend on the machine are in [`super::Ambient`].
    pub default: Option<&'static str>,
    pub scope: Scope,
    pub tags: &'static [Tag],
    /// The doc comment of the row, line by line.
    pub help: &'static [&'static str],
}

impl OptionSpec {
    /// The help as one paragraph.
    pub fn help_text(&self) -> String {
        let lines: Vec<&str> = self.help.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// Whether its value may hold a password or token, so that no log or error shows it.
    pub fn is_secret(&self) -> bool {
        self.scope.has(ERASE) || matches!(self.kind, Kind::Proxy | Kind::Lines)
    }

    /// Whether `aria2.getOption` may show it.
    pub fn shown_for_download(&self) -> bool {
        self.scope.has(ADD) && !self.scope.has(RPC_HIDDEN)
    }

    /// Whether `aria2.getGlobalOption` may show it: what makes sense for one download only is
    /// left out.
    pub fn shown_globally(&self) -> bool {
        (self.scope.has(GLOBAL) || !self.scope.has(ADD)) && !self.scope.has(RPC_HIDDEN)
    }
}

/// Names a row: number of the table file and of the row in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OptionId {
    table: u8,
    row: u8,
}

impl OptionId {
    /// Only the `options!` macro makes these, so that every id has a row.
    pub(super) const fn new(table: u8, row: u8) -> Self {
        Self { table, row }
    }

    pub fn spec(self) -> &'static OptionSpec {
        &TABLES[usize::from(self.table)][usize::from(self.row)]
    }

    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The place of this row among all rows.
    pub(super) fn position(self) -> usize {
        let before: usize = TABLES[..usize::from(self.table)]
            .iter()
            .map(|rows| rows.len())
            .sum();
        before + usize::from(self.row)
    }
}

impl std::fmt::Debug for OptionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The typed name of a row: what [`super::OptionSet::get`] takes.
pub struct Key<T> {
    pub id: OptionId,
    kind: PhantomData<fn() -> T>,
}

impl<T: Typed> Key<T> {
    pub(super) const fn new(id: OptionId) -> Self {
        Self {
            id,
            kind: PhantomData,
        }
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> From<Key<T>> for OptionId {
    fn from(key: Key<T>) -> Self {
        key.id
    }
}

/// Every row's id, by name.
pub fn all() -> &'static [OptionId] {
    static ALL: LazyLock<Box<[OptionId]>> = LazyLock::new(|| {
        let mut ids: Vec<OptionId> = by_position().collect();
        ids.sort_unstable_by_key(|id| id.name());
        ids.into()
    });
    &ALL
}

/// Every row's id in the order of the tables.
pub(super) fn by_position() -> impl Iterator<Item = OptionId> {
    TABLES.iter().enumerate().flat_map(|(table, rows)| {
        (0..rows.len()).map(move |row| OptionId::new(table as u8, row as u8))
    })
}

/// The option of exactly this name.
pub fn find(name: &str) -> Option<OptionId> {
    let all = all();
    all.binary_search_by_key(&name, |id| id.name())
        .ok()
        .map(|at| all[at])
}

macro_rules! opt {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}
pub(super) use opt;

/// Declares rows: each makes a typed [`Key`] constant and one [`OptionSpec`] of the file's `ROWS`.
macro_rules! options {
    ($table:expr; $(
        $(#[doc = $help:literal])+
        $key:ident: $type:ty = $name:literal {
            $(short: $short:literal,)?
            arg: $arg:literal,
            kind: $kind:expr,
            $(default: $default:expr,)?
            scope: $scope:expr,
            tags: [$($tag:ident),* $(,)?],
        }
    )*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Row { $($key),* }

        $(
            $(#[doc = $help])+
            pub const $key: $crate::option::spec::Key<$type> = $crate::option::spec::Key::new(
                $crate::option::spec::OptionId::new($table, Row::$key as u8),
            );
        )*

        pub(in crate::option) static ROWS: &[$crate::option::spec::OptionSpec] = &[$(
            $crate::option::spec::OptionSpec {
                name: $name,
                short: $crate::option::spec::opt!($($short)?),
                arg: $arg,
                kind: $kind,
                default: $crate::option::spec::opt!($($default)?),
                scope: $crate::option::spec::Scope($scope),
                tags: &[$($crate::option::spec::Tag::$tag),*],
                help: &[$($help),+],
            }
        ),*];
    };
}
pub(super) use options;
