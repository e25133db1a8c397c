//! Pure: the rows, one file per field. Nothing else is here.

pub mod advanced;
pub mod basic;
pub mod bittorrent;
pub mod disk;
pub mod ftp;
pub mod http;
pub mod metalink;
pub mod rpc;

use super::spec::OptionSpec;

/// The order gives the first argument of `options!` in each file.
pub(super) static TABLES: [&[OptionSpec]; 8] = [
    basic::ROWS,
    http::ROWS,
    ftp::ROWS,
    bittorrent::ROWS,
    metalink::ROWS,
    rpc::ROWS,
    disk::ROWS,
    advanced::ROWS,
];
