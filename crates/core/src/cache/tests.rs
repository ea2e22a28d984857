//! Time is a variable here, and responses are composed.

use super::*;
use crate::wire::edns::{EdeCode, ExtendedError};
use crate::wire::{
    AskerEdns, Class, Flags, Name, Question, Rcode, RecordType, ReplyOptions, ResponseComposer,
    ResponseView, Transport,
};
use core::time::Duration;

mod carrying;
mod failing;
mod guarded;
mod keeping;

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
fn who_asks_without_recursion_has_nothing_asked_for() {
    let mut bench = Bench::new();
    bench.store(&address("hot.example", 100));
    let mut looks = asker("hot.example");
    looks.flags = Flags::NONE;
    bench.wait(95);
    for _ in 0..=PREFETCH_HITS {
        assert_eq!(bench.ask_as(&looks), Answered::Yes);
    }
    // Neither do those looks make it worth refreshing for others.
    assert_eq!(bench.ask("hot.example"), Answered::Yes);
    assert_eq!(bench.cache.stats().prefetches, 0);
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
