//! PROXY protocol headers: what a load balancer says before a client's octets about where they come from
//! (HAProxy's `proxy-protocol.txt`, version 1 in section 2.1, version 2 in 2.2).
//!
//! Promises: octets that cannot become a header any more are refused at the first that is wrong, so that nobody waits for the rest of
//! what is none; no more than [`HEADER_LEN_MAX`] octets are ever wanted; nothing is allocated.
//!
//! Deliberately absent: the destination address and the TLVs of version 2, which say nothing about who asks; checksums (TLV
//! `PP2_TYPE_CRC32C` is optional to verify, and TCP has its own); whom to believe, which is the shell's setting.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str;

/// The longest header that is taken, in octets. The addresses need at most 232; the rest is room for TLVs, of which a client's
/// certificate is the longest seen. A length field may claim 65,535.
pub const HEADER_LEN_MAX: usize = 4096;

/// The longest line of version 1 with its end, in octets (section 2.1).
const LINE_LEN_MAX: usize = 107;

/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// What version 2 begins with: octets no text protocol, no TLS record and no DNS query begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Octets of version 2 before the addresses: signature, version and command, family and protocol, length.
const FIXED_LEN: usize = 16;

/// A header that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Octets it takes; what follows is the client's.
    pub len: usize,
    /// Where the client is. `None` when the header does not say: the balancer speaks for itself (`LOCAL`, health checks), or the
    /// client has no Internet address (`UNKNOWN`, `AF_UNSPEC`, `AF_UNIX`). The connection's own address counts then.
    pub source: Option<SocketAddr>,
}

/// Why octets are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// They may become one when more come.
    Incomplete,
    /// They begin like none.
    Absent,
    /// A version 2 header of another version than 2.
    Version(u8),
    /// A command, family or protocol that is not defined; such a connection has to be dropped (section 2.2).
    Undefined(u8),
    /// It claims more than [`HEADER_LEN_MAX`] octets; the number is the claim.
    TooLong(usize),
    /// Its length leaves no room for the addresses it announces.
    TooShort(usize),
    /// A line of version 1 that does not follow section 2.1.
    Line,
}

impl core::fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Incomplete => f.write_str("the PROXY header is not complete"),
            Self::Absent => f.write_str("no PROXY header"),
            Self::Version(version) => write!(f, "PROXY header of unknown version {version}"),
            Self::Undefined(octet) => {
                write!(f, "PROXY header with an undefined octet 0x{octet:02x}")
            }
            Self::TooLong(claim) => write!(f, "PROXY header of {claim} octets"),
            Self::TooShort(len) => write!(f, "PROXY header with addresses in {len} octets"),
            Self::Line => f.write_str("malformed PROXY line"),
        }
    }
}

impl core::error::Error for ProxyFault {}

/// Reads the header of either version at the front of a stream.
///
/// # Errors
///
/// [`ProxyFault::Incomplete`] when more octets are needed, any other fault when no more octets help.
pub fn parse_stream(octets: &[u8]) -> Result<ProxyHeader, ProxyFault> {
    match parse_datagram(octets) {
        Err(ProxyFault::Absent) => parse_line(octets),
        other => other,
    }
}

/// Reads the header at the front of a datagram, where only version 2 is defined. [`ProxyFault::Incomplete`] is final there.
///
/// # Errors
///
/// [`ProxyFault`] for everything that is no whole header.
pub fn parse_datagram(octets: &[u8]) -> Result<ProxyHeader, ProxyFault> {
    begins_with(octets, SIGNATURE)?;
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED_LEN>() else {
        return Err(ProxyFault::Incomplete);
    };
    let [.., command, family, high, low] = *fixed;
    if command >> 4 != 2 {
        return Err(ProxyFault::Version(command >> 4));
    }
    let wanted = usize::from(u16::from_be_bytes([high, low]));
    let len = FIXED_LEN.saturating_add(wanted);
    if len > HEADER_LEN_MAX {
        return Err(ProxyFault::TooLong(len));
    }
    let is_local = match command & 0x0f {
        0 => true,
        1 => false,
        _ => return Err(ProxyFault::Undefined(command)),
    };
    let addresses = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(ProxyFault::Undefined(family)),
    };
    // The balancer's own connections need no addresses, whatever the family says.
    if wanted < addresses && !is_local {
        return Err(ProxyFault::TooShort(wanted));
    }
    let body = rest.get(..wanted).ok_or(ProxyFault::Incomplete)?;
    let source = match family >> 4 {
        1 if !is_local => source_v4(body),
        2 if !is_local => source_v6(body),
        _ => None,
    };
    Ok(ProxyHeader { len, source })
}

/// Whether a stream begins like a header of either version. It is neither a DNS query nor a TLS record then: as a DNS message on
/// a stream both would be queries with an opcode or response code that no query has.
#[must_use]
pub fn is_announced(octets: &[u8]) -> bool {
    octets.starts_with(SIGNATURE) || octets.starts_with(WORD)
}

/// Whether `octets` begin with `start`, as far as they go.
fn begins_with(octets: &[u8], start: &[u8]) -> Result<(), ProxyFault> {
    if octets.starts_with(start) {
        Ok(())
    } else if start.starts_with(octets) {
        Err(ProxyFault::Incomplete)
    } else {
        Err(ProxyFault::Absent)
    }
}

/// Source address, destination address, source port, destination port.
fn source_v4(body: &[u8]) -> Option<SocketAddr> {
    let address = *body.first_chunk::<4>()?;
    let port = *body.get(8..)?.first_chunk::<2>()?;
    Some((Ipv4Addr::from(address), u16::from_be_bytes(port)).into())
}

fn source_v6(body: &[u8]) -> Option<SocketAddr> {
    let address = *body.first_chunk::<16>()?;
    let port = *body.get(32..)?.first_chunk::<2>()?;
    Some((Ipv6Addr::from(address), u16::from_be_bytes(port)).into())
}

/// `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and whatever.
fn parse_line(octets: &[u8]) -> Result<ProxyHeader, ProxyFault> {
    begins_with(octets, WORD)?;
    let seen = octets.get(..LINE_LEN_MAX).unwrap_or(octets);
    let could_be = |octet: &u8| matches!(octet, b' '..=b'~');
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        // What no line has cannot become one, and neither can what is full.
        let (last, before) = seen.split_last().ok_or(ProxyFault::Incomplete)?;
        let fits = seen.len() < LINE_LEN_MAX && before.iter().all(could_be);
        return Err(match fits && (could_be(last) || *last == b'\r') {
            true => ProxyFault::Incomplete,
            false => ProxyFault::Line,
        });
    };
    let line = seen.get(WORD.len()..end);
    let line = line.filter(|it| it.iter().all(could_be));
    let line = line.and_then(|it| str::from_utf8(it).ok());
    let mut words = line.ok_or(ProxyFault::Line)?.split(' ');
    let len = end.saturating_add(2);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(ProxyHeader { len, source: None });
    }
    let (source, destination) = (words.next(), words.next());
    let address = match family {
        Some("TCP4") => addresses::<Ipv4Addr>(source, destination).map(IpAddr::V4),
        Some("TCP6") => addresses::<Ipv6Addr>(source, destination).map(IpAddr::V6),
        Some(_) | None => None,
    };
    let (port, other) = (words.next().and_then(port), words.next().and_then(port));
    match (address, port, other, words.next()) {
        (Some(address), Some(port), Some(_), None) => Ok(ProxyHeader {
            len,
            source: Some((address, port).into()),
        }),
        _ => Err(ProxyFault::Line),
    }
}

/// The first of two addresses of one family.
fn addresses<A: str::FromStr>(source: Option<&str>, destination: Option<&str>) -> Option<A> {
    let source = source?.parse().ok()?;
    destination?.parse::<A>().is_ok().then_some(source)
}

/// A port without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 2 header around `body`.
    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    fn v4_body() -> Vec<u8> {
        vec![192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0, 53]
    }

    fn v6_body() -> Vec<u8> {
        let client: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let ours: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let ports = [0x30, 0x39, 0, 53];
        [&client.octets()[..], &ours.octets(), &ports].concat()
    }

    fn source(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn headers_of_both_versions_say_where_the_client_is_and_where_they_end() {
        let tlv = [v4_body(), vec![0x04, 0, 2, 9, 9]].concat();
        let cases = [
            (v2(0x21, 0x11, &v4_body()), source("192.0.2.1:12345")),
            (v2(0x21, 0x12, &v4_body()), source("192.0.2.1:12345")),
            (v2(0x21, 0x11, &tlv), source("192.0.2.1:12345")),
            (v2(0x21, 0x21, &v6_body()), source("[2001:db8::1]:12345")),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4_body()), None),
            (v2(0x20, 0x11, &[]), None),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 53\r\n".to_vec(),
                source("192.0.2.1:12345"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::2 12345 53\r\n".to_vec(),
                source("[2001:db8::1]:12345"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
        ];
        for (octets, source) in cases {
            let len = octets.len();
            let header = ProxyHeader { len, source };
            let followed = [octets, b"\0\x0c".to_vec()].concat();
            assert_eq!(parse_stream(&followed), Ok(header));
            assert!(is_announced(&followed));
            for cut in 0..len {
                assert_eq!(
                    parse_stream(&followed[..cut]),
                    Err(ProxyFault::Incomplete),
                    "{cut} octets of {followed:?}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_become_a_header_is_refused_at_the_first_octet_that_says_so() {
        let too_long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        let cases: [(&[u8], ProxyFault); 14] = [
            (b"\x16\x03\x01", ProxyFault::Absent),
            (b"\0\x1c", ProxyFault::Absent),
            (b"\r\n\r\r", ProxyFault::Absent),
            (b"PROXx", ProxyFault::Absent),
            (&v2(0x11, 0x11, &v4_body()), ProxyFault::Version(1)),
            (&v2(0x22, 0x11, &v4_body()), ProxyFault::Undefined(0x22)),
            (&v2(0x21, 0x13, &v4_body()), ProxyFault::Undefined(0x13)),
            (&v2(0x21, 0x41, &v4_body()), ProxyFault::Undefined(0x41)),
            (&v2(0x21, 0x21, &v4_body()), ProxyFault::TooShort(12)),
            (&too_long, ProxyFault::TooLong(65_551)),
            (b"PROXY TCP4 \n", ProxyFault::Line),
            (b"PROXY TCP4 192.0.2.1\r 1", ProxyFault::Line),
            (&[WORD, &[b'1'; 101]].concat(), ProxyFault::Line),
            (b"PROXY \xff\r\n", ProxyFault::Line),
        ];
        for (octets, fault) in cases {
            assert_eq!(parse_stream(octets), Err(fault), "{octets:?}");
        }
    }

    #[test]
    fn a_line_is_taken_as_it_is_defined_and_no_other() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 12345 53 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 12345 53 \r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 12345 53\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 12345 53\r\n",
            "PROXY TCP4 192.0.2.1 2001:db8::1 12345 53\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 12345 53\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 012345 53\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +1 53\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 53\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 12345 53\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.2 12345 53\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWN \0\r\n",
            "PROXY UNKNOWN \r \r\n",
        ] {
            assert_eq!(
                parse_stream(line.as_bytes()),
                Err(ProxyFault::Line),
                "{line}"
            );
        }
    }

    #[test]
    fn a_datagram_has_a_header_of_version_2_or_none() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 53\r\n";
        assert_eq!(parse_datagram(line), Err(ProxyFault::Absent));
        let header = v2(0x21, 0x12, &v4_body());
        assert!(parse_datagram(&header).is_ok());
        assert_eq!(parse_datagram(&header[..20]), Err(ProxyFault::Incomplete));
    }
}
