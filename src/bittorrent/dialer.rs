//! Dials a peer: TCP or uTP, past or through a SOCKS proxy, with or without encryption.

use crate::option::settings::ProxySettings;

/// Whether peers are reached through a proxy only: `all-proxy` names one that carries anything.
pub fn hides(proxy: &ProxySettings) -> bool {
    let all = proxy.all.as_ref();
    all.is_some_and(|proxy| proxy.reveal().starts_with("socks"))
}
