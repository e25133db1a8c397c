//! Rank 6: BitTorrent. Most of it decides and speaks and is pure: bytes, time and chance come in as
//! arguments, messages and wishes go out. A few drivers have the sockets.
//!
//! * sockets: [`bt_net`] (what torrents share) with [`listen`], [`utp`] and [`dialer`];
//!   [`peer_source`] drives one connection and speaks [`link`] with its transfer
//! * a connection: [`mse`] (encryption) under [`handshake`] and [`wire`] under [`peer`]
//! * extensions carried by it: [`metadata`] (ut_metadata), [`pex`] (ut_pex)
//! * the swarm of one torrent: [`swarm`] (whom to dial, whom never again), [`choker`] (whom to feed),
//!   [`blame`] (who spoilt a piece)
//! * where peers come from: [`tracker`], [`dht`], [`lpd`], [`pex`]

mod announcer;
pub mod assembler;
pub mod blame;
pub mod blocklist;
pub mod bt_net;
mod buffers;
pub mod choker;
pub mod compact;
pub mod dht;
pub mod dialer;
pub mod discovery;
pub mod extension;
pub mod handshake;
mod interfaces;
pub mod line;
pub mod link;
pub mod listen;
pub mod lpd;
pub mod lpd_node;
pub mod metadata;
pub mod mse;
pub mod peer;
pub mod peer_filter;
pub mod peer_source;
pub mod pex;
pub mod port_map;
pub mod rotation;
pub mod share;
pub mod swarm;
pub mod tracker;
pub mod utp;
pub mod wire;

#[cfg(test)]
mod discovery_tests;
#[cfg(test)]
mod simulation;
