//! Pure: magnet links (BEP 9, selection of files BEP 53).

use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use super::info_hash::InfoHash;
use crate::base::error::{ErrorCode, Failure};

/// More trackers, seeds, peers or ranges than this are ignored.
const HINTS_MAX: usize = 1_000;

/// What a magnet link says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Magnet {
    pub info_hash: InfoHash,
    /// `dn`: what to call it until the metadata is there.
    pub name: Option<String>,
    /// `tr`; each is a tier of its own, as for aria2.
    pub trackers: Vec<String>,
    /// `ws`, and `as` which means the same.
    pub web_seeds: Vec<String>,
    /// `x.pe`: host (an IPv6 literal without brackets) and port.
    pub peers: Vec<(String, u16)>,
    /// `so`: indexes of the wanted files, from 0; empty means all.
    pub selected: Vec<RangeInclusive<u32>>,
}

/// Whether the text is a magnet link of any kind.
pub fn is_magnet(text: &str) -> bool {
    text.get(..8)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:?"))
}

impl Magnet {
    /// # Errors
    /// Code 27 when it is no magnet link or names no torrent of version 1.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if !is_magnet(text) {
            return Err(bad("not a magnet link"));
        }
        let mut hash = None;
        let mut other_topic = None;
        let mut magnet = Self {
            info_hash: InfoHash([0; 20]),
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            selected: Vec::new(),
        };
        for field in text[8..].split('&') {
            let Some((key, value)) = field.split_once('=') else {
                continue;
            };
            let Ok(value) = percent_decode_str(value).decode_utf8() else {
                continue;
            };
            if numbered(key, "xt") {
                match info_hash_of(&value) {
                    Some(found) => hash = hash.or(Some(found)),
                    None => other_topic = Some(value.into_owned()),
                }
            } else {
                magnet.read(key, &value);
            }
        }
        magnet.info_hash = hash.ok_or_else(|| match other_topic {
            Some(topic) => bad(format!(
                "magnet link names no torrent that can be fetched: {}",
                topic.chars().take(60).collect::<String>().escape_debug()
            )),
            None => bad("magnet link names no torrent"),
        })?;
        Ok(magnet)
    }

    /// Takes a field that is not the topic; unknown ones are skipped.
    fn read(&mut self, key: &str, value: &str) {
        let add = |list: &mut Vec<String>| {
            let known = list.iter().any(|item| item == value);
            if !value.is_empty() && list.len() < HINTS_MAX && !known {
                list.push(value.to_owned());
            }
        };
        if numbered(key, "tr") {
            add(&mut self.trackers);
        } else if numbered(key, "ws") || numbered(key, "as") {
            add(&mut self.web_seeds);
        } else if key == "dn" && !value.is_empty() {
            self.name.get_or_insert_with(|| value.to_owned());
        } else if numbered(key, "x.pe") && self.peers.len() < HINTS_MAX {
            self.peers.extend(host_port(value));
        } else if key == "so" {
            self.selected
                .extend(value.split(',').take(HINTS_MAX).filter_map(range));
        }
    }
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::fatal(ErrorCode::MagnetUri, message)
}

/// `tr` may be written `tr`, `tr.1`, `tr.2` and so on (known-bugs 58).
fn numbered(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('.').is_some_and(|digits| {
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            })
    })
}

fn info_hash_of(topic: &str) -> Option<InfoHash> {
    let prefix = topic.get(..9)?;
    prefix
        .eq_ignore_ascii_case("urn:btih:")
        .then(|| InfoHash::parse(&topic[9..]))?
}

/// `host:port` or `[ipv6]:port`.
fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// `3` or `3-5`.
fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";

    #[test]
    fn every_field_is_read() {
        let text = format!(
            "magnet:?xt=urn:btih:{HEX}&dn=a%20b+c&tr=udp%3A%2F%2Ft%3A1&tr.1=http://u/%3Fa%3Db&tr.1=http://u/%3Fa%3Db&ws=http://w/&x.pe=h:1&x.pe=[::1]:2&x.pe=bad&so=0,2,4-6,x,9-8&xl=5&&novalue&dn=second"
        );
        let magnet = Magnet::parse(&text).unwrap();
        assert_eq!(magnet.info_hash.to_string(), HEX);
        assert_eq!(magnet.name.as_deref(), Some("a b+c"));
        assert_eq!(magnet.trackers, ["udp://t:1", "http://u/?a=b"]);
        assert_eq!(magnet.web_seeds, ["http://w/"]);
        assert_eq!(magnet.peers, [("h".to_owned(), 1), ("::1".to_owned(), 2)]);
        assert_eq!(magnet.selected, [0..=0, 2..=2, 4..=6]);
    }

    #[test]
    fn the_topic_may_be_base32_and_stand_anywhere() {
        for text in [
            "magnet:?dn=x&xt=urn:btih:YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK".to_owned(),
            format!("MAGNET:?xt.1=urn:sha1:YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK&xt.2=URN:BTIH:{HEX}"),
            format!(
                "magnet:?xt=urn:btmh:1220{}&xt=urn%3Abtih%3A{HEX}",
                "00".repeat(32)
            ),
        ] {
            assert_eq!(
                Magnet::parse(&text).unwrap().info_hash.to_string(),
                HEX,
                "{text}"
            );
        }
    }

    #[test]
    fn what_names_no_torrent_is_rejected() {
        for text in [
            "",
            "magnet:",
            "magnet:?",
            "magnet:?dn=x",
            "magnet:?xt=urn:btih:12",
            "magnet:?xt=urn:sha1:YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK",
            "magnet:?xt=urn:btmh:1220ab",
            "magnet:?xt=%ff",
            "http://h/?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a",
        ] {
            let failure = Magnet::parse(text).unwrap_err();
            assert_eq!(failure.code, ErrorCode::MagnetUri, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(magnet:\\?)?([a-z.]{0,4}(=[a-zé%0-9:\\[\\]-]{0,12})?&?){0,6}") {
            let _ = Magnet::parse(&text);
        }
    }
}
