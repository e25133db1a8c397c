//! Pausing, going on and removing.

use crate::base::gid::Gid;
use crate::engine::{EngineHandle, RequestError};

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::params::Params;
use super::{Change, Method, Reply, resolve};

/// Methods on one download that answer its GID.
macro_rules! on_one {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal: |$engine:ident, $gid:ident| $call:expr;)*) => {$(
        $(#[doc = $doc])+
        pub struct $name {
            gid: String,
        }

        impl Method for $name {
            const NAME: &'static str = $wire;

            fn parse(params: &mut Params) -> Result<Self, RpcError> {
                Ok(Self { gid: params.text()? })
            }
        }

        impl Change for $name {
            async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
                async fn act($engine: &EngineHandle, $gid: Gid) -> Result<(), RequestError> {
                    $call.await
                }
                let gid = resolve(&backend.engine, &self.gid)?;
                act(&backend.engine, gid).await?;
                Ok(Reply::Gid(gid))
            }
        }
    )*};
}

/// Methods on all downloads; these always succeed.
macro_rules! on_all {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal: |$engine:ident| $call:expr;)*) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl Method for $name {
            const NAME: &'static str = $wire;

            fn parse(_: &mut Params) -> Result<Self, RpcError> {
                Ok(Self)
            }
        }

        impl Change for $name {
            async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
                let $engine = &backend.engine;
                $call.await?;
                Ok(Reply::Ok)
            }
        }
    )*};
}

on_one! {
    /// Stops a download for good.
    Remove = "aria2.remove": |engine, gid| engine.remove(gid, false);
    /// The same without telling trackers first.
    ForceRemove = "aria2.forceRemove": |engine, gid| engine.remove(gid, true);
    /// Pauses an active or waiting download.
    Pause = "aria2.pause": |engine, gid| engine.pause(gid, false);
    /// The same without telling trackers first.
    ForcePause = "aria2.forcePause": |engine, gid| engine.pause(gid, true);
    /// Lets a paused download wait for its turn.
    Unpause = "aria2.unpause": |engine, gid| engine.unpause(gid);
}

on_all! {
    /// Pauses every download.
    PauseAll = "aria2.pauseAll": |engine| engine.pause_all(false);
    /// The same without telling trackers first.
    ForcePauseAll = "aria2.forcePauseAll": |engine| engine.pause_all(true);
    /// Lets every paused download wait for its turn.
    UnpauseAll = "aria2.unpauseAll": |engine| engine.unpause_all();
}
