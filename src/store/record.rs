//! Pure: what the store keeps of a download.

use serde::{Deserialize, Serialize};

use super::migrate;
use super::payloads::Payload;
use crate::base::gid::Gid;

/// Version of the records written now.
pub const VERSION: u32 = 1;

/// One download. The GID is the key in the store and not part of the value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    #[serde(rename = "v")]
    pub version: u32,
    /// Of the store's key; whatever the value says.
    #[serde(skip, default = "no_gid")]
    pub gid: Gid,
    pub place: Place,
    /// Place within its list: smaller comes first.
    pub order: i64,
    pub uris: Vec<String>,
    /// Every value that somebody set, here or for the whole process, as text; a cumulative one
    /// has a pair for each line.
    pub options: Vec<(String, String)>,
    /// aria2's error code and text; failed ones only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<(u8, String)>,
    /// Bytes; 0: unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub completed: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uploaded: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub piece_len: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of torrents and magnet links, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info_hash: Option<String>,
    /// Of torrents, Metalinks and magnet links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The torrent or Metalink, which is not in the record but in a file of its own.
    #[serde(skip)]
    pub payload: Payload,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub followed_by: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub following: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belongs_to: Option<u64>,
    /// When this was written, in seconds since 1970: of a result, when it stopped.
    #[serde(default)]
    pub at: u64,
}

/// What a download that is more than mirrors was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    pub kind: OriginKind,
    /// What a session for aria2 says: a path or a URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The GID it has there, if not the download's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_gid: Option<u64>,
    /// Web seeds that are not in the torrent, as they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// Mirrors of the files by index from 0, if somebody has changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Vec<(usize, String)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OriginKind {
    Torrent,
    Metalink,
    Magnet,
}

impl Origin {
    pub fn new(kind: OriginKind) -> Self {
        Self {
            kind,
            line: None,
            line_gid: None,
            extra: Vec::new(),
            seeds: None,
        }
    }
}

impl OriginKind {
    pub(super) const EXTENSIONS: [&'static str; 2] = ["torrent", "meta4"];

    /// Of its payload; a link has none.
    pub(super) fn extension(self) -> Option<&'static str> {
        match self {
            Self::Torrent => Some("torrent"),
            Self::Metalink => Some("meta4"),
            Self::Magnet => None,
        }
    }

    pub(super) fn of_extension(extension: &str) -> Option<Self> {
        let kinds = [Self::Torrent, Self::Metalink];
        kinds
            .into_iter()
            .find(|kind| kind.extension() == Some(extension))
    }
}

/// The list a download stands in, and why.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Complete,
    Removed,
    Error,
    Active,
    Waiting,
    Paused,
}

impl Place {
    /// It is a result.
    pub fn has_ended(self) -> bool {
        self.list() == 0
    }

    /// Results, active ones, the queue: the order of a session file.
    pub fn list(self) -> u8 {
        match self {
            Self::Complete | Self::Removed | Self::Error => 0,
            Self::Active => 1,
            Self::Waiting | Self::Paused => 2,
        }
    }
}

/// As they are on the disk: the payload does not count.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        let texts = [self, other].map(|record| serde_json::to_string(record).ok());
        self.gid == other.gid && texts[0] == texts[1]
    }
}

impl Record {
    pub fn new(gid: Gid, place: Place, order: i64, uris: Vec<String>) -> Self {
        Self {
            version: VERSION,
            gid,
            place,
            order,
            uris,
            options: Vec::new(),
            error: None,
            total: 0,
            completed: 0,
            uploaded: 0,
            piece_len: 0,
            path: None,
            info_hash: None,
            origin: None,
            payload: Payload::default(),
            followed_by: Vec::new(),
            following: None,
            belongs_to: None,
            at: 0,
        }
    }

    /// The value of an option, if it was set.
    pub fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sorts records as they stand in their lists.
    pub fn sort(records: &mut [Record]) {
        records.sort_by_key(|record| (record.place.list(), record.order));
    }

    /// The store's key.
    pub fn key(gid: Gid) -> [u8; 8] {
        gid.value().to_be_bytes()
    }

    /// The GID of a key; `None` if the key is none of ours.
    pub fn gid_of(key: &[u8]) -> Option<Gid> {
        Gid::new(u64::from_be_bytes(key.try_into().ok()?))
    }

    /// The store's value.
    ///
    /// # Errors
    /// Never in practice: the fields all have a JSON form.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a key and its value of this or an earlier version.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, String> {
        let gid = Self::gid_of(key).ok_or("the key is no GID")?;
        if let Ok(record) = serde_json::from_slice::<Record>(value)
            && record.version == VERSION
        {
            return Ok(Record { gid, ..record });
        }
        let mut record: Record = match serde_json::from_slice::<Version>(value) {
            Ok(Version { v: VERSION }) => serde_json::from_slice(value),
            Ok(Version { v }) => {
                let value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
                serde_json::from_value(migrate::upgrade(v, value)?)
            }
            Err(error) => Err(error),
        }
        .map_err(|error| error.to_string())?;
        record.gid = gid;
        Ok(record)
    }

    /// List and place in it, as [`Record::decode`] would give them, for less.
    pub fn position(key: &[u8], value: &[u8]) -> Option<(u8, i64)> {
        match serde_json::from_slice::<Position>(value) {
            Ok(Position {
                v: VERSION,
                place,
                order,
            }) => Some((place.list(), order)),
            _ => {
                let record = Self::decode(key, value).ok()?;
                Some((record.place.list(), record.order))
            }
        }
    }
}

#[derive(Deserialize)]
struct Position {
    v: u32,
    place: Place,
    order: i64,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Stands in the field until the key has been read.
fn no_gid() -> Gid {
    Gid::new(u64::MAX).unwrap_or_else(|| unreachable!("the number is not zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_to_disk() {
        let gid: Gid = "00ab000000000001".parse().unwrap();
        let mut record = Record::new(gid, Place::Error, -5, vec!["http://h/\u{e4}".into()]);
        record.options = vec![
            ("header".into(), "A: 1".into()),
            ("header".into(), "B: 2".into()),
        ];
        record.error = Some((3, "Resource not found".into()));
        record.total = 7;
        record.following = Some(9);
        let value = record.encode().unwrap();
        let key = Record::key(gid);
        assert_eq!(Record::decode(&key, &value).unwrap(), record);
        assert_eq!(Record::position(&key, &value), Some((0, -5)));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let gid: Gid = "00ab000000000001".parse().unwrap();
        let key = Record::key(gid);
        for value in ["", "{}", r#"{"v":1}"#, r#"{"v":99,"place":"paused"}"#] {
            assert!(Record::decode(&key, value.as_bytes()).is_err(), "{value}");
        }
        let good = Record::new(gid, Place::Paused, 0, vec![]).encode().unwrap();
        assert!(Record::decode(&[0; 8], &good).is_err());
        assert!(Record::decode(b"short", &good).is_err());
    }
}
