//! Rank 3: how fast bytes may flow and how fast they do.

mod meter;
mod tree;
mod valve;

pub use meter::Meter;
pub use tree::{LimitBranch, LimitLeaf, LimitTree};
