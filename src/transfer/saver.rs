//! Saves the progress of one download: what its map, and the assembler of its torrent, know to be
//! on the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::base::error::Failure;
use crate::base::range_set::RangeSet;
use crate::bittorrent::assembler::Assembler;
use crate::format::control_file::ControlFile;
use crate::storage::Files;
use crate::storage::progress::Durability;

use super::keeper::ControlKeeper;
use super::piece_map::PieceMap;
use super::sync_pace::SyncPace;

/// Blocks of a piece that got none for so long are written before its hash is known.
const IDLE: Duration = Duration::from_secs(1);
/// More bytes than these are not left in memory.
const PARTIAL_MAX: u64 = 16 << 20;

/// The open files of a download.
pub struct OpenFile {
    pub files: Arc<Files>,
    pub keeper: Arc<ControlKeeper>,
    /// A device or pipe: no length, no control file, no date.
    pub special: bool,
}

/// What peers have to do with it.
pub struct Swarm {
    pub info_hash: [u8; 20],
    /// All bytes given.
    pub uploaded: u64,
    /// Bytes that came and are not written.
    pub partial: u64,
    pub assembler: Arc<Assembler>,
}

/// The state of a download, to be saved.
pub struct State {
    trusted: RangeSet,
    written: u64,
    total: u64,
    piece_len: u32,
    swarm: Option<Swarm>,
}

impl State {
    /// `None` where no control file says it.
    pub fn of(map: &PieceMap, swarm: Option<Swarm>) -> Option<Self> {
        Some(Self {
            trusted: map.trusted(),
            written: map.written().total(),
            total: map.total()?,
            piece_len: u32::try_from(map.piece_len()).ok()?,
            swarm,
        })
    }

    /// Bytes that were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Saves it; in the end with `all` that is in memory. Blocks. Gives the bytes that are on the
    /// disk.
    ///
    /// # Errors
    /// As [`ControlKeeper::save`] and [`Assembler::flush`].
    pub fn save(
        mut self,
        keeper: &ControlKeeper,
        turn: super::keeper::Turn,
        durability: Durability,
        all: bool,
    ) -> Result<RangeSet, Failure> {
        let mut flushed = Ok(());
        if let Some(swarm) = &self.swarm {
            let idle = match all || swarm.partial > PARTIAL_MAX {
                true => Duration::ZERO,
                false => IDLE,
            };
            match swarm.assembler.flush(idle) {
                Ok(on_disk) => self.trusted.extend(on_disk.iter()),
                Err(failure) => flushed = Err(failure),
            }
        }
        if let Some(mut control) =
            ControlFile::from_ranges(&self.trusted, self.total, self.piece_len)
        {
            if let Some(swarm) = &self.swarm {
                control.info_hash = Some(swarm.info_hash);
                control.uploaded = swarm.uploaded;
            }
            keeper.save(turn, &control, durability)?;
        }
        flushed.map(|()| self.trusted)
    }
}

/// Replaces control files one at a time, at the pace the disk bears.
#[derive(Default)]
pub struct Saver {
    pace: Arc<SyncPace>,
    saving: Option<JoinHandle<()>>,
}

impl Saver {
    /// Saves on a disk thread and tells `done` what came of it.
    pub fn save(
        &mut self,
        state: State,
        target: &OpenFile,
        done: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) {
        let (keeper, turn) = (target.keeper.clone(), target.keeper.turn());
        let pace = self.pace.clone();
        let durability = pace.durability(state.written());
        self.saving = Some(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let saved = state.save(&keeper, turn, durability, false);
            pace.note(durability, began.elapsed());
            done(saved.map(|_| ()));
        }));
    }

    /// The last save; gives the bytes that are on the disk. With `wait` after those before it:
    /// two at once would write the same temporary file.
    ///
    /// # Errors
    /// As [`State::save`].
    pub async fn save_last(
        &mut self,
        state: State,
        target: &OpenFile,
        wait: bool,
    ) -> Result<RangeSet, Failure> {
        if let Some(saving) = self.saving.take().filter(|_| wait) {
            let _ = saving.await;
        }
        let (keeper, turn) = (target.keeper.clone(), target.keeper.turn());
        let fallback = state.trusted.clone();
        let save = move || state.save(&keeper, turn, Durability::Process, true);
        match tokio::task::spawn_blocking(save).await {
            Ok(saved) => saved,
            Err(_) => Ok(fallback),
        }
    }
}
