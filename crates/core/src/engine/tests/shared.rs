//! The cache that several instances share.

use super::*;
use crate::cache::CacheConfig;
use crate::limits::{SHARED_FAILURES_MAX, SHARED_HEAD_START, SHARED_LOOKUPS_MAX};
use crate::shared::{BreakerState, SharedAction, SharedAnswer, SharedConfig, SharedTicket};

const WALL: Duration = Duration::from_secs(1_800_000_000);

/// An engine with a cache of its own and a share in another.
fn sharing(seed: u8) -> Bench {
    let mut bench = Bench::one();
    let config = EngineConfig {
        cache: Arc::new(Cache::new(CacheConfig::new(1 << 20, [seed; 16]))),
        ..EngineConfig::new(upstreams(&[0]), Strategy::Ordered)
    };
    bench.engine = Engine::new(config, [seed; 32]);
    bench.engine.share(SharedConfig {
        labels: vec![Box::default()],
        authenticated: true,
    });
    bench
}

/// The time since 1970 at the bench's moment.
fn wall(bench: &Bench) -> Duration {
    WALL + bench.now.since(Moment::ZERO)
}

fn actions(bench: &mut Bench) -> Vec<SharedAction> {
    let (wall, now) = (wall(bench), bench.now);
    std::iter::from_fn(|| bench.engine.poll_shared(wall, now)).collect()
}

fn fetched(bench: &mut Bench) -> Vec<(SharedTicket, String)> {
    let fetch = |action| match action {
        SharedAction::Fetch { ticket, key } => Some((ticket, String::from_utf8(key).unwrap())),
        SharedAction::Keep { .. } => None,
    };
    actions(bench).into_iter().filter_map(fetch).collect()
}

fn found(bench: &mut Bench, ticket: SharedTicket, answer: SharedAnswer<'_>) {
    let wall = wall(bench);
    bench
        .engine
        .handle_shared_answer(ticket, answer, wall, bench.now);
    bench.settle();
}

/// An answer with an address, which can be kept.
fn data(query: &(u16, String), ttl: u32) -> Vec<u8> {
    let mut composer = ResponseComposer::new(&question(&query.1));
    let owner = query.1.parse().unwrap();
    composer.answer(&owner, RecordType::A, ttl, &[192, 0, 2, 7]);
    let mut message = composer.finish();
    message[..2].copy_from_slice(&query.0.to_be_bytes());
    message
}

/// What one instance that was asked by `client` for a.example gives away, and the key.
fn given_away(ttl: u32) -> (String, Vec<u8>) {
    let mut first = sharing(1);
    first.ask(1, "A.example");
    let fetches = fetched(&mut first);
    assert_eq!(first.opened.len(), 0, "the upstream is asked later");
    found(&mut first, fetches[0].0, SharedAnswer::NotThere);
    first.connect(0);
    let query = first.written(0).remove(0);
    first.receive(0, &data(&query, ttl));
    assert_eq!(first.outcomes(), [(1, GOOD, None)]);
    match actions(&mut first).remove(0) {
        SharedAction::Keep {
            key,
            value,
            seconds,
        } => {
            assert_eq!(seconds, u64::from(ttl));
            let key = String::from_utf8(key).unwrap();
            assert_eq!(key, fetches[0].1);
            (key, value)
        }
        SharedAction::Fetch { .. } => panic!("nothing is to be looked up"),
    }
}

fn ttl_of(reply: &[u8]) -> u32 {
    let view = ResponseView::parse(reply).unwrap();
    view.records().flatten().next().unwrap().ttl
}

#[test]
fn what_one_instance_learns_answers_the_other_without_its_upstream() {
    let (key, value) = given_away(300);
    assert_eq!(key, "dotward:1::0:1:a.example");
    let mut second = sharing(2);
    second.wait(100_000);
    second.ask(2, "a.EXAMPLE");
    second.ask(3, "a.example");
    let fetches = fetched(&mut second);
    assert_eq!(fetches.len(), 1, "equal questions look once");
    assert_eq!(fetches[0].1, key);
    second.wait(1);
    found(&mut second, fetches[0].0, SharedAnswer::Found(&value));
    assert_eq!(second.outcomes(), [(2, GOOD, None), (3, GOOD, None)]);
    assert!(second.opened.is_empty(), "the upstream was not asked");
    // A hundred seconds passed on the way.
    assert_eq!(ttl_of(&second.replies[0].1), 199);
    // It is kept here as well, and not written again.
    assert_eq!(second.engine.cache.stats().entries, 1);
    assert!(actions(&mut second).is_empty());
    assert_eq!(second.engine.shared_stats().unwrap().hits, 1);
    assert_eq!(second.engine.load().exchanges, 0);
}

#[test]
fn a_silent_store_costs_a_question_its_head_start_and_then_nothing() {
    let mut bench = sharing(1);
    for client in 0..SHARED_FAILURES_MAX {
        bench.ask(client, &format!("n{client}.example"));
        let began = bench.now;
        let before = bench.engine.load().watches;
        while bench.engine.load().watches == before {
            bench.wait(1);
        }
        let waited = bench.now.since(began);
        assert!(waited <= SHARED_HEAD_START + Duration::from_millis(1));
    }
    let stats = bench.engine.shared_stats().unwrap();
    assert_eq!(stats.late, u64::from(SHARED_FAILURES_MAX));
    assert_eq!(stats.breaker, BreakerState::Open);
    let sent = bench.engine.load().watches;
    bench.ask(100, "now.example");
    assert_eq!(
        bench.engine.load().watches,
        sent + 1,
        "nothing is waited for"
    );
    // Answers that come at last do not close it, and hurt nobody.
    for (ticket, _) in fetched(&mut bench) {
        found(&mut bench, ticket, SharedAnswer::NotThere);
    }
    let stats = bench.engine.shared_stats().unwrap();
    assert_eq!((stats.breaker, stats.skipped), (BreakerState::Open, 1));
}

#[test]
fn after_a_pause_one_question_tries_the_store_and_waits_for_nothing() {
    let mut bench = sharing(1);
    for client in 0..SHARED_FAILURES_MAX {
        bench.ask(client, &format!("n{client}.example"));
        let (ticket, _) = fetched(&mut bench).remove(0);
        found(&mut bench, ticket, SharedAnswer::Failed);
    }
    let sent = bench.engine.load().watches;
    assert_eq!(sent, SHARED_FAILURES_MAX as usize, "all went out at once");
    bench.now = bench.now + Duration::from_millis(500);
    bench.ask(100, "trial.example");
    bench.ask(101, "other.example");
    assert_eq!(bench.engine.load().watches, sent + 2);
    let fetches = fetched(&mut bench);
    assert_eq!(fetches.len(), 1);
    found(&mut bench, fetches[0].0, SharedAnswer::NotThere);
    let stats = bench.engine.shared_stats().unwrap();
    assert_eq!(stats.breaker, BreakerState::Closed);
}

#[test]
fn whoever_has_usable_data_first_answers() {
    let (_, value) = given_away(300);
    let mut bench = sharing(2);
    bench.ask(1, "a.example");
    let (ticket, _) = fetched(&mut bench).remove(0);
    bench.wait(5);
    bench.connect(0);
    let query = bench.written(0).remove(0);
    // The store is slower than its head start and yet faster than the upstream.
    found(&mut bench, ticket, SharedAnswer::Found(&value));
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.receive(0, &data(&query, 300));
    assert_eq!(bench.replies.len(), 1, "one reply");

    bench.ask(2, "b.example");
    let (ticket, _) = fetched(&mut bench).remove(0);
    bench.wait(5);
    let query = bench.written(0).remove(0);
    bench.receive(0, &data(&query, 300));
    found(&mut bench, ticket, SharedAnswer::Found(&value));
    assert_eq!(bench.replies.len(), 2, "one reply each");
    assert_eq!(bench.engine.shared_stats().unwrap().outrun, 1);
}

#[test]
fn what_is_no_answer_to_the_question_is_not_used() {
    let (_, value) = given_away(300);
    let mut other_label = value.clone();
    other_label.splice(2..3, [1, b'x']);
    let mut other_flags = value.clone();
    other_flags[1] = 1;
    let mut truncated = value.clone();
    // The TC bit of the message, which stands behind 17 octets and its ID.
    truncated[17 + 2] |= 2;
    let garbage: [&[u8]; 7] = [
        b"",
        b"\x01",
        b"not ours at all",
        &value[..value.len() - 1],
        &other_label,
        &other_flags,
        &truncated,
    ];
    let mut bench = sharing(2);
    for octets in garbage {
        bench.ask(1, "a.example");
        let (ticket, _) = fetched(&mut bench).remove(0);
        let unusable = bench.engine.shared_stats().unwrap().unusable;
        found(&mut bench, ticket, SharedAnswer::Found(octets));
        assert_eq!(
            bench.engine.shared_stats().unwrap().unusable,
            unusable + 1,
            "{octets:?}"
        );
        assert!(bench.replies.is_empty());
        // The upstream answers instead; it keeps nothing, so that the next round asks again.
        if unusable == 0 {
            bench.connect(0);
        }
        let query = bench.written(0).remove(0);
        bench.answer(0, &query);
        bench.replies.clear();
    }
    // The right value under the key of another name.
    bench.ask(1, "b.example");
    let (ticket, _) = fetched(&mut bench).remove(0);
    found(&mut bench, ticket, SharedAnswer::Found(&value));
    assert!(bench.replies.is_empty());
}

#[test]
fn what_has_no_time_left_is_not_used() {
    let (_, value) = given_away(10);
    let mut bench = sharing(2);
    bench.wait(20_000);
    bench.ask(1, "a.example");
    let (ticket, _) = fetched(&mut bench).remove(0);
    found(&mut bench, ticket, SharedAnswer::Found(&value));
    assert!(bench.replies.is_empty());
    assert_eq!(bench.opened.len(), 1, "the upstream is asked");
}

#[test]
fn lookups_and_writes_are_bounded_and_what_is_beyond_is_counted() {
    let mut bench = sharing(1);
    for client in 0..u32::try_from(SHARED_LOOKUPS_MAX).unwrap() + 10 {
        bench.ask(client, &format!("n{client}.example"));
    }
    assert_eq!(fetched(&mut bench).len(), SHARED_LOOKUPS_MAX);
    assert_eq!(bench.engine.shared_stats().unwrap().skipped, 10);
    bench.wait(10);
    bench.connect(0);
    for query in bench.written(0) {
        bench.receive(0, &data(&query, 300));
    }
    let stats = bench.engine.shared_stats().unwrap();
    // The store was silent all the time.
    assert_eq!(stats.breaker, BreakerState::Open);
    assert_eq!(stats.writes_dropped, bench.replies.len() as u64);
    assert!(actions(&mut bench).is_empty());
}

#[test]
fn what_an_open_line_brought_is_not_believed_to_be_authentic() {
    let (_, value) = given_away(300);
    for authenticated in [true, false] {
        let mut octets = value.clone();
        // The AD bit of the message.
        octets[17 + 3] |= 0x20;
        let mut bench = sharing(3);
        bench.engine.share(SharedConfig {
            labels: vec![Box::default()],
            authenticated,
        });
        let asker = Asker {
            id: 1,
            flags: Flags::NONE
                .with_recursion_desired(true)
                .with_authentic_data(true),
            question: question("a.example"),
            edns: None,
            options: crate::wire::ReplyOptions::NONE,
            transport: Transport::Udp,
        };
        let request = Request {
            asker,
            group: GroupId::DEFAULT,
            source: crate::exchange::Source::of([192, 0, 2, 1].into()),
            since: bench.now,
            stale: false,
            signed: None,
        };
        bench.engine.submit(request, 1, bench.now);
        let (ticket, _) = fetched(&mut bench).remove(0);
        found(&mut bench, ticket, SharedAnswer::Found(&octets));
        let view = ResponseView::parse(&bench.replies[0].1).unwrap();
        assert_eq!(view.header().flags.authentic_data(), authenticated);
    }
}

#[test]
fn the_answer_to_a_signed_query_is_neither_looked_up_nor_given_away() {
    let mut bench = sharing(1);
    let mut message = Vec::new();
    let options = crate::wire::QueryOptions {
        checking_disabled: false,
        dnssec_ok: false,
        keepalive: false,
        padding: None,
    };
    crate::wire::write_query(question("a.example").view(), options, &mut message);
    // A TSIG record behind all others (RFC 8945 section 5.1); what it says is between its client and the upstream.
    message[11] += 1;
    message.extend_from_slice(b"\x03key\0\x00\xfa\x00\xff\0\0\0\0\x00\x00");
    let view = QueryView::parse(&message).unwrap();
    let asker = Asker {
        id: 1,
        flags: Flags::NONE.with_recursion_desired(true),
        question: question("a.example"),
        edns: None,
        options: crate::wire::ReplyOptions::NONE,
        transport: Transport::Udp,
    };
    let request = Request {
        asker,
        group: GroupId::DEFAULT,
        source: crate::exchange::Source::of([192, 0, 2, 1].into()),
        since: bench.now,
        stale: false,
        signed: crate::exchange::SignedQuery::of(&view),
    };
    assert!(request.signed.is_some());
    bench.engine.submit(request, 1, bench.now);
    bench.settle();
    assert!(actions(&mut bench).is_empty());
    assert_eq!(bench.opened.len(), 1, "it goes out at once");
}

#[test]
fn a_store_that_is_slow_for_long_is_asked_again_when_it_is_quick() {
    let mut bench = sharing(1);
    bench.ask(0, "first.example");
    for (ticket, _) in fetched(&mut bench) {
        found(&mut bench, ticket, SharedAnswer::NotThere);
    }
    bench.connect(0);
    for query in bench.written(0) {
        bench.receive(0, &data(&query, 300));
    }
    // The answer of the store comes when its question has ended, and another one has its place in the table.
    for round in 1..=u32::try_from(SHARED_LOOKUPS_MAX).unwrap() + 1 {
        let mut tickets = Vec::new();
        for half in [2 * round, 2 * round + 1] {
            bench.ask(half, &format!("n{half}.example"));
            tickets.extend(fetched(&mut bench));
            if half == 2 * round {
                bench.wait(5);
            } else {
                let (ticket, _) = tickets.pop().unwrap();
                found(&mut bench, ticket, SharedAnswer::NotThere);
            }
            for query in bench.written(0) {
                bench.receive(0, &data(&query, 300));
            }
        }
        for (ticket, _) in tickets {
            found(&mut bench, ticket, SharedAnswer::NotThere);
        }
    }
    assert_eq!(bench.engine.shared_stats().unwrap().skipped, 0);
}
