//! Answers that say no more than that there is none, and who is asked on.

use super::*;

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
