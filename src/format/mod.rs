//! Rank 1: every text and binary format, all pure.
pub mod bencode;
pub mod control_file;
pub mod cookies;
pub mod expand;
pub mod info_hash;
pub mod input_file;
pub mod magnet;
pub mod metainfo;
pub mod metalink;
pub mod netrc;
pub mod server_stat;
pub mod uri;
