//! A source's side of its link: leases that wait their turn, and the way of gathered bytes into
//! them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::chunks::Chunks;
use super::speed_watch::SpeedWatch;
use super::{Lease, Link, Order, Report};
use crate::base::error::{ErrorCode, Failure, Retry};
use crate::base::units::Rate;

/// The least that is gathered before a write, unless the server is slow.
const WRITE_LEN: usize = 64 * 1024;

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
}

impl LeaseWriter {
    pub fn new(link: Link) -> Self {
        Self {
            link,
            queued: VecDeque::new(),
            speed: SpeedWatch::new(Instant::now()),
        }
    }

    /// The next lease to fill; `None` where the orders have ended.
    pub async fn next_lease(&mut self) -> Option<Lease> {
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
            self.report(Report::Wrote(written.span));
            if !written.room {
                break;
            }
        }
        Ok(())
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

    /// Tells the transfer; nobody listens any more if it has been dropped.
    pub fn report(&self, report: Report) {
        let _ = self.link.reports.send((self.link.id, report));
    }
}

async fn queue_until_end(orders: &mut UnboundedReceiver<Order>, queued: &mut VecDeque<Lease>) {
    while let Some(Order::Fetch(lease)) = orders.recv().await {
        queued.push_back(lease);
    }
}
