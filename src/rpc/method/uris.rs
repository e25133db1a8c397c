//! Files, mirrors and servers of one download.

use std::time::Instant;

use crate::engine::RequestError;

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::params::{self, Params};
use super::super::sink::Sink;
use super::super::view;
use super::{Change, Method, Read, Reply, resolve};

/// Methods that show something of the one download they are given.
macro_rules! getters {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal;)*) => {$(
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
    )*};
}

getters! {
    /// `aria2.getUris`.
    GetUris = "aria2.getUris";
    /// `aria2.getFiles`.
    GetFiles = "aria2.getFiles";
    /// `aria2.getServers`.
    GetServers = "aria2.getServers";
}

impl Read for GetUris {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        backend.engine.read(|registry| {
            let download = registry.find(&self.gid)?;
            if download.is_stopped() {
                return Err(RequestError::NoUris(download.gid()).into());
            }
            // Those of the first file, as in aria2.
            let files = download.files();
            view::uris(files.first().map_or(&[], |file| &file.uris), out);
            Ok(())
        })
    }
}

impl Read for GetFiles {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        backend.engine.read(|registry| {
            view::files(&registry.find(&self.gid)?.files(), out);
            Ok(())
        })
    }
}

impl Read for GetServers {
    fn read(self, backend: &Backend, out: &mut dyn Sink) -> Result<(), RpcError> {
        backend.engine.read(|registry| {
            let download = registry.find(&self.gid)?;
            if !download.is_active() {
                return Err(RequestError::NotActive(download.gid()).into());
            }
            let (files, servers) = (download.files(), download.servers());
            view::servers(&files, &servers, Instant::now(), out);
            Ok(())
        })
    }
}

/// `aria2.changeUri`.
pub struct ChangeUri {
    gid: String,
    file_index: i64,
    remove: Vec<String>,
    add: Vec<String>,
    position: Option<i64>,
}

impl Method for ChangeUri {
    const NAME: &'static str = "aria2.changeUri";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
            file_index: params.int_from(1)?,
            remove: params.texts()?,
            add: params.texts()?,
            position: params.optional_int()?,
        })
    }
}

impl Change for ChangeUri {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let gid = resolve(&backend.engine, &self.gid)?;
        let position = params::index(self.position)?;
        let file_index = usize::try_from(self.file_index).unwrap_or(usize::MAX);
        let (removed, added) = backend
            .engine
            .change_uri(gid, file_index, self.remove, self.add, position)
            .await?;
        Ok(Reply::Pair(removed, added))
    }
}
