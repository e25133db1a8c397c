//! # arioso
//!
//! A download server that takes `aria2c`'s place. This page is the map of the code.
//!
//! ## What it is made of
//! One **engine** owns all downloads; a GID names each. An active download is a **transfer**: a map of
//! its bytes and any number of **sources** that fill it. A source is one connection. It holds a
//! **lease** on a span nobody else may fill and writes what it reads there itself, on the thread that
//! read it; only "this span is written" travels on. When a source has nothing left to do it takes
//! over part of the slowest lease. Progress lives in aria2's `.aria2` control file beside the data;
//! what is to be downloaded, and what came of it, in a **store** (sled).
//!
//! ## Ranks
//! A folder imports only lower ranks and itself; `tests/tidy.rs` checks it.
//! ```text
//! 10 main app | 9 rpc cli observe | 8 engine | 7 transfer | 6 bittorrent | 5 source
//!  4 storage store | 3 net limit | 2 option | 1 format | 0 base
//! ```
//! A file whose first doc line begins with `Pure` has no IO, clock, entropy or tokio: time and chance
//! are arguments there, which is what lets tests decide them.
//!
//! ## Who owns what
//! | state | owner | others reach it by |
//! |-|-|-|
//! | registry and queue | the engine's loop ([`engine`]) | commands; reads borrow the registry |
//! | one download's map, mirrors, retries | its transfer task ([`transfer`]) | `Control` in, `TransferReport` out |
//! | a socket | its source ([`source`]) | `Order` in, `Report` out |
//! | figures that RPC shows of a running download | the transfer, in [`transfer::Live`] | atomics, one short lock |
//! | a peer's socket and what both sides have said | its `peer_source` ([`bittorrent`]) | `PeerOrder` in, `PeerReport` out |
//! | blocks of unfinished pieces | the torrent's `Assembler` | a short lock |
//! | listener, uTP, DHT, local discovery | `BtNet`, opened by the first torrent | `join` an info hash |
//! | the store | a thread of its own ([`store`]) | messages, written in batches |
//!
//! Two runtimes keep waiting apart. The **control** runtime is one thread: the engine, RPC, hooks and
//! the console. Nothing on it waits for the disk or the network, so that a call is answered while a
//! disk is stalled. The **data** runtime has a worker a core: transfers, sources, hashing.
//!
//! ## One `aria2.addUri`
//! 1. `rpc/http` or `rpc/websocket` reads the body; `rpc/jsonrpc` parses it; `rpc/dispatch` checks the
//!    token and finds the method's row; `rpc/method/add` parses its parameters.
//! 2. [`EngineHandle::add`] checks URIs and options in the caller's task and sends a command.
//! 3. The engine gives it a GID, queues it, starts it if a slot is free, tells the store, and answers;
//!    the event `Started` goes to hooks and sockets.
//! 4. `transfer/task` carries out what `transfer/plan` decides: look what is on disk, open one source,
//!    learn the length, prepare the file, lease spans to up to `split` sources.
//! 5. Sources write and report; the plan steals from slow leases, waits and retries, replaces the
//!    control file at most once a second.
//! 6. Nothing missing: flush, check, date, forget the control file; the engine moves the download to
//!    the results and publishes `Complete`.
//!
//! ## One torrent
//! `storage/content` is what a torrent or Metalink tells beforehand: files, lengths, hashes. With it
//! the plan needs no mirror to learn the length: the files are prepared and what is there is hashed on
//! all cores. Then mirrors lease spans as ever, and `transfer/crowd` decides which blocks to ask of
//! which peer; a piece is checked out by the swarm or by mirrors, never by both. A peer's blocks go
//! into the assembler, which hashes a piece from memory and only then writes it: what is not proven
//! never overwrites what is. `transfer/torrent` joins swarm, choker, discovery and crowd; when all is
//! there, `transfer/seeding` says how long to stay. A magnet link is a transfer of its own, which ends
//! with the metadata; the engine adds the torrent after it.
//!
//! ## Where is ...
//! * an option: `option/table`. Help, man page, completions, README's table, RPC scopes and bounds are
//!   derived from its row.
//! * an RPC method: `rpc/method`; the list is `rpc/dispatch`.
//! * why this piece, mirror, wait: the Pure files of `transfer`; `tests/sim` runs them by seed.
//! * a parser: `format`, or `source/http/response` for HTTP.
//! * what a peer, tracker or DHT node is told: the Pure files of `bittorrent`; the others there have the
//!   sockets.
//! * bytes on disk: `storage`; names and collisions: `transfer/destination`, of torrents
//!   `transfer/content_destination`.
//! * a download's states and queue: `engine/state`, `engine/queue`.
//!
//! ## Where we left the first sketch, and why
//! * A lease taken from another source stays doubled until the new one has written its first bytes:
//!   a server that refuses the further connection then costs nothing.
//! * `Shrink` is an action of the plan and not an atomic inside it, which keeps the plan pure.
//! * The first request of a resumed download asks from the first missing byte on, before anything is
//!   known of the resource; aria2 asks for all of it first and hangs up.
//! * A reply is written as text while the registry is read. jsonrpsee finds and calls the method, the
//!   text travels beside it: 1,000 rows pass no JSON tree.
//! * One writer thread per slow device, and a gate that keeps the last worker free, stand in
//!   `storage/device` and `storage/inline_gate`: a stalled disk holds only its own downloads.
//!
//! ## As a library
//! [`Engine`] downloads without RPC and console.
//! ```
//! use arioso::{AddRequest, Engine, EngineConfig, keys};
//! # use std::io::{Read, Write};
//! # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = server.local_addr()?;
//! # std::thread::spawn(move || {
//! #     for socket in server.incoming() {
//! #         let mut socket = socket?;
//! #         let _ = socket.read(&mut [0; 4096])?;
//! #         socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")?;
//! #     }
//! #     std::io::Result::Ok(())
//! # });
//! # let temporary = tempfile::tempdir()?;
//! # let dir = temporary.path();
//!
//! let engine = Engine::start(EngineConfig::default())?;
//! let handle = engine.handle();
//! let mut events = handle.events();
//! let request = AddRequest::uris([format!("http://{address}/hello.txt")])
//!     .with(keys::DIR, dir.to_string_lossy())
//!     .with(keys::SPLIT, "4");
//!
//! // `block_on` is for programs without a runtime of their own; handles work in any.
//! let result = engine.block_on(async {
//!     let gid = handle.add(request, None).await?[0];
//!     println!("{:?}", events.recv().await);
//!     Ok::<_, arioso::RequestError>(handle.until_stopped(gid).await)
//! })?;
//! let result = result.ok_or("forgotten")?;
//! assert_eq!((result.status, result.progress()), ("complete", Some(1.0)));
//! assert_eq!(std::fs::read(dir.join("hello.txt"))?, b"hello\n");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub mod app;
pub mod base;
pub mod bittorrent;
pub mod cli;
pub mod engine;
pub mod format;
pub mod limit;
pub mod net;
pub mod observe;
pub mod option;
pub mod rpc;
pub mod source;
pub mod storage;
pub mod store;
pub mod transfer;

pub use base::gid::Gid;
pub use engine::{
    AddRequest, Engine, EngineConfig, EngineHandle, Event, EventKind, RequestError, Snapshot,
};
pub use option::{OptionSet, keys};
