//! Torrents from end to end: engines of our own that meet over the loopback.

mod live;
#[path = "../support/origin.rs"]
mod origin;
mod rig;
mod swarm;
