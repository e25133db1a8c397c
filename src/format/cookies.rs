//! Pure: cookies (RFC 6265): a jar with its rules, `Set-Cookie`, and the Netscape text format in
//! which they are kept.

use std::fmt::Write as _;
use std::net::IpAddr;

/// More than a server may leave with us; the oldest go.
const COUNT_PER_DOMAIN_MAX: usize = 50;
/// Name and value together (RFC 6265, 6.1).
const LEN_MAX: usize = 4096;

/// One cookie.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    pub name: String,
    pub value: String,
    /// Lower case, no leading dot.
    pub domain: String,
    /// Goes to no subdomain.
    pub host_only: bool,
    pub path: String,
    pub secure: bool,
    /// Seconds since 1970; `None`: until the program ends.
    pub expires: Option<i64>,
}

/// Values are as good as passwords.
impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cookie({} of {}{})", self.name, self.domain, self.path)
    }
}

/// Where a request goes, or a response comes from.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Lower case; an IPv6 address in brackets.
    pub host: &'a str,
    pub path: &'a str,
    /// By TLS.
    pub secure: bool,
    /// Seconds since 1970.
    pub now: i64,
}

/// All cookies of the process, the oldest first.
#[derive(Default, Debug)]
pub struct Jar {
    cookies: Vec<Cookie>,
}

impl Jar {
    /// Adds a cookie in place of the one of the same name, domain and path; one that has expired
    /// only takes that away.
    pub fn put(&mut self, cookie: Cookie, now: i64) {
        let same = |other: &Cookie| {
            (&other.name, &other.domain, &other.path)
                == (&cookie.name, &cookie.domain, &cookie.path)
        };
        self.cookies.retain(|other| !same(other));
        if cookie.expires.is_some_and(|at| at <= now) {
            return;
        }
        let of_domain = |other: &Cookie| other.domain == cookie.domain;
        if self.cookies.iter().filter(|other| of_domain(other)).count() >= COUNT_PER_DOMAIN_MAX
            && let Some(oldest) = self.cookies.iter().position(of_domain)
        {
            self.cookies.remove(oldest);
        }
        self.cookies.push(cookie);
    }

    /// Takes in a `Set-Cookie` header; what a server has no right to set is ignored.
    pub fn handle_set_cookie(&mut self, header: &str, from: Place<'_>) {
        if let Some(cookie) = parse_set_cookie(header, from) {
            self.put(cookie, from.now);
        }
    }

    /// The value of the header `Cookie` of a request: longer paths first, then the older ones.
    pub fn header(&self, to: Place<'_>) -> Option<String> {
        let mut fitting: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.goes_to(to))
            .collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = fitting
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The jar as Netscape text, as aria2 writes it: no header line, 0 for cookies of the session.
    pub fn to_netscape(&self, now: i64) -> String {
        let mut text = String::new();
        for cookie in &self.cookies {
            if cookie.expires.is_some_and(|at| at <= now) {
                continue;
            }
            let yes = |is: bool| if is { "TRUE" } else { "FALSE" };
            let dot = if cookie.host_only { "" } else { "." };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{dot}{}\t{}\t{}\t{}\t{}\t{}\t{}",
                cookie.domain,
                yes(!cookie.host_only),
                cookie.path,
                yes(cookie.secure),
                cookie.expires.unwrap_or(0),
                cookie.name,
                cookie.value
            );
        }
        text
    }
}

impl Cookie {
    fn goes_to(&self, to: Place<'_>) -> bool {
        let domain = match self.host_only {
            true => self.domain == to.host,
            false => domain_matches(to.host, &self.domain),
        };
        domain
            && path_matches(to.path, &self.path)
            && (to.secure || !self.secure)
            && self.expires.is_none_or(|at| at > to.now)
    }
}

/// The cookies of a Netscape text; lines that are none are passed over. `#HttpOnly_` before a
/// domain is no comment.
pub fn parse_netscape(text: &str) -> Vec<Cookie> {
    text.lines().filter_map(parse_netscape_line).collect()
}

fn parse_netscape_line(line: &str) -> Option<Cookie> {
    let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.trim_end_matches(['\r', '\n']).splitn(7, '\t');
    let mut next = || fields.next();
    let (domain, subdomains, path, secure) = (next()?, next()?, next()?, next()?);
    // Some exporters write fractions of seconds.
    let expires = next()?.split('.').next()?.trim().parse::<i64>().ok()?;
    let (name, value) = (next()?, next().unwrap_or_default());
    let bare = domain.trim_start_matches('.').to_ascii_lowercase();
    if bare.is_empty() || name.is_empty() || !path.starts_with('/') {
        return None;
    }
    Some(Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        host_only: !subdomains.eq_ignore_ascii_case("TRUE") || is_address(&bare),
        domain: bare,
        path: path.to_owned(),
        secure: secure.eq_ignore_ascii_case("TRUE"),
        expires: (expires != 0).then_some(expires),
    })
}

fn parse_set_cookie(header: &str, from: Place<'_>) -> Option<Cookie> {
    let mut parts = header.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let visible = |text: &str| !text.bytes().any(|byte| byte.is_ascii_control());
    if name.is_empty() || name.len() + value.len() > LEN_MAX || !visible(name) || !visible(value) {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        domain: from.host.to_owned(),
        host_only: true,
        path: default_path(from.path).to_owned(),
        secure: false,
        expires: None,
    };
    let mut age = None;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "secure" => cookie.secure = true,
            "path" if value.starts_with('/') => cookie.path = value.to_owned(),
            "domain" => {
                let domain = value.trim_start_matches('.').to_ascii_lowercase();
                if domain.is_empty() {
                    continue;
                }
                cookie.host_only = is_address(&domain);
                cookie.domain = domain;
            }
            "expires" => cookie.expires = parse_date(value).or(cookie.expires),
            "max-age" => age = value.parse::<i64>().ok().or(age),
            _ => {}
        }
    }
    if let Some(age) = age {
        cookie.expires = Some(match age {
            ..=0 => i64::MIN,
            age => from.now.saturating_add(age),
        });
    }
    may_set(&cookie, from).then_some(cookie)
}

/// Servers set cookies for themselves and the domains above them, but not for a whole top level;
/// a secure one takes a secure connection.
fn may_set(cookie: &Cookie, from: Place<'_>) -> bool {
    let domain = &cookie.domain;
    let own = domain == from.host;
    let above = domain.contains('.') && domain_matches(from.host, domain);
    (own || above) && (from.secure || !cookie.secure)
}

fn domain_matches(host: &str, domain: &str) -> bool {
    if host == domain {
        return true;
    }
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.') && !is_address(host))
}

fn is_address(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
}

/// RFC 6265, 5.1.4.
fn path_matches(path: &str, of_cookie: &str) -> bool {
    match path.strip_prefix(of_cookie) {
        Some(rest) => rest.is_empty() || of_cookie.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        Some(end) if end > 0 => &path[..end],
        _ => "/",
    }
}

/// A date as servers write it (RFC 6265, 5.1.1): anything with a time, a day, a month and a year
/// in it. Seconds since 1970.
pub fn parse_date(text: &str) -> Option<i64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let delimits = |c: char| !(c.is_ascii_alphanumeric() || c == ':' || !c.is_ascii());
    for token in text.split(delimits).filter(|token| !token.is_empty()) {
        if time.is_none() && token.contains(':') {
            time = parse_time(token);
        } else if let (None, Some(found)) = (month, parse_month(token)) {
            month = Some(found);
        } else if let Some(number) = leading_number(token) {
            match (day, year) {
                (None, _) if number <= 31 && token_digits(token) <= 2 => day = Some(number),
                (_, None) => year = Some(number),
                _ => {}
            }
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let (hour, minute, second) = time?;
    let (day, month) = (day?, month?);
    if !(1601..=9999).contains(&year) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn parse_time(token: &str) -> Option<(i64, i64, i64)> {
    let mut parts = token.split(':');
    let mut next = || leading_number(parts.next()?);
    Some((next()?, next()?, next()?))
}

fn parse_month(token: &str) -> Option<i64> {
    let months = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let start = token.get(..3)?.to_ascii_lowercase();
    let index = months.iter().position(|month| *month == start)?;
    i64::try_from(index + 1).ok()
}

fn token_digits(token: &str) -> usize {
    token.bytes().take_while(u8::is_ascii_digit).count()
}

fn leading_number(token: &str) -> Option<i64> {
    let digits = token_digits(token);
    (1..=4)
        .contains(&digits)
        .then(|| token[..digits].parse().ok())?
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000_000;

    /// `[s:]host/path`.
    fn place(text: &str) -> Place<'_> {
        let (secure, rest) = match text.strip_prefix("s:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let slash = rest.find('/').unwrap();
        Place {
            host: &rest[..slash],
            path: &rest[slash..],
            secure,
            now: NOW,
        }
    }

    fn sent(set: &[(&str, &str)], to: &str) -> String {
        let mut jar = Jar::default();
        for (header, from) in set {
            jar.handle_set_cookie(header, place(from));
        }
        jar.header(place(to)).unwrap_or_default()
    }

    #[test]
    fn who_gets_a_cookie_that_was_set() {
        for (header, from, to, goes) in [
            ("a=b", "h.org/x/y", "h.org/x/z", true),
            ("a=b", "h.org/x/y", "h.org/x", true),
            ("a=b", "h.org/x/y", "h.org/xx", false),
            ("a=b", "h.org/x/y", "h.org/", false),
            ("a=b", "h.org/x", "www.h.org/x", false),
            ("a=b; Domain=h.org", "www.h.org/x", "h.org/", true),
            ("a=b; domain=.H.org", "www.h.org/x", "ftp.h.org/", true),
            ("a=b; Domain=h.org", "www.h.org/x", "evilh.org/", false),
            ("a=b; Domain=other.org", "www.h.org/x", "other.org/", false),
            ("a=b; Domain=org", "h.org/x", "h.org/", false),
            ("a=b; Domain=localhost", "localhost/x", "localhost/", true),
            ("a=b; Domain=0.0.1", "127.0.0.1/", "127.0.0.1/", false),
            ("a=b; Path=/d", "h.org/x", "h.org/d/e", true),
            ("a=b; Path=/d/", "h.org/x", "h.org/d", false),
            ("a=b; Secure", "s:h.org/", "s:h.org/", true),
            ("a=b; Secure", "s:h.org/", "h.org/", false),
            ("a=b; Secure", "h.org/", "s:h.org/", false),
            ("a=b; Max-Age=5", "h.org/", "h.org/", true),
            ("a=b; Max-Age=0", "h.org/", "h.org/", false),
            (
                "a=b; Expires=Wed, 09 Jun 2100 10:18:14 GMT",
                "h.org/",
                "h.org/",
                true,
            ),
            (
                "a=b; Expires=Wed, 09 Jun 1999 10:18:14 GMT",
                "h.org/",
                "h.org/",
                false,
            ),
            ("a=b; Expires=nonsense", "h.org/", "h.org/", true),
            ("nothing", "h.org/", "h.org/", false),
            ("=b", "h.org/", "h.org/", false),
            ("a=b", "[::1]/", "[::1]/", true),
        ] {
            let header_sent = sent(&[(header, from)], to);
            assert_eq!(header_sent, if goes { "a=b" } else { "" }, "{header} {to}");
        }
    }

    #[test]
    fn longer_paths_go_first_and_the_newest_value_counts() {
        let set = [
            ("a=1; Path=/", "h/"),
            ("b=2; Path=/x", "h/"),
            ("a=3; Path=/", "h/"),
        ];
        assert_eq!(sent(&set, "h/x"), "b=2; a=3");
        let gone = [("a=1", "h/"), ("a=; Max-Age=0", "h/")];
        assert_eq!(sent(&gone, "h/"), "");
        let many: Vec<String> = (0..60).map(|number| format!("n{number}=v")).collect();
        let many: Vec<_> = many.iter().map(|header| (header.as_str(), "h/")).collect();
        let sent = sent(&many, "h/");
        assert_eq!(sent.split("; ").count(), COUNT_PER_DOMAIN_MAX);
        assert!(sent.starts_with("n10=v"));
    }

    #[test]
    fn dates_as_servers_write_them() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06-Nov-1994 08:49:37 UTC",
            "6 november 1994 8:49:37",
        ] {
            assert_eq!(parse_date(text), Some(784_111_777), "{text}");
        }
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse_date("1 Mar 2000 00:00:00"), Some(951_868_800));
        for text in [
            "",
            "tomorrow",
            "32 Foo 2000 00:00:00",
            "1 Jan 2000",
            "1 Jan 2000 25:00:00",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn netscape_text_there_and_back() {
        let text = ".example.org\tTRUE\t/\tFALSE\t2000000000\ta\tb\nh\tFALSE\t/x\tTRUE\t0\tn\tv\n";
        let noise = "# comment\n\nshort\tline\n#HttpOnly_q.org\tFALSE\t/\tFALSE\t2000000000.5\tho\t\r\nold\tFALSE\t/\tFALSE\t5\ta\tb\n";
        let mut jar = Jar::default();
        for cookie in parse_netscape(&format!("{text}{noise}")) {
            jar.put(cookie, NOW);
        }
        let http_only = "q.org\tFALSE\t/\tFALSE\t2000000000\tho\t\n";
        assert_eq!(jar.to_netscape(NOW), format!("{text}{http_only}"));
        assert!(!format!("{jar:?}").contains("\"v\""));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}", line in "[a.\t0-9TRUE/#]{0,60}") {
            let mut jar = Jar::default();
            jar.handle_set_cookie(&text, place("h/"));
            parse_netscape(&line);
            parse_date(&text);
        }
    }
}
