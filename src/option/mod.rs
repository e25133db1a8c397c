//! Rank 2: options, declared once.
//!
//! A row of `table/` is the only place an option is spelt out. The command line, `aria2.conf`,
//! input files, RPC scopes, session files, help and the reference are derived from it.

pub mod argv;
pub mod bt_settings;
pub mod choice;
pub mod conf;
pub mod load;
pub mod settings;
pub mod spec;
pub mod table;
pub mod typed;
pub mod value;

mod proxy;
mod set;

/// Every option's key: `keys::SPLIT`.
pub mod keys {
    pub use super::table::advanced::*;
    pub use super::table::basic::*;
    pub use super::table::bittorrent::*;
    pub use super::table::disk::*;
    pub use super::table::ftp::*;
    pub use super::table::http::*;
    pub use super::table::metalink::*;
    pub use super::table::rpc::*;
}

pub use set::{Ambient, OptionSet};
pub use spec::{Key, Kind, OptionId, OptionSpec, Scope, Tag, all, find};
pub use value::{OptionError, Value};
