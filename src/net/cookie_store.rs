//! The cookies of the process and the files they come from and go to: Netscape text, and the
//! databases of Firefox and Chromium, of which a copy is read.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Row};
use url::Url;

use crate::base::rng;
use crate::format::cookies::{self, Cookie, Jar, Place};

const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// Seconds from 1601, where Chromium begins to count, to 1970.
const CHROMIUM_EPOCH: i64 = 11_644_473_600;
/// No second of this century is greater: newer Firefox versions count milliseconds.
const SECONDS_MAX: i64 = 100_000_000_000;

/// All cookies of the process.
#[derive(Default)]
pub struct CookieStore {
    jar: Mutex<Jar>,
}

impl CookieStore {
    /// Adds the cookies of a file; returns how many it holds.
    ///
    /// # Errors
    /// The file cannot be read, or is a database of another kind.
    pub fn load(&self, path: &Path) -> io::Result<usize> {
        let cookies = read_file(path)?;
        let (count, now) = (cookies.len(), now());
        let mut jar = self.jar.lock();
        for cookie in cookies {
            jar.put(cookie, now);
        }
        Ok(count)
    }

    /// Replaces the file by the cookies as Netscape text, for its owner only.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = self.jar.lock().to_netscape(now());
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600);
        io::Write::write_all(&mut file.open(&part)?, text.as_bytes())?;
        fs::rename(&part, path)
    }

    /// The header `Cookie` of a request for `url`.
    pub fn header(&self, url: &Url) -> Option<String> {
        self.jar.lock().header(place_of(url))
    }

    /// Takes in one `Set-Cookie` of an answer from `url`.
    pub fn handle_set_cookie(&self, header: &str, url: &Url) {
        self.jar.lock().handle_set_cookie(header, place_of(url));
    }
}

fn place_of(url: &Url) -> Place<'_> {
    Place {
        host: url.host_str().unwrap_or_default(),
        path: url.path(),
        secure: url.scheme() == "https",
        now: now(),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn read_file(path: &Path) -> io::Result<Vec<Cookie>> {
    let bytes = fs::read(path)?;
    if !bytes.starts_with(SQLITE_MAGIC) {
        return Ok(cookies::parse_netscape(&String::from_utf8_lossy(&bytes)));
    }
    drop(bytes);
    let copy = Copy::of(path)?;
    copy.cookies().map_err(io::Error::other)
}

/// A copy of a database in a private directory: the browser may be running, and what it has
/// written last is still in the write-ahead log.
struct Copy {
    dir: PathBuf,
}

impl Copy {
    fn of(path: &Path) -> io::Result<Self> {
        let name = format!(
            "arioso-cookies-{:016x}",
            u64::from_be_bytes(rng::random_bytes())
        );
        let dir = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let copy = Self { dir };
        fs::copy(path, copy.database())?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        match fs::copy(Path::new(&log), copy.dir.join("cookies.sqlite-wal")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(copy),
        }
    }

    fn database(&self) -> PathBuf {
        self.dir.join("cookies.sqlite")
    }

    fn cookies(&self) -> rusqlite::Result<Vec<Cookie>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(self.database(), flags)?;
        if database.table_exists(None, "moz_cookies")? {
            let sql = "SELECT host, path, isSecure, expiry, name, value FROM moz_cookies";
            return rows(&database, sql, firefox_expiry);
        }
        let sql = "SELECT host_key, path, is_secure, expires_utc, name, value FROM cookies \
                   WHERE value <> ''";
        rows(&database, sql, chromium_expiry)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, "{} cannot be removed", self.dir.display());
        }
    }
}

fn rows(
    database: &Connection,
    sql: &str,
    expires: fn(i64) -> Option<i64>,
) -> rusqlite::Result<Vec<Cookie>> {
    let mut statement = database.prepare(sql)?;
    let rows = statement.query_map([], |row| cookie(row, expires))?;
    rows.collect()
}

fn cookie(row: &Row<'_>, expires: fn(i64) -> Option<i64>) -> rusqlite::Result<Cookie> {
    let host: String = row.get(0)?;
    let bare = host.trim_start_matches('.').to_ascii_lowercase();
    Ok(Cookie {
        host_only: bare.len() == host.len(),
        domain: bare,
        path: row.get(1)?,
        secure: row.get(2)?,
        expires: expires(row.get(3)?),
        name: row.get(4)?,
        value: row.get(5)?,
    })
}

fn firefox_expiry(number: i64) -> Option<i64> {
    let seconds = match number {
        SECONDS_MAX.. => number / 1000,
        _ => number,
    };
    (seconds != 0).then_some(seconds)
}

fn chromium_expiry(microseconds: i64) -> Option<i64> {
    (microseconds != 0).then(|| microseconds / 1_000_000 - CHROMIUM_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(path: &Path, url: &str) -> String {
        let store = CookieStore::default();
        store.load(path).unwrap();
        store.header(&Url::parse(url).unwrap()).unwrap_or_default()
    }

    #[test]
    fn firefox_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cookies.sqlite");
        let browser = Connection::open(&path).unwrap();
        browser
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;
                 CREATE TABLE moz_cookies (host TEXT, path TEXT, isSecure INTEGER,
                     expiry INTEGER, name TEXT, value TEXT);
                 INSERT INTO moz_cookies VALUES ('.h.org', '/', 0, 4000000000, 'a', '1');
                 INSERT INTO moz_cookies VALUES ('h.org', '/', 0, 4000000000000, 'b', '2');
                 INSERT INTO moz_cookies VALUES ('h.org', '/', 0, 5, 'old', '3');",
            )
            .unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(sent(&path, "http://h.org/"), "a=1; b=2");
        assert_eq!(sent(&path, "http://www.h.org/"), "a=1");
        assert!(fs::read(&path).unwrap() == before);
    }

    #[test]
    fn chromium_and_other_databases() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Cookies");
        let browser = Connection::open(&path).unwrap();
        browser
            .execute_batch(
                "CREATE TABLE cookies (host_key TEXT, path TEXT, is_secure INTEGER,
                     expires_utc INTEGER, name TEXT, value TEXT);
                 INSERT INTO cookies VALUES ('.h.org', '/', 1, 15644473600000000, 'a', '1');
                 INSERT INTO cookies VALUES ('h.org', '/', 0, 0, 'b', '2');
                 INSERT INTO cookies VALUES ('h.org', '/', 0, 0, 'encrypted', '');",
            )
            .unwrap();
        assert_eq!(sent(&path, "https://h.org/"), "a=1; b=2");
        let other = dir.path().join("other");
        let database = Connection::open(&other).unwrap();
        database.execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(CookieStore::default().load(&other).is_err());
        assert!(CookieStore::default().load(Path::new("/no/such")).is_err());
    }

    #[test]
    fn text_is_loaded_and_saved_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.txt");
        let text = "h\tFALSE\t/\tFALSE\t4000000000\ta\tb\n";
        fs::write(&path, text).unwrap();
        let store = CookieStore::default();
        assert_eq!(store.load(&path).unwrap(), 1);
        let url = Url::parse("http://h/d/e").unwrap();
        store.handle_set_cookie("n=v; Max-Age=1000", &url);
        assert_eq!(store.header(&url).as_deref(), Some("n=v; a=b"));
        let saved = dir.path().join("saved");
        store.save(&saved).unwrap();
        let written = fs::read_to_string(&saved).unwrap();
        assert!(written.starts_with(text) && written.contains("h\tFALSE\t/d\tFALSE\t"));
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(&saved).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
