//! Pure: the options a plan follows.

use std::time::Duration;

use crate::option::value::{PieceSelector, UriSelector};
use crate::transfer::retry::RetryPolicy;

#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// Connections of the whole download (option `split`).
    pub split: usize,
    /// Connections to one host (option `max-connection-per-server`).
    pub per_host_max: usize,
    /// Shortest span worth a connection of its own, in bytes (option `min-split-size`).
    pub span_min: u64,
    pub selector: PieceSelector,
    pub uri_selector: UriSelector,
    /// A mirror may take over the connections of others (option `reuse-uri`).
    pub reuse_uri: bool,
    /// Of a host with several protocols only one is used (`metalink-enable-unique-protocol`).
    pub one_protocol: bool,
    pub retry: RetryPolicy,
    /// Rather fail than start again from the first byte (option `always-resume`).
    pub always_resume: bool,
    /// Mirrors that may refuse to resume before the download starts again; 0: all of them.
    pub resume_failures_max: u32,
    /// Only ask what the resource is (option `dry-run`).
    pub dry_run: bool,
    /// Ask what it is before asking for it (option `use-head`).
    pub use_head: bool,
    /// Upper bound on the age of the control file; `None`: written at pause and stop only.
    pub save_gap_max: Option<Duration>,
    /// Pieces have hashes.
    pub hashed: bool,
    /// Peers may bring pieces: a download without mirrors is not lost, and one that is complete
    /// stays to give until [`Plan::handle_seeding_over`].
    pub swarm: bool,
    /// Of a file that is found finished.
    pub piece_len: u64,
}
