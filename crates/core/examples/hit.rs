//! What a question answered from the cache costs in the core: from the octets of the query to those of the reply, without sockets.
//!
//! Prints nanoseconds, with few and with many answers kept: for the whole path with names in an order that no cache of the processor foresees,
//! for looking up and rendering alone, and for that once more at once, when no memory is far. What the last grows by is work; what only the
//! others grow by is waiting for memory.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it measures, prints, and knows what it made up"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use dotward_core::cache::{Answered, Cache, CacheConfig, Restored};
use dotward_core::front::{Client, Front, FrontConfig, Verdict};
use dotward_core::policy::{Acl, PolicyConfig};
use dotward_core::time::{Moment, WallSeconds};
use dotward_core::upstream::GroupId;
use dotward_core::wire::{
    Asker, Class, Name, QueryOptions, QueryView, Question, RecordType, ReplyOrigin,
    ResponseComposer, Transport, write_query,
};

const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
const ROUNDS: usize = 500_000;
/// So many answers, with their places in the index, are held by the nearest cache of any processor, and their pages by its table of pages.
const NEAR: usize = 20;

fn name(place: usize) -> Name {
    format!("www.host-{place:07}.example.com").parse().unwrap()
}

fn response(name: &Name) -> Vec<u8> {
    let question = Question::new(name, RecordType::A, Class::IN);
    let mut message = ResponseComposer::new(&question).finish();
    for _ in 0..2 {
        message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
    }
    message[7] = 2;
    message
}

fn query(name: &Name) -> Vec<u8> {
    let question = Question::new(name, RecordType::A, Class::IN);
    let options = QueryOptions {
        checking_disabled: false,
        dnssec_ok: false,
        keepalive: false,
        padding: None,
    };
    let mut message = Vec::new();
    write_query(question.view(), options, &mut message);
    message
}

/// Nanoseconds with `entries` answers kept: for a question from its octets to those of the reply, and for looking up and rendering alone, with
/// answers that were asked for some hundreds of questions ago, and again at once.
fn measure(entries: usize) -> [f64; 3] {
    let cache = Arc::new(Cache::new(CacheConfig::new(1 << 30, [7; 16])));
    for place in 0..entries {
        let restored = Restored {
            group: GroupId::DEFAULT,
            dnssec_ok: false,
            checking_disabled: false,
            origin: ReplyOrigin::Upstream,
            age: Duration::ZERO,
            message: &response(&name(place)),
        };
        cache.restore(&restored, NOW).unwrap();
    }
    let front = Front::new(FrontConfig {
        cache,
        ..FrontConfig::new(
            Acl::new(&["127.0.0.0/8".parse().unwrap()]),
            PolicyConfig::default(),
        )
    });
    let client = Client {
        address: "127.0.0.1:5353".parse().unwrap(),
        transport: Transport::Udp,
        idle: Duration::ZERO,
    };
    // As many queries as fit into a processor's cache, so that only what is kept is far away; another lot each round.
    let mut random = 1_u64;
    let (mut spent, mut asked) = ([Duration::ZERO; 3], 0);
    let mut reply = Vec::with_capacity(2_048);
    while asked < ROUNDS {
        let lot: Vec<Vec<u8>> = (0..1_000)
            .map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                query(&name((random >> 33) as usize % entries))
            })
            .collect();
        let began = Instant::now();
        for message in &lot {
            let verdict = front.handle_query(message, &client, NOW, WallSeconds(0), &mut reply);
            assert!(matches!(verdict, Verdict::Cached));
        }
        spent[0] += began.elapsed();
        // The same names are nearer by now; asked again within a few they are as near as can be, and what is left is the work.
        let askers: Vec<Asker> = lot.iter().map(|message| asker(message)).collect();
        for few in askers.chunks(NEAR) {
            for spent in &mut spent[1..] {
                let began = Instant::now();
                for asker in few {
                    let answered = front
                        .cache()
                        .answer(asker, GroupId::DEFAULT, NOW, &mut reply);
                    assert_eq!(answered, Answered::Yes);
                }
                *spent += began.elapsed();
            }
        }
        asked += lot.len();
    }
    spent.map(|spent| spent.as_secs_f64() * 1e9 / asked as f64)
}

fn asker(message: &[u8]) -> Asker {
    let query = QueryView::parse(message).unwrap();
    Asker::new(&query, Transport::Udp, 1232).to_owned()
}

fn main() {
    for entries in [1_000, 10_000, 100_000, 1_000_000] {
        let [whole, alone, near] = measure(entries);
        println!(
            "{entries:>9} kept: {whole:4.0} ns in all, {alone:4.0} ns to look up and render, {near:4.0} ns once more"
        );
    }
}
