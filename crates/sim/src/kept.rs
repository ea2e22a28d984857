//! The cache against a naive model of it: any clients, any zones, any passing of time, each step chosen by octets.
//!
//! Laws, checked at every reply:
//! - What a client gets from the cache is, octet for octet, what it would have got from an upstream that says now what it said then, with
//!   what is left of the TTL (RFC 8906 section 6): whatever ID, RD, AD, CD, DO, OPT record, size, spelling and transport.
//! - An upstream is asked if and only if nothing fresh is kept, or what is kept is hot and near its end.
//! - Past its time data is given only after a refresh failed, with a TTL of 30 and the extended error for it, and never after
//!   [`CacheRules::stale`]; an answer that may not be kept ends it.
//! - A failure is told from the cache only while there is no data to give.
//! - Without recursion only what is fresh is told.
//!
//! Deliberately absent: upstreams that are silent or away (see `world`), and how long a failure is kept.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use dotward_core::cache::{Cache, CacheConfig, CacheRules};
use dotward_core::front::{Client, Front, FrontConfig};
use dotward_core::limits::{FAILURE_KEPT_MAX, PREFETCH_HITS, STALE_TTL};
use dotward_core::policy::{Acl, PolicyConfig};
use dotward_core::time::Moment;
use dotward_core::upstream::UpstreamConfig;
use dotward_core::wire::edns::UDP_PAYLOAD_MAX;
use dotward_core::wire::frame::{FrameReader, append_frame};
use dotward_core::wire::{
    Asker, Class, Flags, Header, Name, QueryView, Question, Rcode, RecordType, ReplyOrigin,
    ResponseComposer, ResponseView, Transport, render_reply,
};

use crate::harness::{Harness, Taken, Token};

/// What is asked for; the answer to the last one does not fit into a datagram.
const NAMES: [&str; 4] = ["a.example", "b.example", "www.c.example", "big.example"];

/// How long stale data is kept here: short, so that its end is met.
const STALE: Duration = Duration::from_secs(600);

/// What an upstream says of a name at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    /// Data, another one with each version.
    Data {
        ttl: u32,
        version: u8,
    },
    /// No such name.
    NoName {
        ttl: u32,
    },
    /// No such data.
    NoData {
        ttl: u32,
    },
    /// No such name, and nothing says for how long.
    NoSoa,
    Failure,
}

impl Zone {
    fn lifetime(self) -> Option<u32> {
        match self {
            Self::Data { ttl, .. } | Self::NoName { ttl } | Self::NoData { ttl } => Some(ttl),
            Self::NoSoa | Self::Failure => None,
        }
    }

    /// The response that says so, with this TTL.
    fn response(self, place: usize, ttl: u32) -> Option<Vec<u8>> {
        let name: Name = NAMES[place].parse().ok()?;
        let zone: Name = "example".parse().ok()?;
        let mut composer = ResponseComposer::new(&Question::new(&name, RecordType::A, Class::IN));
        let soa = [&[0; 18][..], &3_600_u32.to_be_bytes()].concat();
        match self {
            Self::Data { version, .. } => {
                let records = if place + 1 == NAMES.len() { 60 } else { 2 };
                for record in 0..records {
                    composer.answer(&name, RecordType::A, ttl, &[192, 0, version, record]);
                }
                composer.authority(&zone, RecordType::NS, ttl, &[0]);
            }
            Self::NoName { .. } => {
                composer.rcode(Rcode::NXDOMAIN);
                composer.authority(&zone, RecordType::SOA, ttl, &soa);
            }
            Self::NoData { .. } => composer.authority(&zone, RecordType::SOA, ttl, &soa),
            Self::NoSoa => composer.rcode(Rcode::NXDOMAIN),
            Self::Failure => composer.rcode(Rcode::SERVFAIL),
        }
        let mut message = composer.finish();
        if self != Self::Failure {
            message[3] |= 0x20;
        }
        Some(message)
    }
}

/// Data the model keeps.
#[derive(Clone, Copy, Debug)]
struct Good {
    zone: Zone,
    stored: Moment,
    lifetime: u32,
    hits: u32,
}

impl Good {
    fn expires(&self) -> Moment {
        self.stored + Duration::from_secs(self.lifetime.into())
    }
}

/// One asker: everything about it that must not leak into anybody else's answer.
struct Shape {
    place: usize,
    recursion: bool,
    authentic: bool,
    checking_disabled: bool,
    dnssec_ok: bool,
    edns: bool,
    size: u16,
    upper: bool,
    transport: Transport,
    id: u16,
}

impl Shape {
    fn new(step: [u8; 4], id: u16) -> Self {
        let [_, place, bits, way] = step;
        let edns = bits & 16 != 0;
        Self {
            place: usize::from(place) % NAMES.len(),
            // Mostly set.
            recursion: bits & 1 != 0 || way & 64 != 0,
            authentic: bits & 2 != 0,
            checking_disabled: bits & 4 != 0,
            dnssec_ok: edns && bits & 8 != 0,
            edns,
            size: [0, 512, 900, 4096][usize::from(way >> 2) % 4],
            upper: bits & 32 != 0,
            transport: [Transport::Udp, Transport::Tcp, Transport::Tls][usize::from(way & 3) % 3],
            id,
        }
    }

    fn query(&self) -> Vec<u8> {
        let flags = Flags::NONE
            .with_recursion_desired(self.recursion)
            .with_authentic_data(self.authentic)
            .with_checking_disabled(self.checking_disabled);
        let header = Header {
            id: self.id,
            flags,
            questions: 1,
            answers: 0,
            authorities: 0,
            additionals: u16::from(self.edns),
        };
        let mut text = NAMES[self.place].to_owned();
        if self.upper {
            text.make_ascii_uppercase();
        }
        let mut message = header.octets().to_vec();
        if let Ok(name) = text.parse() {
            let question = Question::new(&name, RecordType::A, Class::IN);
            message.extend_from_slice(question.octets());
        }
        if self.edns {
            message.extend_from_slice(&[0, 0, 41]);
            message.extend_from_slice(&self.size.to_be_bytes());
            message.extend_from_slice(&[0, 0, u8::from(self.dnssec_ok) << 7, 0, 0, 0]);
        }
        message
    }

    /// What an upstream's `response` is to this asker, with nothing kept anywhere.
    fn rendered(&self, response: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        let query = self.query();
        if let (Ok(view), Ok(query)) = (ResponseView::parse(response), QueryView::parse(&query)) {
            let asker = Asker::new(&query, self.transport, UDP_PAYLOAD_MAX);
            render_reply(&view, &asker, ReplyOrigin::Upstream, &mut reply);
        }
        reply
    }
}

/// Adds an OPT record with an extended error and takes AD away, as for stale data.
fn staled(mut message: Vec<u8>, code: u8) -> Vec<u8> {
    message[3] &= !0x20;
    message[11] += 1;
    message.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0f\0\x02\0");
    message.push(code);
    message
}

struct Life {
    harness: Harness,
    cache: Arc<Cache>,
    zones: [Zone; NAMES.len()],
    good: HashMap<(usize, bool, bool), Good>,
    /// Until when a failure may be told.
    failed: HashMap<(usize, bool, bool), Moment>,
    versions: u8,
    asked: usize,
}

/// Lives through the steps that `octets` choose; panics when a law is broken.
///
/// # Panics
///
/// See above.
pub fn live(octets: &[u8]) {
    let cache = Arc::new(Cache::new(CacheConfig {
        rules: CacheRules {
            stale: STALE,
            ..CacheRules::default()
        },
        ..CacheConfig::new(1 << 20, [9; 16])
    }));
    let networks: Vec<ipnet::IpNet> = "0.0.0.0/0".parse().into_iter().collect();
    let front = Front::new(FrontConfig {
        cache: Arc::clone(&cache),
        ..FrontConfig::new(Acl::new(&networks), PolicyConfig::default())
    });
    let endpoint = ([192, 0, 2, 1], 853).into();
    let upstream = UpstreamConfig::new("one", vec![endpoint]);
    let mut life = Life {
        harness: Harness::new(front, vec![upstream], [5; 32]),
        cache,
        zones: [Zone::Data {
            ttl: 60,
            version: 0,
        }; NAMES.len()],
        good: HashMap::new(),
        failed: HashMap::new(),
        versions: 0,
        asked: 0,
    };
    for (number, step) in octets.as_chunks::<4>().0.iter().enumerate() {
        life.step(*step, u16::try_from(number % 60_000).unwrap_or_default());
    }
}

impl Life {
    fn step(&mut self, step: [u8; 4], id: u16) {
        let [what, first, second, _] = step;
        match what % 16 {
            0..=10 => self.ask(&Shape::new(step, id)),
            11 => self.pass(Duration::from_millis(u64::from(first) * 20)),
            12 => self.pass(Duration::from_secs(u64::from(first))),
            13 if first > 200 => {
                self.cache.flush(None);
                self.good.clear();
                self.failed.clear();
            }
            13 => self.pass(Duration::from_secs(u64::from(first) * 5)),
            _ => self.change(usize::from(first) % NAMES.len(), second),
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.harness.now + span;
        let waited = self.harness.wait_until(end);
        assert_eq!(waited, Ok(()));
    }

    fn change(&mut self, place: usize, choice: u8) {
        self.versions = self.versions.wrapping_add(1);
        let version = self.versions;
        let ttl = [0, 1, 5, 30, 60, 300][usize::from(choice >> 4) % 6];
        self.zones[place] = match choice % 8 {
            0 => Zone::NoName { ttl },
            1 => Zone::NoData { ttl },
            2 => Zone::NoSoa,
            3 | 4 => Zone::Failure,
            _ => Zone::Data { ttl, version },
        };
    }

    /// Lets the upstream answer all it is asked; gives back how often it was.
    fn pump(&mut self) -> usize {
        let before = self.asked;
        loop {
            while let Some(opened) = self.harness.opened.pop_front() {
                self.harness.connect(opened.connection);
            }
            let connections = self.harness.poll_transmits();
            if connections.is_empty() {
                return self.asked - before;
            }
            for connection in connections {
                let octets = self.harness.transmit(connection, usize::MAX);
                let mut reader = FrameReader::default();
                reader.push(&octets);
                while let Some(message) = reader.next_message() {
                    let response = self.respond(message);
                    let mut frame = Vec::new();
                    append_frame(&response, &mut frame);
                    self.harness.receive(connection, &frame);
                }
            }
        }
    }

    fn respond(&mut self, message: &[u8]) -> Vec<u8> {
        let query = QueryView::parse(message);
        let asked = query.ok().map(|query| query.question().to_string());
        let asked = asked.unwrap_or_default().to_ascii_lowercase();
        let place = NAMES.iter().position(|it| asked.starts_with(it));
        // What is not of the clients is a probe.
        let Some(place) = place else {
            let mut response = message.to_vec();
            response[2] |= 0x80;
            return response;
        };
        self.asked += 1;
        let zone = self.zones[place];
        let ttl = zone.lifetime().unwrap_or_default();
        let mut response = zone.response(place, ttl).unwrap_or_default();
        response[..2].copy_from_slice(&message[..2]);
        response
    }

    fn ask(&mut self, shape: &Shape) {
        let now = self.harness.now;
        let key = (shape.place, shape.dnssec_ok, shape.checking_disabled);
        let client = Client {
            address: ([127, 0, 0, 1], 53).into(),
            transport: shape.transport,
            idle: Duration::ZERO,
        };
        let token = Token::default();
        let taken = self.harness.ask(&shape.query(), &client, token);
        assert!(matches!(taken, Taken::Owed), "a question is owed a reply");
        let asked = self.pump();
        let (_, reply) = self.harness.replies.pop_front().unwrap_or_default();
        assert!(self.harness.replies.is_empty(), "one reply");
        let good = self.good.get(&key).copied();
        if let Some(good) = good.filter(|good| now < good.expires()) {
            self.check_fresh(shape, &good, asked, &reply);
        } else if !shape.recursion {
            assert_eq!(asked, 0);
            let view = ResponseView::parse(&reply).map(|view| view.rcode());
            assert_eq!(
                view,
                Ok(Rcode::REFUSED),
                "nothing to tell without recursion"
            );
        } else {
            self.check_past(shape, good, asked, &reply);
        }
        if asked > 0 {
            self.note(key);
        }
    }

    fn check_fresh(&mut self, shape: &Shape, good: &Good, asked: usize, reply: &[u8]) {
        let now = self.harness.now;
        let age = u32::try_from(now.since(good.stored).as_secs()).unwrap_or(u32::MAX);
        let response = good.zone.response(shape.place, good.lifetime - age);
        assert_eq!(
            reply,
            shape.rendered(&response.unwrap_or_default()),
            "{good:?}"
        );
        if asked > 0 {
            let left = good.expires().since(now).as_secs();
            assert!(asked == 1 && good.hits >= PREFETCH_HITS.into(), "{good:?}");
            assert!(left * 10 <= u64::from(good.lifetime), "{left} s are left");
        }
        let key = (shape.place, shape.dnssec_ok, shape.checking_disabled);
        if let Some(good) = self.good.get_mut(&key) {
            good.hits += 1;
        }
    }

    fn check_past(&self, shape: &Shape, good: Option<Good>, asked: usize, reply: &[u8]) {
        let now = self.harness.now;
        let key = (shape.place, shape.dnssec_ok, shape.checking_disabled);
        let zone = self.zones[shape.place];
        let usable = good.filter(|good| now < good.expires() + STALE);
        if asked > 0 && zone != Zone::Failure {
            // In the background, or for this client.
            let ttl = zone.lifetime().unwrap_or_default();
            let new = shape.rendered(&zone.response(shape.place, ttl).unwrap_or_default());
            if reply == new {
                return;
            }
        }
        match usable {
            Some(good) => {
                let code = if matches!(good.zone, Zone::NoName { .. }) {
                    19
                } else {
                    3
                };
                let response = good.zone.response(shape.place, STALE_TTL);
                let stale = staled(response.unwrap_or_default(), code);
                assert_eq!(reply, shape.rendered(&stale), "stale {good:?} {zone:?}");
                assert!(asked > 0 || self.failed.contains_key(&key), "untried");
            }
            None => {
                let rcode = ResponseView::parse(reply).map(|view| view.rcode());
                assert_eq!(rcode, Ok(Rcode::SERVFAIL), "{zone:?} {asked}");
                let failed = self.failed.get(&key).is_some_and(|until| now < *until);
                assert!(asked > 0 || failed, "a failure out of nowhere");
            }
        }
    }

    /// What the upstream said last is what is kept.
    fn note(&mut self, key: (usize, bool, bool)) {
        let (now, zone) = (self.harness.now, self.zones[key.0]);
        if zone == Zone::Failure {
            let until = now + Duration::from_secs(FAILURE_KEPT_MAX.into());
            self.failed.insert(key, until);
            return;
        }
        let past = |good: &Good| now >= good.expires();
        if zone.lifetime().is_none_or(|ttl| ttl == 0) && self.good.get(&key).is_some_and(past) {
            self.good.remove(&key);
        }
        if let Some(lifetime) = zone.lifetime().filter(|ttl| *ttl > 0) {
            self.failed.remove(&key);
            let good = Good {
                zone,
                stored: now,
                lifetime,
                hits: 0,
            };
            self.good.insert(key, good);
        }
    }
}
