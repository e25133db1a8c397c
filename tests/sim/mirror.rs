//! Mirrors and what is wrong with them.

use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    NotFound,
    /// Another length: the source refuses it.
    OtherFile,
    /// Right length, wrong content.
    WrongBytes,
}

#[derive(Clone, Debug)]
pub struct Mirror {
    /// Bytes a second of each connection.
    pub rate: u64,
    pub latency: Duration,
    pub ranges: bool,
    pub tells_length: bool,
    /// Chance that a connection breaks, a chunk.
    pub loss: f64,
    /// Chance that a connection goes silent until its timeout, a chunk.
    pub stall: f64,
    /// Chance that a request is answered 503.
    pub busy: f64,
    /// The n-th connection gets a thousandth of the rate.
    pub slow_connection: Option<u32>,
    pub fault: Option<Fault>,
    pub dialled: u32,
}

impl Mirror {
    pub fn good(rate: u64) -> Self {
        Self {
            rate,
            latency: Duration::from_millis(20),
            ranges: true,
            tells_length: true,
            loss: 0.0,
            stall: 0.0,
            busy: 0.0,
            slow_connection: None,
            fault: None,
            dialled: 0,
        }
    }

    pub fn with(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }
}
