//! What both worlds stand on: made-up bytes, names of mirrors, options.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arioso::base::rng::Rng;
use arioso::option::value::{PieceSelector, UriSelector};
use arioso::transfer::plan::PlanSettings;
use arioso::transfer::retry::RetryPolicy;

/// Bytes a mirror writes at once.
pub const CHUNK: u64 = 64 * 1024;
/// What a wrong byte is xored with.
pub const WRONG: u8 = 0x55;
/// A prime: no piece or block begins twice at the same place of the noise.
pub const NOISE_LEN: u64 = 1_048_583;

/// Bytes that repeat at no distance a fault could shift them by; made once, since making them is
/// what a debug build is slow at.
pub fn content(from: u64, len: u64) -> Vec<u8> {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut rng = Rng::seeded(0x5eed);
        (0..NOISE_LEN).map(|_| rng.next_u64() as u8).collect()
    });
    let (mut content, mut from) = (Vec::with_capacity(len as usize), from as usize);
    while (content.len() as u64) < len {
        let rest = len as usize - content.len();
        let end = NOISE.len().min(from + rest);
        content.extend_from_slice(&NOISE[from..end]);
        from = 0;
    }
    content
}

/// The URI of a mirror by its number.
pub fn uri_of(mirror: usize) -> Arc<str> {
    format!("http://m{mirror}/f").into()
}

/// The number of a mirror by its URI.
pub fn mirror_of(uri: &str) -> usize {
    let number = uri.trim_start_matches("http://m").trim_end_matches("/f");
    number.parse().expect("a mirror")
}

/// The options of a download that nothing special is asked of.
pub fn plain_settings() -> PlanSettings {
    PlanSettings {
        split: 4,
        per_host_max: 2,
        span_min: 1 << 20,
        selector: PieceSelector::Default,
        uri_selector: UriSelector::InOrder,
        reuse_uri: true,
        one_protocol: false,
        retry: RetryPolicy {
            tries_max: None,
            wait: Duration::ZERO,
            not_found_max: 0,
        },
        always_resume: true,
        resume_failures_max: 0,
        dry_run: false,
        use_head: false,
        save_gap_max: Some(Duration::from_secs(60)),
        hashed: false,
        swarm: false,
        piece_len: 1 << 20,
    }
}
