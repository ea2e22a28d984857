//! Addresses as the batch calls see them: who sent a datagram, and which of our addresses it was
//! sent to.
//!
//! Promises: nothing here panics on any input. An IPv4 client is always a [`SocketAddr::V4`], also when its datagram came
//! through a dual-stack IPv6 socket, so that an access list has one form of each address to match.
//!
//! Rules: RFC 2181 section 4.1 (a reply leaves from the address the query was sent to), RFC 4291
//! section 2.5.5.2 (IPv4-mapped addresses), RFC 4007 section 6 (zones of link-local addresses).
//!
//! Not here: how the kernel writes them (`sockaddr.rs`, `cmsg.rs`).

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The address of ours that a datagram was sent to, hence the one its reply must leave from.
///
/// Holds an IP address and the index of the network interface the datagram came in through. Either
/// may be unknown: the address is so with the one-by-one back end, and for datagrams sent to a
/// multicast or broadcast address, which cannot be the source of a reply. Sending from an unknown
/// address leaves the choice to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LocalAddress {
    ip: Option<IpAddr>,
    interface: u32,
}

impl LocalAddress {
    /// No address: the kernel chooses the source of the reply.
    pub const UNKNOWN: Self = Self {
        ip: None,
        interface: 0,
    };

    /// The address `ip`, on the interface of index `interface` (0: not known).
    ///
    /// An IPv4-mapped `ip` becomes IPv4. An `ip` that no datagram can leave from (unspecified,
    /// multicast, limited broadcast) becomes unknown.
    #[must_use]
    pub fn new(ip: IpAddr, interface: u32) -> Self {
        let ip = ip.to_canonical();
        let usable = match ip {
            IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
        };
        Self {
            ip: usable.then_some(ip),
            interface,
        }
    }

    /// The one address of everything that arrives at a socket bound to `address`; `None` when it is bound to all there are.
    pub(crate) fn of_bind(address: SocketAddr) -> Option<Self> {
        let interface = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        let bound = Self::new(address.ip(), interface);
        bound.ip.is_some().then_some(bound)
    }

    /// The IP address, or `None` when it is unknown. Never an IPv4-mapped IPv6 address.
    #[must_use]
    pub const fn ip(self) -> Option<IpAddr> {
        self.ip
    }

    /// The index of the interface the datagram came in through; 0 when it is unknown.
    #[must_use]
    pub const fn interface(self) -> u32 {
        self.interface
    }
}

/// Whether a socket speaks IPv4 or IPv6, hence which form of address it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`, with IPv4-mapped addresses when the socket is dual-stack.
    V6,
}

impl Family {
    /// The family of a socket bound to `local`.
    pub(crate) const fn of(local: SocketAddr) -> Self {
        match local {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }

    /// `peer` in the form this family of socket sends to.
    ///
    /// An IPv6 peer of an IPv4 socket stays what it is: the kernel refuses it (`EAFNOSUPPORT`),
    /// and the message is counted as skipped.
    pub(crate) fn destination(self, peer: SocketAddr) -> SocketAddr {
        match (self, peer) {
            (Self::V4, peer) => canonical(peer),
            (Self::V6, SocketAddr::V4(v4)) => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            (Self::V6, v6 @ SocketAddr::V6(_)) => v6,
        }
    }
}

/// `address` with an IPv4-mapped IPv6 address turned into IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        v4 @ IpAddr::V4(_) => SocketAddr::new(v4, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Whether `ip` means something only together with an interface (RFC 4291 section 2.5.6).
pub(crate) const fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket_address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_cannot_be_a_source_is_unknown() {
        for ip in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"] {
            let local = LocalAddress::new(ip.parse().unwrap(), 3);
            assert_eq!((local.ip(), local.interface()), (None, 3), "{ip}");
        }
        assert_eq!(LocalAddress::default(), LocalAddress::UNKNOWN);
    }

    #[test]
    fn a_v4_mapped_address_is_v4() {
        let local = LocalAddress::new("::ffff:192.0.2.1".parse().unwrap(), 0);
        assert_eq!(local.ip(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(
            canonical(socket_address("[::ffff:192.0.2.1]:53")),
            socket_address("192.0.2.1:53")
        );
    }

    #[test]
    fn a_zone_survives() {
        let peer = socket_address("[fe80::1%7]:53");
        assert_eq!(canonical(peer), peer);
        assert_eq!(Family::V6.destination(peer), peer);
    }

    #[test]
    fn each_family_gets_peers_in_its_own_form() {
        let v4 = socket_address("192.0.2.1:53");
        let mapped = socket_address("[::ffff:192.0.2.1]:53");
        assert_eq!(Family::V4.destination(mapped), v4);
        assert_eq!(Family::V4.destination(v4), v4);
        assert_eq!(Family::V6.destination(v4), mapped);
        assert_eq!(Family::V6.destination(mapped), mapped);
    }
}
