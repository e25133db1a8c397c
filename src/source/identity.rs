//! Pure: whether two responses are the same file.
//!
//! On one server the headers are comparable: `ETag`, `Last-Modified` and length all have to be
//! the same. Another server may make up its ETags in another way (nginx, Apache and S3 each have
//! their own), so that across servers the length has to be equal and
//! * equal ETags or equal dates prove the same file;
//! * dates that differ prove another one;
//! * ETags that differ count only if both are strong and no pair of dates speaks for the file.
//!
//! Digests of one kind decide alone, on whatever servers.

use crate::storage::digest::Checksum;

/// What makes two responses the same thing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    pub len: Option<u64>,
    /// Strong or weak, as sent.
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// Host and port that said so; `None` is taken for the same server.
    pub server: Option<String>,
    /// Of the whole file, as the server itself says.
    pub digest: Option<Checksum>,
}

/// How `found` differs from what is expected. `proven`: a missing length is no reason for doubt.
pub fn contradiction(expect: &Identity, found: &Identity, proven: bool) -> Option<String> {
    if let (Some(wanted), Some(sent)) = (expect.len, found.len)
        && wanted != sent
    {
        return Some(format!("{sent} bytes, expected {wanted}"));
    }
    if let (Some(wanted), Some(sent)) = (&expect.digest, &found.digest)
        && wanted.kind == sent.kind
    {
        return (wanted != sent).then(|| format!("digest {sent}, expected {wanted}"));
    }
    let tags = compare(&expect.etag, &found.etag, |tag| opaque(tag));
    let dates = compare(&expect.last_modified, &found.last_modified, |date| date);
    let tags = match tags {
        Compared::Different if may_name_alike(expect, found, dates) => Compared::Unknown,
        other => other,
    };
    match (tags, dates) {
        (Compared::Same, _) => None,
        (Compared::Different, _) => Some(differs("ETag", &found.etag, &expect.etag)),
        (_, Compared::Different) => Some(differs(
            "Last-Modified",
            &found.last_modified,
            &expect.last_modified,
        )),
        _ if expect.len.is_some() && found.len.is_none() && !proven => {
            let wanted = expect.len.unwrap_or_default();
            Some(format!("an unknown length, expected {wanted} bytes"))
        }
        _ => None,
    }
}

impl Identity {
    /// Whether nothing but a length is known, and no server has told it.
    pub fn is_only_len(&self) -> bool {
        self.len.is_some()
            && self.etag.is_none()
            && self.last_modified.is_none()
            && self.server.is_none()
    }

    /// What later responses of the server that sent `found` have to agree with: its own headers
    /// where it is another server, else what was known, completed.
    pub fn agreed(self, found: &Identity) -> Identity {
        if other_server(&self, found) {
            return Identity {
                len: self.len.or(found.len),
                digest: self.digest.or_else(|| found.digest.clone()),
                ..found.clone()
            };
        }
        Identity {
            len: self.len.or(found.len),
            etag: self.etag.or_else(|| found.etag.clone()),
            last_modified: self.last_modified.or_else(|| found.last_modified.clone()),
            server: self.server.or_else(|| found.server.clone()),
            digest: self.digest.or_else(|| found.digest.clone()),
        }
    }
}

impl Identity {
    /// A text to keep beside an unfinished file; the length has a place of its own, and a digest is
    /// told again.
    pub fn to_text(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        [&self.etag, &self.last_modified, &self.server]
            .map(part)
            .join("\n")
    }

    /// What [`Identity::to_text`] wrote.
    pub fn from_text(text: &str) -> Identity {
        let mut lines = text.split('\n');
        let mut next = || {
            let line = lines.next().filter(|line| !line.is_empty());
            line.map(str::to_owned)
        };
        Identity {
            len: None,
            etag: next(),
            last_modified: next(),
            server: next(),
            digest: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    Different,
    Unknown,
}

fn compare<'a>(
    expect: &'a Option<String>,
    found: &'a Option<String>,
    core: impl Fn(&'a str) -> &'a str,
) -> Compared {
    match (expect, found) {
        (Some(wanted), Some(sent)) if core(wanted) == core(sent) => Compared::Same,
        (Some(_), Some(_)) => Compared::Different,
        _ => Compared::Unknown,
    }
}

/// Whether ETags that differ say nothing.
fn may_name_alike(expect: &Identity, found: &Identity, dates: Compared) -> bool {
    let weak = |identity: &Identity| {
        let tag = identity.etag.as_deref();
        tag.is_some_and(|tag| tag.starts_with("W/"))
    };
    other_server(expect, found) && (dates == Compared::Same || weak(expect) || weak(found))
}

fn other_server(expect: &Identity, found: &Identity) -> bool {
    match (&expect.server, &found.server) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

fn differs(what: &str, found: &Option<String>, expect: &Option<String>) -> String {
    let shown = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{what} {}, expected {}", shown(found), shown(expect))
}

/// Weak or not: the same opaque tag is the same file for us (RFC 9110, 8.8.3.2).
fn opaque(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LEN ETAG DATE`, `-` for what is missing.
    fn identity(text: &str, server: &str) -> Identity {
        let mut words = text
            .split(' ')
            .map(|word| (word != "-").then(|| word.to_owned()));
        let mut next = || words.next().flatten();
        Identity {
            len: next().map(|len| len.parse().unwrap()),
            etag: next(),
            last_modified: next(),
            server: Some(server.to_owned()),
            digest: None,
        }
    }

    #[test]
    fn digests_decide() {
        let with = |text: &str, digest: &str| Identity {
            digest: Some(digest.parse().unwrap()),
            ..identity(text, "a")
        };
        let (md5, sha1) = ("0".repeat(32), "0".repeat(40));
        let one = with("5 \"a\" mon", &format!("sha-1={sha1}"));
        for (found, same) in [
            (with("5 \"b\" tue", &format!("sha-1={sha1}")), true),
            (with("6 \"a\" mon", &format!("sha-1={sha1}")), false),
            (
                with("5 \"a\" mon", &format!("sha-1=1{}", &sha1[1..])),
                false,
            ),
            (with("5 \"a\" mon", &format!("md5={md5}")), true),
            (identity("5 \"a\" mon", "b"), true),
            (identity("5 \"b\" tue", "b"), false),
        ] {
            let contradiction = contradiction(&one, &found, false);
            assert_eq!(contradiction.is_none(), same, "{found:?}");
        }
        // A mirror that says nothing leaves what is known.
        let agreed = one.clone().agreed(&identity("5 - -", "b"));
        assert_eq!(agreed.digest, one.digest);
    }

    #[test]
    fn the_rule() {
        for (expect, found, same_server, other_server) in [
            // The length decides everywhere.
            ("5 \"a\" mon", "5 \"a\" mon", true, true),
            ("5 \"a\" mon", "6 \"a\" mon", false, false),
            ("5 - -", "6 - -", false, false),
            ("- \"a\" -", "5 \"a\" -", true, true),
            // A length that is missing needs another proof.
            ("5 - -", "- - -", false, false),
            ("5 \"a\" -", "- \"a\" -", true, true),
            // ETags, weak or not.
            ("5 W/\"a\" mon", "5 \"a\" tue", true, true),
            ("5 \"a\" mon", "5 \"b\" mon", false, true),
            ("5 \"a\" -", "5 \"b\" -", false, false),
            ("5 \"a\" mon", "5 \"b\" -", false, false),
            ("5 \"a\" -", "5 W/\"b\" -", false, true),
            ("5 W/\"a\" mon", "5 W/\"b\" tue", false, false),
            ("5 \"a\" mon", "5 \"b\" tue", false, false),
            ("5 \"a\" -", "5 - mon", true, true),
            // Dates.
            ("5 - mon", "5 - tue", false, false),
            ("5 - mon", "5 - mon", true, true),
            ("5 \"a\" mon", "5 - tue", false, false),
        ] {
            for (server, same) in [("a", same_server), ("b", other_server)] {
                let (expect, found) = (identity(expect, "a"), identity(found, server));
                let contradiction = contradiction(&expect, &found, false);
                assert_eq!(contradiction.is_none(), same, "{expect:?} {found:?}");
            }
        }
    }

    #[test]
    fn is_kept_as_text() {
        for text in ["- \"a\" mon", "- - -", "- - mon"] {
            let kept = identity(text, "h:1");
            assert_eq!(Identity::from_text(&kept.to_text()), kept);
        }
        assert_eq!(Identity::from_text(""), Identity::default());
    }

    #[test]
    fn a_mirror_is_held_to_what_it_said_itself() {
        let first = identity("5 \"a\" mon", "a");
        let mirror = identity("5 \"b\" mon", "b");
        assert_eq!(first.clone().agreed(&mirror), mirror);
        assert_eq!(first.clone().agreed(&identity("5 - -", "a")), first);
        let unknown = Identity::default();
        assert_eq!(unknown.agreed(&first), first);
    }
}
