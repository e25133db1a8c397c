//! Pure: rows of the RPC server.

use crate::option::spec::{ADD, ERASE, GLOBAL, HOME, Kind, OURS, RPC_HIDDEN, options};
use crate::option::value::{List, Text};

const MAX: i64 = i64::MAX;

options! { 5;
    /// Run as a server that takes commands over JSON-RPC and XML-RPC, see rpc-listen-port and
    /// rpc-secret.
    ENABLE_RPC: bool = "enable-rpc" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Rpc],
    }

    /// Let RPC clients set the on-download-* programs. Whoever may use the server can then run
    /// programs as its user. (arioso)
    RPC_ALLOW_HOOKS: bool = "rpc-allow-hooks" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS,
        tags: [Rpc],
    }

    /// Let web pages of any origin read the answers, by an Access-Control-Allow-Origin header.
    RPC_ALLOW_ORIGIN_ALL: bool = "rpc-allow-origin-all" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Rpc],
    }

    /// Names under which the RPC server may be called from a browser where no rpc-secret is set;
    /// `*.NAME` stands for every name below NAME. Addresses and names that nobody can register are
    /// allowed anyway. (arioso)
    RPC_ALLOWED_HOST: List = "rpc-allowed-host" {
        arg: "NAME[,...]",
        kind: Kind::Commas,
        scope: OURS,
        tags: [Rpc],
    }

    /// Certificate of the RPC server for rpc-secure: PEM together with rpc-private-key, or a
    /// PKCS12 file without password.
    RPC_CERTIFICATE: Text = "rpc-certificate" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Rpc],
    }

    /// Keep every file that RPC clients can name (dir, out, index-out, complete-dir, log,
    /// save-session and so on) inside this directory. (arioso)
    RPC_DIR_JAIL: Text = "rpc-dir-jail" {
        arg: "DIR",
        kind: Kind::Path,
        scope: OURS | HOME,
        tags: [Rpc],
    }

    /// Listen on all network interfaces instead of the local one only.
    RPC_LISTEN_ALL: bool = "rpc-listen-all" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Rpc],
    }

    /// Port of the RPC server.
    RPC_LISTEN_PORT: i64 = "rpc-listen-port" {
        arg: "PORT",
        kind: Kind::Int(1024, 65_535),
        default: "6800",
        scope: 0,
        tags: [Rpc],
    }

    /// Most RPC connections at a time; further ones are told to come back later. 0 means half of
    /// the files that the process may have open. (arioso)
    RPC_MAX_CONNECTIONS: i64 = "rpc-max-connections" {
        arg: "NUM",
        kind: Kind::Int(0, 1_000_000),
        default: "0",
        scope: OURS,
        tags: [Rpc],
    }

    /// Largest request that the RPC server takes.
    RPC_MAX_REQUEST_SIZE: i64 = "rpc-max-request-size" {
        arg: "SIZE",
        kind: Kind::Size(0, MAX),
        default: "2M",
        scope: 0,
        tags: [Rpc],
    }

    /// Password for rpc-user; rpc-secret is the better way.
    RPC_PASSWD: Text = "rpc-passwd" {
        arg: "PASSWD",
        kind: Kind::Text,
        scope: ERASE,
        tags: [Rpc, Deprecated],
    }

    /// PEM file with the key of rpc-certificate, without password.
    RPC_PRIVATE_KEY: Text = "rpc-private-key" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Rpc],
    }

    /// Save torrents and Metalinks that clients upload in the download directory, named after
    /// their SHA-1. Without it they are lost to the session file.
    RPC_SAVE_UPLOAD_METADATA: bool = "rpc-save-upload-metadata" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | GLOBAL,
        tags: [Rpc],
    }

    /// Token that every RPC call must carry.
    RPC_SECRET: Text = "rpc-secret" {
        arg: "TOKEN",
        kind: Kind::Token,
        scope: ERASE | RPC_HIDDEN,
        tags: [Rpc],
    }

    /// Serve RPC over TLS only.
    RPC_SECURE: bool = "rpc-secure" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: 0,
        tags: [Rpc],
    }

    /// User name for HTTP authentication of RPC calls; rpc-secret is the better way.
    RPC_USER: Text = "rpc-user" {
        arg: "USER",
        kind: Kind::Text,
        scope: 0,
        tags: [Rpc, Deprecated],
    }
}
