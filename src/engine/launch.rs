//! How the engine starts transfers: the narrow door to rank 7, through which tests put scripted
//! transfers.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::base::gid::Gid;
use crate::limit::LimitBranch;
use crate::option::OptionSet;
use crate::transfer::{
    self, Control, Job, Live, TransferHandle, TransferReport, TransferSpec, WebSeed, World,
};

/// What a transfer needs from the engine.
pub struct Launch {
    pub gid: Gid,
    pub job: Job,
    pub uris: Vec<Arc<str>>,
    pub web_seeds: Vec<WebSeed>,
    pub options: OptionSet,
    /// It is the torrent of another download.
    pub is_torrent_file: bool,
    /// Figures of the earlier run, if there was one.
    pub live: Arc<Live>,
    pub limit: LimitBranch,
    /// Every launched transfer reports `Ended` exactly once.
    pub reports: UnboundedSender<(Gid, TransferReport)>,
}

/// Starts transfers.
pub trait Launcher: Send {
    fn launch(&mut self, launch: Launch) -> Box<dyn Running>;
}

/// A transfer that runs.
pub trait Running: Send {
    fn send(&self, control: Control);
}

/// Starts real transfers on the data runtime.
pub struct DataRuntime {
    pub world: Arc<World>,
    pub runtime: tokio::runtime::Handle,
}

impl Launcher for DataRuntime {
    fn launch(&mut self, launch: Launch) -> Box<dyn Running> {
        let Launch {
            gid,
            job,
            uris,
            web_seeds,
            options,
            is_torrent_file,
            live,
            limit,
            reports,
        } = launch;
        let world = Arc::clone(&self.world);
        let spec = TransferSpec {
            gid,
            job,
            uris,
            web_seeds,
            options,
            is_torrent_file,
            live,
            limit,
            world,
            reports,
        };
        Box::new(transfer::spawn(spec, &self.runtime))
    }
}

impl Running for TransferHandle {
    fn send(&self, control: Control) {
        TransferHandle::send(self, control);
    }
}
