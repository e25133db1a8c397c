//! Pure: rows of HTTP, its proxies, cookies, authentication and TLS.

use crate::option::spec::{ADD, ERASE, GLOBAL, HOME, Kind, LIST, OURS, QUEUED, options};
use crate::option::value::{Choice, List, ProxyMethod, Text};

options! { 1;
    /// Proxy for every protocol that has no proxy option of its own. Takes http://, socks5:// and
    /// socks5h:// addresses; an empty value means none.
    ALL_PROXY: Text = "all-proxy" {
        arg: "PROXY",
        kind: Kind::Proxy,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Https, Ftp],
    }

    /// Password for all-proxy.
    ALL_PROXY_PASSWD: Text = "all-proxy-passwd" {
        arg: "PASSWD",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL | ERASE,
        tags: [Http, Https, Ftp],
    }

    /// User name for all-proxy. It replaces a user name written inside the proxy's address.
    ALL_PROXY_USER: Text = "all-proxy-user" {
        arg: "USER",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Https, Ftp],
    }

    /// PEM file with the authorities that vouch for servers. The default is the system's own.
    CA_CERTIFICATE: Text = "ca-certificate" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Http, Https],
    }

    /// Client certificate, as PEM together with private-key, or as a PKCS12 file without
    /// password.
    CERTIFICATE: Text = "certificate" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Http, Https],
    }

    /// Refuse a server whose certificate cannot be verified.
    CHECK_CERTIFICATE: bool = "check-certificate" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: 0,
        tags: [Http, Https],
    }

    /// Fetch a file over HTTP only if it is newer than the local one. Needs allow-overwrite=true.
    CONDITIONAL_GET: bool = "conditional-get" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, Http],
    }

    /// Read a file name in a Content-Disposition header as UTF-8 instead of ISO-8859-1.
    CONTENT_DISPOSITION_DEFAULT_UTF8: bool = "content-disposition-default-utf8" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, Http],
    }

    /// Keep HTTP connections open and use them again.
    ENABLE_HTTP_KEEP_ALIVE: bool = "enable-http-keep-alive" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Accepted for the sake of existing set-ups and cannot apply: requests are never sent before
    /// the last answer is complete; parallel connections do that work.
    ENABLE_HTTP_PIPELINING: bool = "enable-http-pipelining" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// A line to add to each HTTP request, such as 'X-Token: abc'; may be given several times. It
    /// replaces a built-in header of the same name.
    HEADER: List = "header" {
        arg: "HEADER",
        kind: Kind::Lines,
        scope: ADD | QUEUED | GLOBAL | LIST,
        tags: [Http],
    }

    /// Let servers send compressed bodies and decompress them. Such a body is fetched in one
    /// piece.
    HTTP_ACCEPT_GZIP: bool = "http-accept-gzip" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Send user name and password only after the server asked for them. Those inside an address
    /// are always sent.
    HTTP_AUTH_CHALLENGE: bool = "http-auth-challenge" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Use the mirrors that Link headers of a response name (RFC 6249), where the response or the
    /// checksum option tells the file's digest, which is checked then. Metalinks, torrents and
    /// signatures named there are not fetched. (arioso)
    HTTP_LINK_MIRRORS: bool = "http-link-mirrors" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Http, Metalink],
    }

    /// Ask caches on the way for a fresh copy.
    HTTP_NO_CACHE: bool = "http-no-cache" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Password for HTTP servers.
    HTTP_PASSWD: Text = "http-passwd" {
        arg: "PASSWD",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL | ERASE,
        tags: [Basic, Http],
    }

    /// Proxy for http:// downloads, ahead of all-proxy. An empty value means a direct connection
    /// even where all-proxy is set.
    HTTP_PROXY: Text = "http-proxy" {
        arg: "PROXY",
        kind: Kind::Proxy,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Password for http-proxy.
    HTTP_PROXY_PASSWD: Text = "http-proxy-passwd" {
        arg: "PASSWD",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL | ERASE,
        tags: [Http],
    }

    /// User name for http-proxy.
    HTTP_PROXY_USER: Text = "http-proxy-user" {
        arg: "USER",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// User name for HTTP servers.
    HTTP_USER: Text = "http-user" {
        arg: "USER",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, Http],
    }

    /// Ask servers for a digest of the file with a Want-Digest header. (arioso)
    HTTP_WANT_DIGEST: bool = "http-want-digest" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Proxy for https:// downloads, ahead of all-proxy. An empty value means a direct
    /// connection.
    HTTPS_PROXY: Text = "https-proxy" {
        arg: "PROXY",
        kind: Kind::Proxy,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Https],
    }

    /// Password for https-proxy.
    HTTPS_PROXY_PASSWD: Text = "https-proxy-passwd" {
        arg: "PASSWD",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL | ERASE,
        tags: [Http, Https],
    }

    /// User name for https-proxy.
    HTTPS_PROXY_USER: Text = "https-proxy-user" {
        arg: "USER",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Https],
    }

    /// File to read cookies from: Netscape text, or the database of Firefox or Chromium.
    LOAD_COOKIES: Text = "load-cookies" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Basic, Http, Cookie],
    }

    /// Hosts that are reached without a proxy: names, domains, addresses and CIDR blocks,
    /// separated by commas.
    NO_PROXY: List = "no-proxy" {
        arg: "DOMAINS",
        kind: Kind::Commas,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Https, Ftp],
    }

    /// Do not ask servers for a digest of the file, even where http-want-digest is given.
    NO_WANT_DIGEST_HEADER: bool = "no-want-digest-header" {
        arg: "",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// PEM file with the key of the client certificate, without password.
    PRIVATE_KEY: Text = "private-key" {
        arg: "FILE",
        kind: Kind::Path,
        scope: HOME,
        tags: [Http, Https],
    }

    /// How plain HTTP and FTP go through a proxy: 'get' hands it the whole address, 'tunnel'
    /// opens a CONNECT tunnel. HTTPS always uses a tunnel.
    PROXY_METHOD: ProxyMethod = "proxy-method" {
        arg: "METHOD",
        kind: Kind::Choice(ProxyMethod::WORDS),
        default: "get",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Referrer to send with HTTP requests; '*' sends the address itself.
    REFERER: Text = "referer" {
        arg: "REFERER",
        kind: Kind::Text,
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Try again, after retry-wait, when a server answers 400. (arioso)
    RETRY_ON_400: bool = "retry-on-400" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Try again, after retry-wait, when a server answers 403. (arioso)
    RETRY_ON_403: bool = "retry-on-403" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Try again, after retry-wait, when a server answers 406. (arioso)
    RETRY_ON_406: bool = "retry-on-406" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Try again, after retry-wait, on any other status that would end the download. (arioso)
    RETRY_ON_UNKNOWN: bool = "retry-on-unknown" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS | ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// File into which cookies are written at the end, as Netscape text.
    SAVE_COOKIES: Text = "save-cookies" {
        arg: "FILE",
        kind: Kind::Path,
        scope: GLOBAL | HOME,
        tags: [Http, Cookie],
    }

    /// Ask with HEAD before the first GET.
    USE_HEAD: bool = "use-head" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }

    /// Name the program gives itself in HTTP requests.
    USER_AGENT: Text = "user-agent" {
        short: 'U',
        arg: "USER_AGENT",
        kind: Kind::Text,
        default: concat!("arioso/", env!("CARGO_PKG_VERSION")),
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http],
    }
}
