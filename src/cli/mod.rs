//! Rank 9: what the console shows.

pub mod file_list;
pub mod help;
pub mod readout;
pub mod reference;
pub mod results;
pub mod style;
pub mod version;
