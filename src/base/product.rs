//! Pure: what the program says it is, to users and to clients that look for aria2.

/// Our own name.
pub const NAME: &str = "arioso";

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The aria2 whose interfaces are served. Clients parse it (Sonarr wants at least 1.34.0), so it is
/// nothing but digits and dots.
pub const ARIA2_VERSION: &str = "1.37.0";

/// aria2's words for what a build can do, in its order; clients look for them (clients.md).
pub const FEATURES: &[&str] = &[
    "Async DNS",
    "BitTorrent",
    "Firefox3 Cookie",
    "GZip",
    "HTTPS",
    "Message Digest",
    "Metalink",
    "XML-RPC",
    #[cfg(feature = "sftp")]
    "SFTP",
];
