//! Pure: the RPC server.

use std::path::PathBuf;
use std::time::Duration;

use super::{bytes, count, path, text};
use crate::base::secret::Secret;
use crate::option::value::TlsVersion;
use crate::option::{OptionSet, keys};

/// The RPC server.
#[derive(Clone, Debug)]
pub struct RpcSettings {
    pub enabled: bool,
    pub port: u16,
    pub listen_all: bool,
    pub disable_ipv6: bool,
    pub secret: Option<Secret>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub secure: bool,
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub tls_version_min: TlsVersion,
    pub allow_origin_all: bool,
    pub request_len_max: u64,
    /// Whether hook commands may be set over RPC.
    pub allow_hooks: bool,
    /// Names the server may be called by where no secret is set.
    pub allowed_hosts: Vec<String>,
    /// Where all files that clients name have to be.
    pub jail: Option<PathBuf>,
    /// Connections at a time; `None`: as many as half the files that may be open.
    pub connections_max: Option<usize>,
    pub patience: RpcPatience,
    /// Bytes of all requests that are coming in; at least two of the longest find room.
    pub requests_len_max: u64,
}

/// How long the RPC server waits for its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RpcPatience {
    /// A connection without a request, or a request without its next bytes.
    pub idle: Duration,
    /// A body may take this long, and one second more for each KiB of it.
    pub body: Duration,
    /// An answer of which nothing is taken.
    pub write: Duration,
}

impl Default for RpcPatience {
    fn default() -> Self {
        let all = Duration::from_secs(30);
        Self {
            idle: all,
            body: all,
            write: all,
        }
    }
}

impl From<&OptionSet> for RpcSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            enabled: set.get(keys::ENABLE_RPC),
            port: u16::try_from(set.get(keys::RPC_LISTEN_PORT)).unwrap_or(6800),
            listen_all: set.get(keys::RPC_LISTEN_ALL),
            disable_ipv6: set.get(keys::DISABLE_IPV6),
            secret: text(set.get(keys::RPC_SECRET)).map(Secret::new),
            user: text(set.get(keys::RPC_USER)),
            password: text(set.get(keys::RPC_PASSWD)).map(Secret::new),
            secure: set.get(keys::RPC_SECURE),
            certificate: path(set.get(keys::RPC_CERTIFICATE)),
            private_key: path(set.get(keys::RPC_PRIVATE_KEY)),
            tls_version_min: set.get(keys::MIN_TLS_VERSION),
            allow_origin_all: set.get(keys::RPC_ALLOW_ORIGIN_ALL),
            request_len_max: bytes(set.get(keys::RPC_MAX_REQUEST_SIZE)),
            allow_hooks: set.get(keys::RPC_ALLOW_HOOKS),
            allowed_hosts: set
                .get(keys::RPC_ALLOWED_HOST)
                .iter()
                .map(|name| name.to_string())
                .collect(),
            jail: path(set.get(keys::RPC_DIR_JAIL)).filter(|jail| !jail.as_os_str().is_empty()),
            connections_max: Some(count(set.get(keys::RPC_MAX_CONNECTIONS)))
                .filter(|count| *count > 0),
            patience: RpcPatience::default(),
            requests_len_max: 64 << 20,
        }
    }
}
