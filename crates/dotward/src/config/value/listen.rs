//! Listening addresses: `[udp://|tcp://|tls://]IP[:PORT]`.
//!
//! Names such as `localhost` are refused: which addresses they stand for is another program's
//! decision and may change under us.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Family, ValueFault};
use crate::config::{ADMIN_PORT, DNS_PORT, DOT_PORT, ListenTransport};

/// A listening address as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenText {
    /// Address and port.
    pub address: SocketAddr,
    /// What the prefix says; without one, `--proto` decides.
    pub transport: Option<ListenTransport>,
}

pub(super) fn parse(text: &str) -> Result<ListenText, ValueFault> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(ListenText {
            address: address(text, DNS_PORT)?,
            transport: None,
        });
    };
    let (transport, port) = match scheme.to_ascii_lowercase().as_str() {
        "udp" => (ListenTransport::Udp, DNS_PORT),
        "tcp" => (ListenTransport::Tcp, DNS_PORT),
        "tls" => (ListenTransport::Tls, DOT_PORT),
        _ => {
            let allowed = "`udp://`, `tcp://` or `tls://`";
            return Err(ValueFault::Scheme {
                found: scheme.to_owned(),
                allowed,
            });
        }
    };
    Ok(ListenText {
        address: address(rest, port)?,
        transport: Some(transport),
    })
}

/// Addresses of `listen.tls`: the prefix may be left out, and is TLS.
pub(super) fn parse_tls(text: &str) -> Result<ListenText, ValueFault> {
    let rest = text.strip_prefix("tls://").unwrap_or(text);
    if let Some((scheme, _)) = rest.split_once("://") {
        let allowed = "the address alone: `listen.tls` is TLS";
        return Err(ValueFault::Scheme {
            found: scheme.to_owned(),
            allowed,
        });
    }
    Ok(ListenText {
        address: address(rest, DOT_PORT)?,
        transport: Some(ListenTransport::Tls),
    })
}

/// Where the admin listener is, or `off`.
pub(super) fn parse_admin(text: &str) -> Result<Option<SocketAddr>, ValueFault> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    address(text, ADMIN_PORT).map(Some)
}

fn address(text: &str, port: u16) -> Result<SocketAddr, ValueFault> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(ValueFault::Unbracketed {
            found: text.to_owned(),
        });
    }
    let unbracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(ip) = unbracketed.and_then(|ip| ip.parse::<Ipv6Addr>().ok()) {
        return Ok(SocketAddr::new(IpAddr::V6(ip), port));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    Err(blame(text))
}

/// Which half of what is no socket address is to blame.
fn blame(text: &str) -> ValueFault {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        ValueFault::NotAPort {
            found: port.to_owned(),
        }
    } else {
        ValueFault::NotAnAddress {
            family: Family::Any,
            found: host.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_listener_has_a_port_of_its_own_or_is_off() {
        assert_eq!(parse_admin("OFF"), Ok(None));
        let address = "127.0.0.1:9853".parse().unwrap();
        assert_eq!(parse_admin("127.0.0.1"), Ok(Some(address)));
        assert!(parse_admin("on").is_err());
    }

    #[test]
    fn good_spellings() {
        let cases = [
            ("127.0.0.1:5300", "127.0.0.1:5300", None),
            ("127.0.0.1", "127.0.0.1:53", None),
            ("[::1]", "[::1]:53", None),
            ("[::]:0", "[::]:0", None),
            ("udp://0.0.0.0", "0.0.0.0:53", Some(ListenTransport::Udp)),
            ("TCP://[::1]:54", "[::1]:54", Some(ListenTransport::Tcp)),
            (
                "tls://192.0.2.1",
                "192.0.2.1:853",
                Some(ListenTransport::Tls),
            ),
        ];
        for (text, address, transport) in cases {
            let parsed = parse(text).expect(text);
            assert_eq!(parsed.address, address.parse().expect(address), "{text}");
            assert_eq!(parsed.transport, transport, "{text}");
        }
        assert_eq!(parse_tls("[::1]"), parse("tls://[::1]"));
        assert_eq!(parse_tls("tls://[::1]:8853"), parse("tls://[::1]:8853"));
    }

    #[test]
    fn bad_spellings_say_what_is_wrong() {
        let found = |text: &str| text.to_owned();
        let cases = [
            (
                "localhost:53",
                ValueFault::NotAnAddress {
                    family: Family::Any,
                    found: found("localhost"),
                },
            ),
            (
                "*:53",
                ValueFault::NotAnAddress {
                    family: Family::Any,
                    found: found("*"),
                },
            ),
            (
                ":53",
                ValueFault::NotAnAddress {
                    family: Family::Any,
                    found: found(""),
                },
            ),
            (
                "127.0.0.1:dns",
                ValueFault::NotAPort {
                    found: found("dns"),
                },
            ),
            (
                "127.0.0.1:65536",
                ValueFault::NotAPort {
                    found: found("65536"),
                },
            ),
            ("127.0.0.1:", ValueFault::NotAPort { found: found("") }),
            ("[::1]:x", ValueFault::NotAPort { found: found("x") }),
            (
                "::1",
                ValueFault::Unbracketed {
                    found: found("::1"),
                },
            ),
            (
                "::1:53",
                ValueFault::Unbracketed {
                    found: found("::1:53"),
                },
            ),
            (
                "300.0.0.1:53",
                ValueFault::NotAnAddress {
                    family: Family::Any,
                    found: found("300.0.0.1"),
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert!(matches!(
            parse("quic://127.0.0.1"),
            Err(ValueFault::Scheme { .. })
        ));
        assert!(matches!(
            parse_tls("udp://127.0.0.1"),
            Err(ValueFault::Scheme { .. })
        ));
    }
}
