//! What the engine has kept of answers and failures, and what not.

use super::*;
use crate::cache::{Answered, CacheConfig};
use crate::wire::edns::EdeCode;

/// One upstream, and a cache.
fn bench() -> (Bench, Arc<Cache>) {
    let mut bench = Bench::one();
    let cache = Arc::new(Cache::new(CacheConfig::new(1 << 20, [3; 16])));
    let endpoints = vec![endpoint("192.0.2.1:853")];
    let upstreams = vec![UpstreamConfig::new("test", endpoints)];
    let config = EngineConfig {
        cache: Arc::clone(&cache),
        ..EngineConfig::new(upstreams, Strategy::Ordered)
    };
    bench.engine = Engine::new(config, [42; 32]);
    (bench, cache)
}

/// What is kept for somebody who asks for `name` without EDNS.
fn kept(cache: &Cache, name: &str, now: Moment) -> Option<Rcode> {
    let asker = Asker {
        id: 1,
        flags: Flags::NONE.with_recursion_desired(true),
        question: question(name),
        edns: None,
        options: crate::wire::ReplyOptions::NONE,
        transport: Transport::Tcp,
    };
    let mut reply = Vec::new();
    let answered = cache.answer(&asker, GroupId::DEFAULT, now, &mut reply);
    matches!(answered, Answered::Yes).then(|| ResponseView::parse(&reply).unwrap().rcode())
}

/// SERVFAIL, because validation failed.
pub(super) fn bogus(query: &(u16, String)) -> Vec<u8> {
    let mut message = response(query, Rcode::SERVFAIL);
    message[11] = 1;
    message
        .extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x06\x00\x0f\x00\x02\x00\x06");
    message
}

#[test]
fn data_found_bogus_is_a_failure_that_is_remembered_for_a_moment() {
    let (mut bench, cache) = bench();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &bogus(&queries[0]));
    let view = ResponseView::parse(&bench.replies[0].1).unwrap();
    assert_eq!(view.extended_errors().next().unwrap().code, EdeCode(6));
    let found = kept(&cache, "a.example", bench.now);
    assert_eq!(found, Some(Rcode::SERVFAIL));
    bench.wait(6_000);
    assert_eq!(kept(&cache, "a.example", bench.now), None);
}

#[test]
fn failures_are_kept_for_a_moment_where_answers_are_not() {
    let mut bench = Bench::one();
    let endpoints = vec![endpoint("192.0.2.1:853")];
    let upstreams = vec![UpstreamConfig::new("test", endpoints)];
    let config = EngineConfig {
        cache: Arc::new(Cache::new(CacheConfig::new(0, [3; 16]))),
        ..EngineConfig::new(upstreams, Strategy::Ordered)
    };
    bench.engine = Engine::new(config, [42; 32]);
    bench.ask(1, "a.example");
    bench.connect(0);
    let query = bench.written(0).remove(0);
    bench.receive(0, &response(&query, Rcode::REFUSED));
    bench.wait(900);
    bench.ask(2, "a.example");
    assert_eq!(bench.outcomes()[1], (2, Rcode::REFUSED, None));
    assert_eq!(bench.written(0), [], "it did not go out again");
    bench.wait(200);
    bench.ask(3, "a.example");
    let query = bench.written(0).remove(0);
    bench.answer(0, &query);
    bench.ask(4, "a.example");
    assert_eq!(bench.written(0).len(), 1, "an answer is not kept");
}

#[test]
fn nothing_of_a_signed_exchange_is_kept() {
    for (rcode, ends) in [
        (Rcode::NXDOMAIN, false),
        (Rcode::SERVFAIL, false),
        (GOOD, true),
    ] {
        let (mut bench, cache) = bench();
        let message = signed::query(signed::TSIG);
        bench.ask_signed(1, &message, Transport::Udp);
        bench.connect(0);
        let sent = bench.messages(0).remove(0);
        if ends {
            bench.wait(2_000);
        } else {
            let id = u16::from_be_bytes([sent[0], sent[1]]);
            bench.receive(0, &response(&(id, "www.example".into()), rcode));
        }
        assert_eq!(bench.replies.len(), 1);
        assert_eq!(kept(&cache, "www.example", bench.now), None);
    }
}

/// Refuses whatever is dialed from the `place`-th connection on.
fn refuse_from(bench: &mut Bench, mut place: usize) {
    while place < bench.opened.len() {
        bench.close(place, CloseReason::Refused);
        place += 1;
    }
}

#[test]
fn another_network_voids_what_failed_on_the_one_before() {
    let (mut bench, cache) = bench();
    for client in 0..40 {
        bench.ask(client, "a.example");
        refuse_from(&mut bench, 0);
        bench.wait(1_000);
        refuse_from(&mut bench, 0);
    }
    assert_eq!(bench.state(0), Some(HealthState::Down));
    let failed = kept(&cache, "a.example", bench.now);
    assert_eq!(failed, Some(Rcode::SERVFAIL), "its lifetime has grown");
    let dialed = bench.opened.len();
    bench.engine.handle_network_change(bench.now);
    bench.settle();
    assert_eq!(kept(&cache, "a.example", bench.now), None);
    bench.connect(dialed);
    bench.answer_probe(dialed);
    let up = |event: &&Event| matches!(event, Event::UpstreamUp { .. });
    assert_eq!(
        bench.events.iter().filter(up).count(),
        1,
        "whoever was told that it is down is told that it is up"
    );
}

/// Fails `name` with the upstream's own words.
fn refuse(bench: &mut Bench, name: &str) {
    let place = bench.opened.len();
    bench.ask(9, name);
    let query = sent(bench, place);
    receive_datagram(bench, place, &response(&query, Rcode::REFUSED));
}

fn datagrams_kept() -> (Bench, Arc<Cache>) {
    let (mut bench, cache) = bench();
    let mut upstreams = upstreams(&[0]);
    upstreams[0].protocol = Protocol::Udp;
    let config = EngineConfig {
        cache: Arc::clone(&cache),
        ..EngineConfig::new(upstreams, Strategy::Ordered)
    };
    bench.engine = Engine::new(config, [42; 32]);
    (bench, cache)
}

#[test]
fn a_slow_name_among_others_puts_no_clear_text_upstream_in_doubt() {
    let (mut bench, cache) = datagrams_kept();
    for _ in 0..4 {
        refuse(&mut bench, "failed.example");
        bench.wait(8_000);
    }
    refuse(&mut bench, "failed.example");
    let first = bench.opened.len();
    bench.ask(1, "quick.example");
    bench.ask(2, "slow.example");
    let (quick, slow) = (sent(&mut bench, first), sent(&mut bench, first + 1));
    bench.wait(300);
    receive_datagram(&mut bench, first, &response(&quick, GOOD));
    bench.wait(300);
    let said = |event: &Event| matches!(event, Event::UpstreamSuspect { .. });
    assert!(!bench.events.iter().any(said));
    receive_datagram(&mut bench, first + 1, &response(&slow, GOOD));
    let failed = kept(&cache, "failed.example", bench.now);
    assert_eq!(failed, Some(Rcode::REFUSED), "nothing has recovered");
}

#[test]
fn one_slow_name_on_a_quiet_line_is_no_recovery_and_the_end_of_an_outage_is() {
    for (silence, recovers) in [(600, false), (1_900, true)] {
        let (mut bench, cache) = datagrams_kept();
        for _ in 0..4 {
            refuse(&mut bench, "failed.example");
            bench.wait(8_000);
        }
        refuse(&mut bench, "failed.example");
        let place = bench.opened.len();
        bench.ask(1, "slow.example");
        let slow = sent(&mut bench, place);
        bench.wait(silence);
        assert_ne!(bench.state(0), Some(HealthState::Up));
        receive_datagram(&mut bench, place, &response(&slow, GOOD));
        assert_eq!(bench.state(0), Some(HealthState::Up));
        let failed = kept(&cache, "failed.example", bench.now);
        assert_eq!(failed.is_none(), recovers, "{silence} ms: {failed:?}");
    }
}
