//! Pure: announces and scrapes over HTTP (BEP 3, 48): the URI that is asked, and the bencoded
//! answer, with compact peers (BEP 23), also of IPv6 (BEP 7), or a list of them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::{Announce, Answer, Event, PEERS_MAX, Scrape, interval};
use crate::bittorrent::compact;
use crate::format::bencode::{self, Dict, Value};
use crate::format::info_hash::InfoHash;

/// Text of a tracker that is shown to the user is cut here.
const TEXT_LEN_MAX: usize = 300;

/// The URI to get; the query in the order of aria2, which some trackers' filters know.
pub fn announce_uri(tracker: &str, announce: &Announce) -> String {
    let mut uri = with_query(tracker);
    push_bytes(&mut uri, "info_hash", &announce.info_hash.0);
    uri.push('&');
    push_bytes(&mut uri, "peer_id", &announce.peer_id.0);
    let _ = write!(
        uri,
        "&uploaded={}&downloaded={}&left={}&compact=1&",
        announce.uploaded, announce.downloaded, announce.left
    );
    push_bytes(&mut uri, "key", &announce.peer_id.0[12..]);
    let _ = write!(
        uri,
        "&numwant={}&no_peer_id=1&port={}",
        announce.wanted, announce.port
    );
    let event = announce.event.map(|event| match event {
        Event::Started => "started",
        Event::Completed => "completed",
        Event::Stopped => "stopped",
    });
    if let Some(event) = event {
        let _ = write!(uri, "&event={event}");
    }
    if let Some(id) = &announce.tracker_id {
        uri.push('&');
        push_bytes(&mut uri, "trackerid", id.as_bytes());
    }
    uri.push_str(match announce.require_crypto {
        true => "&requirecrypto=1",
        false => "&supportcrypto=1",
    });
    if let Some(ip) = announce.ip {
        uri.push('&');
        push_bytes(&mut uri, "ip", ip.to_string().as_bytes());
    }
    uri
}

/// The URI that tells the counts of a torrent; `None` where the tracker offers none: by convention
/// the last segment of its path begins with `announce` (BEP 48).
pub fn scrape_uri(tracker: &str, info_hash: InfoHash) -> Option<String> {
    let path_len = tracker.find('?').unwrap_or(tracker.len());
    let slash = tracker[..path_len].rfind('/')?;
    let rest = tracker[slash + 1..].strip_prefix("announce")?;
    let mut uri = with_query(&format!("{}/scrape{rest}", &tracker[..slash]));
    push_bytes(&mut uri, "info_hash", &info_hash.0);
    Some(uri)
}

/// The URI without its fragment and ready for the first parameter of ours.
fn with_query(tracker: &str) -> String {
    let tracker = tracker.split('#').next().unwrap_or(tracker);
    let joint = match tracker.find('?') {
        None => "?",
        Some(_) if tracker.ends_with(['?', '&']) => "",
        Some(_) => "&",
    };
    format!("{tracker}{joint}")
}

fn push_bytes(uri: &mut String, name: &str, bytes: &[u8]) {
    uri.push_str(name);
    uri.push('=');
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}

/// Reads the answer to an announce.
///
/// # Errors
/// The tracker's own reason, or what is wrong with the answer.
pub fn parse_announce(body: &[u8]) -> Result<Answer, String> {
    let dict = parse_dict(body)?;
    let mut peers = Vec::new();
    match dict.get("peers") {
        Some(Value::Bytes(bytes)) => peers.extend(compact::read_v4(bytes).take(PEERS_MAX)),
        Some(Value::List(list)) => {
            let listed = list.iter().take(PEERS_MAX).filter_map(peer_of);
            peers.extend(listed.filter(|peer| compact::is_possible(*peer)));
        }
        _ => {}
    }
    if let Some(bytes) = dict.bytes("peers6") {
        peers.extend(compact::read_v6(bytes).take(PEERS_MAX));
    }
    Ok(Answer {
        interval: dict.int("interval").and_then(interval),
        interval_min: dict.int("min interval").and_then(interval),
        seeders: count(dict, "complete"),
        leechers: count(dict, "incomplete"),
        peers,
        tracker_id: dict.text("tracker id").map(str::to_owned),
        warning: dict.bytes("warning message").map(shown),
    })
}

/// Reads the answer to a scrape.
///
/// # Errors
/// The tracker's own reason, or what is wrong with the answer.
pub fn parse_scrape(body: &[u8], info_hash: InfoHash) -> Result<Scrape, String> {
    let files = parse_dict(body)?.dict("files");
    let file = files
        .and_then(|files| files.iter().find(|(key, _)| *key == info_hash.0))
        .and_then(|(_, file)| file.dict())
        .ok_or("tracker does not know the torrent")?;
    Ok(Scrape {
        seeders: count(file, "complete").unwrap_or_default(),
        leechers: count(file, "incomplete").unwrap_or_default(),
        completed: count(file, "downloaded").unwrap_or_default(),
    })
}

fn parse_dict(body: &[u8]) -> Result<Dict<'_>, String> {
    let dict = bencode::parse(body)
        .map_err(|error| format!("answer of the tracker: {error}"))?
        .dict()
        .ok_or("answer of the tracker is not a dictionary")?;
    match dict.bytes("failure reason") {
        Some(reason) => Err(format!("tracker refused: {}", shown(reason))),
        None => Ok(dict),
    }
}

fn peer_of(value: Value<'_>) -> Option<SocketAddr> {
    let dict = value.dict()?;
    // Host names are allowed by BEP 3 and unheard of.
    let ip: IpAddr = dict.text("ip")?.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(dict.int("port")?).ok()?))
}

fn count(dict: Dict<'_>, key: &str) -> Option<u32> {
    dict.int(key).and_then(|count| u32::try_from(count).ok())
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_LEN_MAX)])
        .chars()
        .filter(|letter| !letter.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bittorrent::handshake::PeerId;
    use proptest::prelude::*;
    use std::time::Duration;

    fn announce() -> Announce {
        Announce {
            info_hash: InfoHash([0xab; 20]),
            peer_id: PeerId(*b"A2-1-37-0-abcdefghij"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: Some(Event::Started),
            wanted: 50,
            ip: None,
            tracker_id: None,
            require_crypto: false,
        }
    }

    #[test]
    fn the_query_is_in_aria2s_order() {
        let hash = "%AB".repeat(20);
        let expected = format!(
            "http://t/announce?info_hash={hash}&peer_id=A2%2D1%2D37%2D0%2Dabcdefghij&uploaded=1&downloaded=2&left=3&compact=1&key=cdefghij&numwant=50&no_peer_id=1&port=6881&event=started&supportcrypto=1"
        );
        assert_eq!(announce_uri("http://t/announce", &announce()), expected);
        let passkey = announce_uri("http://t/announce?pass=1#x", &announce());
        assert!(passkey.starts_with("http://t/announce?pass=1&info_hash="));
        let all = Announce {
            event: None,
            tracker_id: Some("a&b".into()),
            require_crypto: true,
            ip: Some("::1".parse().unwrap()),
            ..announce()
        };
        let all = announce_uri("http://t", &all);
        assert!(
            all.ends_with("&port=6881&trackerid=a%26b&requirecrypto=1&ip=%3A%3A1"),
            "{all}"
        );
    }

    #[test]
    fn scrape_is_where_bep_48_puts_it() {
        let end = format!("info_hash={}", "%AB".repeat(20));
        for (tracker, scrape) in [
            ("http://h/announce", Some("http://h/scrape?")),
            ("http://h/x/announce", Some("http://h/x/scrape?")),
            ("http://h/announce.php", Some("http://h/scrape.php?")),
            (
                "http://h/announce?x2%0644",
                Some("http://h/scrape?x2%0644&"),
            ),
            ("http://h/announce?x=2/4", Some("http://h/scrape?x=2/4&")),
            ("http://h/a", None),
            ("http://h/x%064announce", None),
        ] {
            let expected = scrape.map(|scrape| format!("{scrape}{end}"));
            assert_eq!(scrape_uri(tracker, InfoHash([0xab; 20])), expected);
        }
    }

    #[test]
    fn answers_of_all_kinds() {
        let compact = b"d8:completei5e10:incompletei6e8:intervali1800e12:min intervali60e5:peers12:\x7f\0\0\x01\x1a\xe1\0\0\0\0\0\x016:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x5010:tracker id2:id15:warning message2:hie";
        let answer = parse_announce(compact).unwrap();
        assert_eq!(answer.interval, Some(Duration::from_secs(1800)));
        assert_eq!(answer.interval_min, Some(Duration::from_secs(60)));
        assert_eq!((answer.seeders, answer.leechers), (Some(5), Some(6)));
        let peers = ["127.0.0.1:6881", "[2001:db8::1]:80"].map(|peer| peer.parse().unwrap());
        assert_eq!(answer.peers, peers);
        assert_eq!(answer.tracker_id.as_deref(), Some("id"));
        assert_eq!(answer.warning.as_deref(), Some("hi"));
        let list = b"d8:intervali1e5:peersld2:ip9:127.0.0.17:peer id1:x4:porti80eed2:ip3:bad4:porti1eei5eee";
        let answer = parse_announce(list).unwrap();
        assert_eq!(answer.peers, ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(
            answer.interval,
            Some(Duration::from_secs(30)),
            "a second is no interval"
        );
        assert_eq!(parse_announce(b"de"), Ok(Answer::default()));
        for (body, error) in [
            (&b"d14:failure reason4:no\n!e"[..], "tracker refused: no!"),
            (
                b"<html>",
                "answer of the tracker: not bencoded data at byte 0",
            ),
            (b"le", "answer of the tracker is not a dictionary"),
        ] {
            assert_eq!(parse_announce(body), Err(error.to_owned()));
        }
    }

    #[test]
    fn scraped_counts() {
        let hash = InfoHash([b'h'; 20]);
        let body =
            b"d5:filesd20:hhhhhhhhhhhhhhhhhhhhd8:completei5e10:downloadedi50e10:incompletei-1eeee";
        let scrape = Scrape {
            seeders: 5,
            leechers: 0,
            completed: 50,
        };
        assert_eq!(parse_scrape(body, hash), Ok(scrape));
        assert!(parse_scrape(b"d5:filesdee", hash).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), tracker in "[a-z/?&#é]{0,12}") {
            let _ = parse_announce(&bytes);
            let _ = parse_scrape(&bytes, InfoHash([1; 20]));
            let _ = scrape_uri(&tracker, InfoHash([1; 20]));
            let _ = announce_uri(&tracker, &announce());
        }
    }
}
