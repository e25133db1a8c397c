//! Rank 9: the log, the console's writer and the hooks.

pub mod hook;
pub mod log;
pub mod output;
