//! Answers with private addresses to public names (DNS rebinding).
//!
//! A web page of `evil.example` may talk to whatever that name stands for. Its owner first has it stand for his own server, and then for an
//! address inside: the page reads a router or a printer of the network it is shown in. So what public upstreams say a name stands for is no
//! private address, unless the operator says that it may be.
//!
//! | private | why |
//! |---|---|
//! | 10/8, 172.16/12, 192.168/16 | RFC 1918 |
//! | 100.64/10 | behind the provider's address translation (RFC 6598) |
//! | 127/8, ::1 | this machine (RFC 1122, RFC 4291) |
//! | 0/8, :: | "this network": systems connect to themselves there (RFC 1122) |
//! | 169.254/16, fe80::/10 | this link (RFC 3927, RFC 4291) |
//! | fc00::/7, fec0::/10 | unique local (RFC 4193), and what was before it (RFC 3879) |
//! | ::ffff:0:0/96, ::/96 and 64:ff9b::/96 around one of these | systems and translators unwrap them (RFC 4291, RFC 6052); a private one may not be in the last (RFC 6052 section 3.1) |
//! | 64:ff9b:1::/48 | translators of one network (RFC 8215) |
//!
//! Promises: the name that was asked for decides what may be answered, not that at the end of a chain of aliases: otherwise any name could
//! be an alias of one that may have private addresses. Nothing is decided by the class, which some clients do not look at.
//!
//! Deliberately absent: networks for documentation and multicast, which nobody can be connected to; 6to4 and Teredo, whose packets go to a relay;
//! which upstreams are public (the engine's).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::suffix::SuffixMap;
use crate::wire::{Name, RecordType, ResponseView, Section};

/// Knows which answers have no private address in them, or may have one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RebindingGuard {
    allowed: SuffixMap<()>,
}

/// What is to become of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may be told.
    Good,
    /// It may be told without its additional records, which are optional (RFC 2181 section 9).
    GoodAlone,
    /// It may not be told: it has a private address.
    Private,
}

impl RebindingGuard {
    /// A guard that lets these domains, and all names below them, have any address.
    #[must_use]
    pub fn new<'a>(allowed: impl IntoIterator<Item = &'a Name>) -> Self {
        let mut guard = Self::default();
        for domain in allowed {
            guard.allowed.insert(domain, ());
        }
        guard
    }

    /// The domain that lets a name have private addresses, when there is one. `qname` is a whole uncompressed name.
    #[must_use]
    pub fn allowance(&self, qname: &[u8]) -> Option<&Name> {
        self.allowed.longest(qname).map(|(domain, ())| domain)
    }

    /// Judges what a public upstream says about `qname`.
    #[must_use]
    pub fn judge(&self, qname: &[u8], response: &ResponseView<'_>) -> Judgement {
        let found = found(response);
        // Most answers have no such address, and then nobody has to know whose they are.
        if found != Judgement::Good && self.allowance(qname).is_some() {
            return Judgement::Good;
        }
        found
    }
}

/// What is to become of a response to a name that may have no private address.
fn found(response: &ResponseView<'_>) -> Judgement {
    let mut found = Judgement::Good;
    // What is behind the OPT record is not relayed.
    let relayed = |rtype| rtype != RecordType::OPT;
    let records = response.records().map_while(Result::ok);
    for record in records.take_while(|record| relayed(record.rtype)) {
        if record.bears_address(is_private) {
            match record.section {
                Section::Answer | Section::Authority => return Judgement::Private,
                Section::Additional => found = Judgement::GoodAlone,
            }
        }
    }
    found
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] => true,
        [100, second, ..] => second & 0xc0 == 64,
        [172, second, ..] => second & 0xf0 == 16,
        _ => false,
    }
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let bits = u32::from(high) << 16 | u32::from(low);
            is_private_v4(Ipv4Addr::from_bits(bits))
        }
        [0x64, 0xff9b, 1, ..] => true,
        [first, ..] => {
            let (seven, ten) = (first & 0xfe00, first & 0xffc0);
            seven == 0xfc00 || ten == 0xfe80 || ten == 0xfec0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Class, Question, ResponseComposer};

    /// The address before a network, its first, its last, and the one behind it.
    const NETWORKS: &[[&str; 4]] = &[
        ["255.255.255.255", "0.0.0.0", "0.255.255.255", "1.0.0.0"],
        ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"],
        [
            "100.63.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "100.128.0.0",
        ],
        [
            "126.255.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "128.0.0.0",
        ],
        [
            "169.253.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "169.255.0.0",
        ],
        [
            "172.15.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "172.32.0.0",
        ],
        [
            "192.167.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "192.169.0.0",
        ],
        ["ffff::", "::", "::1", "::1.0.0.0"],
        [
            "fbff:ffff::1",
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "fe00::",
        ],
        [
            "fe7f:ffff::1",
            "fe80::",
            "fec0:0:0:ffff:ffff:ffff:ffff:ffff",
            "ff00::",
        ],
        [
            "febf:ffff::",
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "ff00::1",
        ],
        [
            "64:ff9b:0:ffff:ffff:ffff:ffff:ffff",
            "64:ff9b:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "64:ff9b:2::",
        ],
        [
            "::fffe:10.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:0.255.255.255",
            "::ffff:1.0.0.0",
        ],
        [
            "::ffff:9.255.255.255",
            "::ffff:10.0.0.0",
            "::ffff:10.255.255.255",
            "::ffff:11.0.0.0",
        ],
        [
            "::ffff:172.15.255.255",
            "::ffff:172.16.0.0",
            "::ffff:172.31.255.255",
            "::1:0:ac10:0",
        ],
        [
            "64:ff9b::9.255.255.255",
            "64:ff9b::10.0.0.0",
            "64:ff9b::10.255.255.255",
            "64:ff9b::11.0.0.0",
        ],
        [
            "64:ff9b::192.167.255.255",
            "64:ff9b::192.168.0.0",
            "64:ff9b::192.168.255.255",
            "64:ff9b::1:c0a8:1",
        ],
        [
            "::9.255.255.255",
            "::10.0.0.0",
            "::10.255.255.255",
            "::11.0.0.0",
        ],
    ];

    #[test]
    fn a_private_network_is_private_from_its_first_address_to_its_last_and_not_beside() {
        for [before, first, last, behind] in NETWORKS {
            let private = |text: &str| is_private(text.parse().unwrap());
            // Fe80 to fec0 are one row, because one begins where the other ends.
            assert!(before.starts_with("febf") == private(before), "{before}");
            assert!(private(first) && private(last), "{first} to {last}");
            assert!(!private(behind), "{behind}");
        }
    }

    #[test]
    fn public_addresses_are_not_private() {
        for public in [
            "192.0.2.1",
            "8.8.8.8",
            "2001:db8::1",
            "2606:4700::1111",
            "::ffff:192.0.2.1",
            "64:ff9b::8.8.8.8",
            "2002:a00:1::1",
            "224.0.0.1",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    const INSIDE: &[u8] = &[192, 168, 1, 1];
    const OUTSIDE: &[u8] = &[192, 0, 2, 1];

    /// A response to `www.example A` with these answers.
    fn response(answers: &[(&str, RecordType, &[u8])]) -> Vec<u8> {
        let question = Question::new(&name("www.example"), RecordType::A, Class::IN);
        let mut composer = ResponseComposer::new(&question);
        for (owner, rtype, rdata) in answers {
            assert!(composer.answer(&name(owner), *rtype, 60, rdata));
        }
        composer.finish()
    }

    fn judged(guard: &RebindingGuard, message: &[u8]) -> Judgement {
        let view = ResponseView::parse(message).unwrap();
        guard.judge(view.question().unwrap().qname(), &view)
    }

    const WWW: &str = "www.example";

    /// The alias of `www.example` and where it leads.
    fn chain() -> Vec<u8> {
        let (nas, alias) = ("nas.home.example", name("nas.home.example"));
        response(&[
            (WWW, RecordType::CNAME, alias.as_octets()),
            (nas, RecordType::A, INSIDE),
        ])
    }

    #[test]
    fn one_private_address_anywhere_in_the_answer_is_enough() {
        use RecordType as Type;
        let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap().octets();
        let hint = b"\x00\x01\x00\x00\x04\x00\x04\x0a\x00\x00\x01";
        let guard = RebindingGuard::default();
        for (message, expected) in [
            (response(&[]), Judgement::Good),
            (response(&[(WWW, Type::A, OUTSIDE)]), Judgement::Good),
            (
                response(&[(WWW, Type::TXT, b"\x0b192.168.1.1")]),
                Judgement::Good,
            ),
            (response(&[(WWW, Type::A, INSIDE)]), Judgement::Private),
            (
                response(&[(WWW, Type::A, OUTSIDE), (WWW, Type::A, INSIDE)]),
                Judgement::Private,
            ),
            (response(&[(WWW, Type::AAAA, &mapped)]), Judgement::Private),
            (response(&[(WWW, Type::HTTPS, hint)]), Judgement::Private),
            (response(&[(WWW, Type::SVCB, hint)]), Judgement::Private),
            (chain(), Judgement::Private),
        ] {
            assert_eq!(judged(&guard, &message), expected, "{message:?}");
        }
    }

    #[test]
    fn the_name_that_was_asked_for_decides_what_may_be_answered() {
        for (allowed, expected) in [
            ("WWW.example", Judgement::Good),
            ("example", Judgement::Good),
            (".", Judgement::Good),
            ("home.example", Judgement::Private),
            ("ww.example", Judgement::Private),
            ("a.www.example", Judgement::Private),
        ] {
            let guard = RebindingGuard::new(&[name(allowed)]);
            assert_eq!(judged(&guard, &chain()), expected, "{allowed}");
        }
    }

    #[test]
    fn additional_records_alone_are_given_up() {
        let head = b"\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x02";
        let question = b"\x03www\x07example\x00\x00\x0f\x00\x01";
        let mx = b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x04\x00\x0a\xc0\x0c";
        let glue = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01";
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        let guard = RebindingGuard::default();
        let before = [&head[..], question, mx, glue, opt].concat();
        assert_eq!(judged(&guard, &before), Judgement::GoodAlone);
        let behind = [&head[..], question, mx, opt, glue].concat();
        assert_eq!(
            judged(&guard, &behind),
            Judgement::Good,
            "it is not relayed"
        );
        let mut authority = [&head[..], question, mx, glue, opt].concat();
        (authority[9], authority[11]) = (1, 1);
        assert_eq!(judged(&guard, &authority), Judgement::Private);
        let guard = RebindingGuard::new(&[name("www.example")]);
        assert_eq!(judged(&guard, &before), Judgement::Good);
    }
}
