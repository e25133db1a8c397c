//! Pure: rows of files, allocation, integrity, progress and session files.

use crate::option::spec::{ADD, GLOBAL, HOME, Kind, LIVE, OURS, QUEUED, options};
use crate::option::value::{Choice, FileAllocation, Text};

const MAX: i64 = i64::MAX;

const ALL_DIGESTS: &[&str] = &[
    "sha-1", "sha-224", "sha-256", "sha-384", "sha-512", "md5", "adler32",
];

options! { 6;
    /// Start again from nothing when a file of that name exists but has no control file beside
    /// it. Otherwise the download gets another name or fails, see auto-file-renaming.
    ALLOW_OVERWRITE: bool = "allow-overwrite" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, File],
    }

    /// Go on with a half-done download whose control file was written with another piece length.
    /// Otherwise that is an error.
    ALLOW_PIECE_LENGTH_CHANGE: bool = "allow-piece-length-change" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced],
    }

    /// Fail when no server can continue a half-done file. With 'false' the file is fetched from
    /// its beginning after max-resume-failure-tries refusals.
    ALWAYS_RESUME: bool = "always-resume" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, Http, Ftp],
    }

    /// Write to name.1.ext, name.2.ext and so on when the file exists already and may not be
    /// continued or overwritten. With 'false' such a download ends with error 13.
    AUTO_FILE_RENAMING: bool = "auto-file-renaming" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, File],
    }

    /// Longest age, in seconds, of the control file beside a running download. With 0 it is
    /// written when the download pauses or stops only.
    AUTO_SAVE_INTERVAL: i64 = "auto-save-interval" {
        arg: "SEC",
        kind: Kind::Int(0, 600),
        default: "60",
        scope: 0,
        tags: [Advanced],
    }

    /// Verify what is on the disk by piece hashes or the whole-file hash before going on, and
    /// fetch again what does not match. Needs hashes from a torrent, a Metalink or checksum.
    CHECK_INTEGRITY: bool = "check-integrity" {
        short: 'V',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, Metalink, Bittorrent, File, Checksum],
    }

    /// Digest the finished file must have, as type=hex digits, for example sha-256=ab12... for a
    /// file from HTTP or FTP. A mismatch ends the download with error 32.
    CHECKSUM: Text = "checksum" {
        arg: "TYPE=DIGEST",
        kind: Kind::Digest(ALL_DIGESTS),
        scope: ADD | QUEUED,
        tags: [Http, Ftp, Checksum],
    }

    /// Move finished files into this directory. They stay where they are when it is not set.
    COMPLETE_DIR: Text = "complete-dir" {
        arg: "DIR",
        kind: Kind::Path,
        scope: OURS | ADD | QUEUED | GLOBAL | HOME,
        tags: [Advanced, File],
    }

    /// Take up a file that another program left half-done: what is there is kept and only the
    /// rest is asked for. Files with a control file are always continued.
    CONTINUE: bool = "continue" {
        short: 'c',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, Http, Ftp],
    }

    /// Directory for the downloaded files. The default is where the program was started.
    DIR: Text = "dir" {
        short: 'd',
        arg: "DIR",
        kind: Kind::Path,
        scope: ADD | QUEUED | GLOBAL | HOME,
        tags: [Basic, File],
    }

    /// Memory, for the whole process, in which blocks wait to be written in bigger runs. 0 writes
    /// everything as it comes.
    DISK_CACHE: i64 = "disk-cache" {
        arg: "SIZE",
        kind: Kind::Size(0, MAX),
        default: "16M",
        scope: 0,
        tags: [Advanced],
    }

    /// Accepted for the sake of existing set-ups; files are never mapped into memory, because
    /// plain writes are faster.
    ENABLE_MMAP: bool = "enable-mmap" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, Experimental],
    }

    /// How space is reserved before the first byte: 'none' not at all, 'trunc' sets the size
    /// only, 'falloc' asks the file system, 'prealloc' asks it too and fills with zeros where it
    /// cannot.
    FILE_ALLOCATION: FileAllocation = "file-allocation" {
        arg: "METHOD",
        kind: Kind::Choice(FileAllocation::WORDS),
        default: "prealloc",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Basic, File],
    }

    /// Keep the download in the session file, and its control file on the disk, even after it
    /// completed or was removed.
    FORCE_SAVE: bool = "force-save" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | LIVE | GLOBAL,
        tags: [Advanced],
    }

    /// With check-integrity, verify and end there: complete when everything matches, an error
    /// otherwise. Nothing is fetched.
    HASH_CHECK_ONLY: bool = "hash-check-only" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, Metalink, Bittorrent, File, Checksum],
    }

    /// Accepted for the sake of existing set-ups; has no effect, as enable-mmap has none.
    MAX_MMAP_LIMIT: i64 = "max-mmap-limit" {
        arg: "SIZE",
        kind: Kind::Size(0, MAX),
        default: "9223372036854775807",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced],
    }

    /// With always-resume=false, how many mirrors may refuse to continue before the file is
    /// fetched from its beginning. 0 asks every mirror.
    MAX_RESUME_FAILURE_TRIES: i64 = "max-resume-failure-tries" {
        arg: "N",
        kind: Kind::Int(0, MAX),
        default: "0",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, Http, Ftp],
    }

    /// Files smaller than this are not allocated beforehand.
    NO_FILE_ALLOCATION_LIMIT: i64 = "no-file-allocation-limit" {
        arg: "SIZE",
        kind: Kind::Size(0, MAX),
        default: "5M",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced, File],
    }

    /// Name of the file, below the directory of dir (on the command line, one that begins with /
    /// stays where it says). Has no effect on torrents. With
    /// force-sequential or input-file the one of the command line is ignored; each entry of the
    /// input file may have its own.
    OUT: Text = "out" {
        short: 'o',
        arg: "FILE",
        kind: Kind::Path,
        scope: ADD | QUEUED | HOME,
        tags: [Basic, Http, Ftp, File],
    }

    /// Size of the pieces that progress of an HTTP or FTP download is counted in; connections
    /// divide a file on multiples of it. Piece hashes of a Metalink bring their own length.
    PIECE_LENGTH: i64 = "piece-length" {
        arg: "LENGTH",
        kind: Kind::Size(1024, 1_073_741_824),
        default: "1M",
        scope: ADD | GLOBAL,
        tags: [Advanced, Http, Ftp],
    }

    /// Verify each piece of a Metalink as soon as it is complete where piece hashes are known, and
    /// fetch a bad one again. Without, only the whole file is verified, where it has a hash.
    /// Torrents are always verified.
    REALTIME_CHUNK_CHECKSUM: bool = "realtime-chunk-checksum" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Metalink, Checksum],
    }

    /// Give the finished file the modification time that the server reports.
    REMOTE_TIME: bool = "remote-time" {
        short: 'R',
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Http, Ftp],
    }

    /// Delete a control file that is found beside the file before starting. Together with
    /// allow-overwrite=true the download always starts from nothing.
    REMOVE_CONTROL_FILE: bool = "remove-control-file" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: ADD | QUEUED | GLOBAL,
        tags: [Advanced],
    }

    /// Wait when the disk is full and go on by itself once there is space again, instead of
    /// ending with error 9. The data fetched so far is kept either way.
    RETRY_ON_DISK_FULL: bool = "retry-on-disk-full" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "false",
        scope: OURS | ADD | QUEUED | LIVE | GLOBAL,
        tags: [Advanced, File],
    }

    /// Keep downloads that ended because the file was missing on the server in the session file.
    SAVE_NOT_FOUND: bool = "save-not-found" {
        arg: "true|false",
        kind: Kind::Flag,
        default: "true",
        scope: ADD | QUEUED | LIVE | GLOBAL,
        tags: [Advanced],
    }

    /// File into which unfinished and failed downloads are written at the end and whenever a
    /// client asks for it, in a form that input-file reads. It is replaced in one step; a name
    /// ending in .gz is compressed.
    SAVE_SESSION: Text = "save-session" {
        arg: "FILE",
        kind: Kind::Path,
        scope: GLOBAL | HOME,
        tags: [Advanced],
    }

    /// Also write the session file every so many seconds. 0 writes it at the end only.
    SAVE_SESSION_INTERVAL: i64 = "save-session-interval" {
        arg: "SEC",
        kind: Kind::Int(0, MAX),
        default: "0",
        scope: 0,
        tags: [Advanced],
    }
}
