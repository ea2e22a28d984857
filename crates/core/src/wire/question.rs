//! The question: QNAME, QTYPE, QCLASS (RFC 1035 section 4.1.2).
//!
//! A question is kept as the octets the client sent, because a reply has to repeat them, letter case included. The
//! name is never compressed: in a message with one question there is nothing before it to point at.

use core::fmt;

use smallvec::SmallVec;

use super::WireError;
use super::header::HEADER_LEN;
use super::name::{self, Name};
use super::name_text;
use super::numbers::{Class, RecordType};

/// Octets of QTYPE and QCLASS.
const TYPE_AND_CLASS_LEN: usize = 4;

/// A question inside a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QuestionRef<'a> {
    octets: &'a [u8],
}

impl<'a> QuestionRef<'a> {
    /// Reads the question that follows the header.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        let name_end = name::skip_uncompressed(message, HEADER_LEN)?;
        let end = name_end.saturating_add(TYPE_AND_CLASS_LEN);
        let octets = message.get(HEADER_LEN..end).ok_or(WireError::Overrun)?;
        Ok(Self { octets })
    }

    /// The question that these octets are: they were read as one before.
    pub(crate) fn from_octets(octets: &'a [u8]) -> Option<Self> {
        (octets.len() > TYPE_AND_CLASS_LEN).then_some(Self { octets })
    }

    /// The question as it stands on the wire.
    #[must_use]
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// QNAME in wire form, the root label included.
    #[must_use]
    pub fn qname(&self) -> &'a [u8] {
        self.octets
            .split_last_chunk::<TYPE_AND_CLASS_LEN>()
            .map_or(&[], |(name, _)| name)
    }

    /// QTYPE.
    #[must_use]
    pub fn qtype(&self) -> RecordType {
        let [t0, t1, ..] = self.type_and_class();
        RecordType(u16::from_be_bytes([t0, t1]))
    }

    /// QCLASS.
    #[must_use]
    pub fn qclass(&self) -> Class {
        let [.., c0, c1] = self.type_and_class();
        Class(u16::from_be_bytes([c0, c1]))
    }

    fn type_and_class(&self) -> [u8; TYPE_AND_CLASS_LEN] {
        self.octets.last_chunk().copied().unwrap_or_default()
    }

    /// Whether both ask the same: the name letter case aside (RFC 4343 section 3), type and class exactly.
    #[must_use]
    pub fn same_as(&self, other: QuestionRef<'_>) -> bool {
        self.qname().eq_ignore_ascii_case(other.qname())
            && self.type_and_class() == other.type_and_class()
    }

    /// A copy of its own.
    #[must_use]
    pub fn to_owned(&self) -> Question {
        Question {
            octets: SmallVec::from_slice(self.octets),
        }
    }
}

impl fmt::Display for QuestionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name_text::write_name(self.qname(), f)?;
        write!(f, " {} {}", self.qclass(), self.qtype())
    }
}

impl fmt::Debug for QuestionRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A question, borrowed or of its own.
pub trait AsQuestion {
    /// The borrowed form.
    fn as_question(&self) -> QuestionRef<'_>;
}

impl AsQuestion for QuestionRef<'_> {
    fn as_question(&self) -> QuestionRef<'_> {
        *self
    }
}

impl AsQuestion for Question {
    fn as_question(&self) -> QuestionRef<'_> {
        self.view()
    }
}

/// A question that outlives its message.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    octets: SmallVec<[u8; 64]>,
}

impl Question {
    /// The question for `name`, `qtype` and `qclass`.
    #[must_use]
    pub fn new(name: &Name, qtype: RecordType, qclass: Class) -> Self {
        let mut octets = SmallVec::from_slice(name.as_octets());
        octets.extend_from_slice(&qtype.0.to_be_bytes());
        octets.extend_from_slice(&qclass.0.to_be_bytes());
        Self { octets }
    }

    /// The borrowed form, which has the getters.
    #[must_use]
    pub fn view(&self) -> QuestionRef<'_> {
        QuestionRef {
            octets: &self.octets,
        }
    }

    /// The question as it stands on the wire.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// QNAME.
    #[must_use]
    pub fn qname(&self) -> Name {
        Name::from_octets(self.view().qname()).unwrap_or_else(|_| Name::root())
    }

    /// QTYPE.
    #[must_use]
    pub fn qtype(&self) -> RecordType {
        self.view().qtype()
    }

    /// QCLASS.
    #[must_use]
    pub fn qclass(&self) -> Class {
        self.view().qclass()
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.view(), f)
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_shows_its_parts_and_compares_by_dns_rules() {
        let name: Name = "www.Example".parse().unwrap();
        let upper = Question::new(&name, RecordType::AAAA, Class::IN);
        let lower = Question::new(&name.folded(), RecordType::AAAA, Class::IN);
        assert_eq!(upper.to_string(), "www.Example IN AAAA");
        assert!(upper.view().same_as(lower.view()));
        assert_ne!(upper, lower);
        let chaos = Question::new(&name, RecordType::AAAA, Class::CH);
        let other = Question::new(&name, RecordType::A, Class::IN);
        assert!(!upper.view().same_as(chaos.view()) && !upper.view().same_as(other.view()));
        assert_eq!(upper.qname(), name);
    }
}
