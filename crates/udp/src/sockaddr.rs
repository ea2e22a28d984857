//! Socket addresses as the kernel writes and reads them (`struct sockaddr_in`, `sockaddr_in6`).
//!
//! Promises: pure functions over octets, hence no union to read wrongly; any octets decode to an
//! address or to nothing.
//!
//! The offsets are those of libc's structures, which are the kernel's.

use std::mem::{offset_of, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Octets of the longer of the two structures.
pub(crate) const NAME_SIZE: usize = size_of::<libc::sockaddr_in6>();

/// Room for a socket address, aligned as the kernel's structures are.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Name(pub(crate) [u8; NAME_SIZE]);

const FAMILY: usize = offset_of!(libc::sockaddr_in6, sin6_family);
const PORT: usize = offset_of!(libc::sockaddr_in6, sin6_port);
const V4_ADDRESS: usize = offset_of!(libc::sockaddr_in, sin_addr);
const V4_SIZE: usize = size_of::<libc::sockaddr_in>();
const V6_ADDRESS: usize = offset_of!(libc::sockaddr_in6, sin6_addr);
const V6_SCOPE: usize = offset_of!(libc::sockaddr_in6, sin6_scope_id);

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

// Family and port are read before it is known which of the two structures it is.
const _: () = assert!(FAMILY == offset_of!(libc::sockaddr_in, sin_family));
const _: () = assert!(PORT == offset_of!(libc::sockaddr_in, sin_port));

/// Writes `address` into `name` and says how many octets it takes.
pub(crate) fn encode(address: SocketAddr, name: &mut Name) -> usize {
    let octets = &mut name.0;
    *octets = [0; NAME_SIZE];
    put(octets, PORT, address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            put(octets, FAMILY, AF_INET.to_ne_bytes());
            put(octets, V4_ADDRESS, v4.ip().octets());
            V4_SIZE
        }
        SocketAddr::V6(v6) => {
            put(octets, FAMILY, AF_INET6.to_ne_bytes());
            put(octets, V6_ADDRESS, v6.ip().octets());
            put(octets, V6_SCOPE, v6.scope_id().to_ne_bytes());
            NAME_SIZE
        }
    }
}

/// Reads the address that the kernel wrote into the first `len` octets of `name`.
///
/// The flow label is left out: it is the sender's, and no part of who the sender is.
pub(crate) fn decode(name: &Name, len: usize) -> Option<SocketAddr> {
    let octets = name.0.get(..len)?;
    let port = u16::from_be_bytes(take(octets, PORT)?);
    match u16::from_ne_bytes(take(octets, FAMILY)?) {
        AF_INET => {
            let ip = Ipv4Addr::from(take::<4>(octets, V4_ADDRESS)?);
            Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
        }
        AF_INET6 => {
            let ip = Ipv6Addr::from(take::<16>(octets, V6_ADDRESS)?);
            let scope = u32::from_ne_bytes(take(octets, V6_SCOPE)?);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
        }
        _ => None,
    }
}

/// The `N` octets of `octets` from `at` on.
pub(crate) fn take<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

/// Writes `value` into `octets` from `at` on; the caller's constants make it fit.
pub(crate) fn put<const N: usize>(octets: &mut [u8], at: usize, value: [u8; N]) {
    octets[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GARBAGE: Name = Name([0xff; NAME_SIZE]);

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for address in [
            "192.0.2.1:53",
            "[2001:db8::1]:853",
            "[fe80::1%7]:53",
            "0.0.0.0:0",
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let mut name = GARBAGE;
            let len = encode(address, &mut name);
            assert_eq!(decode(&name, len), Some(address));
        }
    }

    #[test]
    fn flow_label_is_no_part_of_a_peer() {
        let mut name = GARBAGE;
        let ip = Ipv6Addr::LOCALHOST;
        let len = encode(SocketAddrV6::new(ip, 53, 9, 0).into(), &mut name);
        assert_eq!(
            decode(&name, len),
            Some(SocketAddrV6::new(ip, 53, 0, 0).into())
        );
    }

    #[test]
    fn cut_and_foreign_names_are_no_address() {
        let mut name = GARBAGE;
        let len = encode("[2001:db8::1]:53".parse().unwrap(), &mut name);
        for cut in 0..len {
            assert_eq!(decode(&name, cut), None);
        }
        assert_eq!(decode(&name, NAME_SIZE + 1), None);
        assert_eq!(decode(&GARBAGE, NAME_SIZE), None);
        assert_eq!(decode(&Name([0; NAME_SIZE]), NAME_SIZE), None);
    }
}
