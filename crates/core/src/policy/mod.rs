//! Who may ask, what is answered here, and what is never forwarded.
//!
//! [`decide`] is total: every well-formed query is forwarded, answered from local data, or refused for one named reason.
//!
//! Ruled by RFC 5936 section 4.2 (transfers), RFC 8914 section 4.21 (RD clear), RFC 6895 section 3.1 (meta types), RFC 8945
//! section 5.5 (signed queries).
//!
//! Deliberately absent: opcodes and malformed messages, which never become a query (see
//! [`QueryFault`](crate::wire::QueryFault)).

mod acl;
mod local;

use crate::outcome::Refusal;
use crate::wire::{Class, Opcode, QueryView, RecordType};

pub use acl::Acl;
pub use local::{LocalData, LocalRecord, LocalRecords};

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Ask an upstream.
    Forward,
    /// Answer from the local records, which know the name.
    Local,
    /// Refuse.
    Refuse(Refusal),
}

/// Decides about a query of an allowed client.
#[must_use]
pub fn decide(query: &QueryView<'_>, local: &LocalRecords) -> Decision {
    let question = query.question();
    debug_assert_eq!(query.header().flags.opcode(), Opcode::QUERY);
    match question.qtype() {
        RecordType::AXFR | RecordType::IXFR => return Decision::Refuse(Refusal::Transfer),
        RecordType::OPT | RecordType::TSIG => return Decision::Refuse(Refusal::MetaType),
        _ => {}
    }
    if query.signed() {
        return Decision::Refuse(Refusal::Signed);
    }
    if question.qclass() == Class::IN && local.contains(question.qname()) {
        return Decision::Local;
    }
    if !query.header().flags.recursion_desired() {
        return Decision::Refuse(Refusal::RecursionNotDesired);
    }
    Decision::Forward
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, Header};

    fn query(flags: Flags, qtype: RecordType, name: &str) -> Vec<u8> {
        let header = Header {
            id: 1,
            flags,
            questions: 1,
            answers: 0,
            authorities: 0,
            additionals: 0,
        };
        let question = crate::wire::Question::new(&name.parse().unwrap(), qtype, Class::IN);
        [&header.octets()[..], question.octets()].concat()
    }

    fn decision(flags: Flags, qtype: RecordType, name: &str) -> Decision {
        let record = LocalRecord {
            name: "here.example".parse().unwrap(),
            ttl: 60,
            data: LocalData::A([127, 0, 0, 1].into()),
        };
        let local = LocalRecords::new([record]);
        decide(
            &QueryView::parse(&query(flags, qtype, name)).unwrap(),
            &local,
        )
    }

    #[test]
    fn each_query_has_one_decision() {
        let rd = Flags::NONE.with_recursion_desired(true);
        let refuse = Decision::Refuse;
        let cases = [
            (rd, RecordType::A, "www.example", Decision::Forward),
            (rd, RecordType(65280), "www.example", Decision::Forward),
            (rd, RecordType::ANY, "www.example", Decision::Forward),
            (rd, RecordType::A, "HERE.example", Decision::Local),
            (Flags::NONE, RecordType::MX, "here.example", Decision::Local),
            (
                Flags::NONE,
                RecordType::A,
                "www.example",
                refuse(Refusal::RecursionNotDesired),
            ),
            (
                rd,
                RecordType::AXFR,
                "here.example",
                refuse(Refusal::Transfer),
            ),
            (
                rd,
                RecordType::IXFR,
                "www.example",
                refuse(Refusal::Transfer),
            ),
            (
                rd,
                RecordType::OPT,
                "www.example",
                refuse(Refusal::MetaType),
            ),
            (
                rd,
                RecordType::TSIG,
                "www.example",
                refuse(Refusal::MetaType),
            ),
        ];
        for (flags, qtype, name, expected) in cases {
            assert_eq!(decision(flags, qtype, name), expected, "{qtype} {name}");
        }
    }
}
