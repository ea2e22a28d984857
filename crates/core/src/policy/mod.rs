//! Who may ask, what is answered here, which upstreams are asked, what is never forwarded, and which addresses are never believed.
//!
//! [`Policy::decide`] is total: every well-formed query is forwarded to one group of upstreams, answered from local data, or
//! refused for one named reason. The order of precedence is: what no name could change (type, signature), local records,
//! routes, special names, the default group.
//!
//! Ruled by RFC 5936 section 4.2 (transfers), RFC 6895 section 3.1 (meta types), RFC 8945
//! section 5.5 (signed queries), RFC 6761 (special names).
//!
//! Deliberately absent: opcodes and malformed messages, which never become a query (see
//! [`QueryFault`](crate::wire::QueryFault)).

mod acl;
mod local;
mod rebinding;
mod reverse;
mod route;
mod special;
mod suffix;

use crate::limits::SIGNED_QUERY_MAX;
use crate::outcome::Refusal;
use crate::upstream::GroupId;
use crate::wire::{Class, Name, QueryView, Question, QuestionRef, RecordType};

pub use acl::Acl;
pub use local::{LocalData, LocalRecord, LocalRecords};
pub use rebinding::{Judgement, RebindingGuard};
pub use reverse::reverse_zones;
pub use route::Route;
pub use special::{Special, special_rule};

use route::RouteTable;
use special::SpecialNames;

/// What a [`Policy`] works from.
#[derive(Clone, Debug, Default)]
pub struct PolicyConfig {
    /// Names answered here.
    pub local: LocalRecords,
    /// Names that go to a group of their own.
    pub routes: Vec<Route>,
    /// Special domains that are to be treated like any other.
    pub ordinary: Vec<Name>,
}

/// Decides about names.
#[derive(Clone, Debug)]
pub struct Policy {
    local: LocalRecords,
    routes: RouteTable,
    special: SpecialNames,
}

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Ask an upstream of this group.
    Forward {
        /// Which group.
        group: GroupId,
        /// The domain of the route that says so; `None` for the default group.
        route: Option<&'a Name>,
    },
    /// Answer from the local records, which know the name.
    Local,
    /// Answer from the table of special names.
    Special {
        /// The domain of the table that holds the name.
        domain: &'a Name,
        /// What is special about it.
        special: Special,
    },
    /// Refuse.
    Refuse(Refusal),
}

impl Policy {
    /// A policy with this configuration.
    #[must_use]
    pub fn new(config: PolicyConfig) -> Self {
        Self {
            local: config.local,
            routes: RouteTable::new(config.routes),
            special: SpecialNames::without(&config.ordinary),
        }
    }

    /// Decides about a query of an allowed client. RD does not count: whether an answer is kept is not known here.
    #[must_use]
    pub fn decide(&self, query: &QueryView<'_>) -> Decision<'_> {
        let dnssec_ok = query.edns().is_some_and(|edns| edns.dnssec_ok);
        let decision = self.decide_question(query.question(), dnssec_ok);
        if query.signature().is_none() {
            return decision;
        }
        match decision {
            Decision::Forward { .. } if query.message().len() > SIGNED_QUERY_MAX => {
                Decision::Refuse(Refusal::SignedLength)
            }
            Decision::Local | Decision::Special { .. } => Decision::Refuse(Refusal::Signed),
            Decision::Forward { .. } | Decision::Refuse(_) => decision,
        }
    }

    /// Decides about a question alone, as if it came unsigned.
    #[must_use]
    pub fn decide_question(&self, question: QuestionRef<'_>, dnssec_ok: bool) -> Decision<'_> {
        let default = Decision::Forward {
            group: GroupId::DEFAULT,
            route: None,
        };
        match question.qtype() {
            RecordType::AXFR | RecordType::IXFR => return Decision::Refuse(Refusal::Transfer),
            RecordType::OPT | RecordType::TSIG => return Decision::Refuse(Refusal::MetaType),
            _ => {}
        }
        // Whatever the class: who asks an upstream in another one has told it the name all the same.
        if self.local.contains(question.qname()) {
            return Decision::Local;
        }
        if let Some((domain, group)) = self.routes.find(question.qname()) {
            return Decision::Forward {
                group,
                route: Some(domain),
            };
        }
        match self.special.find(question.qname()) {
            Some((domain, special)) if !asks_outside(question, special, dnssec_ok) => {
                Decision::Special { domain, special }
            }
            Some(_) | None => default,
        }
    }

    /// The canonical response to `question` that a decision for local data leads to; `None` for the other decisions.
    #[must_use]
    pub fn respond(&self, question: &Question, decision: Decision<'_>) -> Option<Vec<u8>> {
        match decision {
            Decision::Local => Some(self.local.respond(question)),
            Decision::Special { domain, special } => {
                Some(special::respond(question, domain, special))
            }
            Decision::Forward { .. } | Decision::Refuse(_) => None,
        }
    }
}

/// The proof that `home.arpa` is not delegated securely is public, and validators need it (RFC 8375 section 4).
fn asks_outside(question: QuestionRef<'_>, special: Special, dnssec_ok: bool) -> bool {
    let delegation = question.qtype() == RecordType::DS && question.qclass() == Class::IN;
    special == Special::HomeNetwork && delegation && dnssec_ok
}

/// Whether a question is about records of class IN, which are all that are known here, be it by asking for those of any class (RFC 1035 section
/// 3.2.5).
fn covers_internet(question: &Question) -> bool {
    matches!(question.qclass(), Class::IN | Class::ANY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, Header, Rcode, ResponseView};

    const OFFICE: GroupId = GroupId(1);

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn policy() -> Policy {
        let record = LocalRecord {
            name: name("here.example"),
            ttl: 60,
            data: LocalData::A([127, 0, 0, 1].into()),
        };
        let routes = ["corp.example", "10.in-addr.arpa", "printers.local"];
        Policy::new(PolicyConfig {
            local: LocalRecords::new([record]),
            routes: routes
                .map(|text| Route {
                    domain: name(text),
                    group: OFFICE,
                })
                .into(),
            ordinary: vec![name("test")],
        })
    }

    fn query(flags: Flags, qtype: RecordType, text: &str) -> Vec<u8> {
        let header = Header {
            id: 1,
            flags,
            questions: 1,
            answers: 0,
            authorities: 0,
            additionals: 0,
        };
        [
            &header.octets()[..],
            Question::new(&name(text), qtype, Class::IN).octets(),
        ]
        .concat()
    }

    /// The decision in one word.
    fn word(flags: Flags, qtype: RecordType, text: &str) -> &'static str {
        let policy = policy();
        match policy.decide(&QueryView::parse(&query(flags, qtype, text)).unwrap()) {
            Decision::Forward {
                group: OFFICE,
                route: Some(_),
            } => "office",
            Decision::Forward { route: None, .. } => "default",
            Decision::Forward { .. } => "mixed up",
            Decision::Local => "local",
            Decision::Special { .. } => "special",
            Decision::Refuse(Refusal::Transfer) => "transfer",
            Decision::Refuse(Refusal::MetaType) => "meta type",
            Decision::Refuse(
                Refusal::RecursionNotDesired
                | Refusal::SignedLength
                | Refusal::Identity
                | Refusal::Signed
                | Refusal::NotAllowed
                | Refusal::BadCookie,
            ) => "other",
        }
    }

    #[test]
    fn each_query_has_one_decision() {
        let rd = Flags::NONE.with_recursion_desired(true);
        let (a, ptr) = (RecordType::A, RecordType::PTR);
        let cases = [
            (rd, a, "www.example", "default"),
            (rd, RecordType(65280), "www.example", "default"),
            (rd, RecordType::ANY, "www.example", "default"),
            (rd, a, "HERE.example", "local"),
            (Flags::NONE, RecordType::MX, "here.example", "local"),
            (Flags::NONE, a, "www.example", "default"),
            (rd, RecordType::AXFR, "here.example", "transfer"),
            (rd, RecordType::IXFR, "www.example", "transfer"),
            (rd, RecordType::OPT, "www.example", "meta type"),
            (rd, RecordType::TSIG, "www.example", "meta type"),
            (rd, a, "db.Corp.example", "office"),
            (rd, a, "notcorp.example", "default"),
            (rd, ptr, "1.2.3.10.in-addr.arpa", "office"),
            (rd, ptr, "1.2.168.192.in-addr.arpa", "special"),
            (rd, a, "x.printers.local", "office"),
            (rd, a, "x.local", "special"),
            (Flags::NONE, a, "localhost", "special"),
            (rd, a, "x.test", "default"),
        ];
        for (flags, qtype, name, expected) in cases {
            assert_eq!(word(flags, qtype, name), expected, "{qtype} {name}");
        }
    }

    #[test]
    fn the_delegation_of_home_arpa_is_public_and_its_names_are_not() {
        let policy = policy();
        let ds = Question::new(&name("home.arpa"), RecordType::DS, Class::IN);
        let forward = |dnssec_ok| {
            matches!(
                policy.decide_question(ds.view(), dnssec_ok),
                Decision::Forward { .. }
            )
        };
        assert!(forward(true) && !forward(false));
    }

    #[test]
    fn names_that_stay_here_do_so_in_every_class() {
        let policy = policy();
        for class in [Class::IN, Class::ANY, Class::CH, Class::NONE, Class(77)] {
            for (asked, ours) in [
                ("x.internal", true),
                ("here.example", true),
                ("www.example", false),
            ] {
                let question = Question::new(&name(asked), RecordType::A, class);
                let decision = policy.decide_question(question.view(), false);
                let response = policy.respond(&question, decision);
                assert_eq!(response.is_some(), ours, "{asked} {class}");
                let Some(response) = response else {
                    continue;
                };
                let view = ResponseView::parse(&response).unwrap();
                let records: Vec<_> = view.records().map(Result::unwrap).collect();
                let internet = class == Class::IN || class == Class::ANY;
                let expected = if internet { Class::IN } else { class };
                assert!(records.iter().all(|record| record.class == expected));
                let found = records
                    .iter()
                    .filter(|record| record.rtype == RecordType::A);
                assert_eq!(
                    found.count(),
                    usize::from(internet && asked == "here.example")
                );
                assert_eq!(view.rcode() == Rcode::NXDOMAIN, asked == "x.internal");
            }
        }
    }
}
