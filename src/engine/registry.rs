//! Pure: every download by GID, and the three lists: active, waiting and stopped.

mod order;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque, vec_deque};
use std::slice;
use std::sync::Arc;
use std::time::SystemTime;

use super::download::Download;
use super::event::{EventKind, Subject};
use super::queue::{self, How, Queue, target_place};
use super::request::RequestError;
use super::state::{DownloadState, ListKind, Outcome, Refused, StateInput, Step};
use crate::base::error::{ErrorCode, Failure};
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

/// What the store has to be told.
#[derive(Default)]
pub(super) struct Changes {
    pub changed: Vec<Gid>,
    pub gone: Vec<Gid>,
    /// No longer shown; for the history.
    pub fallen: Vec<Download>,
    /// For the history and the session file.
    pub fallen_failures: Vec<Gid>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.gone.is_empty()
            && self.fallen.is_empty()
            && self.fallen_failures.is_empty()
    }
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

    /// # Errors
    /// What of the invariant does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.queue.check()?;
        let listed = self.active.len() + self.queue.len() + self.stopped.len();
        let kept = self.slots.iter().flatten().count();
        if listed != self.by_gid.len() || kept != listed {
            return Err(format!(
                "{listed} listed, {} named, {kept} kept",
                self.by_gid.len()
            ));
        }
        let lists = [
            (ListKind::Active, self.active().collect::<Vec<_>>()),
            (ListKind::Queue, self.waiting().collect()),
            (ListKind::Stopped, self.stopped().collect()),
        ];
        for (list, downloads) in lists {
            if let Some(stray) = downloads
                .iter()
                .find(|download| download.state.list() != list)
            {
                return Err(format!("{} is {:?} in {list:?}", stray.gid, stray.state));
            }
            if let Some(stray) = downloads
                .windows(2)
                .find(|pair| pair[0].order >= pair[1].order)
            {
                return Err(format!("{} is out of order in {list:?}", stray[1].gid));
            }
        }
        let ready = self
            .waiting()
            .filter(|download| download.may_start())
            .count();
        if ready != self.queue.ready_len() {
            return Err(format!(
                "{ready} may start, {} counted",
                self.queue.ready_len()
            ));
        }
        Ok(())
    }

    pub(super) fn global(&self) -> &Arc<OptionSet> {
        &self.global
    }

    pub(super) fn set_global(&mut self, global: Arc<OptionSet>) {
        self.global = global;
    }

    /// How many results are kept, and whether failures among the others still belong into the
    /// session file.
    pub(super) fn set_stopped_max(&mut self, max: usize, keep_failures: bool) {
        self.stopped_max = max;
        self.keep_failures = keep_failures;
        self.trim_stopped();
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

    /// Takes a result of an earlier process over, as the newest one.
    pub(super) fn add_stopped(&mut self, download: Download) {
        debug_assert_eq!(download.state.list(), ListKind::Stopped);
        if self.by_gid.contains_key(&download.gid) {
            return;
        }
        let order = download.order;
        let slot = self.keep(download);
        self.stopped.push_back(slot);
        if order > self.next_order {
            self.next_order = order;
        } else {
            self.number(slot);
        }
        self.trim_stopped();
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

    /// Has a download wait until another one, which belongs to it, has stopped.
    pub(super) fn let_wait(&mut self, gid: Gid, part: Gid) {
        self.edit(part, |download| {
            download.rare.get_or_insert_default().belongs_to = Some(gid);
        });
        self.set_awaited(gid, Some(part));
    }

    /// After a restart: files of Metalinks that wait for their torrents do so again. One whose
    /// torrent had come, which is kept nowhere, has it fetched once more.
    pub(super) fn wait_again(&mut self) {
        let parts: Vec<(Gid, Gid)> = self
            .by_gid
            .keys()
            .filter_map(|gid| Some((self.get(*gid)?.belongs_to()?, *gid)))
            .collect();
        for (whole, part) in parts {
            let state_of = |gid| self.get(gid).map(|download| &download.state);
            let is_queued = |gid| state_of(gid).is_some_and(|it| it.list() == ListKind::Queue);
            let has_come = state_of(part) == Some(&DownloadState::Stopped(Outcome::Complete));
            if !is_queued(whole) || !(has_come || is_queued(part)) {
                continue;
            }
            if has_come {
                self.fetch_again(part);
            }
            self.set_awaited(whole, Some(part));
        }
    }

    /// A result goes to the front of the queue.
    fn fetch_again(&mut self, gid: Gid) {
        let Some(slot) = self.by_gid.get(&gid).copied() else {
            return;
        };
        if let Some(download) = self.slots[slot as usize].as_mut() {
            download.state = DownloadState::Waiting;
            download.stopped_at = None;
        }
        self.unlist(slot, ListKind::Stopped);
        self.list(slot, ListKind::Queue);
        self.touch(slot);
    }

    /// What a download waits for, if somebody has to have that go on.
    pub(super) fn paused_part(&self, gid: Gid) -> Option<Gid> {
        let part = self.get(gid)?.rare.as_ref()?.awaits?;
        let is_paused = self.get(part)?.state == DownloadState::Paused;
        is_paused.then_some(part)
    }

    /// What it waited for has come, or never will.
    fn end_wait(&mut self, gid: Gid) {
        self.set_awaited(gid, None);
    }

    fn set_awaited(&mut self, gid: Gid, part: Option<Gid>) {
        let changed = self.edit(gid, |download| {
            download.rare.get_or_insert_default().awaits = part;
            (download.may_start(), download.state.list())
        });
        if let Some((ready, ListKind::Queue)) = changed
            && let Some(slot) = self.by_gid.get(&gid)
        {
            self.queue.set_ready(*slot, ready);
        }
    }

    /// Notes why a download that was just paused goes on by itself.
    pub(super) fn hold(&mut self, gid: Gid, why: Failure) {
        self.edit(gid, |download| download.set_held(Some(why)));
        self.held.insert(gid);
    }

    /// A held download becomes one that a user paused; false if it was not held.
    pub(super) fn pause_held(&mut self, gid: Gid) -> bool {
        let was_held = self.held.remove(&gid);
        if was_held {
            self.edit(gid, |download| download.set_held(None));
        }
        was_held
    }

    /// Downloads that wait for something that may come back.
    pub(super) fn held(&self) -> impl Iterator<Item = &Download> {
        self.held.iter().filter_map(|gid| self.get(*gid))
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

    /// Changes a download and notes that the store has to hear of it.
    pub(super) fn edit<R>(&mut self, gid: Gid, edit: impl FnOnce(&mut Download) -> R) -> Option<R> {
        let slot = *self.by_gid.get(&gid)?;
        let result = edit(self.slots[slot as usize].as_mut()?);
        self.touch(slot);
        Some(result)
    }

    /// Forgets a result.
    pub(super) fn remove_result(&mut self, gid: Gid) -> Result<(), RequestError> {
        let refused = || RequestError::NotStopped(gid);
        let slot = *self.by_gid.get(&gid).ok_or_else(refused)?;
        if !self.at(slot).is_some_and(Download::is_stopped) {
            return Err(refused());
        }
        self.drop_slot(slot);
        Ok(())
    }

    /// Notes when a download stopped, if it just has.
    pub(super) fn note_stop(&mut self, gid: Gid, now: SystemTime) {
        let shown = self.by_gid.get(&gid).copied();
        let download = match shown {
            Some(slot) => self.slots[slot as usize].as_deref_mut(),
            None => self
                .dropped_failures
                .get_mut(&gid)
                .map(Box::as_mut)
                .or_else(|| self.fallen.last_mut().filter(|last| last.gid == gid)),
        };
        if let Some(download) = download
            && download.stopped_at.is_none()
            && matches!(download.state, DownloadState::Stopped(_))
        {
            download.stopped_at = Some(now);
        }
    }

    /// Forgets the failures that are no results any more, and the exit status they would have
    /// caused.
    pub(super) fn forget_failures(&mut self) {
        let dropped = std::mem::take(&mut self.dropped_failures);
        self.gone.extend(dropped.into_keys());
        self.last_error = None;
    }

    /// Forgets a failure that is no result any more; false: there is none of this GID.
    pub(super) fn forget_failure(&mut self, gid: Gid) -> bool {
        self.dropped_failures.remove(&gid).is_some()
    }

    /// A download, even if it is no result any more but belongs into the session file.
    pub(super) fn kept(&self, gid: Gid) -> Option<&Download> {
        let dropped = || self.dropped_failures.get(&gid).map(Box::as_ref);
        self.get(gid).or_else(dropped)
    }

    pub(super) fn is_kept(&self, gid: Gid) -> bool {
        self.kept(gid).is_some()
    }

    /// Failed downloads that are no results any more but not forgotten either, the oldest first.
    pub(super) fn dropped_failures(&self) -> impl Iterator<Item = &Download> {
        let mut dropped: Vec<&Download> = self.dropped_failures.values().map(Box::as_ref).collect();
        dropped.sort_unstable_by_key(|download| download.order);
        dropped.into_iter()
    }

    /// Everything counts as changed; gives the GIDs of all that is kept.
    pub(super) fn touch_all(&mut self) -> HashSet<Gid> {
        for slot in 0..self.slots.len() as u32 {
            self.touch(slot);
        }
        let dropped: Vec<Gid> = self.dropped_failures.keys().copied().collect();
        self.changed.extend(&dropped);
        self.by_gid.keys().copied().chain(dropped).collect()
    }

    /// What has changed since the last call.
    pub(super) fn take_changes(&mut self) -> Changes {
        let changes = Changes {
            changed: std::mem::take(&mut self.changed),
            gone: std::mem::take(&mut self.gone),
            fallen: std::mem::take(&mut self.fallen),
            fallen_failures: std::mem::take(&mut self.fallen_failures),
        };
        for gid in &changes.changed {
            if let Some(slot) = self.by_gid.get(gid)
                && let Some(download) = &mut self.slots[*slot as usize]
            {
                download.changed = false;
            }
        }
        changes
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

    fn touch(&mut self, slot: u32) {
        if let Some(download) = &mut self.slots[slot as usize]
            && !download.changed
        {
            download.changed = true;
            self.changed.push(download.gid);
        }
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

    fn trim_stopped(&mut self) {
        while self.stopped.len() > self.stopped_max {
            // One that is still stopping has to tell its end first.
            let ended = |slot: &&u32| {
                matches!(
                    self.slot(**slot).map(|download| &download.state),
                    Some(DownloadState::Stopped(_))
                )
            };
            let Some(slot) = self.stopped.iter().find(ended).copied() else {
                return;
            };
            let Some(mut download) = self.take_slot(slot) else {
                return;
            };
            let failed = matches!(download.state, DownloadState::Stopped(Outcome::Failed(_)));
            if failed && self.keep_failures {
                download.shrink();
                self.fallen_failures.push(download.gid);
                self.dropped_failures.insert(download.gid, download);
            } else {
                self.fallen.push(*download);
            }
        }
    }
}

/// Whether the store would notice; the phases of an active download are nothing to it.
fn place_differs(old: &DownloadState, new: &DownloadState) -> bool {
    !matches!(
        (old, new),
        (DownloadState::Active(_), DownloadState::Active(_))
    )
}

/// Downloads of one list, from either end; skipping in the waiting list is cheap.
#[derive(Clone)]
pub struct Downloads<'a, I> {
    registry: &'a Registry,
    slots: I,
}

/// A slot number by value, whether the list hands out numbers or references.
pub trait SlotNumber {
    fn number(self) -> u32;
}

impl SlotNumber for u32 {
    fn number(self) -> u32 {
        self
    }
}

impl SlotNumber for &u32 {
    fn number(self) -> u32 {
        *self
    }
}

impl<'a, I: Iterator<Item: SlotNumber>> Iterator for Downloads<'a, I> {
    type Item = &'a Download;

    fn next(&mut self) -> Option<&'a Download> {
        self.registry.slot(self.slots.next()?.number())
    }

    fn nth(&mut self, n: usize) -> Option<&'a Download> {
        self.registry.slot(self.slots.nth(n)?.number())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl<'a, I: DoubleEndedIterator<Item: SlotNumber>> DoubleEndedIterator for Downloads<'a, I> {
    fn next_back(&mut self) -> Option<&'a Download> {
        self.registry.slot(self.slots.next_back()?.number())
    }

    fn nth_back(&mut self, n: usize) -> Option<&'a Download> {
        self.registry.slot(self.slots.nth_back(n)?.number())
    }
}

impl<I: ExactSizeIterator<Item: SlotNumber>> ExactSizeIterator for Downloads<'_, I> {}
