//! Pure: every download by GID, and the three lists: active, waiting and stopped.

mod changes;
mod check;
mod downloads;
mod order;
mod results;
mod waits;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque, vec_deque};
use std::slice;
use std::sync::Arc;

pub use downloads::Downloads;

use super::download::Download;
use super::event::{EventKind, Subject};
use super::queue::{self, How, Queue, target_place};
use super::request::RequestError;
use super::state::{DownloadState, ListKind, Outcome, Refused, StateInput, Step};
use crate::base::error::ErrorCode;
use crate::base::gid::{Gid, GidPrefix};
use crate::option::OptionSet;

/// All downloads. The engine alone changes it; others borrow it for a look
/// ([`super::EngineHandle::read`]).
///
/// Invariant: each download stands in exactly the list its state belongs to.
pub struct Registry {
    slots: Vec<Option<Box<Download>>>,
    free: Vec<u32>,
    by_gid: BTreeMap<Gid, u32>,
    /// In the order of their start.
    active: Vec<u32>,
    queue: Queue,
    /// Oldest first.
    stopped: VecDeque<u32>,
    stopped_max: usize,
    stopped_total: u64,
    /// Failed downloads that fell out of the results but belong into the session file.
    dropped_failures: HashMap<Gid, Box<Download>>,
    keep_failures: bool,
    last_error: Option<ErrorCode>,
    next_order: i64,
    changed: Vec<Gid>,
    gone: Vec<Gid>,
    /// Results that are no longer shown.
    fallen: Vec<Download>,
    /// Of those the ones that belong into the session file.
    fallen_failures: Vec<Gid>,
    /// Paused by want of something, not by a user.
    held: BTreeSet<Gid>,
    global: Arc<OptionSet>,
    session_id: String,
}

/// How many downloads stand in each list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub active: usize,
    /// Waiting and paused.
    pub waiting: usize,
    /// Those of `waiting` that nobody paused.
    pub ready: usize,
    /// Results kept now.
    pub stopped: usize,
    /// Results there have ever been in this process.
    pub stopped_total: u64,
}

/// What the engine has to do after a step.
#[derive(Debug)]
pub(super) struct Stepped {
    /// With the download as it was before it may have fallen out of the results.
    pub event: Option<(EventKind, Subject)>,
    /// Tell the transfer to stop.
    pub stop: bool,
}

impl Registry {
    pub(super) fn new(global: Arc<OptionSet>, session_id: String) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_gid: BTreeMap::new(),
            active: Vec::new(),
            queue: Queue::default(),
            stopped: VecDeque::new(),
            stopped_max: usize::MAX,
            stopped_total: 0,
            dropped_failures: HashMap::new(),
            keep_failures: true,
            last_error: None,
            next_order: 0,
            changed: Vec::new(),
            gone: Vec::new(),
            fallen: Vec::new(),
            fallen_failures: Vec::new(),
            held: BTreeSet::new(),
            global,
            session_id,
        }
    }

    /// The download whose GID begins with these 1 to 16 hex digits.
    ///
    /// # Errors
    /// The text is no GID, or none or several begin with it.
    pub fn find(&self, prefix: &str) -> Result<&Download, RequestError> {
        let digits: GidPrefix = prefix
            .parse()
            .map_err(|_| RequestError::InvalidGid(prefix.to_owned()))?;
        let first = Gid::new(digits.first().max(1));
        let last = Gid::new(digits.last());
        let (Some(first), Some(last)) = (first, last) else {
            return Err(RequestError::UnknownGid(prefix.to_owned()));
        };
        let mut found = self.by_gid.range(first..=last);
        match (found.next(), found.next()) {
            (None, _) => Err(RequestError::UnknownGid(prefix.to_owned())),
            (Some((_, slot)), None) => self
                .at(*slot)
                .ok_or_else(|| RequestError::UnknownGid(prefix.to_owned())),
            _ => Err(RequestError::AmbiguousGid(prefix.to_owned())),
        }
    }

    pub fn get(&self, gid: Gid) -> Option<&Download> {
        self.at(*self.by_gid.get(&gid)?)
    }

    pub fn contains(&self, gid: Gid) -> bool {
        self.by_gid.contains_key(&gid)
    }

    /// In the order of their start.
    pub fn active(&self) -> Downloads<'_, slice::Iter<'_, u32>> {
        self.downloads(self.active.iter())
    }

    /// Waiting and paused ones, the next to start first.
    pub fn waiting(&self) -> Downloads<'_, queue::Iter<'_>> {
        self.downloads(self.queue.iter())
    }

    /// Results, oldest first.
    pub fn stopped(&self) -> Downloads<'_, vec_deque::Iter<'_, u32>> {
        self.downloads(self.stopped.iter())
    }

    pub fn counts(&self) -> Counts {
        Counts {
            active: self.active.len(),
            waiting: self.queue.len(),
            ready: self.queue.ready_len() + self.held.len(),
            stopped: self.stopped.len(),
            stopped_total: self.stopped_total,
        }
    }

    /// Results there have ever been in this process.
    pub fn stopped_total(&self) -> u64 {
        self.stopped_total
    }

    pub fn global_options(&self) -> &OptionSet {
        &self.global
    }

    /// 40 hex digits, new for each process.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The exit status of the process if it ended now: the code of the last failure since the
    /// results were purged; else 7 if something is unfinished that is not paused; else 0.
    pub fn exit_code(&self) -> ErrorCode {
        match self.last_error {
            Some(code) => code,
            None if self.active.is_empty() && self.queue.ready_len() == 0 => ErrorCode::Success,
            None => ErrorCode::Unfinished,
        }
    }

    pub(super) fn global(&self) -> &Arc<OptionSet> {
        &self.global
    }

    pub(super) fn set_global(&mut self, global: Arc<OptionSet>) {
        self.global = global;
    }

    /// Puts a waiting or paused download into the queue, at its end if `position` is `None`.
    /// A GID that is known already is refused: false.
    pub(super) fn add(&mut self, download: Download, position: Option<usize>) -> bool {
        if self.by_gid.contains_key(&download.gid) {
            return false;
        }
        debug_assert_eq!(download.state.list(), ListKind::Queue);
        // A session file has each GID once.
        self.dropped_failures.remove(&download.gid);
        let slot = self.keep(download);
        self.enqueue(slot, position.unwrap_or(usize::MAX));
        true
    }

    /// Takes a waiting or paused download of an earlier process over, at the end of the queue.
    pub(super) fn add_restored(&mut self, download: Download) {
        debug_assert_eq!(download.state.list(), ListKind::Queue);
        if self.by_gid.contains_key(&download.gid) {
            return;
        }
        let last = self.waiting().next_back().map(|last| last.order);
        let (order, ready) = (download.order, download.may_start());
        let slot = self.keep(download);
        if last.is_none_or(|last| last < order) {
            // The store has this very number: no need to tell it again.
            self.queue.push_back(slot, ready);
        } else {
            self.enqueue(slot, usize::MAX);
        }
    }

    /// Applies `input` to a download and moves it to the list it then belongs to.
    pub(super) fn step(&mut self, gid: Gid, input: &StateInput) -> Result<Stepped, Refused> {
        let slot = *self.by_gid.get(&gid).ok_or(Refused)?;
        let download = self.slots[slot as usize].as_mut().ok_or(Refused)?;
        let whole = download.belongs_to();
        let Step { state, event, stop } = download.state.step(input)?;
        let Some(state) = state else {
            self.drop_slot(slot);
            whole.inspect(|whole| self.end_wait(*whole));
            return Ok(Stepped { event: None, stop });
        };
        // Without its torrent a file of a Metalink still has its mirrors.
        if let DownloadState::Stopped(Outcome::Failed(failure)) = &state
            && whole.is_none()
        {
            self.last_error = Some(failure.code);
        }
        if self.held.remove(&gid) {
            download.set_held(None);
        }
        let changed = place_differs(&download.state, &state);
        let (before, after) = (download.state.list(), state.list());
        download.state = state;
        let ready = download.may_start();
        if matches!(download.state, DownloadState::Stopped(_)) {
            download.forget_ranges();
        }
        let event = event.map(|kind| (kind, download.subject()));
        if before != after {
            self.unlist(slot, before);
            self.list(slot, after);
        } else if after == ListKind::Queue {
            self.queue.set_ready(slot, ready);
        }
        if changed {
            self.touch(slot);
        }
        if after == ListKind::Stopped {
            whole.inspect(|whole| self.end_wait(*whole));
        }
        self.trim_stopped();
        Ok(Stepped { event, stop })
    }

    /// The download at the head of the queue that may start.
    pub(super) fn next_to_start(&self) -> Option<Gid> {
        Some(self.at(self.queue.first_ready()?)?.gid)
    }

    /// Moves a download in the queue; gives its new place.
    pub(super) fn change_position(
        &mut self,
        gid: Gid,
        offset: i64,
        how: How,
    ) -> Result<usize, RequestError> {
        let refused = || RequestError::NotInQueue(gid);
        let slot = *self.by_gid.get(&gid).ok_or_else(refused)?;
        let from = self.queue.index_of(slot).ok_or_else(refused)?;
        let to = target_place(self.queue.len(), from, offset, how);
        if to != from {
            self.queue.remove(slot);
            self.enqueue(slot, to);
        }
        Ok(to)
    }

    fn downloads<I>(&self, slots: I) -> Downloads<'_, I> {
        Downloads {
            registry: self,
            slots,
        }
    }

    fn at(&self, slot: u32) -> Option<&Download> {
        self.slot(slot)
    }

    fn slot(&self, slot: u32) -> Option<&Download> {
        self.slots.get(slot as usize)?.as_deref()
    }

    fn keep(&mut self, download: Download) -> u32 {
        let gid = download.gid;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Box::new(download));
        self.by_gid.insert(gid, slot);
        slot
    }

    fn list(&mut self, slot: u32, list: ListKind) {
        match list {
            ListKind::Active => {
                self.active.push(slot);
                self.number(slot);
            }
            // What was active goes to the front, whatever the reason.
            ListKind::Queue => self.enqueue(slot, 0),
            ListKind::Stopped => {
                self.stopped.push_back(slot);
                self.stopped_total += 1;
                self.number(slot);
            }
        }
    }

    fn unlist(&mut self, slot: u32, list: ListKind) {
        match list {
            ListKind::Active => self.active.retain(|other| *other != slot),
            ListKind::Queue => {
                self.queue.remove(slot);
            }
            ListKind::Stopped => {
                if self.stopped.front() == Some(&slot) {
                    self.stopped.pop_front();
                } else {
                    self.stopped.retain(|other| *other != slot);
                }
            }
        }
    }

    fn enqueue(&mut self, slot: u32, index: usize) {
        let index = index.min(self.queue.len());
        let ready = self.slot(slot).is_some_and(Download::may_start);
        self.queue.insert(index, slot, ready);
        self.number_in_queue(index);
    }

    /// Places of active and stopped ones only ever grow.
    fn number(&mut self, slot: u32) {
        self.next_order += 1;
        self.set_order(slot, self.next_order);
    }

    fn set_order(&mut self, slot: u32, order: i64) {
        if let Some(download) = &mut self.slots[slot as usize] {
            download.order = order;
        }
        self.touch(slot);
    }

    fn drop_slot(&mut self, slot: u32) {
        if let Some(download) = self.take_slot(slot) {
            self.gone.push(download.gid);
        }
    }

    fn take_slot(&mut self, slot: u32) -> Option<Box<Download>> {
        let download = self.slots[slot as usize].take()?;
        self.unlist(slot, download.state.list());
        self.held.remove(&download.gid);
        self.by_gid.remove(&download.gid);
        self.free.push(slot);
        Some(download)
    }
}

/// Whether the store would notice; the phases of an active download are nothing to it.
fn place_differs(old: &DownloadState, new: &DownloadState) -> bool {
    !matches!(
        (old, new),
        (DownloadState::Active(_), DownloadState::Active(_))
    )
}
