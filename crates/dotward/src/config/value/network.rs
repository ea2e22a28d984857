//! Networks whose clients are answered: words, addresses, CIDR.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::ValueFault;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(first: u16, last: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last),
        prefix,
    ))
}

/// What `loopback` stands for.
pub const LOOPBACK: [IpNet; 2] = [v4(127, 0, 0, 0, 8), v6(0, 1, 128)];

/// What `private` stands for: RFC 1918, RFC 4193 and link-local addresses. The shared address space
/// 100.64.0.0/10 (RFC 6598) is not among them: behind a carrier's translator it holds strangers.
pub const PRIVATE: [IpNet; 6] = [
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v4(169, 254, 0, 0, 16),
    v6(0xfc00, 0, 7),
    v6(0xfe80, 0, 10),
];

const ANY: [IpNet; 2] = [v4(0, 0, 0, 0, 0), v6(0, 0, 0)];

pub(super) fn parse(text: &str) -> Result<Vec<IpNet>, ValueFault> {
    match text.to_ascii_lowercase().as_str() {
        "loopback" => return Ok(LOOPBACK.to_vec()),
        "private" => return Ok(PRIVATE.to_vec()),
        "any" => return Ok(ANY.to_vec()),
        _ => {}
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(vec![IpNet::from(address)]);
    }
    let network: IpNet = text.parse().map_err(|_| ValueFault::NotANetwork)?;
    if network.trunc() == network {
        Ok(vec![network])
    } else {
        Err(ValueFault::HostBits { network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_addresses_and_networks_are_read() {
        assert_eq!(parse("Loopback"), Ok(LOOPBACK.to_vec()));
        assert_eq!(parse("any").map(|nets| nets.len()), Ok(2));
        assert_eq!(
            parse("192.0.2.1").map(|nets| nets[0].to_string()),
            Ok("192.0.2.1/32".into())
        );
        assert_eq!(parse("2001:db8::/32").map(|nets| nets.len()), Ok(1));
    }

    #[test]
    fn host_bits_are_refused_with_the_network_that_was_meant() {
        let fault = parse("192.168.1.10/24").expect_err("host bits");
        assert!(
            fault.remedy().contains("192.168.1.0/24"),
            "{}",
            fault.remedy()
        );
        assert!(
            fault.remedy().contains("`192.168.1.10`"),
            "{}",
            fault.remedy()
        );
        assert_eq!(parse("10/8"), Err(ValueFault::NotANetwork));
        assert_eq!(parse("lan"), Err(ValueFault::NotANetwork));
    }
}
