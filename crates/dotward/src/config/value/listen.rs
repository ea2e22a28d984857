//! Listening addresses: `[udp://|tcp://|tls://]IP[:PORT]`, or the name of a network interface in the place of the address, or one address
//! of one interface, `[fe80::1%eth0]`.
//!
//! Names of hosts such as `localhost` are refused: which addresses they stand for is another program's
//! decision and may change under us.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Family, ValueFault, scalar};
use crate::config::{ADMIN_PORT, DNS_PORT, DOT_PORT, ListenTransport};

/// A listening address as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenText {
    /// Where.
    pub place: ListenPlace,
    /// What the prefix says; without one, `--proto` decides.
    pub transport: Option<ListenTransport>,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenPlace {
    /// Address and port.
    Address(SocketAddr),
    /// At the addresses of an interface.
    Interface {
        /// What the system calls it.
        name: String,
        /// The one address of it that is meant; `None` for all.
        only: Option<Ipv6Addr>,
        /// The port; never 0.
        port: u16,
    },
}

pub(super) fn parse(text: &str) -> Result<ListenText, ValueFault> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(ListenText {
            place: place(text, DNS_PORT)?,
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
        place: place(rest, port)?,
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
        place: place(rest, DOT_PORT)?,
        transport: Some(ListenTransport::Tls),
    })
}

/// Where the admin listener is, or `off`.
pub(super) fn parse_admin(text: &str) -> Result<Option<SocketAddr>, ValueFault> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    bindable(address(text, ADMIN_PORT)?).map(Some)
}

/// An address, or else an interface. What is neither is blamed as an address that went wrong.
fn place(text: &str, port: u16) -> Result<ListenPlace, ValueFault> {
    match address(text, port) {
        Ok(address) => bindable(address).map(ListenPlace::Address),
        Err(ValueFault::NotAnAddress { found, .. }) => interface(text, port).unwrap_or({
            Err(ValueFault::NotAnAddress {
                family: Family::OrInterface,
                found,
            })
        }),
        Err(fault) => Err(fault),
    }
}

/// Refuses what no machine lets a program listen at.
fn bindable(address: SocketAddr) -> Result<SocketAddr, ValueFault> {
    if let SocketAddr::V6(v6) = address {
        if let Some(address) = v6.ip().to_ipv4_mapped() {
            return Err(ValueFault::Mapped { address });
        }
        if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 {
            return Err(ValueFault::NoInterface { address: *v6.ip() });
        }
    }
    Ok(address)
}

/// Whether it is a name of the DNS and not one of an interface, which may have a dot before the number of a VLAN.
fn is_host_name(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(before, last)| {
        !before.is_empty() && !last.is_empty() && last.bytes().all(|it| it.is_ascii_alphabetic())
    })
}

/// `None` for what does not look like an interface.
fn interface(text: &str, port: u16) -> Option<Result<ListenPlace, ValueFault>> {
    let (name, only, port_text) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']')?;
            let (only, name) = inside.split_once('%')?;
            let port_text = match behind.strip_prefix(':') {
                Some(port_text) => Some(port_text),
                None if behind.is_empty() => None,
                None => return None,
            };
            (name, Some(only.parse().ok()?), port_text)
        }
        None => match text.split_once(':') {
            Some((name, port_text)) => (name, None, Some(port_text)),
            None => (text, None, None),
        },
    };
    if is_host_name(name) && name.parse::<IpAddr>().is_err() {
        return Some(Err(ValueFault::HostName {
            found: name.to_owned(),
        }));
    }
    // What has no letter is an address with a mistake in it.
    let is_name =
        scalar::interface(name).is_ok() && name.bytes().any(|it| it.is_ascii_alphabetic());
    if !is_name || name.eq_ignore_ascii_case("localhost") {
        return None;
    }
    // Port 0 would be another one for each address.
    let port = match port_text {
        None => Some(port),
        Some(text) => text.parse().ok().filter(|port| *port != 0),
    };
    let name = name.to_owned();
    Some(match port {
        Some(port) => Ok(ListenPlace::Interface { name, only, port }),
        None => Err(ValueFault::NotAPort {
            found: port_text.unwrap_or_default().to_owned(),
        }),
    })
}

fn address(text: &str, port: u16) -> Result<SocketAddr, ValueFault> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let (unscoped, _) = text.split_once('%').unwrap_or((text, ""));
    if unscoped.parse::<Ipv6Addr>().is_ok() {
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
    use std::net::Ipv4Addr;

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
            let address = ListenPlace::Address(address.parse().expect(address));
            assert_eq!(parsed.place, address, "{text}");
            assert_eq!(parsed.transport, transport, "{text}");
        }
        assert_eq!(parse_tls("[::1]"), parse("tls://[::1]"));
        assert_eq!(parse_tls("tls://[::1]:8853"), parse("tls://[::1]:8853"));
    }

    #[test]
    fn an_interface_stands_in_the_place_of_an_address() {
        let only = Some("fe80::1".parse().unwrap());
        let cases = [
            ("eth0", "eth0", None, 53, None),
            ("eth0:5353", "eth0", None, 5353, None),
            ("eth0.100", "eth0.100", None, 53, None),
            (
                "udp://br-lan:53",
                "br-lan",
                None,
                53,
                Some(ListenTransport::Udp),
            ),
            ("tls://wg0", "wg0", None, 853, Some(ListenTransport::Tls)),
            ("[fe80::1%eth0]:54", "eth0", only, 54, None),
            (
                "tcp://[fe80::1%eth0]",
                "eth0",
                only,
                53,
                Some(ListenTransport::Tcp),
            ),
        ];
        for (text, name, only, port, transport) in cases {
            let name = name.to_owned();
            let place = ListenPlace::Interface { name, only, port };
            assert_eq!(parse(text), Ok(ListenText { place, transport }), "{text}");
        }
        for (text, port) in [
            ("eth0:0", "0"),
            ("eth0:dns", "dns"),
            ("[fe80::1%eth0]:", ""),
        ] {
            let found = port.to_owned();
            assert_eq!(parse(text), Err(ValueFault::NotAPort { found }), "{text}");
        }
        for text in [
            "sixteen-letters0",
            "a/b",
            "10.0.0.256",
            "[fe80::x%eth0]",
            "[fe80::1%]",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_no_machine_lets_a_program_listen_at_is_refused() {
        let local = Err(ValueFault::NoInterface {
            address: "fe80::1".parse().unwrap(),
        });
        assert_eq!(parse("[fe80::1]:53"), local);
        assert_eq!(parse("tls://[fe80::1]"), local);
        let mapped = Err(ValueFault::Mapped {
            address: Ipv4Addr::LOCALHOST,
        });
        assert_eq!(parse("[::ffff:127.0.0.1]:53"), mapped);
        assert!(parse_admin("[::ffff:127.0.0.1]:53").is_err());
        for name in ["dns.example.com:53", "example.com"] {
            let refused = parse(name).unwrap_err();
            assert!(refused.remedy().contains("no host names here"), "{name}");
        }
        assert!(parse("eth0.100:53").is_ok(), "an interface of a VLAN");
    }

    #[test]
    fn bad_spellings_say_what_is_wrong() {
        let found = |text: &str| text.to_owned();
        let cases = [
            (
                "localhost:53",
                ValueFault::NotAnAddress {
                    family: Family::OrInterface,
                    found: found("localhost"),
                },
            ),
            (
                "*:53",
                ValueFault::NotAnAddress {
                    family: Family::OrInterface,
                    found: found("*"),
                },
            ),
            (
                ":53",
                ValueFault::NotAnAddress {
                    family: Family::OrInterface,
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
                "fe80::1%eth0",
                ValueFault::Unbracketed {
                    found: found("fe80::1%eth0"),
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
                    family: Family::OrInterface,
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
