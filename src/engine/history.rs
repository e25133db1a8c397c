//! Results that are no longer shown but kept by the store.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::download::Download;
use super::handle::Command;
use super::request::RequestError;
use super::session::download_of;
use super::{Core, EngineHandle};
use crate::base::gid::Gid;
use crate::store::{Found, Group, HistoryKey, Record, Search};

/// Some of the results of the history, the latest first.
#[derive(Default)]
pub struct HistoryPage {
    pub results: Vec<Download>,
    /// Results that were admitted, those that were passed over included.
    pub count: usize,
    /// Where to go on, if there may be more.
    pub next: Option<HistoryKey>,
}

impl EngineHandle {
    /// Looks for results beyond those in the registry: passes `skip` over and takes up to `take`;
    /// with 0 of these it only counts. `admits` is called on the store's thread, which also makes
    /// the results. Nothing is found without a state directory.
    ///
    /// # Errors
    /// Only that the engine has ended.
    pub async fn search_history(
        &self,
        admits: impl Fn(&Record) -> bool + Send + 'static,
        before: Option<HistoryKey>,
        skip: usize,
        take: usize,
    ) -> Result<HistoryPage, RequestError> {
        let base = self.read(|registry| Arc::clone(registry.global()));
        let (reply, page) = oneshot::channel();
        let done = move |found: Found| {
            let records = found.records.into_iter();
            // An error means that the caller has lost interest.
            let _ = reply.send(HistoryPage {
                results: records.map(|record| download_of(record, &base)).collect(),
                count: found.count,
                next: found.next,
            });
        };
        let search = Search {
            admits: Box::new(admits),
            before,
            skip,
            take,
            done: Box::new(done),
        };
        self.commands
            .send(Command::SearchHistory { search })
            .map_err(|_| RequestError::ShutDown)?;
        page.await.map_err(|_| RequestError::ShutDown)
    }

    /// Forgets a result that only the history has.
    ///
    /// # Errors
    /// Only that the engine has ended.
    pub async fn forget_history(&self, gid: Gid) -> Result<(), RequestError> {
        self.ask(|reply| Command::ForgetHistory { gid, reply })
            .await
    }
}

impl Core {
    pub(super) fn search_history(&self, search: Search) {
        match &self.store {
            Some(store) => store.search(search),
            None => (search.done)(Found::default()),
        }
    }

    pub(super) fn forget_history(&mut self, gid: Gid) -> Result<(), RequestError> {
        let mut registry = self.registry.lock();
        if registry.contains(gid) {
            // It was named anew meanwhile.
            return Err(RequestError::NotStopped(gid));
        }
        registry.forget_failure(gid);
        if let Some(store) = &self.store {
            let mut group = Group::default();
            group.remove(gid);
            store.change(group);
        }
        Ok(())
    }

    pub(super) fn set_history_max(&self) {
        if let Some(store) = &self.store {
            store.set_history_max(self.settings.history_len());
        }
    }
}
