//! The network interfaces of this machine and their addresses.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name and address of each; several rows where an interface has several addresses.
///
/// # Errors
/// What the system says.
pub fn all() -> io::Result<Vec<(String, IpAddr)>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the call fills in a pointer to a list, which is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: not null, and part of the list, which lives until it is freed.
        let row = unsafe { &*next };
        next = row.ifa_next;
        // SAFETY: names of the list end with a zero.
        let name = unsafe { CStr::from_ptr(row.ifa_name) };
        // SAFETY: an address of the list, or null.
        if let Some(ip) = unsafe { address(row.ifa_addr) } {
            found.push((name.to_string_lossy().into_owned(), ip));
        }
    }
    // SAFETY: the list of the call above, not used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// # Safety
/// `address` is null or points to an address as long as its family says.
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: see above.
    match i32::from(unsafe { address.as_ref() }?.sa_family) {
        libc::AF_INET => {
            // SAFETY: the family says so; it may be unaligned for all we know.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::index_of;

    #[test]
    fn loopback_is_among_them() {
        let all = all().unwrap();
        let loopback = all
            .iter()
            .find(|(_, ip)| *ip == IpAddr::from([127, 0, 0, 1]));
        assert!(index_of(&loopback.unwrap().0).is_some());
        assert_eq!(index_of("no such thing"), None);
    }
}
