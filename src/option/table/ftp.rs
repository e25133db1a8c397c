//! Pure: rows of FTP and SFTP.

use crate::option::spec::{ADD, ERASE, GLOBAL, Kind, QUEUED, options};
use crate::option::value::{Choice, FtpType, Text};

options! { 2;
    /// Password for FTP servers.
    FTP_PASSWD: Text = "ftp-passwd" {
        arg: "PASSWD",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL | ERASE,
        tags: [Basic, Ftp],
    }

    /// Let the server wait for data connections. With 'false' the server connects back to us.
    FTP_PASV: bool = "ftp-pasv" {
        short: 'p',
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }

    /// Proxy for ftp:// downloads, ahead of all-proxy. An empty value means a direct connection.
    FTP_PROXY: Text = "ftp-proxy" {
        arg: "PROXY",
        kind: Kind::Proxy,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }

    /// Password for ftp-proxy.
    FTP_PROXY_PASSWD: Text = "ftp-proxy-passwd" {
        arg: "PASSWD",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL | ERASE,
        tags: [Ftp],
    }

    /// User name for ftp-proxy.
    FTP_PROXY_USER: Text = "ftp-proxy-user" {
        arg: "USER",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }

    /// Keep the control connection for the next file of the same server.
    FTP_REUSE_CONNECTION: bool = "ftp-reuse-connection" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }

    /// Transfer FTP files as 'binary' or as 'ascii' text.
    FTP_TYPE: FtpType = "ftp-type" {
        arg: "TYPE",
        kind: Kind::Choice(FtpType::WORDS),
        default: "binary",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }

    /// User name for FTP servers.
    FTP_USER: Text = "ftp-user" {
        arg: "USER",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, Ftp],
    }

    /// Digest that the key of an SFTP server must have, as sha-1=hex digits or md5=hex digits.
    /// Without it any key is taken.
    SSH_HOST_KEY_MD: Text = "ssh-host-key-md" {
        arg: "TYPE=DIGEST",
        kind: Kind::Digest(&["sha-1", "md5"]),
        scope: ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }
}
