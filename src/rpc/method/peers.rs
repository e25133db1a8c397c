//! Peers that no torrent talks to.

use std::sync::Arc;

use crate::engine::RequestError;

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::params::Params;
use super::super::sink::{Sink, texts};
use super::{Change, Method, Read, Reply};

/// `arioso.setPeerBlocklist`: replaces the list of addresses, networks and ranges that clients have
/// named, beside that of the file `bt-peer-blocklist`. Connected ones are hung up on. It lasts as
/// long as the process, like what `aria2.changeGlobalOption` sets.
pub struct SetPeerBlocklist {
    lines: Vec<String>,
}

impl Method for SetPeerBlocklist {
    const NAME: &'static str = "arioso.setPeerBlocklist";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            lines: params.texts()?,
        })
    }
}

impl Change for SetPeerBlocklist {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let filter = Arc::clone(backend.engine.peer_filter());
        // A list may be long.
        let set = tokio::task::spawn_blocking(move || filter.set_named(self.lines));
        match set.await {
            Ok(Ok(())) => Ok(Reply::Ok),
            Ok(Err(line)) => Err(RpcError::refused(format!(
                "No address, network or range of addresses: {line}"
            ))),
            Err(_) => Err(RequestError::ShutDown.into()),
        }
    }
}

/// `arioso.getPeerBlocklist`: what [`SetPeerBlocklist`] was told.
pub struct GetPeerBlocklist;

impl Method for GetPeerBlocklist {
    const NAME: &'static str = "arioso.getPeerBlocklist";

    fn parse(_: &mut Params) -> Result<Self, RpcError> {
        Ok(Self)
    }
}

impl Read for GetPeerBlocklist {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        let named = backend.engine.peer_filter().named();
        texts(out, named.iter().map(String::as_str));
        Ok(())
    }
}
