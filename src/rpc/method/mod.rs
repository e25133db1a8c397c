//! The methods: one struct each, which reads its parameters and then looks or asks.

pub mod add;
pub mod control;
pub mod export;
pub mod files;
pub mod history;
pub mod option;
pub mod peers;
pub mod queue;
pub mod status;
pub mod system;
pub mod uris;

use std::time::Instant;

use crate::base::gid::Gid;
use crate::engine::{EngineHandle, RequestError};

use super::dispatch::{Backend, Pace};
use super::error::RpcError;
use super::params::Params;
use super::sink::{Sink, pair};
use super::view::{self, Keys};

/// The parameters of one method.
pub trait Method: Sized + Send + 'static {
    const NAME: &'static str;

    /// # Errors
    /// A parameter is missing or of the wrong type; nothing else is judged here, so that types
    /// are complained of before contents, as aria2 does.
    fn parse(params: &mut Params) -> Result<Self, RpcError>;
}

/// A method that only looks.
pub trait Read: Method {
    /// Writes exactly one value.
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError>;
}

/// A method that asks the engine for something.
pub trait Change: Method {
    fn call(self, backend: &Backend) -> impl Future<Output = Result<Reply, RpcError>> + Send;
}

/// A method that looks at so much that others get turns between.
pub trait Long: Method {
    /// Writes exactly one value.
    fn write(
        self,
        backend: &Backend,
        out: &mut dyn Sink,
    ) -> impl Future<Output = Result<(), RpcError>> + Send;
}

/// Rows written before others get a turn.
const ROWS_AT_ONCE: usize = 64;

/// Writes the rows of downloads into an open list. One that is forgotten meanwhile is left out.
async fn write_rows(backend: &Backend, gids: &[Gid], keys: Keys, out: &mut dyn Sink) {
    let mut pace = Pace::new();
    for some in gids.chunks(ROWS_AT_ONCE) {
        backend.engine.read(|registry| {
            let now = Instant::now();
            for download in some.iter().filter_map(|gid| registry.get(*gid)) {
                view::download(download, keys, now, out);
            }
        });
        pace.step().await;
    }
}

/// What changes answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Ok,
    Gid(Gid),
    Gids(Vec<Gid>),
    /// The GID of what a result has become.
    Requeued(Gid),
    Int(i64),
    Pair(u64, u64),
}

impl Reply {
    pub fn write(&self, out: &mut dyn Sink) {
        match self {
            Reply::Ok => out.text("OK"),
            Reply::Gid(gid) => out.text(&gid.to_string()),
            Reply::Gids(gids) => {
                out.open_list();
                gids.iter().for_each(|gid| out.text(&gid.to_string()));
                out.close_list();
            }
            Reply::Requeued(gid) => {
                out.open_struct();
                pair(out, "gid", &gid.to_string());
                // Motrix's word for it: by its URIs.
                pair(out, "strategy", "source-uri");
                out.close_struct();
            }
            Reply::Int(number) => out.int(*number),
            Reply::Pair(first, second) => {
                out.open_list();
                for number in [first, second] {
                    out.int(i64::try_from(*number).unwrap_or(i64::MAX));
                }
                out.close_list();
            }
        }
    }
}

/// The download whose GID begins with `prefix`.
fn resolve(engine: &EngineHandle, prefix: &str) -> Result<Gid, RequestError> {
    engine.read(|registry| registry.find(prefix).map(|download| download.gid()))
}

impl From<RequestError> for RpcError {
    fn from(error: RequestError) -> Self {
        RpcError::refused(error.to_string())
    }
}
