//! One HTTP source between a scripted origin and a file; the test plays the transfer task.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arioso::base::error::Failure;
use arioso::base::gid::Gid;
use arioso::base::units::{Rate, SourceId, Span};
use arioso::limit::{LimitBranch, LimitTree, Meter};
use arioso::net::Net;
use arioso::option::OptionSet;
use arioso::option::settings::{DiskSettings, HttpSettings};
use arioso::source::http::{self, HttpShared};
use arioso::source::{Facts, Identity, Lease, Link, Opening, Order, Report, Target};
use arioso::storage::{Files, Layout, OpenMode};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a source is started.
pub struct Setup {
    pub settings: HttpSettings,
    pub expect: Option<Identity>,
    pub rate: Rate,
    pub modified_since: Option<i64>,
    pub net: Arc<Net>,
    /// `None`: not known in advance.
    pub file_len: Option<u64>,
}

impl Default for Setup {
    fn default() -> Self {
        let mut settings = HttpSettings::from(&OptionSet::new());
        settings.connection.timeout = Duration::from_secs(5);
        Self {
            settings,
            expect: None,
            rate: Rate::UNLIMITED,
            modified_since: None,
            net: Net::new(),
            file_len: Some(64 << 20),
        }
    }
}

impl Setup {
    pub fn expecting(len: u64, etag: Option<&str>) -> Self {
        Self {
            expect: Some(Identity {
                len: Some(len),
                etag: etag.map(str::to_owned),
                ..Identity::default()
            }),
            ..Self::default()
        }
    }

    pub fn start(self, uri: &str, opening: Opening) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let disk = DiskSettings::from(&OptionSet::new());
        let layout = Layout::single(&path, self.file_len);
        let files = Arc::new(Files::open(layout, &disk, OpenMode::Fresh).unwrap());
        let tree = LimitTree::new(Rate::UNLIMITED, Rate::UNLIMITED);
        let branch = tree.branch(self.rate, Rate::UNLIMITED);
        let (orders, orders_in) = mpsc::unbounded_channel();
        let (reports_out, reports) = mpsc::unbounded_channel();
        let link = Link {
            id: SourceId(7),
            orders: orders_in,
            reports: reports_out,
            limit: branch.leaf(),
            meter: Arc::new(Meter::new()),
        };
        let target = Target {
            base: 0,
            uri: uri.into(),
            opening,
            expect: self.expect,
            pieces: None,
        };
        let shared = Arc::new(HttpShared {
            gid: Gid::new(1).unwrap(),
            settings: self.settings,
            net: self.net,
            modified_since: self.modified_since,
        });
        tokio::spawn(http::run(target, link, shared));
        Rig {
            orders: Some(orders),
            reports,
            files,
            branch,
            path,
            _dir: dir,
            written: Vec::new(),
        }
    }
}

pub struct Rig {
    orders: Option<UnboundedSender<Order>>,
    reports: UnboundedReceiver<(SourceId, Report)>,
    files: Arc<Files>,
    pub branch: LimitBranch,
    path: PathBuf,
    _dir: tempfile::TempDir,
    /// Every span reported as written.
    pub written: Vec<Span>,
}

/// What ended a wait for reports.
#[derive(Debug)]
pub enum Event {
    Opened(Box<Facts>),
    Idle,
    Ended(u64),
    Closed(Result<(), Failure>),
}

impl Rig {
    pub fn start(uri: &str, opening: Opening) -> Self {
        Setup::default().start(uri, opening)
    }

    /// Hands out a lease; its end can be moved through what is returned.
    pub fn fetch(&self, start: u64, end: u64) -> Arc<AtomicU64> {
        let handle = Arc::new(AtomicU64::new(0));
        let lease = Lease::new(Span::new(start, end), handle.clone(), self.files.clone());
        let orders = self.orders.as_ref().unwrap();
        assert!(orders.send(Order::Fetch(lease)).is_ok());
        handle
    }

    pub fn stop(&mut self) {
        self.orders = None;
    }

    /// The next report other than `Wrote`, which is kept in `written`.
    pub async fn next(&mut self) -> Event {
        loop {
            let report = tokio::time::timeout(PATIENCE, self.reports.recv());
            match report
                .await
                .expect("a report in time")
                .expect("a last report")
                .1
            {
                Report::Wrote(span) => self.written.push(span),
                Report::Opened(facts) => return Event::Opened(facts),
                Report::Idle => return Event::Idle,
                Report::Ended(at) => return Event::Ended(at),
                Report::Closed(outcome) => return Event::Closed(outcome),
            }
        }
    }

    /// Waits until something has been written.
    pub async fn wrote(&mut self) -> Span {
        loop {
            let report = tokio::time::timeout(PATIENCE, self.reports.recv());
            if let Report::Wrote(span) = report.await.unwrap().unwrap().1 {
                self.written.push(span);
                return span;
            }
        }
    }

    pub async fn opened(&mut self) -> Facts {
        match self.next().await {
            Event::Opened(facts) => *facts,
            other => panic!("{other:?}"),
        }
    }

    pub async fn idle(&mut self) {
        match self.next().await {
            Event::Idle => {}
            other => panic!("{other:?}"),
        }
    }

    /// The failure the source closes with; nothing may come between.
    pub async fn failure(&mut self) -> Failure {
        match self.next().await {
            Event::Closed(Err(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// Stops the source and waits until it is gone.
    pub async fn close(&mut self) {
        self.stop();
        match self.next().await {
            Event::Closed(Ok(())) => {}
            other => panic!("{other:?}"),
        }
    }

    pub fn written_len(&self) -> u64 {
        self.written.iter().map(|span| span.len()).sum()
    }

    /// The file as it is on disk, where a slow device may have a queue.
    pub fn bytes(&self) -> Vec<u8> {
        self.files.flush().unwrap();
        std::fs::read(&self.path).unwrap()
    }

    /// Asserts that exactly these spans were written, with the origin's bytes.
    pub fn check(&self, data: &[u8], spans: &[(u64, u64)]) {
        let mut union = self.written.clone();
        union.sort();
        let merged = union
            .into_iter()
            .fold(Vec::<(u64, u64)>::new(), |mut all, span| {
                match all.last_mut() {
                    Some(last) if last.1 == span.start => last.1 = span.end,
                    _ => all.push((span.start, span.end)),
                }
                all
            });
        assert_eq!(merged, spans);
        let bytes = self.bytes();
        for (start, end) in spans {
            let range = *start as usize..*end as usize;
            assert!(
                bytes[range.clone()] == data[range],
                "{start}..{end} differs"
            );
        }
    }
}

/// Moves the end of a lease, as work stealing does.
pub fn shrink(end: &AtomicU64, to: u64) {
    end.store(to, Ordering::Release);
}
