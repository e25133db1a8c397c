//! The session as a file of its own.

use std::path::{Component, Path, PathBuf};

use super::super::dispatch::Backend;
use super::super::error::RpcError;
use super::super::jail::real_path;
use super::super::params::Params;
use super::{Change, Method, Reply};
use crate::option::keys;

/// `aria2.exportSession`: the session in aria2's format, into a file in the state directory.
pub struct ExportSession {
    path: String,
}

impl Method for ExportSession {
    const NAME: &'static str = "aria2.exportSession";

    fn parse(params: &mut Params) -> Result<Self, RpcError> {
        Ok(Self {
            path: params.text()?,
        })
    }
}

impl Change for ExportSession {
    async fn call(self, backend: &Backend) -> Result<Reply, RpcError> {
        let state_dir = backend
            .engine
            .read(|registry| registry.global_options().get(keys::STATE_DIR));
        let state_dir = state_dir.filter(|dir| !dir.is_empty()).ok_or_else(|| {
            RpcError::refused("A session is exported to the state directory, and there is none.")
        })?;
        let path = PathBuf::from(self.path);
        let look = move || export_path(Path::new(&*state_dir), &path);
        let path = tokio::task::spawn_blocking(look)
            .await
            .unwrap_or_default()
            .ok_or_else(|| {
                RpcError::refused(
                    "A session is exported to a file NAME.session in the state directory.",
                )
            })?;
        backend.engine.export_session(path).await?;
        Ok(Reply::Ok)
    }
}

/// Where an export may go: a plain file or a new one in the state directory itself. None of the
/// store's own files ends so.
fn export_path(state_dir: &Path, wanted: &Path) -> Option<PathBuf> {
    let name = wanted.file_name()?.to_str()?;
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    plain
        .strip_suffix(".session")
        .filter(|stem| !stem.is_empty())?;
    if wanted.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let state_dir = real_path(state_dir).ok()?;
    let path = state_dir.join(wanted);
    if real_path(path.parent()?).ok()? != state_dir {
        return None;
    }
    let path = state_dir.join(name);
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => None,
        _ => Some(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_stay_in_the_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let state = root.join("state");
        std::fs::create_dir_all(state.join("dir.session")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", state.join("link.session")).unwrap();
        std::os::unix::fs::symlink(&root, state.join("up")).unwrap();
        for (wanted, allowed) in [
            ("a.session", true),
            ("./a.session", true),
            ("a.session.gz", true),
            (&*state.join("a.session").to_string_lossy(), true),
            ("session.txt", false),
            ("store/db", false),
            (".session", false),
            ("sub/a.session", false),
            ("../a.session", false),
            ("up/a.session", false),
            ("link.session", false),
            ("dir.session", false),
            ("/tmp/a.session", false),
            ("", false),
        ] {
            let path = export_path(&state, Path::new(wanted));
            assert_eq!(path.is_some(), allowed, "{wanted}: {path:?}");
        }
    }
}
