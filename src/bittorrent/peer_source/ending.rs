//! Pure: why a connection is over, as the swarm and the user are told.

use crate::base::error::{ErrorCode, Failure, Retry};
use crate::bittorrent::peer::PeerError;
use crate::bittorrent::swarm::Parting;

pub type End = (Parting, Failure);

pub fn unwanted() -> End {
    ended(Parting::Lost, "The connection is not wanted any more.")
}

pub fn ended(parting: Parting, message: impl Into<String>) -> End {
    let failure = Failure::new(ErrorCode::Network, Retry::OtherMirror, message);
    (parting, failure)
}

/// Ends that the peer's own words cause.
pub fn broken(error: PeerError) -> End {
    let parting = match error {
        PeerError::Useless => Parting::Useless,
        PeerError::Idle => Parting::Lost,
        _ => Parting::Hopeless,
    };
    ended(parting, format!("The {error}."))
}
