//! Questions and their answers on connections that work.

use super::*;

#[test]
fn a_question_goes_out_and_its_answer_comes_back_with_the_clients_spelling() {
    let mut bench = Bench::one();
    bench.ask(7, "WWW.example");
    assert_eq!(bench.opened[0].2, endpoint("192.0.2.1:853"));
    assert!(bench.written(0).is_empty());
    bench.connect(0);
    let queries = bench.written(0);
    assert_eq!(queries[0].1, "WWW.example");
    bench.answer(0, &(queries[0].0, "www.EXAMPLE".into()));
    assert_eq!(bench.outcomes(), [(7, GOOD, None)]);
    let view = ResponseView::parse(&bench.replies[0].1).unwrap();
    assert_eq!(view.question().unwrap().to_string(), "WWW.example IN A");
    assert_eq!(bench.engine.in_flight(), 0);
}

#[test]
fn two_hundred_questions_on_a_fresh_start_open_one_connection_and_leave_together() {
    let mut bench = Bench::one();
    for client in 0..200 {
        bench.ask(client, &format!("n{client}.example"));
    }
    bench.connect(0);
    let mut queries = bench.written(0);
    assert_eq!((bench.opened.len(), queries.len()), (1, 200));
    queries.reverse();
    for query in &queries {
        bench.answer(0, query);
    }
    let mut outcomes = bench.outcomes();
    outcomes.sort_unstable_by_key(|(client, ..)| *client);
    assert_eq!(
        outcomes,
        Vec::from_iter((0..200).map(|client| (client, GOOD, None)))
    );
}

#[test]
fn equal_questions_in_flight_are_asked_once_and_all_answered() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.ask(2, "A.EXAMPLE");
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    assert_eq!(queries.len(), 1);
    bench.answer(0, &queries[0]);
    assert_eq!(
        bench.outcomes(),
        [(1, GOOD, None), (2, GOOD, None), (1, GOOD, None)]
    );
}

#[test]
fn one_question_is_sent_to_one_upstream_three_times_at_most() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    for place in 0..3 {
        bench.connect(place);
        assert_eq!(bench.written(place).len(), 1);
        bench.close(place, CloseReason::Ended);
    }
    assert_eq!(bench.opened.len(), 3);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(23))]);
}

#[test]
fn answers_to_another_question_are_never_delivered() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &(queries[0].0, "b.example".into()));
    assert!(bench.replies.is_empty());
    bench.wait(2_000);
    assert_eq!(bench.outcomes(), [(1, Rcode::SERVFAIL, Some(24))]);
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &(queries[0].0, "b.example".into()));
    bench.answer(0, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn stray_ids_before_the_right_answer_do_no_harm() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    for _ in 0..100 {
        bench.answer(0, &(queries[0].0 ^ 1, "a.example".into()));
    }
    bench.answer(0, &queries[0]);
    assert_eq!(
        (bench.outcomes(), bench.opened.len()),
        (vec![(1, GOOD, None)], 1)
    );
}

#[test]
fn a_frame_that_is_not_dns_ends_the_connection_and_the_question_moves() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    bench.receive(0, b"short");
    assert_eq!(bench.closed, [bench.connection(0)]);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
}

#[test]
fn a_distrusted_connection_serves_until_its_successor_is_ready() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let before = bench.written(0);
    let (renewed, now) = (bench.connection(0), bench.now);
    bench.engine.renew(renewed, now);
    bench.engine.renew(renewed, now);
    bench.settle();
    assert_eq!((bench.opened.len(), bench.closed.len()), (2, 0));
    bench.ask(2, "b.example");
    let meanwhile = bench.written(0);
    assert_eq!(meanwhile.len(), 1, "nobody waits for the successor");
    bench.connect(1);
    bench.ask(3, "c.example");
    assert_eq!(bench.written(1).len(), 1);
    bench.answer(0, &before[0]);
    assert!(bench.closed.is_empty(), "an answer is still to come");
    bench.answer(0, &meanwhile[0]);
    bench.wait(1);
    assert_eq!(bench.closed, [renewed]);
    assert_eq!(bench.replies.len(), 2);
}

#[test]
fn a_distrusted_connection_goes_though_no_successor_can_be_opened() {
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bench.answer(0, &queries[0]);
    let renewed = bench.connection(0);
    bench.engine.renew(renewed, bench.now);
    bench.settle();
    bench.close(1, CloseReason::Tls(TlsFault::UnknownIssuer));
    bench.wait(u64::try_from(DIAL_TIMEOUT.as_millis()).unwrap() - 1);
    assert!(!bench.closed.contains(&renewed));
    let probes = bench.written(0);
    bench.wait(2);
    bench.ask(2, "b.example");
    assert!(bench.written(0).is_empty(), "it takes no more questions");
    for probe in &probes {
        bench.answer(0, probe);
    }
    bench.wait(1);
    assert!(bench.closed.contains(&renewed));
}

#[test]
fn of_several_distrusted_connections_the_first_brings_the_one_successor() {
    let mut bench = Bench::one();
    bench.ask(0, "n0.example");
    bench.connect(0);
    for client in 1..u32::try_from(2 * IN_FLIGHT_BEFORE_GROWTH).unwrap() {
        bench.ask(client, &format!("n{client}.example"));
    }
    let grown = bench.opened.len();
    assert!(grown >= 2, "load opens more");
    for place in 1..grown {
        bench.connect(place);
    }
    for place in 0..grown {
        bench.engine.renew(bench.connection(place), bench.now);
    }
    bench.settle();
    assert_eq!(bench.opened.len(), grown + 1);
}

#[test]
fn an_upstream_without_a_connection_to_offer_is_passed_over() {
    let mut bench = Bench::two();
    // The first upstream's dials hang; whatever its trials use up, the second one is always there.
    for round in 0..60 {
        bench.ask(round, &format!("n{round}.example"));
        for place in 0..bench.opened.len() {
            if bench.opened[place].1 == 1 {
                bench.connect(place);
                for query in bench.written(place) {
                    bench.answer(place, &query);
                }
            }
        }
        bench.wait(130);
    }
    let failed = bench.outcomes().into_iter().filter(|reply| reply.1 != GOOD);
    assert_eq!(failed.count(), 0);
}

#[test]
fn an_error_without_a_question_is_an_answer_over_tls() {
    let mut bench = Bench::two();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    let mut bare = vec![0; 12];
    bare[..2].copy_from_slice(&queries[0].0.to_be_bytes());
    bare[2] = 0x81;
    bare[3] = 0x85;
    bench.receive(0, &bare);
    bench.connect(1);
    let queries = bench.written(1);
    bench.answer(1, &queries[0]);
    assert_eq!(bench.outcomes(), [(1, GOOD, None)]);
    let mut bench = Bench::one();
    bench.ask(1, "a.example");
    bench.connect(0);
    let queries = bench.written(0);
    bare[..2].copy_from_slice(&queries[0].0.to_be_bytes());
    bench.receive(0, &bare);
    assert_eq!(bench.outcomes(), [(1, Rcode::REFUSED, None)]);
}
