//! Pure: options that take one of a few words, as enums.

use super::typed::Typed;
use super::value::Value;

/// An option that takes one of a few words.
pub trait Choice: Copy + 'static {
    const WORDS: &'static [&'static str];
}

macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $name:ident { $($variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// The word users write.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl Choice for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl Typed for $name {
            type Out = $name;
            fn read(value: Option<&Value>) -> $name {
                const ALL: &[$name] = &[$($name::$variant),+];
                match value {
                    Some(Value::Choice(at)) => {
                        ALL.get(usize::from(*at)).copied().unwrap_or(ALL[0])
                    }
                    _ => ALL[0],
                }
            }
        }
    )+};
}

choices! {
    /// How file space is reserved.
    FileAllocation { None = "none", Prealloc = "prealloc", Trunc = "trunc", Falloc = "falloc" }
    /// Whether a fetched torrent or Metalink file is itself taken as a download.
    Follow { Yes = "true", InMemory = "mem", No = "false" }
    /// How HTTP requests go through a proxy.
    ProxyMethod { Get = "get", Tunnel = "tunnel" }
    /// Which mirror is asked first.
    UriSelector { InOrder = "inorder", Feedback = "feedback", Adaptive = "adaptive" }
    /// Which part of a file is fetched first.
    PieceSelector { Default = "default", InOrder = "inorder", Random = "random", Geom = "geom" }
    /// FTP representation type.
    FtpType { Binary = "binary", Ascii = "ascii" }
    /// Whether ftp:// connections are encrypted (AUTH TLS).
    FtpTls { Never = "never", Try = "try", Require = "require" }
    /// Least important message that is shown.
    LogLevel { Debug = "debug", Info = "info", Notice = "notice", Warn = "warn", Error = "error" }
    /// Which lines of the table of results are shown at the end.
    DownloadResult { Default = "default", Full = "full", Hide = "hide" }
    /// Oldest acceptable TLS.
    TlsVersion { Tls11 = "TLSv1.1", Tls12 = "TLSv1.2", Tls13 = "TLSv1.3" }
    /// Weakest acceptable encryption between peers.
    CryptoLevel { Plain = "plain", Arc4 = "arc4" }
    /// Protocol that is preferred among a Metalink's mirrors.
    MetalinkProtocol { Http = "http", Https = "https", Ftp = "ftp", None = "none" }
    /// The system call that waits for sockets.
    EventPoll { Epoll = "epoll", Poll = "poll", Select = "select" }
}
