//! Torrents from end to end: engines of our own, and the program, that meet over the loopback.

mod bugs;
mod crypto;
mod dht;
mod discovery;
mod intake;
mod live;
mod metaurls;
#[path = "../support/origin.rs"]
mod origin;
mod peers;
#[path = "../support/program.rs"]
mod program;
mod removal;
mod rig;
mod rotation;
mod running;
#[path = "../support/server.rs"]
mod server;
mod sources;
mod stranger;
mod swarm;
#[path = "../support/tls_front.rs"]
mod tls_front;
mod trackers;
