//! Pure: rows of console, logs, hooks, network interfaces and the process.

use crate::option::spec::{ADD, GLOBAL, HOME, Kind, OURS, QUEUED, options};
use crate::option::value::{Choice, DownloadResult, EventPoll, List, LogLevel, Text, TlsVersion};

const MAX: i64 = i64::MAX;

options! { 7;
    /// Resolve names with the built-in resolver. With 'false' the system's resolver is asked.
    ASYNC_DNS: bool = "async-dns" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced],
    }

    /// Addresses of name servers to ask instead of the system's, separated by commas.
    ASYNC_DNS_SERVER: List = "async-dns-server" {
        arg: "IPADDRESS[,...]",
        kind: Kind::Commas,
        scope: 0,
        tags: [Advanced],
    }

    /// Least important messages that are shown on the console.
    CONSOLE_LOG_LEVEL: LogLevel = "console-log-level" {
        arg: "LEVEL",
        kind: Kind::Choice(LogLevel::WORDS),
        default: "notice",
        scope: 0,
        tags: [Advanced],
    }

    /// Go into the background, away from the terminal.
    DAEMON: bool = "daemon" {
        short: 'D',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Advanced],
    }

    /// Do not use IPv6.
    DISABLE_IPV6: bool = "disable-ipv6" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Advanced],
    }

    /// What is printed at the end: 'default' a line for each download, 'full' also a percentage
    /// and a line for each file, 'hide' nothing.
    DOWNLOAD_RESULT: DownloadResult = "download-result" {
        arg: "OPT",
        kind: Kind::Choice(DownloadResult::WORDS),
        default: "default",
        scope: GLOBAL,
        tags: [Advanced],
    }

    /// Differentiated services code point of outgoing packets, for shaping by routers. HTTP that
    /// a proxy is asked for by GET stays unmarked, as do HTTP trackers.
    DSCP: i64 = "dscp" {
        arg: "DSCP",
        kind: Kind::Int(0, MAX),
        default: "0",
        scope: 0,
        tags: [Advanced],
    }

    /// Accepted for the sake of existing set-ups; IPv6 addresses are always looked up unless
    /// disable-ipv6 says otherwise.
    ENABLE_ASYNC_DNS6: bool = "enable-async-dns6" {
        arg: "true|false",
        kind: Kind::Flag,
        scope: 0,
        tags: [Advanced, Deprecated],
    }

    /// Colour the console when it is a terminal.
    ENABLE_COLOR: bool = "enable-color" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: 0,
        tags: [Advanced],
    }

    /// Accepted for the sake of set-ups of other builds and cannot apply: there is no SQLite
    /// database, state-dir keeps the session.
    ENABLE_SQLITE3_PERSISTENCE: bool = "enable-sqlite3-persistence" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS,
        tags: [Advanced, Deprecated],
    }

    /// Accepted for the sake of existing set-ups; sockets are always waited for with the best
    /// call the system has, which is epoll on Linux.
    EVENT_POLL: EventPoll = "event-poll" {
        arg: "POLL",
        kind: Kind::Choice(EventPoll::WORDS),
        default: "epoll",
        scope: 0,
        tags: [Advanced],
    }

    /// How many stopped downloads the state directory keeps. Those beyond max-download-result take
    /// no memory; aria2.searchDownloadResult finds them. (arioso)
    HISTORY_LIMIT: i64 = "history-limit" {
        arg: "N",
        kind: Kind::Int(0, MAX),
        default: "10000",
        scope: OURS | GLOBAL,
        tags: [Advanced, Rpc],
    }

    /// Print sizes and speeds with units, such as 1.2Ki.
    HUMAN_READABLE: bool = "human-readable" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: 0,
        tags: [Advanced],
    }

    /// Network interface, address or host name that connections leave from.
    INTERFACE: Text = "interface" {
        arg: "INTERFACE",
        kind: Kind::Text,
        scope: 0,
        tags: [Advanced],
    }

    /// Keep failed and unfinished results for the session file even beyond max-download-result.
    KEEP_UNFINISHED_DOWNLOAD_RESULT: bool = "keep-unfinished-download-result" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: GLOBAL,
        tags: [Advanced],
    }

    /// Least important messages that go to the log file.
    LOG_LEVEL: LogLevel = "log-level" {
        arg: "LEVEL",
        kind: Kind::Choice(LogLevel::WORDS),
        default: "debug",
        scope: GLOBAL,
        tags: [Advanced],
    }

    /// How many log files are kept after they were put aside, see log-max-size. (arioso)
    LOG_MAX_FILES: i64 = "log-max-files" {
        arg: "N",
        kind: Kind::Int(0, 1000),
        default: "5",
        scope: OURS | GLOBAL,
        tags: [Advanced],
    }

    /// Put the log file aside and begin a new one when it has grown to this size. 0 lets it grow.
    /// (arioso)
    LOG_MAX_SIZE: i64 = "log-max-size" {
        arg: "SIZE",
        kind: Kind::Size(0, MAX),
        default: "0",
        scope: OURS | GLOBAL,
        tags: [Advanced],
    }

    /// How many stopped downloads RPC shows; the oldest give way. 0 keeps none.
    MAX_DOWNLOAD_RESULT: i64 = "max-download-result" {
        arg: "NUM",
        kind: Kind::Int(0, MAX),
        default: "1000",
        scope: GLOBAL,
        tags: [Advanced],
    }

    /// Oldest TLS that is spoken, by downloads and by the RPC server. TLS 1.1 is accepted as a
    /// word but never negotiated, since it is broken.
    MIN_TLS_VERSION: TlsVersion = "min-tls-version" {
        arg: "VERSION",
        kind: Kind::Choice(TlsVersion::WORDS),
        default: "TLSv1.2",
        scope: 0,
        tags: [Advanced],
    }

    /// Interfaces or addresses, separated by commas, that connections leave from in turn.
    /// interface goes before it.
    MULTIPLE_INTERFACE: List = "multiple-interface" {
        arg: "INTERFACES",
        kind: Kind::Commas,
        scope: 0,
        tags: [Advanced],
    }

    /// Program to run when a download is complete, for a torrent after seeding. It gets the
    /// identifier, the number of files and the first path.
    ON_DOWNLOAD_COMPLETE: Text = "on-download-complete" {
        arg: "COMMAND",
        kind: Kind::Path,
        scope: HOME,
        tags: [Advanced, Hook],
    }

    /// Program to run when a download fails. It gets the identifier, the number of files and the
    /// first path.
    ON_DOWNLOAD_ERROR: Text = "on-download-error" {
        arg: "COMMAND",
        kind: Kind::Path,
        scope: HOME,
        tags: [Advanced, Hook],
    }

    /// Program to run when a download pauses. It gets the identifier, the number of files and the
    /// first path.
    ON_DOWNLOAD_PAUSE: Text = "on-download-pause" {
        arg: "COMMAND",
        kind: Kind::Path,
        scope: HOME,
        tags: [Advanced, Hook],
    }

    /// Program to run when a download starts. It gets the identifier, the number of files and the
    /// first path.
    ON_DOWNLOAD_START: Text = "on-download-start" {
        arg: "COMMAND",
        kind: Kind::Path,
        scope: HOME,
        tags: [Advanced, Hook],
    }

    /// Program to run when a download stops for any reason that has no program of its own. It
    /// gets the identifier, the number of files and the first path.
    ON_DOWNLOAD_STOP: Text = "on-download-stop" {
        arg: "COMMAND",
        kind: Kind::Path,
        scope: HOME,
        tags: [Advanced, Hook],
    }

    /// Raise the limit of open files and sockets of the process to this number, as far as the
    /// system allows.
    RLIMIT_NOFILE: Option<i64> = "rlimit-nofile" {
        arg: "NUM",
        kind: Kind::Int(1, MAX),
        scope: 0,
        tags: [Advanced],
    }

    /// Show the line with progress and speed on the console.
    SHOW_CONSOLE_READOUT: bool = "show-console-readout" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: 0,
        tags: [Advanced],
    }

    /// Receive buffer of sockets in bytes. 0 leaves it to the system, which always chooses for
    /// HTTP that a proxy is asked for by GET and for HTTP trackers.
    SOCKET_RECV_BUFFER_SIZE: i64 = "socket-recv-buffer-size" {
        arg: "SIZE",
        kind: Kind::Size(0, 16_777_216),
        default: "0",
        scope: 0,
        tags: [Advanced],
    }

    /// Accepted for the sake of set-ups of other builds and cannot apply: there is no SQLite
    /// database, see state-dir.
    SQLITE3_DB_PATH: Text = "sqlite3-db-path" {
        arg: "FILE",
        kind: Kind::Path,
        scope: OURS | HOME,
        tags: [Advanced, Deprecated],
    }

    /// Another build's name of history-limit; it counts where history-limit is not given.
    SQLITE3_HISTORY_LIMIT: Option<i64> = "sqlite3-history-limit" {
        arg: "N",
        kind: Kind::Int(0, MAX),
        scope: OURS,
        tags: [Advanced, Deprecated],
    }

    /// Directory in which a server keeps its downloads, options and results, so that nothing is
    /// lost when it stops or crashes. An empty value keeps nothing. (arioso)
    STATE_DIR: Text = "state-dir" {
        arg: "DIR",
        kind: Kind::Path,
        scope: OURS | HOME,
        tags: [Advanced, Rpc],
    }

    /// Print to standard error what would go to standard output.
    STDERR: bool = "stderr" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Advanced],
    }

    /// End the program after this many seconds. 0 never does.
    STOP: i64 = "stop" {
        arg: "SEC",
        kind: Kind::Int(0, 2_147_483_647),
        default: "0",
        scope: 0,
        tags: [Advanced],
    }

    /// End the program when the process of this number is gone.
    STOP_WITH_PROCESS: Option<i64> = "stop-with-process" {
        arg: "PID",
        kind: Kind::Int(0, MAX),
        scope: 0,
        tags: [Advanced],
    }

    /// Seconds between summaries of all downloads on the console. 0 prints none.
    SUMMARY_INTERVAL: i64 = "summary-interval" {
        arg: "SEC",
        kind: Kind::Int(0, 2_147_483_647),
        default: "60",
        scope: 0,
        tags: [Advanced],
    }

    /// Cut the line with progress to the width of the terminal.
    TRUNCATE_CONSOLE_READOUT: bool = "truncate-console-readout" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: 0,
        tags: [Advanced],
    }
}
