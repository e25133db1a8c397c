//! Requests about all downloads. A hundred thousand of them take a while, so that they are worked
//! off in turns, between which others are answered.

use std::time::{Duration, Instant};

use super::Core;
use super::command::answer;
use super::download::Download;
use super::handle::{Reply, Verb};
use super::registry::Registry;
use crate::base::gid::Gid;

/// How long others wait at most for their turn.
const TURN: Duration = Duration::from_micros(500);

/// One such request and the downloads it has still to reach.
pub(super) struct Bulk {
    left: std::vec::IntoIter<Gid>,
    work: Work,
    reply: Reply<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Control(Verb),
    Purge,
}

impl Bulk {
    /// Waiting ones come first: none of them is to start when the active ones make room. Each
    /// active one goes to the very front, so that the latest to start ends up first, as in aria2.
    pub fn control(registry: &Registry, verb: Verb, reply: Reply<()>) -> Self {
        let all = registry.waiting().chain(registry.active());
        Self::new(all.map(Download::gid).collect(), Work::Control(verb), reply)
    }

    /// The results there are now.
    pub fn purge(registry: &Registry, reply: Reply<()>) -> Self {
        let all = registry.stopped().map(Download::gid);
        Self::new(all.collect(), Work::Purge, reply)
    }

    fn new(gids: Vec<Gid>, work: Work, reply: Reply<()>) -> Self {
        Self {
            left: gids.into_iter(),
            work,
            reply,
        }
    }
}

impl Core {
    /// A short one is done at once, unless others are before it.
    pub(super) fn begin_bulk(&mut self, bulk: Bulk) {
        self.bulks.push_back(bulk);
        if self.bulks.len() == 1 {
            self.go_on_with_bulk();
        }
    }

    /// Works for one turn, and answers when all is done.
    pub(super) fn go_on_with_bulk(&mut self) {
        let Some(mut bulk) = self.bulks.pop_front() else {
            return;
        };
        let started = Instant::now();
        for gid in bulk.left.by_ref() {
            self.reach(gid, bulk.work);
            if started.elapsed() >= TURN {
                break;
            }
        }
        if bulk.left.len() > 0 {
            self.bulks.push_front(bulk);
            return;
        }
        if bulk.work == Work::Purge {
            self.registry.lock().forget_failures();
            if let Some(store) = &self.store {
                store.clear_history();
            }
        }
        answer(bulk.reply, Ok(()));
    }

    /// While downloads are being paused none may take the place of another.
    pub(super) fn pauses_all(&self) -> bool {
        self.bulks
            .iter()
            .any(|bulk| matches!(bulk.work, Work::Control(Verb::Pause { .. })))
    }

    fn reach(&mut self, gid: Gid, work: Work) {
        // An error means that it is so already, or that somebody was faster.
        let _ = match work {
            Work::Control(verb) => self.control(gid, verb),
            Work::Purge => self.remove_result(gid),
        };
    }
}
