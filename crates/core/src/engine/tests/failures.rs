//! Connections, upstreams and answers that fail, and what becomes of the questions.

use super::*;

#[test]
fn questions_of_a_dead_connection_move_to_another() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.ask(2, "b.example");
    bench.connect(0);
    let first = bench.written(0);
    bench.answer(0, &first[0]);
    bench.close(0, CloseReason::Ended);
    assert_eq!(bench.opened.len(), 2);
    bench.connect(1);
    let second = bench.written(1);
    assert_eq!(second[0].1, "b.example");
    bench.answer(1, &second[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None), (2, GOOD, None)]);
}

#[test]
fn a_connection_lost_before_its_first_answer_is_replaced_even_without_another_upstream() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.close(0, CloseReason::Reset);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn the_second_upstream_takes_over_when_the_first_refuses_or_fails_tls() {
    let fault = CloseReason::Tls(TlsFault::WrongName);
    for reason in [CloseReason::Refused, CloseReason::Unreachable, fault] {
        let mut bench = Bench::two();
        bench.ask(1, "a.example");
        bench.close(0, reason);
        assert_eq!(bench.opened[1].1, 1);
        bench.connect(1);
        let queries = bench.written(1);
        bench.answer(1, &queries[0]);
        bench.ask(2, "b.example");
        assert_eq!((bench.opened.len(), bench.written(1).len()), (2, 1));
    }
}

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
fn a_preferred_upstream_comes_back_by_one_trial() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    bench.wait(400);
    bench.ask(2, "b.example");
    bench.ask(3, "c.example");
    assert_eq!(
        bench.opened[2].1, 0,
        "one question tries the first upstream again"
    );
    let queries = bench.written(1);
    assert_eq!(
        queries.len(),
        2,
        "and goes where it is safe as well, like the other one"
    );
    bench.answer(1, &queries[0]);
    assert_eq!(
        bench.outcomes().last(),
        Some(&(2, GOOD, None)),
        "nobody waits for the outcome"
    );
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    assert_eq!(bench.state(0), Some(HealthState::Up));
    bench.ask(4, "d.example");
    assert_eq!(bench.written(2).len(), 1);
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
fn servfail_asks_one_other_upstream_and_the_better_answer_wins() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED] {
        let mut bench = Bench::two();
        bench.ask(1, "a.example");
        bench.connect(0);
        let queries = bench.written(0);
        bench.receive(0, &response(&queries[0], rcode));
        assert!(bench.replies.is_empty());
        bench.connect(1);
        let queries = bench.written(1);
        bench.answer(1, &queries[0]);
        assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    }
}

#[test]
fn servfail_from_everybody_is_passed_on_as_the_first_one_said_it() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::REFUSED));
    bench.connect(1);
    let queries = bench.written(1);
    bench.receive(1, &response(&queries[0], Rcode::SERVFAIL));
    assert_eq!(bench.outcomes(), [(1, Rcode::REFUSED, None)]);
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::SERVFAIL));
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, None)]);
}

#[test]
fn a_poor_answer_of_some_is_asked_on_until_somebody_has_a_better_one() {
    for (rcode, strategy) in [
        (Rcode::REFUSED, Strategy::Ordered),
        (Rcode::SERVFAIL, Strategy::Ordered),
        (Rcode::REFUSED, Strategy::Fastest),
        (Rcode::REFUSED, Strategy::Race),
    ] {
        let mut bench = Bench::with(upstreams(&[0, 0, 0]), strategy);
        bench.ask(1, "a.example");
        let mut asked = Vec::new();
        for place in 0..3 {
            bench.connect(place);
            let queries = bench.written(place);
            asked.push(bench.opened[place].1);
            let rcode = if place == 2 { GOOD } else { rcode };
            bench.receive(place, &response(&queries[0], rcode));
        }
        asked.sort_unstable();
        assert_eq!(asked, [0, 1, 2], "each once");
        assert_eq!(bench.outcomes(), [(1, GOOD, None)], "{rcode:?}");
    }
}

#[test]
fn what_everybody_refuses_goes_out_once_to_each() {
    let mut bench = Bench::with(upstreams(&[0; 9]), Strategy::Ordered);
    bench.ask(1, "a.example");
    for place in 0..SENDS_MAX {
        assert!(bench.replies.is_empty());
        bench.connect(place);
        let queries = bench.written(place);
        bench.receive(place, &response(&queries[0], Rcode::REFUSED));
    }
    assert_eq!(bench.opened.len(), SENDS_MAX);
    assert_eq!(bench.outcomes(), [(1, Rcode::REFUSED, None)]);
}

#[test]
fn a_poor_answer_is_given_when_the_other_upstream_stays_mute() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.receive(0, &response(&queries[0], Rcode::REFUSED));
    bench.connect(1);
    bench.wait(2_000);
    assert_eq!(bench.outcomes(), [(1, Rcode::REFUSED, None)]);
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
fn a_lost_connection_in_the_middle_of_an_answer_leaves_no_half_message() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    let mut frame = Vec::new();
    append_frame(&response(&queries[0], GOOD), &mut frame);
    bench
        .engine
        .handle_bytes(bench.connection(0), &frame[..20], bench.now);
    bench.close(0, CloseReason::Reset);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
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
fn a_second_try_that_is_lost_is_replaced_though_the_first_still_runs() {
    let mut bench = Bench::new(&[&["192.0.2.1:853"], &["192.0.2.2:853"], &["192.0.2.3:853"]]);
    bench.ask(1, "a.example");
    bench.wait(400);
    assert_eq!(bench.opened[1].1, 1);
    bench.close(1, CloseReason::Reset);
    assert_eq!(bench.opened[2].1, 2, "the third upstream is asked at once");
    bench.connect(2);
    let queries = bench.written(2);
    bench.answer(2, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
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
fn nothing_is_sent_for_those_whose_deadline_passed_in_a_sleep() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.written(0);
    bench.now = bench.now + Duration::from_secs(3_600);
    bench.engine.handle_timeout(bench.now);
    bench.settle();
    assert_eq!((bench.opened.len(), bench.replies.len()), (1, 1));
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
fn who_was_asked_and_lost_is_asked_again_when_another_refuses() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(400);
    bench.connect(1);
    bench.close(0, CloseReason::Reset);
    let queries = bench.written(1);
    let refused = response(&queries[0], Rcode::REFUSED);
    bench.receive(1, &refused);
    let place = bench.opened.len() - 1;
    assert_eq!(bench.opened[place].1, 0);
    bench.connect(place);
    let queries = bench.written(place);
    bench.answer(place, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
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

#[test]
fn an_upstream_that_allows_one_connection_works_on_it_and_is_not_dialed_for_every_question() {
    let mut bench = Bench::one();
    bench.ask(0, "first.example");
    bench.connect(0);
    let mut waiting = VecDeque::from(bench.written(0));
    let mut refused = 0;
    for client in 1..600 {
        bench.ask(client, &format!("n{client}.example"));
        waiting.extend(bench.written(0));
        bench.wait(5);
        // A queue builds up between the twentieth question and the hundredth, and stays.
        if !(20..100).contains(&client) || client % 2 == 0 {
            let query = waiting.pop_front().unwrap();
            bench.answer(0, &query);
        }
        while bench.opened.len() > refused + 1 {
            refused += 1;
            bench.close(refused, CloseReason::Reset);
        }
    }
    assert!(
        (2..=3).contains(&bench.opened.len()),
        "{}",
        bench.opened.len()
    );
    assert_eq!(bench.state(0), Some(HealthState::Up));
    assert!(bench.outcomes().iter().all(|(_, rcode, _)| *rcode == GOOD));
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

/// Questions of one client that all wait on the first connection.
const CROWD: usize = 2_000;

fn crowd() -> Bench {
    let mut bench = Bench::one();
    for client in 0..u32::try_from(CROWD).unwrap() {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.connect(0);
    bench
}

/// Calls the engine for what is due at this moment, and gives back how many replies came of each call.
fn turns(bench: &mut Bench) -> Vec<usize> {
    let mut turns = Vec::new();
    while bench
        .engine
        .poll_timeout()
        .is_some_and(|due| due <= bench.now)
    {
        let before = bench.replies.len();
        bench.engine.handle_timeout(bench.now);
        bench.settle();
        turns.push(bench.replies.len() - before);
    }
    turns
}

#[test]
fn a_connection_that_takes_a_crowd_with_it_leaves_others_their_turn() {
    let mut bench = crowd();
    bench.close(0, CloseReason::Reset);
    // Nobody else can be reached.
    let mut place = 1;
    while place < bench.opened.len() {
        let before = bench.replies.len();
        bench.close(place, CloseReason::Refused);
        let at_once = bench.replies.len() - before;
        assert!(at_once <= QUESTIONS_PER_TURN, "{at_once}");
        place += 1;
    }
    let turns = turns(&mut bench);
    assert!(
        turns.iter().all(|turn| *turn <= QUESTIONS_PER_TURN),
        "{turns:?}"
    );
    assert_eq!(bench.replies.len(), CROWD, "{turns:?}");
}

#[test]
fn a_crowd_whose_time_has_passed_leaves_others_their_turn() {
    let mut bench = crowd();
    bench.now = bench.now + QUESTION_BUDGET;
    let turns = turns(&mut bench);
    assert!(
        turns.iter().all(|turn| *turn <= QUESTIONS_PER_TURN),
        "{turns:?}"
    );
    assert_eq!(bench.replies.len(), CROWD);
}

#[test]
fn a_dial_to_an_upstream_that_is_down_is_waited_for_by_who_began_it_alone() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Unreachable);
    assert_eq!(bench.state(0), Some(HealthState::Down));
    bench.wait(1_000);
    let before = bench.replies.len();
    let dials = bench.opened.len();
    bench.ask(2, "b.example");
    assert_eq!(bench.opened.len(), dials + 1);
    bench.ask(3, "c.example");
    assert_eq!(bench.replies.len(), before + 1, "the third does not wait");
    assert_eq!(bench.replies[before].0, 3);
    bench.connect(dials);
    let queries = bench.written(dials);
    bench.answer(dials, &queries[0]);
    assert_eq!(bench.outcomes().last(), Some(&(2, GOOD, None)));
}
