//! What a correct answer is: the records of a name are computed from the name, so that a mix-up shows.
//!
//! # Records
//! * A: 240.0.0.0/4 with 28 bits of a hash of the lower-cased name ([`expected_a`]); AAAA: 2001:db8::/32 with 96 bits
//!   of it ([`expected_aaaa`]).
//! * TXT: `name=` and the lower-cased name without the last dot ([`expected_txt`]).
//! * NS, CNAME, PTR, DNAME, MX and SRV: `target.` before the name. SOA: a fixed one. HTTPS and SVCB: `1 .`.
//! * Any other type: 16 octets, those of [`expected_aaaa`].
//!
//! # Labels that steer
//! Any label of the asked name, letter case apart: `size-N` (about N octets in all), `nx` (NXDOMAIN and SOA),
//! `nodata`, `servfail`, `refused`, `formerr`, `notimp`, `tc` (TC=1, no answer), `cname` and `cname-N` (a chain of N
//! aliases; the last record still encodes the asked name), `ttl-N` (seconds), `delay-N` (milliseconds), `mute` (no
//! answer at all), `ede-N` (extended DNS error N, RFC 8914), `rebound` (addresses of private networks: [`REBOUND_A`], [`REBOUND_AAAA`],
//! and the first as a hint of HTTPS and SVCB).
//!
//! RFCs that rule it: 1035, 2308 section 3 (SOA in negative answers), 6891 sections 6.1 and 7 (OPT where asked),
//! 7828, 8467 section 4.1 (responses padded to 468 octets where the query is padded), 8914.
//!
//! Not here: anything false (`lies`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::dns::{self, Opt, Query, QueryFault, Question, Record, Response};
use crate::mode::{EdnsAnswer, Mode};

/// The address in every false A record: whoever delivers it was deceived.
pub const POISON_A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
/// The address in every false AAAA record, and the data of false records of other types.
pub const POISON_AAAA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xdead, 0, 0, 0, 0, 0x66);
/// The text in every false TXT record.
pub const POISON_TXT: &str = "poison";
/// The A record of a name that is rebound, and its hint.
pub const REBOUND_A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The AAAA record of a name that is rebound.
pub const REBOUND_AAAA: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x0001);
/// Most aliases in a chain, whatever `cname-N` says.
pub const ALIASES: u64 = 64;

const RESPONSE_BLOCK: usize = 468;

/// The A record of a name in presentation form (without escapes; the last dot is optional).
pub fn expected_a(name: &str) -> Ipv4Addr {
    address_v4(plain(name).as_bytes())
}

/// The AAAA record of a name in presentation form.
pub fn expected_aaaa(name: &str) -> Ipv6Addr {
    address_v6(plain(name).as_bytes())
}

/// The TXT record of a name in presentation form.
pub fn expected_txt(name: &str) -> String {
    format!("name={}", plain(name))
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// FNV-1a with 64 bits; `salt` makes a family of independent hashes.
fn hash(text: &[u8], salt: u8) -> u64 {
    text.iter()
        .chain([&salt])
        .fold(0xcbf2_9ce4_8422_2325, |sum, octet| {
            (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
        })
}

fn address_v4(text: &[u8]) -> Ipv4Addr {
    let sum = hash(text, 0);
    let folded = (sum ^ (sum >> 32)) & 0x0fff_ffff;
    Ipv4Addr::from_bits(0xf000_0000 | u32::try_from(folded).unwrap_or_default())
}

fn address_v6(text: &[u8]) -> Ipv6Addr {
    let sum = u128::from(hash(text, 1)) << 64 | u128::from(hash(text, 2));
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | sum >> 32)
}

/// The key under which a question of class IN is counted.
pub(crate) fn question_key(name: &str, qtype: u16) -> Vec<u8> {
    let plain = plain(name);
    let labels = plain
        .split('.')
        .filter(|label| !label.is_empty())
        .map(str::as_bytes);
    Question {
        name: dns::name_of(labels),
        qtype,
        qclass: dns::IN,
    }
    .key()
}

/// What the labels of a name ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steering {
    pub(crate) delay: Duration,
    pub(crate) mute: bool,
    size: Option<usize>,
    rcode: Option<u16>,
    nodata: bool,
    truncated: bool,
    /// Aliases, and the place of the steering label in the name: targets are made of the labels after it.
    aliases: Option<(u64, usize)>,
    ttl: Option<u32>,
    ede: Option<u16>,
    rebound: bool,
}

impl Steering {
    pub(crate) fn of(name: &[u8]) -> Self {
        let mut steering = Self::default();
        for (place, label) in dns::labels(name).enumerate() {
            if let Ok(label) = std::str::from_utf8(label) {
                steering.read(&label.to_ascii_lowercase(), place);
            }
        }
        steering
    }

    fn read(&mut self, label: &str, place: usize) {
        let (word, number) = match label.split_once('-') {
            None => (label, None),
            Some((word, number)) => match number.parse::<u32>() {
                Ok(number) => (word, Some(number)),
                Err(_) => return,
            },
        };
        match (word, number) {
            ("size", Some(octets)) => self.size = usize::try_from(octets).ok(),
            ("delay", Some(millis)) => self.delay = Duration::from_millis(u64::from(millis)),
            ("ttl", Some(seconds)) => self.ttl = Some(seconds),
            ("ede", Some(code)) => self.ede = u16::try_from(code).ok(),
            ("cname", count) => {
                self.aliases = Some((u64::from(count.unwrap_or(1)).min(ALIASES), place));
            }
            ("nx", None) => self.rcode = Some(dns::NXDOMAIN),
            ("nodata", None) => self.nodata = true,
            ("servfail", None) => self.rcode = Some(dns::SERVFAIL),
            ("refused", None) => self.rcode = Some(dns::REFUSED),
            ("formerr", None) => self.rcode = Some(dns::FORMERR),
            ("notimp", None) => self.rcode = Some(dns::NOTIMP),
            ("tc", None) => self.truncated = true,
            ("mute", None) => self.mute = true,
            ("rebound", None) => self.rebound = true,
            _ => {}
        }
    }
}

/// The correct response, as far as the mode lets it be one.
pub(crate) fn respond(query: &Query, steering: &Steering, mode: &Mode) -> Response {
    let mut response = skeleton(query.id, query.flags, mode);
    response.question = Some(query.question.clone());
    response.opt = options(query, steering, mode);
    let version = query.edns.map_or(0, |edns| edns.version);
    if query.edns.is_some() && mode.edns == EdnsAnswer::FormErr {
        response.rcode = dns::FORMERR;
    } else if version > 0 && response.opt.is_some() {
        response.rcode = dns::BADVERS;
    } else if let Some(rcode) = mode.rcode {
        response.rcode = rcode;
    } else if mode.truncated || steering.truncated {
        response.flags |= dns::TC;
    } else {
        fill_sections(&mut response, query, steering, mode);
    }
    match mode.size.map(usize::from).or(steering.size) {
        Some(size) => stretch(&mut response, size),
        None if query.edns.is_some_and(|edns| edns.padded) => pad(&mut response),
        None => {}
    }
    response
}

/// The response to a message that has a header and no question to speak of.
pub(crate) fn respond_to_fault(fault: QueryFault, mode: &Mode) -> Option<Response> {
    match fault {
        QueryFault::NotAQuery => None,
        QueryFault::Answerable { id, flags, rcode } => Some(Response {
            rcode,
            ..skeleton(id, flags, mode)
        }),
    }
}

fn skeleton(id: u16, query_flags: u16, mode: &Mode) -> Response {
    let mut flags = dns::QR | (query_flags & (dns::OPCODE | dns::RD | dns::CD));
    flags |= if mode.authoritative { dns::AA } else { 0 };
    flags |= if mode.recursion_available { dns::RA } else { 0 };
    flags |= if mode.authentic { dns::AD } else { 0 };
    Response {
        id,
        flags,
        rcode: dns::NOERROR,
        question: None,
        answers: Vec::new(),
        authorities: Vec::new(),
        additionals: Vec::new(),
        opt: None,
        answers_claimed: 0,
    }
}

fn options(query: &Query, steering: &Steering, mode: &Mode) -> Option<Opt> {
    let edns = query.edns.filter(|_| mode.edns == EdnsAnswer::Proper)?;
    let mut opt = Opt {
        dnssec_ok: edns.dnssec_ok,
        options: Vec::new(),
    };
    if let Some(timeout) = mode.keepalive {
        opt.options
            .push((dns::OPTION_KEEPALIVE, timeout.to_be_bytes().to_vec()));
    }
    if let Some(code) = steering.ede {
        let mut value = code.to_be_bytes().to_vec();
        value.extend(b"dotward-faults");
        opt.options.push((dns::OPTION_EDE, value));
    }
    Some(opt)
}

fn fill_sections(response: &mut Response, query: &Query, steering: &Steering, mode: &Mode) {
    let question = &query.question;
    let ttl = steering.ttl.unwrap_or(mode.ttl);
    response.rcode = steering.rcode.unwrap_or(dns::NOERROR);
    if steering.nodata || response.rcode == dns::NXDOMAIN {
        response.authorities.push(zone_soa(&question.name, ttl));
    }
    if steering.nodata || response.rcode != dns::NOERROR {
        return;
    }
    let mut owner = question.name.clone();
    if let Some((count, place)) = steering.aliases {
        for number in 1..=count {
            let label = format!("target-{number}");
            let below = dns::labels(&question.name).skip(place + 1);
            let target = dns::name_of(std::iter::once(label.as_bytes()).chain(below));
            if target.len() > 255 {
                break;
            }
            response
                .answers
                .push(record(&owner, dns::CNAME, ttl, target.clone()));
            owner = target;
            if question.qtype == dns::CNAME {
                return;
            }
        }
    }
    let rtype = if question.qtype == dns::ANY {
        dns::A
    } else {
        question.qtype
    };
    let rebound = rebound(rtype).filter(|_| steering.rebound);
    let rdata = rebound.unwrap_or_else(|| rdata(rtype, &question.name));
    response.answers.push(record(&owner, rtype, ttl, rdata));
}

/// The data of a record of a name that is rebound; `None` where it has no address.
fn rebound(rtype: u16) -> Option<Vec<u8>> {
    let address = REBOUND_A.octets();
    match rtype {
        dns::A => Some(address.to_vec()),
        dns::AAAA => Some(REBOUND_AAAA.octets().to_vec()),
        // Priority 1, the owner itself, and one parameter: ipv4hint.
        dns::SVCB | dns::HTTPS => Some([&[0, 1, 0, 0, 4, 0, 4], &address[..]].concat()),
        _ => None,
    }
}

fn record(owner: &[u8], rtype: u16, ttl: u32, rdata: Vec<u8>) -> Record {
    Record {
        owner: owner.to_vec(),
        rtype,
        class: dns::IN,
        ttl,
        rdata,
    }
}

fn zone_soa(name: &[u8], ttl: u32) -> Record {
    let zone = dns::name_of(dns::labels(name).last());
    record(&zone, dns::SOA, ttl, soa(ttl))
}

fn soa(minimum: u32) -> Vec<u8> {
    let mut rdata = dns::name_of([b"ns".as_slice(), b"faults", b"invalid"]);
    rdata.extend(dns::name_of([
        b"hostmaster".as_slice(),
        b"faults",
        b"invalid",
    ]));
    for figure in [1, 3_600, 600, 86_400, minimum] {
        rdata.extend(figure.to_be_bytes());
    }
    rdata
}

/// A name as text: lower-cased labels with dots between them, without the last dot.
fn text_of(name: &[u8]) -> Vec<u8> {
    let labels: Vec<Vec<u8>> = dns::labels(name).map(<[u8]>::to_ascii_lowercase).collect();
    labels.join(&b'.')
}

fn rdata(rtype: u16, name: &[u8]) -> Vec<u8> {
    let text = text_of(name);
    let target = || dns::prefixed(b"target", &name.to_ascii_lowercase());
    match rtype {
        dns::A => address_v4(&text).octets().to_vec(),
        dns::TXT => character_strings(&[b"name=".as_slice(), &text].concat()),
        dns::NS | dns::CNAME | dns::PTR | dns::DNAME => target(),
        dns::MX => [[0, 10].to_vec(), target()].concat(),
        dns::SRV => [[0, 0, 0, 0, 3, 0x55].to_vec(), target()].concat(),
        dns::SOA => soa(300),
        dns::SVCB | dns::HTTPS => vec![0, 1, 0],
        _ => address_v6(&text).octets().to_vec(),
    }
}

fn character_strings(text: &[u8]) -> Vec<u8> {
    let mut rdata = Vec::new();
    for chunk in text.chunks(255) {
        rdata.push(u8::try_from(chunk.len()).unwrap_or(u8::MAX));
        rdata.extend_from_slice(chunk);
    }
    rdata
}

/// The record a lie tells in place of the right one.
pub(crate) fn poison(owner: &[u8], rtype: u16, class: u16, ttl: u32) -> Record {
    let rdata = match rtype {
        dns::A => POISON_A.octets().to_vec(),
        dns::TXT => character_strings(POISON_TXT.as_bytes()),
        dns::NS | dns::CNAME | dns::PTR | dns::DNAME => {
            dns::name_of([POISON_TXT.as_bytes(), b"invalid"])
        }
        _ => POISON_AAAA.octets().to_vec(),
    };
    Record {
        class,
        ..record(owner, rtype, ttl, rdata)
    }
}

/// Pads to a multiple of 468 octets (RFC 8467 section 4.1).
fn pad(response: &mut Response) {
    let bare = response.encode().len() + 4;
    let room = bare.next_multiple_of(RESPONSE_BLOCK) - bare;
    if let Some(opt) = response
        .opt
        .as_mut()
        .filter(|_| bare + room <= dns::MESSAGE_MAX)
    {
        opt.options.push((dns::OPTION_PADDING, vec![0; room]));
    }
}

/// Octets of a record beyond its data, with a compressed owner or the root as owner.
const RECORD_POINTED: usize = 12;
const RECORD_ROOT: usize = 11;

/// Makes a response `size` octets long, if it is shorter: further addresses of A and AAAA questions, then one TXT
/// record, which is an answer when TXT was asked and additional otherwise. Fewer than 12 missing octets stay missing.
fn stretch(response: &mut Response, size: usize) {
    let size = size.min(dns::MESSAGE_MAX);
    let mut missing = size.saturating_sub(response.encode().len());
    let Some(question) = response.question.clone() else {
        return;
    };
    let long_name = question.name.len() > 2;
    if let Some(first) = response.answers.last().cloned()
        && matches!(first.rtype, dns::A | dns::AAAA)
    {
        let owner = if first.owner == question.name && long_name {
            2
        } else {
            first.owner.len()
        };
        let each = owner + 10 + first.rdata.len();
        let mut further = first;
        while missing > each + RECORD_ROOT {
            step(&mut further.rdata);
            response.answers.push(further.clone());
            missing -= each;
        }
    }
    if question.qtype == dns::TXT && long_name && missing > RECORD_POINTED {
        let rdata = filler(missing - RECORD_POINTED);
        response
            .answers
            .push(record(&question.name, dns::TXT, 300, rdata));
    } else if missing > RECORD_ROOT {
        let rdata = filler(missing - RECORD_ROOT);
        response
            .additionals
            .push(record(&[0], dns::TXT, 300, rdata));
    }
}

/// The next address.
fn step(address: &mut [u8]) {
    for octet in address.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        if *octet != 0 {
            return;
        }
    }
}

/// TXT data of exactly this many octets, at least one.
fn filler(octets: usize) -> Vec<u8> {
    let mut rdata = Vec::with_capacity(octets);
    while rdata.len() < octets {
        let text = (octets - rdata.len() - 1).min(255);
        rdata.push(u8::try_from(text).unwrap_or(u8::MAX));
        rdata.resize(rdata.len() + text, b'x');
    }
    rdata
}
