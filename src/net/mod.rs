//! Rank 3: how connections are made: names, proxies, TLS, and the HTTP clients all downloads share.

mod client;
mod cookie_store;
pub mod dial;
mod dns;
mod interface;
mod logins;
mod parked;
pub mod proxy;
pub mod tls;
mod tunnel;
pub mod udp;

pub use client::Net;
pub use cookie_store::CookieStore;
pub use dns::ResolveError;
pub use interface::{Interface, index_of};
pub use parked::Parked;
