//! The file of nodes on the disk: `dht-file-path`, which aria2 reads too.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use super::file::DhtFile;
use super::{Node, NodeId};

/// Files of ours are much smaller.
const LEN_MAX: u64 = 1 << 20;
/// A stalled disk does not keep the DHT from working.
const READ_TIME_MAX: Duration = Duration::from_secs(5);

/// What the file says; nothing where there is none, or none that can be read.
pub async fn load(path: Option<PathBuf>) -> Option<DhtFile> {
    let path = path?;
    let read = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || read(&path))
    };
    let bytes = match tokio::time::timeout(READ_TIME_MAX, read).await {
        Ok(Ok(Ok(bytes))) => bytes,
        Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::NotFound => return None,
        Ok(Ok(Err(error))) => {
            warn!("{} cannot be read: {error}", path.display());
            return None;
        }
        _ => {
            warn!("{} cannot be read in time", path.display());
            return None;
        }
    };
    match DhtFile::decode(&bytes) {
        Ok(file) => {
            debug!("{} DHT nodes in {}", file.nodes.len(), path.display());
            Some(file)
        }
        Err(error) => {
            warn!("{}: {error}", path.display());
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > LEN_MAX {
        return Err(io::Error::other("it is too large"));
    }
    std::fs::read(path)
}

/// Replaces the file. Failures are logged: the next start is slower, no more. Blocks.
pub fn save(path: &Path, id: NodeId, nodes: Vec<Node>) {
    let saved_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let file = DhtFile {
        id,
        saved_at: saved_at.map_or(0, |time| time.as_secs()),
        nodes,
    };
    if let Err(error) = replace(path, &file.encode()) {
        warn!("{} cannot be written: {error}", path.display());
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn saved_and_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/dht.dat");
        assert_eq!(load(None).await, None);
        assert_eq!(load(Some(path.clone())).await, None);
        let node = Node {
            id: NodeId([1; 20]),
            address: "1.2.3.4:5".parse().unwrap(),
        };
        for _ in 0..2 {
            save(&path, NodeId([2; 20]), vec![node]);
        }
        let file = load(Some(path.clone())).await.unwrap();
        assert_eq!((file.id, file.nodes), (NodeId([2; 20]), vec![node]));
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1);
        std::fs::write(&path, b"nonsense").unwrap();
        assert_eq!(load(Some(path)).await, None);
    }
}
