//! The methods of Motrix's engine on its history, which here are the results and behind them those
//! that only the store has: how many there are, which of them, start one again.

mod filter;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use filter::{Facts, Filter};

use crate::base::gid::{Gid, GidPrefix};
use crate::engine::{AddRequest, Download, HistoryPage, RequestError, Source};
use crate::option::keys;
use crate::option::spec::ADD;
use crate::store::{HistoryKey, Record};

use super::super::dispatch::{Backend, Pace};
use super::super::error::RpcError;
use super::super::params::Params;
use super::super::sink::Sink;
use super::super::value::Members;
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
            let uris = result.uris();
            let source = result.brief().and_then(|brief| brief.again(uris));
            let source = source
                .unwrap_or_else(|| Source::Uris(uris.iter().map(|uri| uri.to_string()).collect()));
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
        match added.first() {
            Some(gid) => Ok(Reply::Requeued(*gid)),
            None => Err(RequestError::NoUsableUri.into()),
        }
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
