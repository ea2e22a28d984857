//! A client's message, proven to be one well-formed question.
//!
//! [`QueryView::parse`] is the only way in. Its faults are sorted by what the client gets: silence for what is no query
//! (answering a response makes a loop, RFC 1035 section 4.1.1, CVE-2024-2169), an RCODE for everything else, because silence
//! costs a client seconds (RFC 8906).
//!
//! Ruled by RFC 9619 section 4 (one question), RFC 6891 sections 6.1 and 7 (OPT), RFC 8945 section 5.1 and RFC 2931 section 3.1 (a
//! signature comes last).
//! Octets after the last record are ignored; they are never relayed.

use super::edns::Edns;
use super::error::WireError;
use super::header::{HEADER_LEN, Header};
use super::numbers::{Opcode, RecordType};
use super::question::QuestionRef;
use super::records::{Record, Records, Section};
use crate::limits::QUERY_RECORDS_MAX;

/// One well-formed question and what came with it.
#[derive(Clone, Copy, Debug)]
pub struct QueryView<'a> {
    message: &'a [u8],
    header: Header,
    question: QuestionRef<'a>,
    edns: Option<Edns<'a>>,
    signature: Option<Signature>,
}

/// How a message is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// TSIG (RFC 8945): with a shared secret, over everything but the message ID, which it holds itself.
    Tsig,
    /// SIG(0) (RFC 2931): with a private key, over everything, the message ID too.
    Sig0,
}

/// Why a message from a client is not a question, and what is known of it for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryFault<'a> {
    /// Fewer octets than a header: nothing to reply to.
    Runt,
    /// QR is set: a response. Never answered.
    Response,
    /// An opcode other than QUERY: NOTIMP, header only (RFC 8906 section 3.1.4).
    NotImplemented {
        /// The header as read.
        header: Header,
    },
    /// FORMERR.
    Malformed {
        /// The header as read.
        header: Header,
        /// The question, when it was readable.
        question: Option<QuestionRef<'a>>,
        /// Whether an OPT record was seen, so that the reply carries one (RFC 6891 section 7).
        edns: bool,
        /// What is wrong.
        error: WireError,
    },
    /// An EDNS version above 0: BADVERS (RFC 6891 section 6.1.3).
    BadVersion {
        /// The header as read.
        header: Header,
        /// The question, when there is one.
        question: Option<QuestionRef<'a>>,
    },
    /// A well-formed message that asks nothing: FORMERR, unless it is about cookies alone (RFC 7873 section 5.4).
    NoQuestion {
        /// The header as read.
        header: Header,
        /// Its OPT record.
        edns: Option<Edns<'a>>,
    },
}

impl<'a> QueryView<'a> {
    /// Reads a client's message.
    ///
    /// # Errors
    ///
    /// The [`QueryFault`] that says what to reply.
    pub fn parse(message: &'a [u8]) -> Result<Self, QueryFault<'a>> {
        let header = Header::parse(message).ok_or(QueryFault::Runt)?;
        if header.flags.response() {
            return Err(QueryFault::Response);
        }
        if header.flags.opcode() != Opcode::QUERY {
            return Err(QueryFault::NotImplemented { header });
        }
        let malformed = |error| QueryFault::Malformed {
            header,
            question: None,
            edns: false,
            error,
        };
        let question = match header.questions {
            0 => None,
            1 => Some(QuestionRef::parse(message).map_err(malformed)?),
            _ => return Err(malformed(WireError::QuestionCount)),
        };
        let mut found = Found::default();
        let length =
            found
                .walk(message, &header, question)
                .map_err(|error| QueryFault::Malformed {
                    header,
                    question,
                    edns: found.edns.is_some(),
                    error,
                })?;
        if found.edns.is_some_and(|edns| edns.version > 0) {
            return Err(QueryFault::BadVersion { header, question });
        }
        let edns = found.edns;
        let Some(question) = question else {
            return Err(QueryFault::NoQuestion { header, edns });
        };
        Ok(Self {
            message: message.get(..length).unwrap_or(message),
            header,
            question,
            edns,
            signature: found.signature,
        })
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

    /// The question.
    #[must_use]
    pub fn question(&self) -> QuestionRef<'a> {
        self.question
    }

    /// The OPT record, when there is one; its options are proven.
    #[must_use]
    pub fn edns(&self) -> Option<&Edns<'a>> {
        self.edns.as_ref()
    }

    /// The transaction signature the message carries.
    #[must_use]
    pub fn signature(&self) -> Option<Signature> {
        self.signature
    }
}

impl Signature {
    /// The signature a record is.
    pub(super) fn of(record: &Record<'_>) -> Result<Option<Self>, WireError> {
        let signature = match record.rtype {
            RecordType::TSIG => Self::Tsig,
            // A SIG record that covers no type (RFC 2931 section 3).
            RecordType::SIG if record.rdata.starts_with(&[0, 0]) => Self::Sig0,
            _ => return Ok(None),
        };
        if record.section == Section::Additional {
            Ok(Some(signature))
        } else {
            Err(WireError::SignaturePlace)
        }
    }
}

/// What the records of a query hold that matters.
#[derive(Default)]
struct Found<'a> {
    edns: Option<Edns<'a>>,
    signature: Option<Signature>,
}

impl<'a> Found<'a> {
    /// Looks at every record; where the last one ends.
    fn walk(
        &mut self,
        message: &'a [u8],
        header: &Header,
        question: Option<QuestionRef<'a>>,
    ) -> Result<usize, WireError> {
        let counts = [header.answers, header.authorities, header.additionals];
        let start = HEADER_LEN.saturating_add(question.map_or(0, |it| it.octets().len()));
        // Most queries have no record, or an OPT record alone.
        match counts {
            [0, 0, 0] => return Ok(start),
            [0, 0, 1] => {
                if let Some((edns, end)) = Edns::read_alone(message, start) {
                    self.take_opt(edns)?;
                    return Ok(end);
                }
            }
            _ => {}
        }
        let mut end = start;
        for (place, record) in Records::new(message, start, counts).enumerate() {
            if place >= QUERY_RECORDS_MAX {
                return Err(WireError::RecordCount);
            }
            let record = record?;
            end = record.end;
            if self.signature.is_some() {
                return Err(WireError::SignaturePlace);
            }
            match record.rtype {
                RecordType::OPT if self.edns.is_some() => return Err(WireError::OptRepeated),
                RecordType::OPT => self.take_opt(Edns::from_record(message, &record)?)?,
                _ => self.signature = Signature::of(&record)?,
            }
        }
        Ok(end)
    }

    fn take_opt(&mut self, edns: Edns<'a>) -> Result<(), WireError> {
        let edns = self.edns.insert(edns);
        // Another version may lay its options out otherwise; it gets BADVERS, not FORMERR.
        if edns.version == 0 {
            edns.check_options()
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x03www\x07example\x00\x00\x01\x00\x01";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

    fn message(flags: u16, counts: [u16; 4], body: &[&[u8]]) -> Vec<u8> {
        let [questions, answers, authorities, additionals] = counts;
        let flags = crate::wire::Flags::from_bits(flags);
        let header = Header {
            id: 0x1234,
            flags,
            questions,
            answers,
            authorities,
            additionals,
        };
        [&header.octets()[..], &body.concat()].concat()
    }

    fn error(fault: QueryFault<'_>) -> WireError {
        let QueryFault::Malformed { error, .. } = fault else {
            panic!("not malformed: {fault:?}")
        };
        error
    }

    #[test]
    fn a_question_with_edns_is_read() {
        let message = message(0x0100, [1, 0, 0, 1], &[QUESTION, OPT, b"trailing"]);
        let view = QueryView::parse(&message).unwrap();
        assert_eq!(view.question().to_string(), "www.example IN A");
        assert!(view.edns().unwrap().dnssec_ok && view.signature().is_none());
        assert_eq!(view.message(), &message[..message.len() - 8]);
        assert_eq!(view.edns().unwrap().udp_size, 1232);
    }

    #[test]
    fn responses_and_runts_are_told_apart_from_queries() {
        let message = message(0x8180, [1, 0, 0, 0], &[QUESTION]);
        assert_eq!(
            QueryView::parse(&message).unwrap_err(),
            QueryFault::Response
        );
        for cut in 0..12 {
            assert_eq!(
                QueryView::parse(&message[..cut]).unwrap_err(),
                QueryFault::Runt
            );
        }
    }

    #[test]
    fn other_opcodes_are_not_implemented_even_as_a_bare_header() {
        for opcode in (1..16).filter(|opcode| *opcode != 0) {
            let message = message(opcode << 11, [0, 0, 0, 0], &[]);
            assert!(matches!(
                QueryView::parse(&message),
                Err(QueryFault::NotImplemented { header }) if header.id == 0x1234
            ));
        }
    }

    #[test]
    fn any_other_number_of_questions_is_malformed() {
        for (count, body) in [(2, vec![QUESTION, QUESTION]), (65535, vec![QUESTION])] {
            let message = message(0x0100, [count, 0, 0, 0], &body);
            assert_eq!(
                error(QueryView::parse(&message).unwrap_err()),
                WireError::QuestionCount
            );
        }
        let none = message(0x0100, [0, 0, 0, 1], &[OPT]);
        assert!(matches!(
            QueryView::parse(&none).unwrap_err(),
            QueryFault::NoQuestion { edns: Some(edns), .. } if edns.dnssec_ok
        ));
        assert_eq!(
            error(QueryView::parse(&none[..20]).unwrap_err()),
            WireError::Overrun
        );
    }

    #[test]
    fn every_cut_of_a_query_is_malformed_and_never_a_panic() {
        let whole = message(0x0100, [1, 0, 0, 1], &[QUESTION, OPT]);
        for cut in 12..whole.len() {
            assert_eq!(
                error(QueryView::parse(&whole[..cut]).unwrap_err()),
                WireError::Overrun,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn opt_records_out_of_place_are_malformed() {
        let two = message(0, [1, 0, 0, 2], &[QUESTION, OPT, OPT]);
        assert_eq!(
            error(QueryView::parse(&two).unwrap_err()),
            WireError::OptRepeated
        );
        let answer = message(0, [1, 1, 0, 0], &[QUESTION, OPT]);
        assert_eq!(
            error(QueryView::parse(&answer).unwrap_err()),
            WireError::OptPlace
        );
        let owned = message(0, [1, 0, 0, 1], &[QUESTION, b"\x01a", OPT]);
        assert_eq!(
            error(QueryView::parse(&owned).unwrap_err()),
            WireError::OptPlace
        );
    }

    #[test]
    fn a_bad_option_is_malformed_and_the_reply_knows_of_edns() {
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x06\x00\x64\x00\x32\x00\x00";
        let message = message(0, [1, 0, 0, 1], &[QUESTION, opt]);
        assert!(matches!(
            QueryView::parse(&message),
            Err(QueryFault::Malformed {
                edns: true,
                error: WireError::OptionLength,
                question: Some(_),
                ..
            })
        ));
    }

    #[test]
    fn a_later_version_is_bad_version_whatever_its_options() {
        let opt = b"\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x01\xff";
        let message = message(0, [1, 0, 0, 1], &[QUESTION, opt]);
        assert!(matches!(
            QueryView::parse(&message),
            Err(QueryFault::BadVersion { .. })
        ));
    }

    #[test]
    fn signatures_come_last_or_not_at_all() {
        let tsig = b"\x01k\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00";
        let last = message(0, [1, 0, 0, 2], &[QUESTION, OPT, tsig]);
        assert!(QueryView::parse(&last).unwrap().signature().is_some());
        let first = message(0, [1, 0, 0, 2], &[QUESTION, tsig, OPT]);
        assert_eq!(
            error(QueryView::parse(&first).unwrap_err()),
            WireError::SignaturePlace
        );
        let twice = message(0, [1, 0, 0, 2], &[QUESTION, tsig, tsig]);
        assert_eq!(
            error(QueryView::parse(&twice).unwrap_err()),
            WireError::SignaturePlace
        );
        let sig0 = b"\x00\x00\x18\x00\xff\x00\x00\x00\x00\x00\x03\x00\x00\x01";
        assert!(
            QueryView::parse(&message(0, [1, 0, 0, 1], &[QUESTION, sig0]))
                .unwrap()
                .signature()
                .is_some()
        );
    }
}
