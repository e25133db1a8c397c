//! Removing a download together with what it has written.

use std::path::{Path, PathBuf};

use crate::base::gid::Gid;
use crate::engine::{Footprint, Registry, RequestError};
use crate::storage::discard::Discard;

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::params::Params;
use super::{Change, Method, Reply, resolve};

/// `arioso.removeWithFiles`: stops a download if it runs, forgets it, and deletes the files it has
/// written and their control files. A file that existed before and was not touched stays.
pub struct RemoveWithFiles {
    gid: String,
}

impl Method for RemoveWithFiles {
    const NAME: &'static str = "arioso.removeWithFiles";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            gid: params.text()?,
        })
    }
}

impl Change for RemoveWithFiles {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let engine = &backend.engine;
        let gid = resolve(engine, &self.gid)?;
        let footprint = || engine.read(|registry| Some(registry.get(gid)?.footprint()));
        let Some(first) = footprint() else {
            return Err(RequestError::UnknownGid(gid.to_string()).into());
        };
        // What must not be deleted is found out before anything is stopped.
        discard(backend, gid, &first, Step::Look).await?;
        // An error means that it has stopped already.
        let _ = engine.remove(gid, true).await;
        engine.until_quiet(gid).await?;
        // One that waited or was paused is forgotten by now.
        let last = footprint().unwrap_or(first);
        // An error means that it is forgotten.
        let _ = engine.remove_result(gid).await;
        discard(backend, gid, &last, Step::Delete).await?;
        Ok(Reply::Gid(gid))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Look,
    Delete,
}

/// Looks at the files or deletes them, on another thread.
async fn discard(
    backend: &Backend,
    gid: Gid,
    footprint: &Footprint,
    step: Step,
) -> Result<(), RpcError> {
    let (dir, files, root) = (footprint.dir(), footprint.files(), footprint.root());
    let shared = backend.engine.read(|registry| {
        let mut files = files.iter();
        files.any(|file| is_used_by_another(registry, gid, file))
    });
    if shared {
        return Err(RpcError::refused(format!(
            "The files of GID#{gid} are in use by another download."
        )));
    }
    let jail = backend.jail.clone();
    let work = move || {
        let outside = |file: &PathBuf| jail.as_ref().is_some_and(|jail| !jail.holds(file));
        if let Some(file) = files.iter().find(|file| outside(file)) {
            return Err(format!("{} is not deleted: it is outside.", file.display()));
        }
        let plan = Discard::plan(&dir, files);
        let done = plan.and_then(|plan| match step {
            Step::Look => Ok(()),
            Step::Delete => plan.with_root(root).run(&dir),
        });
        done.map_err(|failure| failure.message)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(RpcError::refused),
        Err(_) => Err(RequestError::ShutDown.into()),
    }
}

/// Whether a download that may still write has the same file.
fn is_used_by_another(registry: &Registry, gid: Gid, file: &Path) -> bool {
    let mut others = registry.active().chain(registry.waiting());
    others.any(|other| {
        other.gid() != gid
            && other.has_written()
            && match other.brief() {
                Some(_) => other.footprint().files().iter().any(|path| path == file),
                None => Path::new(&other.path()) == file,
            }
    })
}
