//! Rank 6: BitTorrent. What is here decides and speaks, all of it pure: bytes, time and chance come
//! in as arguments, messages and wishes go out. Whoever has the sockets drives it.
//!
//! * a connection: [`mse`] (encryption) under [`handshake`] and [`wire`] under [`peer`]
//! * extensions carried by it: [`metadata`] (ut_metadata), [`pex`] (ut_pex)
//! * the swarm of one torrent: [`swarm`] (whom to dial, whom never again), [`choker`] (whom to feed),
//!   [`blame`] (who spoilt a piece)
//! * where peers come from: [`tracker`], [`dht`], [`lpd`], [`pex`]

pub mod assembler;
pub mod blame;
pub mod blocklist;
pub mod choker;
pub mod compact;
pub mod dht;
pub mod discovery;
pub mod extension;
pub mod handshake;
pub mod lpd;
pub mod lpd_node;
pub mod metadata;
pub mod mse;
pub mod peer;
pub mod pex;
pub mod port_map;
pub mod swarm;
pub mod tracker;
pub mod wire;

#[cfg(test)]
mod simulation;
