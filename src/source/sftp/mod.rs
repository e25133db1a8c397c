//! SFTP.
use super::ftp::FtpShared;
use super::{Link, Target};
use std::sync::Arc;
pub async fn run(_target: Target, _link: Link, _shared: Arc<FtpShared>) {}
