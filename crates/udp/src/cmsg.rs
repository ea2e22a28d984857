//! Control messages: the packet information by which the kernel tells the address a datagram was
//! sent to, and is told the address a reply leaves from.
//!
//! Promises: pure functions over octets; any octets decode without panic and in one pass.
//!
//! Rules: RFC 3542 sections 6.1 and 6.2 (`IPV6_PKTINFO`), ip(7) (`IP_PKTINFO`), cmsg(3) (layout).
//! The layout is the kernel's (`size_t` length, two `int`s, data, padding to a `size_t`), whatever
//! the C library calls the fields.
//!
//! Not here: any other control message. Unknown ones are passed over.

use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::{LocalAddress, is_link_local};
use crate::sockaddr::{put, take};

/// Room for the control messages of one datagram, in octets.
///
/// A dual-stack socket gives an IPv4 datagram two of them, 72 octets in all; the rest is for
/// options that somebody else may have switched on. When it does not suffice, the kernel leaves
/// messages out and the local address may be unknown.
pub(crate) const CONTROL_SIZE: usize = 128;

/// Control messages of one datagram, aligned as the kernel's structure is.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control(pub(crate) [u8; CONTROL_SIZE]);

const WORD: usize = size_of::<usize>();
const LEVEL: usize = WORD;
const TYPE: usize = LEVEL + size_of::<libc::c_int>();
const HEADER_SIZE: usize = TYPE + size_of::<libc::c_int>();

// Control messages start at multiples of a word, and so do their data.
const _: () =
    assert!(HEADER_SIZE == size_of::<libc::cmsghdr>() && HEADER_SIZE.is_multiple_of(WORD));
const _: () = assert!(2 * space(V6_SIZE) <= CONTROL_SIZE);

const V4_INTERFACE: usize = offset_of!(libc::in_pktinfo, ipi_ifindex);
const V4_SOURCE: usize = offset_of!(libc::in_pktinfo, ipi_spec_dst);
const V4_DESTINATION: usize = offset_of!(libc::in_pktinfo, ipi_addr);
const V4_SIZE: usize = size_of::<libc::in_pktinfo>();
const V6_ADDRESS: usize = offset_of!(libc::in6_pktinfo, ipi6_addr);
const V6_INTERFACE: usize = offset_of!(libc::in6_pktinfo, ipi6_ifindex);
const V6_SIZE: usize = size_of::<libc::in6_pktinfo>();

/// `len` rounded up to whole words.
const fn align(len: usize) -> usize {
    len.next_multiple_of(WORD)
}

/// Octets that a control message with `data` octets takes, padding included.
const fn space(data: usize) -> usize {
    HEADER_SIZE + align(data)
}

/// Writes the control message that makes a datagram leave from `local`, and says how many octets
/// it takes: 0 when the kernel is to choose.
///
/// The interface is given only with a link-local address, which means nothing without it. For any
/// other address it would force the reply out through the interface the query came in by, against
/// the routes of a host that has several.
pub(crate) fn encode_source(local: LocalAddress, control: &mut Control) -> usize {
    let octets = &mut control.0;
    match local.ip() {
        None => 0,
        Some(IpAddr::V4(ip)) => {
            put_header(octets, libc::IPPROTO_IP, libc::IP_PKTINFO, V4_SIZE);
            let data = &mut octets[HEADER_SIZE..space(V4_SIZE)];
            data.fill(0);
            put(data, V4_SOURCE, ip.octets());
            space(V4_SIZE)
        }
        Some(IpAddr::V6(ip)) => {
            put_header(octets, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, V6_SIZE);
            let data = &mut octets[HEADER_SIZE..space(V6_SIZE)];
            data.fill(0);
            put(data, V6_ADDRESS, ip.octets());
            if is_link_local(ip) {
                put(data, V6_INTERFACE, local.interface().to_ne_bytes());
            }
            space(V6_SIZE)
        }
    }
}

/// The address that a datagram with these control messages was sent to, as the one its reply
/// leaves from.
///
/// The first packet information that names a usable address counts. A dual-stack socket gives an
/// IPv4 datagram both kinds; both tell the same, but that only IPv4's knows our own address when
/// the destination is a broadcast one.
pub(crate) fn decode_destination(control: &[u8]) -> LocalAddress {
    let mut best = LocalAddress::UNKNOWN;
    for message in messages(control) {
        let Some(local) = packet_info(&message) else {
            continue;
        };
        if local.ip().is_some() {
            return local;
        }
        best = local;
    }
    best
}

/// One control message.
struct ControlMessage<'a> {
    level: libc::c_int,
    kind: libc::c_int,
    data: &'a [u8],
}

/// The control messages of `control`, up to the first that is not whole.
fn messages(mut control: &[u8]) -> impl Iterator<Item = ControlMessage<'_>> {
    std::iter::from_fn(move || {
        let len = usize::from_ne_bytes(take(control, 0)?);
        let data = control.get(HEADER_SIZE..len)?;
        let message = ControlMessage {
            level: libc::c_int::from_ne_bytes(take(control, LEVEL)?),
            kind: libc::c_int::from_ne_bytes(take(control, TYPE)?),
            data,
        };
        // The padding of the last message may be missing. `len` is at least a header's, so this
        // always goes forward, and at most `control.len()`, so it cannot overflow.
        control = control.get(align(len)..).unwrap_or_default();
        Some(message)
    })
}

/// The local address that `message` tells, when it is packet information.
fn packet_info(message: &ControlMessage<'_>) -> Option<LocalAddress> {
    match (message.level, message.kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let interface = u32::from_ne_bytes(take(message.data, V4_INTERFACE)?);
            // The kernel's idea of our address on that interface differs from the destination only
            // for broadcast and multicast, where it is the one to reply from.
            let source = Ipv4Addr::from(take::<4>(message.data, V4_SOURCE)?);
            let destination = Ipv4Addr::from(take::<4>(message.data, V4_DESTINATION)?);
            let ip = if source.is_unspecified() {
                destination
            } else {
                source
            };
            Some(LocalAddress::new(IpAddr::V4(ip), interface))
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let ip = Ipv6Addr::from(take::<16>(message.data, V6_ADDRESS)?);
            let interface = u32::from_ne_bytes(take(message.data, V6_INTERFACE)?);
            Some(LocalAddress::new(IpAddr::V6(ip), interface))
        }
        _ => None,
    }
}

/// Writes the header of a control message with `data` octets.
fn put_header(octets: &mut [u8], level: libc::c_int, kind: libc::c_int, data: usize) {
    put(octets, 0, (HEADER_SIZE + data).to_ne_bytes());
    put(octets, LEVEL, level.to_ne_bytes());
    put(octets, TYPE, kind.to_ne_bytes());
}
