//! The methods of Motrix's engine on its history, which here are the results and behind them those
//! that only the store has: how many there are, which of them, start one again; and the session as
//! a file of its own.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::gid::{Gid, GidPrefix};
use crate::engine::{AddRequest, Brief, Download, HistoryPage, RequestError, Source};
use crate::option::keys;
use crate::option::spec::ADD;
use crate::store::{HistoryKey, Place, Record};

use super::super::dispatch::{Backend, Pace};
use super::super::error::RpcError;
use super::super::jail::real_path;
use super::super::params::Params;
use super::super::sink::Sink;
use super::super::value::{Members, Value};
use super::super::view::{self, Keys};
use super::option::{changes, check, check_files};
use super::status::keys as wanted_keys;
use super::{Change, Long, Method, ROWS_AT_ONCE, Reply, resolve, write_rows};

/// Results looked at before others get a turn.
const LOOK_AT_ONCE: usize = 128;

/// `aria2.getDownloadResultCount`: `{"count":"N"}`.
pub struct GetDownloadResultCount(Filter);

impl Method for GetDownloadResultCount {
    const NAME: &'static str = "aria2.getDownloadResultCount";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self(Filter::read(
            params.optional_members()?.unwrap_or_default(),
        )))
    }
}

impl Long for GetDownloadResultCount {
    async fn write(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        let mut results = Results::of(backend, self.0).await;
        let older = results.older(backend, 0, 0).await?.count;
        let count = results.shown.len() + older;
        out.open_struct();
        out.key("count");
        out.digits(count as u64);
        out.close_struct();
        Ok(())
    }
}

/// `aria2.searchDownloadResult`: rows as `tellStopped` has them, the latest first.
pub struct SearchDownloadResult {
    filter: Filter,
    offset: i64,
    len_max: i64,
    keys: Keys,
}

impl Method for SearchDownloadResult {
    const NAME: &'static str = "aria2.searchDownloadResult";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            filter: Filter::read(params.members()?),
            offset: params.int_from(0)?,
            len_max: params.int_from(0)?,
            keys: wanted_keys(params)?,
        })
    }
}

impl Long for SearchDownloadResult {
    async fn write(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let (offset, len_max) = (size(self.offset), size(self.len_max));
        let mut results = Results::of(backend, self.filter).await;
        let shown = results.shown.iter().copied();
        let shown: Vec<Gid> = shown.skip(offset).take(len_max).collect();
        let mut skip = offset.saturating_sub(results.shown.len());
        let mut left = len_max - shown.len();
        out.open_list();
        write_rows(backend, &shown, self.keys, out).await;
        while left > 0 {
            let page = results.older(backend, skip, left.min(ROWS_AT_ONCE)).await;
            // The engine has ended: what was written stands.
            let Ok(page) = page else {
                break;
            };
            for result in &page.results {
                view::download(result, self.keys, Instant::now(), out);
            }
            left -= page.results.len();
            skip = 0;
            if page.next.is_none() {
                break;
            }
        }
        out.close_list();
        Ok(())
    }
}

/// `aria2.requeueDownloadResult`: a new download of what a result was to bring; the result stays.
pub struct RequeueDownloadResult {
    gid: String,
    options: Members,
}

impl Method for RequeueDownloadResult {
    const NAME: &'static str = "aria2.requeueDownloadResult";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
            options: params.optional_members()?.unwrap_or_default(),
        })
    }
}

impl Change for RequeueDownloadResult {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let parts = |result: &Download| {
            let uris = result.uris().iter().map(|uri| uri.to_string());
            let source = result.brief().and_then(Brief::again);
            let source = source.unwrap_or_else(|| Source::Uris(uris.collect()));
            (source, result.options().clone())
        };
        let (source, own) = match resolve(&backend.engine, &self.gid) {
            Ok(gid) => backend.engine.read(|registry| {
                let result = registry.get(gid).filter(|download| download.is_stopped());
                result
                    .map(parts)
                    .ok_or_else(|| RpcError::refused(format!("No download result for GID#{gid}")))
            })?,
            Err(unknown @ RequestError::UnknownGid(_)) => {
                parts(&older_result(backend, &self.gid).await?.ok_or(unknown)?)
            }
            Err(refused) => return Err(refused.into()),
        };
        let given = changes(self.options, &[ADD], backend.allow_hooks);
        check(&given)?;
        check_files(backend, own.clone(), &given).await?;
        let is_given = |id| given.iter().any(|(other, _)| *other == id);
        let mut options: Vec<_> = own
            .own()
            .filter(|(id, _)| *id != keys::GID.id && !is_given(*id))
            .collect();
        options.extend(given);
        let request = AddRequest { source, options };
        let added = backend.engine.add(request, None).await?;
        // A torrent of it goes before the download itself.
        match added.last() {
            Some(gid) => Ok(Reply::Requeued(*gid)),
            None => Err(RequestError::NoUsableUri.into()),
        }
    }
}

/// `aria2.exportSession`: the session in aria2's format, into a file in the state directory.
pub struct ExportSession {
    path: String,
}

impl Method for ExportSession {
    const NAME: &'static str = "aria2.exportSession";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            path: params.text()?,
        })
    }
}

impl Change for ExportSession {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let state_dir = backend
            .engine
            .read(|registry| registry.global_options().get(keys::STATE_DIR));
        let state_dir = state_dir.filter(|dir| !dir.is_empty()).ok_or_else(|| {
            RpcError::refused("A session is exported to the state directory, and there is none.")
        })?;
        let path = PathBuf::from(self.path);
        let look = move || export_path(Path::new(&*state_dir), &path);
        let path = tokio::task::spawn_blocking(look)
            .await
            .unwrap_or_default()
            .ok_or_else(|| {
                RpcError::refused(
                    "A session is exported to a file NAME.session in the state directory.",
                )
            })?;
        backend.engine.export_session(path).await?;
        Ok(Reply::Ok)
    }
}

/// Where an export may go: a plain file or a new one in the state directory itself. None of the
/// store's own files ends so.
fn export_path(state_dir: &Path, wanted: &Path) -> Option<PathBuf> {
    let name = wanted.file_name()?.to_str()?;
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    plain
        .strip_suffix(".session")
        .filter(|stem| !stem.is_empty())?;
    if wanted.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let state_dir = real_path(state_dir).ok()?;
    let path = state_dir.join(wanted);
    if real_path(path.parent()?).ok()? != state_dir {
        return None;
    }
    let path = state_dir.join(name);
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => None,
        _ => Some(path),
    }
}

/// What a filter admits, the latest first: those in memory, and behind them the store's.
struct Results {
    filter: Arc<Filter>,
    /// In memory and admitted.
    shown: Vec<Gid>,
    /// In memory: one that is moved to the history meanwhile is not told twice.
    seen: Arc<HashSet<Gid>>,
    /// Where the next page of the history begins.
    before: Option<HistoryKey>,
}

impl Results {
    async fn of(backend: &Backend, filter: Filter) -> Self {
        let gids: Vec<Gid> = backend
            .engine
            .read(|registry| registry.stopped().rev().map(Download::gid).collect());
        let seen = Arc::new(gids.iter().copied().collect());
        let mut shown = Vec::new();
        let mut pace = Pace::new();
        for some in gids.chunks(LOOK_AT_ONCE) {
            if filter.admits_all() {
                shown = gids;
                break;
            }
            backend.engine.read(|registry| {
                let results = some.iter().filter_map(|gid| registry.get(*gid));
                let admitted = results.filter(|result| filter.admits(&Facts::of(result)));
                shown.extend(admitted.map(Download::gid));
            });
            pace.step().await;
        }
        Self {
            filter: Arc::new(filter),
            shown,
            seen,
            before: None,
        }
    }

    /// The next page of the history.
    async fn older(
        &mut self,
        backend: &Backend,
        skip: usize,
        take: usize,
    ) -> Result<HistoryPage, RequestError> {
        let (filter, seen) = (Arc::clone(&self.filter), Arc::clone(&self.seen));
        let admits = move |record: &Record| {
            !seen.contains(&record.gid) && filter.admits(&Facts::of_record(record))
        };
        let search = backend
            .engine
            .search_history(admits, self.before, skip, take);
        let page = search.await?;
        self.before = page.next;
        Ok(page)
    }
}

/// The result of the history whose GID begins so; `None`: there is none.
///
/// # Errors
/// Several begin with it.
pub(super) async fn older_result(
    backend: &Backend,
    prefix: &str,
) -> Result<Option<Download>, RpcError> {
    let Ok(digits) = prefix.parse::<GidPrefix>() else {
        return Ok(None);
    };
    let admits =
        move |record: &Record| (digits.first()..=digits.last()).contains(&record.gid.value());
    let page = backend.engine.search_history(admits, None, 0, 2).await?;
    let mut results = page.results.into_iter();
    let Some(latest) = results.next() else {
        return Ok(None);
    };
    match results.next() {
        Some(other) if other.gid() != latest.gid() => {
            Err(RequestError::AmbiguousGid(prefix.to_owned()).into())
        }
        _ => Ok(Some(latest)),
    }
}

/// What a filter asks of a result.
struct Facts {
    gid: Gid,
    status: &'static str,
    stopped: SystemTime,
    /// Bytes.
    len: u64,
    path: String,
    info_hash: Option<String>,
}

impl Facts {
    fn of(result: &Download) -> Self {
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

    fn of_record(record: &Record) -> Self {
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
struct Filter {
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
    fn read(mut members: Members) -> Self {
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

    fn admits_all(&self) -> bool {
        *self == Self::default()
    }

    fn admits(&self, result: &Facts) -> bool {
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

    #[test]
    fn exports_stay_in_the_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let state = root.join("state");
        std::fs::create_dir_all(state.join("dir.session")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", state.join("link.session")).unwrap();
        std::os::unix::fs::symlink(&root, state.join("up")).unwrap();
        for (wanted, allowed) in [
            ("a.session", true),
            ("./a.session", true),
            ("a.session.gz", true),
            (&*state.join("a.session").to_string_lossy(), true),
            ("session.txt", false),
            ("store/db", false),
            (".session", false),
            ("sub/a.session", false),
            ("../a.session", false),
            ("up/a.session", false),
            ("link.session", false),
            ("dir.session", false),
            ("/tmp/a.session", false),
            ("", false),
        ] {
            let path = export_path(&state, Path::new(wanted));
            assert_eq!(path.is_some(), allowed, "{wanted}: {path:?}");
        }
    }
}
