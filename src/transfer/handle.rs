//! The engine's view of a transfer: what it is given, what it is told, what it says.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::base::error::{ErrorCode, Failure};
use crate::base::gid::Gid;
use crate::bittorrent::bt_net::BtNet;
use crate::format::metainfo::Metainfo;
use crate::limit::LimitBranch;
use crate::net::Net;
use crate::option::OptionSet;
use crate::store::FinishLog;

use super::claims::PathClaims;
use super::document::Document;
use super::job::{Job, WebSeed};
use super::live::Live;
use super::metadata_task::MetadataTask;
use super::stats::ServerStats;
use super::task::Task;

/// What all transfers of a process share.
pub struct World {
    pub net: Arc<Net>,
    /// Opened by the first torrent.
    pub bt: Arc<BtNet>,
    pub paths: PathClaims,
    pub stats: ServerStats,
}

/// Everything one transfer needs to know.
pub struct TransferSpec {
    pub gid: Gid,
    pub job: Job,
    /// Mirrors of the only file, in order.
    pub uris: Vec<Arc<str>>,
    /// Mirrors of the files of a download of several.
    pub web_seeds: Vec<WebSeed>,
    pub options: OptionSet,
    /// It is fetched for the sake of another download, as a torrent whatever its name.
    pub is_torrent_file: bool,
    /// Figures of the earlier run, if there was one.
    pub live: Arc<Live>,
    pub limit: LimitBranch,
    /// Where to note what is finished, if there is a session.
    pub finish_log: Option<Arc<FinishLog>>,
    /// Another download has led to it.
    pub follows: bool,
    /// `Ended` is reported exactly once.
    pub reports: UnboundedSender<(Gid, TransferReport)>,
}

/// What the engine tells a transfer.
#[derive(Debug)]
pub enum Control {
    /// End now, keeping what is there. With `force`, nothing slow is waited for.
    Stop { force: bool },
    /// Enough was given: seeding ends, as complete.
    Leave { force: bool },
    /// The list of mirrors of a file changed.
    Uris {
        /// Index into the files of the download, from 0.
        file: usize,
        remove: Vec<Arc<str>>,
        add: Vec<Arc<str>>,
        at: Option<usize>,
    },
    /// Options that apply at once changed.
    Options(OptionSet),
    /// Bring the control file up to date.
    Save,
}

/// What a transfer tells the engine.
#[derive(Debug)]
pub enum TransferReport {
    Phase(Phase),
    /// The metadata a magnet link names has come; `Ended` follows.
    Metadata(Arc<Metainfo>),
    /// What was fetched is a torrent or Metalink that is to be followed; `Ended` follows.
    Document(Box<Document>),
    Ended(Ended),
}

/// What an active download is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Opening,
    Checking,
    Allocating,
    Fetching,
    Seeding,
}

/// How a transfer ended; its control file is saved by then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    Complete,
    Stopped,
    Failed(Failure),
}

/// The engine's end of a running transfer; dropping it stops the transfer.
pub struct TransferHandle {
    controls: UnboundedSender<Control>,
}

impl TransferHandle {
    pub fn send(&self, control: Control) {
        // A transfer that has ended has said so itself.
        let _ = self.controls.send(control);
    }
}

/// Starts a transfer on the data runtime.
pub fn spawn(
    spec: TransferSpec,
    world: Arc<World>,
    runtime: &tokio::runtime::Handle,
) -> TransferHandle {
    let (controls, inbox) = mpsc::unbounded_channel();
    let (gid, reports) = (spec.gid, spec.reports.clone());
    runtime.spawn(async move {
        let run = AssertUnwindSafe(run(spec, world.clone(), inbox))
            .catch_unwind()
            .await;
        let ended = run.unwrap_or_else(|_| {
            Ended::Failed(Failure::fatal(
                ErrorCode::Unknown,
                "the transfer broke down (a bug in arioso)",
            ))
        });
        world.paths.release(gid);
        let _ = reports.send((gid, TransferReport::Ended(ended)));
    });
    TransferHandle { controls }
}

async fn run(spec: TransferSpec, world: Arc<World>, controls: UnboundedReceiver<Control>) -> Ended {
    match &spec.job {
        Job::Magnet(magnet) => {
            let magnet = magnet.clone();
            MetadataTask::new(spec, world, magnet, controls).run().await
        }
        Job::Uris | Job::Known(_) => match Task::new(spec, world, controls) {
            Ok(task) => task.run().await,
            Err(failure) => Ended::Failed(failure),
        },
    }
}
