//! The HTTP source against a scripted origin: right bytes or an honest failure.

#[path = "../support/h2_origin.rs"]
mod h2_origin;
#[path = "../support/name_server.rs"]
mod name_server;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/program.rs"]
mod program;

#[path = "../support/tls_front.rs"]
mod tls_front;

mod bugs;
mod chain;
mod faults;
mod http2;
mod identity;
mod link_mirrors;
mod metalinks;
mod proxies;
mod redirects;
mod resume;
mod rig;
mod several;
mod sockets;
mod tls;
mod transfers;
