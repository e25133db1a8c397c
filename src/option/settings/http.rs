//! Pure: how HTTP is spoken.

use std::path::PathBuf;
use std::sync::Arc;

use super::{ConnectionSettings, ProxySettings, TlsSettings, path, rate, text};
use crate::base::secret::Secret;
use crate::base::units::Rate;
use crate::option::{OptionSet, keys};

/// How HTTP requests look and what is accepted.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub user_agent: String,
    /// `*` stands for the URI that is asked for.
    pub referer: Option<String>,
    /// Whole header lines, `Name: value`.
    pub headers: Arc<[Arc<str>]>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Credentials are sent only after a 401.
    pub auth_challenge: bool,
    pub no_netrc: bool,
    pub netrc_path: Option<PathBuf>,
    pub accept_gzip: bool,
    pub no_cache: bool,
    pub keep_alive: bool,
    pub use_head: bool,
    pub want_digest: bool,
    /// Mirrors that `Link` headers name are used.
    pub link_mirrors: bool,
    /// Countries whose mirrors go first.
    pub locations: Arc<[String]>,
    pub content_disposition_utf8: bool,
    pub retry_on_400: bool,
    pub retry_on_403: bool,
    pub retry_on_406: bool,
    pub retry_on_unknown: bool,
    /// Slower connections are given up.
    pub lowest_speed: Rate,
    pub proxies: ProxySettings,
    pub connection: ConnectionSettings,
    pub tls: TlsSettings,
}

impl From<&OptionSet> for HttpSettings {
    fn from(set: &OptionSet) -> Self {
        Self {
            user_agent: text(set.get(keys::USER_AGENT)).unwrap_or_default(),
            referer: text(set.get(keys::REFERER)),
            headers: set.get(keys::HEADER),
            user: text(set.get(keys::HTTP_USER)),
            password: text(set.get(keys::HTTP_PASSWD)).map(Secret::new),
            auth_challenge: set.get(keys::HTTP_AUTH_CHALLENGE),
            no_netrc: set.get(keys::NO_NETRC),
            netrc_path: path(set.get(keys::NETRC_PATH)),
            accept_gzip: set.get(keys::HTTP_ACCEPT_GZIP),
            no_cache: set.get(keys::HTTP_NO_CACHE),
            keep_alive: set.get(keys::ENABLE_HTTP_KEEP_ALIVE),
            use_head: set.get(keys::USE_HEAD),
            want_digest: set.get(keys::HTTP_WANT_DIGEST) && !set.get(keys::NO_WANT_DIGEST_HEADER),
            link_mirrors: set.get(keys::HTTP_LINK_MIRRORS),
            locations: set
                .get(keys::METALINK_LOCATION)
                .iter()
                .map(|code| code.trim().to_owned())
                .collect(),
            content_disposition_utf8: set.get(keys::CONTENT_DISPOSITION_DEFAULT_UTF8),
            retry_on_400: set.get(keys::RETRY_ON_400),
            retry_on_403: set.get(keys::RETRY_ON_403),
            retry_on_406: set.get(keys::RETRY_ON_406),
            retry_on_unknown: set.get(keys::RETRY_ON_UNKNOWN),
            lowest_speed: rate(set.get(keys::LOWEST_SPEED_LIMIT)),
            proxies: ProxySettings::from(set),
            connection: ConnectionSettings::from(set),
            tls: TlsSettings::from(set),
        }
    }
}
