//! Pure: rows of what a download needs first: number, connections, tries, limits, input.

use crate::option::spec::{ADD, GLOBAL, HOME, Kind, LIVE, QUEUED, RPC_HIDDEN, options};
use crate::option::value::{Choice, Coefficients, PieceSelector, Text, UriSelector};

const MAX: i64 = i64::MAX;

options! { 0;
    /// Configuration file to read. A file that is named here but does not exist is an error.
    CONF_PATH: Text = "conf-path" {
        arg: "PATH",
        kind: Kind::Path,
        scope: 0,
        tags: [Advanced],
    }

    /// Seconds that opening a connection to a server or proxy may take. After that, timeout
    /// applies.
    CONNECT_TIMEOUT: i64 = "connect-timeout" {
        arg: "SEC",
        kind: Kind::Int(1, 600),
        default: "60",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Read the input file only as fast as the queue drains instead of all at once, so that very
    /// long lists need little memory. Off while save-session is set.
    DEFERRED_INPUT: bool = "deferred-input" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Advanced],
    }

    /// Ask the servers whether the files are there, and their sizes, without fetching anything.
    DRY_RUN: bool = "dry-run" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Treat each address of the command line as a download of its own instead of as mirrors of
    /// one file.
    FORCE_SEQUENTIAL: bool = "force-sequential" {
        short: 'Z',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: RPC_HIDDEN,
        tags: [Basic],
    }

    /// Identifier for the download: 16 hex digits, not all zero, and not in use.
    GID: Text = "gid" {
        arg: "GID",
        kind: Kind::Gid,
        scope: ADD | RPC_HIDDEN,
        tags: [Advanced],
    }

    /// Explain the options of a tag (#basic, #http, #all ...), or those whose name contains a
    /// word, and exit.
    HELP: Text = "help" {
        short: 'h',
        arg: "TAG|KEYWORD",
        kind: Kind::HelpTopic,
        default: "#basic",
        scope: 0,
        tags: [Basic, Help],
    }

    /// Text file with addresses to download, one download a line, mirrors separated by tabs,
    /// indented option lines below. '-' reads standard input. Addresses of the command line do not
    /// count beside it.
    INPUT_FILE: Text = "input-file" {
        short: 'i',
        arg: "FILE",
        kind: Kind::Path,
        scope: RPC_HIDDEN | HOME,
        tags: [Basic],
    }

    /// File to which log messages are appended; '-' is standard output.
    LOG: Text = "log" {
        short: 'l',
        arg: "LOG",
        kind: Kind::Path,
        scope: GLOBAL | HOME,
        tags: [Basic],
    }

    /// Give up a connection that stays slower than this many bytes a second. 0 never does;
    /// torrents are not concerned.
    LOWEST_SPEED_LIMIT: i64 = "lowest-speed-limit" {
        arg: "SPEED",
        kind: Kind::Size(0, MAX),
        default: "0",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// How many downloads run at a time; the others wait in the queue.
    MAX_CONCURRENT_DOWNLOADS: i64 = "max-concurrent-downloads" {
        short: 'j',
        arg: "N",
        kind: Kind::Int(1, MAX),
        default: "5",
        scope: GLOBAL,
        tags: [Basic],
    }

    /// How many connections one download may have to the same server. The bound is wider than
    /// aria2's 16 on purpose.
    MAX_CONNECTION_PER_SERVER: i64 = "max-connection-per-server" {
        short: 'x',
        arg: "NUM",
        kind: Kind::Int(1, 128),
        default: "1",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, Http, Ftp],
    }

    /// Most bytes a second that each download may receive; 0 means no limit.
    MAX_DOWNLOAD_LIMIT: i64 = "max-download-limit" {
        arg: "SPEED",
        kind: Kind::Size(0, MAX),
        default: "0",
        scope: ADD | QUEUED | LIVE | GLOBAL,
        tags: [Http, Ftp, Bittorrent],
    }

    /// End a download once servers have said this often that the file is missing. 0 takes a
    /// mirror's first such answer as final for that mirror.
    MAX_FILE_NOT_FOUND: i64 = "max-file-not-found" {
        arg: "NUM",
        kind: Kind::Int(0, MAX),
        default: "0",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Most bytes a second that all downloads together may receive; 0 means no limit.
    MAX_OVERALL_DOWNLOAD_LIMIT: i64 = "max-overall-download-limit" {
        arg: "SPEED",
        kind: Kind::Size(0, MAX),
        default: "0",
        scope: GLOBAL,
        tags: [Http, Ftp, Bittorrent],
    }

    /// How often a mirror is tried before it is given up. 0 means again and again.
    MAX_TRIES: i64 = "max-tries" {
        short: 'm',
        arg: "N",
        kind: Kind::Int(0, MAX),
        default: "5",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// A range is only divided between two connections if each half is at least this long.
    /// Smaller values than aria2's are taken, down to 1K.
    MIN_SPLIT_SIZE: i64 = "min-split-size" {
        short: 'k',
        arg: "SIZE",
        kind: Kind::Size(1024, 1_073_741_824),
        default: "20M",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, Http, Ftp],
    }

    /// File with user names and passwords of servers, in the form of .netrc. It is ignored unless
    /// only its owner may read it.
    NETRC_PATH: Text = "netrc-path" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Http, Ftp],
    }

    /// Do not read any configuration file.
    NO_CONF: bool = "no-conf" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Advanced],
    }

    /// Do not look user names and passwords up in the netrc file.
    NO_NETRC: bool = "no-netrc" {
        short: 'n',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Let the number of simultaneous downloads follow the speed of the line: A + B * log10 of
    /// the speed in Mbit/s, A before anything flows, never more than max-concurrent-downloads.
    /// 'true' means 5:25.
    OPTIMIZE_CONCURRENT_DOWNLOADS: Coefficients = "optimize-concurrent-downloads" {
        arg: "true|false|A:B",
        kind: Kind::Coefficients,
        default: "false",
        scope: GLOBAL,
        tags: [Advanced],
    }

    /// Expand {a,b,c} and [001-100:2] in addresses. Each combination is a mirror, or with
    /// force-sequential a download of its own.
    PARAMETERIZED_URI: bool = "parameterized-uri" {
        short: 'P',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | GLOBAL,
        tags: [Advanced],
    }

    /// Add the download in paused state. Only of use with RPC.
    PAUSE: bool = "pause" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | RPC_HIDDEN,
        tags: [Advanced, Rpc],
    }

    /// Print nothing on the console.
    QUIET: bool = "quiet" {
        short: 'q',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Advanced],
    }

    /// Seconds to wait between tries. With more than 0, a server that answers 502, 503 or 504 is
    /// asked again too.
    RETRY_WAIT: i64 = "retry-wait" {
        arg: "SEC",
        kind: Kind::Int(0, 600),
        default: "0",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Open further connections to mirrors in use when no unused mirror is left. Otherwise each
    /// gets its share of split and keeps to it when others fail.
    REUSE_URI: bool = "reuse-uri" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// File from which the speeds of servers in earlier sessions are read; uri-selector makes use
    /// of them.
    SERVER_STAT_IF: Text = "server-stat-if" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Http, Ftp],
    }

    /// File into which the speeds of servers are saved at the end.
    SERVER_STAT_OF: Text = "server-stat-of" {
        arg: "FILE",
        kind: Kind::Path,
        scope: GLOBAL | HOME,
        tags: [Http, Ftp],
    }

    /// Forget the speed of a server that was last used more than this many seconds ago.
    SERVER_STAT_TIMEOUT: i64 = "server-stat-timeout" {
        arg: "SEC",
        kind: Kind::Int(0, 2_147_483_647),
        default: "86400",
        scope: 0,
        tags: [Http, Ftp],
    }

    /// How many connections a download may have to all its mirrors together.
    /// max-connection-per-server and min-split-size keep the number lower where they apply.
    SPLIT: i64 = "split" {
        short: 's',
        arg: "N",
        kind: Kind::Int(1, MAX),
        default: "5",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, Http, Ftp],
    }

    /// Which part of the file a new connection takes: 'default' keeps the number of connections
    /// low, 'inorder' goes from the start, 'random' anywhere, 'geom' from the start with gaps
    /// that grow.
    STREAM_PIECE_SELECTOR: PieceSelector = "stream-piece-selector" {
        arg: "SELECTOR",
        kind: Kind::Choice(PieceSelector::WORDS),
        default: "default",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Seconds of silence after which a connection is given up.
    TIMEOUT: i64 = "timeout" {
        short: 't',
        arg: "SEC",
        kind: Kind::Int(1, 600),
        default: "60",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Order of mirrors: 'inorder' as given, 'feedback' the fastest of earlier downloads first,
    /// 'adaptive' the best for the first connections while others probe unknown mirrors.
    URI_SELECTOR: UriSelector = "uri-selector" {
        arg: "SELECTOR",
        kind: Kind::Choice(UriSelector::WORDS),
        default: "feedback",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Print the version and exit.
    VERSION: bool = "version" {
        short: 'v',
        arg: "",
        kind: Kind::Command,
        scope: 0,
        tags: [Basic],
    }
}
