//! One disk: how fast it is, and the queue of its writer thread while it is slow.
//!
//! Invariant: a job is in the queue or in the hands of the writer thread, and its download
//! counts it as pending until it is on the disk or recorded as lost.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
#[cfg(test)]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::disk::OpenFiles;
use super::inline_gate;
use super::memory::Memory;
use super::pace::{CALM, Pace, PaceDetector, SLOW_WRITE};
use super::sleep;

/// Room that every queue has, however small `disk-cache` is.
const CACHE_MIN: u64 = 1 << 20;
/// A caller that does not wait for room is stopped when the queues hold this much more than
/// `disk-cache`: what 64 connections have in hand.
const OVERSHOOT: u64 = 8 << 20;
/// Neighbouring jobs are gathered into writes of up to this many bytes.
const GATHER_BYTES: usize = 1 << 20;
const GATHER_LOOK: usize = 256;

static DEVICES: LazyLock<Mutex<HashMap<u64, Weak<Device>>>> = LazyLock::new(Mutex::default);

/// Bytes on their way to a slow device.
struct Job {
    files: Arc<OpenFiles>,
    at: u64,
    data: Vec<u8>,
}

impl Job {
    fn end(&self) -> u64 {
        self.at + self.data.len() as u64
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    writer_runs: bool,
    pace: PaceDetector,
}

/// A file system, shared by every download on it.
pub struct Device {
    pub number: u64,
    /// Whether writes go to the queue; read without a lock by every write.
    slow: AtomicBool,
    queue: Mutex<Queue>,
    /// Jobs came.
    work: Condvar,
    /// Jobs are done: for threads and for tasks.
    done: Condvar,
    room: Notify,
    /// Bytes in this device's queue and in the writer's hands.
    bytes: AtomicUsize,
    /// Every write takes this much longer, in milliseconds.
    #[cfg(test)]
    pub delay_ms: AtomicU64,
    #[cfg(test)]
    pub writes: AtomicU64,
}

impl Device {
    /// The device with this number (`st_dev`).
    pub fn shared(number: u64) -> Arc<Self> {
        let mut devices = DEVICES.lock();
        if let Some(device) = devices.get(&number).and_then(Weak::upgrade) {
            return device;
        }
        devices.retain(|_, device| device.strong_count() > 0);
        let device = Arc::new(Self::new(number));
        devices.insert(number, Arc::downgrade(&device));
        device
    }

    pub fn new(number: u64) -> Self {
        Self {
            number,
            slow: AtomicBool::new(false),
            queue: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            room: Notify::new(),
            bytes: AtomicUsize::new(0),
            #[cfg(test)]
            delay_ms: AtomicU64::new(0),
            #[cfg(test)]
            writes: AtomicU64::new(0),
        }
    }

    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Acquire)
    }

    /// Takes in how long an inline write took on this thread, which had slept so often
    /// ([`sleep::times_slept`]) when it began. Free of locks while the device is fast.
    pub fn note_write(&self, began: Instant, slept: Option<u64>) {
        let now = Instant::now();
        let took = time_on_disk(began, now, slept);
        if took >= SLOW_WRITE {
            let pace = self.queue.lock().pace.handle_write(now, took);
            self.set_pace(pace);
        }
    }

    /// A write has been under way for too long.
    pub fn note_stall(&self, now: Instant) {
        self.queue.lock().pace.handle_stall(now);
        self.set_pace(Pace::Slow);
    }

    #[cfg(test)]
    pub fn pretend_slow(&self) {
        self.writes.fetch_add(1, Ordering::AcqRel);
        let millis = self.delay_ms.load(Ordering::Acquire);
        if millis > 0 {
            std::thread::sleep(std::time::Duration::from_millis(millis));
        }
    }

    fn set_pace(&self, pace: Pace) {
        let slow = pace == Pace::Slow;
        if self.slow.swap(slow, Ordering::AcqRel) != slow {
            if slow {
                tracing::info!(device = self.number, "writes are slow: queueing them");
            } else {
                tracing::info!(device = self.number, "writes are fast again");
            }
        }
    }

    /// Whether another write may be queued without passing the limit.
    pub fn has_room(&self, cache_len_max: u64) -> bool {
        let own = self.bytes.load(Ordering::Acquire);
        // A device must not starve because others filled the cache.
        own == 0 || Memory::shared().may_queue(limit(cache_len_max))
    }

    fn is_overfull(&self, cache_len_max: u64) -> bool {
        let own = self.bytes.load(Ordering::Acquire);
        own > 0 && Memory::shared().queued() > limit(cache_len_max).saturating_add(OVERSHOOT)
    }

    /// Waits until there is room or the device is fast again.
    pub async fn ready(&self, cache_len_max: u64) {
        while self.is_slow() && !self.has_room(cache_len_max) {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_slow() && !self.has_room(cache_len_max) {
                // The other devices' writers free room too, and do not tell this one.
                let _ = tokio::time::timeout(CALM / 20, notified).await;
            }
        }
    }

    /// Queues a copy of the bytes; false when no writer thread could be had.
    pub fn push(
        self: &Arc<Self>,
        files: &Arc<OpenFiles>,
        at: u64,
        data: &[IoSlice<'_>],
        cache_len_max: u64,
    ) -> bool {
        let mut copy = Vec::with_capacity(data.iter().map(|part| part.len()).sum());
        for part in data {
            copy.extend_from_slice(part);
        }
        if self.is_overfull(cache_len_max) {
            inline_gate::off_worker(|| {
                let mut queue = self.queue.lock();
                while queue.writer_runs && self.is_overfull(cache_len_max) {
                    self.done.wait_for(&mut queue, CALM / 20);
                }
            });
        }
        let mut queue = self.queue.lock();
        if !queue.writer_runs {
            let device = Arc::clone(self);
            let thread = std::thread::Builder::new().name("slow-disk".into());
            if let Err(error) = thread.spawn(move || device.run_writer()) {
                tracing::warn!(%error, "no thread for a slow disk");
                return false;
            }
            queue.writer_runs = true;
        }
        self.bytes.fetch_add(copy.len(), Ordering::AcqRel);
        Memory::shared().queue(copy.len() as u64);
        files.pending.fetch_add(1, Ordering::AcqRel);
        queue.jobs.push_back(Job {
            files: Arc::clone(files),
            at,
            data: copy,
        });
        self.work.notify_one();
        true
    }

    /// Waits until every queued write of the download has been tried.
    pub fn flush(&self, files: &OpenFiles) {
        if files.pending.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut queue = self.queue.lock();
        while files.pending.load(Ordering::Acquire) > 0 {
            self.done.wait(&mut queue);
        }
    }

    /// The writer thread: drains the queue, and ends when it is empty and the device is fast.
    fn run_writer(&self) {
        loop {
            let batch = {
                let mut queue = self.queue.lock();
                loop {
                    self.set_pace(queue.pace.pace(Instant::now()));
                    if let Some(batch) = gather(&mut queue.jobs) {
                        break batch;
                    }
                    if !self.is_slow() {
                        queue.writer_runs = false;
                        self.room.notify_waiters();
                        return;
                    }
                    self.work.wait_for(&mut queue, CALM);
                }
            };
            self.write_batch(&batch);
            let mut queue = self.queue.lock();
            self.settle(batch, &mut queue);
        }
    }

    fn write_batch(&self, batch: &[Job]) {
        let Some(first) = batch.first() else { return };
        let (began, slept) = (Instant::now(), sleep::times_slept());
        let mut slices: Vec<IoSlice<'_>> =
            batch.iter().map(|job| IoSlice::new(&job.data)).collect();
        let result = first.files.write_now(first.at, &mut slices);
        let now = Instant::now();
        let took = time_on_disk(began, now, slept);
        self.queue.lock().pace.handle_write(now, took);
        if let Err(failure) = result {
            let end = batch.last().map_or(first.at, Job::end);
            first.files.record_lost(first.at, end, failure);
        }
    }

    /// Gives back what the batch held. The lock makes sure that no waiter misses it.
    fn settle(&self, batch: Vec<Job>, _held: &mut Queue) {
        for job in &batch {
            self.bytes.fetch_sub(job.data.len(), Ordering::AcqRel);
            Memory::shared().dequeue(job.data.len() as u64);
            job.files.pending.fetch_sub(1, Ordering::AcqRel);
        }
        self.done.notify_all();
        self.room.notify_waiters();
    }
}

/// How long a write took, if that was the disk's doing: not where the thread never slept.
fn time_on_disk(began: Instant, now: Instant, slept: Option<u64>) -> Duration {
    let took = now.saturating_duration_since(began);
    let was_busy = took >= SLOW_WRITE && slept.is_some() && sleep::times_slept() == slept;
    if was_busy { Duration::ZERO } else { took }
}

fn limit(cache_len_max: u64) -> u64 {
    cache_len_max.max(CACHE_MIN)
}

/// Takes the oldest job and those that follow its bytes, so that they become one write.
fn gather(jobs: &mut VecDeque<Job>) -> Option<Vec<Job>> {
    let first = jobs.pop_front()?;
    let mut end = first.end();
    let mut bytes = first.data.len();
    let mut batch = vec![first];
    let mut index = 0;
    while index < jobs.len().min(GATHER_LOOK) && bytes < GATHER_BYTES {
        let next = &jobs[index];
        if next.at != end || !Arc::ptr_eq(&next.files, &batch[0].files) {
            index += 1;
            continue;
        }
        let Some(next) = jobs.remove(index) else {
            break;
        };
        end = next.end();
        bytes += next.data.len();
        batch.push(next);
    }
    Some(batch)
}

#[cfg(test)]
mod tests;
