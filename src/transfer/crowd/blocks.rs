//! Pure: what came of the blocks that were asked for, and what that means for their pieces.

use std::time::Instant;

use super::Crowd;
use super::partial;
use crate::base::units::{PieceIdx, SourceId};
use crate::bittorrent::wire::{BLOCK_LEN, Block};

impl Crowd {
    pub fn handle_took(&mut self, now: Instant, id: SourceId, blocks: &[Block]) {
        for block in blocks {
            self.take(now, id, *block);
        }
    }

    fn take(&mut self, now: Instant, id: SourceId, block: Block) {
        let (piece, index) = (block.piece, (block.begin / BLOCK_LEN) as usize);
        let asked = self.peers.get_mut(&id).and_then(|member| {
            member.sent(now, u64::from(block.len));
            member.asked.remove(&(piece, index))
        });
        // A block that was put before its piece failed and one that was put after look the same.
        let void = asked.map_or(self.failed.contains(&piece), |asked| asked.void);
        if let Some(partial) = self.open.get_mut(&piece).filter(|_| !void) {
            for other in partial.took(now, index) {
                if other != id {
                    self.cancels.entry(other).or_default().push(block);
                }
            }
            self.sort(piece);
        }
        self.unask(piece, index, id);
    }

    pub fn handle_released(&mut self, now: Instant, id: SourceId, blocks: &[Block]) {
        let _ = now;
        for block in blocks {
            let (piece, index) = (block.piece, (block.begin / BLOCK_LEN) as usize);
            let Some(member) = self.peers.get_mut(&id) else {
                return;
            };
            let Some(asked) = member.asked.remove(&(piece, index)) else {
                continue;
            };
            let cancelled = self.open.get(&piece).is_none_or(|open| open.is_had(index));
            if !asked.void && !cancelled && !member.choked && !member.snubbed {
                member.refuse(piece);
            }
            self.unask(piece, index, id);
        }
        self.wake(id);
    }

    /// A piece of ours was hashed. The assembler holds nothing of a bad one any more, and keeps it
    /// open.
    pub fn handle_piece(&mut self, now: Instant, piece: PieceIdx, good: bool) {
        if good {
            self.close(piece);
            self.failed.remove(&piece);
            self.yielded.remove(&piece);
            return self.handle_had(piece, true);
        }
        self.failed.insert(piece);
        let owner = self.open.get(&piece).and_then(|partial| partial.owner);
        if let Some(member) = owner.and_then(|owner| self.peers.get_mut(&owner)) {
            member.owned.retain(|owned| *owned != piece);
        }
        let Some(partial) = self.open.get_mut(&piece) else {
            return;
        };
        partial.solo = true;
        for (index, by) in partial.reset(now) {
            self.void(piece, index, by);
        }
        self.sort(piece);
        self.wake_all();
    }

    /// A piece was verified, or turned out not to be there after all, by others than us: feed it
    /// from `PieceMap::take_changed`.
    pub fn handle_had(&mut self, piece: PieceIdx, had: bool) {
        if piece.0 >= self.had.len() || self.had.get(piece.0) == had {
            return;
        }
        if had && self.open.contains_key(&piece) {
            self.close(piece);
        }
        let wanted = self.wanted.get(piece.0);
        self.had.set(piece.0, had);
        self.parked.remove(&piece);
        self.rarity.set_free(piece, wanted && !had, &mut self.rng);
        if !wanted {
            return;
        }
        self.lacking = match had {
            true => self.lacking.saturating_sub(1),
            false => self.lacking + 1,
        };
        for (id, member) in &mut self.peers {
            if !member.has.get(piece.0) {
                continue;
            }
            member.useful = match had {
                true => member.useful.saturating_sub(1),
                false => member.useful + 1,
            };
            if (member.useful > 0) != member.interested {
                self.interest_changed.insert(*id);
            }
        }
        if !had {
            self.wake_all();
        }
    }

    /// Forgets an open piece; requests for it are taken back.
    pub(super) fn close(&mut self, piece: PieceIdx) {
        self.shared.remove(&piece);
        self.owned.remove(&piece);
        let cramped = self.open.len() >= self.open_max();
        let Some(partial) = self.open.remove(&piece) else {
            return;
        };
        if cramped {
            self.wake_all();
        }
        if let Some(member) = partial.owner.and_then(|owner| self.peers.get_mut(&owner)) {
            member.owned.retain(|owned| *owned != piece);
        }
        for (index, by) in partial.all_askers() {
            self.void(piece, index, by);
        }
    }

    /// Takes a request back for good.
    pub(super) fn void(&mut self, piece: PieceIdx, index: usize, by: SourceId) {
        if let Some(member) = self.peers.get_mut(&by)
            && let Some(asked) = member.asked.get_mut(&(piece, index))
        {
            asked.void = true;
            let block = partial::block(self.shape, piece, index);
            self.cancels.entry(by).or_default().push(block);
        }
    }

    pub(super) fn unask(&mut self, piece: PieceIdx, index: usize, by: SourceId) {
        let Some(partial) = self.open.get_mut(&piece) else {
            return;
        };
        if partial.unask(index, by) {
            self.sort(piece);
            self.wake_all();
        }
    }

    /// What belongs to this peer alone is for all.
    pub(super) fn disown(&mut self, id: SourceId) {
        let Some(member) = self.peers.get_mut(&id) else {
            return;
        };
        for piece in std::mem::take(&mut member.owned) {
            if let Some(partial) = self.open.get_mut(&piece) {
                partial.owner = None;
            }
            self.sort(piece);
            self.wake_all();
        }
    }

    /// Puts an open piece into the list it belongs to.
    pub(super) fn sort(&mut self, piece: PieceIdx) {
        self.shared.remove(&piece);
        self.owned.remove(&piece);
        let open = self.open.get(&piece).filter(|open| open.free() > 0);
        match open.map(|open| (open.owner, open.solo)) {
            Some((None, _)) => self.shared.insert(piece),
            Some((Some(_), false)) => self.owned.insert(piece),
            Some((Some(_), true)) | None => false,
        };
    }

    /// Something changed for this peer.
    pub(super) fn wake(&mut self, id: SourceId) {
        self.starved.remove(&id);
        self.ready.insert(id);
    }

    /// There is work again.
    pub(super) fn wake_all(&mut self) {
        self.ready.append(&mut self.starved);
    }
}
