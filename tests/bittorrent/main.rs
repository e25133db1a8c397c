//! Torrents from end to end: engines of our own, and the program, that meet over the loopback.

mod bugs;
mod live;
#[path = "../support/origin.rs"]
mod origin;
mod peers;
#[path = "../support/program.rs"]
mod program;
mod rig;
#[path = "../support/server.rs"]
mod server;
mod sources;
mod swarm;
