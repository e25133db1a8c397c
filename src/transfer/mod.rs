//! Rank 7: one download. [`plan`] decides, `task` does.

pub mod claims;
mod content_destination;
mod content_finish;
mod content_prepare;
pub mod crowd;
mod destination;
mod document;
mod earlier;
mod finish;
mod handle;
mod hash_check;
mod hashing;
mod job;
mod keeper;
pub mod live;
mod metadata_task;
mod mirrors;
pub mod pace;
pub mod picker;
pub mod piece_map;
pub mod plan;
pub mod retry;
mod saver;
mod seeding;
mod setup;
pub mod stats;
mod sync_pace;
mod task;
mod torrent;
pub mod uri_pool;

pub use document::Document;
pub use handle::{
    Control, Ended, Phase, TransferHandle, TransferReport, TransferSpec, World, spawn,
};
pub use job::{Job, WebSeed};
pub use live::{Detail, Live, PeerEntry, PeerFigures, Restored, ServerEntry, Verified};

pub use uri_pool::UriEntry;
