//! Pure: rows of FTP and SFTP.

use crate::option::spec::{ADD, ERASE, GLOBAL, Kind, OURS, QUEUED, options};
use crate::option::value::{Choice, FtpTls, FtpType, Text};

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

    /// Encrypt ftp:// connections: 'never', 'try' where the server knows AUTH TLS, or 'require'.
    /// ftps:// connections are encrypted from their first byte on. The options of HTTPS such as
    /// check-certificate apply. (arioso)
    FTP_TLS: FtpTls = "ftp-tls" {
        arg: "never|try|require",
        kind: Kind::Choice(FtpTls::WORDS),
        default: "never",
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }

    /// Transfer FTP files as 'binary' or as 'ascii' text. Text comes over one connection and
    /// cannot be resumed.
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

    /// Digest that the key of an SFTP server must have, as sha-1=, sha-256= or md5=hex digits.
    /// Without it any key is taken.
    SSH_HOST_KEY_MD: Text = "ssh-host-key-md" {
        arg: "TYPE=DIGEST",
        kind: Kind::Digest(&["sha-1", "sha-256", "md5"]),
        scope: ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }

    /// Private key for SFTP servers, in OpenSSH's or PEM format and without passphrase. The keys
    /// of an agent (environment variable SSH_AUTH_SOCK) are offered, too. (arioso)
    SSH_PRIVATE_KEY: Text = "ssh-private-key" {
        arg: "FILE",
        kind: Kind::Path,
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Ftp],
    }
}
