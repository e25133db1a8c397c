//! The sockets on which UDP trackers are asked (BEP 15), one for each family, shared by all torrents.

use std::ops::RangeInclusive;
use std::sync::Arc;

/// Opens nothing before the first question.
pub struct UdpTrackers {
    #[expect(dead_code, reason = "bound to one of these with the first question")]
    ports: Vec<RangeInclusive<u32>>,
}

impl UdpTrackers {
    /// `ports`: the first free one is bound (`dht-listen-port`).
    pub fn new(ports: Vec<RangeInclusive<u32>>) -> Arc<Self> {
        Arc::new(Self { ports })
    }
}
