//! Connections and upstreams that fail, and what becomes of the questions.

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
