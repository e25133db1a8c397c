//! The order of the queue, and the list of results.

use crate::engine::{How, RequestError};

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::params::Params;
use super::history::older_result;
use super::{Change, Method, Reply, resolve};

/// `aria2.changePosition`.
pub struct ChangePosition {
    gid: String,
    offset: i64,
    how: String,
}

impl Method for ChangePosition {
    const NAME: &'static str = "aria2.changePosition";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
            offset: params.int()?,
            how: params.text()?,
        })
    }
}

impl Change for ChangePosition {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let gid = resolve(&backend.engine, &self.gid)?;
        let how = match self.how.as_str() {
            "POS_SET" => How::Set,
            "POS_CUR" => How::Current,
            "POS_END" => How::End,
            _ => return Err(RpcError::refused("Illegal argument.")),
        };
        let place = backend
            .engine
            .change_position(gid, self.offset, how)
            .await?;
        Ok(Reply::Int(place))
    }
}

/// `aria2.purgeDownloadResult`.
pub struct PurgeDownloadResult;

impl Method for PurgeDownloadResult {
    const NAME: &'static str = "aria2.purgeDownloadResult";

    fn parse(_: &mut Params) -> Result<Self, RpcError> {
        Ok(Self)
    }
}

impl Change for PurgeDownloadResult {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        backend.engine.purge_results().await?;
        Ok(Reply::Ok)
    }
}

/// `aria2.removeDownloadResult`.
pub struct RemoveDownloadResult {
    gid: String,
}

impl Method for RemoveDownloadResult {
    const NAME: &'static str = "aria2.removeDownloadResult";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
        })
    }
}

impl Change for RemoveDownloadResult {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        match resolve(&backend.engine, &self.gid) {
            Ok(gid) => backend.engine.remove_result(gid).await?,
            Err(unknown @ RequestError::UnknownGid(_)) => {
                let older = older_result(backend, &self.gid).await?.ok_or(unknown)?;
                backend.engine.forget_history(older.gid()).await?;
            }
            Err(refused) => return Err(refused.into()),
        }
        Ok(Reply::Ok)
    }
}
