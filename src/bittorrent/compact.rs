//! Pure: addresses as trackers, peers and DHT nodes pack them: 4 or 16 bytes and a port (BEP 5, 7,
//! 23).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub const V4_LEN: usize = 6;
pub const V6_LEN: usize = 18;

/// Appends address and port; an IPv4 address in IPv6 clothes is written as IPv4.
pub fn write(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// One address of 6 or 18 bytes.
pub fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip: IpAddr = match ip.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// IPv4 addresses, one after the other. Those that nobody can have are left out, a rest too.
pub fn read_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    read_all(bytes, V4_LEN)
}

/// IPv6 addresses, one after the other.
pub fn read_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    read_all(bytes, V6_LEN)
}

fn read_all(bytes: &[u8], len: usize) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes
        .chunks_exact(len)
        .filter_map(read)
        .filter(|address| is_possible(*address))
}

/// Whether a peer can be at this address.
pub fn is_possible(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_unpacked() {
        for text in ["1.2.3.4:6881", "[2001:db8::1]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut out = Vec::new();
            write(address, &mut out);
            assert_eq!(out.len(), if address.is_ipv4() { V4_LEN } else { V6_LEN });
            assert_eq!(read(&out), Some(address));
        }
        let mut out = Vec::new();
        write("[::ffff:1.2.3.4]:5".parse().unwrap(), &mut out);
        assert_eq!(out, [1, 2, 3, 4, 0, 5]);
        assert_eq!(read(&[1, 2, 3]), None);
        let bytes = [
            1, 2, 3, 4, 0, 5, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 0, 0, 224, 0, 0, 1, 0, 1, 9,
        ];
        let found: Vec<_> = read_v4(&bytes).collect();
        assert_eq!(found, ["1.2.3.4:5".parse().unwrap()]);
    }
}
