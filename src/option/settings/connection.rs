//! Pure: how sockets are opened, and whom TLS trusts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{count, path, seconds, text};
use crate::option::value::TlsVersion;
use crate::option::{OptionSet, keys};

/// How sockets and names are opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionSettings {
    pub connect_timeout: Duration,
    /// Longest silence of an open connection.
    pub timeout: Duration,
    /// Interface names or addresses; several take turns.
    pub interfaces: Vec<String>,
    pub disable_ipv6: bool,
    pub async_dns: bool,
    pub dns_servers: Arc<[Arc<str>]>,
    /// Differentiated services code point of outgoing packets; 0 leaves it alone.
    pub dscp: u8,
    /// `None`: as the system has it.
    pub receive_buffer_len: Option<usize>,
}

impl From<&OptionSet> for ConnectionSettings {
    fn from(set: &OptionSet) -> Self {
        let interfaces = match text(set.get(keys::INTERFACE)) {
            Some(interface) => vec![interface],
            None => set
                .get(keys::MULTIPLE_INTERFACE)
                .iter()
                .map(|name| name.to_string())
                .collect(),
        };
        Self {
            connect_timeout: seconds(set.get(keys::CONNECT_TIMEOUT)),
            timeout: seconds(set.get(keys::TIMEOUT)),
            interfaces,
            disable_ipv6: set.get(keys::DISABLE_IPV6),
            async_dns: set.get(keys::ASYNC_DNS),
            dns_servers: set.get(keys::ASYNC_DNS_SERVER),
            dscp: u8::try_from(set.get(keys::DSCP)).unwrap_or(0),
            receive_buffer_len: Some(count(set.get(keys::SOCKET_RECV_BUFFER_SIZE)))
                .filter(|len| *len > 0),
        }
    }
}

/// Whom TLS trusts and who we are.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TlsSettings {
    pub check_certificate: bool,
    pub ca_certificate: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub version_min: TlsVersion,
}

impl From<&OptionSet> for TlsSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            check_certificate: set.get(keys::CHECK_CERTIFICATE),
            ca_certificate: path(set.get(keys::CA_CERTIFICATE)),
            certificate: path(set.get(keys::CERTIFICATE)),
            private_key: path(set.get(keys::PRIVATE_KEY)),
            version_min: set.get(keys::MIN_TLS_VERSION),
        }
    }
}
