//! Pure: which proxy serves whom.

use std::sync::Arc;

use crate::base::secret::Secret;
use crate::option::spec::Key;
use crate::option::value::{ProxyMethod, Text};
use crate::option::{OptionSet, keys};

type TextKey = Key<Text>;

/// Which proxy serves which scheme. A proxy is a URI with its credentials inside, so it is secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxySettings {
    pub http: Option<Secret>,
    pub https: Option<Secret>,
    pub ftp: Option<Secret>,
    /// For everything else that can use one (peers, trackers, SFTP).
    pub all: Option<Secret>,
    /// Host names, domains with a leading dot, addresses and CIDR blocks that need none.
    pub exempt: Arc<[Arc<str>]>,
    pub method: ProxyMethod,
}

impl From<&OptionSet> for ProxySettings {
    fn from(set: &OptionSet) -> Self {
        let all = proxy(
            set,
            keys::ALL_PROXY,
            keys::ALL_PROXY_USER,
            keys::ALL_PROXY_PASSWD,
        );
        // `--http-proxy=` takes the proxy away even where all-proxy is set.
        let or_all = |key: TextKey, user, password| match set.is_set(key.id) {
            true => proxy(set, key, user, password),
            false => all.clone(),
        };
        Self {
            http: or_all(
                keys::HTTP_PROXY,
                keys::HTTP_PROXY_USER,
                keys::HTTP_PROXY_PASSWD,
            ),
            https: or_all(
                keys::HTTPS_PROXY,
                keys::HTTPS_PROXY_USER,
                keys::HTTPS_PROXY_PASSWD,
            ),
            ftp: or_all(
                keys::FTP_PROXY,
                keys::FTP_PROXY_USER,
                keys::FTP_PROXY_PASSWD,
            ),
            all,
            exempt: set.get(keys::NO_PROXY),
            method: set.get(keys::PROXY_METHOD),
        }
    }
}

/// A proxy with the credentials of the options beside it; those inside its URI give way.
fn proxy(set: &OptionSet, key: TextKey, user: TextKey, password: TextKey) -> Option<Secret> {
    let uri = set.get(key)?;
    let Some(user) = set.get(user) else {
        return Some(Secret::new(uri.as_ref()));
    };
    let (scheme, rest) = uri.split_once("://")?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let credentials = match set.get(password) {
        Some(password) => format!("{}:{}", escape(&user), escape(&password)),
        None => escape(&user),
    };
    Some(Secret::new(format!("{scheme}://{credentials}@{host}")))
}
