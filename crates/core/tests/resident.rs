//! The bound of the cache in octets is one of the process: however what is kept changes its sizes, the memory that the system counts stays
//! within the limit and a tenth.
//!
//! One test, so that nothing else in this process takes memory meanwhile. The long form:
//!
//! ```text
//! CACHE_MIB=256 CACHE_NAMES=1000000 cargo test --release -p dotward-core --test resident -- --nocapture
//! ```
//!
//! Deliberately absent: threads. One allocator serves all of them, and who stores is the worker with the engine.

#![expect(
    clippy::unwrap_used,
    reason = "what a test makes up itself is known to be well-formed"
)]

use std::time::Duration;

use dotward_core::cache::{Cache, CacheConfig, Restored};
use dotward_core::time::Moment;
use dotward_core::upstream::GroupId;
use dotward_core::wire::{Class, Name, Question, RecordType, ReplyOrigin, ResponseComposer};

/// What is resident that is no part of what is kept: the program's own pages, and what the allocator has ready.
const BASE: usize = 1 << 20;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Octets of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: usize = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kibibytes * 1024
}

/// A kind of answers: what it is called, how many there are, and how one is put into the cache.
type Kind<'a> = (&'static str, usize, &'a mut dyn FnMut(&mut Chance));

/// xorshift64*: any order will do, as long as it is the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound).unwrap()
    }
}

/// A name of about this many octets that nobody asked for before.
fn name(chance: &mut Chance, octets: usize) -> Name {
    let mut text = format!("{:016x}", chance.next());
    while text.len() + 2 < octets {
        let label = (octets - text.len() - 3).clamp(1, 60);
        text.push('.');
        text.extend(std::iter::repeat_n('x', label));
    }
    text.parse().unwrap()
}

fn put(cache: &Cache, name: &Name, records: usize, data: &[u8]) {
    let mut composer = ResponseComposer::new(&Question::new(name, RecordType::TXT, Class::IN));
    for _ in 0..records {
        composer.answer(name, RecordType::TXT, 3600, data);
    }
    let message = composer.finish();
    let restored = Restored {
        group: GroupId::DEFAULT,
        dnssec_ok: false,
        checking_disabled: false,
        origin: ReplyOrigin::Upstream,
        age: Duration::ZERO,
        message: &message,
    };
    cache.restore(&restored, Moment::ZERO).unwrap();
}

fn text(length: u8) -> Vec<u8> {
    let mut data = vec![length];
    data.resize(usize::from(length) + 1, b't');
    data
}

#[test]
fn resident_memory_stays_within_the_limit_and_a_tenth() {
    let limit = number("CACHE_MIB", 16) << 20;
    let names = number("CACHE_NAMES", 90_000);
    let cache = Cache::new(CacheConfig::new(limit, [7; 16]));
    let mut chance = Chance(1);
    let before = resident();
    let kinds: [Kind<'_>; 6] = [
        ("random names", names, &mut |chance| {
            let name = name(chance, 30);
            put(&cache, &name, 1, &text(14));
        }),
        ("names of 255 octets", names / 2, &mut |chance| {
            let name = name(chance, 253);
            put(&cache, &name, 1, &text(14));
        }),
        ("answers of 60 kB", 2 * limit / 60_000, &mut |chance| {
            let name = name(chance, 30);
            put(&cache, &name, 200, &text(255));
        }),
        ("random names again", names, &mut |chance| {
            let name = name(chance, 30);
            put(&cache, &name, 1, &text(14));
        }),
        ("everything at once", names, &mut |chance| {
            let octets = 24 + chance.below(230);
            let name = name(chance, octets);
            let length = u8::try_from(4 + chance.below(251)).unwrap();
            let records = match chance.below(1000) {
                // As many as a message holds.
                0 => 60_000 / (octets + usize::from(length) + 16),
                1..20 => 20,
                20..200 => 4,
                _ => 1,
            };
            put(&cache, &name, records, &text(length));
        }),
        (
            "answers of 60 kB again",
            2 * limit / 60_000,
            &mut |chance| {
                let name = name(chance, 30);
                put(&cache, &name, 200, &text(255));
            },
        ),
    ];
    let mut faults = Vec::new();
    for (kind, times, put) in kinds {
        let mut most = 0;
        for time in 0..times {
            put(&mut chance);
            if time % (times / 32).max(1) == 0 {
                most = most.max(resident());
            }
        }
        most = most.max(resident()).saturating_sub(before);
        let stats = cache.stats();
        println!(
            "{kind}: {} answers, {} octets of {limit}; resident at most {most}, {} % of the limit",
            stats.entries,
            stats.octets,
            most * 100 / limit
        );
        assert!(stats.octets <= limit);
        // Of the longest answers one fits into a segment.
        assert!(stats.octets > limit / 10 * 6, "it is full: {stats:?}");
        if most > limit / 10 * 11 + BASE {
            faults.push(kind);
        }
    }
    assert_eq!(faults, [""; 0], "resident beyond the limit and a tenth");
}
