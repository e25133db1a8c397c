//! Adding downloads.

use crate::engine::{self, AddRequest, Source};
use crate::option::spec::ADD;

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::params::{self, Params, Upload};
use super::super::value::Members;
use super::option::{Changes, check, check_files};
use super::{Change, Method, Reply};

/// `aria2.addUri`: mirrors of one file.
pub struct AddUri {
    uris: Vec<String>,
    place: Place,
}

impl Method for AddUri {
    const NAME: &'static str = "aria2.addUri";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            uris: params.texts()?,
            place: Place::parse(params)?,
        })
    }
}

impl Change for AddUri {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        if self.uris.is_empty() {
            return Err(RpcError::refused("URI is not provided."));
        }
        let (options, position) = self.place.resolve(backend).await?;
        let mut request = AddRequest::uris(self.uris);
        request.options = options;
        let gids = backend.engine.add(request, position).await?;
        match gids.first() {
            Some(gid) => Ok(Reply::Gid(*gid)),
            None => Err(RpcError::refused("No URI to download.")),
        }
    }
}

/// `aria2.addTorrent`: a torrent file and its web seeds.
pub struct AddTorrent {
    torrent: Upload,
    uris: Vec<String>,
    place: Place,
}

impl Method for AddTorrent {
    const NAME: &'static str = "aria2.addTorrent";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            torrent: params.upload()?,
            uris: params.optional_texts()?.unwrap_or_default(),
            place: Place::parse(params)?,
        })
    }
}

impl Change for AddTorrent {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let upload = engine::Upload {
            file: self.torrent.into_bytes().into(),
            uris: self.uris,
            path: None,
            keep_copy: true,
        };
        let (options, position) = self.place.resolve(backend).await?;
        let request = AddRequest {
            source: Source::Torrent(upload),
            options,
        };
        let gids = backend.engine.add(request, position).await?;
        match gids.first() {
            Some(gid) => Ok(Reply::Gid(*gid)),
            None => Err(RpcError::refused("No URI to download.")),
        }
    }
}

/// `aria2.addMetalink`: a Metalink document, which may bring several downloads.
pub struct AddMetalink {
    document: Upload,
    place: Place,
}

impl Method for AddMetalink {
    const NAME: &'static str = "aria2.addMetalink";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            document: params.upload()?,
            place: Place::parse(params)?,
        })
    }
}

impl Change for AddMetalink {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let upload = engine::Upload {
            file: self.document.into_bytes().into(),
            uris: Vec::new(),
            path: None,
            keep_copy: true,
        };
        let (options, position) = self.place.resolve(backend).await?;
        let request = AddRequest {
            source: Source::Metalink(upload),
            options,
        };
        let gids = backend.engine.add(request, position).await?;
        Ok(Reply::Gids(gids))
    }
}

/// The last two parameters of every method that adds.
struct Place {
    options: Members,
    position: Option<i64>,
}

impl Place {
    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            options: params.optional_members()?.unwrap_or_default(),
            position: params.optional_int()?,
        })
    }

    async fn resolve(self, backend: &Backend) -> Result<(Changes, Option<usize>), RpcError> {
        let options = super::option::changes(self.options, &[ADD], backend.allow_hooks);
        check(&options)?;
        let global = backend
            .engine
            .read(|registry| registry.global_options().clone());
        check_files(backend, global, &options).await?;
        Ok((options, params::index(self.position)?))
    }
}
