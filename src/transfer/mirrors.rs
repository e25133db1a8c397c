//! The mirrors of one download that are being read: opened, handed leases, dropped.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tracing::debug;

use crate::base::error::{ErrorCode, Failure};
use crate::base::secret::SafeUrl;
use crate::base::units::{SourceId, Span};
use crate::limit::{LimitBranch, Meter};
use crate::source::{self, Lease, Link, Order, Report, Shared, Target};
use crate::storage::Files;

use super::live::ServerEntry;
use super::stats::ServerStats;

/// A source that runs.
pub struct Running {
    orders: UnboundedSender<Order>,
    lease_end: Arc<AtomicU64>,
    /// First byte of its resource in the download.
    base: u64,
    handle: JoinHandle<()>,
    meter: Arc<Meter>,
    pub uri: Arc<str>,
    pub current_uri: Arc<str>,
}

/// The sources of one download.
pub struct Mirrors {
    shared: Arc<Shared>,
    limit: LimitBranch,
    running: HashMap<SourceId, Running>,
    to_me: UnboundedSender<(SourceId, Report)>,
    pub reports: UnboundedReceiver<(SourceId, Report)>,
    /// What [`Mirrors::entries`] gives is another than before.
    pub changed: bool,
}

impl Mirrors {
    pub fn new(shared: Shared, limit: LimitBranch) -> Self {
        let (to_me, reports) = mpsc::unbounded_channel();
        Self {
            shared: Arc::new(shared),
            limit,
            running: HashMap::new(),
            to_me,
            reports,
            changed: true,
        }
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether the source runs, or has ended and not been told so.
    pub fn has(&self, source: SourceId) -> bool {
        self.running.contains_key(&source)
    }

    pub fn open(&mut self, source: SourceId, target: Target) {
        let (uri, opening, base) = (target.uri.clone(), target.opening, target.base);
        debug!(gid = %self.shared.http.gid, source = source.0, uri = %SafeUrl(&uri), ?opening, "opening a source");
        let (orders, inbox) = mpsc::unbounded_channel();
        let meter = Arc::new(Meter::new());
        let link = Link {
            id: source,
            orders: inbox,
            reports: self.to_me.clone(),
            limit: self.limit.leaf(),
            meter: meter.clone(),
        };
        let (shared, to_me) = (self.shared.clone(), self.to_me.clone());
        let handle = tokio::spawn(async move {
            let run = AssertUnwindSafe(source::run(target, link, shared))
                .catch_unwind()
                .await;
            if run.is_err() {
                let failure =
                    Failure::fatal(ErrorCode::Unknown, "a source broke down (a bug in arioso)");
                let _ = to_me.send((source, Report::Closed(Err(failure))));
            }
        });
        let running = Running {
            orders,
            lease_end: Arc::default(),
            base,
            handle,
            meter,
            current_uri: uri.clone(),
            uri,
        };
        self.running.insert(source, running);
        self.changed = true;
    }

    /// Has a source fill this span.
    pub fn fetch(&mut self, source: SourceId, span: Span, files: &Arc<Files>) {
        let Some(running) = self.running.get_mut(&source) else {
            return;
        };
        // A fresh end for each lease: an old one may still be read by a write on its way.
        running.lease_end = Arc::default();
        let lease =
            Lease::new(span, running.lease_end.clone(), files.clone()).with_base(running.base);
        // A source that just ended has sent `Closed`, which the plan sees next.
        let _ = running.orders.send(Order::Fetch(lease));
    }

    /// The source's lease ends earlier now.
    pub fn shrink(&self, source: SourceId, end: u64) {
        if let Some(running) = self.running.get(&source) {
            running.lease_end.fetch_min(end, Ordering::AcqRel);
        }
    }

    pub fn drop_source(&mut self, source: SourceId, stats: &ServerStats) {
        if let Some(running) = self.running.remove(&source) {
            self.record_speed(Instant::now(), &running, stats);
            running.handle.abort();
            self.changed = true;
        }
    }

    /// A source was sent on to this URI.
    pub fn moved(&mut self, source: SourceId, uri: &str) {
        if let Some(running) = self.running.get_mut(&source) {
            running.current_uri = uri.into();
            self.changed = true;
        }
    }

    /// A source has ended by itself; what it was.
    pub fn closed(&mut self, source: SourceId) -> Option<Running> {
        let running = self.running.remove(&source)?;
        self.changed = true;
        Some(running)
    }

    pub fn record_speed(&self, now: Instant, running: &Running, stats: &ServerStats) {
        let speed = running.meter.average(now);
        if speed > 0 {
            stats.record(&running.uri, speed, !self.running.is_empty());
        }
    }

    /// As RPC shows them.
    pub fn entries(&self) -> Vec<ServerEntry> {
        let mut ids: Vec<&SourceId> = self.running.keys().collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| self.running.get(id))
            .map(|running| ServerEntry {
                uri: running.uri.clone(),
                current_uri: running.current_uri.clone(),
                meter: running.meter.clone(),
            })
            .collect()
    }

    /// Ends every source; with `wait`, until the last write is done.
    pub async fn end_all(&mut self, wait: bool) {
        self.changed = true;
        let mut ends = Vec::new();
        for (_, running) in self.running.drain() {
            running.handle.abort();
            ends.push(running.handle);
        }
        if wait {
            for end in ends {
                let _ = end.await;
            }
        }
    }
}
