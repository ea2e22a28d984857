//! What a route is about: a domain, or a network, which stands for the reverse names of its addresses.
//!
//! Promise: what looks like an address or a network and is none is refused rather than taken for a domain, and so are the spellings of
//! other programs for "and everything below" (`*.corp.example`, `.corp.example`), which is always meant here.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{ValueFault, scalar};
use crate::config::{Name, Suffix};

pub(super) fn parse(text: &str) -> Result<Suffix, ValueFault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Suffix::Network(IpNet::from(address)));
    }
    let no_suffix = |suggestion| ValueFault::NotASuffix { suggestion };
    if text.contains('/') {
        let network: IpNet = text.parse().map_err(|_| no_suffix(None))?;
        return match network.trunc() == network {
            true => Ok(Suffix::Network(network)),
            false => Err(ValueFault::HostBits { network }),
        };
    }
    if text == "." {
        return Err(ValueFault::Root);
    }
    let below = text.strip_prefix('*').unwrap_or(text);
    if let Some(domain) = below.strip_prefix('.') {
        let domain = scalar::domain_name(domain)
            .is_ok()
            .then(|| domain.to_owned());
        return Err(no_suffix(domain));
    }
    let address_like = text
        .bytes()
        .all(|octet| octet.is_ascii_digit() || octet == b'.');
    if address_like || text.contains([':', '*', '=', ' ']) {
        return Err(no_suffix(None));
    }
    scalar::domain_name(text)
        .map(Suffix::Domain)
        .map_err(|_| no_suffix(None))
}

/// A domain alone.
pub(super) fn parse_domain(text: &str) -> Result<Name, ValueFault> {
    let suggestion = match parse(text) {
        Ok(Suffix::Domain(domain)) => return Ok(domain),
        Err(ValueFault::NotASuffix { suggestion }) => suggestion,
        Ok(Suffix::Network(_)) | Err(_) => None,
    };
    Err(ValueFault::NotADomain { suggestion })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_and_networks_are_read() {
        let read = |text| parse(text).expect(text).to_string();
        for (text, written) in [
            ("Corp.example.", "Corp.example"),
            ("local", "local"),
            ("_tcp.corp.example", "_tcp.corp.example"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(read(text), written);
        }
        let domains = parse("172.16.0.0/15").expect("a network").domains();
        let domains: Vec<_> = domains.iter().map(ToString::to_string).collect();
        assert_eq!(domains, ["16.172.in-addr.arpa", "17.172.in-addr.arpa"]);
    }

    #[test]
    fn a_network_is_no_domain() {
        let read = |text| parse_domain(text).map(|it| it.to_string());
        assert_eq!(read("plex.direct."), Ok("plex.direct".to_owned()));
        for (text, suggestion) in [
            ("10.0.0.0/8", None),
            ("10.0.0.1", None),
            ("10.0.0.1/8", None),
            (".", None),
            ("a..b", None),
            ("*.plex.direct", Some("plex.direct".to_owned())),
        ] {
            let fault = ValueFault::NotADomain { suggestion };
            assert_eq!(read(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_what_was_meant() {
        for text in [
            "10.0.0",
            "10.0.0.0/33",
            "fd00::/",
            "fd00:",
            "a..b",
            "a=b",
            "**",
            "10/8",
        ] {
            let fault = ValueFault::NotASuffix { suggestion: None };
            assert_eq!(parse(text), Err(fault), "{text}");
        }
        for text in ["*.corp.example", ".corp.example"] {
            let fault = parse(text).expect_err(text);
            assert!(fault.remedy().contains("`corp.example`"), "{text}");
        }
        assert_eq!(parse("."), Err(ValueFault::Root));
        let fault = parse("10.1.2.3/8").expect_err("host bits");
        assert!(fault.remedy().contains("10.0.0.0/8"), "{}", fault.remedy());
    }
}
