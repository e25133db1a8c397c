//! Which threads are inside an inline write now, and for how long.
//!
//! A write to a stalled disk holds its thread. The gate lets all but one worker of a runtime do
//! that: the next one steps off its worker first, so that a stalled disk never stops the
//! downloads of other disks. It also shows a write that has not come back, before it ends.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use super::sleep;

/// A write that has been under way for this long makes its device slow.
pub const STUCK: Duration = Duration::from_millis(50);

const PLACES: usize = 16;

/// One thread's write: its start in nanoseconds since `EPOCH` in `since` (0: free), the device's
/// number plus one in `device` (0: it waits for its turn).
#[derive(Default)]
#[repr(align(64))]
struct Place {
    since: AtomicU64,
    device: AtomicU64,
    thread: AtomicU32,
}

static GATE: LazyLock<[Place; PLACES]> =
    LazyLock::new(|| std::array::from_fn(|_| Place::default()));
static EPOCH: OnceLock<Instant> = OnceLock::new();

/// How a write may begin.
pub enum Entry {
    /// On this thread; the place is free again when it is dropped.
    Inline(Inside),
    /// Every worker but this one is inside a write; `None` when no place is left at all.
    LastWorker(Option<Inside>),
    /// A write to the same device has not come back for long.
    Stuck,
}

/// Holds a place in the gate.
pub struct Inside(usize);

impl Inside {
    /// The write itself begins: from now on the device may turn out to hold it.
    pub fn begin(&self, device: u64, now: Instant) {
        let place = &GATE[self.0];
        place.since.store(since_epoch(now), Ordering::Release);
        place
            .device
            .store(device.wrapping_add(1), Ordering::Release);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        GATE[self.0].device.store(0, Ordering::Release);
        GATE[self.0].since.store(0, Ordering::Release);
    }
}

/// Asks for a place for a write to `device` that begins at `now`; the first `places` of them
/// are for writes on the thread itself.
pub fn enter(device: u64, now: Instant, places: usize) -> Entry {
    let nanos = since_epoch(now);
    let mut mine = None;
    let mut late = false;
    for (index, place) in GATE.iter().enumerate() {
        let since = place.since.load(Ordering::Acquire);
        if since == 0 {
            if mine.is_none() && place.claim(nanos) {
                mine = Some(Inside(index));
            }
        } else if nanos.saturating_sub(since) > STUCK.as_nanos() as u64
            && place.is_writing_to(device)
        {
            late = true;
        }
    }
    if late && all_asleep(device) {
        return Entry::Stuck;
    }
    match mine {
        Some(inside) if inside.0 < places => Entry::Inline(inside),
        mine => Entry::LastWorker(mine),
    }
}

/// Whether every thread that writes to the device sleeps. One that only waits for a core, or is at
/// work, is not held by the disk.
fn all_asleep(device: u64) -> bool {
    let writing = GATE.iter().filter(|place| place.is_writing_to(device));
    let mut threads = writing.map(|place| place.thread.load(Ordering::Acquire));
    threads.all(sleep::is_asleep)
}

impl Place {
    fn claim(&self, nanos: u64) -> bool {
        let free = self
            .since
            .compare_exchange(0, nanos, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if free {
            self.thread.store(sleep::this_thread(), Ordering::Release);
        }
        free
    }

    fn is_writing_to(&self, device: u64) -> bool {
        self.device.load(Ordering::Acquire) == device.wrapping_add(1)
    }
}

/// Places for writes from the runtime of this thread: one fewer than its workers.
pub fn places_here() -> usize {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime
            .metrics()
            .num_workers()
            .saturating_sub(1)
            .min(PLACES),
        Err(_) => PLACES,
    }
}

/// Runs a write that may block, off the worker where this thread is one.
pub fn off_worker<T>(write: impl FnOnce() -> T) -> T {
    let multi = tokio::runtime::Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread
    });
    if multi {
        tokio::task::block_in_place(write)
    } else {
        write()
    }
}

fn since_epoch(now: Instant) -> u64 {
    let epoch = EPOCH.get_or_init(|| now);
    now.saturating_duration_since(*epoch).as_nanos() as u64 + 1
}
