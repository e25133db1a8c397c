//! Pure: the mirrors that `Link` headers name (RFC 6249, in the grammar of RFC 8288).

use std::sync::Arc;

use ::http::header::{HeaderMap, LINK};
use url::Url;

use super::digest_header;
use crate::format::uri::normalise;
use crate::option::settings::HttpSettings;
use crate::storage::digest::Checksum;

/// A mirror without priority comes after all others (RFC 6249, 3.1).
const PRIORITY_LAST: u32 = 999_999;
/// Further mirrors of a response are left alone.
const MIRRORS_MAX: usize = 64;
const SCHEMES: [&str; 5] = ["http", "https", "ftp", "ftps", "sftp"];

/// What a response, and the redirects that led to it, say of other places of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// The best first.
    pub mirrors: Vec<Arc<str>>,
    /// Of the whole file.
    pub digest: Option<Checksum>,
}

impl Told {
    /// Takes in the headers of an answer from `url`; a later answer of a chain knows better.
    pub fn read(&mut self, headers: &HeaderMap, url: &Url, settings: &HttpSettings) {
        if !settings.link_mirrors {
            return;
        }
        let mirrors = mirrors(headers, url, &settings.locations);
        if !mirrors.is_empty() {
            self.mirrors = mirrors;
            self.digest = digest_header::strongest(headers);
        }
    }
}

/// The mirrors, the best first: those the server vouches for (`pref`), then those of a wanted
/// country, then by priority.
fn mirrors(headers: &HeaderMap, url: &Url, locations: &[String]) -> Vec<Arc<str>> {
    let mut found: Vec<_> = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(links)
        .filter(Link::is_duplicate)
        .filter_map(|link| Some((link.place(locations), link.resolved(url)?)))
        .collect();
    found.sort_by_key(|(place, _)| *place);
    let mut uris: Vec<Arc<str>> = Vec::new();
    for (_, uri) in found {
        if uris.len() < MIRRORS_MAX && !uris.contains(&uri) {
            uris.push(uri);
        }
    }
    uris
}

/// One `link-value`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Link {
    target: String,
    /// Names in lower case.
    parameters: Vec<(String, String)>,
}

impl Link {
    /// Of several parameters with one name the first counts (RFC 8288, 3.3).
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it says where the file itself, and not another one (`anchor`), is to be had, too.
    fn is_duplicate(&self) -> bool {
        let mut relations = self.get("rel").unwrap_or_default().split_ascii_whitespace();
        self.get("anchor").is_none() && relations.any(|it| it.eq_ignore_ascii_case("duplicate"))
    }

    fn place(&self, locations: &[String]) -> (bool, bool, u32) {
        let near = self.get("geo").is_some_and(|geo| {
            let same = |wanted: &String| wanted.trim().eq_ignore_ascii_case(geo);
            locations.iter().any(same)
        });
        let priority = self.get("pri").and_then(|text| text.parse().ok());
        let priority = priority.filter(|number| (1..PRIORITY_LAST).contains(number));
        let preferred = self.get("pref").is_some();
        (!preferred, !near, priority.unwrap_or(PRIORITY_LAST))
    }

    fn resolved(&self, url: &Url) -> Option<Arc<str>> {
        let mut target = url.join(&normalise(self.target.trim())).ok()?;
        target.set_fragment(None);
        let usable = SCHEMES.contains(&target.scheme()) && target.has_host();
        (usable && target != *url).then(|| target.as_str().into())
    }
}

/// The links of a header; what is no link is skipped up to the next comma.
fn links(header: &str) -> Vec<Link> {
    let mut rest = Rest(header);
    let mut found = Vec::new();
    loop {
        rest.skip(|c| is_blank(c) || c == ',');
        if rest.0.is_empty() {
            return found;
        }
        match rest.link() {
            Some(link) => found.push(link),
            None => rest.skip(|c| c != ','),
        }
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(is_skipped);
    }

    fn accept(&mut self, wanted: char) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) -> &'a str {
        let len = self.0.find(|c| !is_taken(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn link(&mut self) -> Option<Link> {
        if !self.accept('<') {
            return None;
        }
        let target = self.take_while(|c| c != '>').to_owned();
        if !self.accept('>') {
            return None;
        }
        let mut parameters = Vec::new();
        loop {
            self.skip(is_blank);
            if self.0.is_empty() || self.0.starts_with(',') {
                return Some(Link { target, parameters });
            }
            if !self.accept(';') {
                return None;
            }
            self.skip(is_blank);
            let name = self.take_while(|c| !is_blank(c) && !matches!(c, '=' | ';' | ','));
            self.skip(is_blank);
            let value = match self.accept('=') {
                true => self.value()?,
                false => String::new(),
            };
            if !name.is_empty() {
                parameters.push((name.to_ascii_lowercase(), value));
            }
        }
    }

    /// A token or a quoted string.
    fn value(&mut self) -> Option<String> {
        self.skip(is_blank);
        if !self.accept('"') {
            let token = self.take_while(|c| !is_blank(c) && !matches!(c, ';' | ','));
            return Some(token.to_owned());
        }
        let mut value = String::new();
        let mut characters = self.0.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(characters.next()?),
                other => value.push(other),
            }
        }
        self.0 = characters.as_str();
        Some(value)
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;
    use proptest::prelude::*;

    fn told(lines: &[&str], locations: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let url = Url::parse("http://o/d/f?q").unwrap();
        let locations: Vec<String> = locations.iter().map(|it| (*it).to_owned()).collect();
        let found = mirrors(&headers, &url, &locations);
        found.iter().map(|uri| uri.to_string()).collect()
    }

    #[test]
    fn the_example_of_rfc_6249() {
        let lines = [
            "<http://www2.example.com/example.ext>; rel=duplicate; pri=1; pref",
            "<ftp://ftp.example.com/example.ext>; rel=duplicate; pri=2; geo=gb; depth=1",
            "<http://example.com/example.ext.torrent>; rel=describedby; \
             type=\"application/x-bittorrent\"",
            "<http://example.com/example.ext.meta4>; rel=describedby; \
             type=\"application/metalink4+xml\"",
            "<http://example.com/example.ext.asc>; rel=describedby; \
             type=\"application/pgp-signature\"",
        ];
        let expected = [
            "http://www2.example.com/example.ext",
            "ftp://ftp.example.com/example.ext",
        ];
        assert_eq!(told(&lines, &[]), expected);
        assert_eq!(told(&[&lines.join(", ")], &[]), expected);
    }

    #[test]
    fn order() {
        let lines = [
            "<http://none/>; rel=duplicate",
            "<http://zero/>; rel=duplicate; pri=0",
            "<http://two/>; rel=duplicate; pri=2; geo=de",
            "<http://one/>; rel=duplicate; pri=1",
            "<http://pref/>; rel=duplicate; pref; pri=9",
        ];
        let hosts = |locations: &[&str]| {
            let hosts = told(&lines, locations);
            hosts.join(" ").replace("http://", "").replace('/', "")
        };
        assert_eq!(hosts(&[]), "pref one two none zero");
        assert_eq!(hosts(&["jp", " DE"]), "pref two one none zero");
    }

    #[test]
    fn grammar() {
        for (line, expected) in [
            ("<http://a/x>;rel=duplicate", &["http://a/x"][..]),
            ("<x>; REL=\"next  Duplicate\"", &["http://o/d/x"]),
            ("</y,z>; rel = \"dupli\\cate\" ;", &["http://o/y,z"]),
            ("<http://a/a b#c>; rel=duplicate", &["http://a/a%20b"]),
            (", ,<//a/x>; a; b=; rel=duplicate;;", &["http://a/x"]),
            // Another file, another relation, only the first rel counts.
            ("<http://a/x>; rel=duplicate; anchor=\"/y\"", &[]),
            ("<http://a/x>; rel=\"next\"; rel=duplicate", &[]),
            ("<http://a/x>; title=\"; rel=duplicate\"", &[]),
            ("<http://a/x>", &[]),
            // No place of a file; the file itself; twice.
            ("<javascript:x>; rel=duplicate", &[]),
            ("<file:///etc/passwd>; rel=duplicate", &[]),
            ("<http://o/d/f?q>; rel=duplicate", &[]),
            (
                "<http://a/x>; rel=duplicate, <http://a/x>; rel=duplicate",
                &["http://a/x"],
            ),
            // Broken ones do not spoil the others.
            ("junk, <http://a/x>; rel=duplicate", &["http://a/x"]),
            ("<a> b, <http://a/x>; rel=duplicate", &["http://a/x"]),
            ("<http://a/x>; rel=\"duplicate", &[]),
            ("<http://a/x; rel=duplicate", &[]),
        ] {
            assert_eq!(told(&[line], &[]), expected, "{line}");
        }
    }

    #[test]
    fn there_is_an_end_to_them() {
        let line: Vec<String> = (0..1000)
            .map(|number| format!("<http://h{number}/>; rel=duplicate"))
            .collect();
        assert_eq!(told(&[&line.join(",")], &[]).len(), MIRRORS_MAX);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail(text in "[<>;,=\"\\\\ a-c/:é]{0,60}") {
            links(&text);
        }
    }
}
