//! Pure: the line of waiting and paused downloads.
//!
//! The line is a treap ordered by place: with 100,000 downloads a move, a look-up of a place and
//! "who starts next" each take some twenty steps, however many paused ones stand in front.

mod iter;
mod place;

pub use iter::Iter;
pub use place::{How, target_place};

use crate::base::rng::Rng;

const NONE: u32 = u32::MAX;

/// Items (small numbers, used as indexes) in an order the caller decides.
///
/// Invariant: each item stands in the line at most once, and a node's counts are those of its
/// subtree.
pub struct Queue {
    nodes: Vec<Node>,
    root: u32,
    rng: Rng,
}

#[derive(Clone, Copy)]
struct Node {
    up: u32,
    left: u32,
    right: u32,
    /// Items of this subtree; 0 while the item is not in the line.
    count: u32,
    /// Items of this subtree that may start.
    ready_count: u32,
    /// The heap order; the lowest bit says whether this item itself may start.
    priority: u32,
}

impl Node {
    const ABSENT: Node = Node {
        up: NONE,
        left: NONE,
        right: NONE,
        count: 0,
        ready_count: 0,
        priority: 0,
    };

    fn ready(self) -> bool {
        self.priority & 1 == 1
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            root: NONE,
            // Balance needs numbers unrelated to the order of insertion, not secret ones.
            rng: Rng::seeded(0x5eed),
        }
    }
}

impl Queue {
    pub fn len(&self) -> usize {
        self.count(self.root) as usize
    }

    pub fn contains(&self, item: u32) -> bool {
        self.nodes
            .get(item as usize)
            .is_some_and(|node| node.count > 0)
    }

    /// Puts `item` at `index` (the end, if the line is shorter). `ready`: it may be started.
    /// An item that stands in the line already is left where it is.
    pub fn insert(&mut self, index: usize, item: u32, ready: bool) {
        if self.contains(item) {
            debug_assert!(false, "item {item} is in the line already");
            return;
        }
        if self.nodes.len() <= item as usize {
            self.nodes.resize(item as usize + 1, Node::ABSENT);
        }
        self.nodes[item as usize] = Node {
            count: 1,
            ready_count: ready.into(),
            priority: (self.rng.next_u64() as u32) & !1 | u32::from(ready),
            ..Node::ABSENT
        };
        let (before, after) = self.split(self.root, index);
        let joined = self.merge(before, item);
        self.root = self.merge(joined, after);
    }

    pub fn push_back(&mut self, item: u32, ready: bool) {
        self.insert(self.len(), item, ready);
    }

    /// Takes `item` out; false if it was not in the line.
    pub fn remove(&mut self, item: u32) -> bool {
        let Some(index) = self.index_of(item) else {
            return false;
        };
        let (before, rest) = self.split(self.root, index);
        let (_, after) = self.split(rest, 1);
        self.root = self.merge(before, after);
        self.nodes[item as usize] = Node::ABSENT;
        true
    }

    /// Whether the item may be started; no effect on items outside the line.
    pub fn set_ready(&mut self, item: u32, ready: bool) {
        if !self.contains(item) {
            return;
        }
        let node = &mut self.nodes[item as usize];
        node.priority = node.priority & !1 | u32::from(ready);
        let mut at = item;
        while at != NONE {
            self.recount(at);
            at = self.nodes[at as usize].up;
        }
    }

    /// The first item that may be started.
    pub fn first_ready(&self) -> Option<u32> {
        let mut at = self.root;
        if self.ready_count(at) == 0 {
            return None;
        }
        loop {
            let node = self.nodes[at as usize];
            if self.ready_count(node.left) > 0 {
                at = node.left;
            } else if node.ready() {
                return Some(at);
            } else {
                at = node.right;
            }
        }
    }

    /// How many items may be started.
    pub fn ready_len(&self) -> usize {
        self.ready_count(self.root) as usize
    }

    pub fn get(&self, index: usize) -> Option<u32> {
        if index >= self.len() {
            return None;
        }
        let (mut at, mut index) = (self.root, index as u32);
        loop {
            let node = self.nodes[at as usize];
            let left = self.count(node.left);
            if index < left {
                at = node.left;
            } else if index == left {
                return Some(at);
            } else {
                index -= left + 1;
                at = node.right;
            }
        }
    }

    /// The place of `item`, counted from 0.
    pub fn index_of(&self, item: u32) -> Option<usize> {
        if !self.contains(item) {
            return None;
        }
        let mut index = self.count(self.nodes[item as usize].left);
        let mut at = item;
        loop {
            let up = self.nodes[at as usize].up;
            if up == NONE {
                return Some(index as usize);
            }
            if self.nodes[up as usize].right == at {
                index += self.count(self.nodes[up as usize].left) + 1;
            }
            at = up;
        }
    }

    /// Items in order; skipping is as cheap as one look-up.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            queue: self,
            from: 0,
            to: self.len(),
            front: NONE,
            back: NONE,
        }
    }

    /// # Errors
    /// What of the invariant does not hold.
    pub fn check(&self) -> Result<(), String> {
        let mut seen = 0;
        for (index, item) in self.iter().enumerate() {
            seen += 1;
            if self.index_of(item) != Some(index) {
                return Err(format!("item {item} does not know its place {index}"));
            }
            let node = self.nodes[item as usize];
            let ready = u32::from(node.ready())
                + self.ready_count(node.left)
                + self.ready_count(node.right);
            if node.ready_count != ready {
                return Err(format!(
                    "item {item} counts {} ready, not {ready}",
                    node.ready_count
                ));
            }
        }
        let present = self.nodes.iter().filter(|node| node.count > 0).count();
        if seen != present || seen != self.len() {
            return Err(format!(
                "{present} items, {seen} in the line of {}",
                self.len()
            ));
        }
        Ok(())
    }

    fn count(&self, at: u32) -> u32 {
        if at == NONE {
            0
        } else {
            self.nodes[at as usize].count
        }
    }

    fn ready_count(&self, at: u32) -> u32 {
        if at == NONE {
            0
        } else {
            self.nodes[at as usize].ready_count
        }
    }

    fn recount(&mut self, at: u32) {
        let node = self.nodes[at as usize];
        let count = 1 + self.count(node.left) + self.count(node.right);
        let ready_count =
            u32::from(node.ready()) + self.ready_count(node.left) + self.ready_count(node.right);
        let node = &mut self.nodes[at as usize];
        node.count = count;
        node.ready_count = ready_count;
    }

    fn set_left(&mut self, at: u32, child: u32) {
        self.nodes[at as usize].left = child;
        self.adopt(at, child);
    }

    fn set_right(&mut self, at: u32, child: u32) {
        self.nodes[at as usize].right = child;
        self.adopt(at, child);
    }

    fn adopt(&mut self, at: u32, child: u32) {
        if child != NONE {
            self.nodes[child as usize].up = at;
        }
        self.recount(at);
    }

    fn orphan(&mut self, at: u32) {
        if at != NONE {
            self.nodes[at as usize].up = NONE;
        }
    }

    /// The first `count` items of a subtree and the rest, as two trees.
    fn split(&mut self, at: u32, count: usize) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        let node = self.nodes[at as usize];
        let left = self.count(node.left) as usize;
        let halves = if count <= left {
            let (before, rest) = self.split(node.left, count);
            self.set_left(at, rest);
            (before, at)
        } else {
            let (rest, after) = self.split(node.right, count - left - 1);
            self.set_right(at, rest);
            (at, after)
        };
        self.orphan(halves.0);
        self.orphan(halves.1);
        halves
    }

    fn merge(&mut self, first: u32, second: u32) -> u32 {
        if first == NONE {
            return second;
        }
        if second == NONE {
            return first;
        }
        if self.nodes[first as usize].priority >> 1 > self.nodes[second as usize].priority >> 1 {
            let rest = self.merge(self.nodes[first as usize].right, second);
            self.set_right(first, rest);
            first
        } else {
            let rest = self.merge(first, self.nodes[second as usize].left);
            self.set_left(second, rest);
            second
        }
    }

    fn next_of(&self, item: u32) -> u32 {
        let right = self.nodes[item as usize].right;
        if right != NONE {
            return self.outermost(right, |node| node.left);
        }
        self.first_ancestor(item, |up, at| up.left == at)
    }

    fn previous_of(&self, item: u32) -> u32 {
        let left = self.nodes[item as usize].left;
        if left != NONE {
            return self.outermost(left, |node| node.right);
        }
        self.first_ancestor(item, |up, at| up.right == at)
    }

    fn outermost(&self, mut at: u32, child: impl Fn(Node) -> u32) -> u32 {
        while child(self.nodes[at as usize]) != NONE {
            at = child(self.nodes[at as usize]);
        }
        at
    }

    fn first_ancestor(&self, mut at: u32, came_from: impl Fn(Node, u32) -> bool) -> u32 {
        loop {
            let up = self.nodes[at as usize].up;
            if up == NONE || came_from(self.nodes[up as usize], at) {
                return up;
            }
            at = up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn iterates_from_both_ends_and_skips() {
        let mut queue = Queue::default();
        for item in 0..100 {
            queue.push_back(item, true);
        }
        assert_eq!(
            queue.iter().skip(40).take(3).collect::<Vec<_>>(),
            [40, 41, 42]
        );
        assert_eq!(
            queue.iter().rev().skip(2).take(2).collect::<Vec<_>>(),
            [97, 96]
        );
        let mut both = queue.iter();
        let (mut front, mut back) = (0, 0);
        while both.next().is_some() {
            front += 1;
            back += usize::from(both.next_back().is_some());
        }
        assert_eq!((front, back, both.len()), (50, 50, 0));
        assert_eq!(queue.iter().nth(100), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize, bool),
        Remove(usize),
        Move(usize, usize),
        Ready(usize, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0usize..40, any::<bool>()).prop_map(|(at, ready)| Step::Insert(at, ready)),
            1 => (0usize..40).prop_map(Step::Remove),
            2 => (0usize..40, 0usize..40).prop_map(|(from, to)| Step::Move(from, to)),
            2 => (0usize..40, any::<bool>()).prop_map(|(at, ready)| Step::Ready(at, ready)),
        ]
    }

    proptest! {
        /// No item is lost or doubled, and the treap agrees with a plain list.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(step(), 1..120)) {
            let mut queue = Queue::default();
            let mut list: Vec<(u32, bool)> = Vec::new();
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Insert(at, ready) => {
                        queue.insert(at, next, ready);
                        list.insert(at.min(list.len()), (next, ready));
                        next += 1;
                    }
                    Step::Remove(at) if at < list.len() => {
                        let (item, _) = list.remove(at);
                        prop_assert!(queue.remove(item) && !queue.remove(item));
                    }
                    Step::Move(from, to) if from < list.len() => {
                        let (item, ready) = list.remove(from);
                        list.insert(to.min(list.len()), (item, ready));
                        queue.remove(item);
                        queue.insert(to, item, ready);
                    }
                    Step::Ready(at, ready) if at < list.len() => {
                        list[at].1 = ready;
                        queue.set_ready(list[at].0, ready);
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.check(), Ok(()));
                let items: Vec<u32> = list.iter().map(|(item, _)| *item).collect();
                prop_assert_eq!(queue.iter().collect::<Vec<_>>(), items.clone());
                prop_assert_eq!(queue.iter().rev().collect::<Vec<_>>(), items.into_iter().rev().collect::<Vec<_>>());
                let first = list.iter().find(|(_, ready)| *ready).map(|(item, _)| *item);
                prop_assert_eq!(queue.first_ready(), first);
                prop_assert_eq!(queue.ready_len(), list.iter().filter(|(_, ready)| *ready).count());
            }
        }
    }
}
