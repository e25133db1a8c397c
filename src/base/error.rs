//! Pure: aria2's exit and error codes, and one error value that says which code, what text and
//! what to do next.

use std::fmt;
use std::time::Duration;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)*) => {
        /// aria2's error codes (manual, section EXIT STATUS): `errorCode` in RPC, exit status of
        /// the process.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name = $code,)*
        }

        impl ErrorCode {
            /// Every code, in numeric order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// What it stands for, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => concat!($($doc),+).trim_ascii(),)*
                }
            }
        }
    };
}

error_codes! {
    /// All downloads finished.
    Success = 0,
    /// Something no other code describes.
    Unknown = 1,
    /// A time limit passed.
    Timeout = 2,
    /// The server has no such resource.
    ResourceNotFound = 3,
    /// `max-file-not-found` was reached.
    MaxFileNotFound = 4,
    /// Slower than `lowest-speed-limit`.
    TooSlow = 5,
    /// The network failed.
    Network = 6,
    /// Stopped with downloads unfinished.
    Unfinished = 7,
    /// The server cannot resume and a resume was required.
    CannotResume = 8,
    /// No space is left on the device.
    DiskFull = 9,
    /// The piece length differs from the control file's.
    PieceLengthChanged = 10,
    /// The same file is being downloaded.
    DuplicateDownload = 11,
    /// The same info hash is being downloaded.
    DuplicateInfoHash = 12,
    /// The file exists already.
    FileExists = 13,
    /// A file could not be renamed.
    RenameFailed = 14,
    /// An existing file could not be opened.
    OpenFailed = 15,
    /// A file could not be created or truncated.
    CreateFailed = 16,
    /// Reading or writing a file failed.
    FileIo = 17,
    /// A directory could not be created.
    DirCreateFailed = 18,
    /// A host name could not be resolved.
    NameResolution = 19,
    /// A Metalink document could not be parsed.
    MetalinkParse = 20,
    /// An FTP command failed.
    FtpCommand = 21,
    /// An HTTP response was bad or unexpected.
    HttpProtocol = 22,
    /// Too many redirects.
    TooManyRedirects = 23,
    /// HTTP authorisation failed.
    HttpAuthFailed = 24,
    /// A bencoded file could not be parsed.
    BencodeParse = 25,
    /// A torrent was corrupt or lacked information.
    TorrentCorrupt = 26,
    /// A magnet URI was bad.
    MagnetUri = 27,
    /// An option or its value was bad.
    Option = 28,
    /// The server is overloaded or in maintenance.
    HttpServiceUnavailable = 29,
    /// A JSON-RPC request could not be parsed.
    JsonParse = 30,
    /// Removed by the user; aria2 reports it on removed downloads.
    Removed = 31,
    /// A checksum did not match.
    Checksum = 32,
}

impl ErrorCode {
    /// The number shown in RPC and used as exit status.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The code with this number, if there is one.
    pub fn from_code(code: u8) -> Option<ErrorCode> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Linux: the system, or this process, has too many open files (errno(3)).
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const FD_WAIT: Duration = Duration::from_secs(5);

/// What may follow a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// The whole download is lost whichever mirror is asked.
    Never,
    /// This mirror is spent, another may do.
    OtherMirror,
    /// The same mirror may be asked again once this much time has passed.
    After(Duration),
}

/// A failure of the outside world: which code, what text, what next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub code: ErrorCode,
    pub retry: Retry,
    pub message: String,
}

impl Failure {
    pub fn new(code: ErrorCode, retry: Retry, message: impl Into<String>) -> Self {
        Self {
            code,
            retry,
            message: message.into(),
        }
    }

    /// A failure that no retry mends.
    pub fn fatal(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(code, Retry::Never, message)
    }

    /// The failure of a file operation: disk full is code 9, everything else `code`. One for
    /// want of file descriptors passes.
    pub fn from_io(error: &std::io::Error, code: ErrorCode, what: impl fmt::Display) -> Self {
        let full = matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        let code = if full { ErrorCode::DiskFull } else { code };
        let retry = match error.raw_os_error() {
            Some(ENFILE | EMFILE) => Retry::After(FD_WAIT),
            _ => Retry::Never,
        };
        Self::new(code, retry, format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dense_and_stand_at_their_number() {
        for (number, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(usize::from(code.code()), number);
            assert_eq!(ErrorCode::from_code(code.code()), Some(*code));
        }
        assert_eq!(ErrorCode::from_code(33), None);
    }
}
