//! What is kept, of which question, and for how long.

use super::*;

#[test]
fn an_answer_grows_older_and_ends_with_its_shortest_record() {
    let mut bench = Bench::new();
    let mut composer = ResponseComposer::new(&question("a.example", RecordType::A));
    composer.answer(&name("a.example"), RecordType::A, 300, &[192, 0, 2, 1]);
    composer.answer(&name("a.example"), RecordType::A, 60, &[192, 0, 2, 2]);
    composer.authority(&name("example"), RecordType::NS, 600, &[0]);
    assert_eq!(bench.store(&composer.finish()), 60);
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    bench.wait(59);
    assert_eq!(bench.ask("A.exAMple"), Answered::Yes);
    let ttls: Vec<u32> = bench.reply().records().map(|it| it.unwrap().ttl).collect();
    // Records of one set have one TTL, the lowest (RFC 2181 section 5.2).
    assert_eq!(ttls[..3], [1, 1, 541]);
    let spelled = bench.reply().question().unwrap().to_string();
    assert_eq!(spelled, "A.exAMple IN A");
    bench.wait(1);
    assert_eq!(bench.ask("a.example"), Answered::Stale);
    bench.wait(86_400);
    assert_eq!(bench.ask("a.example"), Answered::No);
}

#[test]
fn everything_that_makes_another_question_makes_another_entry() {
    let mut bench = Bench::new();
    bench.store(&address("a.example", 60));
    let flags = Flags::NONE.with_recursion_desired(true);
    let edns = |dnssec_ok| {
        let udp_size = 1232;
        Some(AskerEdns {
            udp_size,
            dnssec_ok,
        })
    };
    let base = asker("a.example");
    let others = [
        Asker {
            question: question("a.example", RecordType::AAAA),
            ..base.clone()
        },
        Asker {
            question: Question::new(&name("a.example"), RecordType::A, Class::CH),
            ..base.clone()
        },
        Asker {
            edns: edns(true),
            ..base.clone()
        },
        Asker {
            flags: flags.with_checking_disabled(true),
            ..base.clone()
        },
    ];
    for other in &others {
        assert_eq!(bench.ask_as(other), Answered::No, "{other:?}");
    }
    let (cache, now) = (&bench.cache, bench.now);
    let other = cache.answer(&base, GroupId(1), now, &mut Vec::new());
    assert_eq!(other, Answered::No);
    for alike in [
        Asker {
            edns: None,
            ..base.clone()
        },
        Asker {
            flags: flags.with_authentic_data(true),
            transport: Transport::Tls,
            ..base
        },
    ] {
        assert_eq!(bench.ask_as(&alike), Answered::Yes, "{alike:?}");
    }
}

#[test]
fn a_negative_answer_holds_as_long_as_its_zone_says() {
    let mut bench = Bench::new();
    for (ttl, minimum, lifetime) in [
        (60, 300, 60),
        (300, 60, 60),
        (90_000, 90_000, 10_800),
        (0, 60, 0),
    ] {
        let message = negative("no.example", Rcode::NXDOMAIN, ttl, minimum);
        assert_eq!(bench.store(&message), lifetime, "{ttl} {minimum}");
    }
    bench.store(&negative("no.example", Rcode::NXDOMAIN, 300, 60));
    bench.wait(10);
    assert_eq!(bench.ask("no.example"), Answered::Yes);
    assert_eq!((bench.reply().rcode(), bench.ttl()), (Rcode::NXDOMAIN, 50));
    assert_eq!(
        bench.store(&negative("empty.example", Rcode::NOERROR, 60, 30)),
        30
    );
}

#[test]
fn what_may_not_be_kept_is_not() {
    let bench = Bench::new();
    let a = RecordType::A;
    let target = name("b.example");
    let compose = |qtype, build: &dyn Fn(&mut ResponseComposer)| {
        let mut composer = ResponseComposer::new(&question("a.example", qtype));
        build(&mut composer);
        composer.finish()
    };
    let own = |composer: &mut ResponseComposer| {
        composer.answer(&name("a.example"), RecordType::A, 60, &[0; 4]);
    };
    let mut truncated = compose(a, &own);
    truncated[2] |= 0x02;
    let mut chaos = compose(a, &own);
    let class = 12 + name("a.example").as_octets().len() + 3;
    chaos[class] = 3;
    let mut signed = compose(a, &own);
    signed[11] = 1;
    signed.extend_from_slice(b"\0\x00\xfa\x00\xff\0\0\0\0\0\0");
    let mut scoped = compose(a, &own);
    scoped[11] = 1;
    scoped.extend_from_slice(
        b"\0\x00\x29\x04\xd0\0\0\0\0\x00\x0b\x00\x08\x00\x07\0\x01\x18\x18\xc0\0\x02",
    );
    let unfit = [
        ("TTL of zero", address("a.example", 0)),
        ("TTL with the top bit", address("a.example", 0x8000_0001)),
        ("truncated", truncated),
        ("not of class IN", chaos),
        ("signed as a message", signed),
        ("for one subnet", scoped),
        (
            "negative without SOA",
            compose(a, &|composer| composer.rcode(Rcode::NXDOMAIN)),
        ),
        (
            "SOA of another zone",
            compose(a, &|composer| {
                composer.authority(&name("test"), RecordType::SOA, 60, &soa(60));
            }),
        ),
        (
            "answers another name",
            compose(a, &|composer| {
                composer.answer(&target, RecordType::A, 60, &[0; 4]);
            }),
        ),
        (
            "an alias to nowhere",
            compose(a, &|composer| {
                let alias = RecordType::CNAME;
                composer.answer(&name("a.example"), alias, 60, target.as_octets());
            }),
        ),
        ("a meta type", compose(RecordType::TKEY, &own)),
        (
            "a failure",
            compose(a, &|composer| composer.rcode(Rcode::SERVFAIL)),
        ),
    ];
    for (what, message) in unfit {
        assert_eq!(bench.store(&message), 0, "{what}");
    }
    assert_eq!(bench.cache.stats().entries, 0);
    let chain = compose(a, &|composer| {
        // In the wrong order on purpose.
        composer.answer(&target, RecordType::A, 60, &[0; 4]);
        let alias = RecordType::CNAME;
        composer.answer(&name("a.example"), alias, 30, target.as_octets());
    });
    assert_eq!(bench.store(&chain), 30);
    assert_eq!(bench.store(&compose(RecordType::ANY, &own)), 60);
}

#[test]
fn floor_and_cap_are_for_data() {
    let mut bench = Bench::with(CacheConfig {
        rules: CacheRules {
            min_ttl: 100,
            max_ttl: 1000,
            ..CacheRules::default()
        },
        ..CacheConfig::new(MIB, [1; 16])
    });
    assert_eq!(bench.store(&address("short.example", 5)), 100);
    assert_eq!(bench.store(&address("none.example", 0)), 0);
    assert_eq!(bench.store(&address("long.example", 1 << 30)), 1000);
    let negative = negative("no.example", Rcode::NXDOMAIN, 5, 5);
    assert_eq!(bench.store(&negative), 5);
    bench.ask("long.example");
    assert_eq!(bench.ttl(), 1000);
    bench.fail("failed.example");
    bench.wait(1);
    assert_eq!(bench.ask("failed.example"), Answered::No);
}

/// The names of other records may be compressed into anything that lies before them, a TTL included.
#[test]
fn a_name_made_of_a_ttl_is_not_kept_and_its_message_stays_as_it_came() {
    // Two days, which end with the octet of the root; a bound of one day would end with another.
    let address = b"\xc0\x0c\0\x01\0\x01\0\x02\xa3\0\0\x04\xc0\0\x02\x01";
    let mut message = b"\0\0\x81\x80\0\x01\0\x01\0\0\0\x01\x01a\0\0\x01\0\x01".to_vec();
    message.extend_from_slice(address);
    // The owner is at the last octet of that TTL.
    message.extend_from_slice(b"\xc0\x1c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x02");
    let view = ResponseView::parse(&message).unwrap();
    let mut settled = Settled::default();
    settled.settle(&view, CacheRules::default());
    assert_eq!(settled.lifetime(), 0);
    let told = settled.canonical();
    assert_eq!(told.message, message);
    // An ordinary chain of aliases hangs on octets behind the question too, and is kept.
    let mut message = b"\0\0\x81\x80\0\x01\0\x02\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
    message.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\x02\xa3\0\0\x04\x01b\xc0\x0e");
    message.extend_from_slice(b"\xc0\x1f\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x02");
    let view = ResponseView::parse(&message).unwrap();
    settled.settle(&view, CacheRules::default());
    assert_eq!(settled.lifetime(), 60);
}
