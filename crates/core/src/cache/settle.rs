//! Whether a response may be kept, for how long, and with which TTLs.
//!
//! A response is *settled* before anybody sees it: records of one set get one TTL, the lowest (RFC 2181 section 5.2); a TTL with the top bit
//! set is zero (section 8); the operator's floor and cap apply; in a negative answer the SOA record counts down from the time the answer
//! may be kept (RFC 2308 section 5). So the first client is told what the second one will be.
//!
//! Not kept: what is truncated (RFC 2181 section 9), has a TTL of zero, is not of class IN, answers a meta type (RFC 6895 section
//! 3.1), is negative without a SOA record (RFC 2308 section 5), does not begin at the name asked for, is signed as a message, or is meant for one
//! subnet of clients (RFC 7871 section 7.3). Neither is a message in which a name is made of the octets of a TTL: it would be another name,
//! or none, as the TTL counts down. Such a message stays as it came, its TTLs included.
//!
//! Deliberately absent: failures, whose time depends on what happened before (see [`Cache::store_failure`](super::Cache::store_failure)).

use smallvec::SmallVec;

use super::CacheRules;
use crate::limits::ALIASES_MAX;
use crate::outcome::Told;
use crate::wire::edns::{EdeCode, ExtendedError, OptionCode};
use crate::wire::{
    Canonical, Class, Flags, HEADER_LEN, Header, Rcode, Record, RecordType, ResponseView, Section,
    Ttls, name,
};

/// A settled response. Kept by its maker to be used again: settling allocates nothing once its buffers have grown.
#[derive(Debug, Default)]
pub struct Settled {
    message: Vec<u8>,
    ttls: Vec<[u8; 2]>,
    error: Option<EdeCode>,
    error_text: String,
    layout: Layout,
    lifetime: u32,
    negative: bool,
    withheld: bool,
}

/// Where things are in a settled message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    pub(super) rcode: u16,
    pub(super) records_at: u16,
    pub(super) authorities_end: u16,
    pub(super) additionals_end: u16,
}

impl Settled {
    /// Settles `view` by `rules`.
    pub fn settle(&mut self, view: &ResponseView<'_>, rules: CacheRules) {
        let canonical = Canonical::from(view);
        let kind = kind(view, rules);
        self.copy(&canonical);
        let end = canonical.additionals_end;
        let is_plain = self.settle_ttls(view, end, kind, rules);
        let is_steady = is_plain || self.is_steady();
        if !is_plain {
            self.copy(&canonical);
            if is_steady {
                self.settle_ttls(view, end, kind, rules);
            }
        }
        self.negative = matches!(kind, Kind::Negative { .. });
        self.withheld = false;
        if kind == Kind::Unfit || !is_steady {
            self.lifetime = 0;
        }
    }

    /// Whether every name stays what it is, whatever the TTLs become. The TTLs are lost in finding out.
    fn is_steady(&mut self) -> bool {
        for at in &self.ttls {
            let at = usize::from(u16::from_be_bytes(*at));
            let field = self.message.get_mut(at..);
            if let Some(field) = field.and_then(<[u8]>::first_chunk_mut::<4>) {
                *field = NO_LABEL;
            }
        }
        // A class that ends as a pointer begins would make the rest of one of the octet behind it.
        let ends_like_a_pointer = |record: Record<'_>| record.class.0 & 0x00c0 == 0x00c0;
        let view = ResponseView::parse(&self.message);
        view.is_ok_and(|view| !view.records().flatten().any(ends_like_a_pointer))
    }

    fn copy(&mut self, canonical: &Canonical<'_>) {
        let header = Header {
            id: 0,
            flags: canonical.flags,
            questions: u16::from(canonical.records_at > HEADER_LEN),
            answers: canonical.counts.answers,
            authorities: canonical.counts.authorities,
            additionals: canonical.counts.additionals,
        };
        self.message.clear();
        self.message.extend_from_slice(&header.octets());
        let body = HEADER_LEN..canonical.additionals_end;
        self.message
            .extend_from_slice(canonical.message.get(body).unwrap_or_default());
        self.error = canonical.error.map(|error| error.code);
        self.error_text.clear();
        self.error_text
            .push_str(canonical.error.map_or("", |error| error.text));
        self.layout = Layout {
            rcode: canonical.rcode.0,
            records_at: short(canonical.records_at),
            authorities_end: short(canonical.authorities_end),
            additionals_end: short(canonical.additionals_end),
        };
    }

    /// Settles the TTLs. True when no name can be made of any of them.
    fn settle_ttls(
        &mut self,
        view: &ResponseView<'_>,
        end: usize,
        kind: Kind,
        rules: CacheRules,
    ) -> bool {
        let mut is_plain = true;
        self.ttls.clear();
        self.lifetime = u32::MAX;
        let mut set = Set::default();
        let mut previous: Option<Record<'_>> = None;
        for record in view.records().map_while(Result::ok) {
            if record.end > end {
                break;
            }
            if record.rtype == RecordType::OPT {
                continue;
            }
            if previous.is_some_and(|previous| !previous.same_set(view.message(), &record)) {
                self.close(&set);
                set = Set {
                    first: self.ttls.len(),
                    ..Set::default()
                };
            }
            self.ttls.push(short(record.ttl_at).to_be_bytes());
            is_plain &= has_plain_names(view.message(), &record);
            set.ttl = set.ttl.min(settled_ttl(&record, kind, rules));
            previous = Some(record);
        }
        self.close(&set);
        is_plain
    }

    /// Gives all records of a set its TTL.
    fn close(&mut self, set: &Set) {
        for at in self.ttls.get(set.first..).unwrap_or_default() {
            let at = usize::from(u16::from_be_bytes(*at));
            let field = self.message.get_mut(at..);
            if let Some(field) = field.and_then(<[u8]>::first_chunk_mut::<4>) {
                *field = set.ttl.to_be_bytes();
            }
            self.lifetime = self.lifetime.min(set.ttl);
        }
    }

    /// What replies are rendered from.
    #[must_use]
    pub fn canonical(&self) -> Canonical<'_> {
        let counts = Header::parse(&self.message).map(|header| header.counts());
        let flags = Header::parse(&self.message).map(|header| header.flags);
        Canonical {
            message: &self.message,
            flags: flags.unwrap_or_default(),
            rcode: Rcode(self.layout.rcode),
            error: self.error(),
            records_at: self.layout.records_at.into(),
            authorities_end: self.layout.authorities_end.into(),
            additionals_end: self.layout.additionals_end.into(),
            counts: counts.unwrap_or_default(),
            ttls: Ttls::AsReceived,
        }
    }

    /// For how many seconds it may be kept; 0 when it may not.
    #[must_use]
    pub fn lifetime(&self) -> u32 {
        self.lifetime
    }

    /// Whether it says that there is no such name or no such data.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Whether something else is told in its place.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// Tells this in the place of all that it has, for as long as it would have held, or as long as negative answers may hold. Without a SOA
    /// record nobody else keeps it (RFC 2308 section 5): clients see at once when the operator changes his mind.
    pub(crate) fn withhold(&mut self, told: Told, rules: CacheRules) {
        let end = usize::from(self.layout.records_at);
        let header = Header {
            id: 0,
            flags: Flags::NONE.with_response(true).with_rcode_low(told.rcode),
            questions: u16::from(end > HEADER_LEN),
            answers: 0,
            authorities: 0,
            additionals: 0,
        };
        self.message.truncate(end);
        if let Some(octets) = self.message.first_chunk_mut::<HEADER_LEN>() {
            *octets = header.octets();
        }
        self.ttls.clear();
        self.error = Some(told.error.code);
        self.error_text.clear();
        self.error_text.push_str(told.error.text);
        let end = self.layout.records_at;
        self.layout = Layout {
            rcode: told.rcode.0,
            records_at: end,
            authorities_end: end,
            additionals_end: end,
        };
        self.lifetime = self.lifetime.min(rules.negative_ttl);
        self.negative = true;
        self.withheld = true;
    }

    /// Counts `seconds` off all TTLs and the lifetime.
    pub(crate) fn grow_older(&mut self, seconds: u32) {
        for at in &self.ttls {
            let at = usize::from(u16::from_be_bytes(*at));
            let field = self.message.get_mut(at..);
            if let Some(field) = field.and_then(<[u8]>::first_chunk_mut::<4>) {
                *field = u32::from_be_bytes(*field)
                    .saturating_sub(seconds)
                    .to_be_bytes();
            }
        }
        self.lifetime = self.lifetime.saturating_sub(seconds);
    }

    pub(super) fn error(&self) -> Option<ExtendedError<'_>> {
        let text = self.error_text.as_str();
        self.error.map(|code| ExtendedError { code, text })
    }

    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    pub(super) fn ttls(&self) -> &[[u8; 2]] {
        &self.ttls
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }
}

/// What begins no label, no pointer and no root.
const NO_LABEL: [u8; 4] = [0xbf; 4];

/// A pointer to the name of the question, which is not compressed and ends before the first record.
const TO_QUESTION: [u8; 2] = [0xc0, 12];

/// Whether a record has no name but that of the question: most have not, and then nothing else has to be looked at.
fn has_plain_names(message: &[u8], record: &Record<'_>) -> bool {
    let owner = message.get(record.owner_at..);
    let to_question = owner.is_some_and(|it| it.starts_with(&TO_QUESTION));
    to_question && !record.rtype.compresses_names()
}

/// A record set while its records are walked.
#[derive(Clone, Copy)]
struct Set {
    /// Place of its first TTL.
    first: usize,
    ttl: u32,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            first: 0,
            ttl: u32::MAX,
        }
    }
}

/// A message has at most 65,535 octets.
fn short(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

/// What a response is to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Data of the type asked for.
    Positive,
    /// No such name, or no such data.
    Negative {
        /// For how many seconds.
        ttl: u32,
    },
    /// Not to be kept.
    Unfit,
}

fn settled_ttl(record: &Record<'_>, kind: Kind, rules: CacheRules) -> u32 {
    // A TTL is a number of 31 bits; with the top bit set it counts as zero.
    let ttl = if record.ttl > i32::MAX.unsigned_abs() {
        0
    } else {
        record.ttl.min(rules.max_ttl)
    };
    match kind {
        Kind::Negative { ttl: negative } if record.section == Section::Authority => {
            ttl.min(negative)
        }
        Kind::Positive if ttl > 0 => ttl.max(rules.min_ttl),
        Kind::Positive | Kind::Negative { .. } | Kind::Unfit => ttl,
    }
}

fn kind(view: &ResponseView<'_>, rules: CacheRules) -> Kind {
    if !is_fit(view) {
        return Kind::Unfit;
    }
    let Some(end) = view.question().and_then(|it| follow(view, it.qtype())) else {
        return Kind::Unfit;
    };
    match view.rcode() {
        Rcode::NOERROR if end.found => Kind::Positive,
        Rcode::NOERROR | Rcode::NXDOMAIN => negative(view, end.name_at, rules),
        _ => Kind::Unfit,
    }
}

fn is_fit(view: &ResponseView<'_>) -> bool {
    let Some(question) = view.question() else {
        return false;
    };
    let RecordType(qtype) = question.qtype();
    // 128 to 255 are questions and not data (RFC 6895 section 3.1); of these ANY alone has an answer worth keeping (RFC 8482 section 5).
    let meta = (128..=254).contains(&qtype) || question.qtype() == RecordType::OPT;
    question.qclass() == Class::IN
        && !meta
        && !view.header().flags.truncated()
        && !is_for_one_subnet(view)
        && !view.records().map_while(Result::ok).any(|record| {
            record.section == Section::Additional
                && matches!(record.rtype, RecordType::TSIG | RecordType::SIG)
        })
}

/// Whether the answer has a scope (RFC 7871 section 7.2.1), though nobody told the upstream a subnet.
fn is_for_one_subnet(view: &ResponseView<'_>) -> bool {
    // Family, source prefix length, scope prefix length, address.
    let option = view.edns().and_then(|edns| edns.option(OptionCode::SUBNET));
    option.is_some_and(|data| data.get(3) != Some(&0))
}

/// Where the chain of aliases from the name asked for ends.
struct End {
    name_at: usize,
    /// Whether data of the type asked for is there.
    found: bool,
}

/// Follows the aliases of the answer section, in whatever order they stand. `None` when the answers have nothing to do with the question, or
/// have more aliases than are followed.
///
/// A message may hold thousands of records whose names take a hundred steps each to read: the answers are walked twice, however long the
/// chain is.
fn follow(view: &ResponseView<'_>, qtype: RecordType) -> Option<End> {
    let message = view.message();
    let answers = || {
        let records = view.records().map_while(Result::ok);
        records.take_while(|record| record.section == Section::Answer)
    };
    let mut aliases: SmallVec<[(usize, usize); ALIASES_MAX]> = SmallVec::new();
    if !matches!(qtype, RecordType::CNAME | RecordType::ANY) {
        for record in answers().filter(|record| record.rtype == RecordType::CNAME) {
            if aliases.len() == ALIASES_MAX {
                return None;
            }
            aliases.push((record.owner_at, record.rdata_at));
        }
    }
    let mut name_at = HEADER_LEN;
    let mut followed = 0;
    let of = |name_at, aliases: &[(usize, usize)]| {
        let found = aliases
            .iter()
            .find(|(owner_at, _)| name::same_name(message, *owner_at, name_at));
        found.map(|(_, target_at)| *target_at)
    };
    while let Some(target_at) = of(name_at, &aliases) {
        followed += 1;
        // A name that is met again leads nowhere.
        if followed > aliases.len() {
            return None;
        }
        name_at = target_at;
    }
    let mut other_at = None;
    let found = answers().any(|record| {
        let owner_at = record.owner_at;
        let known = other_at.is_some_and(|at| name::same_pointer(message, at, owner_at));
        if known || (record.rtype != qtype && qtype != RecordType::ANY) {
            return false;
        }
        other_at = Some(owner_at);
        name::same_name(message, owner_at, name_at)
    });
    let related = found || followed > 0 || view.header().answers == 0;
    related.then_some(End { name_at, found })
}

/// How long a negative answer about the name at `name_at` holds: as long as the SOA record of a zone that has the name says, by its TTL
/// and its MINIMUM field.
fn negative(view: &ResponseView<'_>, name_at: usize, rules: CacheRules) -> Kind {
    let message = view.message();
    let mut authorities = view.records().map_while(Result::ok).filter(|record| {
        record.section == Section::Authority
            && record.rtype == RecordType::SOA
            && name::is_within(message, name_at, record.owner_at)
    });
    let Some(soa) = authorities.next() else {
        return Kind::Unfit;
    };
    let Some(minimum) = soa.rdata.last_chunk::<4>() else {
        return Kind::Unfit;
    };
    let ttl = soa.ttl.min(u32::from_be_bytes(*minimum));
    Kind::Negative {
        ttl: ttl.min(rules.negative_ttl),
    }
}
