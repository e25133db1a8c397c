//! Pure: the one way a proxy is written.

/// `http://[user:password@]host[:port]/` of any way to write it; SOCKS keeps its scheme. Empty
/// stays empty: no proxy.
pub(super) fn normalise(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return Some(String::new());
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let (shown, implied_port) = match scheme {
        "http" => ("http", None),
        "https" => ("http", Some(443)),
        "ftp" => ("http", Some(21)),
        "socks5" | "socks5h" => (scheme, None),
        _ => return None,
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let (user, host_port) = match authority.rsplit_once('@') {
        Some((user, host_port)) => (user, host_port),
        None => ("", authority),
    };
    let (host, port) = split_host_port(host_port)?;
    let mut out = format!("{shown}://");
    if !user.is_empty() {
        out += &escape_user(user);
        out.push('@');
    }
    out += host;
    if let Some(port) = port
        .or(implied_port)
        .filter(|port| (shown, *port) != ("http", 80))
    {
        out += &format!(":{port}");
    }
    if !path.starts_with('/') {
        out.push('/');
    }
    out += path;
    Some(out)
}

/// `user:password` with what would break a URI percent-encoded, however it was written.
fn escape_user(text: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
    const PASSWORD: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'/')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b']')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    const USER: &AsciiSet = &PASSWORD.add(b':');
    let escape = |part: &str, set| {
        let bytes: Vec<u8> = percent_decode_str(part).collect();
        percent_encode(&bytes, set).to_string()
    };
    match text.split_once(':') {
        Some((user, password)) => format!("{}:{}", escape(user, USER), escape(password, PASSWORD)),
        None => escape(text, USER),
    }
}

/// Host (IPv6 with its brackets) and port.
fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let host_end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(host_end);
    let port = match rest.strip_prefix(':') {
        Some("") => None,
        Some(port) => Some(port.parse().ok()?).filter(|port| *port > 0),
        None if rest.is_empty() => None,
        None => return None,
    };
    let good = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    good.then_some((host, port))
}
