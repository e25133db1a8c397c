//! What survives the end of a server: kill it, start it again, look.

#[path = "../support/file_server.rs"]
mod file_server;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/torrent.rs"]
mod torrent;

mod bugs;
mod history;
mod hooks;
mod process;
mod restart;
mod saving;
mod torrents;
