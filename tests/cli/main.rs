//! The program as its users call it: arguments in, files, text and exit status out.

#[path = "../support/file_server.rs"]
mod file_server;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/torrent.rs"]
mod torrent;

mod deferred;
mod hooks;
mod input_file;
mod options;
mod run;
mod start;
mod terminal;
mod torrents;

use std::path::PathBuf;

/// A file in the home directory.
fn write(home: &program::Home, name: &str, text: &str) -> PathBuf {
    let path = home.path(name);
    std::fs::write(&path, text).unwrap();
    path
}
