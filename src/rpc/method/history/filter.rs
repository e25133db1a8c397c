//! Pure: which results a caller asks for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::super::value::{Members, Value};
use crate::base::gid::Gid;
use crate::engine::{Brief, Download};
use crate::store::{Place, Record};

/// What a filter asks of a result.
pub struct Facts {
    gid: Gid,
    status: &'static str,
    stopped: SystemTime,
    /// Bytes.
    len: u64,
    path: String,
    info_hash: Option<String>,
}

impl Facts {
    pub fn of(result: &Download) -> Self {
        let info_hash = result.brief().and_then(Brief::info_hash);
        Self {
            gid: result.gid(),
            status: result.status(),
            stopped: result.stopped_at().unwrap_or(UNIX_EPOCH),
            len: result.total_len(),
            path: result.path(),
            info_hash: info_hash.map(|hash| hash.to_string()),
        }
    }

    pub fn of_record(record: &Record) -> Self {
        Self {
            gid: record.gid,
            status: match record.place {
                Place::Complete => "complete",
                Place::Removed => "removed",
                _ => "error",
            },
            stopped: time_of(record.at.saturating_mul(1000)),
            len: record.total,
            path: record.path.clone().unwrap_or_default(),
            info_hash: record.info_hash.clone(),
        }
    }
}

/// What a result has to be like. Members nobody knows are ignored.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Filter {
    /// Empty: any.
    statuses: Vec<String>,
    /// Not stopped before or after these.
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    info_hash: Option<String>,
    /// SQL's LIKE.
    path: Option<String>,
    gid_prefix: Option<String>,
    /// Bytes.
    len_min: Option<u64>,
    len_max: Option<u64>,
}

impl Filter {
    pub fn read(mut members: Members) -> Self {
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let info_hash = text("infoHash").map(|hash| hash.to_ascii_lowercase());
        let path = text("pathLike");
        let gid_prefix = text("gidPrefix").map(|prefix| prefix.to_ascii_lowercase());
        let mut number = |name: &str| match members.remove(name)? {
            Value::Text(digits) => digits.parse().ok(),
            value => u64::try_from(value.as_int()?).ok(),
        };
        let len_min = number("minSize");
        let len_max = number("maxSize");
        let since = number("since").map(time_of);
        let until = number("until").map(time_of);
        let statuses = match members.remove("status") {
            Some(Value::Text(status)) => vec![status],
            Some(Value::List(all)) => all
                .iter()
                .filter_map(|status| Some(status.as_text()?.to_owned()))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            statuses,
            since,
            until,
            info_hash,
            path,
            gid_prefix,
            len_min,
            len_max,
        }
    }

    pub fn admits_all(&self) -> bool {
        *self == Self::default()
    }

    pub fn admits(&self, result: &Facts) -> bool {
        let len = result.len;
        (self.statuses.is_empty() || self.statuses.iter().any(|one| one == result.status))
            && self.since.is_none_or(|since| result.stopped >= since)
            && self.until.is_none_or(|until| result.stopped <= until)
            && (self.info_hash.is_none() || self.info_hash == result.info_hash)
            && self.len_min.is_none_or(|least| len >= least)
            && self.len_max.is_none_or(|most| len <= most)
            && self
                .gid_prefix
                .as_ref()
                .is_none_or(|prefix| result.gid.to_string().starts_with(prefix))
            && self
                .path
                .as_ref()
                .is_none_or(|pattern| is_like(pattern, &result.path))
    }
}

/// Milliseconds since 1970.
fn time_of(ms: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .unwrap_or(UNIX_EPOCH)
}

/// SQL's LIKE: `%` stands for any text, `_` for one character; ASCII letters have no case.
fn is_like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_ascii_lowercase().chars().collect();
    let text: Vec<char> = text.to_ascii_lowercase().chars().collect();
    let (mut at, mut matched) = (0, 0);
    // Where to go on from when the last `%` has to stand for one character more.
    let mut retry: Option<(usize, usize)> = None;
    while matched < text.len() {
        match pattern.get(at) {
            Some('%') => {
                at += 1;
                retry = Some((at, matched));
            }
            Some(&one) if one == '_' || one == text[matched] => {
                at += 1;
                matched += 1;
            }
            _ => match &mut retry {
                Some((after, from)) => {
                    *from += 1;
                    (at, matched) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like() {
        for (pattern, text, matches) in [
            ("%video%", "/dl/My Video.mp4", true),
            ("/dl/%.mp4", "/dl/a.mp4", true),
            ("/dl/%.mp4", "/dl/a.mp4.aria2", false),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("%", "", true),
            ("", "", true),
            ("", "a", false),
            ("%a%b%", "xxaxxbxx", true),
            ("%a%b", "xxaxxbxx", false),
            ("%ä_", "ÖäÜ", true),
        ] {
            assert_eq!(is_like(pattern, text), matches, "{pattern} {text}");
        }
        let hostile = format!("{}b", "%a".repeat(40));
        assert!(!is_like(&hostile, &"a".repeat(2000)));
    }
}
