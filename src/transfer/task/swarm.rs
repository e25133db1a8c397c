//! The transfer task of a torrent: how it gets its swarm and when it begins to give only.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::base::rng::Rng;
use crate::base::units::Span;
use crate::bittorrent::assembler::Assembler;
use crate::bittorrent::discovery::SwarmFigures;
use crate::storage::Layout;

use super::{Checked, Task};
use crate::transfer::content_destination::ContentPlace;
use crate::transfer::crowd::{Crowd, CrowdSettings, urgent_pieces};
use crate::transfer::handle::Phase;
use crate::transfer::piece_map::PieceMap;
use crate::transfer::torrent::{Address, Basis, Torrent, connect};

impl Task {
    /// Seeks peers, once the files are open.
    pub(super) async fn join_swarm(&mut self) {
        let destination = self.destination.clone();
        let (Some(place), Some(target)) = (&destination.content, &self.target) else {
            return;
        };
        let have = self.plan.map().have().clone();
        if have.all() && self.found_whole.is_none() {
            self.found_whole = Some(Checked::ByControlFile);
        }
        let (Some(torrent), false) = (&place.content.torrent, self.ends_when_whole()) else {
            return;
        };
        let files = target.files.clone();
        let cache_len_max = files.settings().cache_len_max;
        let Some(assembler) = Assembler::new(files, place.content.clone(), have.clone()) else {
            return;
        };
        let figures = Arc::new(SwarmFigures::default());
        let map = self.plan.map();
        let left = map.wanted_len().unwrap_or(0);
        let left = left.saturating_sub(map.wanted_written());
        figures.left.store(left, Ordering::Relaxed);
        let connections = connect(
            self.gid,
            Address::of_torrent(torrent),
            (&self.world.bt, &self.world.net),
            &self.options,
            Some(assembler.clone()),
            (self.limit.clone(), figures.clone()),
        )
        .await;
        let basis = Basis {
            settings: place.bt.clone(),
            limit: self.limit.clone(),
            live: self.live.clone(),
            figures,
            uploaded_before: self.uploaded_before,
        };
        let torrent = Torrent::new(
            Instant::now(),
            connections,
            crowd_of(place, &assembler, self.plan.map(), cache_len_max),
            assembler,
            basis,
        );
        self.torrent = Some(Box::new(torrent));
    }

    /// Nothing is given of what a hash check found complete (`bt-hash-check-seed=false`,
    /// `hash-check-only`).
    fn ends_when_whole(&self) -> bool {
        let place = self.destination.content.as_ref();
        if self.found_whole == Some(Checked::ByHash) && self.settings.hash_check_only {
            return true;
        }
        self.found_whole == Some(Checked::ByHash)
            && place.is_some_and(|place| !place.bt.hash_check_seed)
    }

    /// Everything wanted is there.
    pub(super) fn begin_seeding(&mut self) {
        let Some(torrent) = &mut self.torrent else {
            return self.plan.handle_seeding_over();
        };
        let fetched = self.found_whole.is_none();
        torrent.begin_seeding(Instant::now(), self.plan.map().wanted_written(), fetched);
        self.tell(Phase::Seeding);
    }
}

fn crowd_of(
    place: &ContentPlace,
    assembler: &Assembler,
    map: &PieceMap,
    cache_len_max: u64,
) -> Crowd {
    let (shape, layout) = (assembler.shape(), &place.layout);
    let piece_len = u64::from(shape.piece_len);
    let rng = Rng::from_entropy();
    let mut crowd = Crowd::new(
        shape,
        CrowdSettings::within(cache_len_max),
        map.have(),
        &map.wanted(),
        rng,
    );
    let ends = place.bt.prioritize;
    let files: Vec<Span> = selected(layout).collect();
    let urgent = urgent_pieces(&files, piece_len, ends.head, ends.tail);
    crowd.set_urgent(&urgent);
    crowd
}

fn selected(layout: &Layout) -> impl Iterator<Item = Span> + '_ {
    let files = layout.files().iter().enumerate();
    files
        .filter(|(_, file)| file.selected && !file.padding)
        .map(|(index, _)| layout.span_of(index))
}
