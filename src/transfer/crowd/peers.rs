//! Pure: peers come and go, and say what they have and allow.

use std::time::Instant;

use super::Crowd;
use super::member::Member;
use crate::base::units::{PieceIdx, SourceId};

impl Crowd {
    /// A peer is connected; it has nothing and chokes us.
    pub fn join(&mut self, now: Instant, id: SourceId) {
        let member = Member::new(now, self.shape.piece_count());
        self.peers.insert(id, member);
    }

    /// A peer is gone; what was asked of it is free again. `Released` need not be told for it.
    pub fn leave(&mut self, now: Instant, id: SourceId) {
        self.disown(id);
        let Some(member) = self.peers.remove(&id) else {
            return;
        };
        self.ready.remove(&id);
        self.starved.remove(&id);
        self.interest_changed.remove(&id);
        self.cancels.remove(&id);
        for (piece, index) in member.asked.keys() {
            self.unask(*piece, *index, id);
        }
        if member.seeder {
            self.rarity.remove_seeder();
        } else {
            for piece in member.has.ones() {
                self.rarity.remove(PieceIdx(piece), &mut self.rng);
            }
        }
        let _ = now;
    }

    pub fn handle_has(&mut self, id: SourceId, pieces: &[PieceIdx]) {
        if pieces.len() as u64 >= u64::from(self.shape.piece_count()) {
            return self.handle_has_all(id);
        }
        let Some(member) = self.peers.get_mut(&id).filter(|member| !member.seeder) else {
            return;
        };
        for piece in pieces {
            if piece.0 >= member.has.len() || member.has.get(piece.0) {
                continue;
            }
            member.has.set(piece.0, true);
            self.rarity.add(*piece, &mut self.rng);
            member.useful += u32::from(self.wanted.get(piece.0) && !self.had.get(piece.0));
        }
        if member.has.all() {
            return self.handle_has_all(id);
        }
        self.interest_changed.insert(id);
        self.wake(id);
    }

    pub fn handle_has_all(&mut self, id: SourceId) {
        let count = self.shape.piece_count();
        let Some(member) = self.peers.get_mut(&id).filter(|member| !member.seeder) else {
            return;
        };
        for piece in member.has.ones() {
            self.rarity.remove(PieceIdx(piece), &mut self.rng);
        }
        member.seeder = true;
        for piece in 0..count {
            member.has.set(piece, true);
        }
        member.useful = self.lacking;
        self.rarity.add_seeder();
        self.interest_changed.insert(id);
        self.wake(id);
    }

    pub fn handle_choked(&mut self, id: SourceId, choked: bool) {
        let Some(member) = self.peers.get_mut(&id) else {
            return;
        };
        member.choked = choked;
        if choked {
            member.window = 0;
            self.disown(id);
        } else {
            member.refused.clear();
            self.wake(id);
        }
    }

    pub fn handle_allowed_fast(&mut self, id: SourceId, piece: PieceIdx) {
        if let Some(member) = self.peers.get_mut(&id) {
            member.allow(piece);
            self.wake(id);
        }
    }

    pub fn handle_suggests(&mut self, id: SourceId, piece: PieceIdx) {
        if let Some(member) = self.peers.get_mut(&id) {
            member.suggest(piece);
        }
    }

    pub fn handle_snubbed(&mut self, id: SourceId, snubbed: bool) {
        let Some(member) = self.peers.get_mut(&id) else {
            return;
        };
        member.snubbed = snubbed;
        if snubbed {
            self.disown(id);
        } else {
            self.wake(id);
        }
    }

    /// So many blocks more may be asked of the peer now.
    pub fn handle_window(&mut self, id: SourceId, blocks: usize) {
        if let Some(member) = self.peers.get_mut(&id) {
            member.window = blocks;
            self.wake(id);
        }
    }
}
