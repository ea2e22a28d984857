//! Who may ask: a set of networks.
//!
//! The networks become sorted, disjoint ranges, so a look-up is one binary search whatever the number of networks, and overlapping
//! ones cost nothing. An IPv4 client on an IPv6 socket (`::ffff:192.0.2.1`) is looked up as the IPv4 address it is.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A set of client addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Acl {
    /// The set of all addresses in `networks`.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        let v4 = networks.iter().filter_map(|network| match network {
            IpNet::V4(net) => Some((u32::from(net.network()), u32::from(net.broadcast()))),
            IpNet::V6(_) => None,
        });
        let v6 = networks.iter().filter_map(|network| match network {
            IpNet::V6(net) => Some((u128::from(net.network()), u128::from(net.broadcast()))),
            IpNet::V4(_) => None,
        });
        Self {
            v4: Ranges::new(v4.collect()),
            v6: Ranges::new(v6.collect()),
        }
    }

    /// Whether `address` is in the set.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contains(Ipv4Addr::into(address)),
            IpAddr::V6(address) => self.v6.contains(Ipv6Addr::into(address)),
        }
    }
}

/// Sorted, disjoint, inclusive ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges<T>(Vec<(T, T)>);

impl<T: Ord + Copy> Ranges<T> {
    fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn contains(&self, value: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= value);
        after
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|(_, last)| value <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(networks: &[&str]) -> Acl {
        let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
        Acl::new(&networks)
    }

    #[test]
    fn addresses_at_the_edges_of_a_network_are_in_it_and_their_neighbours_are_not() {
        let acl = acl(&["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "10.1.0.0/16"]);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "fd00::",
            "::ffff:10.1.2.3",
        ] {
            assert!(acl.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "fe00::",
            "::1",
        ] {
            assert!(!acl.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn nothing_allows_nobody_and_everything_allows_all() {
        let all = acl(&["0.0.0.0/0", "::/0"]);
        for address in ["0.0.0.0", "255.255.255.255", "::", "ffff::"] {
            assert!(!acl(&[]).contains(address.parse().unwrap()));
            assert!(all.contains(address.parse().unwrap()));
        }
    }

    #[test]
    fn many_networks_agree_with_looking_at_each() {
        let networks: Vec<IpNet> = (0..500_u32)
            .map(|n| {
                let address = Ipv4Addr::from(n.wrapping_mul(2_654_435_761));
                ipnet::Ipv4Net::new(address, 8 + u8::try_from(n % 25).unwrap())
                    .unwrap()
                    .trunc()
                    .into()
            })
            .collect();
        let acl = Acl::new(&networks);
        for n in 0..20_000_u32 {
            let address: IpAddr = Ipv4Addr::from(n.wrapping_mul(40_503_717)).into();
            let naive = networks.iter().any(|network| network.contains(&address));
            assert_eq!(acl.contains(address), naive, "{address}");
        }
    }
}
