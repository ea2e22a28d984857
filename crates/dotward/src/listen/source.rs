//! Who counts as one client when places are given out.
//!
//! Promises: an IPv4 address is one, and so are all IPv6 addresses of one /64, because that is what one host or one home has
//! (RFC 6177, RFC 7421).

use std::net::{IpAddr, Ipv4Addr};

/// Where streams come from that share one bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// One address.
    V4(Ipv4Addr),
    /// The first 64 bits of an address.
    V6(u64),
}

impl Source {
    /// The source that `address` belongs to.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self::V6(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_64_bits_is_one_source_and_so_is_an_address_of_32() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
    }
}
