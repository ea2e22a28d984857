//! What is counted of questions, connections and probes.

use super::*;
use crate::counts::UpstreamCounts;

fn answer_to_probe(query: &(u16, String)) -> Vec<u8> {
    let mut message = response(query, Rcode::NOERROR);
    // It asks for name servers.
    message[14] = 2;
    message
}

fn counts(bench: &Bench, upstream: usize) -> UpstreamCounts {
    let status = bench.engine.status(UpstreamId(upstream), bench.now);
    status.unwrap().counts
}

#[test]
fn each_query_is_counted_once_by_what_became_of_it() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.ask(2, "a.example");
    bench.ask(3, "b.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.wait(20);
    bench.answer(0, &queries[0]);
    bench.close(0, CloseReason::Reset);
    let counted = counts(&bench, 0);
    assert_eq!(counted.duration.count(), 1);
    assert_eq!(counted.duration.sum(), 20_000_000);
    assert_eq!(counted.lost.of(CloseReason::Reset), 1);
    assert_eq!(counted.closed.of(CloseReason::Reset), 1);
    assert_eq!((counted.opened, counted.queries.sum()), (1, 1));
    assert_eq!(counted.age.sum(), 20_000_000);
}

#[test]
fn a_query_whose_clients_are_gone_has_timed_out() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.wait(2_500);
    assert_eq!(bench.outcomes().len(), 1);
    let counted = counts(&bench, 0);
    let lost: u64 = counted.lost.iter().map(|(_, number)| number).sum();
    assert!(counted.timed_out + lost >= 1, "{counted:?}");
    assert_eq!(counted.duration.count(), 0);
}

#[test]
fn a_second_upstream_that_answers_first_has_won() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.written(0);
    bench.wait(500);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    let counted = bench.engine.counts();
    assert_eq!((counted.hedged, counted.hedges_won), (1, 1));
}

#[test]
fn only_those_who_were_quiet_are_probed_and_one_probe_at_a_time() {
    let mut bench = Bench::one();
    let quiet = Duration::from_millis(400);
    bench.engine.probe_quiet(quiet, 2 * quiet, bench.now);
    bench.engine.probe_quiet(quiet, 2 * quiet, bench.now);
    bench.settle();
    assert_eq!(bench.opened.len(), 1);
    bench.connect(0);
    let queries = bench.written(0);
    assert_eq!(queries.len(), 1);
    bench.receive(0, &answer_to_probe(&queries[0]));
    bench.engine.probe_quiet(quiet, 2 * quiet, bench.now);
    assert!(bench.written(0).is_empty());
    bench.wait(400);
    bench.engine.probe_quiet(quiet, 2 * quiet, bench.now);
    assert_eq!(bench.written(0).len(), 1);
    // Nobody was asked for anything, so nobody failed.
    assert!(bench.outcomes().is_empty());
    assert_eq!(bench.state(0), Some(HealthState::Up));
}

#[test]
fn a_probe_nobody_answers_puts_the_upstream_in_doubt_and_another_follows() {
    let mut bench = Bench::one();
    let quiet = Duration::from_millis(400);
    bench.engine.probe_quiet(quiet, 2 * quiet, bench.now);
    bench.settle();
    bench.connect(0);
    bench.written(0);
    bench.wait(800);
    bench.engine.probe_quiet(quiet, 2 * quiet, bench.now);
    bench.settle();
    assert_eq!(bench.state(0), Some(HealthState::Probing));
    assert_eq!(
        bench.opened.len(),
        2,
        "the silent connection is not relied on"
    );
}
