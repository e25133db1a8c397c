//! Rank 0: the words everything else is written in.

pub mod bitfield;
pub mod error;
pub mod failpoint;
pub mod gid;
pub mod product;
pub mod range_set;
pub mod rng;
pub mod secret;
pub mod units;
