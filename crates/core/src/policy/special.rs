//! Names that are answered here because asking outside would leak them or could not help.
//!
//! | names | answer | ruled by |
//! |---|---|---|
//! | `localhost` and below | loopback addresses, otherwise NODATA | RFC 6761 section 6.3 |
//! | `invalid`, `onion`, `local`, `alt`, `internal` and below | NXDOMAIN | RFC 6761 section 6.4, RFC 7686 section 2, RFC 6762 section 22.1, RFC 9476 |
//! | `test` and below | NXDOMAIN | RFC 6761 section 6.2 |
//! | `home.arpa` and below | NXDOMAIN, but DS with DO is asked outside | RFC 8375 section 4 |
//! | `resolver.arpa` and below | NODATA | RFC 9462 section 6.4 |
//! | reverse names of private, loopback, link-local and documentation networks | NXDOMAIN; PTR of a loopback address is `localhost` | RFC 6303 section 4, RFC 7793 |
//!
//! Each can be given to an upstream by a route of its own; a route beats this table. `example`, `ipv4only.arpa` and the rest are
//! ordinary names (RFC 6761 section 6.5, RFC 8880 section 7.1).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::covers_internet;
use super::reverse::reverse_zones;
use super::suffix::SuffixMap;
use crate::wire::{Name, Question, Rcode, RecordType, ResponseComposer};

/// TTL and MINIMUM of the SOA record of every zone here, in seconds (RFC 6303 section 3).
const SOA_TTL: u32 = 10_800;

/// TTL of loopback addresses and names, in seconds: they never change.
const LOOPBACK_TTL: u32 = 86_400;

/// What is special about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A name of this host itself.
    Localhost,
    /// The reverse name of a loopback address.
    LoopbackReverse,
    /// It does not exist anywhere we could ask.
    Nonexistent,
    /// It exists and has nothing.
    Empty,
    /// Names of the home network, whose delegation alone is public.
    HomeNetwork,
}

/// Domain, what is special about it, and who says so.
const DOMAINS: [(&str, Special, &str); 9] = [
    ("localhost", Special::Localhost, "RFC 6761 section 6.3"),
    ("invalid", Special::Nonexistent, "RFC 6761 section 6.4"),
    ("onion", Special::Nonexistent, "RFC 7686 section 2"),
    ("local", Special::Nonexistent, "RFC 6762 section 22.1"),
    ("alt", Special::Nonexistent, "RFC 9476 section 2"),
    (
        "internal",
        Special::Nonexistent,
        "ICANN Board resolution 2024.07.29.06",
    ),
    ("test", Special::Nonexistent, "RFC 6761 section 6.2"),
    ("home.arpa", Special::HomeNetwork, "RFC 8375 section 4"),
    ("resolver.arpa", Special::Empty, "RFC 9462 section 6.4"),
];

/// RFC 6303 section 4 and RFC 7793; `0.0.0.0/8` and the others that are nobody's.
const NETWORKS: [&str; 19] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "255.255.255.255/32",
    "::/128",
    "fd00::/8",
    "fe80::/12",
    "fe90::/12",
    "fea0::/12",
    "feb0::/12",
    "2001:db8::/32",
    "127.0.0.0/8",
    "::1/128",
];

/// The table, by domain.
#[derive(Clone, Debug)]
pub(crate) struct SpecialNames {
    domains: SuffixMap<Special>,
}

impl SpecialNames {
    /// The whole table without the domains in `ordinary`, which the operator wants asked outside.
    pub(crate) fn without(ordinary: &[Name]) -> Self {
        let mut domains = SuffixMap::default();
        for (text, special, _) in DOMAINS {
            if let Ok(domain) = text.parse() {
                domains.insert(&domain, special);
            }
        }
        for text in NETWORKS {
            let Ok(network) = text.parse::<ipnet::IpNet>() else {
                continue;
            };
            let loopback = network.addr().is_loopback();
            let special = if loopback {
                Special::LoopbackReverse
            } else {
                Special::Nonexistent
            };
            for zone in reverse_zones(network) {
                domains.insert(&zone, special);
            }
        }
        for domain in ordinary {
            domains.remove(domain);
        }
        Self { domains }
    }

    /// The domain of the table that holds the name.
    pub(crate) fn find(&self, qname: &[u8]) -> Option<(&Name, Special)> {
        self.domains
            .longest(qname)
            .map(|(domain, special)| (domain, *special))
    }
}

/// Who says that `domain` is special; `None` when it stands in no row of the table. The names below a row are special with it and have
/// no row of their own.
#[must_use]
pub fn special_rule(domain: &Name) -> Option<&'static str> {
    let is = |text: &str| {
        text.parse()
            .is_ok_and(|row: Name| row.eq_ignore_case(domain))
    };
    let mut names = DOMAINS.iter();
    if let Some((_, _, rule)) = names.find(|(text, ..)| is(text)) {
        return Some(rule);
    }
    let holds = |text: &&&str| {
        let network = text.parse::<ipnet::IpNet>();
        network.is_ok_and(|it| {
            reverse_zones(it)
                .iter()
                .any(|zone| zone.eq_ignore_case(domain))
        })
    };
    NETWORKS.iter().find(holds).map(|text| match *text {
        "100.64.0.0/10" => "RFC 7793",
        _ => "RFC 6303 section 4",
    })
}

/// The canonical response to `question`, whose name lies in `domain`.
pub(crate) fn respond(question: &Question, domain: &Name, special: Special) -> Vec<u8> {
    let mut composer = ResponseComposer::new(question);
    let name = question.qname();
    let apex = name.eq_ignore_case(domain);
    let internet = covers_internet(question);
    let answered = match (special, question.qtype()) {
        (Special::Localhost, RecordType::A) if internet => composer.answer(
            &name,
            RecordType::A,
            LOOPBACK_TTL,
            &Ipv4Addr::LOCALHOST.octets(),
        ),
        (Special::Localhost, RecordType::AAAA) if internet => composer.answer(
            &name,
            RecordType::AAAA,
            LOOPBACK_TTL,
            &Ipv6Addr::LOCALHOST.octets(),
        ),
        (Special::LoopbackReverse, RecordType::PTR) if internet && is_address(&name) => {
            composer.answer(&name, RecordType::PTR, LOOPBACK_TTL, b"\x09localhost\x00")
        }
        (_, RecordType::SOA) if apex => {
            composer.answer(domain, RecordType::SOA, SOA_TTL, &soa_rdata(domain))
        }
        (_, RecordType::NS) if apex => {
            composer.answer(domain, RecordType::NS, SOA_TTL, domain.as_octets())
        }
        _ => false,
    };
    if answered {
        return composer.finish();
    }
    let exists = match special {
        Special::Localhost | Special::Empty => true,
        Special::LoopbackReverse => apex || is_address(&name),
        Special::Nonexistent | Special::HomeNetwork => apex,
    };
    if !exists {
        composer.rcode(Rcode::NXDOMAIN);
    }
    composer.authority(domain, RecordType::SOA, SOA_TTL, &soa_rdata(domain));
    composer.finish()
}

/// Whether the name is that of one address: four octets or 32 groups of four bits before its two-label domain.
fn is_address(name: &Name) -> bool {
    matches!(name.labels().count(), 6 | 34)
}

/// The zone itself as primary server, `nobody.invalid` as mailbox (RFC 6303 section 3).
fn soa_rdata(domain: &Name) -> Vec<u8> {
    const SERVER: &[u8] = b"\x06nobody\x07invalid\x00";
    let mut rdata = Vec::with_capacity(domain.as_octets().len() + SERVER.len() + 5 * 4);
    rdata.extend_from_slice(domain.as_octets());
    rdata.extend_from_slice(SERVER);
    for field in [1, 3600, 1200, 604_800, SOA_TTL] {
        rdata.extend_from_slice(&u32::to_be_bytes(field));
    }
    rdata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Class, ResponseView, Section};

    /// RCODE, the types of the answer section and whether a SOA stands in authority; `None` for an ordinary name.
    fn outcome(name: &str, qtype: RecordType) -> Option<(Rcode, Vec<RecordType>, bool)> {
        let question = Question::new(&name.parse().unwrap(), qtype, Class::IN);
        let table = SpecialNames::without(&[]);
        let (domain, special) = table.find(question.view().qname())?;
        let message = respond(&question, domain, special);
        let view = ResponseView::parse(&message).unwrap();
        let records: Vec<_> = view.records().map(Result::unwrap).collect();
        let answers = records.iter().filter(|r| r.section == Section::Answer);
        let soa = records
            .iter()
            .any(|r| r.section == Section::Authority && r.rtype == RecordType::SOA);
        Some((
            view.rcode(),
            answers.map(|record| record.rtype).collect(),
            soa,
        ))
    }

    #[test]
    fn every_row_has_a_rule_and_nothing_else_has() {
        let rule = |text: &str| special_rule(&text.parse().unwrap());
        let rules = [
            ("Local", "RFC 6762 section 22.1"),
            ("home.arpa", "RFC 8375 section 4"),
            ("10.in-addr.arpa", "RFC 6303 section 4"),
            ("31.172.in-addr.arpa", "RFC 6303 section 4"),
            ("100.100.in-addr.arpa", "RFC 7793"),
        ];
        for (domain, expected) in rules {
            assert_eq!(rule(domain), Some(expected), "{domain}");
        }
        for ordinary in ["corp.local", "example", "32.172.in-addr.arpa", "arpa", "."] {
            assert_eq!(rule(ordinary), None, "{ordinary}");
        }
        let table = SpecialNames::without(&[]);
        let mut rows = table.domains.domains();
        assert!(rows.all(|domain| special_rule(domain).is_some()));
    }

    #[test]
    fn localhost_is_here() {
        for name in ["localhost", "a.LocalHost"] {
            for qtype in [RecordType::A, RecordType::AAAA] {
                assert_eq!(
                    outcome(name, qtype),
                    Some((Rcode::NOERROR, vec![qtype], false))
                );
            }
            assert_eq!(
                outcome(name, RecordType::MX),
                Some((Rcode::NOERROR, vec![], true))
            );
        }
    }

    #[test]
    fn names_that_exist_nowhere_do_not_leave() {
        let nxdomain = Some((Rcode::NXDOMAIN, vec![], true));
        for name in [
            "x.invalid",
            "duck.onion",
            "printer.local",
            "a.test",
            "x.alt",
            "db.internal",
            "x.home.arpa",
        ] {
            assert_eq!(outcome(name, RecordType::A), nxdomain, "{name}");
        }
        assert_eq!(
            outcome("home.arpa", RecordType::A),
            Some((Rcode::NOERROR, vec![], true))
        );
        assert_eq!(
            outcome("_dns.resolver.arpa", RecordType::SVCB),
            Some((Rcode::NOERROR, vec![], true))
        );
    }

    #[test]
    fn private_reverse_zones_are_ours_with_their_soa() {
        for name in [
            "1.0.0.10.in-addr.arpa",
            "9.31.172.in-addr.arpa",
            "1.1.168.192.in-addr.arpa",
            "1.64.100.in-addr.arpa",
            "1.0.0.0.d.f.ip6.arpa",
            "a.e.f.ip6.arpa.",
        ] {
            let (rcode, _, soa) = outcome(name, RecordType::PTR).unwrap();
            assert!(soa, "{name}");
            assert!(rcode == Rcode::NXDOMAIN || name.len() < 17, "{name}");
        }
        let soa = Some((Rcode::NOERROR, vec![RecordType::SOA], false));
        assert_eq!(outcome("10.in-addr.arpa", RecordType::SOA), soa);
        let ptr = Some((Rcode::NOERROR, vec![RecordType::PTR], false));
        assert_eq!(outcome("1.0.0.127.in-addr.arpa", RecordType::PTR), ptr);
        let one = format!("1.{}ip6.arpa", "0.".repeat(31));
        assert_eq!(outcome(&one, RecordType::PTR), ptr);
    }

    #[test]
    fn ordinary_names_are_not_touched() {
        for name in [
            "www.example",
            "ipv4only.arpa",
            "8.8.8.8.in-addr.arpa",
            "1.32.172.in-addr.arpa",
            "notlocalhost",
            ".",
        ] {
            assert_eq!(outcome(name, RecordType::A), None, "{name}");
        }
        let table = SpecialNames::without(&["test".parse().unwrap()]);
        assert!(table.find(b"\x01a\x04test\x00").is_none());
        assert!(table.find(b"\x01a\x05local\x00").is_some());
    }
}
