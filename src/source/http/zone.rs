//! Pure: zones of link-local IPv6 addresses in URIs (RFC 6874), which name an interface of ours
//! and mean nothing to the server.

/// The URI without its zone, and the zone: `http://[fe80::1%25eth0]/` has `eth0`.
pub fn split(uri: &str) -> Option<(String, String)> {
    let start = uri.find("://")? + 3;
    let authority_len = uri[start..].find(['/', '?', '#']);
    let authority = &uri[start..authority_len.map_or(uri.len(), |len| start + len)];
    let open = start + authority.rfind('@').map_or(0, |at| at + 1);
    let close = open + uri[open..].find(']')?;
    let address = uri[open..close].strip_prefix('[')?;
    let (bare, zone) = address.split_once('%')?;
    // Written by hand the percent sign is often not escaped.
    let zone = zone.strip_prefix("25").unwrap_or(zone);
    let good = !zone.is_empty() && zone.bytes().all(is_interface_letter);
    good.then(|| {
        let uri = format!("{}[{bare}{}", &uri[..open], &uri[close..]);
        (uri, zone.to_owned())
    })
}

fn is_interface_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_zone_is_taken_out() {
        for (uri, wanted) in [
            (
                "http://[fe80::1%25lo]:80/f%20x",
                Some(("http://[fe80::1]:80/f%20x", "lo")),
            ),
            (
                "http://u:p@[fe80::1%eth0.5]",
                Some(("http://u:p@[fe80::1]", "eth0.5")),
            ),
            ("http://[fe80::1]/%25lo]", None),
            ("http://[fe80::1%25]/", None),
            ("http://[fe80::1%25a/b]/", None),
            ("http://h/[1%25lo]", None),
            ("http://h", None),
            ("nonsense", None),
        ] {
            let split = split(uri);
            let split = split
                .as_ref()
                .map(|(uri, zone)| (uri.as_str(), zone.as_str()));
            assert_eq!(split, wanted, "{uri}");
        }
    }
}
