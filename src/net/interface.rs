//! What `interface` and `multiple-interface` name.

use std::ffi::CString;
use std::net::{IpAddr, ToSocketAddrs as _};

use crate::base::error::{ErrorCode, Failure};

/// Where connections leave from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Interface {
    Address(IpAddr),
    /// A network interface of this machine.
    Name(String),
}

impl Interface {
    /// An address, an interface, or a host name that stands for an address (which may ask a name
    /// server and wait for it).
    ///
    /// # Errors
    /// It is none of them (code 1).
    pub fn find(name: &str) -> Result<Self, Failure> {
        if let Ok(address) = name.parse() {
            return Ok(Self::Address(address));
        }
        if exists(name) {
            return Ok(Self::Name(name.to_owned()));
        }
        let resolved = (name, 0).to_socket_addrs();
        let address = resolved.ok().and_then(|mut addresses| addresses.next());
        match address {
            Some(address) => Ok(Self::Address(address.ip())),
            None => Err(Failure::fatal(
                ErrorCode::Unknown,
                format!("There is no network interface {name}."),
            )),
        }
    }
}

fn exists(name: &str) -> bool {
    index_of(name).is_some()
}

/// The number by which the system knows an interface (the zone of a link-local address).
pub fn index_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with a zero and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_interfaces_and_host_names_are_found() {
        let address = Interface::Address([127, 0, 0, 1].into());
        assert_eq!(Interface::find("127.0.0.1").unwrap(), address);
        assert_eq!(Interface::find("lo").unwrap(), Interface::Name("lo".into()));
        assert!(matches!(
            Interface::find("localhost").unwrap(),
            Interface::Address(address) if address.is_loopback()
        ));
        let failure = Interface::find("no such thing").unwrap_err();
        assert!(failure.message.contains("no such thing"));
    }
}
