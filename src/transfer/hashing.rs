//! Hashes pieces that mirrors filled, by reading them back.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;

use crate::base::error::{ErrorCode, Failure};
use crate::base::units::{PieceIdx, Span};
use crate::storage::verify::{self, Watch};
use crate::storage::{Content, Files};

/// Hashes as many pieces of one download at once as there are cores.
pub struct PieceHashing {
    turns: Arc<Semaphore>,
}

impl Default for PieceHashing {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
        }
    }
}

impl PieceHashing {
    /// Tells `done` whether the piece has its hash; 17 when it cannot be read.
    pub fn check(
        &self,
        files: &Arc<Files>,
        content: &Arc<Content>,
        (piece, span): (PieceIdx, Span),
        done: impl FnOnce(Result<bool, Failure>) + Send + 'static,
    ) {
        let (turns, files, content) = (self.turns.clone(), files.clone(), content.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(_turn) = turns.acquire_owned().await else {
                return;
            };
            let job = move || done(is_good(&files, &content, piece, span));
            let _ = tokio::task::spawn_blocking(job).await;
        });
    }
}

fn is_good(files: &Files, content: &Content, piece: PieceIdx, span: Span) -> Result<bool, Failure> {
    let none = || Failure::fatal(ErrorCode::Unknown, "the piece has no hash");
    let hashes = content.pieces.as_ref().ok_or_else(none)?;
    let expected = hashes.of(piece).ok_or_else(none)?;
    let watch = Watch {
        done: &|_| (),
        stop: &AtomicBool::new(false),
    };
    let digest = verify::hash_span(files, span, hashes.kind, &watch)?;
    Ok(digest.as_deref() == Some(expected))
}
