//! What is read and written when downloads are added: metadata of magnet links that was saved
//! earlier, and copies of uploaded files beside the data, to which session files can point.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha1::{Digest, Sha1};
use tracing::{info, warn};

use super::brief::{Line, PayloadKind};
use super::intake::{self, DownloadSpec, torrent};
use super::request::{AddRequest, RequestError, Source};
use crate::format::magnet::Magnet;
use crate::format::metainfo::Metainfo;
use crate::option::OptionSet;
use crate::option::keys::{BT_LOAD_SAVED_METADATA, DIR, RPC_SAVE_UPLOAD_METADATA};
use crate::store;
use crate::transfer::Job;

/// Turns a request into downloads; `base` are the options of the process. What takes long or needs
/// the disk happens on another thread.
///
/// # Errors
/// As [`intake::accept`].
pub(super) async fn receive(
    request: AddRequest,
    base: Arc<OptionSet>,
) -> Result<Vec<DownloadSpec>, RequestError> {
    if let Source::Uris(_) = request.source {
        let specs = intake::accept(request, &base)?;
        return match specs.iter().any(may_be_saved) {
            true => elsewhere(move || Ok(specs.into_iter().map(with_saved).collect())).await,
            false => Ok(specs),
        };
    }
    elsewhere(move || {
        let copied = match &request.source {
            Source::Torrent(upload) | Source::Metalink(upload) => {
                upload.keep_copy.then(|| upload.file.clone())
            }
            Source::Uris(_) | Source::Again(_) => None,
        };
        let mut specs = intake::accept(request, &base)?;
        if let Some(file) = copied {
            keep_copy(&mut specs, &file);
        }
        Ok(specs)
    })
    .await
}

/// Runs on a thread that may block, if there is a runtime to give one.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(done) => done,
            Err(_) => Err(RequestError::ShutDown),
        },
        Err(_) => work(),
    }
}

fn magnet_of(spec: &DownloadSpec) -> Option<&Arc<Magnet>> {
    match &spec.brief.as_ref()?.job {
        Job::Magnet(magnet) => Some(magnet),
        Job::Uris | Job::Known(_) => None,
    }
}

fn may_be_saved(spec: &DownloadSpec) -> bool {
    magnet_of(spec).is_some() && spec.options.get(BT_LOAD_SAVED_METADATA)
}

/// A magnet link becomes its torrent where that was saved, under the same GID.
fn with_saved(spec: DownloadSpec) -> DownloadSpec {
    let Some(magnet) = magnet_of(&spec).filter(|_| may_be_saved(&spec)).cloned() else {
        return spec;
    };
    let path = saved_path(&spec.options, &magnet.info_hash.to_string());
    let Ok(bytes) = std::fs::read(&path) else {
        return spec;
    };
    let mut metainfo = match Metainfo::parse(&bytes, "") {
        Ok(metainfo) if metainfo.info.hash == magnet.info_hash => metainfo,
        Ok(_) => return spec,
        Err(failure) => {
            warn!("{} is not used: {failure}", path.display());
            return spec;
        }
    };
    info!(
        "The metadata of a magnet link is taken from {}",
        path.display()
    );
    let known = |uri: &String| metainfo.tiers.iter().flatten().any(|other| other == uri);
    let more: Vec<Vec<String>> = magnet
        .trackers
        .iter()
        .filter(|uri| !known(uri))
        .map(|uri| vec![uri.clone()])
        .collect();
    metainfo.tiers.extend(more);
    let line = spec.brief.as_ref().and_then(|brief| brief.line.clone());
    DownloadSpec {
        gid: spec.gid,
        ..torrent::of_metadata(Arc::new(metainfo), &magnet, line, spec.options, spec.paused)
    }
}

/// Where `bt-save-metadata` puts the metadata of a magnet link.
fn saved_path(options: &OptionSet, info_hash: &str) -> PathBuf {
    dir_of(options).join(format!("{info_hash}.torrent"))
}

/// Writes the metadata that a magnet link led to beside the data, if its directory exists. Blocks.
pub(super) fn save_metadata(metainfo: &Metainfo, options: &OptionSet) {
    let path = saved_path(options, &metainfo.info.hash.to_string());
    let file = Metainfo::encode(&metainfo.info.raw, &metainfo.tiers);
    match write(&path, &file) {
        Ok(()) => info!("Metadata saved to {}", path.display()),
        Err(error) => warn!("Metadata cannot be saved to {}: {error}", path.display()),
    }
}

/// Writes an uploaded file into the directory of its downloads, where session files find it.
fn keep_copy(specs: &mut [DownloadSpec], file: &[u8]) {
    let Some(first) = specs.first() else {
        return;
    };
    let kind = first
        .brief
        .as_ref()
        .and_then(|brief| Some(brief.payload.as_ref()?.kind));
    let Some(kind) = kind.filter(|_| first.options.get(RPC_SAVE_UPLOAD_METADATA)) else {
        return;
    };
    let mut name = String::with_capacity(48);
    for byte in Sha1::digest(file) {
        let _ = write!(name, "{byte:02x}");
    }
    name.push_str(match kind {
        PayloadKind::Torrent => ".torrent",
        PayloadKind::Metalink => ".meta4",
    });
    let path = dir_of(&first.options).join(name);
    if let Err(error) = write(&path, file) {
        // The session of this program does not need it.
        warn!("{} cannot be written: {error}", path.display());
        return;
    }
    let text: Arc<str> = Arc::from(path.to_string_lossy());
    for brief in specs.iter_mut().filter_map(|spec| spec.brief.as_mut()) {
        brief.line = Some(Line {
            text: Arc::clone(&text),
            gid: None,
        });
    }
}

fn dir_of(options: &OptionSet) -> PathBuf {
    PathBuf::from(&*options.get(DIR).unwrap_or_else(|| Arc::from(".")))
}

/// Only into a directory that exists, as in aria2. What is there already is replaced.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    store::replace(path, |out| out.write_all(bytes))
}
