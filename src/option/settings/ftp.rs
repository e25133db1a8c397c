//! Pure: how FTP and SFTP are spoken.

use std::path::PathBuf;

use super::{ConnectionSettings, ProxySettings, TlsSettings, path, rate, text};
use crate::base::secret::Secret;
use crate::base::units::Rate;
use crate::option::value::{FtpTls, FtpType, split_digest};
use crate::option::{OptionSet, keys};

/// How FTP and SFTP servers are spoken to.
#[derive(Clone, Debug)]
pub struct FtpSettings {
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub no_netrc: bool,
    pub netrc_path: Option<PathBuf>,
    /// We open data connections; otherwise the server does.
    pub passive: bool,
    pub transfer_type: FtpType,
    pub encrypt: FtpTls,
    /// Connections are kept for the next file.
    pub reuse_connection: bool,
    /// `type=hex`, in lower case, of the only host key that is taken.
    pub host_key_digest: Option<(&'static str, String)>,
    pub private_key: Option<PathBuf>,
    /// Slower connections are given up.
    pub lowest_speed: Rate,
    pub proxies: ProxySettings,
    pub connection: ConnectionSettings,
    pub tls: TlsSettings,
}

impl From<&OptionSet> for FtpSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            user: text(set.get(keys::FTP_USER)),
            password: text(set.get(keys::FTP_PASSWD)).map(Secret::new),
            no_netrc: set.get(keys::NO_NETRC),
            netrc_path: path(set.get(keys::NETRC_PATH)),
            passive: set.get(keys::FTP_PASV),
            transfer_type: set.get(keys::FTP_TYPE),
            encrypt: set.get(keys::FTP_TLS),
            reuse_connection: set.get(keys::FTP_REUSE_CONNECTION),
            host_key_digest: set
                .get(keys::SSH_HOST_KEY_MD)
                .and_then(|text| split_digest(&text)),
            private_key: path(set.get(keys::SSH_PRIVATE_KEY)),
            lowest_speed: rate(set.get(keys::LOWEST_SPEED_LIMIT)),
            proxies: ProxySettings::from(set),
            connection: ConnectionSettings::from(set),
            tls: TlsSettings::from(set),
        }
    }
}
