//! Pure: addresses of peers never to talk to, as lists have them: eMule's `ipfilter.dat`, P2P text
//! (PeerGuardian), networks in CIDR notation and single addresses, plain or gzipped.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flate2::read::MultiGzDecoder;
use ipnet::IpNet;

/// From this access level on eMule lets an address in.
const EMULE_LEVEL_ALLOWED: u32 = 128;
/// The largest lists have some 40 MB.
const UNPACKED_LEN_MAX: u64 = 256 << 20;

/// The list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blocklist {
    /// First and last address; sorted, neither touching nor overlapping.
    v4: Vec<(Ipv4Addr, Ipv4Addr)>,
    v6: Vec<(Ipv6Addr, Ipv6Addr)>,
}

impl Blocklist {
    /// Lines that say nothing known are counted and left out.
    pub fn parse(bytes: &[u8]) -> (Self, usize) {
        let mut unpacked = Vec::new();
        let bytes = match bytes {
            [0x1f, 0x8b, ..] => {
                let mut decoder = MultiGzDecoder::new(bytes).take(UNPACKED_LEN_MAX);
                // A damaged end leaves what came before it.
                let _ = decoder.read_to_end(&mut unpacked);
                &unpacked
            }
            _ => bytes,
        };
        // Names in such lists are in any encoding.
        Self::parse_text(&String::from_utf8_lossy(bytes))
    }

    /// The same of plain text.
    pub fn parse_text(text: &str) -> (Self, usize) {
        let mut list = Self::default();
        let mut strange = 0;
        for line in text.split('\n') {
            match read_line(line) {
                Line::Blocked(IpAddr::V4(first), IpAddr::V4(last)) => list.v4.push((first, last)),
                Line::Blocked(IpAddr::V6(first), IpAddr::V6(last)) => list.v6.push((first, last)),
                Line::Blocked(..) | Line::Strange => strange += 1,
                Line::Nothing => {}
            }
        }
        merge(&mut list.v4, |ip| {
            ip.to_bits().checked_add(1).map(Ipv4Addr::from_bits)
        });
        merge(&mut list.v6, |ip| {
            ip.to_bits().checked_add(1).map(Ipv6Addr::from_bits)
        });
        (list, strange)
    }

    /// Whether the address is listed; an IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => is_within(&self.v4, ip),
            IpAddr::V6(ip) => is_within(&self.v6, ip),
        }
    }

    /// Ranges it holds.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Line {
    Blocked(IpAddr, IpAddr),
    /// Empty, a comment, or an address that is let in.
    Nothing,
    Strange,
}

fn read_line(line: &str) -> Line {
    let line = line.trim().trim_start_matches('\u{feff}');
    if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//") {
        return Line::Nothing;
    }
    // eMule: `001.002.003.000 - 001.002.003.255 , 100 , some name`.
    if let Some((range, rest)) = line.split_once(',')
        && let Some((first, last)) = read_range(range)
    {
        let level = rest
            .split(',')
            .next()
            .map(|level| level.trim().parse::<u32>());
        return match level {
            Some(Ok(level)) if level >= EMULE_LEVEL_ALLOWED => Line::Nothing,
            _ => Line::Blocked(first, last),
        };
    }
    // P2P: `some: name:1.2.3.0-1.2.3.255`; what follows the last name is the range.
    let plain = |text: &str| read_one(text).or_else(|| read_range(text));
    let mut ranges = line.rmatch_indices(':').map(|(at, _)| &line[at + 1..]);
    let found = plain(line).or_else(|| ranges.find_map(read_range));
    found.map_or(Line::Strange, |(first, last)| Line::Blocked(first, last))
}

/// A network or a single address.
fn read_one(text: &str) -> Option<(IpAddr, IpAddr)> {
    let text = text.split_whitespace().next()?;
    if let Ok(net) = text.parse::<IpNet>() {
        return Some((net.network(), net.broadcast()));
    }
    let ip = read_ip(text)?;
    Some((ip, ip))
}

fn read_range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (read_ip(first)?, read_ip(last)?);
    (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last))
}

/// Numbers may have leading zeros, which are not octal here.
fn read_ip(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let digits =
            !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        *octet = digits.then(|| part.parse::<u8>().ok()).flatten()?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn merge<Ip: Ord + Copy>(ranges: &mut Vec<(Ip, Ip)>, next: impl Fn(Ip) -> Option<Ip>) {
    ranges.sort_unstable();
    ranges.dedup_by(|later, earlier| {
        let meets = next(earlier.1).is_none_or(|after| later.0 <= after);
        if meets {
            earlier.1 = earlier.1.max(later.1);
        }
        meets
    });
    ranges.shrink_to_fit();
}

fn is_within<Ip: Ord + Copy>(ranges: &[(Ip, Ip)], ip: Ip) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= ip);
    let range = after.checked_sub(1).and_then(|at| ranges.get(at));
    range.is_some_and(|(_, last)| ip <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    const LIST: &str = "\u{feff}# comment
; another\r
001.002.003.000 - 001.002.003.255 , 100 , Bad: People, Inc. 9-9
001.002.009.000 - 001.002.009.255 , 200 , let in
Some: Org-X 1.1:1.2.4.0-1.2.4.10
\r
10.0.0.0/8
192.168.7.7
2001:db8::/32
fe80::1-fe80::5
nonsense
9.9.9.9-8.8.8.8
";

    fn is_listed(list: &Blocklist, ip: &str) -> bool {
        list.contains(ip.parse().unwrap())
    }

    fn check(list: &Blocklist) {
        for (ip, listed) in [
            ("1.2.2.255", false),
            ("1.2.3.0", true),
            ("1.2.3.255", true),
            ("1.2.4.10", true),
            ("1.2.4.11", false),
            ("1.2.9.1", false),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.168.7.7", true),
            ("::ffff:192.168.7.7", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("fe80::4", true),
            ("fe80::6", false),
            ("9.9.9.9", false),
        ] {
            assert_eq!(is_listed(list, ip), listed, "{ip}");
        }
    }

    #[test]
    fn lists_of_all_kinds() {
        let (list, strange) = Blocklist::parse(LIST.as_bytes());
        check(&list);
        assert_eq!((list.len(), strange), (5, 2), "touching ranges are one");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(LIST.as_bytes()).unwrap();
        assert_eq!(Blocklist::parse(&packed.finish().unwrap()).0, list);
        let everything = Blocklist::parse(b"0.0.0.0/0\n1.2.3.4\n::/0\n");
        assert_eq!((everything.0.len(), everything.1), (2, 0));
        assert!(is_listed(&everything.0, "255.255.255.255"));
        assert!(Blocklist::parse(b"").0.is_empty());
    }

    proptest! {
        #[test]
        fn merged_ranges_hold_what_each_held(ranges in prop::collection::vec((0u8..60, 0u8..6), 0..12), ip in 0u8..70) {
            let line = |(first, len): &(u8, u8)| format!("x:1.1.1.{first}-1.1.1.{}\n", first + len);
            let text: String = ranges.iter().map(line).collect();
            let expected = ranges.iter().any(|(first, len)| (*first..=first + len).contains(&ip));
            let (list, strange) = Blocklist::parse(text.as_bytes());
            prop_assert_eq!(strange, 0);
            prop_assert_eq!(list.contains([1, 1, 1, ip].into()), expected);
        }

        #[test]
        fn no_line_panics(text in "[0-9.:,/a -]{0,30}\n[0-9.:,/a -]{0,30}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Blocklist::parse(text.as_bytes());
            let _ = Blocklist::parse(&[&[0x1f, 0x8b][..], &bytes].concat());
        }
    }
}
