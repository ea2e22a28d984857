//! Control messages: the packet information by which the kernel tells the address a datagram was
//! sent to, and is told the address a reply leaves from; and the time a datagram arrived at.
//!
//! Promises: pure functions over octets; any octets decode without panic and in one pass.
//!
//! Rules: RFC 3542 sections 6.1 and 6.2 (`IPV6_PKTINFO`), ip(7) (`IP_PKTINFO`), cmsg(3) (layout),
//! socket(7) (`SO_TIMESTAMPNS`).
//! The layout is the kernel's (`size_t` length, two `int`s, data, padding to a `size_t`), whatever
//! the C library calls the fields.
//!
//! Not here: any other control message. Unknown ones are passed over.

use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::address::{LocalAddress, is_link_local};
use crate::sockaddr::{put, take};

/// Room for the control messages of one datagram, in octets.
///
/// A dual-stack socket gives an IPv4 datagram two of them, 72 octets in all, and the time takes
/// 32; the rest is for options that somebody else may have switched on. When it does not suffice, the kernel leaves
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
const _: () = assert!(2 * space(V6_SIZE) + space(TIME_SIZE) <= CONTROL_SIZE);

const V4_INTERFACE: usize = offset_of!(libc::in_pktinfo, ipi_ifindex);
const V4_SOURCE: usize = offset_of!(libc::in_pktinfo, ipi_spec_dst);
const V4_DESTINATION: usize = offset_of!(libc::in_pktinfo, ipi_addr);
const V4_SIZE: usize = size_of::<libc::in_pktinfo>();
const V6_ADDRESS: usize = offset_of!(libc::in6_pktinfo, ipi6_addr);
const V6_INTERFACE: usize = offset_of!(libc::in6_pktinfo, ipi6_ifindex);
const V6_SIZE: usize = size_of::<libc::in6_pktinfo>();

/// The kernel's `timespec` for this option: seconds and nanoseconds, each a `long`.
const TIME_SIZE: usize = 2 * size_of::<libc::c_long>();

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
/// A dual-stack socket gives an IPv4 datagram both kinds of packet information, IPv6's first. That
/// of IPv4 wins, because only it knows our own address when the destination is a broadcast one.
pub(crate) fn decode_destination(control: &[u8]) -> LocalAddress {
    let mut found = LocalAddress::UNKNOWN;
    for message in messages(control) {
        match (message.level, message.kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let Some(local) = packet_info_v4(message.data) {
                    return local;
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                found = packet_info_v6(message.data).unwrap_or(found);
            }
            _ => {}
        }
    }
    found
}

/// When a datagram with these control messages arrived, on the wall clock since 1970.
pub(crate) fn decode_arrival(control: &[u8]) -> Option<Duration> {
    let time = messages(control).find(|message| {
        (message.level, message.kind) == (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)
    })?;
    let seconds = libc::c_long::from_ne_bytes(take(time.data, 0)?);
    let nanos = libc::c_long::from_ne_bytes(take(time.data, TIME_SIZE / 2)?);
    let nanos = u32::try_from(nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos))
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

/// The local address that an `in_pktinfo` tells.
///
/// The kernel's idea of our address on the interface differs from the destination only for
/// broadcast and multicast, where it is the one to reply from.
fn packet_info_v4(data: &[u8]) -> Option<LocalAddress> {
    let interface = u32::from_ne_bytes(take(data, V4_INTERFACE)?);
    let source = Ipv4Addr::from(take::<4>(data, V4_SOURCE)?);
    let destination = Ipv4Addr::from(take::<4>(data, V4_DESTINATION)?);
    let ip = if source.is_unspecified() {
        destination
    } else {
        source
    };
    Some(LocalAddress::new(IpAddr::V4(ip), interface))
}

/// The local address that an `in6_pktinfo` tells.
fn packet_info_v6(data: &[u8]) -> Option<LocalAddress> {
    let ip = Ipv6Addr::from(take::<16>(data, V6_ADDRESS)?);
    let interface = u32::from_ne_bytes(take(data, V6_INTERFACE)?);
    Some(LocalAddress::new(IpAddr::V6(ip), interface))
}

/// Writes the header of a control message with `data` octets.
fn put_header(octets: &mut [u8], level: libc::c_int, kind: libc::c_int, data: usize) {
    put(octets, 0, (HEADER_SIZE + data).to_ne_bytes());
    put(octets, LEVEL, level.to_ne_bytes());
    put(octets, TYPE, kind.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(ip: &str, interface: u32) -> LocalAddress {
        LocalAddress::new(ip.parse().unwrap(), interface)
    }

    /// What `encode_source` writes for `local`.
    fn encoded(local: LocalAddress) -> Vec<u8> {
        // Octets of an earlier message must not shine through.
        let mut control = Control([0xff; CONTROL_SIZE]);
        let len = encode_source(local, &mut control);
        control.0[..len].to_vec()
    }

    /// A control message as the kernel writes it.
    fn message(level: libc::c_int, kind: libc::c_int, data: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; space(data.len())];
        put_header(&mut octets, level, kind, data.len());
        octets[HEADER_SIZE..HEADER_SIZE + data.len()].copy_from_slice(data);
        octets
    }

    fn v4_info(interface: u32, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut data = [0; V4_SIZE];
        put(&mut data, V4_INTERFACE, interface.to_ne_bytes());
        put(&mut data, V4_SOURCE, source);
        put(&mut data, V4_DESTINATION, destination);
        message(libc::IPPROTO_IP, libc::IP_PKTINFO, &data)
    }

    fn v6_info(interface: u32, destination: &str) -> Vec<u8> {
        let mut data = [0; V6_SIZE];
        let destination: Ipv6Addr = destination.parse().unwrap();
        put(&mut data, V6_ADDRESS, destination.octets());
        put(&mut data, V6_INTERFACE, interface.to_ne_bytes());
        message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data)
    }

    #[test]
    fn the_time_of_arrival_is_read_and_nonsense_is_none() {
        let time = |seconds: libc::c_long, nanos: libc::c_long| {
            let data = [seconds.to_ne_bytes(), nanos.to_ne_bytes()].concat();
            let mut octets = message(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &data);
            octets.extend(v4_info(7, [192, 0, 2, 1], [192, 0, 2, 1]));
            octets
        };
        let good = time(1_700_000_000, 5);
        assert_eq!(decode_arrival(&good), Some(Duration::new(1_700_000_000, 5)));
        assert_eq!(decode_destination(&good), source("192.0.2.1", 7));
        for nonsense in [time(-1, 5), time(5, -1), time(5, 1_000_000_000)] {
            assert_eq!(decode_arrival(&nonsense), None);
        }
        assert_eq!(decode_arrival(&good[..HEADER_SIZE + 3]), None);
        assert_eq!(decode_arrival(&[]), None);
    }

    #[test]
    fn v4_source_is_written_without_interface() {
        let octets = encoded(source("192.0.2.1", 7));
        assert_eq!(octets, v4_info(0, [192, 0, 2, 1], [0; 4]));
        assert_eq!(decode_destination(&octets), source("192.0.2.1", 0));
    }

    #[test]
    fn global_v6_source_is_written_without_interface() {
        assert_eq!(encoded(source("2001:db8::1", 7)), v6_info(0, "2001:db8::1"));
    }

    #[test]
    fn link_local_source_is_written_with_its_interface() {
        let local = source("fe80::1", 7);
        assert_eq!(encoded(local), v6_info(7, "fe80::1"));
        assert_eq!(decode_destination(&encoded(local)), local);
    }

    #[test]
    fn unknown_source_writes_no_message() {
        assert!(encoded(LocalAddress::UNKNOWN).is_empty());
        assert!(encoded(source("ff02::1", 7)).is_empty());
    }

    #[test]
    fn v4_mapped_source_is_written_as_v4() {
        assert_eq!(
            encoded(source("::ffff:192.0.2.1", 0)),
            encoded(source("192.0.2.1", 0))
        );
    }

    #[test]
    fn broadcast_is_answered_from_our_own_address() {
        let octets = v4_info(3, [192, 0, 2, 1], [192, 0, 2, 255]);
        assert_eq!(decode_destination(&octets), source("192.0.2.1", 3));
    }

    #[test]
    fn header_destination_serves_when_the_kernel_names_no_source() {
        let octets = v4_info(3, [0; 4], [192, 0, 2, 1]);
        assert_eq!(decode_destination(&octets), source("192.0.2.1", 3));
    }

    #[test]
    fn multicast_destination_is_unknown_but_for_the_interface() {
        let local = decode_destination(&v6_info(3, "ff02::1"));
        assert_eq!((local.ip(), local.interface()), (None, 3));
    }

    #[test]
    fn v4_information_wins_on_a_dual_stack_socket() {
        let mut octets = v6_info(3, "::ffff:192.0.2.255");
        assert_eq!(decode_destination(&octets), source("192.0.2.255", 3));
        octets.extend(v4_info(3, [192, 0, 2, 1], [192, 0, 2, 255]));
        assert_eq!(decode_destination(&octets), source("192.0.2.1", 3));
    }

    #[test]
    fn unknown_messages_are_passed_over() {
        for data in [0, 1, 7, 8, 12] {
            let mut octets = message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &vec![0xff; data]);
            octets.extend(v4_info(3, [192, 0, 2, 1], [192, 0, 2, 1]));
            assert_eq!(decode_destination(&octets), source("192.0.2.1", 3));
        }
    }

    #[test]
    fn padding_of_the_last_message_may_be_missing() {
        let octets = v4_info(3, [192, 0, 2, 1], [192, 0, 2, 1]);
        let unpadded = &octets[..HEADER_SIZE + V4_SIZE];
        assert_eq!(decode_destination(unpadded), source("192.0.2.1", 3));
    }

    #[test]
    fn cut_messages_tell_nothing() {
        let whole = v6_info(3, "2001:db8::1");
        for len in 0..HEADER_SIZE + V6_SIZE {
            assert_eq!(decode_destination(&whole[..len]), LocalAddress::UNKNOWN);
        }
    }

    #[test]
    fn too_little_data_tells_nothing() {
        for data in 0..V4_SIZE {
            let octets = message(libc::IPPROTO_IP, libc::IP_PKTINFO, &vec![1; data]);
            assert_eq!(decode_destination(&octets), LocalAddress::UNKNOWN);
        }
    }

    #[test]
    fn impossible_lengths_end_the_walk() {
        let good = v4_info(3, [192, 0, 2, 1], [192, 0, 2, 1]);
        for len in [
            0,
            1,
            HEADER_SIZE - 1,
            CONTROL_SIZE + 1,
            usize::MAX - 6,
            usize::MAX,
        ] {
            let mut control = Control([0; CONTROL_SIZE]);
            control.0[HEADER_SIZE..HEADER_SIZE + good.len()].copy_from_slice(&good);
            put(&mut control.0, 0, len.to_ne_bytes());
            assert_eq!(decode_destination(&control.0), LocalAddress::UNKNOWN);
        }
    }

    #[test]
    fn every_octet_may_be_anything() {
        let mut octets = v6_info(3, "::ffff:192.0.2.255");
        octets.extend(v4_info(3, [192, 0, 2, 1], [192, 0, 2, 255]));
        for at in 0..octets.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = octets.clone();
                changed[at] = value;
                // Any address may come out that a reply can leave from.
                let ip = decode_destination(&changed).ip();
                assert!(ip.is_none_or(|ip| !ip.is_multicast() && !ip.is_unspecified()));
            }
        }
    }
}
