//! uTP (BEP 29), TCP's polite brother over UDP, at the listening port's number.

use std::net::SocketAddr;
use std::sync::Arc;

use super::bt_net::BtNet;
use super::line::Stream;

/// The sockets, one of each family.
pub struct Utp {}

impl Utp {
    /// `None` where the port cannot be had. Needs a tokio runtime.
    pub fn open(_net: &Arc<BtNet>, _port: u16) -> Option<Self> {
        None
    }

    /// Whether there is a socket of the address's family.
    pub fn reaches(&self, _address: SocketAddr) -> bool {
        false
    }

    /// # Errors
    /// Nobody answers.
    pub async fn dial(&self, _address: SocketAddr) -> Result<Box<dyn Stream>, String> {
        Err("not yet".to_owned())
    }
}
