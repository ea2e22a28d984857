//! Names answered here: a handful of records from the configuration.
//!
//! A name that has a record here is wholly ours: a type or class it lacks is NODATA with a SOA (RFC 2308 section 2.2), never forwarded.
//! Aliases are followed inside the local records only; the client's resolver follows the rest.
//!
//! Deliberately absent: zones, wildcards and delegations. Names below a local name are not ours.

use core::net::{Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;

use super::covers_internet;
use crate::limits::LOCAL_ALIASES_MAX;
use crate::wire::{Name, Question, RecordType, ResponseComposer};

/// TTL and MINIMUM of the SOA record under a NODATA answer, in seconds. Short: local records are edited by people who then look.
const NEGATIVE_TTL: u32 = 60;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRecord {
    /// Owner.
    pub name: Name,
    /// Seconds a client may keep it.
    pub ttl: u32,
    /// Type and data.
    pub data: LocalData,
}

/// The data of a local record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalData {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// Alias of another name.
    Cname(Name),
    /// The name of an address.
    Ptr(Name),
    /// Text; written as strings of up to 255 octets (RFC 1035 section 3.3.14).
    Txt(Vec<u8>),
}

impl LocalData {
    /// The record type this is data of.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Cname(_) => RecordType::CNAME,
            Self::Ptr(_) => RecordType::PTR,
            Self::Txt(_) => RecordType::TXT,
        }
    }

    fn rdata(&self) -> Vec<u8> {
        match self {
            Self::A(address) => address.octets().to_vec(),
            Self::Aaaa(address) => address.octets().to_vec(),
            Self::Cname(name) | Self::Ptr(name) => name.as_octets().to_vec(),
            Self::Txt(text) if text.is_empty() => vec![0],
            Self::Txt(text) => text.chunks(255).flat_map(character_string).collect(),
        }
    }
}

fn character_string(chunk: &[u8]) -> impl Iterator<Item = u8> {
    let length = u8::try_from(chunk.len()).unwrap_or(u8::MAX);
    core::iter::once(length).chain(chunk.iter().copied())
}

/// All local records, by name.
#[derive(Clone, Debug, Default)]
pub struct LocalRecords {
    by_name: HashMap<Name, Vec<LocalRecord>, foldhash::fast::FixedState>,
}

impl LocalRecords {
    /// The given records. Their number is the configuration's, which a person wrote.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = LocalRecord>) -> Self {
        let mut by_name: HashMap<Name, Vec<LocalRecord>, _> = HashMap::default();
        for record in records {
            by_name
                .entry(record.name.folded())
                .or_default()
                .push(record);
        }
        Self { by_name }
    }

    /// Whether the name (uncompressed wire form) is ours.
    #[must_use]
    pub fn contains(&self, qname: &[u8]) -> bool {
        !self.by_name.is_empty() && self.find(qname).is_some()
    }

    fn find(&self, qname: &[u8]) -> Option<&[LocalRecord]> {
        let folded = Name::from_octets(qname).ok()?.folded();
        self.by_name.get(&folded).map(Vec::as_slice)
    }

    /// The canonical response to `question`, whose name is ours.
    #[must_use]
    pub fn respond(&self, question: &Question) -> Vec<u8> {
        let internet = covers_internet(question);
        let mut composer = ResponseComposer::new(question);
        let mut owner = question.qname();
        let mut answered = false;
        for _ in 0..=LOCAL_ALIASES_MAX {
            let Some(records) = self.find(owner.as_octets()) else {
                // The alias leads out of our records, which a checked configuration does not allow: the client has to ask on.
                return composer.finish();
            };
            let mut alias = None;
            for record in records
                .iter()
                .filter(|record| internet && fits(record, question.qtype()))
            {
                answered = true;
                composer.answer(
                    &owner,
                    record.data.record_type(),
                    record.ttl,
                    &record.data.rdata(),
                );
                if let LocalData::Cname(target) = &record.data {
                    alias = Some(target.clone());
                }
            }
            match alias {
                Some(target) if question.qtype() != RecordType::CNAME => owner = target,
                _ => break,
            }
            answered = false;
        }
        if !answered {
            composer.authority(&owner, RecordType::SOA, NEGATIVE_TTL, &soa_rdata());
        }
        composer.finish()
    }
}

fn fits(record: &LocalRecord, qtype: RecordType) -> bool {
    let rtype = record.data.record_type();
    rtype == qtype || rtype == RecordType::CNAME || qtype == RecordType::ANY
}

/// A SOA with the owner as primary server and a mailbox nobody reads (RFC 6303 section 3).
fn soa_rdata() -> Vec<u8> {
    let mut rdata = b"\x00\x06nobody\x07invalid\x00".to_vec();
    for field in [1, 3600, 1200, 604_800, NEGATIVE_TTL] {
        rdata.extend_from_slice(&u32::to_be_bytes(field));
    }
    rdata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Class, ResponseView, Section};

    fn record(name: &str, data: LocalData) -> LocalRecord {
        LocalRecord {
            name: name.parse().unwrap(),
            ttl: 300,
            data,
        }
    }

    fn records() -> LocalRecords {
        LocalRecords::new([
            record("Host.example", LocalData::A([192, 0, 2, 1].into())),
            record("host.example", LocalData::A([192, 0, 2, 2].into())),
            record("host.example", LocalData::Txt(vec![b'x'; 300])),
            record(
                "www.example",
                LocalData::Cname("host.example".parse().unwrap()),
            ),
            record(
                "out.example",
                LocalData::Cname("elsewhere.test".parse().unwrap()),
            ),
            record("a.loop", LocalData::Cname("b.loop".parse().unwrap())),
            record("b.loop", LocalData::Cname("a.loop".parse().unwrap())),
        ])
    }

    fn types(name: &str, qtype: RecordType) -> Vec<(Section, RecordType)> {
        let question = Question::new(&name.parse().unwrap(), qtype, Class::IN);
        let message = records().respond(&question);
        let view = ResponseView::parse(&message).unwrap();
        assert!(view.answers(question.view()));
        view.records()
            .map(|record| record.map(|r| (r.section, r.rtype)).unwrap())
            .collect()
    }

    #[test]
    fn records_of_the_asked_type_are_the_answer() {
        let a = (Section::Answer, RecordType::A);
        assert_eq!(types("HOST.Example", RecordType::A), [a, a]);
        assert_eq!(
            types("host.example", RecordType::TXT),
            [(Section::Answer, RecordType::TXT)]
        );
        assert_eq!(types("host.example", RecordType::ANY).len(), 3);
    }

    #[test]
    fn a_type_the_name_lacks_is_nodata_with_a_soa() {
        let soa = (Section::Authority, RecordType::SOA);
        assert_eq!(types("host.example", RecordType::AAAA), [soa]);
        let cname = (Section::Answer, RecordType::CNAME);
        assert_eq!(types("www.example", RecordType::AAAA), [cname, soa]);
    }

    #[test]
    fn aliases_are_followed_here_and_end() {
        let (cname, a) = (
            (Section::Answer, RecordType::CNAME),
            (Section::Answer, RecordType::A),
        );
        assert_eq!(types("www.example", RecordType::A), [cname, a, a]);
        assert_eq!(types("www.example", RecordType::CNAME), [cname]);
        assert_eq!(types("out.example", RecordType::A), [cname]);
        assert!(types("a.loop", RecordType::A).len() <= LOCAL_ALIASES_MAX + 2);
    }

    #[test]
    fn only_names_with_a_record_are_ours() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert!(records().contains(name("hOst.example").as_octets()));
        assert!(!records().contains(name("below.host.example").as_octets()));
        assert!(!records().contains(name("example").as_octets()));
    }
}
