//! What a worker counts about the questions it meets, by kind, and about the handshakes it makes.
//!
//! Promises: adding is an index and an addition ([`Counter`]), so that an answer out of memory costs the same with and without anybody
//! looking. No name, address or text of others is kept: what is counted falls into one of a few classes.
//!
//! Deliberately absent: what the core counts itself (`dotward_core::counts`), names of metrics (`admin::metrics`).

use std::time::Duration;

use dotward_core::counts::Histogram;
use dotward_core::front::{Client, DropReason};
use dotward_core::wire::{RecordType, Transport, peek};
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

use crate::counters::{Counter, Counters};
use crate::limits::HANDSHAKE_KINDS;

/// A class of query types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeClass(usize);

/// The types that have a class of their own; all others share one, as do messages without a readable question.
const TYPES: [(RecordType, &str); 17] = [
    (RecordType::A, "A"),
    (RecordType::AAAA, "AAAA"),
    (RecordType::HTTPS, "HTTPS"),
    (RecordType::PTR, "PTR"),
    (RecordType::TXT, "TXT"),
    (RecordType::MX, "MX"),
    (RecordType::NS, "NS"),
    (RecordType::SOA, "SOA"),
    (RecordType::SRV, "SRV"),
    (RecordType::CNAME, "CNAME"),
    (RecordType::SVCB, "SVCB"),
    (RecordType::DS, "DS"),
    (RecordType::DNSKEY, "DNSKEY"),
    (RecordType::TLSA, "TLSA"),
    (RecordType::CAA, "CAA"),
    (RecordType::NAPTR, "NAPTR"),
    (RecordType::ANY, "ANY"),
];
const OTHER: usize = TYPES.len();
const NONE: usize = TYPES.len() + 1;
const CLASSES: usize = TYPES.len() + 2;

impl TypeClass {
    fn of(message: &[u8]) -> Self {
        let Some(qtype) = peek::qtype(message) else {
            return Self(NONE);
        };
        let known = TYPES.iter().position(|(known, _)| *known == qtype);
        Self(known.unwrap_or(OTHER))
    }

    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self.0 {
            OTHER => "other",
            place => TYPES.get(place).map_or("none", |(_, word)| word),
        }
    }
}

/// The RCODEs with a place of their own; all others share the last.
pub(crate) const RCODES: [&str; 14] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "BADVERS",
    "BADCOOKIE",
    "other",
];

fn rcode_place(reply: &[u8]) -> usize {
    match peek::rcode(reply) {
        Some(rcode @ 0..=10) => usize::from(rcode),
        Some(16) => 11,
        Some(23) => 12,
        Some(_) | None => 13,
    }
}

/// Where a reply came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplySource {
    /// Decided here: local records, special names, refusals.
    Local,
    /// Kept from before.
    Cache,
    /// Asked for: an upstream's answer, stale data in its place, or the failure of all of them.
    Upstream,
}

impl ReplySource {
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::Cache, Self::Upstream];

    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cache => "cache",
            Self::Upstream => "upstream",
        }
    }
}

pub(crate) const TRANSPORTS: [(Transport, &str); 3] = [
    (Transport::Udp, "udp"),
    (Transport::Tcp, "tcp"),
    (Transport::Tls, "tls"),
];

fn transport_place(transport: Transport) -> usize {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
    }
}

/// Why messages got no reply.
pub(crate) const DROPPED: [&str; 8] = [
    "not_allowed",
    "response",
    "runt",
    "limited",
    "waited",
    "too_long",
    "no_proxy_header",
    "unanswerable",
];

/// The counts of one worker, written by its thread only and read by any.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    queries: [[[Counter; CLASSES]; 2]; TRANSPORTS.len()],
    responses: [[[Counter; RCODES.len()]; ReplySource::ALL.len()]; TRANSPORTS.len()],
    dropped: [Counter; DROPPED.len()],
    durations: [Times; ReplySource::ALL.len()],
}

/// How long replies took.
#[derive(Debug, Default)]
struct Times {
    counts: [Counter; Histogram::BOUNDS + 1],
    sum: Counter,
}

const DURATIONS: Histogram = Histogram::of_durations();

impl Times {
    fn add(&self, took: Duration, number: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(DURATIONS.place(nanos)) {
            count.add(number);
        }
        self.sum.add(nanos.saturating_mul(number));
    }

    fn read(&self) -> Histogram {
        let counts = std::array::from_fn(|place| self.counts[place].get());
        DURATIONS.with(counts, self.sum.get())
    }
}

/// Replies given in the turn their query came in, of which the time is known at its end.
#[derive(Debug, Default)]
pub(crate) struct AtOnce([u64; ReplySource::ALL.len()]);

impl AtOnce {
    /// Whether there were any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; ReplySource::ALL.len()]
    }
}

impl Tally {
    /// A message of a client came.
    pub(crate) fn add_query(&self, client: &Client, message: &[u8]) {
        let family = usize::from(client.address.is_ipv6());
        let class = TypeClass::of(message);
        self.queries[transport_place(client.transport)][family][class.0].add(1);
    }

    /// A reply leaves in the turn its query came in.
    pub(crate) fn add_reply_at_once(
        &self,
        (transport, source): (Transport, ReplySource),
        reply: &[u8],
        at_once: &mut AtOnce,
    ) {
        self.responses[transport_place(transport)][source as usize][rcode_place(reply)].add(1);
        at_once.0[source as usize] += 1;
    }

    /// A reply leaves whose query came `took` ago.
    pub(crate) fn add_reply(
        &self,
        (transport, source): (Transport, ReplySource),
        reply: &[u8],
        took: Duration,
    ) {
        self.responses[transport_place(transport)][source as usize][rcode_place(reply)].add(1);
        self.durations[source as usize].add(took, 1);
    }

    /// A message got no reply.
    pub(crate) fn add_dropped(&self, why: DropReason) {
        let place = match why {
            DropReason::NotAllowed => 0,
            DropReason::Response => 1,
            DropReason::Runt => 2,
        };
        self.dropped[place].add(1);
    }

    /// A message got no reply because its client got enough of them.
    pub(crate) fn add_limited(&self) {
        self.dropped[3].add(1);
    }

    /// A turn ends `took` after its messages were read.
    pub(crate) fn end_turn(&self, at_once: &mut AtOnce, took: Duration) {
        for (durations, number) in self.durations.iter().zip(&mut at_once.0) {
            if *number > 0 {
                durations.add(took, std::mem::take(number));
            }
        }
    }
}

/// The counts of all workers together.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    queries: [[[u64; CLASSES]; 2]; TRANSPORTS.len()],
    responses: [[[u64; RCODES.len()]; ReplySource::ALL.len()]; TRANSPORTS.len()],
    dropped: [u64; DROPPED.len()],
    durations: [Histogram; ReplySource::ALL.len()],
    /// Questions that found the way to the engine full.
    pub(crate) shed: u64,
    /// Clients over TLS hung up on for the rate of their network.
    pub(crate) handshakes_refused: u64,
    /// Replies over UDP that could not be sent.
    pub(crate) lost: u64,
    /// Streams of clients.
    pub(crate) streams: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            queries: [[[0; CLASSES]; 2]; TRANSPORTS.len()],
            responses: [[[0; RCODES.len()]; ReplySource::ALL.len()]; TRANSPORTS.len()],
            dropped: [0; DROPPED.len()],
            durations: [DURATIONS; ReplySource::ALL.len()],
            shed: 0,
            handshakes_refused: 0,
            lost: 0,
            streams: 0,
        }
    }
}

impl Totals {
    /// Adds what a worker has counted.
    pub(crate) fn add(&mut self, counters: &Counters) {
        let tally = &counters.tally;
        let queries = self.queries.as_flattened_mut().as_flattened_mut();
        add_all(queries, tally.queries.as_flattened().as_flattened());
        let responses = self.responses.as_flattened_mut().as_flattened_mut();
        add_all(responses, tally.responses.as_flattened().as_flattened());
        add_all(&mut self.dropped, &tally.dropped);
        let [.., waited, too_long, headless, unanswerable] = &mut self.dropped;
        *waited += counters.stale.get();
        *too_long += counters.cut.get();
        *headless += counters.headless.get();
        *unanswerable += counters.unanswerable.get();
        for (durations, more) in self.durations.iter_mut().zip(&tally.durations) {
            durations.merge(&more.read());
        }
        self.shed += counters.shed.get();
        self.handshakes_refused += counters.handshakes_refused.get();
        self.lost += counters.lost.get();
        self.streams += counters.streams.get();
    }

    /// Messages that came, where any did: transport, family, type, number.
    pub(crate) fn queries(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
        let transports = TRANSPORTS.iter().zip(&self.queries);
        transports.flat_map(|((_, transport), families)| {
            let families = ["ipv4", "ipv6"].into_iter().zip(families);
            families.flat_map(move |(family, classes)| {
                let classes = classes
                    .iter()
                    .enumerate()
                    .filter(|(_, number)| **number > 0);
                classes.map(move |(class, number)| {
                    (*transport, family, TypeClass(class).word(), *number)
                })
            })
        })
    }

    /// Replies given, where any were: transport, RCODE, source, number.
    pub(crate) fn responses(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
        let transports = TRANSPORTS.iter().zip(&self.responses);
        transports.flat_map(|((_, transport), sources)| {
            let sources = ReplySource::ALL.into_iter().zip(sources);
            sources.flat_map(move |(source, rcodes)| {
                let rcodes = RCODES.iter().zip(rcodes).filter(|(_, number)| **number > 0);
                rcodes.map(move |(rcode, number)| (*transport, *rcode, source.word(), *number))
            })
        })
    }

    /// Messages without a reply, by reason.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DROPPED.into_iter().zip(self.dropped)
    }

    /// How long replies took, by source.
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let sources = ReplySource::ALL.into_iter().map(ReplySource::word);
        sources.zip(&self.durations)
    }
}

fn add_all(to: &mut [u64], from: &[Counter]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from.get();
    }
}

/// What a handshake came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandshakeFacts {
    /// The version of TLS.
    pub(crate) version: Option<ProtocolVersion>,
    /// The group of the key exchange; hybrids with ML-KEM withstand a quantum computer.
    pub(crate) group: Option<NamedGroup>,
    /// Whether a session was resumed.
    pub(crate) resumed: bool,
}

impl HandshakeFacts {
    /// Those of a connection whose handshake is over.
    pub(crate) fn of(connection: &rustls::Connection) -> Self {
        Self {
            version: connection.protocol_version(),
            group: connection
                .negotiated_key_exchange_group()
                .map(|group| group.name()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// The version in the words of RFC 8446.
    pub(crate) fn version_word(self) -> &'static str {
        match self.version {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(_) | None => "other",
        }
    }

    /// The group in the words of the IANA registry.
    pub(crate) fn group_word(self) -> &'static str {
        match self.group {
            Some(NamedGroup::X25519MLKEM768) => "X25519MLKEM768",
            Some(NamedGroup::secp256r1MLKEM768) => "SecP256r1MLKEM768",
            Some(NamedGroup::X25519) => "x25519",
            Some(NamedGroup::secp256r1) => "secp256r1",
            Some(NamedGroup::secp384r1) => "secp384r1",
            Some(_) => "other",
            None => "none",
        }
    }
}

/// The handshakes with one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes {
    kinds: Vec<(HandshakeFacts, u64)>,
    /// From the first octet to the upstream being proven, TCP included.
    pub(crate) duration: Histogram,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            duration: Histogram::of_durations(),
        }
    }
}

impl Handshakes {
    /// One more, which took that long with the connection below it.
    pub(crate) fn add(&mut self, facts: HandshakeFacts, took: Duration) {
        self.duration.add_duration(took);
        if let Some((_, count)) = self.kinds.iter_mut().find(|(known, _)| *known == facts) {
            *count += 1;
        } else if self.kinds.len() < HANDSHAKE_KINDS {
            self.kinds.push((facts, 1));
        }
    }

    /// What they came to, and how often.
    pub(crate) fn kinds(&self) -> &[(HandshakeFacts, u64)] {
        &self.kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(transport: Transport) -> Client {
        Client {
            address: ([127, 0, 0, 1], 5).into(),
            transport,
            idle: Duration::ZERO,
        }
    }

    fn message(qtype: u16) -> Vec<u8> {
        let mut message = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\0".to_vec();
        message.extend(qtype.to_be_bytes());
        message.extend([0, 1]);
        message
    }

    #[test]
    fn whatever_is_asked_falls_into_a_few_classes() {
        let counters = Counters::default();
        let tally = &counters.tally;
        for qtype in 0..=u16::MAX {
            tally.add_query(&client(Transport::Udp), &message(qtype));
        }
        tally.add_query(&client(Transport::Tls), b"nonsense");
        let mut totals = Totals::default();
        totals.add(&counters);
        let counted: Vec<_> = totals.queries().collect();
        assert_eq!(counted.len(), TYPES.len() + 2);
        assert!(counted.contains(&("udp", "ipv4", "AAAA", 1)));
        let others = u64::from(u16::MAX) + 1 - TYPES.len() as u64;
        assert!(counted.contains(&("udp", "ipv4", "other", others)));
        assert!(counted.contains(&("tls", "ipv4", "none", 1)));
    }

    #[test]
    fn replies_of_a_turn_share_its_length() {
        let counters = Counters::default();
        let (tally, mut at_once) = (&counters.tally, AtOnce::default());
        let reply = b"\0\0\x81\x83\0\0\0\0\0\0\0\0";
        tally.add_reply_at_once((Transport::Udp, ReplySource::Local), reply, &mut at_once);
        tally.add_reply_at_once((Transport::Tcp, ReplySource::Local), reply, &mut at_once);
        assert!(!at_once.is_empty());
        tally.end_turn(&mut at_once, Duration::from_micros(30));
        assert!(at_once.is_empty());
        let mut sum = Totals::default();
        sum.add(&counters);
        sum.add(&counters);
        assert!(
            sum.responses()
                .any(|it| it == ("udp", "NXDOMAIN", "local", 2))
        );
        let (source, durations) = sum.durations().next().unwrap();
        assert_eq!(
            (source, durations.count(), durations.sum()),
            ("local", 4, 120_000)
        );
    }

    #[test]
    fn what_an_upstream_negotiates_takes_a_bounded_place() {
        let mut handshakes = Handshakes::default();
        for group in 0..1000 {
            let facts = HandshakeFacts {
                version: Some(ProtocolVersion::TLSv1_3),
                group: Some(NamedGroup::from(group)),
                resumed: false,
            };
            handshakes.add(facts, Duration::from_millis(3));
        }
        assert_eq!(handshakes.kinds().len(), HANDSHAKE_KINDS);
        assert_eq!(handshakes.duration.count(), 1000);
    }
}
