//! Rank 3: how connections are made: names, proxies, TLS, and the HTTP clients all downloads share.

mod client;
mod cookie_store;
pub mod dial;
mod dialled;
mod dns;
mod interface;
mod logins;
mod parked;
pub mod proxy;
mod sharing;
pub mod tls;
mod tunnel;
pub mod udp;

pub use client::{HttpClient, Net, Seat};
pub use cookie_store::CookieStore;
pub use dns::ResolveError;
pub use interface::{Interface, index_of};
pub use parked::Parked;
pub use sharing::{Way, is_long};
