//! Messages of our own making: queries to upstreams, error replies, responses from local data.

use super::asker::Asker;
use super::edns::{EdeCode, ExtendedError, OptFields, OptionCode, begin_opt};
use super::error::WireError;
use super::header::{Flags, HEADER_LEN, Header};
use super::name::Name;
use super::numbers::{Class, Rcode, RecordType};
use super::options::{REPLY_PADDING_BLOCK, ReplyCookie, ReplyOptions};
use super::query::QueryFault;
use super::question::{AsQuestion, Question, QuestionRef};
use super::response::ResponseView;

/// How a query to an upstream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// CD: the client validates for itself (RFC 4035 section 3.2.2).
    pub checking_disabled: bool,
    /// DO (RFC 3225).
    pub dnssec_ok: bool,
    /// Ask how long an idle connection may live (RFC 7828 section 3.2.1); never over UDP.
    pub keepalive: bool,
    /// Pad the message to a multiple of this many octets (RFC 8467 section 4.1); `None` for a clear-text path, where padding
    /// must not be (RFC 7830 section 6).
    pub padding: Option<usize>,
}

/// Writes the query for `question` with ID 0, which the connection overwrites. RD and AD are set: we always want recursion,
/// and always want to know whether the upstream validated; who of the askers learns it is decided at the reply.
pub fn write_query(question: QuestionRef<'_>, options: QueryOptions, out: &mut Vec<u8>) {
    write_asking(question, options.checking_disabled, 1, out);
    let fields = OptFields {
        rcode: Rcode::NOERROR,
        dnssec_ok: options.dnssec_ok,
    };
    let mut opt = begin_opt(fields, out);
    if options.keepalive {
        opt.push(OptionCode::KEEPALIVE, &[]);
    }
    if let Some(block) = options.padding {
        opt.pad_to(block);
    }
}

/// Writes the same query for an upstream that knows nothing of EDNS.
pub fn write_query_without_edns(
    question: QuestionRef<'_>,
    checking_disabled: bool,
    out: &mut Vec<u8>,
) {
    write_asking(question, checking_disabled, 0, out);
}

fn write_asking(
    question: QuestionRef<'_>,
    checking_disabled: bool,
    additionals: u16,
    out: &mut Vec<u8>,
) {
    let flags = Flags::NONE
        .with_recursion_desired(true)
        .with_authentic_data(true)
        .with_checking_disabled(checking_disabled);
    let header = Header {
        id: 0,
        flags,
        questions: 1,
        answers: 0,
        authorities: 0,
        additionals,
    };
    out.clear();
    out.extend_from_slice(&header.octets());
    out.extend_from_slice(question.octets());
}

/// Writes a reply that has no records: an error of our own.
pub fn write_error<Q: AsQuestion>(
    asker: &Asker<Q>,
    rcode: Rcode,
    error: Option<ExtendedError<'_>>,
    out: &mut Vec<u8>,
) {
    let flags = reply_flags(asker.flags).with_checking_disabled(asker.flags.checking_disabled());
    let opt = asker.edns.map(|edns| OptFields {
        rcode,
        dnssec_ok: edns.dnssec_ok,
    });
    let question = asker.question.as_question();
    write_bare(asker.id, flags, rcode, Some(question), out);
    if let Some(fields) = opt {
        append_opt(fields, &asker.options, error, out);
    }
}

/// Writes the reply a fault asks for. `false`, and nothing written, when silence is the answer.
#[must_use]
pub fn write_fault(fault: &QueryFault<'_>, out: &mut Vec<u8>) -> bool {
    out.clear();
    match fault {
        QueryFault::Runt | QueryFault::Response => false,
        QueryFault::NotImplemented { header } => {
            let flags = reply_flags(header.flags)
                .with_recursion_available(false)
                .with_opcode(header.flags.opcode());
            write_bare(header.id, flags, Rcode::NOTIMP, None, out);
            true
        }
        QueryFault::Malformed {
            header,
            question,
            edns,
            error,
        } => {
            write_bare(
                header.id,
                reply_flags(header.flags),
                Rcode::FORMERR,
                *question,
                out,
            );
            if *edns {
                append_fault_opt(Rcode::FORMERR, Some(error.text()), out);
            }
            true
        }
        QueryFault::NoQuestion { header, edns } => {
            write_bare(
                header.id,
                reply_flags(header.flags),
                Rcode::FORMERR,
                None,
                out,
            );
            if edns.is_some() {
                let text = WireError::QuestionCount.text();
                append_fault_opt(Rcode::FORMERR, Some(text), out);
            }
            true
        }
        QueryFault::BadVersion { header, question } => {
            let flags = reply_flags(header.flags);
            write_bare(header.id, flags, Rcode::BADVERS, *question, out);
            append_fault_opt(Rcode::BADVERS, None, out);
            true
        }
    }
}

fn append_fault_opt(rcode: Rcode, text: Option<&str>, out: &mut Vec<u8>) {
    let fields = OptFields {
        rcode,
        dnssec_ok: false,
    };
    let error = text.map(|text| ExtendedError {
        code: EdeCode::OTHER,
        text,
    });
    append_opt(fields, &ReplyOptions::NONE, error, out);
}

/// Writes the reply to a query without a question that asks for a server cookie alone (RFC 7873 section 5.4).
pub fn write_cookie(query: &Header, rcode: Rcode, cookie: ReplyCookie, out: &mut Vec<u8>) {
    write_bare(query.id, reply_flags(query.flags), rcode, None, out);
    let fields = OptFields {
        rcode,
        dnssec_ok: false,
    };
    let options = ReplyOptions {
        cookie: Some(cookie),
        ..ReplyOptions::NONE
    };
    append_opt(fields, &options, None, out);
}

/// Writes an empty reply that says "ask over a stream": TC is set and there are no records.
pub fn write_truncated<Q: AsQuestion>(asker: &Asker<Q>, out: &mut Vec<u8>) {
    write_error(asker, Rcode::NOERROR, None, out);
    if let Some(mut header) = Header::parse(out) {
        header.flags = header.flags.with_truncated(true);
        overwrite_header(&header, out);
    }
}

/// Writes what is left of a reply of ours when it may not be longer than its query, as [`write_truncated`] would have: of its options the
/// cookie stays, which is what proves the next query. `false` when it is no reply.
#[must_use]
pub fn truncate_reply(reply: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(view) = ResponseView::parse(reply) else {
        return false;
    };
    let header = view.header();
    let flags = reply_flags(header.flags)
        .with_checking_disabled(header.flags.checking_disabled())
        .with_truncated(true);
    write_bare(header.id, flags, Rcode::NOERROR, view.question(), out);
    if let Some(edns) = view.edns() {
        let fields = OptFields {
            rcode: Rcode::NOERROR,
            dnssec_ok: edns.dnssec_ok,
        };
        let cookie = edns.option(OptionCode::COOKIE);
        let options = ReplyOptions {
            cookie: cookie
                .and_then(|octets| octets.try_into().ok())
                .map(|octets| ReplyCookie {
                    octets,
                    proven: false,
                }),
            ..ReplyOptions::NONE
        };
        append_opt(fields, &options, None, out);
    }
    true
}

/// The flags every reply starts from: QR and RA set, RD as asked (RFC 1035 section 4.1.1), everything else clear, the reserved
/// bit included (RFC 8906 section 3.1.3).
pub(super) fn reply_flags(query: Flags) -> Flags {
    Flags::NONE
        .with_response(true)
        .with_recursion_available(true)
        .with_recursion_desired(query.recursion_desired())
}

fn write_bare(
    id: u16,
    flags: Flags,
    rcode: Rcode,
    question: Option<QuestionRef<'_>>,
    out: &mut Vec<u8>,
) {
    let header = Header {
        id,
        flags: flags.with_rcode_low(rcode),
        questions: u16::from(question.is_some()),
        answers: 0,
        authorities: 0,
        additionals: 0,
    };
    out.clear();
    out.extend_from_slice(&header.octets());
    out.extend_from_slice(question.map_or(&[], |question| question.octets()));
}

/// Appends an OPT record and counts it.
pub(super) fn append_opt(
    fields: OptFields,
    options: &ReplyOptions,
    error: Option<ExtendedError<'_>>,
    out: &mut Vec<u8>,
) {
    let mut opt = begin_opt(fields, out);
    options.write(&mut opt);
    if let Some(error) = error {
        opt.push_extended_error(error);
    }
    if options.padded {
        opt.pad_to(REPLY_PADDING_BLOCK);
    }
    if let Some(mut header) = Header::parse(out) {
        header.additionals = header.additionals.saturating_add(1);
        overwrite_header(&header, out);
    }
}

/// Puts `header` over the first octets of `out`.
pub(super) fn overwrite_header(header: &Header, out: &mut [u8]) {
    if let Some(head) = out.first_chunk_mut::<HEADER_LEN>() {
        *head = header.octets();
    }
}

/// Puts a response from local data together: a canonical message, to be rendered for an asker like an upstream's.
pub struct ResponseComposer {
    message: Vec<u8>,
    header: Header,
    /// The class of all records: the question's, or IN when any will do.
    class: Class,
}

/// Room for a message of ours; hardly any is longer than a name, its question and a SOA record.
const COMPOSED_OCTETS: usize = 512;

impl ResponseComposer {
    /// An empty NOERROR response to `question`.
    #[must_use]
    pub fn new(question: &Question) -> Self {
        let flags = Flags::NONE
            .with_response(true)
            .with_recursion_available(true);
        let header = Header {
            id: 0,
            flags,
            questions: 1,
            answers: 0,
            authorities: 0,
            additionals: 0,
        };
        let mut message = Vec::with_capacity(COMPOSED_OCTETS);
        message.extend_from_slice(&header.octets());
        message.extend_from_slice(question.octets());
        let class = match question.qclass() {
            Class::ANY => Class::IN,
            class => class,
        };
        Self {
            message,
            header,
            class,
        }
    }

    /// The RCODE to report; only its low four bits can be.
    pub fn rcode(&mut self, rcode: Rcode) {
        self.header.flags = self.header.flags.with_rcode_low(rcode);
    }

    /// Appends a record to the answer section. Nothing is appended, and `false` comes back, when the data is longer than a
    /// record can hold.
    pub fn answer(&mut self, owner: &Name, rtype: RecordType, ttl: u32, rdata: &[u8]) -> bool {
        let appended = self.record(owner, rtype, ttl, rdata);
        self.header.answers = self.header.answers.saturating_add(u16::from(appended));
        appended
    }

    /// Appends a record to the authority section, after all answers.
    pub fn authority(&mut self, owner: &Name, rtype: RecordType, ttl: u32, rdata: &[u8]) {
        if self.record(owner, rtype, ttl, rdata) {
            self.header.authorities = self.header.authorities.saturating_add(1);
        }
    }

    fn record(&mut self, owner: &Name, rtype: RecordType, ttl: u32, rdata: &[u8]) -> bool {
        let Ok(length) = u16::try_from(rdata.len()) else {
            return false;
        };
        self.message.extend_from_slice(owner.as_octets());
        self.message.extend_from_slice(&rtype.0.to_be_bytes());
        self.message.extend_from_slice(&self.class.0.to_be_bytes());
        self.message.extend_from_slice(&ttl.to_be_bytes());
        self.message.extend_from_slice(&length.to_be_bytes());
        self.message.extend_from_slice(rdata);
        true
    }

    /// The whole message.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        overwrite_header(&self.header, &mut self.message);
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{QueryView, ResponseView, Transport};

    fn question(text: &str) -> Question {
        Question::new(&text.parse().unwrap(), RecordType::A, Class::IN)
    }

    #[test]
    fn a_query_is_a_padded_question_with_edns() {
        let mut out = Vec::new();
        for length in 1..=60 {
            let question = question(&"n".repeat(length));
            let options = QueryOptions {
                checking_disabled: true,
                dnssec_ok: true,
                keepalive: false,
                padding: Some(128),
            };
            write_query(question.view(), options, &mut out);
            assert_eq!(out.len() % 128, 0);
            let view = QueryView::parse(&out).unwrap();
            assert_eq!(view.header().flags.bits(), 0x0130);
            assert!(view.edns().unwrap().dnssec_ok);
            assert_eq!(
                view.edns().unwrap().options().last().unwrap().0,
                OptionCode::PADDING
            );
            assert_eq!(view.question(), question.view());
        }
    }

    #[test]
    fn faults_get_the_reply_the_standards_ask_for() {
        let mut out = Vec::new();
        let cases: [(&[u8], &[u8]); 4] = [
            (
                b"\x12\x34\x78\x00\0\0\0\0\0\0\0\0",
                b"\x12\x34\xf8\x04\0\0\0\0\0\0\0\0",
            ),
            (
                b"\x12\x34\x29\x40\0\x01\0\0\0\0\0\0",
                b"\x12\x34\xa9\x04\0\0\0\0\0\0\0\0",
            ),
            (
                b"\x12\x34\x01\x40\0\x02\0\0\0\0\0\0",
                b"\x12\x34\x81\x81\0\0\0\0\0\0\0\0",
            ),
            (
                b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01",
                b"\x12\x34\x81\x81\0\0\0\0\0\0\0\0",
            ),
        ];
        for (query, reply) in cases {
            assert!(write_fault(&QueryView::parse(query).unwrap_err(), &mut out));
            assert_eq!(out, reply, "{query:02x?}");
        }
        assert!(!write_fault(&QueryFault::Response, &mut out));
        assert!(!write_fault(&QueryFault::Runt, &mut out));
    }

    #[test]
    fn bad_version_says_so_in_twelve_bits() {
        let query =
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x01a\0\0\x01\0\x01\0\0\x29\x04\xd0\0\x01\0\0\0\0";
        let mut out = Vec::new();
        assert!(write_fault(&QueryView::parse(query).unwrap_err(), &mut out));
        let view = ResponseView::parse(&out).unwrap();
        assert_eq!(view.rcode(), Rcode::BADVERS);
        assert_eq!(view.edns().unwrap().version, 0);
    }

    #[test]
    fn an_error_reply_carries_opt_only_when_asked_with_it() {
        let mut out = Vec::new();
        let mut query = Vec::new();
        let options = QueryOptions {
            checking_disabled: true,
            dnssec_ok: true,
            keepalive: false,
            padding: None,
        };
        write_query(question("a.example").view(), options, &mut query);
        let mut asker = Asker::new(&QueryView::parse(&query).unwrap(), Transport::Udp, 1232);
        let error = ExtendedError {
            code: EdeCode::NETWORK_ERROR,
            text: "refused",
        };
        write_error(&asker, Rcode::SERVFAIL, Some(error), &mut out);
        let view = ResponseView::parse(&out).unwrap();
        assert_eq!(view.header().flags.bits(), 0x8192);
        assert!(view.edns().unwrap().dnssec_ok);
        assert_eq!(view.extended_errors().next(), Some(error));
        asker.edns = None;
        write_error(&asker, Rcode::SERVFAIL, Some(error), &mut out);
        assert!(ResponseView::parse(&out).unwrap().edns().is_none());
    }
}
