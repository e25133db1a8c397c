//! One transfer as the engine runs it, with the test in the engine's place.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arioso::base::gid::Gid;
use arioso::base::units::Rate;
use arioso::bittorrent::bt_net::BtNet;
use arioso::limit::LimitTree;
use arioso::net::Net;
use arioso::option::{OptionSet, find};
use arioso::transfer::{
    self, Control, Ended, Job, Live, Phase, TransferHandle, TransferReport, TransferSpec, World,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub struct Run {
    runtime: Runtime,
    handle: TransferHandle,
    inbox: UnboundedReceiver<(Gid, TransferReport)>,
}

impl Run {
    /// Downloads `uri` into `dir` with these options besides, in a runtime of its own.
    pub fn start(
        runtime: Runtime,
        (dir, uri): (&Path, &str),
        options: &[(&str, &str)],
        live: &Arc<Live>,
    ) -> Self {
        let (reports, inbox) = unbounded_channel();
        let unlimited = Rate::UNLIMITED;
        let net = Net::new();
        let spec = TransferSpec {
            job: Job::Uris,
            web_seeds: Vec::new(),
            gid: Gid::new(7).unwrap(),
            uris: vec![uri.into()],
            options: option_set(dir, options),
            is_torrent_file: false,
            live: Arc::clone(live),
            limit: LimitTree::new(unlimited, unlimited).branch(unlimited, unlimited),
            finish_log: None,
            follows: false,
            reports,
        };
        let world = Arc::new(World {
            bt: BtNet::new(net.clone(), &OptionSet::default()),
            net,
            paths: Default::default(),
            stats: Default::default(),
        });
        let inside = runtime.enter();
        let handle = transfer::spawn(spec, world, runtime.handle());
        drop(inside);
        Self {
            runtime,
            handle,
            inbox,
        }
    }

    pub fn stop(&self) {
        self.handle.send(Control::Stop { force: false });
    }

    /// Runs on until this phase; on a runtime of one thread the transfer stands still after it.
    pub fn until(&mut self, wanted: Phase) {
        loop {
            match self.next() {
                TransferReport::Phase(phase) if phase == wanted => return,
                TransferReport::Ended(ended) => panic!("{ended:?} before {wanted:?}"),
                _ => {}
            }
        }
    }

    /// Runs on until it is so.
    pub fn until_so(&self, is_so: impl Fn() -> bool) {
        self.runtime.block_on(async {
            let patience = Instant::now();
            while !is_so() {
                assert!(patience.elapsed() < Duration::from_secs(30));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }

    pub fn end(mut self) -> Ended {
        loop {
            if let TransferReport::Ended(ended) = self.next() {
                return ended;
            }
        }
    }

    fn next(&mut self) -> TransferReport {
        let report = self.runtime.block_on(self.inbox.recv());
        report.expect("a last report").1
    }
}

fn option_set(dir: &Path, more: &[(&str, &str)]) -> OptionSet {
    let mut options = OptionSet::new();
    let common = [
        ("dir", dir.to_str().unwrap()),
        ("split", "4"),
        ("max-connection-per-server", "4"),
        ("min-split-size", "1M"),
        ("no-netrc", "true"),
    ];
    for (name, text) in common.iter().chain(more) {
        options.set_text(find(name).unwrap(), text).unwrap();
    }
    options
}
