//! What this process and earlier ones have learnt of servers, for the selectors `feedback` and
//! `adaptive`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::uri_pool::{HostSpeeds, host_of};
use crate::format::server_stat::{self, ServerStat};

/// Speeds of hosts by protocol.
#[derive(Default)]
pub struct ServerStats {
    /// By protocol and host.
    rows: Mutex<BTreeMap<(String, String), ServerStat>>,
}

impl ServerStats {
    /// A connection to this URI ended after moving data at `speed` bytes a second.
    pub fn record(&self, uri: &str, speed: u64, one_of_many: bool) {
        self.change(uri, |row| row.record(now(), speed, one_of_many));
    }

    /// A connection to this URI failed.
    pub fn record_failure(&self, uri: &str) {
        self.change(uri, |row| row.record_failure(now()));
    }

    /// Adds the rows of a file that are not older than `age_max`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&self, path: &Path, age_max: Duration) -> io::Result<()> {
        let text = fs::read(path)?;
        let age_max = i64::try_from(age_max.as_secs()).unwrap_or(i64::MAX);
        let oldest = now().saturating_sub(age_max);
        let mut rows = self.rows.lock();
        for row in server_stat::parse(&String::from_utf8_lossy(&text)) {
            if row.last_updated >= oldest {
                rows.insert((row.protocol.clone(), row.host.clone()), row);
            }
        }
        Ok(())
    }

    /// Writes all rows to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let rows: Vec<ServerStat> = self.rows.lock().values().cloned().collect();
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        fs::write(&part, server_stat::to_text(&rows))?;
        fs::rename(&part, path)
    }

    fn change(&self, uri: &str, change: impl FnOnce(&mut ServerStat)) {
        let (protocol, host) = key_of(uri);
        let mut rows = self.rows.lock();
        let row = rows
            .entry((protocol.clone(), host.clone()))
            .or_insert_with(|| ServerStat {
                host,
                protocol,
                ..ServerStat::default()
            });
        change(row);
    }
}

impl HostSpeeds for ServerStats {
    /// 0 for a host that failed last time.
    fn speed(&self, uri: &str) -> Option<u64> {
        self.rows
            .lock()
            .get(&key_of(uri))
            .map(|stat| if stat.failed { 0 } else { stat.speed })
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn key_of(uri: &str) -> (String, String) {
    let protocol = uri
        .split_once("://")
        .map_or("", |(scheme, _)| scheme)
        .to_ascii_lowercase();
    (protocol, host_of(uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_what_is_not_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stat");
        let stats = ServerStats::default();
        stats.record("http://h:80/x", 5, false);
        stats.record_failure("ftp://H/");
        stats.save(&path).unwrap();
        let loaded = ServerStats::default();
        loaded.load(&path, Duration::from_secs(60)).unwrap();
        assert_eq!(loaded.speed("http://h/y"), Some(5));
        assert_eq!(loaded.speed("ftp://h/y"), Some(0));
        assert_eq!(loaded.speed("https://h/y"), None);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("last_updated=1", "last_updated=0")).unwrap();
        let old = ServerStats::default();
        old.load(&path, Duration::from_secs(60)).unwrap();
        assert_eq!(old.speed("http://h/y"), None);
        assert!(old.load(Path::new("/no/such"), Duration::ZERO).is_err());
    }
}
