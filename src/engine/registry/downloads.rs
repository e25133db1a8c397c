//! Pure: the downloads of one list, from either end.

use super::Registry;
use crate::engine::download::Download;

/// Downloads of one list, from either end; skipping in the waiting list is cheap.
#[derive(Clone)]
pub struct Downloads<'a, I> {
    pub(super) registry: &'a Registry,
    pub(super) slots: I,
}

/// A slot number by value, whether the list hands out numbers or references.
pub trait SlotNumber {
    fn number(self) -> u32;
}

impl SlotNumber for u32 {
    fn number(self) -> u32 {
        self
    }
}

impl SlotNumber for &u32 {
    fn number(self) -> u32 {
        *self
    }
}

impl<'a, I: Iterator<Item: SlotNumber>> Iterator for Downloads<'a, I> {
    type Item = &'a Download;

    fn next(&mut self) -> Option<&'a Download> {
        self.registry.slot(self.slots.next()?.number())
    }

    fn nth(&mut self, n: usize) -> Option<&'a Download> {
        self.registry.slot(self.slots.nth(n)?.number())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl<'a, I: DoubleEndedIterator<Item: SlotNumber>> DoubleEndedIterator for Downloads<'a, I> {
    fn next_back(&mut self) -> Option<&'a Download> {
        self.registry.slot(self.slots.next_back()?.number())
    }

    fn nth_back(&mut self, n: usize) -> Option<&'a Download> {
        self.registry.slot(self.slots.nth_back(n)?.number())
    }
}

impl<I: ExactSizeIterator<Item: SlotNumber>> ExactSizeIterator for Downloads<'_, I> {}
