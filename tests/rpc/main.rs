//! A real RPC server in this process on a free port, spoken to over raw sockets.

mod auth;
mod checking;
mod envelope;
mod files;
mod history;
mod http;
mod load;
mod methods;
mod odd_input;
mod safety;
mod server;
mod speed;
mod tls;
mod torrents;
mod websocket;
mod xml;

#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/torrent.rs"]
mod torrent;
