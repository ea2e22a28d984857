//! What the cache costs, counted by the allocator: nothing for a hit, and for what is kept no more than it says.
//!
//! One test after the other in one function: the counters are the process's.

#![expect(
    clippy::unwrap_used,
    reason = "what a test makes up itself is known to be well-formed"
)]

use core::time::Duration;
use std::alloc::System;
use std::sync::Arc;

use dotward_core::cache::{Cache, CacheConfig, Restored};
use dotward_core::front::{Client, Front, FrontConfig, Verdict};
use dotward_core::policy::{Acl, PolicyConfig};
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::upstream::GroupId;
use dotward_core::wire::{
    Class, Name, QueryOptions, Question, RecordType, ReplyOrigin, ResponseComposer, Transport,
    write_query,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Moment = Moment::from_nanos(1_000_000_000_000);

/// Octets allocated since `region` began and not given back.
fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

/// A response of `records` addresses for `name`; compressed as servers do.
fn response(name: &Name, records: usize, rdata: &[u8]) -> Vec<u8> {
    let question = Question::new(name, RecordType::A, Class::IN);
    let mut message = ResponseComposer::new(&question).finish();
    for _ in 0..records {
        message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c");
        message.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        message.extend_from_slice(rdata);
    }
    message[6..8].copy_from_slice(&u16::try_from(records).unwrap().to_be_bytes());
    message
}

fn keep(cache: &Cache, message: &[u8]) {
    let restored = Restored {
        group: GroupId::DEFAULT,
        dnssec_ok: false,
        checking_disabled: false,
        origin: ReplyOrigin::Upstream,
        age: Duration::ZERO,
        message,
    };
    cache.restore(&restored, NOW).unwrap();
}

fn cache(mebibytes: usize) -> Cache {
    Cache::new(CacheConfig::new(mebibytes << 20, [7; 16]))
}

#[test]
fn a_hit_allocates_nothing_and_the_bound_is_one() {
    a_hit_allocates_nothing();
    a_typical_answer_takes_less_than_twice_its_octets();
    the_bound_is_one("random names", 130_000, |place| {
        let name = format!("{:016x}.example", place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        response(&name.parse().unwrap(), 1, &[192, 0, 2, 1])
    });
    let label = "x".repeat(57);
    the_bound_is_one("long names", 50_000, |place| {
        let name = format!("{place:020}.{label}.{label}.{label}.{label}");
        response(&name.parse().unwrap(), 1, &[192, 0, 2, 1])
    });
    the_bound_is_one("long answers", 8_000, |place| {
        let name = format!("n{}.example", place / 20);
        // Most are refused for being known already, which takes no time; a twentieth is new.
        let records = if place % 20 == 0 { 3_700 } else { 1 };
        response(&name.parse().unwrap(), records, &[192, 0, 2, 1])
    });
}

fn a_hit_allocates_nothing() {
    let long = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(61));
    let cache = Arc::new(cache(4));
    let front = Front::new(FrontConfig {
        cache: Arc::clone(&cache),
        ..FrontConfig::new(
            Acl::new(&["127.0.0.0/8".parse().unwrap()]),
            PolicyConfig::default(),
        )
    });
    for (text, records, transport) in [
        ("www.example.com", 2, Transport::Udp),
        (long.as_str(), 2, Transport::Udp),
        ("truncated.example", 200, Transport::Udp),
        ("large.example", 200, Transport::Tls),
    ] {
        let name: Name = text.parse().unwrap();
        keep(&cache, &response(&name, records, &[192, 0, 2, 1]));
        let question = Question::new(&name, RecordType::A, Class::IN);
        let options = QueryOptions {
            checking_disabled: false,
            dnssec_ok: false,
            keepalive: false,
            padding: None,
        };
        let mut query = Vec::new();
        write_query(question.view(), options, &mut query);
        let client = Client {
            address: "127.0.0.1:5353".parse().unwrap(),
            transport,
            idle: Duration::ZERO,
        };
        let mut reply = Vec::with_capacity(65_535);
        let region = Region::new(ALLOCATOR);
        for _ in 0..5 {
            let verdict = front.handle_query(&query, &client, NOW, WallSeconds(0), &mut reply);
            assert!(matches!(verdict, Verdict::Cached));
        }
        let change = region.change();
        let counted = (change.allocations, change.reallocations);
        assert_eq!(counted, (0, 0), "{text}");
    }
    assert_eq!(cache.stats().hits, 20);
}

fn a_typical_answer_takes_less_than_twice_its_octets() {
    const ENTRIES: usize = 30_000;
    // Four addresses of a name of usual length, as most answers for which people wait.
    let name =
        |place: usize| -> Name { format!("www.host-{place:06}.example.com").parse().unwrap() };
    let kept = cache(16);
    let region = Region::new(ALLOCATOR);
    for place in 0..ENTRIES {
        keep(&kept, &response(&name(place), 4, &[192, 0, 2, 1]));
    }
    let each = held(&region) / ENTRIES;
    let message = response(&name(0), 4, &[192, 0, 2, 1]).len();
    // Name, type, class, and the three octets of flags and group.
    let key = name(0).as_octets().len() + 4 + 3;
    assert_eq!(kept.stats().entries, ENTRIES);
    assert!(each <= 2 * (message + key), "{each} for {message} + {key}");
    // What it says of itself is what was written to; a little more is allocated.
    let said = kept.stats().octets / ENTRIES;
    assert!(said <= each && each < said + 32, "said {said}, is {each}");
}

fn the_bound_is_one(what: &str, count: u64, answer: impl Fn(u64) -> Vec<u8>) {
    let region = Region::new(ALLOCATOR);
    let kept = cache(16);
    let mut most = 0;
    for place in 0..count {
        keep(&kept, &answer(place));
        if place % 1_024 == 0 {
            most = most.max(held(&region));
        }
    }
    let stats = kept.stats();
    assert!(most <= stats.limit + stats.limit / 10, "{what}: {most}");
    assert!(
        stats.octets <= stats.limit && stats.evictions > 0,
        "{what}: {stats:?}"
    );
}
