//! Private addresses from public upstreams.

use super::*;
use crate::cache::{Answered, CacheConfig};
use crate::limits::CONNECTIONS_PER_UPSTREAM_MAX;
use crate::policy::RebindingGuard;
use crate::shared::{SharedAction, SharedAnswer, SharedConfig};

const INSIDE: [u8; 4] = [192, 168, 1, 1];
const OUTSIDE: [u8; 4] = [192, 0, 2, 1];

/// RCODE and error of an answer that is not told.
const WITHHELD: (Rcode, Option<u16>) = (GOOD, Some(15));

fn guard(allowed: &[&str]) -> Option<Arc<RebindingGuard>> {
    let allowed: Vec<crate::wire::Name> = allowed.iter().map(|it| it.parse().unwrap()).collect();
    Some(Arc::new(RebindingGuard::new(&allowed)))
}

/// The answer to a query that was written: this address, for so many seconds.
fn address((id, name): &(u16, String), address: [u8; 4], ttl: u32) -> Vec<u8> {
    let mut composer = ResponseComposer::new(&question(name));
    composer.answer(&name.parse().unwrap(), RecordType::A, ttl, &address);
    let mut message = composer.finish();
    message[..2].copy_from_slice(&id.to_be_bytes());
    message
}

/// The same RCODE with one more record, in the additional section.
fn with_additional(query: &(u16, String), rcode: Rcode) -> Vec<u8> {
    let mut message = response(query, rcode);
    message[11] += 1;
    message.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01");
    message
}

/// An engine with these upstreams, a guard and a cache.
fn guarded(count: usize) -> (Bench, Arc<Cache>) {
    let cache = Arc::new(Cache::new(CacheConfig::new(1 << 20, [3; 16])));
    cache.set_guard(guard(&["allowed.example"]));
    let config = EngineConfig {
        cache: Arc::clone(&cache),
        ..EngineConfig::new(upstreams(&vec![0; count]), Strategy::Ordered)
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    (bench, cache)
}

/// One question, asked and answered over the first connection.
fn exchange(bench: &mut Bench, name: &str, told: [u8; 4], ttl: u32) {
    bench.ask(1, name);
    if bench.opened.len() == 1 && bench.replies.is_empty() {
        bench.connect(0);
    }
    let queries = bench.written(0);
    assert_eq!(queries.len(), 1, "{name} goes out");
    bench.receive(0, &address(&queries[0], told, ttl));
}

/// RCODE and error of the last reply, and how many records it has.
fn last(bench: &Bench) -> ((Rcode, Option<u16>), usize) {
    let (_, message) = bench.replies.last().unwrap();
    let view = ResponseView::parse(message).unwrap();
    let (_, rcode, error) = *bench.outcomes().last().unwrap();
    let records = view.records().flatten();
    let records = records.filter(|record| record.rtype != RecordType::OPT);
    ((rcode, error), records.count())
}

/// What the cache tells of a name.
fn kept(cache: &Cache, name: &str, now: Moment) -> Option<Vec<u8>> {
    let asker = Asker {
        id: 7,
        flags: Flags::NONE.with_recursion_desired(true),
        question: question(name),
        edns: None,
        options: crate::wire::ReplyOptions::NONE,
        transport: Transport::Udp,
    };
    let mut reply = Vec::new();
    let answered = cache.answer(&asker, GroupId::DEFAULT, now, &mut reply);
    (answered == Answered::Yes).then_some(reply)
}

#[test]
fn everybody_who_waits_is_told_that_a_private_address_is_withheld() {
    let (mut bench, cache) = guarded(1);
    bench.ask(1, "rebound.example");
    bench.ask(2, "REBOUND.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &address(&queries[0], INSIDE, 300));
    let (rcode, error) = WITHHELD;
    assert_eq!(bench.outcomes(), [(1, rcode, error), (2, rcode, error)]);
    assert_eq!(last(&bench), (WITHHELD, 0));
    let view = ResponseView::parse(&bench.replies[1].1).unwrap();
    assert_eq!(view.question().unwrap().to_string(), "REBOUND.example IN A");
    assert!(!view.header().flags.authentic_data());
    assert_eq!(bench.engine.counts().withheld, 1);
    assert_eq!(bench.events.last(), Some(&Event::AnswerWithheld));
    // Who asks later is told the same, from here, and without an OPT record when he has sent none.
    let reply = kept(&cache, "rebound.example", bench.now).unwrap();
    assert_eq!(ResponseView::parse(&reply).unwrap().records().count(), 0);
    exchange(&mut bench, "public.example", OUTSIDE, 300);
    assert_eq!(last(&bench), ((GOOD, None), 1));
    exchange(&mut bench, "nas.Allowed.example", INSIDE, 300);
    assert_eq!(last(&bench), ((GOOD, None), 1));
}

#[test]
fn what_is_withheld_is_kept_as_long_as_it_would_have_been_told() {
    let (mut bench, cache) = guarded(1);
    exchange(&mut bench, "a.example", INSIDE, 60);
    exchange(&mut bench, "never.example", INSIDE, 0);
    assert_eq!(last(&bench), (WITHHELD, 0));
    assert!(kept(&cache, "never.example", bench.now).is_none());
    bench.now = bench.now + Duration::from_secs(59);
    assert!(kept(&cache, "a.example", bench.now).is_some());
    bench.now = bench.now + Duration::from_secs(1);
    assert!(kept(&cache, "a.example", bench.now).is_none());
    let rules = cache.rules();
    cache.set_rules(crate::cache::CacheRules {
        negative_ttl: 10,
        ..rules
    });
    exchange(&mut bench, "b.example", INSIDE, 60);
    assert!(kept(&cache, "b.example", bench.now).is_some());
    bench.now = bench.now + Duration::from_secs(10);
    assert!(kept(&cache, "b.example", bench.now).is_none());
}

#[test]
fn an_older_answer_is_no_stand_in_for_one_that_is_withheld() {
    for ttl in [0, 60] {
        let (mut bench, cache) = guarded(1);
        exchange(&mut bench, "a.example", OUTSIDE, 60);
        bench.now = bench.now + Duration::from_secs(60);
        exchange(&mut bench, "a.example", INSIDE, ttl);
        assert_eq!(last(&bench), (WITHHELD, 0));
        let mut addresses = 0;
        cache.visit(bench.now, |kept| {
            let view = ResponseView::parse(kept.message).unwrap();
            addresses += view.records().count();
        });
        assert_eq!(addresses, 0, "what was told before is gone");
    }
}

#[test]
fn the_first_answer_ends_the_question_and_a_second_is_nobodys() {
    let (mut bench, _) = guarded(2);
    bench.ask(1, "a.example");
    bench.connect(0);
    let first = bench.written(0);
    bench.wait(400);
    bench.connect(1);
    let second = bench.written(1);
    bench.receive(1, &address(&second[0], INSIDE, 60));
    assert_eq!(last(&bench), (WITHHELD, 0));
    bench.receive(0, &address(&first[0], OUTSIDE, 60));
    assert_eq!((bench.replies.len(), bench.engine.in_flight()), (1, 0));
}

#[test]
fn what_a_route_leads_to_is_believed_and_its_fallback_is_not() {
    let mut bench = with_fallback(1);
    bench.engine.set_guard(guard(&[]));
    bench.ask_group(1, "nas.corp.example", GroupId(1));
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &address(&queries[0], INSIDE, 60));
    assert_eq!(last(&bench), ((GOOD, None), 1));
    bench.ask_group(2, "gone.corp.example", GroupId(1));
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::REFUSED));
    assert_eq!(bench.opened[1].1, 0, "the public one takes over");
    bench.connect(1);
    let queries = bench.written(1);
    bench.receive(1, &address(&queries[0], INSIDE, 60));
    assert_eq!(last(&bench), (WITHHELD, 0));
}

#[test]
fn the_answer_to_a_signed_query_passes() {
    let (mut bench, _) = guarded(1);
    bench.ask_signed(1, &signed::query(signed::TSIG), Transport::Udp);
    bench.connect(0);
    let sent = bench.messages(0).remove(0);
    let query = (u16::from_be_bytes([sent[0], sent[1]]), "wWw.example".into());
    let mut answer = address(&query, INSIDE, 60);
    answer[11] += 1;
    answer.extend_from_slice(signed::TSIG);
    bench.receive(0, &answer);
    assert_eq!(bench.replies[0].1[2..], answer[2..]);
}

#[test]
fn additional_records_alone_are_given_up_also_of_a_poor_answer() {
    let (mut bench, _) = guarded(1);
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &with_additional(&queries[0], Rcode::NXDOMAIN));
    assert_eq!(last(&bench), ((Rcode::NXDOMAIN, None), 0));
    let (mut bench, _) = guarded(2);
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &with_additional(&queries[0], Rcode::REFUSED));
    assert!(bench.replies.is_empty(), "the other one is asked");
    for place in 1..=CONNECTIONS_PER_UPSTREAM_MAX {
        if bench.opened.len() > place {
            bench.close(place, CloseReason::Refused);
        }
    }
    assert_eq!(last(&bench), ((Rcode::REFUSED, None), 0));
    assert_eq!(bench.engine.counts().trimmed, 1);
}

#[test]
fn a_guard_of_now_judges_the_answer_to_a_question_of_before() {
    let (mut bench, _) = guarded(1);
    bench.engine.set_guard(None);
    exchange(&mut bench, "a.example", INSIDE, 60);
    assert_eq!(last(&bench), ((GOOD, None), 1));
    bench.ask(1, "b.example");
    bench.engine.set_guard(guard(&[]));
    let queries = bench.written(0);
    bench.receive(0, &address(&queries[0], INSIDE, 60));
    assert_eq!(last(&bench), (WITHHELD, 0));
}

#[test]
fn what_is_held_in_want_of_something_better_is_given_up_when_the_guard_is_another() {
    for (before, after, records) in [
        (None, guard(&[]), 0),
        (guard(&["example"]), guard(&[]), 0),
        (guard(&["example"]), guard(&["example"]), 1),
        (None, None, 1),
    ] {
        let (mut bench, _) = guarded(2);
        bench.engine.set_guard(before);
        bench.ask(1, "a.example");
        bench.connect(0);
        let queries = bench.written(0);
        let mut poor = address(&queries[0], INSIDE, 60);
        poor[3] |= 2;
        bench.receive(0, &poor);
        bench.engine.set_guard(after);
        bench.close(1, CloseReason::Refused);
        bench.wait(2_000);
        assert_eq!(last(&bench).0.0, Rcode::SERVFAIL);
        assert_eq!(last(&bench).1, records);
    }
}

#[test]
fn what_another_instance_keeps_is_not_used_and_what_is_withheld_is_not_shared() {
    let wall = Duration::from_secs(1_800_000_000);
    let asked = |bench: &mut Bench| {
        bench.engine.share(SharedConfig {
            labels: vec![Box::default()],
            authenticated: true,
        });
        bench.ask(1, "a.example");
        let action = bench.engine.poll_shared(wall, bench.now);
        let Some(SharedAction::Fetch { ticket, .. }) = action else {
            panic!("it is looked for");
        };
        ticket
    };
    let answered = |bench: &mut Bench| {
        bench.connect(0);
        let queries = bench.written(0);
        bench.receive(0, &address(&queries[0], INSIDE, 300));
        last(bench)
    };
    // One that has no guard keeps the answer for all.
    let (mut bench, _) = guarded(1);
    bench.engine.set_guard(None);
    let ticket = asked(&mut bench);
    let now = bench.now;
    let not_there = SharedAnswer::NotThere;
    bench
        .engine
        .handle_shared_answer(ticket, not_there, wall, now);
    bench.settle();
    assert_eq!(answered(&mut bench), ((GOOD, None), 1));
    let Some(SharedAction::Keep { value, .. }) = bench.engine.poll_shared(wall, now) else {
        panic!("it is shared");
    };
    // One that has a guard asks its upstream all the same.
    let (mut bench, _) = guarded(1);
    let ticket = asked(&mut bench);
    let found = SharedAnswer::Found(&value);
    bench.engine.handle_shared_answer(ticket, found, wall, now);
    bench.settle();
    assert!(bench.replies.is_empty());
    assert_eq!(answered(&mut bench), (WITHHELD, 0));
    let more = bench.engine.poll_shared(wall, bench.now);
    assert_eq!(more, None, "nothing is shared");
    assert_eq!(bench.engine.shared_stats().unwrap().unusable, 1);
}
