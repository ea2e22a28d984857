//! The messages of rtnetlink that matter here: news of links, addresses and routes, and the question which way leads somewhere.
//!
//! Promises: octets are read with bounds and never trusted; what is unknown is skipped. News that cannot change the way to an upstream
//! (loopback, addresses of the host or link scope, the local table, anything but unicast routes) are no news.
//!
//! Ruled by Linux `netlink(7)` and `rtnetlink(7)`; numbers are in the byte order of the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Multicast groups of [`super::interfaces`]: links, IPv4 and IPv6 addresses.
pub(super) const ADDRESS_GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Multicast groups: links, IPv4 addresses and routes, IPv6 addresses and routes.
pub(super) const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

const HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const NLM_F_REQUEST: u16 = 1;
/// All there are (`NLM_F_ROOT | NLM_F_MATCH`).
const NLM_F_DUMP: u16 = 0x300;
/// Something changed between two parts of a dump.
const NLM_F_DUMP_INTR: u16 = 0x10;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;

/// `RT_SCOPE_LINK`; beyond it, the host's own.
const SCOPE_LINK: u8 = 253;
/// `RT_TABLE_LOCAL`: addresses of this host, which their own messages tell of.
const TABLE_LOCAL: u8 = 255;
const RTN_UNICAST: u8 = 1;
/// Routes that tell packets to go nowhere matter as much.
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;
/// A route learned from traffic, such as a path's MTU.
const RTM_F_CLONED: u32 = 0x200;

const IFA_ADDRESS: u16 = 1;
/// One's own end of a point-to-point link, where [`IFA_ADDRESS`] is the other's.
const IFA_LOCAL: u16 = 2;
/// The flags in full; the header has room for the first eight.
const IFA_FLAGS: u16 = 8;
/// Another machine has this IPv6 address too.
const IFA_F_DADFAILED: u32 = 0x08;
/// Nobody knows yet whether another machine has it, and nothing can be bound to it, but to one that is
/// [`IFA_F_OPTIMISTIC`].
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_OPTIMISTIC: u32 = 0x04;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;

/// Something that may have changed the way to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// An interface carries traffic, or does not.
    Link {
        /// Its number.
        interface: u32,
        /// Whether it does.
        running: bool,
    },
    /// An interface is gone.
    LinkGone {
        /// Its number.
        interface: u32,
    },
    /// An address or a route came or went.
    Other,
}

/// Where packets to an address go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Out of which interface; 0 when nobody says.
    pub(super) interface: u32,
    /// By which router, if not straight.
    pub(super) gateway: Option<IpAddr>,
    /// With which address of ours.
    pub(super) source: Option<IpAddr>,
}

/// What a way is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WayQuery {
    /// Where to.
    pub(super) to: IpAddr,
    /// From which address, if that is given.
    pub(super) source: Option<IpAddr>,
    /// Out of which interface, if that is given.
    pub(super) interface: Option<u32>,
    /// With which mark.
    pub(super) mark: Option<u32>,
}

/// The news in what was read from a netlink socket.
pub(super) fn news(octets: &[u8]) -> impl Iterator<Item = News> {
    Messages(octets).filter_map(|message| match message.kind {
        RTM_NEWLINK | RTM_DELLINK => link_news(&message),
        RTM_NEWADDR | RTM_DELADDR => {
            let scope = *message.body.get(3)?;
            (scope < SCOPE_LINK).then_some(News::Other)
        }
        RTM_NEWROUTE | RTM_DELROUTE => is_route_news(message.body)?.then_some(News::Other),
        _ => None,
    })
}

fn link_news(message: &Message<'_>) -> Option<News> {
    let interface = u32_at(message.body, 4)?;
    let flags = u32_at(message.body, 8)?;
    if flags & IFF_LOOPBACK != 0 {
        return None;
    }
    if message.kind == RTM_DELLINK {
        return Some(News::LinkGone { interface });
    }
    let wanted = IFF_UP | IFF_RUNNING;
    Some(News::Link {
        interface,
        running: flags & wanted == wanted,
    })
}

fn is_route_news(body: &[u8]) -> Option<bool> {
    let (table, kind) = (*body.get(4)?, *body.get(7)?);
    let flags = u32_at(body, 8)?;
    let leads = matches!(
        kind,
        RTN_UNICAST | RTN_BLACKHOLE | RTN_UNREACHABLE | RTN_PROHIBIT
    );
    Some(table != TABLE_LOCAL && leads && flags & RTM_F_CLONED == 0)
}

/// Writes the question for a way.
pub(super) fn write_way_query(query: &WayQuery, sequence: u32, out: &mut Vec<u8>) {
    out.clear();
    let (family, length) = match query.to {
        IpAddr::V4(_) => (AF_INET, 32),
        IpAddr::V6(_) => (AF_INET6, 128),
    };
    out.extend_from_slice(&0_u32.to_ne_bytes());
    out.extend_from_slice(&RTM_GETROUTE.to_ne_bytes());
    out.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0_u32.to_ne_bytes());
    let source_length = if query.source.is_some() { length } else { 0 };
    out.extend_from_slice(&[family, length, source_length, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&0_u32.to_ne_bytes());
    push_address(RTA_DST, query.to, out);
    if let Some(source) = query.source {
        push_address(RTA_SRC, source, out);
    }
    if let Some(interface) = query.interface {
        push_attribute(RTA_OIF, &interface.to_ne_bytes(), out);
    }
    if let Some(mark) = query.mark {
        push_attribute(RTA_MARK, &mark.to_ne_bytes(), out);
    }
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    if let Some(place) = out.first_chunk_mut() {
        *place = length.to_ne_bytes();
    }
}

/// The reply to question `sequence` in what was read: `Some(None)` says that there is no way.
pub(super) fn read_way(octets: &[u8], sequence: u32) -> Option<Option<Way>> {
    let mut messages = Messages(octets).filter(|message| message.sequence == sequence);
    messages.find_map(|message| match message.kind {
        NLMSG_ERROR => Some(None),
        RTM_NEWROUTE => Some(way(message.body)),
        _ => None,
    })
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterfaceAddress {
    /// The interface's number.
    pub(super) interface: u32,
    /// What can be bound to.
    pub(super) address: IpAddr,
}

/// What a part of a dump says beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dump {
    /// More parts follow.
    More,
    /// That was all.
    Done,
    /// It does not show one moment, or the kernel refused: ask again.
    Torn,
}

/// Writes the question for all addresses of all interfaces.
pub(super) fn write_address_dump(sequence: u32, out: &mut Vec<u8>) {
    out.clear();
    // The family of no addresses stands for all.
    let body = [0_u8; 8];
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&RTM_GETADDR.to_ne_bytes());
    out.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0_u32.to_ne_bytes());
    out.extend_from_slice(&body);
}

/// Reads a part of the reply to question `sequence`, and appends the addresses in it that can be bound to.
pub(super) fn read_addresses(
    octets: &[u8],
    sequence: u32,
    into: &mut Vec<InterfaceAddress>,
) -> Dump {
    for message in Messages(octets).filter(|message| message.sequence == sequence) {
        if message.flags & NLM_F_DUMP_INTR != 0 {
            return Dump::Torn;
        }
        match message.kind {
            NLMSG_DONE => return Dump::Done,
            NLMSG_ERROR => return Dump::Torn,
            RTM_NEWADDR => into.extend(interface_address(message.body)),
            _ => {}
        }
    }
    Dump::More
}

fn interface_address(body: &[u8]) -> Option<InterfaceAddress> {
    let mut flags = u32::from(*body.get(2)?);
    let interface = u32_at(body, 4)?;
    let (mut local, mut other) = (None, None);
    for (kind, value) in Attributes(body.get(8..)?) {
        match kind {
            IFA_LOCAL => local = address(value),
            IFA_ADDRESS => other = address(value),
            IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    let address = local.or(other)?;
    let untried = flags & IFA_F_TENTATIVE != 0 && flags & IFA_F_OPTIMISTIC == 0;
    let unusable = address.is_ipv6() && (untried || flags & IFA_F_DADFAILED != 0);
    (!unusable).then_some(InterfaceAddress { interface, address })
}

fn way(body: &[u8]) -> Option<Way> {
    let kind = *body.get(7)?;
    if matches!(kind, RTN_BLACKHOLE | RTN_UNREACHABLE | RTN_PROHIBIT) {
        return None;
    }
    let mut way = Way::default();
    for (kind, value) in Attributes(body.get(12..)?) {
        match kind {
            RTA_OIF => way.interface = u32_at(value, 0).unwrap_or_default(),
            RTA_GATEWAY => way.gateway = address(value),
            // A router of the other family: two octets of family before the address.
            RTA_VIA => way.gateway = value.get(2..).and_then(address),
            RTA_PREFSRC => way.source = address(value),
            _ => {}
        }
    }
    Some(way)
}

fn push_address(kind: u16, address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => push_attribute(kind, &address.octets(), out),
        IpAddr::V6(address) => push_attribute(kind, &address.octets(), out),
    }
}

/// All values that are written have a length of a multiple of four, so nothing is padded.
fn push_attribute(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(octets).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of a buffer; ends at the first that claims more octets than there are.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let octets = self.0;
        let length = usize::try_from(u32_at(octets, 0)?).ok()?;
        let body = octets.get(HEADER..length)?;
        self.0 = octets.get(aligned(length)..).unwrap_or_default();
        Some(Message {
            kind: u16_at(octets, 4)?,
            flags: u16_at(octets, 6)?,
            sequence: u32_at(octets, 8)?,
            body,
        })
    }
}

struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let octets = self.0;
        let length = usize::from(u16_at(octets, 0)?);
        let value = octets.get(4..length)?;
        self.0 = octets.get(aligned(length)..).unwrap_or_default();
        Some((u16_at(octets, 2)?, value))
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(octets: &[u8], place: usize) -> Option<u16> {
    let octets = octets.get(place..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*octets))
}

fn u32_at(octets: &[u8], place: usize) -> Option<u32> {
    let octets = octets.get(place..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        let length = u32::try_from(HEADER + body.len()).unwrap();
        octets.extend_from_slice(&length.to_ne_bytes());
        octets.extend_from_slice(&kind.to_ne_bytes());
        octets.extend_from_slice(&[0; 2]);
        octets.extend_from_slice(&sequence.to_ne_bytes());
        octets.extend_from_slice(&[0; 4]);
        octets.extend_from_slice(body);
        octets.resize(aligned(octets.len()), 0);
        octets
    }

    fn link(kind: u16, interface: u32, flags: u32) -> Vec<u8> {
        let words = [0, interface, flags, 0];
        message(kind, 0, &words.map(u32::to_ne_bytes).concat())
    }

    fn address_of_scope(scope: u8) -> Vec<u8> {
        message(RTM_NEWADDR, 0, &[AF_INET, 24, 0, scope, 2, 0, 0, 0])
    }

    fn route(table: u8, kind: u8, flags: u32) -> Vec<u8> {
        let mut body = vec![AF_INET, 0, 0, 0, table, 3, 0, kind];
        body.extend_from_slice(&flags.to_ne_bytes());
        message(RTM_NEWROUTE, 0, &body)
    }

    #[test]
    fn links_addresses_and_routes_are_news() {
        let octets = [
            link(RTM_NEWLINK, 7, IFF_UP | IFF_RUNNING),
            link(RTM_NEWLINK, 8, IFF_UP),
            link(RTM_DELLINK, 9, 0),
            address_of_scope(0),
            route(254, RTN_UNICAST, 0),
            route(100, RTN_BLACKHOLE, 0),
        ]
        .concat();
        let expected = [
            News::Link {
                interface: 7,
                running: true,
            },
            News::Link {
                interface: 8,
                running: false,
            },
            News::LinkGone { interface: 9 },
            News::Other,
            News::Other,
            News::Other,
        ];
        assert_eq!(Vec::from_iter(news(&octets)), expected);
    }

    #[test]
    fn what_cannot_matter_is_no_news() {
        let octets = [
            link(RTM_NEWLINK, 1, IFF_UP | IFF_RUNNING | IFF_LOOPBACK),
            address_of_scope(SCOPE_LINK),
            address_of_scope(254),
            route(TABLE_LOCAL, RTN_UNICAST, 0),
            route(254, 5, 0),
            route(254, RTN_UNICAST, RTM_F_CLONED),
            message(3, 0, &[]),
            message(0xFFFF, 0, &[1; 64]),
        ]
        .concat();
        assert_eq!(news(&octets).count(), 0);
    }

    #[test]
    fn broken_messages_are_skipped_or_end_the_buffer() {
        let whole = [
            link(RTM_NEWLINK, 7, IFF_UP),
            route(254, RTN_UNICAST, 0),
            address_of_scope(0),
        ]
        .concat();
        for length in 0..whole.len() {
            assert!(news(&whole[..length]).count() <= 3);
            assert_eq!(read_way(&whole[..length], 1), None);
        }
        // A length below that of a header must not turn the reading into a loop.
        assert_eq!(news(&[0; 64]).count(), 0);
        let mut short = whole;
        short[0] = 3;
        assert_eq!(news(&short).count(), 0);
    }

    #[test]
    fn a_way_is_read_from_the_reply_to_its_question() {
        let mut body = vec![AF_INET, 32, 0, 0, 254, 3, 0, RTN_UNICAST, 0, 0, 0, 0];
        push_attribute(RTA_OIF, &3_u32.to_ne_bytes(), &mut body);
        push_attribute(RTA_GATEWAY, &[192, 0, 2, 1], &mut body);
        push_attribute(RTA_PREFSRC, &[192, 0, 2, 7], &mut body);
        let octets = [
            message(RTM_NEWROUTE, 4, &body[..12]),
            message(RTM_NEWROUTE, 5, &body),
        ]
        .concat();
        let expected = Way {
            interface: 3,
            gateway: Some([192, 0, 2, 1].into()),
            source: Some([192, 0, 2, 7].into()),
        };
        assert_eq!(read_way(&octets, 5), Some(Some(expected)));
        assert_eq!(read_way(&octets, 6), None);
        let error = message(NLMSG_ERROR, 6, &[0; 20]);
        assert_eq!(read_way(&error, 6), Some(None));
    }

    #[test]
    fn the_addresses_of_interfaces_are_those_that_can_be_bound_to() {
        let address = |flags: u8, attributes: &[(u16, &[u8])]| {
            let mut body = vec![AF_INET, 24, flags, 0, 3, 0, 0, 0];
            for (kind, value) in attributes {
                push_attribute(*kind, value, &mut body);
            }
            message(RTM_NEWADDR, 5, &body)
        };
        let v6 = Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 1);
        let tentative = IFA_F_TENTATIVE.to_ne_bytes();
        let optimistic = (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC).to_ne_bytes();
        let octets = [
            address(
                0,
                &[(IFA_ADDRESS, &[192, 0, 2, 9]), (IFA_LOCAL, &[192, 0, 2, 1])],
            ),
            address(0, &[(IFA_ADDRESS, &v6.octets())]),
            address(0, &[(IFA_ADDRESS, &v6.octets()), (IFA_FLAGS, &optimistic)]),
            // Not bound to: still being tried, already another's, without an address.
            address(0, &[(IFA_ADDRESS, &v6.octets()), (IFA_FLAGS, &tentative)]),
            address(0x08, &[(IFA_ADDRESS, &v6.octets())]),
            address(0, &[]),
            message(RTM_NEWADDR, 4, &[0; 32]),
        ]
        .concat();
        let mut found = Vec::new();
        assert_eq!(read_addresses(&octets, 5, &mut found), Dump::More);
        let of = |address: IpAddr| InterfaceAddress {
            interface: 3,
            address,
        };
        let expected = [[192, 0, 2, 1].into(), v6.into(), v6.into()].map(of);
        assert_eq!(found, expected);
        let done = message(NLMSG_DONE, 5, &[0; 4]);
        assert_eq!(read_addresses(&done, 5, &mut found), Dump::Done);
        let mut torn = octets;
        torn[6..8].copy_from_slice(&NLM_F_DUMP_INTR.to_ne_bytes());
        assert_eq!(read_addresses(&torn, 5, &mut found), Dump::Torn);
        for length in 0..torn.len() {
            let mut found = Vec::new();
            read_addresses(&torn[..length], 5, &mut found);
            assert!(found.is_empty());
        }
    }

    #[test]
    fn a_question_says_how_long_it_is() {
        let query = WayQuery {
            to: [192, 0, 2, 53].into(),
            source: Some([192, 0, 2, 7].into()),
            interface: Some(3),
            mark: Some(51),
        };
        let mut octets = vec![1; 100];
        write_way_query(&query, 9, &mut octets);
        let message = Messages(&octets).next().unwrap();
        assert_eq!((message.kind, message.sequence), (RTM_GETROUTE, 9));
        assert_eq!(message.body.len() + HEADER, octets.len());
        let attributes = Vec::from_iter(Attributes(&message.body[12..]));
        let expected: [(u16, &[u8]); 4] = [
            (RTA_DST, &[192, 0, 2, 53]),
            (RTA_SRC, &[192, 0, 2, 7]),
            (RTA_OIF, &3_u32.to_ne_bytes()),
            (RTA_MARK, &51_u32.to_ne_bytes()),
        ];
        assert_eq!(attributes, expected);
    }
}
