//! Pure: digests of the whole file in response headers: `Repr-Digest` (RFC 9530) and `Digest`
//! (RFC 3230, as RFC 6249 uses it).

use ::http::header::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::storage::digest::{Checksum, DigestKind};

/// The strongest digest the response announces; of no use are those it cannot be trusted to have
/// made over the whole file.
pub fn strongest(headers: &HeaderMap) -> Option<Checksum> {
    ["repr-digest", "digest"]
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(checksum)
        .max_by_key(|checksum| checksum.kind)
}

/// `sha-256=:BASE64:` or `SHA-256=BASE64`; older servers write MD5 and SHA for SHA-1.
fn checksum(item: &str) -> Option<Checksum> {
    let (name, value) = item.trim().split_once('=')?;
    let kind = match name.trim() {
        name if name.eq_ignore_ascii_case("sha") => DigestKind::Sha1,
        // An Adler-32 is written in hex, and says little.
        name if name.eq_ignore_ascii_case("adler32") => return None,
        name => DigestKind::from_name(name)?,
    };
    let value = value.split(';').next()?.trim();
    let digest = STANDARD.decode(value.trim_matches(':')).ok()?;
    (digest.len() == kind.digest_len()).then_some(Checksum { kind, digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

    const SHA_1: &str = "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=";
    const SHA_256: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    fn found(lines: &[(&'static str, String)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::try_from(value).unwrap());
        }
        strongest(&headers).map_or(String::new(), |checksum| checksum.kind.to_string())
    }

    #[test]
    fn the_strongest_one_counts() {
        let cases = [
            (vec![("digest", format!("SHA={SHA_1}"))], "sha-1"),
            (
                vec![("digest", format!("SHA={SHA_1},SHA-256={SHA_256}"))],
                "sha-256",
            ),
            (
                vec![("repr-digest", format!("sha-256=:{SHA_256}:"))],
                "sha-256",
            ),
            (
                vec![
                    ("digest", format!("SHA={SHA_1}")),
                    ("digest", format!("sha-256={SHA_256};q=1")),
                ],
                "sha-256",
            ),
            (vec![("digest", format!("SHA-256={SHA_1}"))], ""),
            (
                vec![("digest", "crc32=abc, nonsense, =, sha=*".to_owned())],
                "",
            ),
            (vec![("content-digest", format!("sha-256=:{SHA_256}:"))], ""),
        ];
        for (lines, kind) in cases {
            assert_eq!(found(&lines), kind, "{lines:?}");
        }
    }
}
