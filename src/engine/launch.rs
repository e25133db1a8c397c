//! How the engine starts transfers: the narrow door to rank 7, through which tests put scripted
//! transfers.

use std::sync::Arc;

use crate::transfer::{self, Control, TransferHandle, TransferSpec, World};

/// Starts transfers.
pub trait Launcher: Send {
    fn launch(&mut self, spec: TransferSpec) -> Box<dyn Running>;
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
    fn launch(&mut self, spec: TransferSpec) -> Box<dyn Running> {
        let world = Arc::clone(&self.world);
        Box::new(transfer::spawn(spec, world, &self.runtime))
    }
}

impl Running for TransferHandle {
    fn send(&self, control: Control) {
        TransferHandle::send(self, control);
    }
}
