//! Groups of upstreams: tiers, turns, races, fallback.

use super::*;
use crate::cache::Cache;
use std::sync::Arc;

#[test]
fn a_higher_tier_is_asked_only_while_no_lower_one_is_well() {
    let mut bench = Bench::with(upstreams(&[1, 0]), Strategy::Fastest);
    bench.ask(1, "a.example");
    assert_eq!(bench.opened[0].1, 1);
    bench.close(0, CloseReason::Refused);
    assert_eq!(bench.opened[1].1, 0);
}

#[test]
fn turns_go_round_the_group_and_a_race_runs_on_two_tracks() {
    let mut bench = Bench::with(upstreams(&[0, 0, 0]), Strategy::RoundRobin);
    for client in 0..6 {
        bench.ask(client, &format!("n{client}.example"));
    }
    assert_eq!(
        Vec::from_iter(bench.opened.iter().map(|(_, upstream, _)| *upstream)),
        [0, 1, 2]
    );
    let mut bench = Bench::with(upstreams(&[0, 0, 0]), Strategy::Race);
    bench.ask(1, "a.example");
    assert_eq!(bench.opened.len(), 2);
    bench.connect(0);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    bench.ask(2, "b.example");
    assert_eq!(bench.engine.in_flight(), 1);
}

#[test]
fn a_group_keeps_its_questions_to_itself() {
    let upstreams = upstreams(&[0, 0]);
    let group = |member| GroupConfig {
        members: vec![UpstreamId(member)],
        strategy: Strategy::Fastest,
        fallback: None,
        label: Box::default(),
    };
    let config = EngineConfig {
        upstreams,
        groups: vec![group(0), group(1)],
        budget: QUESTION_BUDGET,
        cache: Arc::new(Cache::off()),
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench.ask_group(1, "a.example", GroupId(1));
    assert_eq!(bench.opened[0].1, 1);
    bench.ask(2, "a.example");
    assert_eq!(
        bench.opened[1].1, 0,
        "the same name in another group is another question"
    );
    bench.close(0, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
    assert_eq!(
        bench.opened.len(),
        2,
        "a private group that fails asks nobody else"
    );
}

#[test]
fn a_fallback_is_asked_when_nobody_of_the_group_can_be_reached() {
    let mut bench = with_fallback(2);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.close(0, CloseReason::Refused);
    bench.close(1, CloseReason::Refused);
    assert_eq!(
        bench.opened.iter().map(|it| it.1).collect::<Vec<_>>(),
        [1, 2, 0]
    );
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_fallback_is_asked_when_all_of_the_group_failed_or_refuse() {
    let mut bench = with_fallback(1);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::REFUSED));
    assert_eq!(bench.opened[1].1, 0);
    bench.close(1, CloseReason::Refused);
    assert_eq!(
        bench.outcomes(),
        [(1, Rcode::REFUSED, None)],
        "what the group said is better than nothing"
    );
}

#[test]
fn a_fallback_waits_for_the_last_of_the_group() {
    let mut bench = with_fallback(3);
    bench.ask_group(1, "a.example", GroupId(1));
    for place in 0..3 {
        bench.connect(place);
        let queries = bench.written(place);
        bench.receive(place, &response(&queries[0], Rcode::REFUSED));
    }
    let asked = Vec::from_iter(bench.opened.iter().map(|it| it.1));
    assert_eq!(asked, [1, 2, 3, 0], "a private name goes to strangers last");
}

#[test]
fn an_answer_of_the_group_is_final_whatever_it_says() {
    let mut bench = with_fallback(1);
    bench.ask_group(1, "a.example", GroupId(1));
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::NXDOMAIN));
    assert_eq!(bench.outcomes(), [(1, Rcode::NXDOMAIN, None)]);
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn a_silent_group_is_waited_for_before_its_fallback_is_asked() {
    for private in [1, 2] {
        let mut bench = with_fallback(private);
        let public = |bench: &Bench| bench.opened.iter().position(|it| it.1 == 0);
        bench.ask_group(1, "a.example", GroupId(1));
        let (mut waited, mut connected) = (0, 0);
        while public(&bench).is_none() && waited < 2_000 {
            while connected < bench.opened.len() {
                bench.connect(connected);
                connected += 1;
            }
            bench.wait(10);
            waited += 10;
        }
        assert!((800..=1_400).contains(&waited), "{private}: {waited} ms");
        let place = public(&bench).unwrap();
        bench.connect(place);
        let queries = bench.written(place);
        bench.answer(place, &queries[0]);
        assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    }
}

#[test]
fn the_fallback_of_a_fallback_is_not_followed() {
    let group = |member, fallback| GroupConfig {
        members: vec![UpstreamId(member)],
        strategy: Strategy::Ordered,
        fallback: Some(GroupId(fallback)),
        label: Box::default(),
    };
    let config = EngineConfig {
        upstreams: upstreams(&[0, 0, 0]),
        groups: vec![group(0, 1), group(1, 2), group(2, 0)],
        budget: QUESTION_BUDGET,
        cache: Arc::new(Cache::off()),
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.close(1, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
    assert_eq!(bench.opened.len(), 2);
}

#[test]
fn a_failure_tells_of_the_group_that_failed() {
    let group = |member| GroupConfig {
        members: vec![UpstreamId(member)],
        strategy: Strategy::Ordered,
        fallback: None,
        label: Box::default(),
    };
    let known = UpstreamConfig::new("known", vec![endpoint("192.0.2.1:853")]);
    let config = EngineConfig {
        upstreams: vec![known, UpstreamConfig::new("unknown", Vec::new())],
        groups: vec![group(0), group(1)],
        budget: QUESTION_BUDGET,
        cache: Arc::new(Cache::off()),
    };
    let mut bench = Bench::two();
    bench.engine = Engine::new(config, [1; 32]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.ask_group(2, "b.example", GroupId(1));
    let (network_error, not_ready) = (Some(23), Some(14));
    assert_eq!(
        bench.outcomes(),
        [
            (1, Rcode::SERVFAIL, network_error),
            (2, Rcode::SERVFAIL, not_ready)
        ]
    );
}
