//! The names of reverse look-up for a network: `10.0.0.0/8` is `10.in-addr.arpa` (RFC 1035 section 3.5, RFC 3596 section 2.5).
//!
//! A prefix that ends inside an octet (or, for IPv6, inside a group of four bits) is several zones: `172.16.0.0/12` is
//! the sixteen from `16.172.in-addr.arpa` to `31.172.in-addr.arpa`. At most 128 of them for IPv4, 8 for IPv6.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::wire::Name;

/// The zones that hold the reverse names of `network`, and of nothing else.
#[must_use]
pub fn reverse_zones(network: IpNet) -> Vec<Name> {
    let texts: Vec<String> = match network {
        IpNet::V4(net) => zones_v4(net),
        IpNet::V6(net) => zones_v6(net),
    };
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn zones_v4(net: Ipv4Net) -> Vec<String> {
    let octets = net.network().octets();
    let whole = usize::from(net.prefix_len() / 8);
    let bits = net.prefix_len() % 8;
    let parent = octets
        .iter()
        .take(whole)
        .rev()
        .fold(String::new(), |text, octet| text + &format!("{octet}."));
    let parent = format!("{parent}in-addr.arpa");
    if bits == 0 {
        return vec![parent];
    }
    let first = octets.get(whole).copied().unwrap_or_default();
    (0..1_u16 << (8 - bits))
        .map(|n| format!("{}.{parent}", u16::from(first) + n))
        .collect()
}

fn zones_v6(net: Ipv6Net) -> Vec<String> {
    let nibbles: Vec<u8> = net
        .network()
        .octets()
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 0x0f])
        .collect();
    let whole = usize::from(net.prefix_len() / 4);
    let bits = net.prefix_len() % 4;
    let parent = nibbles
        .iter()
        .take(whole)
        .rev()
        .fold(String::new(), |text, n| text + &format!("{n:x}."));
    let parent = format!("{parent}ip6.arpa");
    if bits == 0 {
        return vec![parent];
    }
    let first = nibbles.get(whole).copied().unwrap_or_default();
    (0..1_u8 << (4 - bits))
        .map(|n| format!("{:x}.{parent}", first + n))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(text: &str) -> Vec<String> {
        reverse_zones(text.parse().unwrap())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn prefixes_on_a_boundary_are_one_zone() {
        assert_eq!(zones("10.0.0.0/8"), ["10.in-addr.arpa"]);
        assert_eq!(zones("192.0.2.0/24"), ["2.0.192.in-addr.arpa"]);
        assert_eq!(zones("192.0.2.7/32"), ["7.2.0.192.in-addr.arpa"]);
        assert_eq!(zones("0.0.0.0/0"), ["in-addr.arpa"]);
        assert_eq!(zones("2001:db8::/32"), ["8.b.d.0.1.0.0.2.ip6.arpa"]);
        assert_eq!(zones("::/0"), ["ip6.arpa"]);
        assert_eq!(
            zones("::1/128")[0],
            format!("1.{}ip6.arpa", "0.".repeat(31))
        );
    }

    #[test]
    fn prefixes_inside_a_boundary_are_several() {
        let zones_172 = zones("172.16.0.0/12");
        assert_eq!(zones_172.len(), 16);
        assert_eq!(
            (zones_172[0].as_str(), zones_172[15].as_str()),
            ("16.172.in-addr.arpa", "31.172.in-addr.arpa")
        );
        assert_eq!(
            zones("192.168.4.0/23"),
            ["4.168.192.in-addr.arpa", "5.168.192.in-addr.arpa"]
        );
        assert_eq!(
            zones("fe80::/10"),
            [
                "8.e.f.ip6.arpa",
                "9.e.f.ip6.arpa",
                "a.e.f.ip6.arpa",
                "b.e.f.ip6.arpa"
            ]
        );
        assert_eq!(zones("128.0.0.0/1").len(), 128);
    }
}
