//! Walks the resource records of a message (RFC 1035 section 4.1.3, RFC 3597 section 3).
//!
//! RDATA is opaque but for the few types of RFC 1035 (and SRV, DNAME) whose names may be compressed: there the
//! names are proven well-formed too, so that a client behind us never meets a pointer loop we could have seen (RFC 9267).

use super::error::WireError;
use super::name;
use super::numbers::{Class, RecordType};
use super::octets::{u16_at, u32_at};

/// The section a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Answer.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// One record of a message.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its section.
    pub section: Section,
    /// Offset of its owner name.
    pub owner_at: usize,
    /// Its type.
    pub rtype: RecordType,
    /// Its class; in an OPT record the sender's UDP payload size.
    pub class: Class,
    /// Offset of its TTL.
    pub ttl_at: usize,
    /// Its TTL in seconds; in an OPT record the extended RCODE, the version and the flags.
    pub ttl: u32,
    /// Its data.
    pub rdata: &'a [u8],
    /// Offset of its data.
    pub rdata_at: usize,
    /// Offset of the first octet after it.
    pub end: usize,
}

impl Record<'_> {
    /// Whether both records of `message` are of one set: same section, owner, type and class.
    #[must_use]
    pub fn same_set(&self, message: &[u8], other: &Record<'_>) -> bool {
        self.section == other.section
            && self.rtype == other.rtype
            && self.class == other.class
            && name::same_name(message, self.owner_at, other.owner_at)
    }
}

/// Iterates over the records of a message, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: [u16; 3],
}

impl<'a> Records<'a> {
    /// The records from offset `at` on; `counts` are the header's for answer, authority and additional.
    pub(super) fn new(message: &'a [u8], at: usize, counts: [u16; 3]) -> Self {
        Self {
            message,
            at,
            left: counts,
        }
    }

    /// Offset of the first octet not yet walked.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn next_section(&mut self) -> Option<Section> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let (left, section) = self
            .left
            .iter_mut()
            .zip(sections)
            .find(|(left, _)| **left > 0)?;
        *left = left.saturating_sub(1);
        Some(section)
    }

    fn read(&mut self, section: Section) -> Result<Record<'a>, WireError> {
        let owner_at = self.at;
        let fixed = name::skip(self.message, owner_at)?;
        let ttl_at = fixed.saturating_add(4);
        let rdata_at = fixed.saturating_add(10);
        let rdata_len = u16_at(self.message, fixed.saturating_add(8))?;
        let end = rdata_at.saturating_add(usize::from(rdata_len));
        let rdata = self.message.get(rdata_at..end).ok_or(WireError::Overrun)?;
        let rtype = RecordType(u16_at(self.message, fixed)?);
        check_names(self.message, rtype, rdata_at, end)?;
        self.at = end;
        Ok(Record {
            section,
            owner_at,
            rtype,
            class: Class(u16_at(self.message, fixed.saturating_add(2))?),
            ttl_at,
            ttl: u32_at(self.message, ttl_at)?,
            rdata,
            rdata_at,
            end,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.next_section()?;
        let record = self.read(section);
        if record.is_err() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

impl RecordType {
    /// Whether names in the data of this type may be compressed (RFC 3597 section 4).
    pub(crate) fn compresses_names(self) -> bool {
        matches!(
            self,
            Self::NS | Self::CNAME | Self::PTR | Self::DNAME | Self::MX | Self::SRV | Self::SOA
        )
    }
}

/// Proves the names inside the RDATA of the types that may compress them.
fn check_names(message: &[u8], rtype: RecordType, at: usize, end: usize) -> Result<(), WireError> {
    let (names, before, after) = match rtype {
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => (1, 0, 0),
        RecordType::MX => (1, 2, 0),
        RecordType::SRV => (1, 6, 0),
        RecordType::SOA => (2, 0, 20),
        _ => return Ok(()),
    };
    // UPDATE-like messages carry such types with empty RDATA; nothing to prove there.
    if at == end {
        return Ok(());
    }
    let mut next = at.saturating_add(before);
    for _ in 0..names {
        next = name::skip(message, next)?;
    }
    if next.saturating_add(after) == end {
        Ok(())
    } else {
        Err(WireError::Rdata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(records: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 12];
        message.extend_from_slice(b"\x01a\x00\x00\x01\x00\x01");
        message.extend_from_slice(records);
        message
    }

    fn walk(message: &[u8], counts: [u16; 3]) -> Result<Vec<Record<'_>>, WireError> {
        Records::new(message, 19, counts).collect()
    }

    #[test]
    fn records_are_found_in_their_sections() {
        let message = message(
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01\
              \xc0\x0c\xff\x00\x00\x01\xff\xff\xff\xff\x00\x02\xc0\x0c",
        );
        let records = walk(&message, [1, 0, 1]).unwrap();
        assert_eq!(records[0].section, Section::Answer);
        assert_eq!((records[0].rtype, records[0].ttl), (RecordType::A, 60));
        assert_eq!(records[0].rdata, [127, 0, 0, 1]);
        assert_eq!(message[records[0].ttl_at..][..4], [0, 0, 0, 60]);
        assert_eq!(records[1].section, Section::Additional);
        assert_eq!(
            (records[1].rdata, records[1].end),
            (&b"\xc0\x0c"[..], message.len())
        );
    }

    #[test]
    fn a_count_larger_than_the_octets_is_an_overrun_at_once() {
        let message = message(b"");
        let mut records = Records::new(&message, 19, [65535, 65535, 65535]);
        assert_eq!(records.next().unwrap().unwrap_err(), WireError::Overrun);
        assert!(records.next().is_none());
    }

    #[test]
    fn a_loop_inside_a_cname_is_seen() {
        let message = message(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x1f");
        assert_eq!(walk(&message, [1, 0, 0]).unwrap_err(), WireError::Pointer);
    }

    #[test]
    fn rdata_that_its_names_do_not_fill_is_refused() {
        let message =
            message(b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x05\x00\x0a\xc0\x0c\x00");
        assert_eq!(walk(&message, [1, 0, 0]).unwrap_err(), WireError::Rdata);
    }
}
