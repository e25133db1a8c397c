//! A source's side of its link: leases that wait their turn, and the way of gathered bytes into
//! them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::chunks::Chunks;
use super::speed_watch::SpeedWatch;
use super::{Lease, Link, Order, Report};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::units::{Rate, Span};

/// The least that is gathered before a write, unless the server is slow.
const WRITE_LEN: usize = 64 * 1024;
/// Writes are told of when they have come to so many bytes, or after so much time: each report
/// wakes the transfer, often on another core.
const REPORT_LEN: u64 = 1 << 20;
const REPORT_TIME: Duration = Duration::from_millis(20);
/// A silent server is looked after this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a source ends.
pub enum Halt {
    /// The orders ended.
    Stopped,
    Failed(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Halt::Failed(failure)
    }
}

impl Halt {
    /// What the source's last report says.
    pub fn outcome(ended: Result<(), Halt>) -> Result<(), Failure> {
        match ended {
            Ok(()) | Err(Halt::Stopped) => Ok(()),
            Err(Halt::Failed(failure)) => Err(failure),
        }
    }
}

/// Takes leases one after the other and writes into them.
pub struct LeaseWriter {
    link: Link,
    /// Leases that came while another one was being filled.
    queued: VecDeque<Lease>,
    speed: SpeedWatch,
    /// Written, and not told of yet.
    untold: Option<Span>,
    /// When the transfer last heard of a write into this lease.
    told_at: Option<Instant>,
}

impl LeaseWriter {
    pub fn new(link: Link) -> Self {
        Self {
            link,
            queued: VecDeque::new(),
            speed: SpeedWatch::new(Instant::now()),
            untold: None,
            told_at: None,
        }
    }

    /// The next lease to fill; `None` where the orders have ended.
    pub async fn next_lease(&mut self) -> Option<Lease> {
        self.told_at = None;
        match self.queued.pop_front() {
            Some(lease) => Some(lease),
            None => {
                let Order::Fetch(lease) = self.link.orders.recv().await?;
                self.speed = SpeedWatch::new(Instant::now());
                Some(lease)
            }
        }
    }

    /// Waits for the end of the orders; those that come meanwhile wait their turn. May be dropped
    /// and called again without loss.
    pub async fn hang_up(&mut self) {
        queue_until_end(&mut self.link.orders, &mut self.queued).await;
    }

    pub fn has_hung_up(&self) -> bool {
        self.link.orders.is_closed()
    }

    /// How many bytes to gather before a write.
    pub fn wanted(&self) -> usize {
        self.link.limit.pace_down().min(WRITE_LEN)
    }

    /// How long to wait for bytes at most before [`Self::write`] is called anyway.
    pub fn look_after(&self) -> Duration {
        match self.untold {
            Some(_) => REPORT_TIME,
            None => LOOK_INTERVAL,
        }
    }

    /// Pays for and writes everything gathered that lies inside the lease, from byte `at` on.
    ///
    /// # Errors
    /// The failure of the disk.
    pub async fn write(
        &mut self,
        gathered: &mut Chunks,
        lease: &Lease,
        at: &mut u64,
    ) -> Result<(), Failure> {
        while *at < lease.end() {
            let pace = self.link.limit.pace_down();
            let parts = gathered.front(pace.max(1));
            let len = parts.iter().map(|part| part.len()).sum();
            if len == 0 {
                break;
            }
            let waiting = Instant::now();
            // What has been received is not thrown away at a stop: it is written unpaid.
            tokio::select! {
                biased;
                () = async {
                    self.link.limit.pay_down(len).await;
                    lease.ready().await;
                } => {}
                () = queue_until_end(&mut self.link.orders, &mut self.queued) => {}
            }
            let written = lease.write(*at, &parts)?;
            drop(parts);
            let taken = written.span.len();
            self.speed.waited(waiting.elapsed());
            self.speed.received(taken);
            gathered.consume(taken);
            *at = written.span.end;
            self.link.meter.record(Instant::now(), taken);
            self.wrote(written.span);
            if !written.room {
                break;
            }
        }
        self.tell_if_due();
        Ok(())
    }

    fn wrote(&mut self, span: Span) {
        match &mut self.untold {
            Some(untold) if untold.end == span.start => untold.end = span.end,
            _ => {
                self.tell();
                self.untold = Some(span);
            }
        }
    }

    fn tell_if_due(&mut self) {
        let is_long = self.untold.is_some_and(|span| span.len() >= REPORT_LEN);
        if is_long || self.told_at.is_none_or(|at| at.elapsed() >= REPORT_TIME) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        if let Some(span) = self.untold.take() {
            self.told_at = Some(Instant::now());
            self.send(Report::Wrote(span));
        }
    }

    /// # Errors
    /// 5: less came than `lowest` (option `lowest-speed-limit`).
    pub fn check_speed(&mut self, lowest: Rate) -> Result<(), Failure> {
        let Some(speed) = self.speed.too_slow(Instant::now(), lowest) else {
            return Ok(());
        };
        Err(Failure::new(
            ErrorCode::TooSlow,
            Retry::After(Duration::ZERO),
            format!(
                "Too slow: {speed} bytes a second, at least {} are wanted",
                lowest.0
            ),
        ))
    }

    /// Tells the transfer, of what was written first.
    pub fn report(&mut self, report: Report) {
        self.tell();
        self.send(report);
    }

    /// Nobody listens any more if the transfer has been dropped.
    fn send(&self, report: Report) {
        let _ = self.link.reports.send((self.link.id, report));
    }
}

/// However the source ends, what it has written counts.
impl Drop for LeaseWriter {
    fn drop(&mut self) {
        self.tell();
    }
}

async fn queue_until_end(orders: &mut UnboundedReceiver<Order>, queued: &mut VecDeque<Lease>) {
    while let Some(Order::Fetch(lease)) = orders.recv().await {
        queued.push_back(lease);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::sync::mpsc;

    use super::*;
    use crate::base::units::SourceId;
    use crate::limit::{LimitTree, Meter};
    use crate::option::OptionSet;
    use crate::storage::{DiskSettings, Files, Layout, OpenMode};

    #[tokio::test]
    async fn the_first_write_is_told_at_once_and_the_last_one_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::single(dir.path().join("file"), Some(1 << 20));
        let disk = DiskSettings::from(&OptionSet::new());
        let files = Arc::new(Files::open(layout, &disk, OpenMode::Fresh).unwrap());
        let (_orders, orders) = mpsc::unbounded_channel();
        let (reports, mut told) = mpsc::unbounded_channel();
        let none = Rate::UNLIMITED;
        let mut writer = LeaseWriter::new(Link {
            id: SourceId(0),
            orders,
            reports,
            limit: LimitTree::new(none, none).branch(none, none).leaf(),
            meter: Arc::new(Meter::new()),
        });
        let mut told_now = || match told.try_recv() {
            Ok((_, Report::Wrote(span))) => Some((span.start, span.end)),
            _ => None,
        };
        let lease = Lease::new(Span::new(0, 1 << 20), Arc::default(), files);
        let (mut chunks, mut at) = (Chunks::new(0), 0);
        let mut spans = Vec::new();
        for _ in 0..3 {
            chunks.push(Bytes::from_static(b"0123456789"));
            writer.write(&mut chunks, &lease, &mut at).await.unwrap();
            spans.extend(told_now());
            assert_eq!(spans[0], (0, 10));
        }
        assert_eq!(
            writer.look_after() == REPORT_TIME,
            spans.last() != Some(&(20, 30))
        );
        drop(writer);
        spans.extend(told_now());
        // As many as the machine is slow, but each byte once.
        assert_eq!(spans.last().map(|span| span.1), Some(30));
        assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }
}
