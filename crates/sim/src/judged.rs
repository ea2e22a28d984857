//! What holds of every judgement about private addresses, by the standard library's own idea of them.

use core::net::{Ipv4Addr, Ipv6Addr};

use dotward_core::policy::{Judgement, RebindingGuard};
use dotward_core::wire::{Name, RecordType, ResponseView, Section};

/// What is judged good has no address in it that is private in anybody's eyes, and who is allowed everything has everything judged good.
pub(crate) fn check(view: &ResponseView<'_>, qname: &[u8]) {
    let lenient = RebindingGuard::new(&[Name::root()]);
    assert_eq!(lenient.judge(qname, view), Judgement::Good);
    let strict = RebindingGuard::default().judge(qname, view);
    // Behind the OPT record nothing is relayed.
    let relayed = view.records().flatten();
    let relayed = relayed.take_while(|record| record.rtype != RecordType::OPT);
    let told = relayed.filter(|record| match strict {
        Judgement::Good => true,
        Judgement::GoodAlone => record.section != Section::Additional,
        Judgement::Private => false,
    });
    for record in told {
        match (record.rtype, record.rdata) {
            (RecordType::A, [a, b, c, d]) => {
                let address = Ipv4Addr::new(*a, *b, *c, *d);
                assert!(!address.is_private() && !address.is_loopback());
                assert!(!address.is_link_local() && !address.is_unspecified());
            }
            (RecordType::AAAA, octets) => {
                let Ok(octets) = <[u8; 16]>::try_from(octets) else {
                    continue;
                };
                let address = Ipv6Addr::from(octets);
                assert!(!address.is_loopback() && !address.is_unique_local());
                assert!(!address.is_unicast_link_local() && !address.is_unspecified());
                let mapped = address.to_ipv4();
                assert!(!mapped.is_some_and(|it| it.is_private() || it.is_loopback()));
            }
            _ => {}
        }
    }
}
