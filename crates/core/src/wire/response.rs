//! An upstream's message, proven well-formed from the header to the last record.
//!
//! A response is relayed as received, so this view keeps no tree: only where the sections end and what the OPT record says.
//! The upstream is as little trusted as a client (RFC 9267): every name, length and count is checked before anything is
//! believed.
//!
//! Deliberately absent: whether the response answers a question somebody asked. [`ResponseView::answers`] compares; the
//! connection that sent the question decides (RFC 7858 section 3.3).

use super::edns::{Edns, ExtendedError};
use super::error::WireError;
use super::header::{HEADER_LEN, Header};
use super::numbers::{Rcode, RecordType};
use super::query::Signature;
use super::question::QuestionRef;
use super::records::{Records, Section};

/// A well-formed response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    message: &'a [u8],
    header: Header,
    question: Option<QuestionRef<'a>>,
    edns: Option<Edns<'a>>,
    /// Where the authority section ends, or the answers when it is empty.
    authorities_end: usize,
    /// What of the additional section can be relayed: the records before the OPT record.
    additionals_end: usize,
    additionals: u16,
}

impl<'a> ResponseView<'a> {
    /// Reads an upstream's message.
    ///
    /// # Errors
    ///
    /// The [`WireError`] that makes the message worthless.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        let header = Header::parse(message).ok_or(WireError::Header)?;
        let question = match header.questions {
            0 => None,
            1 => Some(QuestionRef::parse(message)?),
            _ => return Err(WireError::QuestionCount),
        };
        let start =
            HEADER_LEN.saturating_add(question.map_or(0, |question| question.octets().len()));
        let mut view = Self {
            message,
            header,
            question,
            edns: None,
            authorities_end: start,
            additionals_end: start,
            additionals: 0,
        };
        view.walk(start)?;
        Ok(view)
    }

    fn walk(&mut self, start: usize) -> Result<(), WireError> {
        let header = &self.header;
        let counts = [header.answers, header.authorities, header.additionals];
        let mut records = Records::new(self.message, start, counts);
        for record in records.by_ref() {
            let record = record?;
            if record.rtype == RecordType::OPT {
                if self.edns.is_some() {
                    return Err(WireError::OptRepeated);
                }
                let mut edns = Edns::from_record(self.message, &record)?;
                edns.check_options()?;
                self.edns = Some(edns);
                continue;
            }
            match record.section {
                Section::Answer | Section::Authority => self.authorities_end = record.end,
                // Records behind the OPT record may point at names beyond it, and it is going to be cut out. Additional
                // records are optional (RFC 2181 section 9), so those few are not relayed rather than rewritten.
                Section::Additional if self.edns.is_some() => {}
                Section::Additional => {
                    self.additionals_end = record.end;
                    self.additionals = self.additionals.saturating_add(1);
                }
            }
        }
        self.additionals_end = self.additionals_end.max(self.authorities_end);
        self.message = self.message.get(..records.at()).ok_or(WireError::Overrun)?;
        Ok(())
    }

    /// The message without octets behind its last record.
    #[must_use]
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The question, when there is one.
    #[must_use]
    pub fn question(&self) -> Option<QuestionRef<'a>> {
        self.question
    }

    /// The whole RCODE, the high bits of the OPT record included (RFC 6891 section 6.1.3).
    #[must_use]
    pub fn rcode(&self) -> Rcode {
        let high = self.edns.map_or(0, |edns| u16::from(edns.rcode_high));
        Rcode((high << 4) | self.header.flags.rcode_low().0)
    }

    /// The OPT record.
    #[must_use]
    pub fn edns(&self) -> Option<&Edns<'a>> {
        self.edns.as_ref()
    }

    /// The extended errors of the OPT record.
    pub fn extended_errors(&self) -> impl Iterator<Item = ExtendedError<'a>> {
        self.edns
            .into_iter()
            .flat_map(|edns| edns.extended_errors())
    }

    /// All records in order, the OPT record included.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        let header = &self.header;
        let counts = [header.answers, header.authorities, header.additionals];
        Records::new(self.message, self.records_at(), counts)
    }

    /// Whether this responds to `question`: a response, opcode QUERY, and the same name (letter case aside), type and
    /// class (RFC 7858 section 3.3, RFC 5452 section 9.1).
    #[must_use]
    pub fn answers(&self, question: QuestionRef<'_>) -> bool {
        let flags = self.header.flags;
        flags.response()
            && flags.opcode() == super::numbers::Opcode::QUERY
            && self.question.is_some_and(|own| own.same_as(question))
    }

    /// Whether this is an error and nothing else, not even a question: some servers answer so to what they do not like. Over a stream
    /// that authenticates its other end, the ID alone says what it is for.
    #[must_use]
    pub fn is_bare_error(&self) -> bool {
        let error = matches!(
            self.rcode(),
            Rcode::SERVFAIL | Rcode::REFUSED | Rcode::FORMERR | Rcode::NOTIMP
        );
        // What would be relayed may point at names, whose places are others once the asker's question is in front of them.
        let records = self.header.answers | self.header.authorities | self.additionals;
        self.header.flags.response() && self.question.is_none() && records == 0 && error
    }

    /// Whether it ends in a transaction signature: TSIG (RFC 8945) or SIG(0) (RFC 2931).
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let last = self.records().filter_map(Result::ok).last();
        last.is_some_and(|record| matches!(Signature::of(&record), Ok(Some(_))))
    }

    /// The same without additional records to be relayed.
    pub(crate) fn without_additionals(self) -> Self {
        Self {
            additionals_end: self.authorities_end,
            additionals: 0,
            ..self
        }
    }

    /// Whether there is no additional record to be relayed.
    pub(crate) fn is_alone(&self) -> bool {
        self.additionals == 0
    }

    /// Offset of the first record.
    pub(super) fn records_at(&self) -> usize {
        HEADER_LEN.saturating_add(self.question.map_or(0, |question| question.octets().len()))
    }

    /// Where the authority section ends.
    pub(super) fn authorities_end(&self) -> usize {
        self.authorities_end
    }

    /// Where the relayable additional records end, and how many they are.
    pub(super) fn additionals(&self) -> (usize, u16) {
        (self.additionals_end, self.additionals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Class, Question};

    const HEAD: &[u8] = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x02";
    const QUESTION: &[u8] = b"\x01A\x07example\x00\x00\x01\x00\x01";
    const ANSWER: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01";
    const GLUE: &[u8] = b"\x01g\xc0\x0e\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x02";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x06\x00\x0f\x00\x02\x00\x16";

    #[test]
    fn sections_rcode_and_errors_are_found() {
        let message = [HEAD, QUESTION, ANSWER, GLUE, OPT, b"tail"].concat();
        let view = ResponseView::parse(&message).unwrap();
        assert_eq!(view.message().len(), message.len() - 4);
        assert_eq!(view.rcode(), Rcode(16));
        assert_eq!(view.extended_errors().next().unwrap().code.0, 22);
        assert_eq!(
            view.authorities_end(),
            HEAD.len() + QUESTION.len() + ANSWER.len()
        );
        assert_eq!(view.additionals(), (message.len() - 4 - OPT.len(), 1));
        assert_eq!(view.records().count(), 3);
    }

    #[test]
    fn records_behind_the_opt_record_are_not_relayed() {
        let message = [HEAD, QUESTION, ANSWER, OPT, GLUE].concat();
        let view = ResponseView::parse(&message).unwrap();
        assert_eq!(
            view.additionals(),
            (HEAD.len() + QUESTION.len() + ANSWER.len(), 0)
        );
    }

    #[test]
    fn only_the_same_question_is_answered() {
        let message = [HEAD, QUESTION, ANSWER, GLUE, OPT].concat();
        let view = ResponseView::parse(&message).unwrap();
        let name = "a.EXAMPLE".parse().unwrap();
        assert!(view.answers(Question::new(&name, RecordType::A, Class::IN).view()));
        assert!(!view.answers(Question::new(&name, RecordType::AAAA, Class::IN).view()));
        assert!(!view.answers(Question::new(&name, RecordType::A, Class::CH).view()));
        let other = "b.example".parse().unwrap();
        assert!(!view.answers(Question::new(&other, RecordType::A, Class::IN).view()));
        let mut query = message.clone();
        query[2] &= 0x7f;
        let view = ResponseView::parse(&query).unwrap();
        assert!(!view.answers(Question::new(&name, RecordType::A, Class::IN).view()));
    }

    #[test]
    fn a_bare_error_has_nothing_to_relay() {
        let head = |rcode: u8, additionals: u8| {
            [
                0x12,
                0x34,
                0x81,
                0x80 | rcode,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                additionals,
            ]
        };
        let own = b"\x01g\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x02";
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        let bare = |message: Vec<u8>| ResponseView::parse(&message).unwrap().is_bare_error();
        assert!(bare(head(2, 0).to_vec()) && bare([&head(5, 1)[..], opt].concat()));
        assert!(
            bare([&head(5, 2)[..], opt, own].concat()),
            "that one is not relayed"
        );
        assert!(!bare(head(0, 0).to_vec()) && !bare(head(3, 0).to_vec()));
        assert!(!bare([&head(2, 1)[..], own].concat()));
        assert!(!bare([&head(2, 2)[..], own, opt].concat()));
    }

    #[test]
    fn every_cut_is_an_error_and_never_a_panic() {
        let message = [HEAD, QUESTION, ANSWER, GLUE, OPT].concat();
        for cut in 0..message.len() {
            assert!(
                ResponseView::parse(&message[..cut]).is_err(),
                "cut at {cut}"
            );
        }
    }
}
