//! Time is a variable here, and responses are composed.

use super::*;
use crate::wire::edns::{EdeCode, ExtendedError};
use crate::wire::{
    AskerEdns, Class, Flags, Name, Question, Rcode, RecordType, ReplyOptions, ResponseComposer,
    ResponseView, Transport,
};
use core::time::Duration;

const MIB: usize = 1 << 20;
const GROUP: GroupId = GroupId::DEFAULT;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn question(text: &str, qtype: RecordType) -> Question {
    Question::new(&name(text), qtype, Class::IN)
}

fn asker(text: &str) -> Asker {
    Asker {
        id: 7,
        flags: Flags::NONE.with_recursion_desired(true),
        question: question(text, RecordType::A),
        edns: Some(AskerEdns {
            udp_size: 1232,
            dnssec_ok: false,
        }),
        options: ReplyOptions::NONE,
        transport: Transport::Udp,
    }
}

/// The end of a SOA record: two root names, four times, MINIMUM.
fn soa(minimum: u32) -> Vec<u8> {
    [&[0; 18][..], &minimum.to_be_bytes()].concat()
}

/// One address of `text`, with this TTL.
fn address(text: &str, ttl: u32) -> Vec<u8> {
    let mut composer = ResponseComposer::new(&question(text, RecordType::A));
    composer.answer(&name(text), RecordType::A, ttl, &[192, 0, 2, 1]);
    composer.finish()
}

fn negative(text: &str, rcode: Rcode, ttl: u32, minimum: u32) -> Vec<u8> {
    let mut composer = ResponseComposer::new(&question(text, RecordType::A));
    composer.rcode(rcode);
    composer.authority(&name("example"), RecordType::SOA, ttl, &soa(minimum));
    composer.finish()
}

struct Bench {
    cache: Cache,
    now: Moment,
    reply: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        Self::with(CacheConfig::new(4 * MIB, [1; 16]))
    }

    fn with(config: CacheConfig) -> Self {
        Self {
            cache: Cache::new(config),
            now: Moment::from_nanos(1_000_000_000_000),
            reply: Vec::new(),
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// Stores a response to its own question; gives back for how long.
    fn store(&self, message: &[u8]) -> u32 {
        let view = ResponseView::parse(message).unwrap();
        let mut settled = Settled::default();
        settled.settle(&view, self.cache.rules());
        let question = view.question().unwrap().to_owned();
        let asked = Asked {
            question,
            dnssec_ok: false,
            checking_disabled: false,
            group: GROUP,
        };
        self.cache
            .store(&asked, &settled, ReplyOrigin::Upstream, self.now);
        settled.lifetime()
    }

    fn fail(&self, text: &str) {
        let error = ExtendedError {
            code: EdeCode::NO_REACHABLE_AUTHORITY,
            text: "nobody",
        };
        let asked = Asked::new(&asker(text), GROUP);
        self.cache
            .store_failure(&asked, Rcode::SERVFAIL, Some(error), self.now);
    }

    fn ask(&mut self, text: &str) -> Answered {
        self.ask_as(&asker(text))
    }

    fn ask_as(&mut self, asker: &Asker) -> Answered {
        self.cache.answer(asker, GROUP, self.now, &mut self.reply)
    }

    fn reply(&self) -> ResponseView<'_> {
        ResponseView::parse(&self.reply).unwrap()
    }

    fn ttl(&self) -> u32 {
        self.reply().records().next().unwrap().unwrap().ttl
    }

    fn error(&self) -> Option<u16> {
        self.reply().extended_errors().next().map(|it| it.code.0)
    }
}

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

#[test]
fn a_failure_is_kept_longer_each_time_and_forgotten_on_recovery() {
    let mut bench = Bench::new();
    for lifetime in [1, 2, 4, 8, 16, 30, 30] {
        bench.fail("a.example");
        assert_eq!(bench.ask("a.example"), Answered::Yes);
        assert_eq!(bench.reply().rcode(), Rcode::SERVFAIL);
        assert_eq!(bench.error(), Some(22));
        bench.wait(lifetime - 1);
        assert_eq!(bench.ask("a.example"), Answered::Yes, "{lifetime} s");
        bench.wait(1);
        assert_eq!(bench.ask("a.example"), Answered::No, "{lifetime} s");
    }
    bench.fail("a.example");
    bench.cache.handle_recovery(GroupId(5), bench.now);
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    bench.cache.handle_recovery(GROUP, bench.now);
    assert_eq!(bench.ask("a.example"), Answered::No);
    bench.wait(1);
    bench.fail("a.example");
    bench.wait(1);
    assert_eq!(bench.ask("a.example"), Answered::No, "it began anew");
    let stats = bench.cache.stats();
    assert_eq!((stats.entries, stats.failures), (1, 15));
}

#[test]
fn a_failure_never_replaces_data_that_may_be_given() {
    let mut bench = Bench::new();
    bench.store(&address("a.example", 60));
    bench.fail("a.example");
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    assert_eq!(bench.reply().rcode(), Rcode::NOERROR);
    bench.wait(60 + 86_400);
    bench.fail("a.example");
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    assert_eq!(bench.reply().rcode(), Rcode::SERVFAIL);
}

#[test]
fn stale_data_is_given_at_once_while_a_refresh_has_just_failed() {
    let mut bench = Bench::new();
    let mut message = address("a.example", 60);
    message[3] |= 0x20;
    bench.store(&message);
    bench.store(&negative("no.example", Rcode::NXDOMAIN, 60, 60));
    bench.wait(61);
    assert_eq!(bench.ask("a.example"), Answered::Stale);
    bench.fail("a.example");
    bench.fail("no.example");
    let validated = Asker {
        flags: asker("a.example").flags.with_authentic_data(true),
        ..asker("a.example")
    };
    assert_eq!(bench.ask_as(&validated), Answered::Yes);
    assert_eq!((bench.ttl(), bench.error()), (30, Some(3)));
    assert!(!bench.reply().header().flags.authentic_data());
    assert_eq!(bench.ask("no.example"), Answered::Yes);
    assert_eq!((bench.ttl(), bench.error()), (30, Some(19)));
    assert_eq!(bench.reply().rcode(), Rcode::NXDOMAIN);
    bench.wait(29);
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    bench.wait(1);
    assert_eq!(bench.ask("a.example"), Answered::AndRefresh);
    assert_eq!(bench.ask("a.example"), Answered::Yes, "one refresh");
    bench.wait(60);
    assert_eq!(bench.ask("a.example"), Answered::Stale);
    bench.fail("a.example");
    bench.cache.handle_recovery(GROUP, bench.now);
    assert_eq!(bench.ask("a.example"), Answered::Stale);
}

#[test]
fn without_recursion_only_what_is_fresh_is_told() {
    let mut bench = Bench::new();
    let snoop = |text| Asker {
        flags: Flags::NONE,
        ..asker(text)
    };
    bench.store(&address("a.example", 60));
    bench.fail("b.example");
    assert_eq!(bench.ask_as(&snoop("a.example")), Answered::Yes);
    assert!(!bench.reply().header().flags.recursion_desired());
    assert_eq!(bench.ask_as(&snoop("b.example")), Answered::No);
    bench.wait(60);
    bench.fail("a.example");
    assert_eq!(bench.ask_as(&snoop("a.example")), Answered::No);
    let given = bench
        .cache
        .answer_stale(&snoop("a.example"), GROUP, bench.now, &mut Vec::new());
    assert!(!given);
}

#[test]
fn an_answer_much_asked_for_is_refreshed_once_before_its_end() {
    let mut bench = Bench::new();
    bench.store(&address("hot.example", 100));
    bench.store(&address("cool.example", 100));
    for _ in 0..PREFETCH_HITS {
        assert_eq!(bench.ask("hot.example"), Answered::Yes);
    }
    bench.wait(89);
    assert_eq!(bench.ask("hot.example"), Answered::Yes);
    bench.wait(1);
    assert_eq!(bench.ask("hot.example"), Answered::AndRefresh);
    assert_eq!(bench.ask("hot.example"), Answered::Yes);
    assert_eq!(bench.ask("cool.example"), Answered::Yes);
    assert_eq!(bench.cache.stats().prefetches, 1);
    bench.store(&address("hot.example", 100));
    assert_eq!(bench.ask("hot.example"), Answered::Yes);
}

#[test]
fn the_bound_holds_in_whatever_order_things_come() {
    let bench = Bench::with(CacheConfig::new(2 * MIB, [1; 16]));
    let mut composer = ResponseComposer::new(&question("big.example", RecordType::A));
    for _ in 0..1000 {
        composer.answer(&name("big.example"), RecordType::A, 60, &[7; 50]);
    }
    let big = composer.finish();
    let long = "x".repeat(60);
    for round in 0..40_u32 {
        for small in 0..500 {
            bench.store(&address(&format!("n{round}-{small}.example"), 60));
            bench.fail(&format!("{long}.{long}.{long}.f{round}-{small}.example"));
        }
        let place = 12;
        let mut other = big.clone();
        other[place + 1..place + 4].copy_from_slice(format!("{round:03}").as_bytes());
        bench.store(&other);
        let stats = bench.cache.stats();
        assert!(stats.octets <= stats.limit, "{stats:?}");
    }
    let stats = bench.cache.stats();
    assert!(stats.evictions > 10_000, "{stats:?}");
    // Little is left unused: one segment is left free, and one of each queue and a page of slots are being filled.
    assert!(stats.octets > stats.limit - 4 * 81_920, "{stats:?}");
}

#[test]
fn names_asked_for_once_push_out_nobody() {
    let mut bench = Bench::with(CacheConfig::new(MIB, [1; 16]));
    let hot = |place| format!("hot{place}.example");
    for place in 0..1000 {
        bench.store(&address(&hot(place), 3600));
        for _ in 0..2 {
            bench.ask(&hot(place));
        }
    }
    for place in 0..100_000 {
        bench.store(&address(&format!("once{place}.example"), 3600));
        if place % 50 == 0 {
            bench.ask(&hot(place / 50 % 1000));
        }
    }
    let kept = (0..1000).filter(|place| bench.ask(&hot(*place)) == Answered::Yes);
    assert!(kept.count() > 990);
}

#[test]
fn a_suffix_is_flushed_with_what_is_below_it_and_nothing_else() {
    let mut bench = Bench::new();
    for text in [
        "example",
        "a.example",
        "b.A.example",
        "notexample",
        "a.test",
    ] {
        bench.store(&address(text, 60));
    }
    assert_eq!(bench.cache.flush(Some(&name("A.Example"))), 2);
    assert_eq!(bench.ask("a.example"), Answered::No);
    assert_eq!(bench.cache.flush(Some(&name("example"))), 1);
    assert_eq!(bench.ask("notexample"), Answered::Yes);
    assert_eq!(bench.cache.flush(None), 2);
    let stats = bench.cache.stats();
    assert_eq!((stats.entries, stats.octets), (0, 0));
    bench.store(&address("a.example", 60));
    assert_eq!(bench.ask("a.example"), Answered::Yes);
}

#[test]
fn everything_is_shown_in_pieces_between_which_others_write() {
    let bench = Bench::with(CacheConfig::new(64 * MIB, [1; 16]));
    let all = 40_000;
    for number in 0..all {
        bench.store(&address(&format!("n{number}.example"), 100));
    }
    let (mut progress, mut shown, mut pieces) = (Progress::default(), 0, 0);
    loop {
        let mut piece = 0;
        let shown_some = bench
            .cache
            .visit_next(&mut progress, bench.now, |_| piece += 1);
        if !shown_some {
            break;
        }
        assert!(piece <= slots::PAGE_SLOTS, "{piece} under one lock");
        // Nobody holds a lock now.
        bench.store(&address(&format!("n{}.example", pieces % all), 100));
        shown += piece;
        pieces += 1;
    }
    assert_eq!(shown, bench.cache.stats().entries);
    assert_eq!(shown, all);
}

#[test]
fn what_is_shown_can_be_put_back_as_old_as_it_was() {
    let mut bench = Bench::new();
    bench.store(&address("a.example", 100));
    bench.store(&address("old.example", 10));
    bench.fail("failed.example");
    bench.wait(40);
    let other = Bench::new();
    let mut kinds = Vec::new();
    bench.cache.visit(bench.now, |kept| {
        kinds.push(kept.kind);
        if kept.kind == Kind::Failure {
            return;
        }
        let restored = Restored {
            group: kept.group,
            dnssec_ok: kept.dnssec_ok,
            checking_disabled: kept.checking_disabled,
            origin: kept.origin,
            age: kept.age,
            message: kept.message,
        };
        assert_eq!(other.cache.restore(&restored, bench.now), Ok(()));
    });
    kinds.sort_by_key(|kind| *kind == Kind::Failure);
    assert_eq!(kinds, [Kind::Positive, Kind::Positive, Kind::Failure]);
    bench.cache = other.cache;
    bench.wait(10);
    assert_eq!(bench.ask("a.example"), Answered::Yes);
    assert_eq!(bench.ttl(), 50);
    assert_eq!(bench.ask("old.example"), Answered::Stale);
    bench.wait(86_400 - 41);
    assert_eq!(bench.ask("old.example"), Answered::Stale);
    bench.wait(1);
    assert_eq!(bench.ask("old.example"), Answered::No);
    let mut shown = 0;
    let now = bench.now;
    bench
        .cache
        .visit_name(&name("A.example"), now, |_| shown += 1);
    assert_eq!(shown, 1);
}

#[test]
fn what_is_put_back_is_trusted_as_little_as_what_comes() {
    let bench = Bench::new();
    let good = address("a.example", 100);
    let restored = |message| Restored {
        group: GROUP,
        dnssec_ok: false,
        checking_disabled: false,
        origin: ReplyOrigin::Upstream,
        age: Duration::ZERO,
        message,
    };
    let restore = |restored: &Restored<'_>| bench.cache.restore(restored, bench.now);
    let mut query = good.clone();
    query[2] &= 0x7f;
    let zero = address("a.example", 0);
    for (message, fault) in [
        (&good[..good.len() - 1], RestoreFault::Malformed),
        (&query, RestoreFault::Malformed),
        (&zero, RestoreFault::NotKeepable),
    ] {
        assert_eq!(restore(&restored(message)), Err(fault));
    }
    let group = GroupId(1);
    let elsewhere = Restored {
        group,
        ..restored(&good)
    };
    assert_eq!(restore(&elsewhere), Err(RestoreFault::Group));
    let age = Duration::from_secs(86_500);
    let old = Restored {
        age,
        ..restored(&good)
    };
    assert_eq!(restore(&old), Err(RestoreFault::TooOld));
    let off = Cache::off();
    assert_eq!(
        off.restore(&restored(&good), bench.now),
        Err(RestoreFault::Off)
    );
    assert_eq!(restore(&restored(&good)), Ok(()));
    assert_eq!(bench.cache.stats().entries, 1);
}

#[test]
fn eight_octets_are_folded_as_each_of_them_would_be() {
    for octet in 0..=u8::MAX {
        for place in 0..8 {
            let mut octets = [b'Z'; 8];
            octets[place] = octet;
            let together = folded(u64::from_le_bytes(octets)).to_le_bytes();
            assert_eq!(together, octets.map(|it| it.to_ascii_lowercase()));
        }
    }
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
