//! Upstreams and connections that are slow or say nothing, and when a question goes out a second time.

use super::*;

#[test]
fn a_mute_first_upstream_costs_a_question_the_patience_and_no_more() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    assert_eq!(bench.written(0).len(), 1);
    bench.wait(400);
    assert_eq!(bench.opened[1].1, 1);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    assert_eq!(bench.state(0), Some(HealthState::Suspect));
    bench.ask(2, "b.example");
    assert_eq!(bench.written(1).len(), 1);
}

#[test]
fn a_silent_connection_is_replaced_while_its_late_answer_still_counts() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let first = bench.written(0);
    bench.wait(450);
    assert_eq!(
        bench.opened.len(),
        2,
        "another connection to the same upstream"
    );
    bench.answer(0, &first[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_slow_name_on_a_living_connection_is_not_asked_twice() {
    let mut bench = Bench::one();
    bench.ask(1, "slow.example");
    bench.connect(0);
    let slow = bench.written(0);
    for client in 2..20 {
        bench.ask(client, &format!("n{client}.example"));
        let queries = bench.written(0);
        bench.wait(50);
        bench.answer(0, &queries[0]);
    }
    assert_eq!(bench.opened.len(), 1);
    bench.answer(0, &slow[0]);
    assert_eq!(bench.outcomes().last(), Some(&(1, GOOD, None)));
}

#[test]
fn a_question_nobody_answers_fails_at_its_deadline() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(1_999);
    assert!(bench.replies.is_empty());
    bench.wait(1);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(22))]);
    bench.wait(60_000);
    assert_eq!(bench.replies.len(), 1);
}

#[test]
fn hedges_are_a_share_of_traffic() {
    let mut bench = Bench::two();
    bench.ask(0, "first.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    for client in 1..1_000 {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.written(0);
    bench.wait(80);
    bench.connect(1);
    let hedged = bench.written(1).len();
    assert!((64..200).contains(&hedged), "{hedged} hedged at once");
    bench.wait(320);
    assert_eq!(
        hedged + bench.written(1).len(),
        999,
        "patience has an end all the same"
    );
}

#[test]
fn two_slow_upstreams_are_not_asked_everything_twice() {
    let written = queries_of_slow_upstreams(&mut Bench::two(), [800, 800]);
    // The share of traffic that may be asked twice, and the burst.
    let bound = 300 + 500 / QUESTIONS_PER_HEDGE + HEDGE_BURST;
    assert!(
        written < usize::try_from(bound).unwrap(),
        "{written} queries for 300 questions"
    );
}

#[test]
fn a_quick_upstream_helps_out_a_slow_one() {
    let mut bench = Bench::two();
    let written = queries_of_slow_upstreams(&mut bench, [800, 10]);
    assert!(written > 580, "{written} queries for 300 questions");
}

#[test]
fn a_connection_that_dies_after_the_handshake_or_another_answer_is_noticed_too() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.wait(100);
    bench.connect(0);
    bench.written(0);
    bench.wait(500);
    assert_eq!(bench.opened.len(), 2, "silent since the handshake");
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.ask(2, "b.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(10);
    bench.answer(0, &queries[0]);
    bench.wait(450);
    assert_eq!(bench.opened.len(), 2, "silent since the other answer");
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None), (2, GOOD, None)]);
}

#[test]
fn a_house_full_of_silent_connections_makes_room_for_a_new_one() {
    let mut bench = Bench::one();
    for place in 0..4 {
        bench.ask(u32::try_from(place).unwrap(), &format!("n{place}.example"));
        bench.connect(place);
        bench.written(place);
        bench.wait(401);
    }
    bench.ask(9, "z.example");
    assert!(
        bench.replies.iter().all(|(client, _)| *client != 9),
        "told that nobody is there while a new connection was not tried"
    );
    assert_eq!((bench.opened.len(), bench.closed.len()), (5, 1));
    let newest = bench.opened.len() - 1;
    bench.connect(newest);
    let queries = bench.written(newest);
    let mine = queries.iter().find(|query| query.1 == "z.example").unwrap();
    bench.answer(newest, mine);
    assert_eq!(bench.outcomes().last(), Some(&(9, GOOD, None)));
}

#[test]
fn a_second_try_that_we_end_ourselves_is_replaced_when_the_first_is_overdue() {
    let mut bench = Bench::two();
    bench.ask(1, "slow.example");
    bench.connect(0);
    bench.written(0);
    for client in 2..=24 {
        bench.ask(client, &format!("n{client}.example"));
        let queries = bench.written(0);
        bench.wait(50);
        bench.answer(0, &queries[0]);
    }
    bench.wait(50);
    assert!(
        bench
            .opened
            .iter()
            .skip(1)
            .all(|(_, upstream, _)| *upstream == 1)
    );
    // 1.2 s have passed. The dials of the second try are given up, because the address is another one.
    let moved = endpoint("192.0.2.3:853");
    bench
        .engine
        .set_endpoints(UpstreamId(1), vec![moved], bench.now);
    bench.settle();
    let last = bench.opened.len() - 1;
    assert_eq!(bench.opened[last].2, moved);
    bench.connect(last);
    let queries = bench.written(last);
    bench.answer(last, &queries[0]);
    assert_eq!(bench.outcomes().last(), Some(&(1, GOOD, None)));
}

#[test]
fn a_second_try_takes_no_connection_that_may_be_as_dead_as_the_first() {
    let mut bench = Bench::one();
    for client in 0..1_025 {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.connect(0);
    bench.connect(1);
    for place in 0..2 {
        for query in bench.written(place) {
            bench.answer(place, &query);
        }
    }
    bench.wait(1_000);
    let before = bench.opened.len();
    bench.ask(9_000, "a.example");
    bench.wait(80);
    assert_eq!(
        bench.opened.len(),
        before + 1,
        "both stood idle; whatever took one may have taken both"
    );
}

#[test]
fn one_slow_name_on_a_quiet_connection_is_no_outage() {
    let mut bench = Bench::two();
    bench.ask(1, "quick.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(15);
    bench.answer(0, &queries[0]);
    bench.ask(2, "slow.example");
    let queries = bench.written(0);
    bench.wait(120);
    bench.answer(0, &queries[0]);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    let said = |event: &Event| matches!(event, Event::UpstreamSuspect { .. });
    assert!(!bench.events.iter().any(said));
    bench.ask(3, "next.example");
    assert_eq!(bench.written(0).len(), 1);
}

/// Connects what was opened and has the second upstream answer what it was asked; the first one says nothing.
fn serve_second_only(bench: &mut Bench, connected: &mut usize) {
    for place in *connected..bench.opened.len() {
        bench.connect(place);
    }
    *connected = bench.opened.len();
    for place in 0..*connected {
        let queries = bench.taken(bench.connection(place), 128);
        let second = bench.opened[place].1 == 1;
        for query in queries.iter().filter(|_| second) {
            bench.answer(place, query);
        }
    }
}

#[test]
fn an_upstream_all_of_whose_connections_fall_silent_is_in_doubt_whatever_comes_after_them() {
    let mut bench = Bench::two();
    bench.ask(0, "first.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(1);
    bench.answer(0, &queries[0]);
    let mut connected = 1;
    let mut asked_at = vec![bench.now];
    let mut slowest = Duration::ZERO;
    for client in 1..=150 {
        bench.ask(client, &format!("n{client}.example"));
        asked_at.push(bench.now);
        for _ in 0..10 {
            bench.wait(1);
            let known = bench.replies.len();
            serve_second_only(&mut bench, &mut connected);
            for (client, _) in &bench.replies[known..] {
                let began = asked_at[usize::try_from(*client).unwrap()];
                slowest = slowest.max(bench.now.since(began));
            }
        }
    }
    assert_eq!(bench.state(0), Some(HealthState::Suspect));
    assert!(slowest < Duration::from_millis(100), "{slowest:?}");
}
