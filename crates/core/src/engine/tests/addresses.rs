//! An upstream of several addresses, or of none yet: which one is dialed, and when another.

use super::*;

#[test]
fn a_refused_endpoint_is_followed_by_the_next_one_of_the_same_upstream() {
    let mut bench = Bench::new(&[&["192.0.2.1:853", "[2001:db8::1]:853"]]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Unreachable);
    assert_eq!(bench.opened[1].2, endpoint("[2001:db8::1]:853"));
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn an_upstream_without_addresses_is_not_ready_until_it_has_some() {
    let mut bench = Bench::new(&[&[]]);
    bench.ask(1, "a.example");
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(14))]);
    bench
        .engine
        .set_endpoints(UpstreamId(0), vec![endpoint("192.0.2.9:853")], bench.now);
    bench.ask(2, "a.example");
    assert_eq!(bench.opened[0].2, endpoint("192.0.2.9:853"));
}

#[test]
fn what_is_wrong_with_an_upstream_can_be_read_address_by_address() {
    let mut bench = Bench::new(&[&["192.0.2.1:853", "[2001:db8::1]:853"]]);
    let began = bench.now;
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    let first: Vec<_> = bench.engine.endpoint_statuses(UpstreamId(0)).collect();
    assert_eq!(
        (first[0].reason, first[0].since, first[0].failures),
        (Some(CloseReason::Refused), began, 1)
    );
    assert_eq!((first[1].reason, first[1].opening), (None, 1));
    let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!((status.state, status.opening), (HealthState::Up, 1));
    bench.wait(50);
    bench.close(1, CloseReason::Unreachable);
    let status = bench.engine.status(UpstreamId(0), bench.now).unwrap();
    assert_eq!(
        (status.state, status.reason, status.since),
        (
            HealthState::Down,
            Some(CloseReason::Unreachable),
            began + Duration::from_millis(50)
        )
    );
    assert!(status.next_try.is_some_and(|next| next > bench.now));
}

#[test]
fn the_other_family_is_dialed_beside_a_slow_one_and_the_first_wins() {
    let mut bench = Bench::new(&[&["[2001:db8::1]:853", "192.0.2.1:853"]]);
    bench.ask(1, "a.example");
    bench.wait(250);
    assert_eq!(bench.opened[1].2, endpoint("192.0.2.1:853"));
    bench.connect(1);
    assert_eq!(bench.closed, [bench.connection(0)]);
    let queries = bench.written(1);
    assert_eq!(
        queries.len(),
        1,
        "the question moved to the one that answered"
    );
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    assert_eq!(bench.opened.len(), 2);
}

#[test]
fn the_other_address_is_tried_when_the_one_in_use_goes_whatever_happened_before() {
    let mut bench = Bench::new(&[&["192.0.2.1:853", "192.0.2.2:853"]]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    bench.close(1, CloseReason::Ended);
    bench.ask(2, "b.example");
    assert_eq!(bench.opened[2].2, endpoint("192.0.2.2:853"));
    bench.close(2, CloseReason::Refused);
    assert_eq!(bench.opened[3].2, endpoint("192.0.2.1:853"));
    bench.connect(3);
    let queries = bench.written(3);
    bench.answer(3, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None), (2, GOOD, None)]);
}

#[test]
fn a_trial_goes_through_every_address() {
    let mut bench = Bench::new(&[&["192.0.2.1:853", "192.0.2.2:853"]]);
    bench.ask(1, "a.example");
    bench.close(0, CloseReason::Refused);
    bench.close(1, CloseReason::Refused);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
    bench.wait(800);
    bench.ask(2, "b.example");
    bench.close(2, CloseReason::Refused);
    assert_eq!(bench.opened.len(), 4, "the second address may be back");
    bench.connect(3);
    let queries = bench.written(3);
    let mine = queries.iter().find(|query| query.1 == "b.example").unwrap();
    bench.answer(3, mine);
    assert_eq!(bench.outcomes()[1], (2, GOOD, None));
}

#[test]
fn a_question_whose_dial_was_overtaken_is_still_looked_after() {
    let mut bench = Bench::new(&[&["192.0.2.1:853"], &["192.0.2.2:853", "192.0.2.3:853"]]);
    bench.ask(1, "a.example");
    bench.wait(650);
    assert_eq!(bench.opened[2].2, endpoint("192.0.2.3:853"));
    bench.connect(2);
    bench.wait(500);
    let queries = bench.written(2);
    assert_eq!(queries.len(), 1, "the first upstream's dial hangs");
    bench.answer(2, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn an_upstream_without_addresses_is_no_company() {
    let mut bench = Bench::new(&[&["192.0.2.1:853"], &[]]);
    for client in 0..6 {
        bench.ask(client, &format!("n{client}.example"));
        let newest = bench.opened.len() - 1;
        bench.close(newest, CloseReason::Refused);
        bench.wait(801);
    }
    assert!(
        bench.opened.len() >= 6,
        "tried again within a second, as when there is no other"
    );
}

#[test]
fn a_dial_to_an_address_that_is_gone_is_given_up() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    let (engine, now) = (&mut bench.engine, bench.now);
    engine.set_endpoints(UpstreamId(0), vec![endpoint("192.0.2.7:853")], now);
    bench.settle();
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}
