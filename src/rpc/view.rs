//! Pure: a download in aria2's keys (manual, section RPC INTERFACE, `aria2.tellStatus`), written
//! in byte order. Numbers are strings of digits.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::{Brief, Download, DownloadState, FileView};
use crate::transfer::{Phase, ServerEntry, UriEntry};

use super::sink::{Sink, pair};

mod torrent;

pub use torrent::peers;

macro_rules! keys {
    ($($key:ident = $name:literal,)*) => {
        #[derive(Clone, Copy)]
        enum Key { $($key),* }

        const KEYS: &[(&str, Key)] = &[$(($name, Key::$key)),*];
    };
}

keys! {
    AllocatedLength = "allocatedLength",
    BelongsTo = "belongsTo",
    Bitfield = "bitfield",
    Bittorrent = "bittorrent",
    CompletedLength = "completedLength",
    Connections = "connections",
    Dir = "dir",
    DownloadSpeed = "downloadSpeed",
    ErrorCode = "errorCode",
    ErrorMessage = "errorMessage",
    Files = "files",
    FinishedAt = "finishedAt",
    FollowedBy = "followedBy",
    Following = "following",
    Gid = "gid",
    InfoHash = "infoHash",
    NumPieces = "numPieces",
    NumSeeders = "numSeeders",
    Phase = "phase",
    PieceLength = "pieceLength",
    Seeder = "seeder",
    Status = "status",
    SwarmLeechers = "swarmLeechers",
    SwarmSeeders = "swarmSeeders",
    TotalLength = "totalLength",
    UploadLength = "uploadLength",
    UploadSpeed = "uploadSpeed",
    VerifiedLength = "verifiedLength",
    VerifyIntegrityPending = "verifyIntegrityPending",
}

/// The keys a caller wants to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys(u32);

impl Keys {
    /// aria2's keys. Ours are there only for those who name them.
    pub const ALL: Keys = Keys(
        !(1 << Key::AllocatedLength as u32
            | 1 << Key::FinishedAt as u32
            | 1 << Key::Phase as u32
            | 1 << Key::SwarmLeechers as u32
            | 1 << Key::SwarmSeeders as u32),
    );

    /// Those of these names; names nobody knows are ignored, no names at all mean every key of aria2's.
    pub fn named(names: &[String]) -> Keys {
        if names.is_empty() {
            return Keys::ALL;
        }
        let bits = names.iter().filter_map(|name| {
            let at = KEYS
                .binary_search_by_key(&name.as_str(), |(known, _)| known)
                .ok()?;
            Some(1 << KEYS[at].1 as u32)
        });
        Keys(bits.fold(0, |all, bit| all | bit))
    }

    fn has(self, key: Key) -> bool {
        self.0 & (1 << key as u32) != 0
    }
}

/// Writes what `tellStatus` shows.
pub fn download(download: &Download, keys: Keys, now: Instant, out: &mut dyn Sink) {
    out.open_struct();
    for (name, key) in KEYS {
        if keys.has(*key) {
            member(download, name, *key, now, out);
        }
    }
    out.close_struct();
}

fn member(download: &Download, name: &str, key: Key, now: Instant, out: &mut dyn Sink) {
    let number = match key {
        Key::CompletedLength => download.completed_len(),
        Key::Connections => u64::from(download.connections()),
        Key::DownloadSpeed => download.down_speed(now),
        Key::NumPieces => download.num_pieces(),
        Key::NumSeeders => match download.brief().and_then(Brief::info_hash) {
            Some(_) => u64::from(download.seeders()),
            None => return,
        },
        Key::PieceLength => download.piece_len(),
        Key::TotalLength => download.total_len(),
        Key::UploadLength => download.uploaded_len(),
        Key::UploadSpeed => download.up_speed(now),
        Key::AllocatedLength => match download.allocated_len() {
            Some(len) => len,
            None => return,
        },
        Key::FinishedAt => match download.stopped_at().map(unix_ms) {
            Some(ms) => ms,
            None => return,
        },
        Key::SwarmLeechers => match download.swarm().leechers {
            Some(count) => u64::from(count),
            None => return,
        },
        Key::SwarmSeeders => match download.swarm().seeders {
            Some(count) => u64::from(count),
            None => return,
        },
        Key::VerifiedLength => match download.verified_len() {
            Some(len) => len,
            None => return,
        },
        Key::ErrorCode => match download.error() {
            Some((code, _)) => u64::from(code.code()),
            None => return,
        },
        _ => return text_member(download, name, key, out),
    };
    out.key(name);
    out.digits(number);
}

fn text_member(download: &Download, name: &str, key: Key, out: &mut dyn Sink) {
    match key {
        Key::Gid => pair(out, name, &download.gid().to_string()),
        Key::Status => pair(out, name, download.status()),
        Key::Dir => pair(out, name, &download.dir()),
        Key::Phase => {
            if let DownloadState::Active(phase) = download.state() {
                pair(out, name, phase_word(*phase));
            }
        }
        Key::Bitfield => {
            if let Some(hex) = download.bitfield_hex() {
                pair(out, name, &hex);
            }
        }
        Key::Bittorrent => {
            if let Some(brief) = download.brief() {
                torrent::about(brief, name, out);
            }
        }
        Key::InfoHash => {
            if let Some(hash) = download.brief().and_then(Brief::info_hash) {
                pair(out, name, &hash.to_string());
            }
        }
        Key::Seeder => {
            let torrent = download.brief().and_then(Brief::info_hash);
            if torrent.is_some() && !download.is_stopped() {
                pair(out, name, word(download.is_seeding()));
            }
        }
        Key::ErrorMessage => {
            if let Some((_, message)) = download.error() {
                pair(out, name, message);
            }
        }
        Key::Files => {
            out.key(name);
            files(&download.files(), out);
        }
        Key::FollowedBy => {
            let children = download.followed_by();
            if !children.is_empty() {
                out.key(name);
                out.open_list();
                children.iter().for_each(|gid| out.text(&gid.to_string()));
                out.close_list();
            }
        }
        Key::Following => relative(download.following(), name, out),
        Key::BelongsTo => relative(download.belongs_to(), name, out),
        Key::VerifyIntegrityPending if download.verify_pending() => pair(out, name, "true"),
        // The others are numbers, or not there.
        _ => {}
    }
}

fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

/// What an active download is doing.
fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Checking => "checking",
        Phase::Allocating => "allocating",
        Phase::Fetching => "fetching",
        Phase::Seeding => "seeding",
    }
}

/// Milliseconds since 1970.
fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn relative(gid: Option<crate::base::gid::Gid>, name: &str, out: &mut dyn Sink) {
    if let Some(gid) = gid {
        pair(out, name, &gid.to_string());
    }
}

/// Writes what `getFiles` shows.
pub fn files(files: &[FileView], out: &mut dyn Sink) {
    out.open_list();
    for file in files {
        out.open_struct();
        out.key("completedLength");
        out.digits(file.completed);
        out.key("index");
        out.digits(file.index as u64);
        out.key("length");
        out.digits(file.length);
        pair(out, "path", &file.path);
        pair(out, "selected", word(file.selected));
        out.key("uris");
        uris(&file.uris, out);
        out.close_struct();
    }
    out.close_list();
}

/// Writes what `getUris` shows.
pub fn uris(uris: &[UriEntry], out: &mut dyn Sink) {
    out.open_list();
    for entry in uris {
        out.open_struct();
        pair(out, "status", if entry.used { "used" } else { "waiting" });
        pair(out, "uri", &entry.uri);
        out.close_struct();
    }
    out.close_list();
}

/// Writes what `getServers` shows: the servers of each file, whose mirrors tell them apart.
pub fn servers(files: &[FileView], servers: &[ServerEntry], now: Instant, out: &mut dyn Sink) {
    out.open_list();
    for file in files {
        let has = |server: &&ServerEntry| {
            files.len() == 1 || file.uris.iter().any(|entry| entry.uri == server.uri)
        };
        out.open_struct();
        pair(out, "index", &file.index.to_string());
        out.key("servers");
        out.open_list();
        for server in servers.iter().filter(has) {
            out.open_struct();
            pair(out, "currentUri", &server.current_uri);
            out.key("downloadSpeed");
            out.digits(server.meter.speed(now));
            pair(out, "uri", &server.uri);
            out.close_struct();
        }
        out.close_list();
        out.close_struct();
    }
    out.close_list();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_byte_order() {
        assert!(KEYS.is_sorted_by_key(|(name, _)| *name));
        assert!(
            KEYS.iter()
                .enumerate()
                .all(|(at, (_, key))| *key as usize == at)
        );
    }

    #[test]
    fn no_names_are_all_names() {
        let names = |names: &[&str]| {
            Keys::named(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]), Keys::ALL);
        assert_eq!(names(&["nope"]), Keys(0));
        assert_eq!(names(&["gid", "nope", "gid"]), Keys(1 << Key::Gid as u32));
    }
}
